import type { APIDMChannel } from 'discord-api-types/v10'
import type { Answer } from '../answer.ts'
import type { Channel, GuildChannel } from '../world/channels.ts'
import type { Guild } from '../world/guild.ts'
import { BIT, may } from '../world/permissions.ts'
import type { World } from '../world/world.ts'
import { missingAccess, missingPermissions, notInConversation, unknownChannel, unknownGuild } from './refusals.ts'

/** A guild that the bot is in and may do `wanted` in; or Discord's refusal. */
export function guildFor({ people }: World, guildId: string, wanted = 0n): Guild | Answer {
  const guild = people.guilds.get(guildId)
  const membership = people.membership(people.bot.id, guildId)
  if (!guild || !membership) return unknownGuild
  return may(BigInt(membership.permissions), wanted) ? guild : missingPermissions
}

/** A channel that the bot sees and may do `wanted` in; or Discord's refusal. */
export function channelFor({ people, channels }: World, channelId: string, wanted = 0n): Channel | Answer {
  const channel = channels.get(channelId)
  if (!channel) return unknownChannel
  const held = channels.permissions(channel, people.bot.id)
  if (held === 0n) return missingAccess
  return may(held, wanted) ? channel : missingPermissions
}

/** The same, of a guild. */
export function guildChannelFor(world: World, channelId: string, wanted: bigint): GuildChannel | Answer {
  const channel = channelFor(world, channelId, wanted)
  if ('status' in channel) return channel
  return isConversation(channel) ? notInConversation : channel
}

export function isConversation(channel: Channel): channel is APIDMChannel {
  return channel.type === 1
}

export const READ = BIT.VIEW_CHANNEL
export const WRITE = BIT.VIEW_CHANNEL | BIT.SEND_MESSAGES
