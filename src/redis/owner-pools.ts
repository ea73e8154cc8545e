import { RecentlyUsed } from '../collections/recently-used.ts'
import { HoldfastError } from '../errors/errors.ts'
import type { PoolState } from '../quota/owner-pool.ts'
import type { PoolStore, QuotaWindows, Taken } from '../quota/pool-store.ts'
import type { HeardAnswer } from '../quota/quota-answer.ts'
import type { Names } from '../secrets/key-ring.ts'
import { type Clock, type Milliseconds, sleepIdly } from '../time/clock.ts'
import type { RedisConnection } from './connection.ts'
import { HeldPool, LEASE_MS, type Untold } from './held-pool.ts'
import { CHARGE, LEARN, LEASE, RESET, SET_LIMIT } from './pool-scripts.ts'
import type { Script } from './script.ts'

/** What a take is told to wait while Redis is away. */
const AWAY_MS: Milliseconds = 1_000
/** How long the first question waits for the connection to be made. */
const FIRST_CONNECT_MS: Milliseconds = 2_000

/**
 * Pools in Redis, for many processes. Calls are leased in chunks, which grow with demand and shrink as a window runs
 * out, so that most takes ask nobody; what a process does not use it gives back after a quarter of a second, and what a
 * dead process leased is lost until its window ends. Each process tells with every question how much it saw given out of
 * each window: a Redis that was started from its snapshot gives none of that a second time.
 *
 * While Redis is away nothing is given beyond what is leased: the limit is never passed, and calls wait. Where Redis
 * lost a window that this process was in, the window counts as spent until it would have ended.
 */
export class OwnerPools implements PoolStore {
  readonly #connection: RedisConnection
  readonly #name: string
  readonly #names: () => Names
  readonly #windows: QuotaWindows['windows']
  readonly #limits: QuotaWindows['limits']
  readonly #clock: Clock
  readonly #held: RecentlyUsed<string, HeldPool>
  readonly #closing = new AbortController()
  /** Limits that this process set, as long as nobody set another: a Redis that lost them is told again. */
  readonly #set: RecentlyUsed<string, number>
  #sweeping = false

  constructor(
    options: QuotaWindows & {
      connection: RedisConnection
      /** Keeps the owners of one quota apart from those of another. */
      name: string
      /** Throws while Redis was never reached. */
      names: () => Names
      maxOwners: number
      clock: Clock
    },
  ) {
    this.#connection = options.connection
    this.#name = options.name
    this.#names = options.names
    this.#windows = options.windows
    this.#limits = options.limits
    this.#clock = options.clock
    // An owner that is forgotten costs what was leased for it, until its window ends.
    this.#held = new RecentlyUsed(options.maxOwners)
    this.#set = new RecentlyUsed(options.maxOwners)
  }

