import type { Milliseconds } from '../time/clock.ts'
import type { GuardRequest } from './guard-request.ts'

export type OnStoreError = 'local' | 'open' | 'closed'

/** Points that a request costs in a limit. */
export type Cost = number | ((request: GuardRequest) => number)

/** One limit as it stands for one kind of caller. */
export interface AppliedLimit {
  /** Which counter; the same for anonymous and signed-in callers, who never share a key. */
  readonly counter: string
  /** The counter's place among all of a guard. */
  readonly slot: number
  /** What users and headers call it. */
  readonly name: string
  /** Points a window. */
  readonly limit: number
  /** So many points stop a window whatever comes, given back or not. */
  readonly ceiling: number
  readonly windowMs: Milliseconds | 'month'
  /** Whether the window slides (what the one before it held fades out), or begins anew. Never with a month. */
  readonly sliding: boolean
  readonly cost: Cost
  readonly onStoreError: OnStoreError
}

/** The limits of a rule: for callers whom nobody has identified, and for users and sessions. */
export interface LimitsByCaller {
  readonly anonymous: readonly AppliedLimit[]
  readonly signedIn: readonly AppliedLimit[]
}
