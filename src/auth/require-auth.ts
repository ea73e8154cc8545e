import {
  ConfigError,
  DiscordAPIError,
  DiscordRateLimitError,
  DiscordUnavailableError,
  HoldfastError,
} from '../errors/errors.ts'
import type { MembershipOptions, MembershipResult } from '../guilds/membership-result.ts'
import type { GuildMembership } from '../guilds/memberships.ts'
import { allows } from '../guilds/permissions.ts'
import type { AuthRequest, Session, SessionResolver } from '../sessions/session.ts'
import type { Clock, Milliseconds } from '../time/clock.ts'
import { type Auth, AuthOfRequest, userOf } from './auth.ts'
import { AuthError, type RefusalWriter } from './auth-error.ts'
import { type OwnSessionResolver, SessionFinder, SessionRefused, SessionSearch } from './find-session.ts'
import { meaningOf, type RefusalReason } from './refusal-reasons.ts'
import { type AuthFor, type Consistent, neededBits, type RequireAuthOptions } from './require-auth-options.ts'

/** What `requireAuth` needs of the rest of the house. */
export interface RequireAuthNeeds {
  readonly session: SessionResolver | OwnSessionResolver
  readonly memberships: (user: Session, options: MembershipOptions) => Promise<MembershipResult>
  /** The guild as the bot sees the user in it now; null where the user is not in it. Undefined without a bot. */
  readonly confirmLive: ((userId: string, guildId: string) => Promise<GuildMembership | null>) | undefined
  /** A promise where it is being tried again. */
  readonly isDeadToken: (accessToken: string) => boolean | Promise<boolean>
  /** Resolves if Discord accepted this user's token within the last `maxAgeMs`; asks it where that is not known. */
  readonly confirmToken: (user: Session, maxAgeMs: Milliseconds) => Promise<void>
  /** Hears of every refusal. `cause` is what was thrown, where that was not expected. */
  readonly refused: (status: AuthError['status'], reason: RefusalReason, cause: unknown) => void
  /** The app's own refusals. */
  readonly write: RefusalWriter | undefined
  /** How long a request may wait for refreshes, all of them together. */
  readonly patienceMs: Milliseconds
  readonly clock: Clock
  /** Of this turn of the event loop; monotonic. */
  readonly turnTime: () => Milliseconds
}

/** A change needs to know more recently than a look. */
const MAX_AGE_OF_CHANGES_MS: Milliseconds = 5 * 60 * 1000
/** What `live` accepts of a token's last proof. */
const LIVE_MS: Milliseconds = 5_000
/** Said where nobody knows how long the trouble will last. */
const UNKNOWN_WAIT_MS: Milliseconds = 5_000

/**
 * Resolves to the user of a request and the guilds they are in, or throws an `AuthError` whose `toResponse()` is ready
 * to return and whose `reason` says why. Never fails open: whatever goes wrong, it throws. What the `guild` function
 * throws is passed on as it is; so are a Response and a framework's own control flow that the session resolver throws.
 *
 * 401 UNAUTHENTICATED: no session, or a token that Discord does not accept and that the resolver, asked a second time,
 * has no other for. 403 FORBIDDEN: the session is known to lack the scope `guilds`, or the user is not in `guild`, or
 * lacks one of `permissions`. 429 RATE_LIMITED: Discord throttles and no memberships young enough are held. 503
 * SERVICE_UNAVAILABLE: Discord cannot be used and none are held, or the session resolver failed or took 10 s.
 * ConfigError: an option that cannot be used or does not exist, something that is no request, a bearer token without
 * DISCORD_CLIENT_ID. docs/guides/refusals.md has the whole table.
 */
export type RequireAuth = <Options extends RequireAuthOptions>(
  request: AuthRequest,
  options?: Consistent<Options>,
) => Promise<AuthFor<Options>>

/** One request on its way: what it asks for, and what was found. */
interface Asked {
  readonly request: AuthRequest
  readonly options: RequireAuthOptions
  readonly rest: readonly unknown[]
  readonly needed: bigint
  /** The oldest memberships accepted; undefined for the stale time. */
  readonly maxAgeMs: Milliseconds | undefined
  /** Whether memberships out of the ledger will do: for looks that ask for no permission, and where the route says how old they may be. */
  readonly ledger: boolean
  readonly began: Milliseconds
}

