import type { Milliseconds } from '../time/clock.ts'

/** The longest wait taken seriously: a week. What asks for more is clamped, so that no arithmetic overflows. */
export const LONGEST_WAIT_MS: Milliseconds = 7 * 24 * 60 * 60 * 1000

const DELTA_SECONDS = /^\d+(\.\d+)?$/
const IMF_FIXDATE = /^(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT$/
const RFC_850_DATE = /^(Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day, \d{2}-[A-Z][a-z]{2}-\d{2} \d{2}:\d{2}:\d{2} GMT$/
const ASCTIME_DATE = /^(Mon|Tue|Wed|Thu|Fri|Sat|Sun) [A-Z][a-z]{2} [ \d]\d \d{2}:\d{2}:\d{2} \d{4}$/

/** An HTTP-date in any of its three forms (RFC 9110, section 5.6.7) as epoch milliseconds, or undefined. */
export function parseHttpDate(text: string): Milliseconds | undefined {
  let parsed: number
  if (IMF_FIXDATE.test(text) || RFC_850_DATE.test(text)) parsed = Date.parse(text)
  else if (ASCTIME_DATE.test(text)) parsed = Date.parse(`${text} GMT`)
  else return undefined
  return Number.isNaN(parsed) ? undefined : parsed
}

/**
 * Retry-After (RFC 9110, section 10.2.3) in milliseconds from `now`: delta-seconds (decimals are tolerated) or an
 * HTTP-date, which is measured against the answer's own `Date` where `now` is taken from it. A date in the past is 0.
 * Negative, empty or malformed text is undefined, as if the header were not there. Clamped to a week.
 */
export function parseRetryAfter(text: string | null | undefined, now: Milliseconds): Milliseconds | undefined {
  if (text === null || text === undefined) return undefined
  const trimmed = text.trim()
  if (DELTA_SECONDS.test(trimmed)) return secondsToWait(Number(trimmed))
  const date = parseHttpDate(trimmed)
  return date === undefined ? undefined : Math.min(Math.max(0, date - now), LONGEST_WAIT_MS)
}

/** Seconds, as `retry_after` in a JSON body gives them, in milliseconds; undefined unless a finite number that is not negative. */
export function secondsToWait(seconds: unknown): Milliseconds | undefined {
  if (typeof seconds !== 'number' || !Number.isFinite(seconds) || seconds < 0) return undefined
  return Math.min(seconds * 1000, LONGEST_WAIT_MS)
}

/** A wait as Retry-After carries it: whole seconds, rounded up, at least 1 (a 0 would invite the caller straight back). */
export function retryAfterSeconds(waitMs: Milliseconds): number {
  return Math.max(1, Math.ceil(Math.min(waitMs, LONGEST_WAIT_MS) / 1000))
}
