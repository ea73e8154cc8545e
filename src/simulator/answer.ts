import type { Milliseconds } from '../time/clock.ts'
import type { Verdict } from './limits.ts'

/** One answer as it will be written, before anything goes wrong on the wire. */
export interface Answer {
  readonly status: number
  /** Content-Type; null for an answer without a body. */
  readonly type: string | null
  readonly body: Buffer | string
  /** Names and values in turn. */
  readonly headers: readonly string[]
  /** Cloudflare's own answers carry no `via`: that is how clients tell them from Discord's. */
  readonly origin: 'discord' | 'cloudflare'
  readonly scope?: RateLimitScope
  /** Not counted as an invalid request: it never came as far as Discord. */
  readonly uncounted?: true
}

/** X-RateLimit-Scope: whose limit it was. */
export type RateLimitScope = 'user' | 'global' | 'shared'

const JSON_TYPE = 'application/json'
const HTML_TYPE = 'text/html; charset=UTF-8'
const NONE: readonly string[] = []

/** `json<APIUser>(…)` has the compiler hold a body to Discord's own type. */
export function json<Body = unknown>(status: number, value: Body): Answer {
  return serialised(status, JSON.stringify(value))
}

/** JSON that is already text or bytes. */
export function serialised(status: number, body: Buffer | string): Answer {
  return { status, type: JSON_TYPE, body, headers: NONE, origin: 'discord' }
}

export const noContent: Answer = { status: 204, type: null, body: '', headers: NONE, origin: 'discord' }

export function redirect(location: string): Answer {
  return { status: 302, type: null, body: '', headers: ['location', location], origin: 'discord' }
}

/** Discord's error body; with code 0 the message repeats the status. */
export function refused(status: number, code: number, message: string, errors?: unknown): Answer {
  return json(status, { message, code, ...(errors === undefined ? {} : { errors }) })
}

export const unauthorized = refused(401, 0, '401: Unauthorized')
export const notFound = refused(404, 0, '404: Not Found')
export const methodNotAllowed = refused(405, 0, '405: Method Not Allowed')
export const missingScope = refused(403, 50026, 'Missing required OAuth2 scope')
export const invalidContentType = refused(400, 50035, 'Invalid Form Body', {
  _errors: [{ code: 'CONTENT_TYPE_INVALID', message: 'Expected "Content-Type" header to be a supported media type.' }],
})
export const tooLarge: Answer = {
  ...refused(413, 40005, 'Request entity too large'),
  headers: ['connection', 'close'],
}

/** 400 code 50035 about one field. */
export function invalidField(field: string, code: string, message: string): Answer {
  return refused(400, 50035, 'Invalid Form Body', { [field]: { _errors: [{ code, message }] } })
}

/** RFC 6749 section 5.2. */
export function oauthError(status: number, error: string, description?: string): Answer {
  return json(status, description === undefined ? { error } : { error, error_description: description })
}

/** A page that is not Discord's: Cloudflare's, or a proxy's on the way. */
export function cloudflarePage(status: number, title: string, headers: readonly string[] = NONE): Answer {
  const body = `<!DOCTYPE html>\n<html lang="en-US">\n<head><title>${title}</title></head>\n<body><div id="cf-error-details"><h1>${title}</h1><p>discord.com</p></div></body>\n</html>\n`
  return { status, type: HTML_TYPE, body, headers, origin: 'cloudflare' }
}

/** The five X-RateLimit headers. `wallMs` is the wall clock that X-RateLimit-Reset is told by. */
export function bucketHeaders(verdict: Verdict, bucket: string, wallMs: Milliseconds): string[] {
  const resetAfterMs = wholeMs(verdict.resetAfterMs)
  return [
    'x-ratelimit-bucket',
    bucket,
    'x-ratelimit-limit',
    String(verdict.limit),
    'x-ratelimit-remaining',
    String(verdict.remaining),
    'x-ratelimit-reset',
    ((wallMs + resetAfterMs) / 1000).toFixed(3),
    'x-ratelimit-reset-after',
    (resetAfterMs / 1000).toFixed(3),
  ]
}

/**
 * 429 as Discord sends it. Retry-After is in whole seconds, rounded up; the body's `retry_after` is in seconds with
 * decimals; `code` is a JSON error code in the body. `rateLimitHeaders: false` leaves out all X-RateLimit headers, as the OAuth2 token endpoint does.
 */
export function rateLimited(
  scope: RateLimitScope,
  retryAfterMs: Milliseconds,
  bucket: readonly string[],
  rateLimitHeaders: boolean,
  code?: number,
): Answer {
  const message = scope === 'shared' ? 'The resource is being rate limited.' : 'You are being rate limited.'
  const headers = ['retry-after', wholeSeconds(retryAfterMs)]
  if (rateLimitHeaders) {
    headers.push('x-ratelimit-scope', scope)
    if (scope === 'global') headers.push('x-ratelimit-global', 'true')
    else headers.push(...bucket)
  }
  const body = {
    message,
    retry_after: wholeMs(retryAfterMs) / 1000,
    global: scope === 'global',
    ...(code === undefined ? {} : { code }),
  }
  return { ...json(429, body), headers, scope }
}

export function wholeSeconds(ms: Milliseconds): string {
  return String(Math.ceil(wholeMs(ms) / 1000))
}

/** Rounded up, so that nobody who waits as told comes early; but not for the last bits of a floating-point sum. */
function wholeMs(ms: Milliseconds): Milliseconds {
  return Math.ceil(ms - 1e-6)
}
