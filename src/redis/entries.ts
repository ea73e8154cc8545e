import type { Begun, Found, Moment, SharedKey, SharedNews, SharedTier, Ticket } from '../cache/shared-tier.ts'
import { RecentlyUsed } from '../collections/recently-used.ts'
import { codeOf } from '../errors/code-of.ts'
import { HoldfastError } from '../errors/errors.ts'
import type { Events } from '../events/events.ts'
import { type KeyRing, uniqueToken } from '../secrets/key-ring.ts'
import { alarm, type Clock, type Milliseconds } from '../time/clock.ts'
import type { Backplane } from './backplane.ts'
import type { Redis } from './commands.ts'
import type { ConnectionHooks, RedisConnection } from './connection.ts'
import * as header from './entry-header.ts'
import { type EntryKeys, EntryKeyTable } from './entry-keys.ts'
import { BEGIN, GIVE_UP, RENEW, WRITE } from './entry-scripts.ts'
import { type Invalidation, Invalidations } from './invalidations.ts'
import type { Naming } from './naming.ts'
import { LONGEST_TEXT, openValue, sealValue } from './sealed-value.ts'

/** A lease that is not renewed ends after this: what a process that dies while loading costs the others. */
const LEASE_MS: Milliseconds = 2_000
/** Ends of loads that are remembered, for who asks about one while the message of its end overtakes the answer. */
const ENDED = 1_000
const MICROS = 1000
/** More than our idea of Redis's time can be ahead of it. */
const LATELY_MS: Milliseconds = 1_000
/** A write that is under way for longer than its load and this is refused by Redis. */
const LATEST_WRITE_MS: Milliseconds = 30_000
/** Nothing is kept for longer, whatever it is stored with. */
const LONGEST_MS: Milliseconds = 366 * 24 * 60 * 60 * 1000
/** What fits into sixteen digits. */
const LAST_MOMENT: Moment = 10 ** 16

/**
 * The cache's shared tier in Redis. Every key has an epoch beside it (one for all keys of a user), which changes when
 * they are invalidated: a value that was written under another epoch is not there, and a load that began under another
 * one is not stored. Redis's own clock orders loads, so that an older one never replaces a newer.
 */
export class Entries implements SharedTier, ConnectionHooks {
  readonly source = 'redis'
  readonly renewEveryMs = LEASE_MS / 3
  readonly #connection: RedisConnection
  readonly #backplane: Backplane
  readonly #ring: KeyRing
  readonly #clock: Clock
  readonly #events: Events
  readonly #compress: boolean
  /** How long a write may be under way before Redis refuses it. */
  readonly #latestWriteMs: Milliseconds
  readonly #keys: EntryKeyTable
  readonly #invalidations: Invalidations
  /** Callers who wait for another process's load, by key. */
  readonly #waiters = new Map<string, { readonly user: string | undefined; readonly wake: Set<() => void> }>()
  /** When other processes' loads ended, by key. */
  readonly #ended = new RecentlyUsed<string, Moment>(ENDED)
  #listener: SharedNews | undefined

