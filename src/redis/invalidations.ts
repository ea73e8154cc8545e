import { LRUCache } from 'lru-cache'
import type { Moment, SharedKey } from '../cache/shared-tier.ts'
import { uniqueToken } from '../secrets/key-ring.ts'
import { type Clock, type Milliseconds, sleepIdly } from '../time/clock.ts'
import type { Backplane } from './backplane.ts'
import type { Redis } from './commands.ts'
import type { ConnectionHooks, RedisConnection } from './connection.ts'
import { NO_EPOCH } from './entry-header.ts'
import type { EntryKeyTable } from './entry-keys.ts'
import { INVALIDATE, INVALIDATE_USER, PURGE } from './entry-scripts.ts'
import { REDIS_KEYS } from './keys.ts'
import type { Naming } from './naming.ts'
import { sinceWhen } from './since-when.ts'

/** An invalidation: of one key, or of all keys of a user. */
export type Invalidation = { readonly key: SharedKey } | { readonly user: string }

/** What the backplane told: `at` is when it was said, on Redis's clock. */
export interface InvalidationListener {
  invalidated(id: string, at: Moment): void
  userInvalidated(user: string, at: Moment): void
  everythingInvalidated(): void
  /** An invalidation of ours is in Redis. */
  said(invalidation: Invalidation): void
}

/** Invalidations that Redis has not taken. Beyond it, everything is invalidated. */
const UNSAID = 10_000
/** Invalidations of ours, and of others, that are said again when Redis was away: it may have lost its last writes. */
const REPEATED = 10_000
const REPEATED_FOR_MS: Milliseconds = 60 * 60 * 1000
/** How many are sent at once. */
const BATCH = 500
/** What Redis refuses is said again after this, doubling. */
const FIRST_RETRY_MS: Milliseconds = 50
const LONGEST_RETRY_MS: Milliseconds = 2_000
/** By more no clock is ahead: such a time was made up. */
const AHEAD_MICROS = 3_600_000_000
const MICROS = 1_000

interface Said {
  readonly invalidation: Invalidation
  readonly at: Moment
}

/** What Redis has not taken, and when it was made: on our clock, and on Redis's as we knew it then. */
interface Unsaid {
  readonly invalidation: Invalidation
  readonly madeAt: Milliseconds
  readonly madeAtRedisMs: Milliseconds | undefined
}

/**
 * What was invalidated, until every process and Redis know it. What Redis has not taken (it is away, or refuses) is said
 * again until it does. What it has taken, and what other processes were heard to say, is said again when Redis was away:
 * it may come back from yesterday's snapshot.
 */
export class Invalidations implements ConnectionHooks {
  readonly #connection: RedisConnection
  readonly #naming: Naming
  readonly #backplane: Backplane
  readonly #keys: EntryKeyTable
  readonly #clock: Clock
  readonly #listener: InvalidationListener
  /** For how long they are remembered in Redis at least. */
  readonly #rememberedMs: Milliseconds
  readonly #unsaid = new Map<string, Unsaid>()
  readonly #own: LRUCache<string, Said>
  readonly #heard: LRUCache<string, Said>
  /** Ours, and more than could be kept: everything has to be invalidated. */
  #overflown = false
  #purgedAt: Moment = 0
  #retrying = false

  constructor(options: {
    readonly connection: RedisConnection
    readonly naming: Naming
    readonly backplane: Backplane
    readonly keys: EntryKeyTable
    readonly clock: Clock
    readonly rememberedMs: Milliseconds
    readonly listener: InvalidationListener
  }) {
    this.#connection = options.connection
    this.#naming = options.naming
    this.#backplane = options.backplane
    this.#keys = options.keys
    this.#clock = options.clock
    this.#rememberedMs = options.rememberedMs
    this.#listener = options.listener
    const kept = { max: REPEATED, ttl: REPEATED_FOR_MS, perf: { now: () => options.clock.monotonic() } }
    this.#own = new LRUCache(kept)
    this.#heard = new LRUCache(kept)
    // However old: an invalidation that is repeated costs a look at Redis, and one that is missed is a wrong answer.
    const always = { onlyCurrent: false }
    const hear = (kind: string, listener: (details: ReadonlyArray<string | number>, at: Moment) => void) =>
      this.#backplane.on(kind, (details, at) => listener(details, this.#credible(at)), always)
    hear('user', ([user], at) => {
      this.#remember(this.#heard, { user: String(user) }, at)
      this.#listener.userInvalidated(String(user), at)
    })
    hear('key', ([id, label, user], at) => {
      const key = { id: String(id), label: String(label), user: user === undefined ? undefined : String(user) }
      this.#remember(this.#heard, { key: { ...key, version: '' } }, at)
      this.#listener.invalidated(key.id, at)
    })
    hear('everything', (_details, at) => {
      this.#purgedAt = Math.max(this.#purgedAt, at)
      this.#listener.everythingInvalidated()
    })
  }

