import type { Milliseconds } from '../time/clock.ts'

/** What an answer of the upstream says about its owner's quota. A field that is left out, or cannot be, says nothing. */
export interface QuotaAnswer {
  /** Calls a window may have; 0 says nothing, because a header that is missing reads as 0. */
  readonly limit?: number
  /** Calls that the upstream would still accept in this window. */
  readonly remaining?: number
  /** Until the window ends, counted from now; 0 says nothing. At most four windows are believed. */
  readonly resetAfterMs?: Milliseconds
  /** The upstream refused: nothing goes before this has passed, counted from now. At most four windows or an hour are believed. */
  readonly retryAfterMs?: Milliseconds
}

/** Nobody allows so many calls a window: what is more is an error, or meant for ever. */
const LARGEST_LIMIT = 1_000_000_000
/** How many windows a told end may be away: an end further off is an epoch, or another unit. */
const BELIEVED_WINDOWS = 4
/** Upstreams that ban say an hour. */
const LONGEST_WAIT_MS: Milliseconds = 60 * 60 * 1000

/** An answer as far as it can be believed: every field that is left is a number in its bounds. Pure. */
export function believed(answer: QuotaAnswer, windowMs: Milliseconds): QuotaAnswer {
  const limit = from(answer.limit, 1, LARGEST_LIMIT)
  const remaining = from(answer.remaining, 0, LARGEST_LIMIT)
  const resetAfterMs = from(answer.resetAfterMs, Number.MIN_VALUE)
  const retryAfterMs = from(answer.retryAfterMs, 0)
  return {
    ...(limit !== undefined && { limit: Math.floor(limit) }),
    ...(remaining !== undefined && { remaining: Math.floor(remaining) }),
    ...(resetAfterMs !== undefined && { resetAfterMs: Math.min(resetAfterMs, BELIEVED_WINDOWS * windowMs) }),
    ...(retryAfterMs !== undefined && {
      retryAfterMs: Math.min(retryAfterMs, Math.max(BELIEVED_WINDOWS * windowMs, LONGEST_WAIT_MS)),
    }),
  }
}

function from(value: unknown, min: number, max = Number.MAX_VALUE): number | undefined {
  return typeof value === 'number' && value >= min && value <= max ? value : undefined
}
