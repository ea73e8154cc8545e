import type { Milliseconds } from '../time/clock.ts'
import type { Lane } from './lane.ts'

/** What a batch itself lets through to one owner. Where that changes, the lane is told (`changed`). */
export interface Gate {
  /** When a call of that cost may go: `now`, later, or Infinity for when an answer has come. */
  readyAt(cost: number, now: Milliseconds): Milliseconds
}

/** A batch, as the dispatcher sees it. */
export interface Contender {
  /** The pools that it may spend. */
  readonly lanes: readonly Lane[]
  /** Whether it has a request that could go now. */
  readonly wants: boolean
  /** Calls its next request counts for. */
  readonly cost: number
  /** Its own rules for an owner; always the same one. */
  gate(lane: Lane): Gate
  /** Whether its next request costs more than that owner may make in a window. */
  neverGoes(lane: Lane): boolean
  /** Its next request is never sent. */
  skips(): void
  /** Sends one request. `opens` as in `Taken`. */
  go(lane: Lane, opens: readonly Milliseconds[] | undefined): void
  /** Nothing can go before `until` (monotonic); undefined: it waits for an answer, or not at all. */
  waits(until: Milliseconds | undefined): void
  /** Nothing will ever go: no owner may make a call. */
  givesUp(): void
  /** The quota itself failed. */
  fails(error: unknown): void
}