/** Makes `requireAuth`. Further arguments of the call reach `guild`, where it is a function. */
export function createRequireAuth(needs: RequireAuthNeeds) {
  const finder = new SessionFinder(needs.session, needs.clock)

  return async function requireAuth(
    request: AuthRequest,
    options: RequireAuthOptions = NO_OPTIONS,
    rest: readonly unknown[] = NO_ARGUMENTS,
  ): Promise<Auth> {
    const needed = neededBits(options)
    checkRequest(request)
    const isLook = request.method === 'GET' || request.method === 'HEAD'
    const maxAgeMs = options.maxAgeMs ?? (isLook ? undefined : MAX_AGE_OF_CHANGES_MS)
    const ledger = options.maxAgeMs !== undefined || (isLook && options.permissions === undefined)
    const asked: Asked = { request, options, rest, needed, maxAgeMs, ledger, began: needs.turnTime() }
    let diedToken: string | undefined
    for (;;) {
      try {
        const session = await findSession(asked, diedToken)
        // The resolver has no other: what it was told the first time still holds.
        if (session.accessToken === diedToken) throw new SessionRefused('token-dead')
        try {
          return await authOf(session, asked)
        } catch (error) {
          if (diedToken !== undefined || !isDeath(error)) throw error
          // Asked once more: it may refresh the token, or know a session that lives.
          diedToken = session.accessToken
        }
      } catch (error) {
        throw refusalOf(error, request)
      }
    }
  }

  function findSession({ request, options, maxAgeMs }: Asked, diedToken: string | undefined): Promise<Session> {
    const aged = maxAgeMs ?? Number.POSITIVE_INFINITY
    const strictly = options.guilds === false && options.live ? Math.min(LIVE_MS, aged) : aged
    return finder.find(request, new SessionSearch(strictly, diedToken))
  }

  async function authOf(session: Session, asked: Asked): Promise<Auth> {
    const { options, needed } = asked
    const dead = needs.isDeadToken(session.accessToken)
    if (dead && (await dead)) throw new SessionRefused('token-dead')
    const user = userOf(session)
    if (options.guilds === false && options.guild === undefined) {
      if (options.live || options.maxAgeMs !== undefined) await confirmToken(session, options)
      // The overload without guilds promises only the user.
      return { user } as Auth
    }
    if (session.scopes && !session.scopes.includes('guilds')) throw new SessionRefused('scope-missing')
    if (options.guild === undefined) return new AuthOfRequest(user, await findMemberships(session, asked), undefined)
    const id: unknown =
      typeof options.guild === 'function' ? await options.guild(asked.request, ...asked.rest) : options.guild
    if (typeof id !== 'string' || id === '') throw new SessionRefused('no-guild-named')
    let memberships: MembershipResult
    let guild: GuildMembership | undefined
    try {
      memberships = await findMemberships(session, asked)
      guild = memberships.guilds.get(id)
    } catch (error) {
      const isNotLive = error instanceof Refusal && error.reason === 'not-live'
      const confirmed = isNotLive ? await confirmWithBot(session, id) : undefined
      if (!confirmed) throw error
      ;({ memberships, guild } = confirmed)
    }
    if (!guild) throw new SessionRefused('not-in-guild')
    if (!allows(guild, needed)) throw new SessionRefused('permission-missing')
    return new AuthOfRequest(user, memberships, guild)
  }

  async function confirmToken(session: Session, { live, maxAgeMs = Number.POSITIVE_INFINITY }: RequireAuthOptions) {
    try {
      await needs.confirmToken(session, live ? Math.min(LIVE_MS, maxAgeMs) : maxAgeMs)
    } catch (error) {
      throw fromMemberships(error)
    }
  }

  async function findMemberships(session: Session, asked: Asked): Promise<MembershipResult> {
    const { options, maxAgeMs } = asked
    const patienceLeftMs = needs.patienceMs - (needs.turnTime() - asked.began)
    const wanted: MembershipOptions = { patienceMs: Math.max(0, patienceLeftMs) }
    if (options.live) wanted.live = true
    if (maxAgeMs !== undefined) wanted.maxAgeMs = maxAgeMs
    if (!asked.ledger) wanted.ledger = false
    try {
      return await needs.memberships(session, wanted)
    } catch (error) {
      const refused = fromMemberships(error)
      if (!options.live || !(refused instanceof Refusal) || refused.retryAfterMs === undefined) throw refused
      throw new Refusal('not-live', error, refused.retryAfterMs)
    }
  }

  /** The guild as the bot sees it now, with the older list for the rest; undefined where that cannot be had either. */
  async function confirmWithBot(session: Session, guildId: string) {
    if (!needs.confirmLive || !SNOWFLAKE.test(guildId) || !SNOWFLAKE.test(session.userId)) return undefined
    try {
      const guild = await needs.confirmLive(session.userId, guildId)
      const memberships = await needs.memberships(session, NOT_FROM_LEDGER)
      return { memberships, guild: guild ?? undefined }
    } catch {
      // The refusal that led here tells more than why the second way failed too.
      return undefined
    }
  }

  /** What is thrown for what went wrong, and told to who watches. What is no refusal is passed on as it is. */
  function refusalOf(error: unknown, request: AuthRequest): unknown {
    let refused = error
    // A resolver that asks Discord itself fails like a look-up of ours.
    if (error instanceof SessionRefused && error.reason === 'session-resolver-failed') {
      if (error.cause instanceof AuthError || error.cause instanceof ConfigError) return error.cause
      if (isFromDiscord(error.cause)) refused = fromMemberships(error.cause)
    }
    if (refused instanceof SessionRefused) {
      const waits = meaningOf(refused.reason).code === 'SERVICE_UNAVAILABLE'
      refused = new Refusal(refused.reason, refused.cause, waits ? UNKNOWN_WAIT_MS : undefined)
    }
    if (!(refused instanceof Refusal)) return refused
    const { reason, cause, retryAfterMs } = refused
    const { code, means } = meaningOf(reason)
    const { clock, write } = needs
    const details = { reason, retryAfterMs, cause, now: () => clock.now(), request, write }
    const told = new AuthError(code, means, details)
    needs.refused(told.status, reason, cause)
    return told
  }
}

