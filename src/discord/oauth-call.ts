import { DiscordRateLimitError } from '../errors/errors.ts'
import { fingerprint } from '../secrets/key-ring.ts'
import type { Milliseconds } from '../time/clock.ts'
import type { Call } from './call.ts'
import type { RetryPolicy } from './errand.ts'
import { routeOf } from './route.ts'

export type OAuthPath = '/oauth2/token' | '/oauth2/token/revoke'

/**
 * These endpoints never send headers that would teach their limit, and calls of one principal wait for each other until
 * something is learned: each call is its own, or sign-ins would stand in one line. A 429 holds them all (`postForm`).
 */
const PRINCIPAL = 'oauth'
let calls = 0
/** No token is sent; this stands where the name of one would. */
const TOKEN_ID = fingerprint('oauth')

/** Sent once: a code and a refresh token are spent by the first try, whoever hears of its answer. */
export const OAUTH_POLICY = {
  maxRetries: 0,
  maxWaitMs: 2_000,
  retryOn: 'rate-limit',
} as const satisfies Omit<RetryPolicy, 'retryDelayMs'>

/** A form for an OAuth2 endpoint (RFC 6749), as a call: the application's own id and secret are in the body, and no token in the headers. `now` is the wall clock. */
export function oauthCall(path: OAuthPath, form: URLSearchParams, now: Milliseconds): Call {
  return {
    method: 'POST',
    path,
    route: routeOf('POST', path, now),
    token: '',
    tokenType: 'none',
    tokenId: TOKEN_ID,
    principal: `${PRINCIPAL}:${++calls}`,
    priority: 'login',
    headers: undefined,
    body: { contentType: 'application/x-www-form-urlencoded', content: form.toString() },
  }
}

/** What a form is refused with while a 429 holds the endpoints. */
export function formsHeld(route: string, retryAfterMs: Milliseconds): DiscordRateLimitError {
  const message = `${route}: Discord rate-limits this application; try again in ${Math.ceil(retryAfterMs / 1000)} s`
  return new DiscordRateLimitError(message, { scope: 'shared', local: true, route, attempts: 0, retryAfterMs })
}
