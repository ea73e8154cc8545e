import type { Auth } from '../auth/auth.ts'
import { AuthError } from '../auth/auth-error.ts'
import { bearerSession } from '../auth/bearer.ts'
import { type OwnSessionResolver, RESOLVER_DEADLINE_MS } from '../auth/find-session.ts'
import { meaningOf } from '../auth/refusal-reasons.ts'
import { createRequireAuth, type RequireAuth } from '../auth/require-auth.ts'
import type { AuthFor, Consistent, RequireAuthOptions } from '../auth/require-auth-options.ts'
import { principalOfToken, TokenIdentities, type TokenIdentity } from '../auth/token-identities.ts'
import { OwnKey } from '../cache/cache-key.ts'
import type { LoadContext, OwnCacheOptions } from '../cache/cache-options.ts'
import { GracefulCache } from '../cache/graceful-cache.ts'
import { readConfig } from '../config/config.ts'
import type { HoldfastOptions } from '../config/holdfast-options.ts'
import { DiscordClient } from '../discord/discord-fetch.ts'
import type { DiscordHold } from '../discord/holds.ts'
import { userAgent } from '../discord/user-agent.ts'
import { Events, type HoldfastEvent } from '../events/events.ts'
import { Log } from '../events/log.ts'
import { traced } from '../events/trace.ts'
import { HeldLists } from '../guilds/held-lists.ts'
import { type AskAsBot, liveMember } from '../guilds/live-member.ts'
import type { MembershipOptions, MembershipResult } from '../guilds/membership-result.ts'
import { UserGuilds } from '../guilds/user-guilds.ts'
import { openStore } from '../keyv/keyv-tier.ts'
import type { BotGuilds } from '../ledger/bot-guilds.ts'
import type { MembershipLedger } from '../ledger/membership-ledger.ts'
import { openRedis } from '../redis/redis.ts'
import type { AuthRequest } from '../sessions/session.ts'
import type { DiscordLogin } from '../sign-in/discord-login.ts'
import { type Milliseconds, turnTime } from '../time/clock.ts'
import { sharedDatabase } from './database.ts'
import { knownUser } from './known-user.ts'
import { databaseReady, forgettingCache, instanceLedger } from './ledger.ts'
import { InstanceLogin } from './login.ts'
import { withoutOverdueTokens } from './overdue-tokens.ts'
import { keepParts } from './parts.ts'
import { noteInstance } from './second-instance.ts'
import { openSignInStore } from './sign-in-store.ts'

