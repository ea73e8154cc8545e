import { ConfigError } from '../errors/errors.ts'
import { tokenProblem } from '../secrets/token.ts'
import type { Session } from '../sessions/session.ts'
import type { Milliseconds } from '../time/clock.ts'
import { NoSession, type OwnSessionResolver } from './find-session.ts'
import type { TokenIdentity } from './token-identities.ts'

export interface BearerSessionOptions {
  /** The application that tokens must have been issued to. */
  readonly clientId: string | undefined
  /** Whom a token speaks for, as Discord said at most `maxAgeMs` ago. */
  readonly identify: (accessToken: string, maxAgeMs: Milliseconds) => Promise<TokenIdentity>
  /** The wall clock. */
  readonly now: () => number
}

/** RFC 6750, section 2.1. The scheme is matched without regard to case (RFC 9110, section 11.1). */
const BEARER = /^bearer +([A-Za-z0-9._~+/-]+=*)$/i

/**
 * The session of `Authorization: Bearer`: the token is looked up once at `/oauth2/@me` and remembered by its hash until
 * it expires. No session where there is no such header, where it cannot be a token, and where the token is expired, was
 * issued to another application or does not name its user: any site its user signed in to could otherwise act in their name.
 */
export function bearerSession(options: BearerSessionOptions): OwnSessionResolver {
  return async (request, { diedToken, maxAgeMs }): Promise<Session | NoSession | null> => {
    const header = request.headers.get('authorization')
    if (header === null) return null
    const accessToken = BEARER.exec(header)?.[1]
    if (accessToken === undefined || tokenProblem(accessToken)) return new NoSession('token-malformed')
    // Whoever sends a token that died has no other.
    if (diedToken !== undefined) return new NoSession('token-dead')
    if (options.clientId === undefined) {
      throw new ConfigError(
        'DISCORD_CLIENT_ID',
        'bearer tokens cannot be accepted without DISCORD_CLIENT_ID (or discord.clientId): it tells tokens issued to this application from those of any other; set it, or give a session resolver',
      )
    }
    const identity = await options.identify(accessToken, maxAgeMs)
    if (identity.applicationId !== options.clientId) return new NoSession('token-foreign')
    if (identity.userId === null) return new NoSession('token-anonymous')
    if (options.now() >= identity.expiresAt) return new NoSession('token-expired')
    const { userId, username, globalName, avatar, scopes } = identity
    return { userId, accessToken, scopes, ...(username !== null && { username }), globalName, avatar }
  }
}