/** A refusal on its way out, before it is an `AuthError`. */
class Refusal {
  readonly reason: RefusalReason
  readonly cause: unknown
  readonly retryAfterMs: Milliseconds | undefined

  constructor(reason: RefusalReason, cause: unknown, retryAfterMs?: Milliseconds) {
    this.reason = reason
    this.cause = cause
    this.retryAfterMs = retryAfterMs
  }
}

/** Whether Discord does not accept the session's token. */
function isDeath(error: unknown): boolean {
  return (error instanceof Refusal || error instanceof SessionRefused) && error.reason === 'token-dead'
}

function isFromDiscord(error: unknown): boolean {
  return error instanceof DiscordAPIError || error instanceof DiscordUnavailableError
}

/** What a failed look-up of memberships or of a token means for the request. A ConfigError stays what it is. */
function fromMemberships(error: unknown): Refusal | ConfigError {
  if (error instanceof ConfigError) return error
  if (error instanceof DiscordRateLimitError) return new Refusal('discord-throttles', error, error.retryAfterMs)
  if (error instanceof DiscordAPIError && error.status === 401) return new Refusal('token-dead', error)
  if (error instanceof DiscordAPIError && error.status === 403) return new Refusal('scope-missing', error)
  const retryAfterMs = (error instanceof HoldfastError && error.retryAfterMs) || UNKNOWN_WAIT_MS
  const isTrouble = isFromDiscord(error) || (error instanceof HoldfastError && TROUBLE.has(error.code))
  return new Refusal(isTrouble ? 'discord-unavailable' : 'memberships-failed', error, retryAfterMs)
}

/** Of our own errors, those that say no more than that Discord's answer did not come. */
const TROUBLE: ReadonlySet<string> = new Set(['LOAD_TIMEOUT', 'LOAD_FAILED_ELSEWHERE', 'CLOSED'])

/** Nothing else may become part of a path that the bot asks for. */
const SNOWFLAKE = /^\d{1,20}$/
const NO_OPTIONS: RequireAuthOptions = Object.freeze({})
const NOT_FROM_LEDGER: MembershipOptions = Object.freeze({ ledger: false })
const NO_ARGUMENTS: readonly unknown[] = Object.freeze([])

/** An Express request passed to `requireAuth` of `holdfast` would otherwise be a request without a session. */
function checkRequest(request: unknown): asserts request is AuthRequest {
  const headers = (request as { headers?: { get?: unknown } } | null | undefined)?.headers
  if (typeof headers?.get !== 'function')
    throw new ConfigError(
      'request',
      'requireAuth: takes a Request, or an object with headers (a Headers) and method; for Express, Fastify and others import it from holdfast/express and so on',
    )
}