/** Everything, bound to one explicit configuration. Its own functions can be taken off the object and used alone; those of `cache` cannot. */
export interface Holdfast {
  readonly discordFetch: DiscordClient['fetch']
  readonly getCurrentUser: DiscordClient['getCurrentUser']
  readonly getUserGuilds: DiscordClient['getUserGuilds']
  /**
   * The value of `fetchFn`, kept for a user under `key`: fresh for `freshTtlMs` after its fetch, and served up to
   * `staleTtlMs` after it while `fetchFn` fails with trouble (429, 5xx, network, time-out). Errors as `cache.get`.
   */
  cacheUserScopedGraceful<T>(
    userId: string,
    key: string,
    freshTtlMs: Milliseconds,
    staleTtlMs: Milliseconds,
    fetchFn: (context: LoadContext) => Promise<T>,
  ): Promise<T>
  readonly cache: Pick<GracefulCache, 'get' | 'peek' | 'set' | 'invalidate' | 'invalidateUser' | 'drain'>
  /** A user's guilds: held, or fetched with the user's token. Rejects as `discordFetch` does where none are held. */
  memberships(user: { userId: string; accessToken: string }, options?: MembershipOptions): Promise<MembershipResult>
  readonly requireAuth: RequireAuth
  /** Wraps a route handler: it is called with the `Auth` of the request, or not at all. Refusals are answered; other errors are thrown. */
  withAuth<R extends Request, Rest extends unknown[], Options extends RequireAuthOptions>(
    handler: (request: R, auth: AuthFor<Options>, ...rest: Rest) => Response | Promise<Response>,
    options?: Consistent<Options>,
  ): (request: R, ...rest: Rest) => Promise<Response>
  /** Sign-in with Discord. Its code is loaded at the first call. */
  readonly login: DiscordLogin
  /** Which guilds users were in when Discord last told, in the database. */
  readonly ledger: MembershipLedger
  /** Which guilds the bot is in. */
  readonly botGuilds: BotGuilds
  /**
   * Resolves when Redis and the database were reached or are known to be away, at most after `deadlineMs` (default
   * 1 000); at once without them. Rejects where the database is not to be used: DATABASE_FOREIGN, DATABASE_NEWER,
   * DATABASE_FAILED, or ConfigError for a missing package. Nothing needs it: a process that waits for it before it takes
   * requests begins with the fleet's memory.
   */
  ready(options?: { deadlineMs?: Milliseconds }): Promise<void>
  /** Calls `listener` with every event from now on; the returned function ends that. */
  on(listener: (event: HoldfastEvent) => void): () => void
  /**
   * For an operator who knows that a block of this address by Discord or Cloudflare is over: calls go on at once, in every
   * process of the fleet, instead of after the block's own time. If it is not over, the next answer says so.
   */
  liftBlock(): void
  /**
   * What this process would not send to Discord at the moment, by kind, with how many and for how long; empty where
   * nothing is held. With Redis that is what the whole fleet has met. Looks through all of it: for diagnosis, not for
   * every request.
   */
  holds(): readonly DiscordHold[]
  stats(): HoldfastStats
  /** Ends background work and connections; waits at most `deadlineMs` (default 5 000) for loads under way. Idempotent. */
  close(options?: { deadlineMs?: Milliseconds }): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

export interface HoldfastStats {
  readonly cache: {
    /** Answers given fresh, and stale. */
    readonly fresh: number
    readonly stale: number
    /** Loads that ended with a value, and without; however many waited for them. */
    readonly loaded: number
    readonly failed: number
    readonly entries: number
    readonly bytes: number
  }
  readonly discord: {
    /** Requests sent. */
    readonly calls: number
    readonly rateLimited: number
    readonly retries: number
    /** Share of Discord's limit of invalid requests that this process used in the last ten minutes, from 0 to 1. */
    readonly invalidBudgetUsed: number
    readonly breaker: 'closed' | 'open' | 'half-open'
  }
  /** Whether Redis is there; `none` where it is not configured. */
  readonly redis: 'none' | 'up' | 'away'
}

const IDENTITY_PATH = '/oauth2/@me'
/** Before a session resolver's time is over: a bearer token that cannot be looked up is refused because of Discord, not because of a resolver that nobody gave. */
const LOOK_UP_DEADLINE_MS: Milliseconds = RESOLVER_DEADLINE_MS - 1_000
/** Whose a token is never changes. */
const KEPT_LONGEST = { freshMs: 30 * 24 * 60 * 60 * 1000, staleMs: 30 * 24 * 60 * 60 * 1000 }
const CLOSE_DEADLINE_MS: Milliseconds = 5_000
const READY_DEADLINE_MS: Milliseconds = 1_000

/**
 * Builds the line of rooms: a request's session, its user's memberships, the cache that holds them, and Discord.
 * Throws ConfigError for the first option or environment variable that cannot be used. Opens nothing by itself.
 */
export function createHoldfast(options: HoldfastOptions = {}): Holdfast {
  const config = readConfig(options)
  const { clock } = config
  const events = new Events(clock, config.logger && new Log(config.logger, clock))
  const leave = noteInstance(config)
  const redis = config.redis && openRedis({ ...config, config: config.redis, events })
  const discord = new DiscordClient({
    ...config,
    events,
    userAgent: userAgent(config.publicUrl),
    fleet: redis?.fleet,
    onSuccess: () => cache.recovered(),
  })
  const store = config.store && openStore({ ...config, store: config.store, events })
  const cache = new GracefulCache({ ...config, events, shared: redis?.entries ?? store, keeper: new HeldLists() })
  redis?.connection.start()
  store?.start()
  const database = sharedDatabase(config.database, events)

  const login = new InstanceLogin({
    config,
    discord,
    events,
    forget: (userId) => forgetUser(userId),
    store: () => openSignInStore({ ...config, redis, openDatabase: database?.open }),
  })

  const { ledger, botGuilds, source, fallback, isOn } = instanceLedger({
    config,
    events,
    discord,
    cache,
    source: withoutOverdueTokens(discord, login),
    openDatabase: database?.open,
  })
  /** What is said of a user everywhere else is not to come back out of the ledger. */
  const forgetUser = async (userId: string) => {
    await Promise.all([cache.invalidateUser(userId), isOn && ledger.forgetOrSay(userId)])
  }

  const guilds = new UserGuilds({
    cache: { get: (userId, request) => cache.get(new OwnKey('guilds', userId), request) },
    source,
    times: config,
    clock,
    fallback,
  })
  const traceContext = () => ({ instance: events, attributes: {} })

  const identities = new TokenIdentities(
    {
      owner: async (token, load) => {
        const options: OwnCacheOptions<string> = { load, refusedForMs: refusedIdentity(token), ...KEPT_LONGEST }
        return (await cache.get(new OwnKey('token-owner', '', token), options)).value
      },
      identity: async (owner, token, maxAgeMs, load) => {
        const options: OwnCacheOptions<TokenIdentity> = {
          load,
          refusedForMs: refusedIdentity(token),
          freshMs: Math.min(config.freshMs, maxAgeMs),
          staleMs: Math.min(config.staleMs, maxAgeMs),
          keepMs: config.staleMs,
        }
        return (await cache.get(new OwnKey('token', owner, token), options)).value
      },
    },
    (accessToken, principal, onceMore) =>
      discord.getAuthorization(accessToken, { principal, onceMore, deadlineMs: LOOK_UP_DEADLINE_MS }),
  )
  const refusedIdentity = (token: string) => () => discord.refusedForMs(IDENTITY_PATH, principalOfToken(token))

  const { botToken } = config
  /** With limits of its own. */
  const askAsBot: AskAsBot = (path) =>
    discord.fetch(path, botToken!, { tokenType: 'Bot', principal: `bot:${config.clientId ?? ''}` })

  const bearer = bearerSession({
    clientId: config.clientId,
    identify: (accessToken, maxAgeMs) => identities.of(accessToken, maxAgeMs),
    now: () => clock.now(),
  })
  const ownSession: OwnSessionResolver = async (request, context) =>
    (await login.resolve(request, context)) ?? bearer(request, context)

  const decide = createRequireAuth({
    session: config.session ?? ownSession,
    memberships: (user, asked) => traced('memberships', traceContext, () => guilds.of(user, asked)),
    confirmLive:
      botToken === undefined ? undefined : (userId, guildId) => liveMember(askAsBot, userId, guildId, clock.now()),
    isDeadToken: (accessToken) => discord.isDeadToken(accessToken),
    confirmToken: async ({ accessToken }, maxAgeMs) => {
      await identities.of(accessToken, maxAgeMs)
    },
    refused: (status, reason, cause) => {
      events.emit({ type: 'auth.refused', status, reason })
      if (meaningOf(reason).unexpected) events.unexpected(`requireAuth refused: ${meaningOf(reason).means}`, cause)
    },
    write: config.refusal,
    patienceMs: config.patienceMs,
    clock,
    turnTime: turnTime(clock),
  })

  const requireAuth: typeof decide = (request, options, rest) =>
    traced('require-auth', traceContext, () => decide(request, options, rest))

  let closing: Promise<void> | undefined
  const close: Holdfast['close'] = ({ deadlineMs = CLOSE_DEADLINE_MS } = {}) => {
    closing ??= (async () => {
      leave()
      await login.close(deadlineMs)
      await cache.drain(deadlineMs)
      cache.close()
      await discord.close()
      if (isOn) await ledger.close()
      store?.close()
      redis?.connection.close()
      await database?.close()
    })()
    return closing
  }

  const holdfast: Holdfast = {
    discordFetch: discord.fetch.bind(discord) as DiscordClient['fetch'],
    getCurrentUser: discord.getCurrentUser.bind(discord),
    getUserGuilds: discord.getUserGuilds.bind(discord),
    cacheUserScopedGraceful: async (userId, key, freshMs, staleMs, fetchFn) =>
      (await cache.get({ user: userId, key }, { load: fetchFn, freshMs, staleMs })).value,
    cache: isOn ? forgettingCache(cache, forgetUser) : cache,
    memberships: (user, asked) => traced('memberships', traceContext, () => guilds.checkedOf(user, asked)),
    login,
    ledger,
    botGuilds,
    requireAuth: ((request: AuthRequest, options?: RequireAuthOptions) => requireAuth(request, options)) as RequireAuth,
    withAuth:
      (handler, options) =>
      async (request, ...rest) => {
        let auth: Auth
        try {
          auth = await requireAuth(request, options, rest)
        } catch (error) {
          if (error instanceof AuthError) return error.toResponse(request)
          throw error
        }
        return handler(request, auth as never, ...rest)
      },
    ready: async ({ deadlineMs = READY_DEADLINE_MS } = {}) => {
      await Promise.all([
        redis?.connection.ready(deadlineMs),
        store?.ready(),
        isOn && databaseReady(ledger, deadlineMs),
      ])
    },
    on: (listener) => events.on(listener),
    liftBlock: () => discord.liftBlock(),
    holds: () => discord.holds(),
    stats: () => ({
      cache: cache.stats(),
      discord: discord.stats(),
      redis: redis ? (redis.connection.isUp ? 'up' : 'away') : 'none',
    }),
    close,
    [Symbol.asyncDispose]: () => close(),
  }
  keepParts(holdfast, {
    ...config,
    events,
    redis,
    openDatabase: database?.open,
    knownUser: knownUser({ ...config, cache, login: (request, context) => login.resolve(request, context) }),
  })
  return holdfast
}
