import { LRUCache } from 'lru-cache'
import type { Begun, Found, Moment, SharedKey, SharedNews, SharedTier, Ticket } from '../cache/shared-tier.ts'
import { HoldfastError } from '../errors/errors.ts'
import type { Events } from '../events/events.ts'
import { type KeyRing, uniqueToken } from '../secrets/key-ring.ts'
import { alarm, type Clock, type Milliseconds } from '../time/clock.ts'
import type { Redis, RedisConnection, Resident } from './connection.ts'
import * as header from './entry-header.ts'
import { BEGIN, GIVE_UP, INVALIDATE, INVALIDATE_USER, PURGE, RENEW, WRITE } from './entry-scripts.ts'
import { REDIS_KEYS } from './keys.ts'
import type { Naming } from './naming.ts'
import type { News } from './news.ts'

/** A lease that is not renewed ends after this: what a process that dies while loading costs the others. */
const LEASE_MS: Milliseconds = 2_000
/** Where the keys of an entry are; computed once for the ones in use. */
const PLACES = 10_000
/** Invalidations that wait for Redis. Beyond it, everything is invalidated. */
const WAITING = 10_000
/** Invalidations that are said again whenever Redis was away: it may have lost its last writes. */
const REPEATED = 10_000
const REPEATED_FOR_MS: Milliseconds = 60 * 60 * 1000
/** Ends of loads that are remembered, for who asks about one while the news of its end overtake the answer. */
const ENDED = 1_000
/** How many invalidations are sent at once when Redis is back. */
const BATCH = 500
const MICROS = 1000
/** More than our idea of Redis's time can be ahead of it. */
const LATELY_MS: Milliseconds = 1_000
/** Nothing is kept for longer, whatever it is stored with. */
const LONGEST_MS: Milliseconds = 366 * 24 * 60 * 60 * 1000

interface Place {
  readonly epoch: string
  readonly entry: string
  readonly lease: string
}

/** An invalidation: of one key, or of all keys of a user. */
type Invalidation = { readonly key: SharedKey } | { readonly user: string }

const nameOf = (invalidation: Invalidation) =>
  'key' in invalidation ? `k${invalidation.key.id}` : `u${invalidation.user}`

/**
 * The cache's shared tier in Redis. Every key has an epoch beside it (one for all keys of a user), which changes when
 * they are invalidated: a value that was written under another epoch is not there, and a load that began under another
 * one is not stored. Redis's own clock orders loads, so that an older one never replaces a newer.
 */
export class Entries implements SharedTier, Resident {
  readonly renewEveryMs = LEASE_MS / 3
  readonly #connection: RedisConnection
  readonly #naming: Naming
  readonly #news: News
  readonly #ring: KeyRing
  readonly #clock: Clock
  readonly #events: Events
  /** How long a write may be under way before Redis refuses it. */
  readonly #latestWriteMs: Milliseconds
  readonly #places = new LRUCache<string, Place>({ max: PLACES })
  #placesOf: unknown
  /** Those who wait for another process's load, by key. */
  readonly #waiters = new Map<string, { readonly user: string | undefined; readonly wake: Set<() => void> }>()
  /** When other processes' loads ended, by key. */
  readonly #ended = new LRUCache<string, Moment>({ max: ENDED })
  /** Invalidations that Redis has not confirmed. */
  readonly #waiting = new Map<string, Invalidation>()
  #everything = false
  readonly #repeated: LRUCache<string, { readonly invalidation: Invalidation; readonly at: Moment }>
  /** The longest that anything stored here lasts: what an epoch has to outlive. */
  #longestMs: Milliseconds
  #purgedAt = ''
  #listener: SharedNews | undefined

