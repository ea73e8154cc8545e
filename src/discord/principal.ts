import type { Clock, Milliseconds } from '../time/clock.ts'
import { alarm } from '../time/clock.ts'
import { Bucket, type BucketNews, type Sent, type Waiter } from './bucket.ts'
import type { Call } from './call.ts'
import { GlobalLimit } from './global-limit.ts'

/** A place that was taken before sending. Exactly one of its three endings must be called, once. */
export interface Permit {
  /** The answer came. `hash` is Discord's name for the bucket, where the answer had one. */
  answered(news: BucketNews | undefined, hash: string | undefined, receivedAt: Milliseconds): void
  /** It was sent, or may have been, and no answer came. */
  failed(): void
  /** It was never sent. */
  giveBack(): void
}

/** What all principals share: which routes Discord counts together, and what is known of the way to it. */
export interface Shared {
  readonly clock: Clock
  /** `METHOD template` → bucket hash. The same for every user, so learned once for all. */
  readonly hashes: { get(route: string): string | undefined; set(route: string, hash: string): void }
  readonly latency: { readonly creditMs: Milliseconds }
}

/** One bot or user, as Discord counts: its buckets, its global limit, and the calls that wait for a place. */
export class Principal {
  readonly #shared: Shared
  readonly #buckets = new Map<string, Bucket>()
  readonly #global = new GlobalLimit()
  /** Sub-limits of single routes, which their bucket's headers do not show. */
  readonly #routeHolds = new Map<string, Milliseconds>()
  /** Buckets that calls wait for, the one that was served longest ago first. */
  readonly #waiting = new Set<Bucket>()
  #wakeAt = Number.POSITIVE_INFINITY
  #cancelAlarm = () => {}

  constructor(shared: Shared) {
    this.#shared = shared
  }