  take(owner: string, n: number): Taken | Promise<Taken> {
    const held = this.#holds(owner)
    const taken = held.asking ? undefined : held.take(n, this.#clock.monotonic())
    return taken ?? this.#takeAsking(owner, held, n)
  }

  async states(owner: string): Promise<readonly PoolState[]> {
    const held = this.#holds(owner)
    await this.#ask(owner, held, LEASE, [0, 0])
    return held.states(this.#clock.monotonic())
  }

  limits(owner: string): readonly number[] {
    return this.#holds(owner).limits
  }

  async setLimit(owner: string, limit: number | undefined): Promise<void> {
    await this.#ask(owner, this.#holds(owner), SET_LIMIT, [limit ?? ''])
    if (limit === undefined) this.#set.delete(owner)
    else this.#set.set(owner, limit)
  }

  async learn(owner: string, answer: HeardAnswer, place: number | undefined): Promise<void> {
    const held = this.#holds(owner)
    const at = this.#clock.monotonic()
    if (answer.retryAfterMs !== undefined) held.close(answer.retryAfterMs, at)
    // What is just being told of a window's end is better than what would be reckoned.
    if (answer.isReckoned) while (held.asking) await held.asking.catch(() => {})
    if (held.isNews(answer, place, at)) await this.#tell(owner, held, { answer, place, at })
  }

  async charge(owner: string, n: number, windowsMs: readonly Milliseconds[]): Promise<void> {
    const places = this.#windows.flatMap(({ windowMs }, index) => (windowsMs.includes(windowMs) ? [index + 1] : []))
    await this.#ask(owner, this.#holds(owner), CHARGE, [n, ...places])
  }

  async reset(owner: string): Promise<void> {
    const held = this.#holds(owner)
    await this.#ask(owner, held, RESET, [])
    held.untold = undefined
  }

  async close(): Promise<void> {
    this.#closing.abort()
    const now = this.#clock.monotonic()
    const owners = [...this.#held.entries()].filter(([, held]) => held.holdsUnused(now))
    // Whatever cannot be given back is lost until its window ends, and no longer.
    await Promise.allSettled(owners.map(([owner, held]) => this.#ask(owner, held, LEASE, [0, 0])))
    this.#held.clear()
  }

  async #takeAsking(owner: string, held: HeldPool, n: number): Promise<Taken> {
    while (held.asking) await held.asking.catch(() => {})
    const taken = held.take(n, this.#clock.monotonic())
    if (taken) return taken
    const spent = this.#connection.isUp ? undefined : held.takeAway(n, this.#clock.monotonic())
    if (spent) return spent
    const want = held.wanted(n, this.#clock.monotonic())
    let opens: readonly Milliseconds[]
    try {
      if (held.untold) await this.#tell(owner, held, held.untold)
      opens = await this.#ask(owner, held, LEASE, [n, want])
    } catch (error) {
      if (!(error instanceof HoldfastError) || error.code !== 'REDIS_UNAVAILABLE') throw error
      const closedMs = held.closedMs(this.#clock.monotonic())
      return { ok: false, remaining: 0, retryAfterMs: Math.max(AWAY_MS, closedMs) }
    }
    this.#sweepLater()
    return held.takeLeased(n, opens, this.#clock.monotonic())
  }

  #tell(owner: string, held: HeldPool, untold: Untold): Promise<void> {
    held.untold = undefined
    const { answer, place, at } = untold
    const ageMs = this.#clock.monotonic() - at
    const { limit, remaining, resetAfterMs, retryAfterMs, doubtMs = 0, isReckoned = false } = answer
    // Of a window that is over by now nothing is told but how much one may have.
    const isOver = resetAfterMs !== undefined && resetAfterMs <= ageMs
    const words = [
      place === undefined ? 0 : place + 1,
      limit ?? '',
      isOver ? '' : (remaining ?? ''),
      isOver ? '' : (resetAfterMs ?? ''),
      retryAfterMs === undefined ? '' : Math.ceil(Math.max(0, retryAfterMs - ageMs)),
      doubtMs,
      isReckoned ? 1 : 0,
      ageMs,
    ]
    return this.#ask(owner, held, LEARN, words).then(
      () => {},
      (error) => {
        if (!(error instanceof HoldfastError) || error.code !== 'REDIS_UNAVAILABLE') throw error
        held.untold = untold
      },
    )
  }

  /** Runs a script with what it has to know of us, one at a time for each owner; says which windows it opened. */
  async #ask(
    owner: string,
    held: HeldPool,
    script: Script,
    further: ReadonlyArray<string | number>,
  ): Promise<readonly Milliseconds[]> {
    while (held.asking) await held.asking.catch(() => {})
    const asked = this.#askAlone(owner, held, script, further)
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
    held: HeldPool,
    script: Script,
    further: ReadonlyArray<string | number>,
  ): Promise<readonly Milliseconds[]> {
    // Before it was reached once nobody has a name. While it is known to be away this takes no time.
    if (!this.#connection.isUp) await this.#connection.ready(FIRST_CONNECT_MS)
    const name = this.#names().of('owner', `${this.#name} ${owner}`)
    const sentAt = this.#clock.monotonic()
    const reply = (await this.#connection.run(
      script,
      [`${this.#connection.prefix}{${name}}:pool`, `${this.#connection.prefix}{${name}}:pool-limit`],
      [...held.words(this.#limits.get(owner), sentAt), ...further],
      this.#connection.readTimeoutMs,
    )) as readonly unknown[]
    const { opens, isSet } = held.hear(reply, sentAt, this.#clock.monotonic())
    if (script !== SET_LIMIT) this.#setAgain(owner, held, isSet)
    return opens
  }

  /** Redis has lost a limit that we set (a flush): nobody takes one back without leaving a word. */
  #setAgain(owner: string, held: HeldPool, isSet: boolean): void {
    const limit = this.#set.get(owner)
    if (limit === undefined) return
    if (isSet) {
      if (held.limits[0]! > limit) this.#set.delete(owner)
      return
    }
    void this.setLimit(owner, limit).catch(() => {})
  }

  #holds(owner: string): HeldPool {
    let held = this.#held.get(owner)
    if (!held) {
      held = new HeldPool(this.#windows, this.#limits.get(owner))
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
        if (!held.holdsUnused(now)) continue
        unused = true
        if (held.isLeased(now) || held.asking || !this.#connection.isUp) continue
        await this.#ask(owner, held, LEASE, [0, 0]).catch(() => {})
      }
    }
  }
}
