import { AuthError } from '../auth/auth-error.ts'
import { type BearerIdentity, bearerSession } from '../auth/bearer.ts'
import {
  type Auth,
  createRequireAuth,
  type MembershipOptions,
  type MembershipResult,
  type RequireAuth,
  type RequireAuthOptions,
} from '../auth/require-auth.ts'
import type { CacheOptions, LoadContext } from '../cache/cache-options.ts'
import { GracefulCache } from '../cache/graceful-cache.ts'
import { readConfig } from '../config/config.ts'
import type { HoldfastOptions } from '../config/holdfast-options.ts'
import { DiscordClient } from '../discord/discord-fetch.ts'
import { userAgent } from '../discord/user-agent.ts'
import { DiscordAPIError, HoldfastError } from '../errors/errors.ts'
import { Events, type HoldfastEvent } from '../events/events.ts'
import {
  type GuildMembership,
  type GuildMemberships,
  membershipsCodec,
  membershipsFromDiscord,
} from '../guilds/memberships.ts'
import { type GuildRoles, permissionsOfMember } from '../guilds/permissions.ts'
import { openRedis } from '../redis/redis.ts'
import type { AuthRequest } from '../sessions/session.ts'
import { type Milliseconds, turnTime } from '../time/clock.ts'
import { keepParts } from './parts.ts'

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
  withAuth<R extends Request, Rest extends unknown[]>(
    handler: (request: R, auth: Auth, ...rest: Rest) => Response | Promise<Response>,
    options?: RequireAuthOptions,
  ): (request: R, ...rest: Rest) => Promise<Response>
  /**
   * Resolves when Redis was reached or is known to be away, at most after `deadlineMs` (default 1 000); at once without
   * Redis. Nothing needs it: a process that waits for it before it takes requests begins with the fleet's memory.
   */
  ready(options?: { deadlineMs?: Milliseconds }): Promise<void>
  /** Calls `listener` with every event from now on; the returned function ends that. */
  on(listener: (event: HoldfastEvent) => void): () => void
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

const GUILDS_PATH = '/users/@me/guilds'
const IDENTITY_PATH = '/oauth2/@me'
/** What `live` accepts without asking again. */
const LIVE_MS: Milliseconds = 5_000
const CLOSE_DEADLINE_MS: Milliseconds = 5_000
const READY_DEADLINE_MS: Milliseconds = 1_000

/**
 * Builds the line of rooms: a request's session, its user's memberships, the cache that holds them, and Discord.
 * Throws ConfigError for the first option or environment variable that cannot be used. Opens nothing by itself.
 */
export function createHoldfast(options: HoldfastOptions = {}): Holdfast {
  const config = readConfig(options)
  const { clock } = config
  const events = new Events(clock, config.logger)
  const redis = config.redis && openRedis({ ...config, config: config.redis, events })
  const discord = new DiscordClient({ ...config, events, userAgent: userAgent(config.publicUrl), fleet: redis?.fleet })
  const cache = new GracefulCache({ ...config, events, shared: redis?.entries })
  redis?.connection.start()

  const memberships: Holdfast['memberships'] = (user, asked = NO_OPTIONS) => {
    let request: GuildsRequest
    try {
      request = new GuildsRequest(discord, config, user, asked)
    } catch (error) {
      return Promise.reject(error)
    }
    return cache.get({ user: user.userId, key: 'guilds' }, request).then(asMemberships, (error) => {
      // Another session of this user asked, with a token that is dead. This one may still live. Whoever comes first
      // after a failure asks, so this ends with the number of sessions.
      if (request.asked || !(error instanceof DiscordAPIError) || error.status !== 401) throw error
      return memberships(user, asked)
    })
  }

  const identify = bearerSession({
    clientId: config.clientId,
    lookUp: (accessToken, name) => discord.fetch(IDENTITY_PATH, accessToken, { principal: name }),
    remember: async (name, load) => {
      const refusedForMs = () => discord.refusedForMs(IDENTITY_PATH, name)
      return (await cache.get<BearerIdentity>(name, { load, refusedForMs })).value
    },
    now: () => clock.now(),
  })

  /** Asks as the bot, with limits of its own. */
  const confirmLive = async (userId: string, guildId: string): Promise<GuildMembership | null | undefined> => {
    const { botToken } = config
    if (botToken === undefined || !/^\d+$/.test(guildId) || !/^\d+$/.test(userId)) return undefined
    const asBot = { tokenType: 'Bot', principal: `bot:${config.clientId ?? ''}` } as const
    try {
      const [guild, member] = await Promise.all([
        discord.fetch<GuildRoles & { name: string; icon: string | null }>(`/guilds/${guildId}`, botToken, asBot),
        discord.fetch(`/guilds/${guildId}/members/${userId}`, botToken, asBot),
      ])
      return {
        id: guildId,
        name: guild.name,
        icon: guild.icon,
        owner: guild.owner_id === userId,
        permissions: permissionsOfMember(guild, member.roles),
      }
    } catch (error) {
      // 10007 Unknown Member. An unknown guild (10004) is one that the bot is not in: it cannot tell.
      if (error instanceof DiscordAPIError && error.discordCode === 10_007) return null
      throw error
    }
  }

  const requireAuth = createRequireAuth({
    session: config.session ?? identify,
    memberships,
    confirmLive,
    isDeadToken: (accessToken) => discord.isDeadToken(accessToken),
    patienceMs: config.patienceMs,
    now: () => clock.now(),
    monotonic: turnTime(clock),
  })

  let closing: Promise<void> | undefined
  const close: Holdfast['close'] = ({ deadlineMs = CLOSE_DEADLINE_MS } = {}) => {
    closing ??= (async () => {
      await cache.drain(deadlineMs)
      cache.close()
      await discord.close()
      redis?.connection.close()
    })()
    return closing
  }

  const holdfast: Holdfast = {
    discordFetch: discord.fetch.bind(discord) as DiscordClient['fetch'],
    getCurrentUser: discord.getCurrentUser.bind(discord),
    getUserGuilds: discord.getUserGuilds.bind(discord),
    cacheUserScopedGraceful: async (userId, key, freshMs, staleMs, fetchFn) =>
      (await cache.get({ user: userId, key }, { load: fetchFn, freshMs, staleMs })).value,
    cache,
    memberships,
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
        return handler(request, auth, ...rest)
      },
    ready: async ({ deadlineMs = READY_DEADLINE_MS } = {}) => redis?.connection.ready(deadlineMs),
    on: (listener) => events.on(listener),
    stats: () => ({
      cache: cache.stats(),
      discord: discord.stats(),
      redis: redis ? (redis.connection.isUp ? 'up' : 'away') : 'none',
    }),
    close,
    [Symbol.asyncDispose]: () => close(),
  }
  keepParts(holdfast, { ...config, events, redis })
  return holdfast
}