  /** A place at once, if there is one and nobody waits for it. */
  tryTake(call: Call): Permit | undefined {
    const bucket = this.#bucketOf(call)
    const now = this.#shared.clock.monotonic()
    if (bucket.waiters.length > 0 || this.#global.nextAt(now) > now || bucket.nextAt(now) > now) return undefined
    return this.#take(bucket, call, now)
  }

  /** How long a call would wait, as far as anybody can know. */
  estimateMs(call: Call): Milliseconds {
    const now = this.#shared.clock.monotonic()
    const globalAt = this.#global.nextAt(now)
    return Math.max(Number.isFinite(globalAt) ? globalAt - now : 0, this.#bucketOf(call).estimateMs(now))
  }

  /** A place as soon as there is one: buckets are served in turn, calls of one bucket by priority and then in order. Rejects with `signal.reason`. */
  take(call: Call, signal: AbortSignal): Promise<Permit> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason)
      const bucket = this.#bucketOf(call)
      const waiter: Waiter = {
        call,
        bucket,
        go: () => {
          signal.removeEventListener('abort', leave)
          resolve(this.#take(waiter.bucket, call, this.#shared.clock.monotonic()))
        },
      }
      const leave = () => {
        waiter.bucket.leave(waiter)
        if (waiter.bucket.waiters.length === 0) this.#waiting.delete(waiter.bucket)
        reject(signal.reason)
        this.#serve()
      }
      signal.addEventListener('abort', leave, { once: true })
      bucket.join(waiter)
      this.#waiting.add(bucket)
      this.#serve()
    })
  }

  /** How much longer a 429 forbids this call, and what it was about; undefined if none does. */
  heldFor(call: Pick<Call, 'route'>): { readonly ms: Milliseconds; readonly scope: 'user' | 'global' } | undefined {
    const now = this.#shared.clock.monotonic()
    const globalMs = this.#global.heldUntil - now
    const ownMs = Math.max(this.#bucketOf(call).heldUntil, this.#routeHolds.get(call.route.key) ?? 0) - now
    if (globalMs <= 0 && ownMs <= 0) return undefined
    return globalMs > ownMs ? { ms: globalMs, scope: 'global' } : { ms: ownMs, scope: 'user' }
  }

  holdAll(forMs: Milliseconds): void {
    this.#global.hold(this.#shared.clock.monotonic() + forMs)
    this.#serve()
  }

  holdBucket(call: Pick<Call, 'route'>, forMs: Milliseconds): void {
    this.#bucketOf(call).hold(this.#shared.clock.monotonic() + forMs)
    this.#serve()
  }

  holdRoute(call: Pick<Call, 'route'>, forMs: Milliseconds): void {
    const now = this.#shared.clock.monotonic()
    for (const [route, until] of this.#routeHolds) if (until <= now) this.#routeHolds.delete(route)
    this.#routeHolds.set(call.route.key, now + forMs)
  }

  #bucketOf(call: Pick<Call, 'route'>): Bucket {
    const hash = this.#shared.hashes.get(call.route.name)
    const provisionalKey = call.route.key
    const key = hash === undefined ? provisionalKey : `${hash}|${call.route.resource}`
    let bucket = this.#buckets.get(key)
    if (bucket) return bucket
    this.#forgetIdleBuckets()
    bucket = new Bucket()
    this.#buckets.set(key, bucket)
    // Another user's answer may have taught the hash while calls of this one already went by the route's name.
    const provisional = hash === undefined ? undefined : this.#buckets.get(provisionalKey)
    if (provisional) {
      this.#move(call.route.name, provisional, bucket, true)
      this.#buckets.delete(provisionalKey)
    }
    return bucket
  }

  /** A bot visits many channels and guilds; what is back to full need not be kept. */
  #forgetIdleBuckets(): void {
    if (this.#buckets.size < BUCKETS_BEFORE_SWEEP || (this.#buckets.size & (this.#buckets.size - 1)) !== 0) return
    const now = this.#shared.clock.monotonic()
    for (const [key, bucket] of this.#buckets) if (bucket.idle(now)) this.#buckets.delete(key)
  }

  #take(bucket: Bucket, call: Call, now: Milliseconds): Permit {
    const sent = bucket.take(call, now)
    this.#global.take()
    return {
      answered: (news, hash, receivedAt) => this.#answered(sent, news, hash, receivedAt),
      failed: () => {
        const failedAt = this.#shared.clock.monotonic()
        sent.bucket.failed(sent, failedAt)
        this.#global.answered(failedAt)
        this.#serve()
      },
      giveBack: () => {
        sent.bucket.giveBack(sent)
        this.#global.giveBack()
        this.#serve()
      },
    }
  }

  #answered(sent: Sent, news: BucketNews | undefined, hash: string | undefined, receivedAt: Milliseconds): void {
    const { call } = sent
    const creditMs = this.#shared.latency.creditMs
    let bucket = sent.bucket
    if (hash !== undefined) {
      this.#shared.hashes.set(call.route.name, hash)
      const key = `${hash}|${call.route.resource}`
      if (this.#buckets.get(key) !== bucket) {
        const known = this.#buckets.get(key)
        const target = known ?? new Bucket()
        this.#buckets.set(key, target)
        this.#move(call.route.name, bucket, target, known === undefined)
        if (bucket.waiters.length === 0 && bucket.sent.size === 0) this.#dropBucket(bucket)
        bucket = target
      }
    }
    bucket.answered(sent, news, receivedAt, creditMs)
    this.#global.answered(receivedAt - creditMs)
    this.#serve()
  }

  #move(routeName: string, from: Bucket, to: Bucket, inherit: boolean): void {
    to.takeOver(from, routeName, inherit)
    if (to.waiters.length > 0) this.#waiting.add(to)
    if (from.waiters.length === 0) this.#waiting.delete(from)
  }

  #dropBucket(bucket: Bucket): void {
    for (const [key, known] of this.#buckets) if (known === bucket) this.#buckets.delete(key)
  }

  /** Hands out every place there is, then sets the alarm for the next one. */
  #serve(): void {
    if (this.#waiting.size === 0) return this.#setAlarm(Number.POSITIVE_INFINITY)
    const now = this.#shared.clock.monotonic()
    for (let served = true; served; ) {
      served = false
      for (const bucket of [...this.#waiting]) {
        if (this.#global.nextAt(now) > now) break
        if (bucket.nextAt(now) > now) continue
        this.#waiting.delete(bucket)
        const waiter = bucket.waiters.shift()
        if (bucket.waiters.length > 0) this.#waiting.add(bucket)
        waiter?.go()
        served = true
      }
    }
    let wakeAt = Number.POSITIVE_INFINITY
    const globalAt = this.#global.nextAt(now)
    for (const bucket of this.#waiting) wakeAt = Math.min(wakeAt, Math.max(globalAt, bucket.nextAt(now)))
    this.#setAlarm(wakeAt)
  }

  #setAlarm(wakeAt: Milliseconds): void {
    if (wakeAt === this.#wakeAt) return
    this.#cancelAlarm()
    this.#cancelAlarm = () => {}
    this.#wakeAt = wakeAt
    if (wakeAt === Number.POSITIVE_INFINITY) return
    const { clock } = this.#shared
    this.#cancelAlarm = alarm(clock, wakeAt - clock.monotonic(), () => {
      this.#wakeAt = Number.POSITIVE_INFINITY
      this.#serve()
    })
  }
}

const BUCKETS_BEFORE_SWEEP = 256
