import type { RateLimitScope } from '../errors/errors.ts'
import { parseHttpDate, parseRetryAfter, secondsToWait } from '../http/retry-after.ts'
import type { Milliseconds } from '../time/clock.ts'
import type { Answer, AnswerHead, BucketReport, Method, Route, TokenType } from './call.ts'
import { type Body, codeOf, isDiscords, looksLikeBan, parseObject } from './error-body.ts'

/** What an answer means. */
export type Verdict =
  | { readonly kind: 'success' }
  /**
   * Discord itself refused, in its own JSON. `token` where that is about the token, whatever was asked with it (`dead`), or
   * may be (`doubtful`: a bot's, which `/users/@me` can tell).
   */
  | { readonly kind: 'refused'; readonly body: Body; readonly token: 'dead' | 'doubtful' | undefined }
  /** A 3xx or 4xx that is not Discord's own: a redirect, a proxy, a block page. */
  | { readonly kind: 'foreign'; readonly waitMs: Milliseconds | undefined }
  /** A 403 about our address or User-Agent: Discord's code 40333, or Cloudflare's JSON. */
  | { readonly kind: 'blocked'; readonly waitMs: Milliseconds | undefined; readonly body: Body }
  | { readonly kind: 'trouble'; readonly waitMs: Milliseconds | undefined; readonly body: Body | undefined }
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
  readonly body: Body | undefined
}

/** Discord's JSON for a request that Cloudflare blocked: "internal network error" (discord-api-docs#6473). */
const INTERNAL_NETWORK_ERROR = 40_333

/** Reads an answer. Pure; `now` is the wall clock, used only where the answer carries no `Date` of its own. */
export function classify(answer: Answer, route: Route, tokenType: TokenType, now: Milliseconds): Verdict {
  const { status } = answer
  if (status >= 200 && status < 300) return { kind: 'success' }
  const body = parseObject(answer.body)
  if (status === 429) return rateLimited(answer, body, route, now)
  if (status >= 500) return { kind: 'trouble', waitMs: namedWait(answer, body, now), body }
  if (body && status === 403 && (body.code === INTERNAL_NETWORK_ERROR || body.cloudflare_error === true))
    return { kind: 'blocked', waitMs: longestWait(answer, body, now), body }
  if (!body || body.cloudflare_error === true || !isDiscords(body, status))
    return { kind: 'foreign', waitMs: longestWait(answer, body, now) }
  return { kind: 'refused', body, token: status === 401 ? whatOfToken(route, tokenType, codeOf(body)) : undefined }
}

/** Whether Discord counts an answer among the invalid requests (docs, topic Rate Limits, Invalid Request Limit); its head tells. */
export function countsAsInvalid({ status, headers }: AnswerHead): boolean {
  return status === 401 || status === 403 || (status === 429 && headers['x-ratelimit-scope'] !== 'shared')
}

const INVALID_OAUTH2_TOKEN = 50_025
/** A webhook's or interaction's own token, which stands in the path: it says nothing about who asked. */
const INVALID_WEBHOOK_TOKEN = 50_027
/** Where nothing but the token can be wrong. */
const IDENTITY_ROUTES: Readonly<Record<TokenType, readonly string[]>> = {
  Bearer: ['GET /users/@me', 'GET /users/@me/guilds', 'GET /oauth2/@me'],
  Bot: ['GET /users/@me'],
  none: [],
}

/** What a 401 says of the token: it can also be about what was asked with it, or the path it was asked on. */
function whatOfToken(
  route: Route,
  tokenType: TokenType,
  discordCode: number | undefined,
): 'dead' | 'doubtful' | undefined {
  if (discordCode === INVALID_WEBHOOK_TOKEN) return undefined
  if (tokenType === 'Bearer' && discordCode === INVALID_OAUTH2_TOKEN) return 'dead'
  if (IDENTITY_ROUTES[tokenType].includes(route.name)) return 'dead'
  // A bot whose token was reset may never ask who it is, and would be refused on and on.
  return tokenType === 'Bot' ? 'doubtful' : undefined
}

function rateLimited(answer: Answer, body: Body | undefined, route: Route, now: Milliseconds): RateLimited {
  const { headers } = answer
  const scope = headers['x-ratelimit-scope']
  const details = {
    kind: 'rate-limited',
    invalid: countsAsInvalid(answer),
    waitMs: namedWait(answer, body, now),
    body,
  } as const
  const egress = { ...details, pause: 'egress', scope: 'egress', waitMs: longestWait(answer, body, now) } as const
  // RFC 9457 JSON, which Cloudflare sends since 2026-03 to who accepts JSON. Its retry_after is about its own page.
  if (body?.cloudflare_error === true) return egress
  if (headers['x-ratelimit-global'] === 'true' || scope === 'global' || body?.global === true)
    return { ...details, pause: 'principal', scope: 'global' }
  if (!hasLimitHeaders(answer) && secondsToWait(body?.retry_after) === undefined) {
    // Its body broke off, or is empty: JSON is what it was, and a ban's text and pages are not.
    if (answer.body === '' && details.waitMs !== undefined && /\bjson\b/i.test(headers['content-type'] ?? ''))
      return { ...details, pause: 'bucket', scope: 'user' }
    // The token endpoint never sends these headers, and counts by address and application: all its callers pause.
    if (route.name.endsWith(' /oauth2/token') && body && !looksLikeBan(body))
      return { ...details, pause: 'resource', scope: 'shared' }
    return egress
  }
  if (scope === 'shared') return { ...details, pause: 'resource', scope: 'shared' }
  const remaining = number(headers['x-ratelimit-remaining'])
  if (remaining !== undefined && remaining > 0) return { ...details, pause: 'route', scope: 'user' }
  return { ...details, pause: 'bucket', scope: 'user' }
}

/** No bucket's window is known to be longer; a header that says so locks a user out no longer than this before it is tried. */
const LONGEST_WINDOW_MS: Milliseconds = 60 * 60 * 1000

/** What the answer says about its bucket, or undefined where it does not say all of it. */
export function bucketReport(answer: AnswerHead): BucketReport | undefined {
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

function hasLimitHeaders(answer: Answer): boolean {
  for (const name in answer.headers) if (name.startsWith('x-ratelimit-')) return true
  return false
}

function namedWait(answer: Answer, body: Body | undefined, now: Milliseconds): Milliseconds | undefined {
  const date = parseHttpDate(answer.headers.date ?? '')
  // The body first: it has decimals where the header is rounded up to whole seconds.
  return secondsToWait(body?.retry_after) || parseRetryAfter(answer.headers['retry-after'], date ?? now) || undefined
}

/** Of a block that Cloudflare and Discord both speak of, the longer wait: the body's is often about the page. */
function longestWait(answer: Answer, body: Body | undefined, now: Milliseconds): Milliseconds | undefined {
  const date = parseHttpDate(answer.headers.date ?? '')
  const headerMs = parseRetryAfter(answer.headers['retry-after'], date ?? now) ?? 0
  return Math.max(headerMs, secondsToWait(body?.retry_after) ?? 0) || undefined
}

function number(text: string | undefined): number | undefined {
  if (text === undefined || text.trim() === '') return undefined
  const value = Number(text)
  return Number.isFinite(value) && value >= 0 ? value : undefined
}
