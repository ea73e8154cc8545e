import type { Milliseconds } from '../time/clock.ts'
import type { AppliedLimit } from './applied-limit.ts'

/**
 * What requests are counted under: a verified user, a verified session, a key of the app's own, an address. In this
 * process also the IPv6 network an address is in, and who arrives from an address before anyone is known.
 */
export type CallerKind = 'user' | 'session' | 'key' | 'ip' | 'network' | 'arrival'

/** One limit after a request was counted, or refused. */
export interface Count {
  /** Points charged in the window; more than the limit where what may not be refused came on top. */
  readonly used: number
  /**
   * How long the window still lasts; its whole length where none has begun. Of a sliding window that refuses: how long
   * until the request would pass.
   */
  readonly resetInMs: Milliseconds
  /** How long the window is; this month's length for months. */
  readonly windowMs: Milliseconds
  /** Whether this limit refuses the request. */
  readonly refuses: boolean
  /** Whether it does because of all that was admitted, given back or not: then nothing remains, whatever is charged. */
  readonly exhausted: boolean
}

/** The outcome of asking for a request's places in all of its limits: all were taken, or none. */
export interface Taken {
  readonly admitted: boolean
  /** In the order of the limits asked for. */
  readonly counts: readonly Count[]
  /** How long until every limit that refuses would let it in; 0 where the request was admitted. */
  readonly retryAfterMs: Milliseconds
  /**
   * Gives the points back, each only where its window still counts; false where none was. To be called once. The count
   * that the ceiling is held against stays.
   */
  refund(): boolean | Promise<boolean>
}

/**
 * Asks whether a request may be refused. Asked only when a limit is spent, because finding out costs more than counting.
 */
export interface Refusable {
  mayRefuse(): boolean
}

/** Points of a request, one for each of its limits; undefined where it is one in each. */
export type Costs = readonly number[] | undefined

/** An attempt to take places in a store that can fail to answer. */
export interface Attempt {
  /** Rejects with REDIS_UNAVAILABLE where the store does not answer in time; it may have counted even so. */
  readonly taken: Promise<Taken>
  /** Sees to it that the attempt counts for nothing, whether the store has seen it, will see it or never does. */
  undo(): void
}

/** Counters that processes share. */
export interface CounterStore {
  attempt(kind: CallerKind, id: string, limits: readonly AppliedLimit[], mayRefuse: boolean, costs?: Costs): Attempt
  /** Where a caller stands; nothing is counted. Rejects with REDIS_UNAVAILABLE. */
  look(kind: CallerKind, id: string, limits: readonly AppliedLimit[]): Promise<readonly Count[]>
  /** Forgets all that was counted for a caller. Rejects with REDIS_UNAVAILABLE. */
  forget(kind: CallerKind, id: string): Promise<void>
}
