import {
  ConfigError,
  DiscordAPIError,
  DiscordRateLimitError,
  DiscordUnavailableError,
  HoldfastError,
} from '../errors/errors.ts'
import type { MembershipOptions, MembershipResult } from '../guilds/membership-result.ts'
import type { GuildMembership, GuildMemberships } from '../guilds/memberships.ts'
import { allows, type PermissionName, permissionBit } from '../guilds/permissions.ts'
import type { RefusalCode } from '../http/refusal.ts'
import { tokenProblem } from '../secrets/token.ts'
import type { AuthRequest, Session, SessionResolver } from '../sessions/session.ts'
import type { Milliseconds } from '../time/clock.ts'
import { AuthError } from './auth-error.ts'

/** What a route asks for. */
export interface RequireAuthOptions {
  /**
   * A guild the user must be in: its id, or how to find it (route parameters arrive as further arguments).
   * Null, undefined and '' never pass.
   */
  guild?:
    | string
    // biome-ignore lint/suspicious/noExplicitAny: route parameters have the framework's types
    | ((request: AuthRequest, ...rest: any[]) => string | null | undefined | Promise<string | null | undefined>)
  /** Permissions the user must have in `guild`, all of them. Without `guild` a ConfigError. */
  permissions?: PermissionName | readonly PermissionName[]
  /** The oldest memberships accepted, counted from their fetch. Default: the stale time for GET and HEAD, 5 minutes for other methods. */
  maxAgeMs?: Milliseconds
  /** Only memberships fetched in the last 5 s, or confirmed with the bot token; else 503 with Retry-After. */
  live?: boolean
  /** False where a route only needs the user. Default true. */
  guilds?: boolean
}

/** Who asks, and what they may see. */
export interface Auth {
  readonly user: { readonly id: string }
  readonly guilds: GuildMemberships
  /** Whether the guilds are older than their fresh time because they could not be fetched anew. */
  readonly stale: boolean
  readonly guildsFetchedAt: Date
  readonly source: MembershipResult['source']
  /** Why they are stale. */
  readonly reason?: 'throttled' | 'unavailable' | 'slow'
  /** When Discord will be asked again, where that is known. */
  readonly retryAt?: Date
  /** The guild that `guild` named and that was checked. */
  readonly guild?: GuildMembership
}

/** What `requireAuth` needs of the rest of the house. */
export interface RequireAuthNeeds {
  readonly session: SessionResolver | ((request: AuthRequest) => Promise<Session | null>)
  readonly memberships: (user: Session, options: MembershipOptions) => Promise<MembershipResult>
  /** The guild as the bot sees the user in it now; null where the user is not in it. Undefined without a bot. */
  readonly confirmLive: ((userId: string, guildId: string) => Promise<GuildMembership | null>) | undefined
  readonly isDeadToken: (accessToken: string) => boolean
  /** How long a request may wait for refreshes, all of them together. */
  readonly patienceMs: Milliseconds
  /** The wall clock. */
  readonly now: () => Milliseconds
  readonly monotonic: () => Milliseconds
}

/** A change needs to know more recently than a look. */
const MAX_AGE_OF_CHANGES_MS: Milliseconds = 5 * 60 * 1000
/** Said where nobody knows how long the trouble will last. */
const UNKNOWN_WAIT_MS: Milliseconds = 5_000

export interface RequireAuth {
  /**
   * Resolves to the user of a request and the guilds they are in, or throws an `AuthError` whose `toResponse()` is ready
   * to return. Never fails open: whatever goes wrong, it throws. What the `guild` function throws is passed on as it is.
   *
   * 401 UNAUTHENTICATED: no session, or a token that Discord does not accept. 403 FORBIDDEN: the session is known to lack
   * the scope `guilds`, or the user is not in `guild`, or lacks one of `permissions`. 429 RATE_LIMITED: Discord throttles
   * and no memberships young enough are held. 503 SERVICE_UNAVAILABLE: Discord cannot be used and none are held.
   * ConfigError: `permissions` without `guild`, an unknown permission, a bearer token without DISCORD_CLIENT_ID.
   */
  (request: AuthRequest, options: RequireAuthOptions & { guilds: false }): Promise<Pick<Auth, 'user'>>
  (request: AuthRequest, options?: RequireAuthOptions): Promise<Auth>
}

