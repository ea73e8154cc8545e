import { LazySet } from '../concurrency/lazy-set.ts'
import { alarm, type Clock, type Milliseconds } from '../time/clock.ts'
import { Bucket, type Waiter } from './bucket.ts'
import type { BucketReport, Call, Priority } from './call.ts'
import { GlobalLimit } from './global-limit.ts'
import { Permit, type PermitIssuer } from './permit.ts'
import type { OnGivingUp } from './waiters.ts'
import { orderOfTurn, PRIORITIES } from './waiting-line.ts'

/** What all principals share: a first guess at which routes Discord counts together, and what is known of the way to it. */
export interface KnownToAll {
  readonly clock: Clock
  /** Counted route → bucket hash, as the last answer said that was news to its principal. */
  readonly hashes: { get(counted: string): string | undefined; set(counted: string, hash: string): void }
  readonly latency: { readonly creditMs: Milliseconds }
}

/** One bot or user, as Discord counts: its buckets, its global limit, and the calls that wait for a permit. */
export class Principal implements PermitIssuer {
  readonly #known: KnownToAll
  readonly #buckets = new Map<string, Bucket>()
  /** Counted route → bucket hash for this principal: Discord may count two users' calls of one route in different buckets. */
  readonly #hashes = new Map<string, string>()
  readonly #global: GlobalLimit
  /** Sub-limits of single routes, which their bucket's headers do not show. */
  readonly #routeHolds = new Map<string, Milliseconds>()
  /** Buckets with calls that wait only for the global limit, by what waits there; the one that was served longest ago first. */
  readonly #ready: Readonly<Record<Priority, LazySet<Bucket>>> = {
    login: new LazySet(),
    page: new LazySet(),
    background: new LazySet(),
  }
  /** Buckets with calls that wait for the bucket itself, and the earliest time at which one of them may be open. */
  readonly #blocked = new LazySet<Bucket>()
  #openAt = Number.POSITIVE_INFINITY
  #turn = 0
  #wakeAt = Number.POSITIVE_INFINITY
  #cancelAlarm = NOTHING

  constructor(known: KnownToAll, globalPerSecond?: number) {
    this.#known = known
    this.#global = new GlobalLimit(globalPerSecond)
  }

  /** A permit at once, if there is one, nobody waits for it, and no 429 forbids it. */
  tryTake(call: Call): Permit<Bucket> | undefined {
    const bucket = this.#bucketOf(call)
    const now = this.#known.clock.monotonic()
    if (this.#heldRouteUntil(call) > now) return undefined
    if (bucket.line.size > 0 || this.#global.nextAt(now) > now || bucket.nextAt(now) > now) return undefined
    return this.#take(bucket, call, now)
  }

  /** How long a call would wait, as far as anybody can know. */
  estimateMs(call: Call): Milliseconds {
    const now = this.#known.clock.monotonic()
    const globalAt = this.#global.nextAt(now)
    return Math.max(Number.isFinite(globalAt) ? globalAt - now : 0, this.#bucketOf(call).estimateMs(now, call.priority))
  }

  /**
   * A permit as soon as there is one: by priority, buckets of one priority in turn, calls of one bucket in order.
   * Rejects with the reason that `onGivingUp` gives.
   */
  take(call: Call, onGivingUp: OnGivingUp): Promise<Permit<Bucket>> {
    return new Promise((resolve, reject) => {
      const bucket = this.#bucketOf(call)
      const waiter: Waiter = {
        call,
        bucket,
        go: (permit) => {
          unlisten()
          resolve(permit)
        },
      }
      const unlisten = onGivingUp((reason) => {
        waiter.bucket.line.leave(waiter)
        const principal = this.#now()
        if (waiter.bucket.line.waiting(call.priority) === 0)
          principal.#sort(waiter.bucket, principal.#known.clock.monotonic())
        if (!principal.#anybodyWaits()) principal.#setAlarm(Number.POSITIVE_INFINITY)
        reject(reason)
      })
      bucket.line.join(waiter)
      this.#sort(bucket, this.#known.clock.monotonic())
      this.#serve()
    })
  }

  /** The answer to a permit's request came. `hash` is Discord's name for the bucket, where the answer had one. */
  answered(
    permit: Permit<Bucket>,
    report: BucketReport | undefined,
    hash: string | undefined,
    receivedAt: Milliseconds,
  ): void {
    const creditMs = this.#known.latency.creditMs
    const bucket = hash === undefined ? permit.bucket : this.#countedAs(permit, hash)
    bucket.answered(permit, report, receivedAt, creditMs)
    this.#global.answered(receivedAt - creditMs)
    this.#changed(bucket)
  }

  /** A permit's request was sent, or may have been, and no answer came. */
  failed(permit: Permit<Bucket>): void {
    const failedAt = this.#known.clock.monotonic()
    permit.bucket.failed(permit, failedAt)
    this.#global.answered(failedAt)
    this.#changed(permit.bucket)
  }

  /** A permit's request was never sent. */
  giveBack(permit: Permit<Bucket>): void {
    permit.bucket.giveBack(permit)
    this.#global.giveBack()
    this.#changed(permit.bucket)
  }

  /** How much longer a 429 forbids this call, and what it was about; undefined if none does. */
  heldFor(call: Pick<Call, 'route'>): { readonly ms: Milliseconds; readonly scope: 'user' | 'global' } | undefined {
    const now = this.#known.clock.monotonic()
    const globalMs = this.#global.heldUntil - now
    const ownMs = Math.max(this.#bucketOf(call).heldUntil, this.#heldRouteUntil(call)) - now
    if (globalMs <= 0 && ownMs <= 0) return undefined
    return globalMs > ownMs ? { ms: globalMs, scope: 'global' } : { ms: ownMs, scope: 'user' }
  }

  /** How much longer a 429 forbids some call, whichever it is. */
  heldMs(): Milliseconds {
    let until = this.#global.heldUntil
    for (const bucket of this.#buckets.values()) until = Math.max(until, bucket.heldUntil)
    for (const routeUntil of this.#routeHolds.values()) until = Math.max(until, routeUntil)
    return Math.max(0, until - this.#known.clock.monotonic())
  }

  #heldRouteUntil({ route }: Pick<Call, 'route'>): Milliseconds {
    return this.#routeHolds.size === 0 ? 0 : (this.#routeHolds.get(route.key) ?? 0)
  }

  holdAll(forMs: Milliseconds): void {
    this.#global.hold(this.#known.clock.monotonic() + forMs)
    this.#serve()
  }

  holdBucket(call: Pick<Call, 'route'>, forMs: Milliseconds): void {
    const bucket = this.#bucketOf(call)
    bucket.hold(this.#known.clock.monotonic() + forMs)
    this.#changed(bucket)
  }

  holdRoute(call: Pick<Call, 'route'>, forMs: Milliseconds): void {
    const now = this.#known.clock.monotonic()
    for (const [route, until] of this.#routeHolds) if (until <= now) this.#routeHolds.delete(route)
    this.#routeHolds.set(call.route.key, Math.max(this.#routeHolds.get(call.route.key) ?? 0, now + forMs))
  }

  /** Whether no limit is running and nothing is under way: who forgets it, forgets only how large its buckets are. */
  isIdle(): boolean {
    const now = this.#known.clock.monotonic()
    if (!this.#global.idle(now)) return false
    for (const bucket of this.#buckets.values()) if (!bucket.idle(now)) return false
    for (const until of this.#routeHolds.values()) if (until > now) return false
    return true
  }

  /** Everything that is known and under way under another name of this principal; that other one is not used any more. */
  join(other: Principal): void {
    for (const [counted, hash] of other.#hashes) if (!this.#hashes.has(counted)) this.#hashes.set(counted, hash)
    for (const [key, bucket] of other.#buckets) {
      const own = this.#buckets.get(key)
      if (own) own.join(bucket)
      else this.#buckets.set(key, bucket)
      for (const permit of bucket.sent) permit.principal = this
      for (const permit of own?.sent ?? []) permit.principal = this
    }
    for (const [route, until] of other.#routeHolds)
      this.#routeHolds.set(route, Math.max(this.#routeHolds.get(route) ?? 0, until))
    this.#global.join(other.#global)
    other.#setAlarm(Number.POSITIVE_INFINITY)
    other.#joined = this
    const now = this.#known.clock.monotonic()
    for (const bucket of this.#buckets.values()) if (bucket.line.size > 0) this.#sort(bucket, now)
    this.#serve()
  }

  #joined: Principal | undefined

  /** Whoever this principal is by now. */
  #now(): Principal {
    return this.#joined ? this.#joined.#now() : this
  }

  #bucketOf(call: Pick<Call, 'route'>): Bucket {
    const { counted, resource, key: provisionalKey } = call.route
    let hash = this.#hashes.get(counted)
    if (hash === undefined && !this.#buckets.has(provisionalKey)) {
      // Nothing of its own is known yet: what others were told is the best guess.
      hash = this.#known.hashes.get(counted)
      if (hash !== undefined) this.#learnHash(counted, hash)
    }
    const key = hash === undefined ? provisionalKey : `${hash}|${resource}`
    let bucket = this.#buckets.get(key)
    if (bucket) return bucket
    this.#forgetIdleBuckets()
    bucket = new Bucket()
    this.#buckets.set(key, bucket)
    return bucket
  }

  /** The bucket that an answer says its request was counted in; what belongs to its route moves there. */
  #countedAs(permit: Permit<Bucket>, hash: string): Bucket {
    const { counted, resource } = permit.call.route
    if (this.#hashes.get(counted) !== hash) {
      this.#known.hashes.set(counted, hash)
      this.#learnHash(counted, hash)
    }
    const from = permit.bucket
    const key = `${hash}|${resource}`
    const known = this.#buckets.get(key)
    if (known === from) return from
    const target = known ?? new Bucket()
    this.#buckets.set(key, target)
    target.takeOver(from, counted, known === undefined)
    const now = this.#known.clock.monotonic()
    this.#sort(from, now)
    this.#sort(target, now)
    if (from.line.size === 0 && from.sent.size === 0) this.#dropBucket(from)
    return target
  }

  #learnHash(counted: string, hash: string): void {
    this.#hashes.set(counted, hash)
    // The one learned longest ago. Its bucket is asked anew.
    if (this.#hashes.size > HASHES) for (const oldest of this.#hashes.keys()) return void this.#hashes.delete(oldest)
  }

  /** A bot visits many channels and guilds; what is back to full need not be kept. */
  #forgetIdleBuckets(): void {
    if (this.#buckets.size < BUCKETS_BEFORE_SWEEP || (this.#buckets.size & (this.#buckets.size - 1)) !== 0) return
    const now = this.#known.clock.monotonic()
    for (const [key, bucket] of this.#buckets) if (bucket.idle(now)) this.#buckets.delete(key)
  }

  #dropBucket(bucket: Bucket): void {
    for (const [key, known] of this.#buckets) if (known === bucket) this.#buckets.delete(key)
  }

  #take(bucket: Bucket, call: Call, now: Milliseconds): Permit<Bucket> {
    const permit = new Permit(call, now, bucket, this)
    bucket.take(permit)
    this.#global.take()
    return permit
  }

  #changed(bucket: Bucket): void {
    if (bucket.line.size > 0) this.#sort(bucket, this.#known.clock.monotonic())
    this.#serve()
  }

  /** Puts a bucket where it belongs: among those that are ready, or those that are blocked, or nowhere where nobody waits. */
  #sort(bucket: Bucket, now: Milliseconds): void {
    const openAt = bucket.line.size === 0 ? Number.POSITIVE_INFINITY : bucket.nextAt(now)
    for (const priority of PRIORITIES) {
      if (openAt <= now && bucket.line.waiting(priority) > 0) this.#ready[priority].add(bucket)
      else this.#ready[priority].delete(bucket)
    }
    if (bucket.line.size === 0 || openAt <= now) {
      this.#blocked.delete(bucket)
      return
    }
    this.#blocked.add(bucket)
    this.#openAt = Math.min(this.#openAt, openAt)
  }

  #nextReady(): Bucket | undefined {
    for (const priority of orderOfTurn(this.#turn)) for (const bucket of this.#ready[priority]) return bucket
    return undefined
  }

  #anybodyWaits(): boolean {
    return this.#blocked.size > 0 || this.#anybodyReady()
  }

  #anybodyReady(): boolean {
    const { login, page, background } = this.#ready
    return login.size > 0 || page.size > 0 || background.size > 0
  }

  /** Hands out every permit there is, then sets the alarm for the next one. */
  #serve(): void {
    if (!this.#anybodyWaits()) return this.#setAlarm(Number.POSITIVE_INFINITY)
    const now = this.#known.clock.monotonic()
    if (this.#openAt <= now) {
      this.#openAt = Number.POSITIVE_INFINITY
      for (const bucket of [...this.#blocked]) this.#sort(bucket, now)
    }
    while (this.#global.nextAt(now) <= now) {
      const next = this.#nextReady()
      if (!next) break
      this.#turn++
      const waiter = next.line.next()
      const permit = waiter && this.#take(next, waiter.call, now)
      // Behind the others that are ready.
      for (const priority of PRIORITIES) this.#ready[priority].delete(next)
      this.#sort(next, now)
      if (permit) waiter.go(permit)
    }
    const globalAt = this.#global.nextAt(now)
    const bucketAt = this.#anybodyReady() ? now : this.#blocked.size > 0 ? this.#openAt : Number.POSITIVE_INFINITY
    this.#setAlarm(Math.max(globalAt, bucketAt))
  }

  #setAlarm(wakeAt: Milliseconds): void {
    if (wakeAt === this.#wakeAt) return
    this.#cancelAlarm()
    this.#cancelAlarm = NOTHING
    this.#wakeAt = wakeAt
    if (wakeAt === Number.POSITIVE_INFINITY) return
    const { clock } = this.#known
    this.#cancelAlarm = alarm(clock, wakeAt - clock.monotonic(), () => {
      this.#wakeAt = Number.POSITIVE_INFINITY
      this.#serve()
    })
  }
}

const BUCKETS_BEFORE_SWEEP = 256
/** Discord has some three hundred routes. */
const HASHES = 512
const NOTHING = () => {}