  constructor(options: {
    readonly connection: RedisConnection
    readonly naming: Naming
    readonly backplane: Backplane
    readonly ring: KeyRing
    readonly clock: Clock
    readonly events: Events
    readonly staleMs: Milliseconds
    readonly loadTimeoutMs: Milliseconds
    readonly compress: boolean
  }) {
    this.#connection = options.connection
    this.#backplane = options.backplane
    this.#ring = options.ring
    this.#clock = options.clock
    this.#events = options.events
    this.#compress = options.compress
    this.#latestWriteMs = options.loadTimeoutMs + LATEST_WRITE_MS
    this.#keys = new EntryKeyTable(options.connection.prefix, options.naming)
    this.#invalidations = new Invalidations({
      ...options,
      keys: this.#keys,
      rememberedMs: this.#epochLastsMs(options.staleMs),
      listener: {
        invalidated: (id, at) => {
          this.#listener?.invalidated(id, at)
          this.#wake(id)
        },
        userInvalidated: (user, at) => {
          this.#listener?.userInvalidated(user, at)
          this.#wakeUser(user)
        },
        everythingInvalidated: () => {
          this.#listener?.everythingInvalidated()
          this.#wakeAll()
        },
        // An invalidation ends the leases too.
        said: (invalidation) =>
          'key' in invalidation ? this.#wake(invalidation.key.id) : this.#wakeUser(invalidation.user),
      },
    })
    this.#backplane.on('done', ([id], at) => {
      this.#listener?.superseded(String(id), at)
      this.#ended.set(String(id), at)
      this.#wake(String(id))
    })
    this.#backplane.on('given-up', ([id], at) => {
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

  listen(listener: SharedNews): void {
    this.#listener = listener
  }

  async read(key: SharedKey): Promise<Found | undefined> {
    try {
      const keys = await this.#reach(key)
      const [epochBytes, stored] = await this.#connection.read([keys.epoch, keys.entry])
      const now = this.#connection.time.now()
      if (now === undefined) return undefined
      const epoch = epochBytes?.toString('latin1')
      const head = stored ? header.parse(stored) : undefined
      const { purgedAt } = this.#invalidations
      const invalidBefore = Math.max(
        epoch ? header.epochBegan(epoch) : 0,
        head?.kind === 'gone' ? head.begunAt : 0,
        purgedAt,
      )
      if (!stored || !head || head.kind === 'gone' || head.epoch !== epoch || head.begunAt <= purgedAt)
        return { invalidBefore }
      const ageMs = now - head.begunAt / MICROS
      // Written in the future: its clock and Redis's disagree, or somebody made it up.
      if (ageMs < -1000) return { invalidBefore }
      const text = openValue(this.#ring, stored, head, keys.entry, key.version)
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
      const { epoch, entry, lease } = await this.#reach(key)
      const token = uniqueToken()
      const { purgedAt } = this.#invalidations
      const args = [uniqueToken(), this.#epochLastsMs(staleMs), token, LEASE_MS, freshMicros, purgedAt]
      const sentAt = this.#clock.monotonic()
      const reply = await this.#connection.run(BEGIN, [epoch, entry, lease], args, this.#connection.readTimeoutMs)
      const [kind, begunAt, detail, heldSince] = reply as [Begun['kind'], string, string, string]
      this.#connection.time.observe(sentAt, Number(begunAt) / MICROS)
      if (kind === 'load')
        return {
          kind,
          ticket: { begunAt: Number(begunAt), epoch: detail, token, rememberUntil: credibleEnd(heldSince) },
        }
      if (kind === 'newer') return { kind }
      const forMs = Math.max(1, Number(detail))
      if (kind === 'failed') return { kind, forMs }
      // Where the message came first, there is nothing left to wait for.
      const ended = (this.#ended.get(key.id) ?? 0) >= Number(begunAt)
      return { kind, forMs: ended ? 1 : forMs, heldSince: Number(heldSince) || 0 }
    } catch (error) {
      return this.#unable(error, 'begin')
    }
  }

  async renew(key: SharedKey, ticket: Ticket): Promise<void> {
    try {
      const { lease } = await this.#reach(key)
      await this.#connection.run(RENEW, [lease], [leaseOf(ticket), LEASE_MS])
    } catch (error) {
      this.#unable(error, 'renew')
    }
  }

  async write(key: SharedKey, ticket: Ticket, text: string, staleMs: Milliseconds): Promise<boolean | undefined> {
    if (text.length > LONGEST_TEXT) {
      await this.giveUp(key, ticket, 0)
      return this.#unable(new HoldfastError('VALUE_TOO_LARGE', 'a value is too large to be shared'), 'write')
    }
    try {
      const { epoch, entry, lease } = await this.#reach(key)
      const { begunAt, rememberUntil = 0 } = ticket
      const binding = { key: entry, version: key.version, begunAt, epoch: ticket.epoch, rememberUntil }
      const { head, body } = sealValue(this.#ring, text, binding, this.#compress)
      const args = [
        head,
        leaseOf(ticket),
        this.#latestWriteMs * MICROS,
        Math.max(1, Math.ceil(Math.min(staleMs, LONGEST_MS))),
        body,
        this.#epochLastsMs(staleMs),
        this.#backplane.channel,
        this.#backplane.sealed(['done', key.id]),
      ]
      const reply = await this.#connection.run(WRITE, [epoch, entry, lease], args)
      if (reply === 'forgotten') return undefined
      return reply === 'written' && ticket.begunAt > this.#invalidations.purgedAt
    } catch (error) {
      return this.#unable(error, 'write')
    }
  }

  async giveUp(key: SharedKey, ticket: Ticket, failedForMs: Milliseconds): Promise<void> {
    try {
      const { lease } = await this.#reach(key)
      const message = this.#backplane.sealed(['given-up', key.id])
      const args = [leaseOf(ticket), Math.ceil(failedForMs), this.#backplane.channel, message]
      await this.#connection.run(GIVE_UP, [lease], args)
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

  async #invalidate(invalidation: Invalidation): Promise<void> {
    try {
      await this.#invalidations.invalidate(invalidation)
    } catch (error) {
      this.#unable(error, 'invalidate')
    }
  }

  /** Nothing is read from Redis before it has heard what it may not know. */
  async beforeReady(redis: Redis): Promise<void> {
    await this.#invalidations.beforeReady(redis)
    this.#listener?.returned()
  }

  onReady(): void {
    this.#invalidations.onReady()
  }

  onLost(): void {
    this.#wakeAll()
  }

  upkeep(redis: Redis): Promise<void> {
    return this.#invalidations.upkeep(redis)
  }

  /** An epoch has to outlive the values beside it, and the latest write of one. */
  #epochLastsMs(staleMs: Milliseconds): Milliseconds {
    return Math.ceil(Math.min(staleMs, LONGEST_MS) + this.#latestWriteMs)
  }

  /** Where a key is, once Redis has been reached (only then are the names known) and has heard of its invalidations. */
  async #reach(key: SharedKey): Promise<EntryKeys> {
    if (!this.#connection.isUp) await this.#connection.reach(this.#connection.readTimeoutMs)
    if (this.#invalidations.areUnsaid) await this.#invalidations.saidOf(key)
    return this.#keys.of(key)
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
  #unable(error: unknown, operation: string): undefined {
    this.#events.emit({ type: 'redis.failed', operation, code: codeOf(error) ?? 'UNKNOWN' })
    return undefined
  }
}

/** Until when an invalidation is remembered. It stands in clear where it comes from: nothing is kept for ever. */
function credibleEnd(digits: string): Moment {
  const at = Number(digits)
  return Number.isSafeInteger(at) && at >= 0 && at < LAST_MOMENT ? at : 0
}

function leaseOf(ticket: Ticket): string {
  return `${ticket.epoch} ${ticket.token}`
}
