import { bearerSession } from '../auth/bearer.ts'
import { NoSession } from '../auth/find-session.ts'
import type { TokenIdentity } from '../auth/token-identities.ts'
import { OwnKey } from '../cache/cache-key.ts'
import type { GracefulCache } from '../cache/graceful-cache.ts'
import { fingerprint } from '../secrets/key-ring.ts'
import type { AuthRequest, Session, SessionContext, SessionResolver } from '../sessions/session.ts'
import type { Clock } from '../time/clock.ts'

/** The id of the user whom a request is known to be of; undefined where nobody is signed in, or nobody here knows. */
export type KnownUser = (request: AuthRequest, context: SessionContext) => Promise<string | undefined>

/**
 * Finds the user of a request without asking Discord, for a guard that stands in front: by the session resolver, the
 * login's cookie, or a bearer token that was verified before. A token that is not known here is not looked up: it may be
 * another service's, which is nothing to show to Discord, and strangers could have any number of them looked up.
 */
export function knownUser(parts: {
  readonly session: SessionResolver | undefined
  readonly clientId: string | undefined
  readonly login: (request: AuthRequest, context: SessionContext) => Promise<Session | null>
  readonly cache: Pick<GracefulCache, 'peek'>
  readonly clock: Clock
}): KnownUser {
  const { session, clientId, login, cache, clock } = parts
  if (session) return async (request, context) => (await session(request, context))?.userId
  const held = bearerSession({
    clientId,
    identify: async (accessToken) => {
      const token = fingerprint(accessToken)
      const owner = cache.peek<string>(new OwnKey('token-owner', '', token))?.value
      const identity = owner && cache.peek<TokenIdentity>(new OwnKey('token', owner, token))?.value
      return identity || UNKNOWN
    },
    now: () => clock.now(),
  })
  return async (request, context) => {
    const byCookie = await login(request, context)
    if (byCookie || clientId === undefined) return byCookie?.userId
    const byToken = await held(request, { ...context, maxAgeMs: Number.POSITIVE_INFINITY })
    return byToken instanceof NoSession ? undefined : byToken?.userId
  }
}

const UNKNOWN: TokenIdentity = {
  applicationId: '',
  userId: null,
  username: null,
  globalName: null,
  avatar: null,
  scopes: [],
  expiresAt: 0,
}
