import type { Milliseconds } from '../time/clock.ts'

/** What an answer of the upstream says about its owner's quota. A field that is left out, or cannot be, says nothing. */
export interface QuotaAnswer {
  /** Calls a window may have; 0 says nothing, because a header that is missing reads as 0, and nor does what remains of it. */
  readonly limit?: number
  /** Calls that the upstream would still accept in this window. */
  readonly remaining?: number
  /** Until the window ends, counted from now; 0 says nothing. At most four windows are believed. */
  readonly resetAfterMs?: Milliseconds
  /** The upstream refused: nothing goes before this has passed, counted from now. At most four windows or an hour are believed. */
  readonly retryAfterMs?: Milliseconds
  /**
   * Which of several windows the answer is about, by its length. Without it that is the one whose limit it names, else the
   * first. Of an answer about a window that the quota does not have only `retryAfterMs` is believed. A quota of one window
   * takes every answer to be about that.
   */
  readonly windowMs?: Milliseconds
}

/** An answer that is believed, and what is known of the call that it answers. */
export interface HeardAnswer extends QuotaAnswer {
  /** So much sooner than it tells the window may end for a call that is sent: the ways of the call that was answered, and of the next one. */
  readonly doubtMs?: Milliseconds
  /** Nobody told the end: it is reckoned from the first call that was answered. */
  readonly isReckoned?: boolean
  /** The call was sent when the window that is open had begun: it cannot be about the one before. */
  readonly isOfThisWindow?: boolean
}

/** What a batch knows of the call that was answered. */
export type KnownOfCall = Pick<HeardAnswer, 'doubtMs' | 'isReckoned' | 'isOfThisWindow'>

/** Nobody allows so many calls a window: what is more is an error, or meant for ever. */
const LARGEST_LIMIT = 1_000_000_000
/** How many windows a told end may be away: an end further off is an epoch, or another unit. */
export const BELIEVED_WINDOWS = 4
/** Upstreams that ban say an hour. */
const LONGEST_WAIT_MS: Milliseconds = 60 * 60 * 1000

/**
 * An answer as far as it can be believed, whichever window it is about: every field that is left is a number in its
 * bounds. How far off an end may be is for the window to say. Pure.
 */
export function believed(answer: QuotaAnswer, longestWindowMs: Milliseconds): QuotaAnswer {
  const windowMs = from(answer.windowMs, Number.MIN_VALUE)
  const limit = from(answer.limit, 1, LARGEST_LIMIT)
  const remaining = answer.limit === 0 ? undefined : from(answer.remaining, 0, LARGEST_LIMIT)
  const resetAfterMs = from(answer.resetAfterMs, Number.MIN_VALUE)
  const retryAfterMs = from(answer.retryAfterMs, 0)
  const longestMs = BELIEVED_WINDOWS * longestWindowMs
  return {
    ...(windowMs !== undefined && { windowMs }),
    ...(limit !== undefined && { limit: Math.floor(limit) }),
    ...(remaining !== undefined && { remaining: Math.floor(remaining) }),
    ...(resetAfterMs !== undefined && { resetAfterMs: Math.min(resetAfterMs, longestMs) }),
    ...(retryAfterMs !== undefined && { retryAfterMs: Math.min(retryAfterMs, Math.max(longestMs, LONGEST_WAIT_MS)) }),
  }
}

/** The window that an answer is about, by its place; undefined where the quota has no such window. */
export function windowOf(
  { windowMs, limit }: QuotaAnswer,
  lengthsMs: readonly Milliseconds[],
  limits: readonly number[],
): number | undefined {
  if (lengthsMs.length === 1) return 0
  if (windowMs === undefined) return limit === undefined ? 0 : Math.max(0, limits.indexOf(limit))
  const place = lengthsMs.indexOf(windowMs)
  return place === -1 ? undefined : place
}

function from(value: unknown, min: number, max = Number.MAX_VALUE): number | undefined {
  return typeof value === 'number' && value >= min && value <= max ? value : undefined
}
