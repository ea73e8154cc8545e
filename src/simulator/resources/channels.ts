import type { APIChannel } from 'discord-api-types/v10'
import { json, noContent } from '../answer.ts'
import { type ChannelFacts, createChannel, GUILD_CHANNEL_TYPES, type GuildChannelType } from '../world/channels.ts'
import { BIT } from '../world/permissions.ts'
import type { World } from '../world/world.ts'
import { channelFor, guildChannelFor, guildFor, isConversation, READ } from './access.ts'
import { type Handler, isAnswer, sentOf } from './call.ts'
import { createProblems, type Problems, recordsOf } from './problems.ts'

export function channelHandlers(world: World) {
  const { people, channels, messages } = world

  return {
    'GET /channels/:channel': ({ params }) => {
      const channel = channelFor(world, params.channel!, READ)
      return isAnswer(channel) ? channel : json<APIChannel>(200, channel)
    },
    'PATCH /channels/:channel': (call) => {
      const channel = guildChannelFor(world, call.params.channel!, BIT.MANAGE_CHANNELS)
      if (isAnswer(channel)) return channel
      const sent = sentOf(call)
      if (isAnswer(sent)) return sent
      const problems = createProblems()
      const facts = read(problems, sent.fields, false)
      if (problems.answer) return problems.answer
      if (facts.name !== undefined) channel.name = facts.name
      if (facts.position !== undefined) channel.position = facts.position
      if (facts.nsfw !== undefined) channel.nsfw = facts.nsfw
      if (facts.overwrites !== undefined) channel.permission_overwrites = [...facts.overwrites]
      if (channel.type !== 4) {
        if (facts.parentId !== undefined) channel.parent_id = facts.parentId
        if (facts.rateLimitPerUser !== undefined) channel.rate_limit_per_user = facts.rateLimitPerUser
        if (channel.type !== 2 && facts.topic !== undefined) channel.topic = facts.topic
      }
      world.dispatch('CHANNEL_UPDATE', channel.guild_id, channel)
      return json<APIChannel>(200, channel)
    },
    'DELETE /channels/:channel': ({ params }) => {
      const channel = channelFor(world, params.channel!, BIT.MANAGE_CHANNELS)
      if (isAnswer(channel)) return channel
      // A conversation is closed, and can be opened again.
      if (!isConversation(channel)) {
        channels.remove(channel.id)
        messages.removeAll(channel.id)
        for (const [id, { channel_id }] of world.webhooks) if (channel_id === channel.id) world.webhooks.delete(id)
        world.dispatch('CHANNEL_DELETE', channel.guild_id, channel)
      }
      return json<APIChannel>(200, channel)
    },
    'PUT /channels/:channel/permissions/:overwrite': (call) => {
      const channel = guildChannelFor(world, call.params.channel!, BIT.MANAGE_ROLES)
      if (isAnswer(channel)) return channel
      const sent = sentOf(call)
      if (isAnswer(sent)) return sent
      const problems = createProblems()
      const type = problems.integer(sent.fields, 'type', 0, 1)
      const allow = problems.bits(sent.fields, 'allow') ?? '0'
      const deny = problems.bits(sent.fields, 'deny') ?? '0'
      if (type === undefined) problems.add(['type'], 'BASE_TYPE_REQUIRED', 'This field is required')
      if (problems.answer || type === undefined) return problems.answer!
      const id = call.params.overwrite!
      const others = channel.permission_overwrites.filter((one) => one.id !== id)
      channel.permission_overwrites = [...others, { id, type, allow, deny }]
      return noContent
    },
    'DELETE /channels/:channel/permissions/:overwrite': ({ params }) => {
      const channel = guildChannelFor(world, params.channel!, BIT.MANAGE_ROLES)
      if (isAnswer(channel)) return channel
      channel.permission_overwrites = channel.permission_overwrites.filter(({ id }) => id !== params.overwrite)
      return noContent
    },
    'GET /guilds/:guild/channels': ({ params }) => {
      const guild = guildFor(world, params.guild!)
      return isAnswer(guild) ? guild : json<readonly APIChannel[]>(200, channels.of(guild.id))
    },
    'POST /guilds/:guild/channels': (call) => {
      const guild = guildFor(world, call.params.guild!, BIT.MANAGE_CHANNELS)
      if (isAnswer(guild)) return guild
      const sent = sentOf(call)
      if (isAnswer(sent)) return sent
      const problems = createProblems()
      const { type = 0, ...facts } = read(problems, sent.fields, true)
      if (problems.answer) return problems.answer
      const { name = '', position = channels.of(guild.id).length } = facts
      const channel = createChannel(type, { ...facts, id: world.newId(), guildId: guild.id, name, position })
      channels.add(channel)
      world.dispatch('CHANNEL_CREATE', guild.id, channel)
      return json<APIChannel>(201, channel)
    },
    'POST /users/@me/channels': (call) => {
      const sent = sentOf(call)
      if (isAnswer(sent)) return sent
      const problems = createProblems()
      const id = problems.id(sent.fields, 'recipient_id')
      if (id === undefined && !problems.answer)
        problems.add(['recipient_id'], 'BASE_TYPE_REQUIRED', 'This field is required')
      if (problems.answer) return problems.answer
      const user = people.user(id!) && people.somebody(id!)
      if (!user) return json(400, { message: 'Invalid Recipient(s)', code: 50033 })
      return json<APIChannel>(200, channels.conversation(user, world.newId))
    },
  } satisfies Record<string, Handler>
}

type Read = { -readonly [Name in keyof Omit<ChannelFacts, 'id' | 'guildId'>]?: ChannelFacts[Name] } & {
  type?: GuildChannelType
}

function read(problems: Problems, fields: Readonly<Record<string, unknown>>, creating: boolean): Read {
  const facts: Read = {}
  const name = problems.text(fields, 'name', { least: 1, most: 100, required: creating })
  const topic = problems.text(fields, 'topic', { most: 1024 })
  const position = problems.integer(fields, 'position', 0, 2 ** 31)
  const nsfw = problems.flag(fields, 'nsfw')
  const slow = problems.integer(fields, 'rate_limit_per_user', 0, 21_600)
  const parent = problems.id(fields, 'parent_id')
  const type = problems.integer(fields, 'type', 0, 16)
  if (creating && type !== undefined) {
    const known = GUILD_CHANNEL_TYPES.includes(type)
    if (!known) problems.add(['type'], 'BASE_TYPE_CHOICES', `Value must be one of (${GUILD_CHANNEL_TYPES.join(', ')}).`)
    else facts.type = type as GuildChannelType
  }
  if (name !== undefined) facts.name = name
  if (topic !== undefined || fields.topic === null) facts.topic = topic ?? null
  if (position !== undefined) facts.position = position
  if (nsfw !== undefined) facts.nsfw = nsfw
  if (slow !== undefined) facts.rateLimitPerUser = slow
  if (parent !== undefined || fields.parent_id === null) facts.parentId = parent ?? null
  if (fields.permission_overwrites !== undefined)
    facts.overwrites = recordsOf(problems, fields, 'permission_overwrites', 1000).map((one) => ({
      id: problems.id(one, 'id') ?? '0',
      type: problems.integer(one, 'type', 0, 1) ?? 0,
      allow: problems.bits(one, 'allow') ?? '0',
      deny: problems.bits(one, 'deny') ?? '0',
    }))
  return facts
}
