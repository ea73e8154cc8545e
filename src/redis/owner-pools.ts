import { RecentlyUsed } from '../collections/recently-used.ts'
import { HoldfastError } from '../errors/errors.ts'
import type { PoolState, Taken, Window } from '../quota/owner-pool.ts'
import type { OwnerLimits, PoolStore } from '../quota/pool-store.ts'
import type { QuotaAnswer } from '../quota/quota-answer.ts'
import type { Names } from '../secrets/key-ring.ts'
import { type Clock, type Milliseconds, sleepIdly } from '../time/clock.ts'
import type { RedisConnection } from './connection.ts'
import { LEARN, LEASE, RESET, SET_LIMIT } from './pool-scripts.ts'
import type { Script } from './script.ts'

/** A lease, and a refusal, is asked about again after this: how soon a process notices what others changed. */
const LEASE_MS: Milliseconds = 250
/** Leases of one owner that follow each other faster than this grow, slower ones shrink. */
const BUSY_MS: Milliseconds = 50
const LARGEST_LEASE = 10_000
/** What a take is told to wait while Redis is away. */
const AWAY_MS: Milliseconds = 1_000
/** How long the first question waits for the connection to be made. */
const FIRST_CONNECT_MS: Milliseconds = 2_000
/** By how much the ends of one window that two answers tell may differ without being news. */
const SAME_END_MS: Milliseconds = 100

/** What this process holds of one owner's pool. Times are monotonic, and early by the way from Redis: the safe side. */
interface Held {
  /** Calls leased and not made. */
  left: number
  /** The window they are leased of, its end, and whether an answer told that. */
  window: string
  endsAt: Milliseconds
  /** Its end as seen from here, late by the way from Redis: what a refusal waits for. */
  freeAt: Milliseconds
  isTold: boolean
  /** Until when what is leased of it may be spent: from then on it may have ended upstream. */
  spendUntil: Milliseconds
  /** The most that was seen given out of it, and given back. */
  given: number
  back: number
  /** When all that is known was last forgotten, on Redis's clock. */
  epoch: string
  /** Until when they are spent without asking. */
  leasedUntil: Milliseconds
  /** What Redis had left for everybody when it was last asked; how sure a refusal can be until `refusedUntil`. */
  rest: number
  refusedUntil: Milliseconds
  limit: number
  closedUntil: Milliseconds
  /** How many calls the next lease asks for. */
  want: number
  /** When the last lease came: a Redis that is far away makes nobody less busy. */
  leasedAt: Milliseconds
  /** Whoever asks Redis about this owner; the others wait for it. */
  asking: Promise<void> | undefined
  /** An answer that Redis has not been told, because it was away. */
  untold: { readonly answer: QuotaAnswer; readonly at: Milliseconds } | undefined
}

/**
 * Pools in Redis, for many processes. Calls are leased in chunks, which grow with demand and shrink as a window runs
 * out, so that most takes ask nobody; what a process does not use it gives back after a quarter of a second, and what a
 * dead process leased is lost until its window ends. Each process tells with every question how much it saw given out of
 * the window: a Redis that was started from its snapshot gives none of that a second time.
 *
 * While Redis is away nothing is given beyond what is leased: the limit is never passed, and calls wait. Where Redis
 * lost a window that this process was in, the window counts as spent until it would have ended.
 */
export class OwnerPools implements PoolStore {
  readonly #connection: RedisConnection
  readonly #name: string
  readonly #names: () => Names
  readonly #limits: OwnerLimits
  readonly #window: Window
  readonly #clock: Clock
  readonly #held: RecentlyUsed<string, Held>
  readonly #closing = new AbortController()
  /** Limits that this process set, as long as nobody set another: a Redis that lost them is told again. */
  readonly #set: RecentlyUsed<string, number>
  #sweeping = false

