import type { APIOverwrite, APIRole } from 'discord-api-types/v10'

const bits = (...positions: number[]) => String(positions.reduce((sum, position) => sum | (1n << BigInt(position)), 0n))

/** What @everyone has in a guild nobody has changed: invites, reactions, reading, writing, voice, commands. */
export const EVERYONE = bits(0, 6, 9, 10, 11, 14, 15, 16, 18, 20, 21, 25, 26, 31)
export const MANAGER = bits(0, 5, 6, 9, 10, 11, 14, 15, 16, 18, 20, 21, 25, 26, 31)
export const ADMINISTRATOR = bits(0, 3, 6, 9, 10, 11, 14, 15, 16, 18, 20, 21, 25, 26, 31)
/** Every permission there is. */
export const OWNER = String((1n << 53n) - 1n)

/** The bits that the simulator asks for, by Discord's names. */
export const BIT = {
  KICK_MEMBERS: 1n << 1n,
  BAN_MEMBERS: 1n << 2n,
  ADMINISTRATOR: 1n << 3n,
  MANAGE_CHANNELS: 1n << 4n,
  MANAGE_GUILD: 1n << 5n,
  ADD_REACTIONS: 1n << 6n,
  VIEW_CHANNEL: 1n << 10n,
  SEND_MESSAGES: 1n << 11n,
  MANAGE_MESSAGES: 1n << 13n,
  EMBED_LINKS: 1n << 14n,
  ATTACH_FILES: 1n << 15n,
  READ_MESSAGE_HISTORY: 1n << 16n,
  CHANGE_NICKNAME: 1n << 26n,
  MANAGE_NICKNAMES: 1n << 27n,
  MANAGE_ROLES: 1n << 28n,
  MANAGE_WEBHOOKS: 1n << 29n,
  MODERATE_MEMBERS: 1n << 40n,
} as const

/** Whether `held` is enough; ADMINISTRATOR is always. */
export function may(held: bigint, wanted: bigint): boolean {
  return (held & BIT.ADMINISTRATOR) !== 0n || (held & wanted) === wanted
}

/** @everyone's permissions and those of the member's roles together: what a guild list shows. */
export function basePermissions(roles: readonly APIRole[], guildId: string, memberRoles: readonly string[]): bigint {
  let sum = 0n
  for (const { id, permissions } of roles) if (id === guildId || memberRoles.includes(id)) sum |= BigInt(permissions)
  return sum
}

/** The same within a channel: overwrites of @everyone, then of the roles, then of the member (Topics, "Permissions"). */
export function channelPermissions(
  base: bigint,
  overwrites: readonly APIOverwrite[],
  guildId: string,
  memberRoles: readonly string[],
  userId: string,
): bigint {
  if (base & BIT.ADMINISTRATOR) return BigInt(OWNER)
  let held = base
  const apply = (fits: (overwrite: APIOverwrite) => boolean) => {
    let allow = 0n
    let deny = 0n
    for (const overwrite of overwrites) {
      if (!fits(overwrite)) continue
      allow |= BigInt(overwrite.allow)
      deny |= BigInt(overwrite.deny)
    }
    held = (held & ~deny) | allow
  }
  apply(({ id }) => id === guildId)
  apply(({ id, type }) => type === 0 && id !== guildId && memberRoles.includes(id))
  apply(({ id, type }) => type === 1 && id === userId)
  return held
}
