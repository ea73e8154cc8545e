import { DiscordAPIError } from '../errors/errors.ts'
import type { Milliseconds } from '../time/clock.ts'
import { type GuildMembership, newMembership } from './memberships.ts'
import { type GuildRoles, permissionsOfMember, whileTimedOut } from './permissions.ts'

/** Asks Discord as the bot. */
export type AskAsBot = <T>(path: string) => Promise<T>

/** Discord's JSON error code "Unknown Member". */
const UNKNOWN_MEMBER = 10_007

/**
 * A user's membership of a guild as a bot in that guild sees it now; null where the user is not a member. Rejects with
 * what the bot was answered, also where the bot is not in the guild (10004): then it cannot tell.
 */
export async function liveMember(
  ask: AskAsBot,
  userId: string,
  guildId: string,
  /** The wall clock. */ now: Milliseconds,
): Promise<GuildMembership | null> {
  try {
    const [guild, member] = await Promise.all([
      ask<GuildRoles & { name: string; icon: string | null }>(`/guilds/${guildId}`),
      ask<{ roles: readonly string[]; communication_disabled_until?: string | null }>(
        `/guilds/${guildId}/members/${userId}`,
      ),
    ])
    const owner = guild.owner_id === userId
    const permissions = permissionsOfMember(guild, member.roles)
    const isTimedOut = Date.parse(member.communication_disabled_until ?? '') > now
    return newMembership(guildId, guild.name, guild.icon, owner, isTimedOut ? whileTimedOut(permissions) : permissions)
  } catch (error) {
    if (error instanceof DiscordAPIError && error.discordCode === UNKNOWN_MEMBER) return null
    throw error
  }
}
