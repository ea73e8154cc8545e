import type { RESTAPIPartialCurrentUserGuild } from 'discord-api-types/v10'
import { DiscordUnavailableError } from '../errors/errors.ts'
import { allows, type PermissionName, permissionBit } from './permissions.ts'

/** One guild a user is in, as the user's guild list had it. `permissions` are the base ones, without channel overwrites. */
export interface GuildMembership {
  readonly id: string
  readonly name: string
  readonly icon: string | null
  readonly owner: boolean
  readonly permissions: bigint
}

/** The guilds a user is in. Immutable, and shared between requests. */
export class GuildMemberships implements Iterable<GuildMembership> {
  readonly #lines: Lines
  /** The guilds as they are handed out; made at the first look at a whole one: most look-ups are about a permission. */
  #list: readonly GuildMembership[] | undefined
  #byId: ReadonlyMap<string, GuildMembership> | undefined
  /** What the user is in each guild, by its id; made at the second look: many a list is looked at only once. */
  #standings: ReadonlyMap<string, string> | undefined
  #wasAsked = false

  constructor(lines: Lines) {
    this.#lines = lines
  }

  get size(): number {
    return this.#all().length
  }

  has(guildId: string): boolean {
    return this.#standingIn(guildId) !== undefined
  }

  get(guildId: string): GuildMembership | undefined {
    this.#byId ??= new Map(this.#all().map((guild) => [guild.id, guild]))
    return this.#byId.get(guildId)
  }

  /** Owner and ADMINISTRATOR imply every permission; false where the user is not a member. Throws ConfigError for an unknown name. */
  can(guildId: string, permission: PermissionName): boolean {
    const needed = permissionBit(permission)
    const standing = this.#standingIn(guildId)
    return standing !== undefined && allows(readStanding(standing), needed)
  }

  [Symbol.iterator](): Iterator<GuildMembership> {
    return this.#all()[Symbol.iterator]()
  }

  /** Plain objects for a page; `permissions` as a decimal string, as Discord sends it. */
  toJSON(): Array<Omit<GuildMembership, 'permissions'> & { permissions: string }> {
    return this.#all().map((guild) => ({ ...guild, permissions: String(guild.permissions) }))
  }

  /** What `membershipsCodec` writes; for nobody else. */
  lines(): Lines {
    return this.#lines
  }

  #standingIn(guildId: string): string | undefined {
    if (this.#wasAsked) {
      this.#standings ??= new Map(cellsOf(this.#lines.standings))
      return this.#standings.get(guildId)
    }
    this.#wasAsked = true
    // Only an id: what has more in it could begin in one guild's cell and end in another's.
    if (!DECIMAL.test(guildId)) return undefined
    const { standings } = this.#lines
    const at = standings.lastIndexOf(`,${guildId}:`)
    return at < 0 ? undefined : standings.slice(at + guildId.length + 2, standings.indexOf(',', at + 1))
  }

  #all(): readonly GuildMembership[] {
    this.#list ??= listOf(this.#lines)
    return this.#list
  }
}

/**
 * Memberships as text. What is asked most stands together, and is searched as it is; the rest is not even parsed before
 * somebody looks at it.
 */
interface Lines {
  /** `,<id>:<0 or 1 for the owner><permissions, decimal>,…,` */
  readonly standings: string
  /** JSON of names, and of icons, in the same order. */
  readonly names: string
  readonly icons: string
}

function linesOf(list: readonly GuildMembership[]): Lines {
  return {
    standings: `,${list.map(({ id, owner, permissions }) => `${id}:${owner ? 1 : 0}${permissions},`).join('')}`,
    names: JSON.stringify(list.map((guild) => guild.name)),
    icons: JSON.stringify(list.map((guild) => guild.icon)),
  }
}

function listOf(lines: Lines): readonly GuildMembership[] {
  const names: string[] = JSON.parse(lines.names)
  const icons: Array<string | null> = JSON.parse(lines.icons)
  return cellsOf(lines.standings).map(([id, standing], place) =>
    Object.freeze({ id, name: names[place]!, icon: icons[place] ?? null, ...readStanding(standing) }),
  )
}

function cellsOf(standings: string): Array<[id: string, standing: string]> {
  const cells = standings.split(',').slice(1, -1)
  return cells.map((cell) => cell.split(':', 2) as [string, string])
}

function readStanding(standing: string): { readonly owner: boolean; readonly permissions: bigint } {
  return { owner: standing.charCodeAt(0) === ONE, permissions: BigInt(standing.slice(1)) }
}

const ONE = '1'.charCodeAt(0)
const DECIMAL = /^\d{1,40}$/

/**
 * Reads Discord's guild list (`GET /users/@me/guilds`). A list that is not one, or an entry that lacks its id, name,
 * owner or permissions, is refused whole: half a list would lock somebody out or let somebody in.
 */
export function membershipsFromDiscord(guilds: readonly RESTAPIPartialCurrentUserGuild[]): GuildMemberships {
  if (!Array.isArray(guilds)) throw wrongShape('the guild list is not an array')
  return new GuildMemberships(linesOf(guilds.map(membership)))
}

function membership(guild: RESTAPIPartialCurrentUserGuild): GuildMembership {
  if (typeof guild !== 'object' || guild === null) throw wrongShape('a guild is not an object')
  const { id, name, icon, owner, permissions } = guild
  if (typeof id !== 'string' || !DECIMAL.test(id)) throw wrongShape('a guild has no id')
  if (typeof name !== 'string') throw wrongShape('a guild has no name')
  if (typeof permissions !== 'string' || !DECIMAL.test(permissions)) throw wrongShape('a guild has no permissions')
  return Object.freeze({
    id,
    name,
    icon: typeof icon === 'string' ? icon : null,
    owner: owner === true,
    permissions: BigInt(permissions),
  })
}

function wrongShape(what: string): DiscordUnavailableError {
  return new DiscordUnavailableError('DISCORD_WRONG_SHAPE', `Discord's guild list cannot be used: ${what}`, {
    route: 'GET /users/@me/guilds',
    attempts: 1,
  })
}

/**
 * How memberships are written where bytes count: three lines, a third of the objects' size. Reading them cuts the lines
 * apart and no more; the seal around them vouches for what they say.
 */
export const membershipsCodec = {
  version: 'm1',
  encode(memberships: GuildMemberships): string {
    const { standings, names, icons } = memberships.lines()
    return `${standings}\n${names}\n${icons}`
  },
  decode(text: string): GuildMemberships {
    const [standings, names, icons, ...more] = text.split('\n')
    if (!standings || !names || !icons || more.length > 0) throw new TypeError('memberships have three lines')
    if (!standings.startsWith(',') || !standings.endsWith(',')) throw new TypeError('memberships were cut')
    return new GuildMemberships({ standings, names, icons })
  },
}
