import { HoldfastError } from '../errors/errors.ts'
import type { Clock, Milliseconds } from '../time/clock.ts'
import { type Allowance, OwnerPool, type PoolState } from './owner-pool.ts'
import { type OwnerWindow, takeTogether } from './owner-windows.ts'
import type { LimitedWindow, PoolStore, QuotaWindows, Taken } from './pool-store.ts'
import type { HeardAnswer } from './quota-answer.ts'

/** How many of the oldest owners are looked at when a new one is needed. */
const SWEPT = 8

/** One window, with the pools of all owners in it. */
interface PooledWindow {
  readonly window: LimitedWindow
  readonly pools: Map<string, OwnerPool>
}

/**
 * Pools in this process's memory. At most `maxOwners` have a window open at a time: beyond that an owner who has none is
 * refused, because forgetting a window would let its owner spend it twice.
 */
export class MemoryPools implements PoolStore {
  readonly #limits: ReadonlyMap<string, number>
  /** Each holds the same owners; the first in the order in which they were begun or last found busy: who is idle is found at the front. */
  readonly #windows: readonly [PooledWindow, ...PooledWindow[]]
  readonly #maxOwners: number
  readonly #clock: Clock
  /** Limits set while running. */
  readonly #set = new Map<string, number>()

  constructor(options: QuotaWindows & { maxOwners: number; clock: Clock }) {
    const pooled = (window: LimitedWindow): PooledWindow => ({ window, pools: new Map() })
    const [first, ...further] = options.windows
    this.#windows = [pooled(first), ...further.map(pooled)]
    this.#limits = options.limits
    this.#maxOwners = options.maxOwners
    this.#clock = options.clock
  }

  take(owner: string, n: number): Taken {
    const now = this.#clock.monotonic()
    const windows = this.#of(owner, now)
    if (!windows) return { ok: false, remaining: 0, retryAfterMs: this.#windows[0].window.windowMs }
    return takeTogether(windows, n, now)
  }

  states(owner: string): readonly PoolState[] {
    const now = this.#clock.monotonic()
    return this.#windows.map(({ window, pools }, place) =>
      (pools.get(owner) ?? new OwnerPool()).state(this.#allowance(owner, place), window, now),
    )
  }

  limits(owner: string): readonly number[] {
    return this.states(owner).map(({ limit }) => limit)
  }

  setLimit(owner: string, limit: number | undefined): void {
    this.#windows[0].pools.get(owner)?.forgetToldLimit()
    if (limit === undefined) {
      this.#set.delete(owner)
      return
    }
    if (!this.#set.has(owner) && this.#set.size >= this.#maxOwners)
      throw new HoldfastError(
        'QUOTA_FULL',
        `setLimit: ${this.#maxOwners} owners have limits of their own already; raise maxOwners, or return some to the default`,
      )
    this.#set.set(owner, limit)
  }

  learn(owner: string, answer: HeardAnswer, place: number | undefined): void {
    const now = this.#clock.monotonic()
    const windows = this.#of(owner, now)
    if (!windows) return
    if (answer.retryAfterMs !== undefined) windows[0]!.pool.close(answer.retryAfterMs, now)
    if (place === undefined) return
    const { pool, allowance, window } = windows[place]!
    pool.learn(answer, allowance, window, now)
  }

  charge(owner: string, n: number, windowsMs: readonly Milliseconds[]): void {
    const now = this.#clock.monotonic()
    for (const { window, pools } of this.#windows)
      if (windowsMs.includes(window.windowMs)) pools.get(owner)?.count(n, window, now)
  }

  reset(owner: string): void {
    for (const { pools } of this.#windows) pools.delete(owner)
  }

  close(): void {
    for (const { pools } of this.#windows) pools.clear()
    this.#set.clear()
  }

  #allowance(owner: string, place: number): Allowance {
    const own = place === 0 ? (this.#set.get(owner) ?? this.#limits.get(owner)) : undefined
    return own === undefined ? { limit: this.#windows[place]!.window.limit, own: false } : { limit: own, own: true }
  }

  /** An owner's windows, begun where nobody has heard of them; undefined where there is no room for one more owner. */
  #of(owner: string, now: Milliseconds): OwnerWindow[] | undefined {
    const { pools } = this.#windows[0]
    if (!pools.has(owner) && pools.size >= this.#maxOwners && !this.#sweep(now)) return undefined
    return this.#windows.map(({ window, pools }, place) => {
      let pool = pools.get(owner)
      if (!pool) {
        pool = new OwnerPool()
        pools.set(owner, pool)
      }
      return { pool, allowance: this.#allowance(owner, place), window }
    })
  }

  #sweep(now: Milliseconds): boolean {
    const [{ pools }] = this.#windows
    let swept = false
    let seen = 0
    for (const [owner, pool] of pools) {
      if (++seen > SWEPT) break
      if (this.#windows.every(({ pools }) => pools.get(owner)?.idle(now) ?? true)) {
        this.reset(owner)
        swept = true
      } else {
        pools.delete(owner)
        pools.set(owner, pool)
      }
    }
    return swept
  }
}
