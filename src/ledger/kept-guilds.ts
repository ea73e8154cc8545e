import { type GuildMemberships, membershipsFromDiscord } from '../guilds/memberships.ts'
import { isSnowflake, type KeptGuild } from './membership-store.ts'

/** Discord's permissions are 53 bits today; the ledger has room for 61. */
const MOST_PERMISSIONS = 2n ** 61n

/** Memberships as the ledger keeps them. Throws where one has an id or permissions that fit no row: a part of a list would be a wrong list. */
export function keptGuilds(guilds: GuildMemberships): KeptGuild[] {
  const byId = new Map<string, KeptGuild>()
  for (const { id, name, icon, owner, permissions } of guilds) {
    if (!isSnowflake(id) || permissions >= MOST_PERMISSIONS)
      throw new RangeError('the ledger has no row for this guild')
    byId.set(id, { id, name, icon, standing: String(permissions * 2n + (owner ? 1n : 0n)) })
  }
  return [...byId.values()]
}

/** The way back. */
export function membershipsOf(kept: readonly KeptGuild[]): GuildMemberships {
  return membershipsFromDiscord(
    kept.map(({ id, name, icon, standing }) => {
      const bits = BigInt(standing)
      // Only what is read of Discord's list.
      return { id, name, icon, owner: (bits & 1n) === 1n, permissions: String(bits >> 1n) } as never
    }),
  )
}
