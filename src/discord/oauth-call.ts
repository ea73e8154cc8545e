import { fingerprint } from '../secrets/key-ring.ts'
import type { Call } from './call.ts'
import type { Rules } from './call-options.ts'
import { routeOf } from './route.ts'

export type OAuthPath = '/oauth2/token' | '/oauth2/token/revoke'

/** Its limits are counted by address and application, so all users share them, and nobody's own. */
const PRINCIPAL = 'oauth'
/** No token is sent; this stands where the name of one would. */
const TOKEN_ID = fingerprint('oauth')

/** Sent once: a code and a refresh token are spent by the first try, whoever hears of its answer. */
export const OAUTH_RULES = {
  maxRetries: 0,
  maxWaitMs: 2_000,
  retryOn: 'rate-limit',
} as const satisfies Omit<Rules, 'retryDelayMs'>

/** A form for an OAuth2 endpoint, as a call. */
export function oauthCall(path: OAuthPath, form: URLSearchParams): Call {
  return {
    method: 'POST',
    path,
    route: routeOf('POST', path),
    token: '',
    tokenType: 'Bearer',
    tokenId: TOKEN_ID,
    principal: PRINCIPAL,
    priority: 'login',
    body: form.toString(),
    isForm: true,
  }
}
