import type { Milliseconds } from '../time/clock.ts'
import type { Quota } from './rules.ts'

/** What requests are counted under: a verified user, a verified session, or an address. */
export type CallerKind = 'user' | 'session' | 'ip'

/** One limit after a request was counted, or refused. */
export interface Count {
  /** Requests charged in the window; more than the limit where what may not be refused came on top. */
  readonly used: number
  /** How long the window still lasts; its whole length where none has begun. */
  readonly resetInMs: Milliseconds
  /** How long the window is; this month's length for months. */
  readonly windowMs: Milliseconds
  /** Whether this limit refuses the request. */
  readonly refuses: boolean
}

/** The outcome of asking for a request's places in all of its limits: all were taken, or none. */
export interface Taken {
  readonly admitted: boolean
  /** In the order of the limits asked for. */
  readonly counts: readonly Count[]
  /** How long until every limit that refuses has a new window; 0 where the request was admitted. */
  readonly retryAfterMs: Milliseconds
  /**
   * Gives the places back, each only where its window is still the one that was charged; false where none was. To be
   * called once. The count that the ceiling is held against stays.
   */
  refund(): boolean | Promise<boolean>
}

/**
 * Asks whether a request may be refused. Asked only when a limit is spent, because finding out costs more than counting.
 */
export interface Refusable {
  mayRefuse(): boolean
}

/** An attempt to take places in a store that can fail to answer. */
export interface Attempt {
  /** Rejects with REDIS_UNAVAILABLE where the store does not answer in time; it may have counted even so. */
  readonly taken: Promise<Taken>
  /** Sees to it that the attempt counts for nothing, whether the store has seen it, will see it or never does. */
  undo(): void
}

/** Counters that processes share. */
export interface CounterStore {
  attempt(kind: CallerKind, id: string, quotas: readonly Quota[], mayRefuse: boolean): Attempt
}
