import '../config/runtime.ts'

import { createFaults } from './faults.ts'
import { createFront } from './front.ts'
import { createGateway, type Gateway } from './gateway.ts'
import { createInteractions } from './interactions.ts'
import { intercept } from './intercept.ts'
import { createInvalidRequests } from './invalid-requests.ts'
import { createLedgerOfCalls } from './ledger-of-calls.ts'
import { createLevers } from './levers.ts'
import { createCredentials } from './oauth/credentials.ts'
import { createOAuth } from './oauth/oauth.ts'
import { createReferee } from './referee.ts'
import { isRecord } from './resources/call.ts'
import { createMessage, messageForm } from './resources/message-form.ts'
import { createResources } from './resources/resources.ts'
import { createWebhook } from './resources/webhooks.ts'
import { startServer } from './server.ts'
import { checkedSettings, type SimulatorOptions } from './settings.ts'
import type { Simulator } from './simulator-face.ts'
import { createStandings } from './standings.ts'
import { createDeliveries } from './webhook.ts'
import { createApplication } from './world/application.ts'
import { createWorld } from './world/create-world.ts'
import { toGuild } from './world/guild.ts'
import { createPeople, type SimulatedUser } from './world/people.ts'
import { createRandom } from './world/random.ts'
import { fillWorld, saveWorld } from './world/saved.ts'
import { isSnowflake } from './world/snowflake.ts'
import { toPublicUser } from './world/user-objects.ts'

export type { BlockShape, FaultKind, FaultOptions } from './fault-options.ts'
export type { InvalidLimit } from './invalid-requests.ts'
export type { Call } from './ledger-of-calls.ts'
export type { Limit } from './limits.ts'
export type { SimulatorOptions } from './settings.ts'
export type { SimulatedGuild, Simulator } from './simulator-face.ts'
export { createVirtualClock, type VirtualClock } from './virtual-clock.ts'
export type { Membership, SimulatedUser } from './world/people.ts'
export type { SavedWorld } from './world/saved.ts'
export type { MembershipData, UserData } from './world/user-data.ts'

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
  const deliveries = createDeliveries(application, clock, closed.signal)
  const interceptions = new Set<() => void>()
  const standings = createStandings()
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
  const world = createWorld(seed, clock, application, people, {
    origin: () => origin,
    dispatch: (event, guildId, data) => gateway.dispatch(event, guildId, data),
  })
  const gatewayUrl = () => origin.replace('http', 'ws')
  const gateway: Gateway = createGateway(world, application.botToken, gatewayUrl, () => clock.monotonic())
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
    standings,
    invalidRequests: createInvalidRequests(settings.invalidLimit),
    oauth,
    resources: createResources(world, interactions, (token) => credentials.access(token, clock.now()), gatewayUrl),
  })
  const server = await startServer(
    settings.port,
    settings.host,
    clock,
    settings.latencyMs,
    createRandom(seed, 'latency'),
    judge,
    createFront(world.messages, (incoming) => levers(incoming)),
    gateway.upgrade,
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
  const checkWebhookUrl = (url: string, name = 'webhookUrl') => {
    if (!URL.canParse(url) || !/^https?:/i.test(url))
      throw new TypeError(`${name} must be an http or https URL, not ${JSON.stringify(url)}`)
  }
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
      if (!isRecord(guild)) throw new TypeError('guild must be an object with an id and a name')
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
      return deliveries.event(webhookUrl, {
        type: 1,
        event: { type: 'APPLICATION_DEAUTHORIZED', data: { user: toPublicUser(people.somebody(user.id)!) } },
      })
    },
    async ping(webhookUrl, { forged = false } = {}) {
      checkWebhookUrl(webhookUrl)
      return deliveries.event(webhookUrl, { type: 0 }, forged)
    },
    async interact(url, interaction) {
      checkWebhookUrl(url, 'url')
      if (!isRecord(interaction)) throw new TypeError('interaction must be an object')
      const { body, token } = interactions.begin(interaction)
      const { status, text } = await deliveries.post(url, JSON.stringify(body))
      const answer = parsed(text)
      if (status >= 200 && status < 300) interactions.answered(token, answer)
      return { status, body: answer }
    },
    intercept() {
      const end = intercept(origin)
      interceptions.add(end)
      return () => {
        interceptions.delete(end)
        end()
      }
    },
    issueToken(userId, { scopes = firstScopes, lifetimeMs = tokenLifetimeMs, applicationId = application.id } = {}) {
      return issue(userOf(userId).id, scopes, lifetimeMs, applicationId)
    },
    say(userId, channelId, content) {
      const user = people.somebody(userOf(userId).id)!
      const channel = world.channels.get(channelId)
      if (!channel)
        throw new TypeError(`there is no channel ${JSON.stringify(channelId)}; take an id from simulator.guilds`)
      if (typeof content !== 'string' || content === '')
        throw new TypeError('content must be a text of at least one character')
      const form = messageForm(world, channelId, { fields: { content }, value: undefined, files: [] }, false)
      if ('status' in form) throw new RangeError('content is longer than 2000 characters')
      const message = createMessage(world, channelId, toPublicUser(user), form)
      world.messages.add(message)
      const guildId = channel.type === 1 ? null : channel.guild_id
      world.dispatch('MESSAGE_CREATE', guildId, guildId === null ? message : { ...message, guild_id: guildId })
      return message.id
    },
    nextLogin(name) {
      if (name === 'deny') return oauth.nextLogin('deny')
      const user = people.users.find(({ id, username }) => id === name || username === name)
      if (!user) throw new TypeError(`there is no user ${JSON.stringify(name)}; give an id or username, or 'deny'`)
      oauth.nextLogin({ userId: user.id })
    },
    close() {
      closed.abort()
      for (const end of interceptions) end()
      interceptions.clear()
      gateway.close()
      return server.close()
    },
    [Symbol.asyncDispose]: () => simulator.close(),
  }
  const levers = createLevers({
    simulator,
    faults,
    ledger,
    checkMember,
    standings: () => standings.list(clock.monotonic()),
    now: () => clock.monotonic(),
  })
  return simulator
}

/** Where a simulator is reached that listens at `host`: an address that stands for all is not one to go to. */
function originOf(host: string, port: number): string {
  const name = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host
  return `http://${name.includes(':') ? `[${name}]` : name}:${port}`
}

/** JSON as a value, anything else as the text it is; undefined for nothing. */
function parsed(text: string): unknown {
  if (text === '') return undefined
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}
