import type { RESTGetAPIOAuth2CurrentAuthorizationResult } from 'discord-api-types/v10'
import { ConfigError, DiscordUnavailableError } from '../errors/errors.ts'
import { fingerprint } from '../secrets/key-ring.ts'
import type { AuthRequest, Session } from '../sessions/session.ts'

/** Whom a bearer token speaks for, as `/oauth2/@me` told. */
export interface BearerIdentity {
  readonly applicationId: string
  /** Null where the token lacks the scope `identify`. */
  readonly userId: string | null
  readonly scopes: readonly string[]
  /** Epoch milliseconds. */
  readonly expiresAt: number
}

export interface BearerSessionOptions {
  /** The application that tokens must have been issued to. */
  readonly clientId: string | undefined
  /** Remembers an identity under a name, as long as any entry of the cache. */
  readonly remember: (name: string, load: () => Promise<BearerIdentity>) => Promise<BearerIdentity>
  /** `GET /oauth2/@me` with the token, whose user is not known yet: its limits are counted under `name`. */
  readonly lookUp: (accessToken: string, name: string) => Promise<RESTGetAPIOAuth2CurrentAuthorizationResult>
  /** The wall clock. */
  readonly now: () => number
}

/** RFC 6750, section 2.1. The scheme is matched without regard to case (RFC 9110, section 11.1). */
const BEARER = /^bearer +([A-Za-z0-9._~+/-]+=*)$/i
/** Discord's are 30 characters; room for whatever they become. */
const LONGEST_TOKEN = 512

/**
 * The session of `Authorization: Bearer`: the token is looked up once at `/oauth2/@me` and remembered by its hash until
 * it expires. Null where there is no such header, where it cannot be a token, and where the token is expired, was issued
 * to another application or does not name its user: any site its user signed in to could otherwise act in their name.
 */
export function bearerSession(options: BearerSessionOptions): (request: AuthRequest) => Promise<Session | null> {
  return async (request) => {
    const header = request.headers.get('authorization')
    if (header === null) return null
    const accessToken = BEARER.exec(header)?.[1]
    if (accessToken === undefined || accessToken.length > LONGEST_TOKEN) return null
    if (options.clientId === undefined) {
      throw new ConfigError(
        'DISCORD_CLIENT_ID',
        'bearer tokens cannot be accepted without DISCORD_CLIENT_ID (or discord.clientId): it tells tokens issued to this application from those of any other; set it, or give a session resolver',
      )
    }
    const name = `bearer:${fingerprint(accessToken)}`
    const identity = await options.remember(name, async () => readIdentity(await options.lookUp(accessToken, name)))
    if (identity.applicationId !== options.clientId || identity.userId === null) return null
    if (options.now() >= identity.expiresAt) return null
    return { userId: identity.userId, accessToken, scopes: identity.scopes }
  }
}

function readIdentity(answer: RESTGetAPIOAuth2CurrentAuthorizationResult): BearerIdentity {
  const applicationId: unknown = answer.application?.id
  const expiresAt = Date.parse(answer.expires)
  if (typeof applicationId !== 'string' || Number.isNaN(expiresAt) || !Array.isArray(answer.scopes)) {
    throw new DiscordUnavailableError(
      'DISCORD_WRONG_SHAPE',
      'GET /oauth2/@me: the answer lacks its application, scopes or expiry',
      { route: 'GET /oauth2/@me', attempts: 1 },
    )
  }
  const userId: unknown = answer.user?.id
  return {
    applicationId,
    userId: typeof userId === 'string' && userId !== '' ? userId : null,
    scopes: answer.scopes.filter((scope) => typeof scope === 'string'),
    expiresAt,
  }
}
