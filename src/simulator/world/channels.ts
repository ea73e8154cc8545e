import type {
  APIDMChannel,
  APIGuildCategoryChannel,
  APIGuildVoiceChannel,
  APINewsChannel,
  APIOverwrite,
  APITextChannel,
  Permissions,
} from 'discord-api-types/v10'
import { NO_FLAGS } from './guild.ts'
import type { People } from './people.ts'
import { BIT, channelPermissions, OWNER } from './permissions.ts'
import { createRandom } from './random.ts'
import { snowflake } from './snowflake.ts'
import { type Somebody, toPublicUser } from './user-objects.ts'

/** The kinds of channel there are: text, announcements, voice, categories, and conversations between two. */
export type Channel = GuildChannel | APIDMChannel
export type GuildChannel = Named<APITextChannel | APINewsChannel | APIGuildVoiceChannel | APIGuildCategoryChannel>
type Named<One> = One extends object ? One & { guild_id: string; permission_overwrites: APIOverwrite[] } : never

export type GuildChannelType = GuildChannel['type']
/** Discord's numbers for them: text, voice, category, announcements. */
export const GUILD_CHANNEL_TYPES: readonly number[] = [0, 2, 4, 5]

/** All channels. Each guild has `general`, `random` and `Lounge` (voice) from the start. */
export interface Channels {
  get(id: string): Channel | undefined
  /** In their order. */
  of(guildId: string): readonly GuildChannel[]
  add(channel: Channel): void
  remove(id: string): void
  /** The conversation between the bot and a user, made at first use. */
  conversation(user: Somebody, newId: () => string): APIDMChannel
  /** What a member may do there: everything in a conversation, nothing where they are not. */
  permissions(channel: Channel, userId: string): bigint
  all(): Iterable<Channel>
  /** Instead of what a guild has from the start. */
  replace(guildId: string, channels: readonly GuildChannel[]): void
}

const FIRST: ReadonlyArray<readonly [name: string, type: 0 | 2]> = [
  ['general', 0],
  ['random', 0],
  ['Lounge', 2],
]

export function createChannels(seed: number, people: People): Channels {
  const byId = new Map<string, Channel>()
  const byGuild = new Map<string, GuildChannel[]>()
  const conversations = new Map<string, APIDMChannel>()
  let settled = 0

  // Guilds are only ever added, so their number says whether one has come since.
  const settle = () => {
    if (people.guilds.size === settled) return
    let nth = 0
    for (const guildId of people.guilds.keys()) {
      nth++
      if (byGuild.has(guildId)) continue
      const random = createRandom(seed, `channels ${guildId}`)
      const list = FIRST.map(([name, type], position) =>
        createChannel(type, { id: snowflake(random, nth * 4 + position), guildId, name, position }),
      )
      byGuild.set(guildId, list)
      for (const channel of list) byId.set(channel.id, channel)
    }
    settled = people.guilds.size
  }

  return {
    get(id) {
      settle()
      return byId.get(id)
    },
    of(guildId) {
      settle()
      return byGuild.get(guildId) ?? []
    },
    add(channel) {
      settle()
      byId.set(channel.id, channel)
      if (channel.type === 1) return
      byGuild.get(channel.guild_id)?.push(channel)
    },
    remove(id) {
      const channel = byId.get(id)
      byId.delete(id)
      if (!channel || channel.type === 1) return
      const list = byGuild.get(channel.guild_id)
      list?.splice(list.indexOf(channel), 1)
    },
    conversation(user, newId) {
      let channel = conversations.get(user.id)
      if (!channel) {
        channel = {
          id: newId(),
          type: 1,
          name: null,
          last_message_id: null,
          flags: NO_FLAGS,
          recipients: [toPublicUser(user)],
        }
        conversations.set(user.id, channel)
        byId.set(channel.id, channel)
      }
      return channel
    },
    permissions(channel, userId) {
      if (channel.type === 1) return BigInt(OWNER)
      const membership = people.membership(userId, channel.guild_id)
      const member = people.member(userId, channel.guild_id)
      if (!membership || !member) return 0n
      if (membership.owner) return BigInt(OWNER)
      const held = channelPermissions(
        BigInt(membership.permissions),
        channel.permission_overwrites,
        channel.guild_id,
        member.roles,
        userId,
      )
      return held & BIT.VIEW_CHANNEL || held & BIT.ADMINISTRATOR ? held : 0n
    },
    all() {
      settle()
      return byId.values()
    },
    replace(guildId, channels) {
      settle()
      for (const { id } of byGuild.get(guildId) ?? []) byId.delete(id)
      byGuild.set(guildId, [...channels])
      for (const channel of channels) byId.set(channel.id, channel)
    },
  }
}

/** What may be said about a channel when it is made. */
export interface ChannelFacts {
  readonly id: string
  readonly guildId: string
  readonly name: string
  readonly position: number
  readonly topic?: string | null
  readonly nsfw?: boolean
  readonly parentId?: string | null
  readonly rateLimitPerUser?: number
  readonly overwrites?: ReadonlyArray<{ id: string; type: number; allow: Permissions; deny: Permissions }>
}

/** A channel object, whole. */
export function createChannel(type: GuildChannelType, facts: ChannelFacts): GuildChannel {
  const { id, guildId, name, position, topic = null, nsfw = false, parentId = null, rateLimitPerUser = 0 } = facts
  const permission_overwrites = [...(facts.overwrites ?? [])]
  const base = { id, guild_id: guildId, name, position, permission_overwrites, nsfw, flags: NO_FLAGS }
  const slow = { rate_limit_per_user: rateLimitPerUser, last_message_id: null }
  switch (type) {
    case 4:
      return { ...base, type, parent_id: null }
    case 2:
      return { ...base, ...slow, type, parent_id: parentId, bitrate: 64_000, user_limit: 0, rtc_region: null }
    default:
      return { ...base, ...slow, type, parent_id: parentId, topic, last_pin_timestamp: null }
  }
}
