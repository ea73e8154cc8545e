import type { Milliseconds } from '../time/clock.ts'
import type { PoolState, Window } from './owner-pool.ts'
import type { HeardAnswer } from './quota-answer.ts'

/** What `take` answers. */
export type Taken =
  | {
      readonly ok: true
      /** What is left after this, of the window that has least. */
      readonly remaining: number
      /** The windows that these calls begin, by their length; left out where they begin none. */
      readonly opens?: readonly Milliseconds[]
    }
  | {
      readonly ok: false
      readonly remaining: number
      /** Until they could be taken; Infinity where more was asked for than a limit is. */
      readonly retryAfterMs: Milliseconds
    }

/** A window of a quota, with the limit that owners without one of their own have in it. */
export interface LimitedWindow extends Window {
  readonly limit: number
}

/** What a quota counts in: every call in all of its windows. Limits of single owners are for the first. */
export interface QuotaWindows {
  readonly windows: readonly [LimitedWindow, ...LimitedWindow[]]
  readonly limits: ReadonlyMap<string, number>
}

/** Where the pools of all owners are kept: this process's memory, or Redis for many processes. Arguments are checked. */
export interface PoolStore {
  take(owner: string, n: number): Taken | Promise<Taken>
  /** Of each window, in their order. */
  states(owner: string): readonly PoolState[] | Promise<readonly PoolState[]>
  /** What each window may have, as far as this process knows. */
  limits(owner: string): readonly number[]
  /** For the first window. */
  setLimit(owner: string, limit: number | undefined): void | Promise<void>
  /**
   * Given what is believed of an answer, and the place of the window that it is about, where it is about one of them. Its
   * effect on this process's own takes is there at once, before the promise resolves.
   */
  learn(owner: string, answer: HeardAnswer, place: number | undefined): void | Promise<void>
  /** Counts calls in windows that are open, given by their length, whether there is room for them or not. */
  charge(owner: string, n: number, windowsMs: readonly Milliseconds[]): void | Promise<void>
  /** Forgets what was counted and learned, and not what was set. */
  reset(owner: string): void | Promise<void>
  close(deadlineMs?: Milliseconds): void | Promise<void>
}
