import { HoldfastError } from '../errors/errors.ts'
import type { Clock, Milliseconds } from '../time/clock.ts'
import { type Allowance, OwnerPool, type PoolState, type Taken, type Window } from './owner-pool.ts'
import type { OwnerLimits, PoolStore } from './pool-store.ts'
import type { QuotaAnswer } from './quota-answer.ts'

/** How many of the oldest pools are looked at when a new one is needed. */
const SWEPT = 8

/**
 * Pools in this process's memory. At most `maxOwners` have a window open at a time: beyond that an owner who has none is
 * refused, because forgetting a window would let its owner spend it twice.
 */
export class MemoryPools implements PoolStore {
  readonly #limits: OwnerLimits
  readonly #window: Window
  readonly #maxOwners: number
  readonly #clock: Clock
  /** In the order in which they were begun or last found busy: who is idle is found at the front. */
  readonly #pools = new Map<string, OwnerPool>()
  /** Limits set while running. */
  readonly #set = new Map<string, number>()

  constructor(options: { limits: OwnerLimits; window: Window; maxOwners: number; clock: Clock }) {
    this.#limits = options.limits
    this.#window = options.window
    this.#maxOwners = options.maxOwners
    this.#clock = options.clock
  }

  take(owner: string, n: number): Taken {
    const now = this.#clock.monotonic()
    const pool = this.#pools.get(owner) ?? this.#begin(owner, now)
    if (!pool) return { ok: false, remaining: 0, retryAfterMs: this.#window.windowMs }
    return pool.take(n, this.#allowance(owner), this.#window, now)
  }

  state(owner: string): PoolState {
    const allowance = this.#allowance(owner)
    const pool = this.#pools.get(owner)
    return pool?.state(allowance, this.#clock.monotonic()) ?? new OwnerPool().state(allowance, 0)
  }

  setLimit(owner: string, limit: number | undefined): void {
    this.#pools.get(owner)?.forgetToldLimit()
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

  learn(owner: string, answer: QuotaAnswer): void {
    const now = this.#clock.monotonic()
    const pool = this.#pools.get(owner) ?? this.#begin(owner, now)
    pool?.learn(answer, this.#allowance(owner), this.#window, now)
  }

  reset(owner: string): void {
    this.#pools.delete(owner)
  }

  close(): void {
    this.#pools.clear()
    this.#set.clear()
  }

  #allowance(owner: string): Allowance {
    const own = this.#set.get(owner) ?? this.#limits.own.get(owner)
    return own === undefined ? { limit: this.#limits.fallback, own: false } : { limit: own, own: true }
  }

  #begin(owner: string, now: Milliseconds): OwnerPool | undefined {
    if (this.#pools.size >= this.#maxOwners && !this.#sweep(now)) return undefined
    const pool = new OwnerPool()
    this.#pools.set(owner, pool)
    return pool
  }

  #sweep(now: Milliseconds): boolean {
    let swept = false
    let seen = 0
    for (const [owner, pool] of this.#pools) {
      if (++seen > SWEPT) break
      this.#pools.delete(owner)
      if (pool.idle(now)) swept = true
      else this.#pools.set(owner, pool)
    }
    return swept
  }
}
