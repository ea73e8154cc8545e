import { type APIGuild, type APIRole, type GuildFeature, Locale } from 'discord-api-types/v10'
import { ADMINISTRATOR, EVERYONE, MANAGER, OWNER } from './permissions.ts'
import { HEX, type Random } from './random.ts'
import { snowflake } from './snowflake.ts'

/** One guild: what its own object says, its roles, and its bans. */
export interface Guild {
  readonly id: string
  name: string
  icon: string | null
  banner: string | null
  description: string | null
  readonly features: readonly GuildFeature[]
  readonly memberCount: number
  readonly presenceCount: number
  /** Somebody outside the simulated users, unless one of them owns it. */
  ownerId: string
  /** Made at first use; @everyone, which has the guild's own id, first. */
  readonly roles: APIRole[]
  /** User id to the reason given. */
  readonly bans: Map<string, string | null>
  /** The roles that, together with @everyone's, give exactly `permissions`: at most one, made if there is none. */
  roleIds(permissions: string): string[]
  /** What a partial guild in a list begins with: everything before `owner`. */
  jsonHead(): string
  /** To be called after a change of name, icon or banner. */
  touched(): void
}

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
/** A flag field of which nothing is set; a variable, because not every enum of flags has a name for it. */
export const NO_FLAGS: number = 0

/** What may be said about a guild; the rest is drawn. */
export interface GuildFacts {
  readonly id: string
  readonly name: string
  readonly icon?: string | null
  readonly banner?: string | null
  readonly description?: string | null
  readonly features?: readonly string[]
}

export function createGuild(random: Random, nth: number, ownerId: string | undefined, facts?: GuildFacts): Guild {
  const { id, name } = facts ?? {
    id: snowflake(random, nth),
    name: `${random.pick(THINGS)} ${random.pick(PLACES)} ${nth}`,
  }
  const icon = random.next() < 0.8 ? random.letters(32, HEX) : null
  const banner = random.next() < 0.2 ? random.letters(32, HEX) : null
  const features = FEATURES.filter(() => random.next() < 0.35)
  const memberCount = 5 + random.below(5000)
  let roles: APIRole[] | undefined
  let head: string | undefined

  const roleOf = (nthRole: number, name: string, permissions: string): APIRole =>
    createRole(String(BigInt(id) + BigInt(nthRole)), name, permissions, nthRole)

  const guild: Guild = {
    id,
    name,
    icon: facts?.icon === undefined ? icon : facts.icon,
    banner: facts?.banner === undefined ? banner : facts.banner,
    description: facts?.description ?? null,
    // What Discord names tomorrow may be in somebody's world today.
    features: (facts?.features ?? features) as GuildFeature[],
    memberCount,
    presenceCount: Math.ceil(memberCount * random.next()),
    ownerId: ownerId ?? snowflake(random, 0x200000 + (nth & 0xfffff)),
    bans: new Map(),
    get roles() {
      roles ??= [
        roleOf(0, '@everyone', EVERYONE),
        roleOf(1, 'Managers', MANAGER),
        roleOf(2, 'Administrators', ADMINISTRATOR),
        roleOf(3, 'Owner', OWNER),
      ]
      return roles
    },
    roleIds(permissions) {
      const [everyone, ...others] = guild.roles
      if (permissions === everyone!.permissions) return []
      const wanted = BigInt(permissions)
      const fits = others.find((role) => (BigInt(role.permissions) | BigInt(everyone!.permissions)) === wanted)
      if (fits) return [fits.id]
      let nthRole = guild.roles.length
      while (guild.roles.some((role) => role.id === String(BigInt(id) + BigInt(nthRole)))) nthRole++
      const role = roleOf(nthRole, `role ${nthRole}`, permissions)
      guild.roles.push(role)
      return [role.id]
    },
    jsonHead() {
      head ??= JSON.stringify({ id, name: guild.name, icon: guild.icon, banner: guild.banner }).slice(0, -1)
      return head
    },
    touched() {
      head = undefined
    },
  }
  return guild
}

export function createRole(id: string, name: string, permissions: string, position: number): APIRole {
  return {
    id,
    name,
    color: 0,
    colors: { primary_color: 0, secondary_color: null, tertiary_color: null },
    hoist: false,
    icon: null,
    unicode_emoji: null,
    position,
    permissions,
    managed: false,
    mentionable: false,
    flags: NO_FLAGS,
  }
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
  return `${guild.jsonHead()},"owner":${owner},"permissions":"${permissions}","features":${JSON.stringify(guild.features)}${counts}}`
}

/** The guild object as `GET /guilds/:guild` gives it. */
export function toGuild(guild: Guild, withCounts: boolean): APIGuild {
  const { id, name, icon, banner, description, features, ownerId, roles } = guild
  return {
    id,
    name,
    icon,
    description,
    splash: null,
    discovery_splash: null,
    features: [...features],
    banner,
    owner_id: ownerId,
    application_id: null,
    region: 'deprecated',
    afk_channel_id: null,
    afk_timeout: 300,
    system_channel_id: null,
    system_channel_flags: NO_FLAGS,
    widget_enabled: false,
    widget_channel_id: null,
    verification_level: 0,
    roles,
    default_message_notifications: 0,
    mfa_level: 0,
    explicit_content_filter: 0,
    max_presences: null,
    max_members: 500_000,
    max_stage_video_channel_users: 50,
    max_video_channel_users: 25,
    vanity_url_code: null,
    premium_tier: 0,
    premium_subscription_count: 0,
    preferred_locale: Locale.EnglishUS,
    rules_channel_id: null,
    safety_alerts_channel_id: null,
    public_updates_channel_id: null,
    hub_type: null,
    premium_progress_bar_enabled: false,
    nsfw_level: 0,
    emojis: [],
    stickers: [],
    incidents_data: null,
    ...(withCounts
      ? { approximate_member_count: guild.memberCount, approximate_presence_count: guild.presenceCount }
      : {}),
  }
}
