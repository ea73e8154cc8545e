import type { Milliseconds } from '../time/clock.ts'
import type { AppliedLimit } from './applied-limit.ts'
import type { CallerKind, Count } from './counters.ts'

/** One limit as a handler may see it. */
export interface LimitState {
  readonly name: string
  /** Requests a window, for this caller. */
  readonly limit: number
  readonly remaining: number
  /** How long the window is; this month's length for months. */
  readonly windowMs: Milliseconds
  readonly resetAt: Date
}

/** Which families of headers answers carry. */
export interface HeaderChoice {
  /** `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-11, lists of RFC 9651). */
  readonly rateLimit: boolean
  /** `X-RateLimit-Limit`, `-Remaining` and `-Reset` (epoch seconds), of the limit that is nearest to its end; and the same in words of older drafts within `RateLimit`. */
  readonly xRateLimit: boolean
}

type Header = readonly [name: string, value: string]

/** Headers that say where a caller stands. Both families and Retry-After are rounded the same way: up to whole seconds. */
export function limitHeaders(
  limits: readonly AppliedLimit[],
  counts: readonly Count[],
  now: Milliseconds,
  choice: HeaderChoice,
): Header[] {
  const headers: Header[] = []
  if (limits.length === 0) return headers
  const nearest = binding(limits, counts)
  if (choice.rateLimit) {
    const policies = limits.map(
      ({ name, limit }, index) => `"${name}";q=${limit};w=${seconds(counts[index]!.windowMs)}`,
    )
    const states = limits.map((applied, index) => {
      const count = counts[index]!
      const [left, reset] = [remaining(applied, count), seconds(count.resetInMs)]
      // Readers of older drafts (ratelimit-header-parser) find `RateLimit` before X-RateLimit, and look for these three
      // words in it. To readers of the list they are parameters of an item that they do not know.
      const older =
        choice.xRateLimit && index === nearest ? `;limit=${applied.limit};remaining=${left};reset=${reset}` : ''
      return `"${applied.name}";r=${left};t=${reset}${older}`
    })
    headers.push(['ratelimit-policy', policies.join(', ')], ['ratelimit', states.join(', ')])
  }
  if (choice.xRateLimit) {
    const [applied, count] = [limits[nearest]!, counts[nearest]!]
    headers.push(
      ['x-ratelimit-limit', String(applied.limit)],
      ['x-ratelimit-remaining', String(remaining(applied, count))],
      ['x-ratelimit-reset', String(Math.ceil((now + count.resetInMs) / 1000))],
    )
  }
  return headers
}

/** What a refusal says on top: under what the caller was counted, and the window that is spent. */
export function refusalHeaders(
  limits: readonly AppliedLimit[],
  counts: readonly Count[],
  kind: CallerKind,
  choice: HeaderChoice,
): Header[] {
  if (!choice.xRateLimit || limits.length === 0) return []
  return [
    ['x-ratelimit-scope', kind],
    ['x-ratelimit-window', String(seconds(counts[binding(limits, counts)]!.windowMs))],
  ]
}

export function limitStates(
  limits: readonly AppliedLimit[],
  counts: readonly Count[],
  now: Milliseconds,
): LimitState[] {
  return limits.map((applied, index) => {
    const count = counts[index]!
    return {
      name: applied.name,
      limit: applied.limit,
      remaining: remaining(applied, count),
      windowMs: count.windowMs,
      resetAt: new Date(now + Math.max(0, count.resetInMs)),
    }
  })
}

function remaining({ limit }: AppliedLimit, { used, exhausted }: Count): number {
  return exhausted ? 0 : Math.max(0, limit - used)
}

/** The limit that will say no first: what refuses; then the least that is left; then the longest wait. */
function binding(limits: readonly AppliedLimit[], counts: readonly Count[]): number {
  let found = 0
  for (let index = 1; index < limits.length; index++) {
    const [here, there] = [counts[index]!, counts[found]!]
    if (here.refuses !== there.refuses) {
      if (here.refuses) found = index
      continue
    }
    const difference = remaining(limits[index]!, here) - remaining(limits[found]!, there)
    if (difference < 0 || (difference === 0 && here.resetInMs > there.resetInMs)) found = index
  }
  return found
}

const seconds = (ms: Milliseconds) => Math.max(1, Math.ceil(ms / 1000))