/** How a user's guilds are loaded. A class and no closures, because ten thousand may ask at once and one loads. */
class GuildsRequest implements CacheOptions<GuildMemberships> {
  /** Whether this request is the one that asked Discord. */
  asked = false
  readonly codec = membershipsCodec
  readonly freshMs: Milliseconds
  readonly staleMs: Milliseconds
  readonly keepMs: Milliseconds
  readonly #discord: DiscordClient
  readonly #user: { readonly userId: string; readonly accessToken: string }
  declare readonly patienceMs?: Milliseconds
  declare readonly signal?: AbortSignal

  constructor(
    discord: DiscordClient,
    times: { readonly freshMs: Milliseconds; readonly staleMs: Milliseconds },
    user: { readonly userId: string; readonly accessToken: string },
    { live, maxAgeMs = Number.POSITIVE_INFINITY, patienceMs, signal }: MembershipOptions,
  ) {
    if (typeof maxAgeMs !== 'number' || !(maxAgeMs >= 0))
      throw new HoldfastError('INVALID_OPTION', 'memberships: option maxAgeMs must be milliseconds, not negative')
    this.#discord = discord
    this.#user = user
    const oldestMs = live ? Math.min(LIVE_MS, maxAgeMs) : maxAgeMs
    this.freshMs = Math.min(times.freshMs, oldestMs)
    this.staleMs = Math.min(times.staleMs, oldestMs)
    // That this one wants to know more recently is no reason to take it from the others.
    this.keepMs = times.staleMs
    if (patienceMs !== undefined) this.patienceMs = patienceMs
    if (signal !== undefined) this.signal = signal
  }

  async load({ signal }: LoadContext): Promise<GuildMemberships> {
    this.asked = true
    const { userId: principal, accessToken } = this.#user
    // Not what is under way: it may have begun before an invalidation that this load comes after.
    return membershipsFromDiscord(await this.#discord.getUserGuildsAnew(accessToken, { principal, signal }))
  }

  refusedForMs(): Milliseconds | undefined {
    return this.#discord.refusedForMs(GUILDS_PATH, this.#user.userId)
  }
}

const NO_OPTIONS: MembershipOptions = Object.freeze({})

function asMemberships(held: Awaited<ReturnType<GracefulCache['get']>>): MembershipResult {
  return {
    guilds: held.value as GuildMemberships,
    stale: held.state === 'stale',
    fetchedAt: held.fetchedAt,
    source: held.source,
    ...(held.reason && { reason: held.reason }),
    ...(held.retryAt && { retryAt: held.retryAt }),
  }
}

/** Under a global symbol, so that bundled copies and reloaded modules of one process share the instance and its limits. */
const DEFAULT = Symbol.for('holdfast.default')
const processWide = globalThis as { [DEFAULT]?: Holdfast | undefined }

/** The instance behind the free functions: built from the environment at first use, one per process. Throws ConfigError as `createHoldfast`. */
export function defaultHoldfast(): Holdfast {
  processWide[DEFAULT] ??= createHoldfast()
  return processWide[DEFAULT]
}

/** Replaces the default instance, in tests for example. Undefined lets the next use build a new one. The old one is not closed. */
export function setDefaultHoldfast(holdfast: Holdfast | undefined): void {
  processWide[DEFAULT] = holdfast
}
