import { createHash } from 'node:crypto'
import type { Milliseconds } from '../time/clock.ts'
import { type Answer, cloudflarePage, invalidContentType, json, oauthError, redirect } from './answer.ts'
import type { Application } from './application.ts'
import type { Credentials, Grant } from './credentials.ts'
import type { People } from './people.ts'

/** The OAuth2 endpoints: authorization code with PKCE, refresh, revocation (RFC 6749, 7009, 7636). */
export interface OAuth {
  /**
   * `GET /oauth2/authorize`: nobody has to click. The user is the first one, or the one whose id or name is in
   * `user` or `login_hint`; `deny=true` presses Cancel.
   */
  authorize(query: URLSearchParams, nowMs: Milliseconds): Answer
  /** `POST /oauth2/token`. */
  token(form: URLSearchParams | null, authorization: string | undefined, nowMs: Milliseconds): Answer
  /** `POST /oauth2/token/revoke`: ends all tokens of the authorization that the token belongs to. */
  revoke(form: URLSearchParams | null, authorization: string | undefined): Answer
}

/** Discord's codes live for a minute. */
const CODE_LIFETIME_MS = 60_000

export function createOAuth(
  application: Application,
  people: People,
  credentials: Credentials,
  tokenLifetimeMs: Milliseconds,
): OAuth {
  const isClient = (form: URLSearchParams, authorization: string | undefined) => {
    const [id, secret] = clientOf(form, authorization)
    return id === application.id && secret === application.secret
  }

  function issue(grant: Omit<Grant, 'expiresAt'>, nowMs: Milliseconds): Answer {
    const issued = { ...grant, expiresAt: nowMs + tokenLifetimeMs }
    return json(200, {
      token_type: 'Bearer',
      access_token: credentials.issueAccess(issued),
      expires_in: Math.floor(tokenLifetimeMs / 1000),
      refresh_token: credentials.issueRefresh(issued),
      scope: [...grant.scopes].join(' '),
    })
  }

  function exchange(form: URLSearchParams, nowMs: Milliseconds): Answer {
    const code = credentials.spendCode(form.get('code') ?? '', nowMs)
    if (!code) return invalidGrant('code')
    if (form.get('redirect_uri') !== code.redirectUri) return invalidGrant('redirect_uri')
    const verifier = form.get('code_verifier')
    // A verifier without a challenge is refused too: otherwise dropping the challenge would switch PKCE off.
    if ((code.challenge === undefined) !== (verifier === null)) return invalidGrant('code_verifier')
    if (verifier !== null && createHash('sha256').update(verifier).digest('base64url') !== code.challenge)
      return invalidGrant('code_verifier')
    return issue({ userId: code.userId, applicationId: application.id, scopes: code.scopes }, nowMs)
  }

  return {
    authorize(query, nowMs) {
      const redirectUri = query.get('redirect_uri') ?? ''
      // RFC 6749, section 4.1.2.1: nobody is sent to an address that cannot be trusted.
      if (query.get('client_id') !== application.id) return badRequest('Unknown client_id')
      if (!/^https?:\/\//.test(redirectUri) || !URL.canParse(redirectUri)) return badRequest('Invalid redirect_uri')
      const name = query.get('user') ?? query.get('login_hint')
      const user =
        name === null ? people.users[0] : (people.user(name) ?? people.users.find(({ username }) => username === name))
      if (!user) return badRequest('No such user: give a simulated user’s id or username')

      const back = (params: Record<string, string>) => {
        const target = new URL(redirectUri)
        for (const [key, value] of Object.entries(params)) target.searchParams.set(key, value)
        const state = query.get('state')
        if (state !== null) target.searchParams.set('state', state)
        return redirect(target.href)
      }
      const error = (name: string, description: string) => back({ error: name, error_description: description })
      if (query.get('response_type') !== 'code') return error('unsupported_response_type', 'Only code is supported')
      const scopes = new Set((query.get('scope') ?? '').split(/[ +]+/).filter(Boolean))
      if (scopes.size === 0) return error('invalid_scope', 'The requested scope is invalid, unknown, or malformed.')
      const challenge = query.get('code_challenge') ?? undefined
      if (challenge !== undefined && query.get('code_challenge_method') !== 'S256')
        return error('invalid_request', 'code_challenge_method must be S256')
      if (query.get('deny') === 'true')
        return error('access_denied', 'The resource owner or authorization server denied the request')
      const expiresAt = nowMs + CODE_LIFETIME_MS
      return back({ code: credentials.issueCode({ userId: user.id, redirectUri, scopes, challenge, expiresAt }) })
    },
    token(form, authorization, nowMs) {
      if (!form) return invalidContentType
      if (!isClient(form, authorization)) return oauthError(401, 'invalid_client')
      const grantType = form.get('grant_type')
      if (grantType === 'authorization_code') return exchange(form, nowMs)
      if (grantType === 'refresh_token') {
        const grant = credentials.spendRefresh(form.get('refresh_token') ?? '')
        return grant ? issue(grant, nowMs) : invalidGrant('refresh_token')
      }
      return grantType === null
        ? oauthError(400, 'invalid_request', 'Missing "grant_type" in request')
        : oauthError(400, 'unsupported_grant_type', 'Grant type not supported')
    },
    revoke(form, authorization) {
      if (!form) return invalidContentType
      if (!isClient(form, authorization)) return oauthError(401, 'invalid_client')
      const token = form.get('token')
      if (token === null) return oauthError(400, 'invalid_request', 'Missing "token" in request')
      const grant = credentials.find(token)
      if (grant?.applicationId === application.id) credentials.revokeAll(grant.userId, application.id)
      // RFC 7009, section 2.2: an unknown token is as good as revoked.
      return json(200, {})
    },
  }
}

function clientOf(form: URLSearchParams, authorization: string | undefined): [string | null, string | null] {
  if (authorization === undefined) return [form.get('client_id'), form.get('client_secret')]
  const encoded = /^Basic +(\S+)$/i.exec(authorization)?.[1] ?? ''
  const [id = '', ...secret] = Buffer.from(encoded, 'base64').toString().split(':')
  return [formDecoded(id), formDecoded(secret.join(':'))]
}

/** RFC 6749, section 2.3.1: id and secret are form-encoded before they go into Basic. */
function formDecoded(text: string): string {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '))
  } catch {
    return text
  }
}

function invalidGrant(field: string): Answer {
  return oauthError(400, 'invalid_grant', `Invalid "${field}" in request`)
}

function badRequest(title: string): Answer {
  return { ...cloudflarePage(400, title), origin: 'discord' }
}