  constructor(options: {
    readonly connection: RedisConnection
    readonly naming: Naming
    readonly news: News
    readonly ring: KeyRing
    readonly clock: Clock
    readonly events: Events
    readonly staleMs: Milliseconds
    readonly loadTimeoutMs: Milliseconds
  }) {
    this.#connection = options.connection
    this.#naming = options.naming
    this.#news = options.news
    this.#ring = options.ring
    this.#clock = options.clock
    this.#events = options.events
    this.#longestMs = options.staleMs
    this.#latestWriteMs = options.loadTimeoutMs + 30_000
    this.#repeated = new LRUCache({
      max: REPEATED,
      ttl: REPEATED_FOR_MS,
      perf: { now: () => options.clock.monotonic() },
    })
    // An invalidation ends the leases too.
    this.#news.on('user', ([user], at) => {
      this.#listener?.userInvalidated(String(user), at)
      this.#wakeUser(String(user))
    })
    this.#news.on('key', ([id], at) => {
      this.#listener?.invalidated(String(id), at)
      this.#wake(String(id))
    })
    this.#news.on('everything', () => {
      this.#listener?.everythingInvalidated()
      this.#wakeAll()
    })
    this.#news.on('done', ([id], at) => {
      this.#listener?.superseded(String(id), at)
      this.#ended.set(String(id), at)
      this.#wake(String(id))
    })
    this.#news.on('given-up', ([id], at) => {
      this.#ended.set(String(id), at)
      this.#wake(String(id))
    })
  }

  get isUsable(): boolean {
    return this.#connection.isUsable
  }

  lately(): Moment {
    const now = this.#connection.time.now()
    return now === undefined ? 0 : Math.floor((now - LATELY_MS) * MICROS)
  }

  listen(news: SharedNews): void {
    this.#listener = news
  }

  async read(key: SharedKey): Promise<Found | undefined> {
    try {
      const place = await this.#reach(key)
      const [epochBytes, sealed] = await this.#connection.read([place.epoch, place.entry])
      const now = this.#connection.time.now()
      if (now === undefined) return undefined
      const epoch = epochBytes?.toString('latin1')
      const head = sealed && header.parse(sealed)
      const invalidBefore = Math.max(epoch ? header.epochBegan(epoch) : 0, head?.kind === 'gone' ? head.begunAt : 0)
      if (!head || head.kind === 'gone' || head.epoch !== epoch) return { invalidBefore }
      const ageMs = now - head.begunAt / MICROS
      // Written in the future: its clock and Redis's disagree, or somebody made it up.
      if (ageMs < -1000) return { invalidBefore }
      const text = this.#ring.open(sealed.subarray(header.BYTES), context(place.entry, head.text, key.version))
      if (text === undefined) return { invalidBefore }
      return { invalidBefore, value: { text, ageMs: Math.max(0, ageMs), begunAt: head.begunAt } }
    } catch (error) {
      return this.#unable(error, 'read')
    }
  }

  begin(key: SharedKey, freshMs: Milliseconds, staleMs: Milliseconds): Promise<Begun | undefined> {
    return this.#begin(key, Math.floor(Math.min(freshMs, LONGEST_MS) * MICROS), staleMs)
  }

  async take(key: SharedKey, staleMs: Milliseconds): Promise<Ticket | undefined> {
    const begun = await this.#begin(key, 'take', staleMs)
    return begun?.kind === 'load' ? begun.ticket : undefined
  }

  async #begin(key: SharedKey, freshMicros: number | 'take', staleMs: Milliseconds): Promise<Begun | undefined> {
    try {
      const place = await this.#reach(key)
      const token = uniqueToken()
      const keys = [place.epoch, place.entry, place.lease]
      const args = [uniqueToken(), this.#epochLastsMs(staleMs), token, LEASE_MS, freshMicros]
      const sentAt = this.#clock.monotonic()
      const reply = await this.#connection.run(BEGIN, keys, args, this.#connection.readTimeoutMs)
      const [kind, begunAt, detail, heldSince] = reply as [Begun['kind'], string, string, string]
      this.#connection.time.observe(sentAt, Number(begunAt) / MICROS)
      if (kind === 'load') return { kind, ticket: { begunAt: Number(begunAt), epoch: detail, token } }
      if (kind === 'newer') return { kind }
      const forMs = Math.max(1, Number(detail))
      if (kind === 'failed') return { kind, forMs }
      // Where the news came first, there is nothing left to wait for.
      const ended = (this.#ended.get(key.id) ?? 0) >= Number(begunAt)
      return { kind, forMs: ended ? 1 : forMs, heldSince: Number(heldSince) || 0 }
    } catch (error) {
      return this.#unable(error, 'begin')
    }
  }

  async renew(key: SharedKey, ticket: Ticket): Promise<void> {
    try {
      const place = await this.#reach(key)
      await this.#connection.run(RENEW, [place.lease], [leaseOf(ticket), LEASE_MS])
    } catch (error) {
      this.#unable(error, 'renew')
    }
  }

  async write(key: SharedKey, ticket: Ticket, text: string, staleMs: Milliseconds): Promise<boolean | undefined> {
    try {
      const place = await this.#reach(key)
      const head = header.format('held', ticket.begunAt, ticket.epoch)
      const value = Buffer.concat([Buffer.from(head), this.#ring.seal(text, context(place.entry, head, key.version))])
      const args = [
        head,
        leaseOf(ticket),
        this.#latestWriteMs * MICROS,
        Math.max(1, Math.ceil(Math.min(staleMs, LONGEST_MS))),
        value,
        this.#epochLastsMs(staleMs),
        this.#news.channel,
        this.#news.sealed(['done', key.id]),
      ]
      const reply = await this.#connection.run(WRITE, [place.epoch, place.entry, place.lease], args)
      return reply === 'forgotten' ? undefined : reply === 'written'
    } catch (error) {
      return this.#unable(error, 'write')
    }
  }

  async giveUp(key: SharedKey, ticket: Ticket, failedForMs: Milliseconds): Promise<void> {
    try {
      const place = await this.#reach(key)
      const notice = this.#news.sealed(['given-up', key.id])
      const args = [leaseOf(ticket), Math.ceil(failedForMs), this.#news.channel, notice]
      await this.#connection.run(GIVE_UP, [place.lease], args)
    } catch (error) {
      this.#unable(error, 'give up')
    }
  }

  async done(key: SharedKey, ms: Milliseconds, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return
    const { promise, resolve } = Promise.withResolvers<void>()
    const waiters = this.#waiters.get(key.id) ?? { user: key.user, wake: new Set() }
    this.#waiters.set(key.id, waiters)
    waiters.wake.add(resolve)
    const cancelAlarm = alarm(this.#clock, ms, resolve)
    const abort = () => resolve()
    signal.addEventListener('abort', abort, { once: true })
    await promise
    cancelAlarm()
    signal.removeEventListener('abort', abort)
    waiters.wake.delete(resolve)
    if (waiters.wake.size === 0 && this.#waiters.get(key.id) === waiters) this.#waiters.delete(key.id)
  }

  invalidate(key: SharedKey): Promise<void> {
    return this.#invalidate({ key })
  }

  invalidateUser(user: string): Promise<void> {
    return this.#invalidate({ user })
  }

  /** Says again what Redis has not heard, or may have forgotten, before anything is read from it. */
  async returned(redis: Redis): Promise<void> {
    await this.#catchUpOnPurge(redis)
    if (this.#everything) await this.#invalidateEverything(redis)
    const sayings = [
      ...[...this.#repeated.values()].map(({ invalidation, at }) => ({ invalidation, at })),
      ...[...this.#waiting.values()].map((invalidation) => ({ invalidation, at: 0 })),
    ]
    for (let from = 0; from < sayings.length; from += BATCH)
      await Promise.all(
        sayings.slice(from, from + BATCH).map(({ invalidation, at }) => this.#say(redis, invalidation, at)),
      )
    this.#listener?.returned()
  }

  /** What was invalidated while we caught up. */
  back(): void {
    for (const invalidation of [...this.#waiting.values()]) void this.#invalidate(invalidation)
  }

  left(): void {
    this.#wakeAll()
  }

  async #invalidate(invalidation: Invalidation): Promise<void> {
    const name = nameOf(invalidation)
    if (this.#waiting.size >= WAITING && !this.#connection.isUp && !this.#waiting.has(name)) {
      this.#everything = true
      this.#waiting.clear()
    }
    if (!this.#everything) this.#waiting.set(name, invalidation)
    try {
      if (!this.#connection.isUp) await this.#connection.reach(this.#connection.readTimeoutMs)
      await this.#say(this.#connection, invalidation, 0)
    } catch (error) {
      this.#unable(error, 'invalidate')
    }
  }

  async #invalidateEverything(redis: Redis): Promise<void> {
    // What comes from now on is said by itself.
    this.#everything = false
    try {
      await redis.deleteMatching(`${escapeGlob(this.#connection.prefix)}*:epoch`)
      const args = [this.#longestMs, this.#news.channel, this.#news.sealed(['everything'])]
      this.#purgedAt = String(await redis.run(PURGE, [this.#purgedKey()], args))
    } catch (error) {
      this.#everything = true
      throw error
    }
  }

  /** `since`: it was said already at that time, and need not be said again where Redis still knows. */
  async #say(redis: Redis, invalidation: Invalidation, since: Moment): Promise<void> {
    let at: unknown
    if ('key' in invalidation) {
      const place = this.#place(invalidation.key)
      const keys = [place.epoch, place.entry, place.lease]
      const notice = this.#news.sealed(['key', invalidation.key.id])
      const args = [since, this.#epochLastsMs(this.#longestMs), this.#news.channel, notice, header.NO_EPOCH]
      at = await redis.run(INVALIDATE, keys, args)
      this.#wake(invalidation.key.id)
    } else {
      const slot = this.#naming.names.of('user', invalidation.user)
      const key = this.#connection.prefix + REDIS_KEYS.epoch[0].replace('<user>', slot)
      const notice = this.#news.sealed(['user', invalidation.user])
      const args = [since, uniqueToken(), this.#epochLastsMs(this.#longestMs), this.#news.channel, notice]
      at = await redis.run(INVALIDATE_USER, [key], args)
      this.#wakeUser(invalidation.user)
    }
    const name = nameOf(invalidation)
    if (this.#waiting.get(name) === invalidation) this.#waiting.delete(name)
    this.#repeated.set(name, { invalidation, at: Number(at) })
  }

  /** While we were away, somebody else may have invalidated everything. */
  async #catchUpOnPurge(redis: Redis): Promise<void> {
    const [held] = await redis.read([this.#purgedKey()])
    const purgedAt = held?.toString('latin1') ?? ''
    if (purgedAt !== '' && purgedAt !== this.#purgedAt) this.#listener?.everythingInvalidated()
    this.#purgedAt = purgedAt
  }

  #purgedKey(): string {
    return this.#connection.prefix + REDIS_KEYS.purged[0]
  }

  #epochLastsMs(staleMs: Milliseconds): Milliseconds {
    this.#longestMs = Math.min(Math.max(this.#longestMs, staleMs), LONGEST_MS)
    return Math.ceil(this.#longestMs + this.#latestWriteMs)
  }

  /** Where a key is, once Redis has been reached (only then are the names known) and has heard of its invalidations. */
  async #reach(key: SharedKey): Promise<Place> {
    if (!this.#connection.isUp) await this.#connection.reach(this.#connection.readTimeoutMs)
    if (this.#waiting.size > 0) {
      const names = key.user === undefined ? [`k${key.id}`] : [`k${key.id}`, `u${key.user}`]
      const unsaid = names.flatMap((name) => this.#waiting.get(name) ?? [])
      await Promise.all(unsaid.map((invalidation) => this.#say(this.#connection, invalidation, 0)))
    }
    return this.#place(key)
  }

  #place(key: SharedKey): Place {
    const { names } = this.#naming
    if (this.#placesOf !== names) {
      this.#places.clear()
      this.#placesOf = names
    }
    let place = this.#places.get(key.id)
    if (place) return place
    const slot = key.user === undefined ? names.of('key', key.id) : names.of('user', key.user)
    const name = names.of('entry', key.id)
    const at = (pattern: string) =>
      this.#connection.prefix + pattern.replace('<user>', slot).replace('<label>', key.label).replace('<key>', name)
    place = { epoch: at(REDIS_KEYS.epoch[0]), entry: at(REDIS_KEYS.entry[0]), lease: at(REDIS_KEYS.lease[0]) }
    this.#places.set(key.id, place)
    return place
  }

  #wake(id: string): void {
    for (const wake of this.#waiters.get(id)?.wake ?? []) wake()
  }

  #wakeUser(user: string): void {
    for (const [id, waiters] of this.#waiters) if (waiters.user === user) this.#wake(id)
  }

  #wakeAll(): void {
    for (const id of this.#waiters.keys()) this.#wake(id)
  }

  /** Losing Redis is no error of anybody who asks the cache. What is wrong with the program or the store is told. */
  #unable(error: unknown, what: string): undefined {
    const code = error instanceof HoldfastError ? error.code : 'UNKNOWN'
    this.#events.emit({ type: 'redis.failed', operation: what, code })
    return undefined
  }
}

/** What a sealed value is bound to: it opens nowhere else, under no other header and for no other version. */
function context(key: string, head: string, version: string): string {
  return `${key} ${head} ${version}`
}

function leaseOf(ticket: Ticket): string {
  return `${ticket.epoch} ${ticket.token}`
}

function escapeGlob(text: string): string {
  return text.replace(/[[\]*?\\^]/g, '\\$&')
}