/** Makes `requireAuth`. Further arguments of the call reach `guild`, where it is a function. */
export function createRequireAuth(needs: RequireAuthNeeds) {
  const refuse = (
    code: RefusalCode,
    message: string,
    details: { retryAfterMs?: Milliseconds | undefined; cause?: unknown } = {},
  ) => new AuthError(code, message, { ...details, now: needs.now })

  return async function requireAuth(
    request: AuthRequest,
    options: RequireAuthOptions = NO_OPTIONS,
    rest: readonly unknown[] = NO_ARGUMENTS,
  ): Promise<Auth> {
    const needed = neededBits(options)
    const began = needs.monotonic()
    const session = await findSession(request)
    const patienceLeftMs = needs.patienceMs - (needs.monotonic() - began)
    const user = { id: session.userId }
    // The overload without guilds promises only the user.
    if (options.guilds === false && !('guild' in options)) return { user } as Auth
    // A string of scopes is no list: 'guilds.join' is not 'guilds'.
    if (session.scopes && !(Array.isArray(session.scopes) && session.scopes.includes('guilds')))
      throw refuse('FORBIDDEN', 'the session lacks the scope guilds; sign the user in with it')
    // `{ guild: undefined }` is a route parameter that is missing, not a route without a guild.
    const guildId = 'guild' in options ? await guildIdOf(request, options, rest) : undefined
    const { memberships, guild } = await findMemberships(session, request, options, guildId, patienceLeftMs)
    const auth: Auth = {
      user,
      guilds: memberships.guilds,
      stale: memberships.stale,
      guildsFetchedAt: memberships.fetchedAt,
      source: memberships.source,
      ...(memberships.reason && { reason: memberships.reason }),
      ...(memberships.retryAt && { retryAt: memberships.retryAt }),
    }
    if (guildId === undefined) return auth
    if (!guild) throw refuse('FORBIDDEN', 'the user is not in the guild that this route asks for')
    if (!allows(guild, needed)) throw refuse('FORBIDDEN', 'the user lacks a permission that this route asks for')
    return { ...auth, guild }
  }

  async function findSession(request: AuthRequest): Promise<Session> {
    let session: Session | null
    try {
      session = await needs.session(request as Request)
    } catch (error) {
      throw asAuthError(error, 'the session could not be read')
    }
    if (session === null || session === undefined) throw refuse('UNAUTHENTICATED', 'the request has no session')
    if (!isText(session.userId) || tokenProblem(session.accessToken))
      throw refuse(
        'UNAUTHENTICATED',
        'the session has no userId, or no accessToken that can be one; check the session resolver',
      )
    if (needs.isDeadToken(session.accessToken))
      throw refuse('UNAUTHENTICATED', 'Discord does not accept the token of this session any more')
    return session
  }

  async function findMemberships(
    session: Session,
    request: AuthRequest,
    options: RequireAuthOptions,
    guildId: string | undefined,
    patienceLeftMs: Milliseconds,
  ): Promise<{ memberships: MembershipResult; guild: GuildMembership | undefined }> {
    const method = request.method ?? 'GET'
    const isLook = method === 'GET' || method === 'HEAD'
    const maxAgeMs = options.maxAgeMs ?? (isLook ? undefined : MAX_AGE_OF_CHANGES_MS)
    try {
      const asked: MembershipOptions = { patienceMs: Math.max(0, patienceLeftMs) }
      if (options.live) asked.live = true
      if (maxAgeMs !== undefined) asked.maxAgeMs = maxAgeMs
      const memberships = await needs.memberships(session, asked)
      return { memberships, guild: guildId ? memberships.guilds.get(guildId) : undefined }
    } catch (error) {
      const refusal = asAuthError(error, 'the memberships could not be read')
      if (!options.live || !(refusal instanceof AuthError) || refusal.retryAfterMs === undefined) throw refusal
      const confirmed = guildId ? await confirmWithBot(session, guildId) : undefined
      if (confirmed) return confirmed
      throw refuse('SERVICE_UNAVAILABLE', 'this route needs live memberships, and Discord cannot be asked now', {
        retryAfterMs: refusal.retryAfterMs,
        cause: error,
      })
    }
  }

  /** The guild as the bot sees it now, with the older list for the rest; undefined where that cannot be had either. */
  async function confirmWithBot(session: Session, guildId: string) {
    if (!needs.confirmLive || !SNOWFLAKE.test(guildId) || !SNOWFLAKE.test(session.userId)) return undefined
    try {
      const guild = await needs.confirmLive(session.userId, guildId)
      const memberships = await needs.memberships(session, NO_OPTIONS)
      return { memberships, guild: guild ?? undefined }
    } catch {
      // The refusal that led here tells more than why the second way failed too.
      return undefined
    }
  }

  /** What an error means for a request. A ConfigError stays one: its reader is the developer, not the user. */
  function asAuthError(error: unknown, context: string): AuthError | ConfigError {
    if (error instanceof AuthError || error instanceof ConfigError) return error
    if (error instanceof DiscordRateLimitError)
      return refuse('RATE_LIMITED', `${context}: Discord throttles`, { retryAfterMs: error.retryAfterMs, cause: error })
    if (error instanceof DiscordAPIError && error.status === 401)
      return refuse('UNAUTHENTICATED', `${context}: Discord does not accept the token`, { cause: error })
    if (error instanceof DiscordAPIError && error.status === 403)
      return refuse('FORBIDDEN', `${context}: Discord refused; the token may lack a scope`, { cause: error })
    const retryAfterMs = (error instanceof HoldfastError && error.retryAfterMs) || UNKNOWN_WAIT_MS
    const fromDiscord = error instanceof DiscordAPIError || error instanceof DiscordUnavailableError
    const why = fromDiscord ? 'Discord cannot be used' : 'see the cause'
    return refuse('SERVICE_UNAVAILABLE', `${context}: ${why}`, { retryAfterMs, cause: error })
  }
}