  /** What was loaded before this does not stand. */
  get purgedAt(): Moment {
    const now = this.#connection.time.now()
    return now !== undefined && this.#purgedAt > now * MICROS + AHEAD_MICROS ? 0 : this.#purgedAt
  }

  get areUnsaid(): boolean {
    return this.#overflown || this.#unsaid.size > 0
  }

  /** Rejects with REDIS_UNAVAILABLE where Redis has not taken it; it will be said until it has. */
  async invalidate(invalidation: Invalidation): Promise<void> {
    const unsaid = this.#keep(invalidation)
    try {
      if (!this.#connection.isUp) await this.#connection.reach(this.#connection.readTimeoutMs)
      if (this.#overflown) await this.#purge(this.#connection)
      else await this.#sayFirst(this.#connection, unsaid)
    } catch (error) {
      this.#retry()
      throw error
    }
  }

  /** Says what concerns a key and was not said yet; nothing is to be read of the key before that. */
  async saidOf(key: SharedKey): Promise<void> {
    if (this.#overflown) await this.#purge(this.#connection)
    if (this.#unsaid.size === 0) return
    const names = key.user === undefined ? [`k${key.id}`] : [`k${key.id}`, `u${key.user}`]
    const unsaid = names.flatMap((name) => this.#unsaid.get(name) ?? [])
    await Promise.all(unsaid.map((one) => this.#sayFirst(this.#connection, one)))
  }

  async beforeReady(redis: Redis): Promise<void> {
    await this.#catchUpOnPurge(redis)
    await this.#naming.settled()
    if (this.#overflown) await this.#purge(redis).catch(() => {})
    await this.#sayAll(redis)
  }

  onReady(): void {
    if (this.areUnsaid) this.#retry()
  }

  /** An evicting Redis may have taken the mark of the last purge. */
  async upkeep(redis: Redis): Promise<void> {
    if (this.purgedAt > 0) await this.#catchUpOnPurge(redis)
  }

  #keep(invalidation: Invalidation): Unsaid {
    const name = nameOf(invalidation)
    const madeAtRedisMs = this.#connection.time.now()
    const unsaid: Unsaid = { invalidation, madeAt: this.#clock.monotonic(), madeAtRedisMs }
    if (this.#unsaid.size >= UNSAID && !this.#unsaid.has(name)) {
      this.#overflown = true
      this.#unsaid.clear()
    }
    if (!this.#overflown) this.#unsaid.set(name, unsaid)
    return unsaid
  }

  /** Says again what Redis may have forgotten, and for the first time what it has not heard. What it refuses is tried again later. */
  async #sayAll(redis: Redis): Promise<void> {
    const again = new Map([...this.#heard.entries(), ...this.#own.entries()])
    const sayings = [...again.values()].map(
      ({ invalidation, at }) =>
        () =>
          this.#say(redis, invalidation, at).catch(() => {
            if (this.#unsaid.size < UNSAID && !this.#unsaid.has(nameOf(invalidation))) this.#keep(invalidation)
          }),
    )
    for (const unsaid of this.#unsaid.values()) sayings.push(() => this.#sayFirst(redis, unsaid).catch(() => {}))
    for (let from = 0; from < sayings.length; from += BATCH)
      await Promise.all(sayings.slice(from, from + BATCH).map((say) => say()))
  }

  #sayFirst(redis: Redis, unsaid: Unsaid): Promise<void> {
    const since = sinceWhen({
      madeAt: unsaid.madeAtRedisMs,
      agoMs: this.#clock.monotonic() - unsaid.madeAt,
      now: this.#connection.time.now(),
      wayMs: this.#connection.writeTimeoutMs,
    })
    return this.#say(redis, unsaid.invalidation, Math.floor(since * MICROS), unsaid)
  }

  /** `since`: it counts since then, and need not be said where Redis knows of a later one. 0: from now on. */
  async #say(redis: Redis, invalidation: Invalidation, since: Moment, unsaid?: Unsaid): Promise<void> {
    let at: unknown
    if ('key' in invalidation) {
      const { id, label, user } = invalidation.key
      const { epoch, entry, lease } = this.#keys.of(invalidation.key)
      const notice = this.#backplane.sealed(user === undefined ? ['key', id, label] : ['key', id, label, user])
      const args = [since, this.#rememberedMs, this.#backplane.channel, notice, NO_EPOCH]
      at = await redis.run(INVALIDATE, [epoch, entry, lease], args)
    } else {
      const notice = this.#backplane.sealed(['user', invalidation.user])
      const args = [since, uniqueToken(), this.#rememberedMs, this.#backplane.channel, notice]
      at = await redis.run(INVALIDATE_USER, [this.#keys.epochOf(invalidation.user)], args)
    }
    const name = nameOf(invalidation)
    if (unsaid && this.#unsaid.get(name) === unsaid) this.#unsaid.delete(name)
    this.#remember(unsaid || this.#own.has(name) ? this.#own : this.#heard, invalidation, Number(at))
    this.#listener.said(invalidation)
  }

  #remember(among: LRUCache<string, Said>, invalidation: Invalidation, at: Moment): void {
    among.set(nameOf(invalidation), { invalidation, at })
  }

  /** Invalidates everything that was loaded before now: one mark, which every process knows. */
  async #purge(redis: Redis): Promise<void> {
    // What comes from now on is said by itself.
    this.#overflown = false
    try {
      await this.#sayPurge(redis, 0)
      this.#listener.everythingInvalidated()
    } catch (error) {
      this.#overflown = true
      throw error
    }
  }

  async #sayPurge(redis: Redis, since: Moment): Promise<void> {
    const args = [since, this.#rememberedMs, this.#backplane.channel, this.#backplane.sealed(['everything'])]
    this.#purgedAt = this.#credible(Number(await redis.run(PURGE, [this.#purgedKey()], args)))
  }

  /** Somebody may have invalidated everything while we were away; and Redis may have forgotten that it was. */
  async #catchUpOnPurge(redis: Redis): Promise<void> {
    const [held] = await redis.read([this.#purgedKey()])
    const at = this.#credible(Number(held?.toString('latin1')) || 0)
    if (at > this.#purgedAt) {
      this.#purgedAt = at
      this.#listener.everythingInvalidated()
    } else if (at < this.purgedAt) await this.#sayPurge(redis, this.purgedAt).catch(() => {})
  }

  #purgedKey(): string {
    return this.#connection.prefix + REDIS_KEYS.purged[0]
  }

  /** Times beside a message are not sealed: what is from the future was made up, and is taken for now. */
  #credible(at: Moment): Moment {
    const now = this.#connection.time.now()
    if (now === undefined || !(at > now * MICROS + AHEAD_MICROS)) return Number.isFinite(at) ? at : 0
    return Math.floor(now * MICROS)
  }

  /** Says what Redis refused, with growing pauses, until it takes it or the connection is lost: then `beforeReady` does. */
  #retry(): void {
    if (this.#retrying || !this.#connection.isUp) return
    this.#retrying = true
    void (async () => {
      const { signal } = new AbortController()
      for (let pauseMs = FIRST_RETRY_MS; this.#connection.isUp; pauseMs = Math.min(pauseMs * 2, LONGEST_RETRY_MS)) {
        await sleepIdly(this.#clock, pauseMs, signal)
        if (!this.#connection.isUp) break
        if (this.#overflown) await this.#purge(this.#connection).catch(() => {})
        const unsaid = [...this.#unsaid.values()]
        for (let from = 0; from < unsaid.length; from += BATCH) {
          const batch = unsaid.slice(from, from + BATCH)
          const said = await Promise.allSettled(batch.map((one) => this.#sayFirst(this.#connection, one)))
          // Where a whole batch is refused the next one would be, too.
          if (said.every(({ status }) => status === 'rejected')) break
        }
        if (!this.areUnsaid) break
      }
    })().finally(() => {
      this.#retrying = false
    })
  }
}

function nameOf(invalidation: Invalidation): string {
  return 'key' in invalidation ? `k${invalidation.key.id}` : `u${invalidation.user}`
}