  constructor(options: {
    connection: RedisConnection
    /** Keeps the owners of one quota apart from those of another. */
    name: string
    /** Throws while Redis was never reached. */
    names: () => Names
    limits: OwnerLimits
    window: Window
    maxOwners: number
    clock: Clock
  }) {
    this.#connection = options.connection
    this.#name = options.name
    this.#names = options.names
    this.#limits = options.limits
    this.#window = options.window
    this.#clock = options.clock
    // An owner that is forgotten costs what was leased for it, until its window ends.
    this.#held = new RecentlyUsed(options.maxOwners)
    this.#set = new RecentlyUsed(options.maxOwners)
  }

  take(owner: string, n: number): Taken | Promise<Taken> {
    const held = this.#holds(owner)
    return held.asking
      ? this.#takeAsking(owner, held, n)
      : (this.#takeHeld(held, n) ?? this.#takeAsking(owner, held, n))
  }

  async state(owner: string): Promise<PoolState> {
    const held = this.#holds(owner)
    await this.#ask(owner, held, LEASE, [0, 0])
    const now = this.#clock.monotonic()
    const fullAt = Math.max(now, held.endsAt, held.closedUntil)
    const remaining = now < held.closedUntil ? 0 : held.rest + held.left
    return { limit: held.limit, remaining, resetAfterMs: fullAt - now }
  }

  async setLimit(owner: string, limit: number | undefined): Promise<void> {
    await this.#ask(owner, this.#holds(owner), SET_LIMIT, [limit ?? ''])
    if (limit === undefined) this.#set.delete(owner)
    else this.#set.set(owner, limit)
  }

  async learn(owner: string, said: QuotaAnswer): Promise<void> {
    const held = this.#holds(owner)
    const now = this.#clock.monotonic()
    if (!this.#isNews(held, said, now)) return
    if (said.retryAfterMs !== undefined) held.closedUntil = Math.max(held.closedUntil, now + said.retryAfterMs)
    await this.#tell(owner, held, said, now)
  }

  async reset(owner: string): Promise<void> {
    const held = this.#holds(owner)
    await this.#ask(owner, held, RESET, [])
    held.untold = undefined
  }

  async close(): Promise<void> {
    this.#closing.abort()
    const owners = [...this.#held.entries()].filter(([, held]) => held.left > 0)
    // Whatever cannot be given back is lost until its window ends, and no longer.
    await Promise.allSettled(owners.map(([owner, held]) => this.#ask(owner, held, LEASE, [0, 0])))
    this.#held.clear()
  }

  /** Without a word to Redis; undefined where it has to be asked. */
  #takeHeld(held: Held, n: number): Taken | undefined {
    const now = this.#clock.monotonic()
    if (now < held.closedUntil) {
      // Asked about again, because somebody may have reset it meanwhile.
      return now < held.refusedUntil ? { ok: false, remaining: 0, retryAfterMs: held.closedUntil - now } : undefined
    }
    if (n <= held.left && now < held.leasedUntil) {
      held.left -= n
      return { ok: true, remaining: held.left + held.rest }
    }
    if (now >= held.refusedUntil || n <= held.left + held.rest) return undefined
    return this.#refusal(held, n, now)
  }

  async #takeAsking(owner: string, held: Held, n: number): Promise<Taken> {
    for (;;) {
      while (held.asking) await held.asking.catch(() => {})
      const taken = this.#takeHeld(held, n)
      if (taken) return taken
      if (!this.#connection.isUp && this.#mayStillSpend(held, n)) {
        held.left -= n
        return { ok: true, remaining: held.left }
      }
      const now = this.#clock.monotonic()
      // Twice as much as the last lease where that was gone at once, half where it was not.
      const sinceMs = now - held.leasedAt
      held.want = sinceMs < BUSY_MS ? Math.min(held.want * 2, LARGEST_LEASE) : Math.max(1, Math.ceil(held.want / 2))
      let opened: boolean
      try {
        if (held.untold) await this.#tell(owner, held, held.untold.answer, held.untold.at)
        opened = await this.#ask(owner, held, LEASE, [n, Math.max(n, held.want)])
      } catch (error) {
        if (!(error instanceof HoldfastError) || error.code !== 'REDIS_UNAVAILABLE') throw error
        const closedMs = held.closedUntil - this.#clock.monotonic()
        return { ok: false, remaining: 0, retryAfterMs: Math.max(AWAY_MS, closedMs) }
      }
      held.leasedAt = this.#clock.monotonic()
      if (n > held.left) return this.#refusal(held, n, this.#clock.monotonic())
      held.left -= n
      this.#sweepLater()
      const remaining = held.left + held.rest
      return { ok: true, remaining, ...(opened && { opensMs: this.#window.windowMs }) }
    }
  }

  #refusal(held: Held, n: number, now: Milliseconds): Taken {
    const remaining = now < held.closedUntil ? 0 : held.left + held.rest
    if (n > held.limit) return { ok: false, remaining, retryAfterMs: Number.POSITIVE_INFINITY }
    const freeAt = Math.max(held.closedUntil, n > held.left + held.rest ? held.freeAt : now)
    return { ok: false, remaining, retryAfterMs: Math.max(1, freeAt - now) }
  }

  /** Leased calls are ours until their window ends, whether their lease could be renewed or not. */
  #mayStillSpend(held: Held, n: number): boolean {
    const now = this.#clock.monotonic()
    return n <= held.left && now < held.spendUntil && now >= held.closedUntil
  }

  #tell(owner: string, held: Held, answer: QuotaAnswer, at: Milliseconds): Promise<void> {
    held.untold = undefined
    const ageMs = this.#clock.monotonic() - at
    const later = (ms: Milliseconds | undefined) => (ms === undefined ? '' : Math.ceil(Math.max(0, ms - ageMs)))
    const { limit, remaining, resetAfterMs, retryAfterMs } = answer
    const words = [
      limit === undefined ? '' : Math.floor(limit),
      remaining === undefined ? '' : Math.floor(remaining),
      later(resetAfterMs),
      later(retryAfterMs),
    ]
    return this.#ask(owner, held, LEARN, words).then(
      () => {},
      (error) => {
        if (!(error instanceof HoldfastError) || error.code !== 'REDIS_UNAVAILABLE') throw error
        held.untold = { answer, at }
      },
    )
  }

  /** Runs a script with what it has to know of us, one at a time for each owner; true where it opened a window. */
  async #ask(owner: string, held: Held, script: Script, words: ReadonlyArray<string | number>): Promise<boolean> {
    while (held.asking) await held.asking.catch(() => {})
    const asked = this.#askAlone(owner, held, script, words)
    const asking = asked.then(() => {})
    // Those who wait for it ask on their own, and meet the error themselves.
    asking.catch(() => {})
    held.asking = asking
    try {
      return await asked
    } finally {
      if (held.asking === asking) held.asking = undefined
    }
  }

  async #askAlone(
    owner: string,
    held: Held,
    script: Script,
    further: ReadonlyArray<string | number>,
  ): Promise<boolean> {
    // Before it was reached once nobody has a name. While it is known to be away this takes no time.
    if (!this.#connection.isUp) await this.#connection.ready(FIRST_CONNECT_MS)
    const name = this.#names().of('owner', `${this.#name} ${owner}`)
    const sentAt = this.#clock.monotonic()
    const { window, left, given, back, epoch } = held
    // Given back with the question. Where no answer comes, nobody knows whether they were: they are not spent again.
    held.left = 0
    const own = this.#limits.own.get(owner)
    const { marginMs } = this.#window
    const windowMs = this.#window.windowMs + marginMs
    const knownMs = Math.max(0, Math.floor(held.endsAt - sentAt))
    const words = [left, window, this.#limits.fallback, own ?? '', Math.ceil(windowMs), knownMs]
    const [granted, rest, limit, endsInMs, closedMs, windowNow, opened, told, isSet, ...seen] =
      (await this.#connection.run(
        script,
        [`${this.#connection.prefix}{${name}}:pool`, `${this.#connection.prefix}{${name}}:pool-limit`],
        [...words, Math.ceil(marginMs), given, back, epoch, ...further],
        this.#connection.readTimeoutMs,
      )) as [number, number, number, number, number, string, number, number, number, number, number, string, number]
    const [givenNow, backNow, epochNow, spendMs] = seen
    held.left = Number(granted)
    held.rest = Number(rest)
    held.limit = Number(limit)
    held.window = String(windowNow)
    held.endsAt = Number(endsInMs) > 0 ? sentAt + Number(endsInMs) : 0
    held.isTold = Number(told) === 1
    held.spendUntil = Math.min(held.endsAt, sentAt + Number(spendMs))
    held.given = Number(givenNow)
    held.back = Number(backNow)
    const isForgotten = String(epochNow) !== epoch
    held.epoch = String(epochNow)
    const now = this.#clock.monotonic()
    held.freeAt = now + Number(endsInMs)
    const closedUntil = Number(closedMs) > 0 ? now + Number(closedMs) : 0
    held.closedUntil = isForgotten ? closedUntil : Math.max(held.closedUntil, closedUntil)
    held.refusedUntil = Math.min(sentAt + LEASE_MS, held.endsAt || Number.POSITIVE_INFINITY)
    held.leasedUntil = Math.min(held.refusedUntil, held.spendUntil || Number.POSITIVE_INFINITY)
    if (script !== SET_LIMIT) this.#setAgain(owner, held, Number(isSet) === 1)
    return Number(opened) === 1
  }

  /** Redis has lost a limit that we set (a flush): nobody takes one back without leaving a word. */
  #setAgain(owner: string, held: Held, isSet: boolean): void {
    const limit = this.#set.get(owner)
    if (limit === undefined) return
    if (isSet) {
      if (held.limit > limit) this.#set.delete(owner)
      return
    }
    void this.setLimit(owner, limit).catch(() => {})
  }

