import { HEX, type Random } from './random.ts'
import { snowflake } from './snowflake.ts'

/** One guild, as far as the REST routes show it. */
export interface Guild {
  readonly id: string
  readonly name: string
  readonly icon: string | null
  readonly banner: string | null
  readonly features: readonly string[]
  readonly memberCount: number
  readonly presenceCount: number
  /** Somebody outside the simulated users, unless one of them owns it. */
  ownerId: string
  /** Makes sure that members with exactly these permissions can be expressed by roles. */
  allow(permissions: string): void
  /** The ids of the roles whose permissions, together with @everyone's, are exactly `permissions`. */
  roleIds(permissions: string): string[]
  roles(): ReadonlyArray<{ id: string; name: string; permissions: string }>
  /** The JSON around `owner` and `permissions`, made once. */
  readonly jsonHead: string
  readonly jsonTail: string
}

const bits = (...positions: number[]) => String(positions.reduce((sum, position) => sum | (1n << BigInt(position)), 0n))

/** What @everyone has in a guild nobody has changed: invites, reactions, reading, writing, voice, commands. */
export const EVERYONE = bits(0, 6, 9, 10, 11, 14, 15, 16, 18, 20, 21, 25, 26, 31)
export const MANAGER = bits(0, 5, 6, 9, 10, 11, 14, 15, 16, 18, 20, 21, 25, 26, 31)
export const ADMINISTRATOR = bits(0, 3, 6, 9, 10, 11, 14, 15, 16, 18, 20, 21, 25, 26, 31)
/** Every permission there is. */
export const OWNER = String((1n << 53n) - 1n)

const PLACES = [
  'Valley',
  'Tavern',
  'Workshop',
  'Arcade',
  'Library',
  'Station',
  'Garden',
  'Studio',
  'Guildhall',
  'Lounge',
]
const THINGS = ['Pixel', 'Ember', 'Quartz', 'Nimbus', 'Clockwork', 'Paper', 'Velvet', 'Copper', 'Tidal', 'Mossy']
const FEATURES = ['COMMUNITY', 'NEWS', 'INVITE_SPLASH', 'ANIMATED_ICON', 'ROLE_ICONS', 'SOUNDBOARD', 'PREVIEW_ENABLED']

export function createGuild(
  random: Random,
  nth: number,
  ownerId: string | undefined,
  named?: { id: string; name: string },
): Guild {
  const { id, name } = named ?? {
    id: snowflake(random, nth),
    name: `${random.pick(THINGS)} ${random.pick(PLACES)} ${nth}`,
  }
  const icon = random.next() < 0.8 ? random.letters(32, HEX) : null
  const banner = random.next() < 0.2 ? random.letters(32, HEX) : null
  const features = FEATURES.filter(() => random.next() < 0.35)
  const memberCount = 5 + random.below(5000)
  let everyone = EVERYONE
  const granted = [MANAGER, ADMINISTRATOR, OWNER]

  const guild: Guild = {
    id,
    name,
    icon,
    banner,
    features,
    memberCount,
    presenceCount: Math.ceil(memberCount * random.next()),
    ownerId: ownerId ?? snowflake(random, 0x200000 + (nth & 0xfffff)),
    allow(permissions) {
      const narrowed = String(BigInt(everyone) & BigInt(permissions))
      // Whoever had the wider @everyone keeps it through a role.
      if (narrowed !== everyone) guild.roleIds(EVERYONE)
      everyone = narrowed
      guild.roleIds(permissions)
    },
    roleIds(permissions) {
      if (permissions === everyone) return []
      let index = granted.indexOf(permissions)
      if (index < 0) index = granted.push(permissions) - 1
      return [String(BigInt(id) + BigInt(index + 1))]
    },
    roles: () => [
      { id, name: '@everyone', permissions: everyone },
      ...granted.map((permissions, index) => ({
        id: String(BigInt(id) + BigInt(index + 1)),
        name: `role ${index + 1}`,
        permissions,
      })),
    ],
    jsonHead: JSON.stringify({ id, name, icon, banner }).slice(0, -1),
    jsonTail: `"features":${JSON.stringify(features)}`,
  }
  return guild
}

/** A partial guild as JSON, as `GET /users/@me/guilds` lists it. */
export function toPartialGuild(
  guild: Guild,
  { owner, permissions }: { owner: boolean; permissions: string },
  withCounts: boolean,
): string {
  const counts = withCounts
    ? `,"approximate_member_count":${guild.memberCount},"approximate_presence_count":${guild.presenceCount}`
    : ''
  return `${guild.jsonHead},"owner":${owner},"permissions":"${permissions}",${guild.jsonTail}${counts}}`
}
