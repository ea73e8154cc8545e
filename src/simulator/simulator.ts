import type { FaultKind, FaultOptions } from './fault-options.ts'
import { createFaults } from './faults.ts'
import { createFront } from './front.ts'
import { createInteractions } from './interactions.ts'
import { createInvalidRequests } from './invalid-requests.ts'
import { type Call, createLedgerOfCalls } from './ledger-of-calls.ts'
import { createCredentials } from './oauth/credentials.ts'
import { createOAuth } from './oauth/oauth.ts'
import { createReferee } from './referee.ts'
import { createResources } from './resources/resources.ts'
import { createWebhook } from './resources/webhooks.ts'
import { startServer } from './server.ts'
import { checkedSettings, type SimulatorOptions } from './settings.ts'
import { postWebhook, type WebhookBody } from './webhook.ts'
import { createApplication } from './world/application.ts'
import { createWorld } from './world/create-world.ts'
import { toGuild } from './world/guild.ts'
import { createPeople, type SimulatedUser } from './world/people.ts'
import { createRandom } from './world/random.ts'
import { fillWorld, type SavedWorld, saveWorld } from './world/saved.ts'
import { isSnowflake } from './world/snowflake.ts'
import { toPublicUser } from './world/user-objects.ts'

export type { BlockShape, FaultKind, FaultOptions } from './fault-options.ts'
export type { InvalidLimit } from './invalid-requests.ts'
export type { Call } from './ledger-of-calls.ts'
export type { Limit } from './limits.ts'
export type { SimulatorOptions } from './settings.ts'
export { createVirtualClock, type VirtualClock } from './virtual-clock.ts'
export type { Membership, SimulatedUser } from './world/people.ts'
export type { SavedWorld } from './world/saved.ts'
export type { MembershipData, UserData } from './world/user-data.ts'

/** A guild, as far as tests need to know its ids. Types of channels are Discord's numbers: 0 text, 2 voice. */
export interface SimulatedGuild {
  readonly id: string
  readonly name: string
  readonly ownerId: string
  readonly channels: ReadonlyArray<{ readonly id: string; readonly name: string; readonly type: number }>
  readonly roles: ReadonlyArray<{ readonly id: string; readonly name: string; readonly permissions: string }>
}