/** Nothing else may become part of a path that the bot asks for. */
const SNOWFLAKE = /^\d+$/
const NO_OPTIONS: RequireAuthOptions & MembershipOptions = Object.freeze({})
const NO_ARGUMENTS: readonly unknown[] = Object.freeze([])

/** The id that `guild` names; '' where it names none, which no guild has. */
async function guildIdOf(
  request: AuthRequest,
  { guild }: RequireAuthOptions,
  rest: readonly unknown[],
): Promise<string> {
  const id: unknown = typeof guild === 'function' ? await guild(request, ...rest) : guild
  return typeof id === 'string' ? id : ''
}

const isText = (value: unknown): value is string => typeof value === 'string' && value !== ''

/** All bits that `permissions` asks for; checked before anything is asked of anybody. */
function neededBits(options: RequireAuthOptions): bigint {
  if (typeof options !== 'object' || options === null)
    throw new ConfigError('options', 'requireAuth: the options are not an object')
  const { maxAgeMs } = options
  if (maxAgeMs !== undefined && !(typeof maxAgeMs === 'number' && maxAgeMs >= 0))
    throw new ConfigError('maxAgeMs', 'requireAuth: maxAgeMs must be milliseconds, not negative')
  const { permissions } = options
  if (permissions === undefined) return 0n
  if (!('guild' in options))
    throw new ConfigError(
      'permissions',
      'requireAuth: permissions need a guild to be checked in; give the option guild too',
    )
  const names = typeof permissions === 'string' ? [permissions] : permissions
  if (!Array.isArray(names))
    throw new ConfigError('permissions', 'requireAuth: permissions must be a name or a list of names')
  return names.reduce((bits, name) => bits | permissionBit(name), 0n)
}
