import type { Milliseconds } from '../time/clock.ts'

/** What stands in the ledger about the fetch that a user's rows came from. Wall-clock times are epoch milliseconds. */
export interface StandingFetch {
  readonly sentAt: Milliseconds
  readonly savedAt: Milliseconds
  /** How far the clock had moved until it was saved, since the process that saved it had last seen the ledger; what was no step is nearly 0. */
  readonly driftMs: Milliseconds
  /** Which write to the ledger it was saved by; they are counted, without a clock. 0: never saved. */
  readonly turn: number
  /** The process that saved it, and that process's monotonic clock when it was sent. */
  readonly writer: string
  readonly writerMs: Milliseconds
}

/** A fetch that was answered and is about to be saved. */
export interface ArrivingFetch {
  /** On the clock by which `now` is read. */
  readonly sentAt: Milliseconds
  readonly writer: string
  readonly writerMs: Milliseconds
  /** The newest turn that this process had seen before it was sent. */
  readonly seenTurn: number
  /** How far the wall clock has moved against the monotonic one since that was seen; what was not a clock's step is nearly 0. */
  readonly driftMs: Milliseconds
}

/** A difference between two processes' times that is no step of a clock. */
const TOLERANCE_MS: Milliseconds = 1_000

/**
 * Which of two fetches of one user was sent last: only that one may stand, whatever the order of the answers. In order:
 * one process's monotonic clock never lies; what was saved before we asked is older than our question; else the wall
 * clocks decide, as far as they have not been seen to step. `unknown` where nothing tells: then neither may be shown.
 */
export function laterFetch(
  standing: StandingFetch,
  arriving: ArrivingFetch,
  now: Milliseconds,
): 'arriving' | 'standing' | 'unknown' {
  if (standing.turn === 0) return 'arriving'
  if (standing.writer === arriving.writer) return arriving.writerMs >= standing.writerMs ? 'arriving' : 'standing'
  if (standing.turn <= arriving.seenTurn) return 'arriving'
  const doubtMs = doubtAbout(arriving) + doubtAbout(standing)
  // Saved in what is now the future: the clock was set back since.
  if (standing.savedAt > now + TOLERANCE_MS) return 'unknown'
  const laterMs = arriving.sentAt - standing.sentAt
  if (Math.abs(laterMs) <= doubtMs) return 'unknown'
  return laterMs > 0 ? 'arriving' : 'standing'
}

/** How wrong the time may be at which a fetch was sent. */
function doubtAbout({ driftMs }: { readonly driftMs: Milliseconds }): Milliseconds {
  return Math.abs(driftMs) > TOLERANCE_MS ? Math.abs(driftMs) + TOLERANCE_MS : 0
}
