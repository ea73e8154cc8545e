import { createHash } from 'node:crypto'
import type { Milliseconds } from '../../time/clock.ts'
import { type Answer, invalidContentType, json, oauthError } from '../answer.ts'
import type { Application } from '../world/application.ts'
import { clientOf } from './client.ts'
import type { Credentials, Grant } from './credentials.ts'
import { scopesOf } from './scopes.ts'

/** `POST /oauth2/token`: authorization code, refresh token and client credentials (RFC 6749, sections 4.1.3, 6, 4.4). */
export function createTokenEndpoint(
  application: Application,
  credentials: Credentials,
  rules: { redirectUris: readonly string[]; scopes: readonly string[]; tokenLifetimeMs: Milliseconds; ownerId: string },
  /** What a token answer says besides, such as the guild that a bot was added to. */
  besides: (grant: { userId: string; scopes: ReadonlySet<string>; guildId?: string | undefined }) => object,
) {
  const { tokenLifetimeMs } = rules

  function issue(grant: Omit<Grant, 'expiresAt'>, nowMs: Milliseconds, refreshable: boolean, more: object): Answer {
    const issued = { ...grant, expiresAt: nowMs + tokenLifetimeMs }
    return json(200, {
      token_type: 'Bearer',
      access_token: credentials.issueAccess(issued),
      expires_in: Math.floor(tokenLifetimeMs / 1000),
      ...(refreshable ? { refresh_token: credentials.issueRefresh(issued) } : {}),
      scope: [...grant.scopes].join(' '),
      ...more,
    })
  }

  function exchange(form: URLSearchParams, nowMs: Milliseconds): Answer {
    const text = form.get('code')
    if (!text) return oauthError(400, 'invalid_request', 'Missing "code" in request.')
    const code = credentials.spendCode(text, nowMs)
    if (!code) return invalidGrant('code')
    const redirectUri = form.get('redirect_uri')
    const leftOut = code.redirectUri === null && (redirectUri === null || rules.redirectUris.includes(redirectUri))
    if (redirectUri !== code.redirectUri && !leftOut) return invalidGrant('redirect_uri')
    const verifier = form.get('code_verifier')
    // A verifier without a challenge is refused too: otherwise dropping the challenge would switch PKCE off.
    if ((code.challenge === undefined) !== (verifier === null)) return invalidGrant('code_verifier')
    if (verifier !== null && createHash('sha256').update(verifier).digest('base64url') !== code.challenge)
      return invalidGrant('code_verifier')
    const { userId, scopes } = code
    return issue({ userId, applicationId: application.id, scopes }, nowMs, true, besides(code))
  }

  return (form: URLSearchParams | null, authorization: string | undefined, nowMs: Milliseconds): Answer => {
    if (!form) return invalidContentType
    const [id, secret] = clientOf(form, authorization)
    if (id !== application.id || secret !== application.secret) return oauthError(401, 'invalid_client')
    const grantType = form.get('grant_type')
    switch (grantType) {
      case 'authorization_code':
        return exchange(form, nowMs)
      case 'refresh_token': {
        const token = form.get('refresh_token')
        if (!token) return oauthError(400, 'invalid_request', 'Missing "refresh_token" in request.')
        const grant = credentials.spendRefresh(token)
        // Without a full stop, other than for codes: as documented for refresh tokens.
        if (!grant) return oauthError(400, 'invalid_grant', 'Invalid "refresh_token" in request')
        return issue(grant, nowMs, true, {})
      }
      case 'client_credentials': {
        const scopes = scopesOf(form.get('scope'))
        if (scopes.size === 0 || [...scopes].some((scope) => !rules.scopes.includes(scope)))
          return oauthError(400, 'invalid_scope', 'The requested scope is invalid, unknown, or malformed.')
        // The token is the application owner's own, and there is none to refresh it with.
        return issue({ userId: rules.ownerId, applicationId: application.id, scopes }, nowMs, false, {})
      }
      default:
        return oauthError(400, 'unsupported_grant_type', `Grant type ${grantType ?? 'None'} is not supported`)
    }
  }
}

function invalidGrant(field: string): Answer {
  return oauthError(400, 'invalid_grant', `Invalid "${field}" in request.`)
}
