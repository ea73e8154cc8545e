import type { RateLimitScope } from '../errors/errors.ts'
import { parseHttpDate, parseRetryAfter, secondsToWait } from '../http/retry-after.ts'
import type { Milliseconds } from '../time/clock.ts'
import type { BucketNews } from './bucket.ts'
import type { Answer, Method, Route } from './call.ts'

/** What an answer means. */
export type Verdict =
  | { readonly kind: 'success' }
  /** Discord itself refused, in its own JSON. */
  | { readonly kind: 'refused'; readonly discordCode: number | undefined }
  /** A 3xx or 4xx that is not Discord's own: a redirect, a proxy, a block page. */
  | { readonly kind: 'foreign' }
  | { readonly kind: 'trouble'; readonly waitMs: Milliseconds | undefined }
  | RateLimited

/** A 429, by what has to pause: everything, a principal, a resource that others use too, one route of a principal, or its bucket. */
export interface RateLimited {
  readonly kind: 'rate-limited'
  readonly pause: 'egress' | 'principal' | 'resource' | 'route' | 'bucket'
  readonly scope: RateLimitScope
  /** Whether Discord counts it as an invalid request. */
  readonly invalid: boolean
  /** What Discord asked for; undefined where it named no wait, or none that is longer than 0. */
  readonly waitMs: Milliseconds | undefined
  readonly discordCode: number | undefined
}

/** Reads an answer. Pure; `now` is the wall clock, used only where the answer carries no `Date` of its own. */
export function classify(answer: Answer, route: Route, now: Milliseconds): Verdict {
  const { status } = answer
  if (status >= 200 && status < 300) return { kind: 'success' }
  const body = parseObject(answer.body)
  if (status === 429) return rateLimited(answer, body, route, now)
  if (status >= 500) return { kind: 'trouble', waitMs: namedWait(answer, body, now) }
  if (!body || !isDiscords(body, status)) return { kind: 'foreign' }
  return { kind: 'refused', discordCode: codeOf(body) }
}

function rateLimited(answer: Answer, body: Body | undefined, route: Route, now: Milliseconds): RateLimited {
  const { headers } = answer
  const scope = headers['x-ratelimit-scope']
  const details = {
    kind: 'rate-limited',
    invalid: scope !== 'shared',
    waitMs: namedWait(answer, body, now),
    discordCode: body && codeOf(body),
  } as const
  if (headers['x-ratelimit-global'] === 'true' || scope === 'global' || body?.global === true)
    return { ...details, pause: 'principal', scope: 'global' }
  if (!hasLimitHeaders(answer) && secondsToWait(body?.retry_after) === undefined) {
    // The token endpoint never sends these headers, and counts by address and application: all its callers pause.
    if (route.name.endsWith(' /oauth2/token') && body && !looksLikeBan(body))
      return { ...details, pause: 'resource', scope: 'shared' }
    return { ...details, pause: 'egress', scope: 'egress' }
  }
  if (scope === 'shared') return { ...details, pause: 'resource', scope: 'shared' }
  const remaining = number(headers['x-ratelimit-remaining'])
  if (remaining !== undefined && remaining > 0) return { ...details, pause: 'route', scope: 'user' }
  return { ...details, pause: 'bucket', scope: 'user' }
}

/** No bucket's window is known to be longer; a header that says so locks a user out no longer than this before it is tried. */
const LONGEST_WINDOW_MS: Milliseconds = 60 * 60 * 1000

/** What the answer says about its bucket, or undefined where it does not say all of it. */
export function bucketNews(answer: Answer): BucketNews | undefined {
  const limit = number(answer.headers['x-ratelimit-limit'])
  const remaining = number(answer.headers['x-ratelimit-remaining'])
  // Not X-RateLimit-Reset: it is a time on Discord's clock, and ours may differ.
  const resetAfterMs = secondsToWait(number(answer.headers['x-ratelimit-reset-after']))
  // A limit of 0 would let nothing through for ever, and is none.
  if (!limit || remaining === undefined || resetAfterMs === undefined) return undefined
  return { limit, remaining, resetAfterMs: Math.min(resetAfterMs, LONGEST_WINDOW_MS) }
}

/** Whether the request can be sent again without doing something twice (RFC 9110, section 9.2.2). */
export function isIdempotent(method: Method): boolean {
  return method === 'GET' || method === 'PUT' || method === 'DELETE'
}

/** The statuses that `retryOn: 'transient'` tries again. */
export function isTransient(status: number): boolean {
  return status === 500 || status === 502 || status === 503 || status === 504
}

/** The wait before try `attempt` + 1 where Discord named none: doubling from `firstMs`, and up to a quarter longer, so that many do not come back at once. */
export function backoffMs(attempt: number, firstMs: Milliseconds, random: () => number): Milliseconds {
  return firstMs * 2 ** (attempt - 1) * (1 + random() / 4)
}

type Body = Record<string, unknown>

function parseObject(text: string): Body | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Body) : undefined
  } catch {
    return undefined
  }
}

/** Discord's errors are `{ message, code }`, OAuth2's `{ error }`; the plain ones read "401: Unauthorized". A gateway's bare `{ message }` is neither. */
function isDiscords(body: Body, status: number): boolean {
  if (typeof body.error === 'string' && status !== 403) return true
  if (typeof body.message !== 'string') return false
  return Number.isInteger(body.code) || body.message.startsWith(`${status}: `)
}

function codeOf(body: Body): number | undefined {
  return typeof body.code === 'number' && Number.isInteger(body.code) ? body.code : undefined
}

function looksLikeBan(body: Body): boolean {
  return typeof body.message === 'string' && /blocked from accessing|1015/i.test(body.message)
}

function hasLimitHeaders(answer: Answer): boolean {
  for (const name in answer.headers) if (name.startsWith('x-ratelimit-')) return true
  return false
}

function namedWait(answer: Answer, body: Body | undefined, now: Milliseconds): Milliseconds | undefined {
  const date = parseHttpDate(answer.headers.date ?? '')
  // The body first: it has decimals where the header is rounded up to whole seconds.
  return secondsToWait(body?.retry_after) || parseRetryAfter(answer.headers['retry-after'], date ?? now) || undefined
}

function number(text: string | undefined): number | undefined {
  if (text === undefined || text.trim() === '') return undefined
  const value = Number(text)
  return Number.isFinite(value) && value >= 0 ? value : undefined
}
