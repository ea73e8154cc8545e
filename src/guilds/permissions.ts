import { PermissionFlagsBits } from 'discord-api-types/v10'
import { ConfigError } from '../errors/errors.ts'

/** The names of Discord's permissions, as discord-api-types spells them: `'ManageGuild'`. */
export type PermissionName = keyof typeof PermissionFlagsBits

/** The bit of a permission. An unknown name is a ConfigError: it would otherwise be a check that never passes, or always. */
export function permissionBit(name: PermissionName): bigint {
  const bit = Object.hasOwn(PermissionFlagsBits, name) ? PermissionFlagsBits[name] : undefined
  if (bit === undefined) {
    throw new ConfigError(
      'permissions',
      `unknown permission ${JSON.stringify(String(name).slice(0, 40))}; use a name of PermissionFlagsBits, for example 'ManageGuild'`,
    )
  }
  return bit
}

const PLACES = new Map(Object.entries(PermissionFlagsBits).map(([name, bit]) => [name, bit.toString(2).length - 1]))

/** Which bit a permission is, counted from 0. An unknown name is a ConfigError, as for `permissionBit`. */
export function permissionPlace(name: PermissionName): number {
  const place = PLACES.get(name)
  if (place === undefined) permissionBit(name)
  return place!
}

/** Whether `held` includes `needed`; the owner and ADMINISTRATOR have every permission (Discord's docs, topic Permissions). */
export function allows(member: { readonly owner: boolean; readonly permissions: bigint }, needed: bigint): boolean {
  if (member.owner || (member.permissions & PermissionFlagsBits.Administrator) !== 0n) return true
  return (member.permissions & needed) === needed
}

/** What a bot sees of a guild that matters for permissions. */
export interface GuildRoles {
  readonly id: string
  readonly owner_id: string
  readonly roles: ReadonlyArray<{ readonly id: string; readonly permissions: string }>
}

/** A member's base permissions: @everyone (the role with the guild's own id) and all of the member's roles (Discord's docs, topic Permissions). */
export function permissionsOfMember(guild: GuildRoles, memberRoles: readonly string[]): bigint {
  const held = new Set([guild.id, ...memberRoles])
  return guild.roles.reduce((bits, role) => (held.has(role.id) ? bits | BigInt(role.permissions) : bits), 0n)
}

/**
 * What is left to a member who is timed out: to see and to read. Administrators are exempt, and so are owners, who need
 * no permission at all (Discord's docs, topic Permissions, "Permissions For Timed Out Members").
 */
export function whileTimedOut(permissions: bigint): bigint {
  const { Administrator, ViewChannel, ReadMessageHistory } = PermissionFlagsBits
  return (permissions & Administrator) !== 0n ? permissions : permissions & (ViewChannel | ReadMessageHistory)
}
