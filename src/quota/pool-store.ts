import type { Milliseconds } from '../time/clock.ts'
import type { PoolState, Taken } from './owner-pool.ts'
import type { QuotaAnswer } from './quota-answer.ts'

/** The limits that were given when the quota was made. */
export interface OwnerLimits {
  /** For owners without one of their own. */
  readonly fallback: number
  readonly own: ReadonlyMap<string, number>
}

/** Where the pools of all owners are kept: this process's memory, or Redis for many processes. Arguments are checked. */
export interface PoolStore {
  take(owner: string, n: number): Taken | Promise<Taken>
  state(owner: string): PoolState | Promise<PoolState>
  setLimit(owner: string, limit: number | undefined): void | Promise<void>
  /** Given what is believed of an answer. Its effect on this process's own takes is there at once, before the promise resolves. */
  learn(owner: string, answer: QuotaAnswer): void | Promise<void>
  /** Forgets what was counted and learned, and not what was set. */
  reset(owner: string): void | Promise<void>
  close(deadlineMs?: Milliseconds): void | Promise<void>
}
