import type { Milliseconds } from '../../time/clock.ts'
import { type Answer, invalidContentType, json, oauthError } from '../answer.ts'
import type { Application } from '../world/application.ts'
import type { People } from '../world/people.ts'
import { createAuthorize, type NextLogin, type Visit } from './authorize.ts'
import { clientOf } from './client.ts'
import type { Credentials } from './credentials.ts'
import { createTokenEndpoint } from './token-endpoint.ts'

/** The OAuth2 endpoints: authorization, tokens, revocation (RFC 6749, 7009, 7636). */
export interface OAuth {
  /**
   * `/oauth2/authorize`. Whoever accepts text/html sees a page with a choice of people; all others are sent back at
   * once, as the first user or the one whose id or name is in `user` or `login_hint`; `deny=true` presses Cancel.
   */
  authorize(visit: Visit, nowMs: Milliseconds): Answer
  /** `POST /oauth2/token`. */
  token(form: URLSearchParams | null, authorization: string | undefined, nowMs: Milliseconds): Answer
  /** `POST /oauth2/token/revoke`: ends all tokens of the authorization that the token belongs to. */
  revoke(form: URLSearchParams | null, authorization: string | undefined): Answer
  /** Whoever comes next to the authorization page is this user, or presses Cancel, without a click. */
  nextLogin(next: NextLogin): void
}

/** Discord's staff have named 100 s. */
const CODE_LIFETIME_MS = 100_000

export interface OAuthRules {
  readonly redirectUris: readonly string[]
  readonly scopes: readonly string[]
  readonly tokenLifetimeMs: Milliseconds
}

export function createOAuth(
  application: Application,
  people: People,
  credentials: Credentials,
  rules: OAuthRules,
  besides: Parameters<typeof createTokenEndpoint>[3],
): OAuth {
  const { tokenLifetimeMs } = rules
  const ownerId = people.users[0]!.id
  let next: NextLogin

  const authorize = createAuthorize(
    application,
    people,
    credentials,
    { ...rules, codeLifetimeMs: CODE_LIFETIME_MS },
    (userId, scopes, nowMs) => ({
      token_type: 'Bearer',
      access_token: credentials.issueAccess({
        userId,
        applicationId: application.id,
        scopes,
        expiresAt: nowMs + tokenLifetimeMs,
      }),
      expires_in: String(Math.floor(tokenLifetimeMs / 1000)),
      scope: [...scopes].join(' '),
    }),
  )

  return {
    authorize(visit, nowMs) {
      const answer = authorize(visit, next, nowMs)
      // A request that was wrong was nobody's login.
      if (answer.status === 302) next = undefined
      return answer
    },
    token: createTokenEndpoint(application, credentials, { ...rules, ownerId }, besides),
    revoke(form, authorization) {
      if (!form) return invalidContentType
      const [id, secret] = clientOf(form, authorization)
      if (id !== application.id || secret !== application.secret) return oauthError(401, 'invalid_client')
      const token = form.get('token')
      if (token === null) return oauthError(400, 'invalid_request', 'Missing "token" in request.')
      const grant = credentials.find(token)
      if (grant?.applicationId === application.id) credentials.revokeAll(grant.userId, application.id)
      // RFC 7009, section 2.2: an unknown token is as good as revoked.
      return json(200, {})
    },
    nextLogin(login) {
      next = login
    },
  }
}