/** A running Discord of your own. */
export interface Simulator {
  /** Base URL to give as DISCORD_API_BASE_URL, such as `http://127.0.0.1:40123/api/v10`. */
  readonly url: string
  /** All users, the same for the same seed. Their guild lists show joins and leaves. */
  readonly users: readonly SimulatedUser[]
  /** Every guild with its channels and roles, as they are now. */
  readonly guilds: readonly SimulatedGuild[]
  /** For `Authorization: Bot …`. The bot is in every guild until `leaveGuild(botId, guildId)`. */
  readonly botToken: string
  /** The bot's user id; the same as `clientId`, as for Discord's own applications. */
  readonly botId: string
  readonly clientId: string
  readonly clientSecret: string
  /** The application's Ed25519 public key in hex: DISCORD_PUBLIC_KEY. */
  readonly publicKey: string
  /**
   * Switches trouble on until the returned function is called, or for `forMs`, or for `times` calls. Throws a
   * TypeError or RangeError for a kind, route, user or value that could never have an effect.
   */
  fault(kind: FaultKind, options?: FaultOptions): () => void
  /**
   * Every call that reached the simulator, oldest first, also those it answered with an error. The array is live, and
   * bounded by the option `maxCalls`.
   */
  readonly calls: readonly Call[]
  /** Takes a user (or the bot) out of a guild. Throws a TypeError if there is no such user, or they are not in it. */
  leaveGuild(userId: string, guildId: string): void
  /**
   * Puts a user (or the bot) into a guild, or changes their `permissions` there. A guild with an id that is not known
   * yet is created, with the bot in it; a known one keeps its name. `permissions` defaults to what @everyone may;
   * `owner: true` makes the user its owner.
   */
  joinGuild(userId: string, guild: { id: string; name: string; permissions?: string; owner?: boolean }): void
  /** From now on every token and code of this user is refused. A new login works. */
  revoke(userId: string): void
  /**
   * Revokes, and posts APPLICATION_DEAUTHORIZED to `webhookUrl`, signed as Discord signs. Resolves to the HTTP status of
   * the answer, or 0 when there is no URL or nobody answered within 3 s.
   */
  deauthorize(userId: string, webhookUrl?: string): Promise<number>
  /**
   * Posts a PING to a webhook URL, as Discord does before it accepts one; with `forged`, under a signature that does
   * not fit. Resolves to the HTTP status (wanted: 204, and 401 for a forged one), or 0 when nobody answered within 3 s.
   */
  ping(webhookUrl: string, options?: { forged?: boolean }): Promise<number>
  /**
   * Another access token for a user: with fewer `scopes`, a shorter life, or issued to another application. Defaults:
   * the scopes of the user's first token, `tokenLifetimeMs`, and `clientId`.
   */
  issueToken(
    userId: string,
    options?: { scopes?: readonly string[]; lifetimeMs?: number; applicationId?: string },
  ): string
  /** The world as JSON, for the option `world` of another simulator. */
  save(): SavedWorld
  /**
   * Whoever comes next to `/oauth2/authorize` is this user (id or username), or presses Cancel, at once and without a
   * click, also where a page would have been shown. Said again before that, the last word counts. Throws a TypeError
   * if there is no such user.
   */
  nextLogin(user: string | 'deny'): void
  /** Stops listening and ends every connection, also those that hang. Safe to call twice. */
  close(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

const FIRST_SCOPES = ['identify', 'email', 'guilds', 'guilds.members.read']

/**
 * Starts a Discord to test against: a real HTTP server on 127.0.0.1 with users, guilds, OAuth2, a bot, Discord's rate
 * limits and headers, its invalid-request ban, and faults on demand. The same seed gives the same world.
 *
 * Resolves once it listens. Rejects with a TypeError or RangeError that names a bad option, or with the system's error
 * when the port is taken. It keeps the process alive until `close()`.
 *
 * Paths are accepted with `/api`, `/api/v10` and without either; all speak v10. Limits are described at
 * `createBuckets`; semantics follow Discord's topics "Rate Limits", "OAuth2" and "Webhook Events".
 */
export async function startSimulator(options: SimulatorOptions = {}): Promise<Simulator> {
  const settings = checkedSettings(options)
  const { seed, clock, tokenLifetimeMs } = settings
  const application = createApplication(seed)
  const people = createPeople(seed, settings.users, settings.guildsPerUser, application.id)
  const credentials = createCredentials(createRandom(seed, 'credentials'))
  const faults = createFaults(createRandom(seed, 'faults'))
  const ledger = createLedgerOfCalls(settings.maxCalls)
  const closed = new AbortController()
  const firstScopes = FIRST_SCOPES.filter((scope) => settings.scopes.includes(scope))

  const issue = (
    userId: string,
    scopes: readonly string[],
    lifetimeMs: number,
    applicationId: string,
    token?: string,
  ) =>
    credentials.issueAccess(
      { userId, applicationId, scopes: new Set(scopes), expiresAt: clock.now() + lifetimeMs },
      token,
    )
  for (const { id, accessToken } of people.users) issue(id, firstScopes, tokenLifetimeMs, application.id, accessToken)

  let origin = ''
  const world = createWorld(seed, clock, application, people, { origin: () => origin, dispatch: () => {} })
  const interactions = createInteractions(world)
  const oauth = createOAuth(application, people, credentials, settings, ({ scopes, guildId, userId }) => {
    const guild = people.guilds.get(guildId ?? people.user(userId)?.guilds[0]?.id ?? '')
    const channel = guild && world.channels.of(guild.id)[0]
    return {
      ...(scopes.has('bot') && guild ? { guild: toGuild(guild, false) } : {}),
      ...(scopes.has('webhook.incoming') && guild && channel
        ? { webhook: createWebhook(world, channel.id, guild.id, application.name) }
        : {}),
    }
  })
  const judge = createReferee({
    settings,
    application,
    credentials,
    faults,
    ledger,
    invalidRequests: createInvalidRequests(settings.invalidLimit),
    oauth,
    resources: createResources(
      world,
      interactions,
      (token) => credentials.access(token, clock.now()),
      () => origin.replace('http', 'ws'),
    ),
  })
  const server = await startServer(
    settings.port,
    settings.host,
    clock,
    settings.latencyMs,
    createRandom(seed, 'latency'),
    judge,
    createFront(world.messages, () => undefined),
  )

  origin = originOf(settings.host, server.port)
  if (settings.world) fillWorld(world, settings.world)

  const userOf = (userId: string): SimulatedUser => {
    const user = people.user(userId)
    if (!user) throw new TypeError(`there is no user ${JSON.stringify(userId)}; take an id from simulator.users`)
    return user
  }
  const checkMember = (userId: string) => {
    if (userId !== people.bot.id) userOf(userId)
  }
  const checkWebhookUrl = (url: string) => {
    if (!URL.canParse(url) || !/^https?:/i.test(url))
      throw new TypeError(`webhookUrl must be an http or https URL, not ${JSON.stringify(url)}`)
  }
  const post = async (url: string, body: WebhookBody, forged = false) =>
    closed.signal.aborted ? 0 : postWebhook(url, body, application, clock, closed.signal, forged)

  const simulator: Simulator = {
    url: `${origin}/api/v10`,
    users: people.users,
    get guilds() {
      return [...people.guilds.values()].map(({ id, name, ownerId, roles }) => ({
        id,
        name,
        ownerId,
        channels: world.channels.of(id).map((channel) => ({ id: channel.id, name: channel.name, type: channel.type })),
        roles: roles.map((role) => ({ id: role.id, name: role.name, permissions: role.permissions })),
      }))
    },
    save: () => saveWorld(seed, world),
    botToken: application.botToken,
    botId: application.id,
    clientId: application.id,
    clientSecret: application.secret,
    publicKey: application.publicKey,
    calls: ledger.calls,
    fault(kind, options = {}) {
      if (options?.userId !== undefined) checkMember(options.userId)
      return faults.start(kind, options, clock.monotonic()).stop
    },
    leaveGuild(userId, guildId) {
      checkMember(userId)
      if (!people.leave(userId, guildId))
        throw new TypeError(
          `user ${userId} is not in guild ${JSON.stringify(guildId)}; take an id from that user's guilds`,
        )
    },
    joinGuild(userId, guild) {
      checkMember(userId)
      if (!isSnowflake(guild.id))
        throw new TypeError(`guild.id must be a Discord id (up to 20 digits), not ${JSON.stringify(guild.id)}`)
      if (typeof guild.name !== 'string' || guild.name === '')
        throw new TypeError('guild.name must be a text of at least one character')
      if (guild.permissions !== undefined && !/^\d+$/.test(guild.permissions))
        throw new TypeError(
          `guild.permissions must be permission bits as a decimal string, not ${JSON.stringify(guild.permissions)}`,
        )
      people.join(userId, guild)
    },
    revoke(userId) {
      credentials.revokeAll(userOf(userId).id)
    },
    async deauthorize(userId, webhookUrl) {
      const user = userOf(userId)
      if (webhookUrl !== undefined) checkWebhookUrl(webhookUrl)
      credentials.revokeAll(user.id, application.id)
      if (webhookUrl === undefined) return 0
      return post(webhookUrl, {
        type: 1,
        event: { type: 'APPLICATION_DEAUTHORIZED', data: { user: toPublicUser(people.somebody(user.id)!) } },
      })
    },
    async ping(webhookUrl, { forged = false } = {}) {
      checkWebhookUrl(webhookUrl)
      return post(webhookUrl, { type: 0 }, forged)
    },
    issueToken(userId, { scopes = firstScopes, lifetimeMs = tokenLifetimeMs, applicationId = application.id } = {}) {
      return issue(userOf(userId).id, scopes, lifetimeMs, applicationId)
    },
    nextLogin(name) {
      if (name === 'deny') return oauth.nextLogin('deny')
      const user = people.users.find(({ id, username }) => id === name || username === name)
      if (!user) throw new TypeError(`there is no user ${JSON.stringify(name)}; give an id or username, or 'deny'`)
      oauth.nextLogin({ userId: user.id })
    },
    close() {
      closed.abort()
      return server.close()
    },
    [Symbol.asyncDispose]: () => simulator.close(),
  }
  return simulator
}

/** Where a simulator is reached that listens at `host`: an address that stands for all is not one to go to. */
function originOf(host: string, port: number): string {
  const name = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host
  return `http://${name.includes(':') ? `[${name}]` : name}:${port}`
}