  /** Whether an answer says more than is known: most do not, and cost no round trip. */
  #isNews(held: Held, { limit, remaining, resetAfterMs, retryAfterMs }: QuotaAnswer, now: Milliseconds): boolean {
    if (retryAfterMs !== undefined) return true
    if (limit !== undefined && limit !== held.limit) return true
    if (remaining !== undefined && remaining < held.rest + held.left) return true
    if (resetAfterMs === undefined) return false
    return !held.isTold || Math.abs(now + resetAfterMs - held.endsAt) > SAME_END_MS
  }

  #holds(owner: string): Held {
    let held = this.#held.get(owner)
    if (!held) {
      held = {
        left: 0,
        window: '',
        endsAt: 0,
        freeAt: 0,
        isTold: false,
        spendUntil: 0,
        given: 0,
        back: 0,
        epoch: '0',
        leasedUntil: 0,
        rest: 0,
        refusedUntil: 0,
        limit: this.#limits.own.get(owner) ?? this.#limits.fallback,
        closedUntil: 0,
        want: 1,
        leasedAt: Number.NEGATIVE_INFINITY,
        asking: undefined,
        untold: undefined,
      }
      this.#held.set(owner, held)
    }
    return held
  }

  #sweepLater(): void {
    if (this.#sweeping) return
    this.#sweeping = true
    void this.#sweep().finally(() => {
      this.#sweeping = false
    })
  }

  /** Gives back what was leased and not used, for as long as there is any. */
  async #sweep(): Promise<void> {
    const { signal } = this.#closing
    for (let unused = true; unused && !signal.aborted; ) {
      await sleepIdly(this.#clock, LEASE_MS, signal).catch(() => {})
      unused = false
      if (signal.aborted) return
      for (const [owner, held] of this.#held.entries()) {
        const now = this.#clock.monotonic()
        if (held.left === 0 || now >= held.spendUntil) continue
        unused = true
        if (now < held.leasedUntil || held.asking || !this.#connection.isUp) continue
        await this.#ask(owner, held, LEASE, [0, 0]).catch(() => {})
      }
    }
  }
}
