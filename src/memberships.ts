import type { RESTAPIPartialCurrentUserGuild } from 'discord-api-types/v10'
import { DiscordUnavailableError } from './errors.ts'
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
  readonly #columns: Columns
  /** Made at the first look at a whole one: most look-ups are about a permission. */
  #list: readonly GuildMembership[] | undefined
  /** Where each guild stands in the columns; made at the first look-up. */
  #places: ReadonlyMap<string, number> | undefined

  constructor(columns: Columns) {
    this.#columns = columns
  }

  get size(): number {
    return this.#columns.ids.length
  }

  has(guildId: string): boolean {
    return this.#placeOf(guildId) !== undefined
  }

  get(guildId: string): GuildMembership | undefined {
    const place = this.#placeOf(guildId)
    return place === undefined ? undefined : this.#all()[place]
  }

  /** Owner and ADMINISTRATOR imply every permission; false where the user is not a member. Throws ConfigError for an unknown name. */
  can(guildId: string, permission: PermissionName): boolean {
    const needed = permissionBit(permission)
    const place = this.#placeOf(guildId)
    if (place === undefined) return false
    const { owners, permissions } = this.#columns
    return allows({ owner: owners[place] === '1', permissions: BigInt(permissions[place]!) }, needed)
  }

  [Symbol.iterator](): Iterator<GuildMembership> {
    return this.#all()[Symbol.iterator]()
  }

  /** Plain objects for a page; `permissions` as a decimal string, as Discord sends it. */
  toJSON(): Array<Omit<GuildMembership, 'permissions'> & { permissions: string }> {
    return this.#all().map((guild) => ({ ...guild, permissions: String(guild.permissions) }))
  }

  /** What `membershipsCodec` writes; for nobody else. */
  columns(): Columns {
    return this.#columns
  }

  #placeOf(guildId: string): number | undefined {
    this.#places ??= new Map(this.#columns.ids.map((id, place) => [id, place]))
    return this.#places.get(guildId)
  }

  #all(): readonly GuildMembership[] {
    this.#list ??= listOf(this.#columns)
    return this.#list
  }
}

/** Memberships side by side: what is asked most, the ids, owners and permissions, can be read without the rest. */
interface Columns {
  readonly ids: readonly string[]
  /** '0' or '1' each. */
  readonly owners: string
  /** Decimal. */
  readonly permissions: readonly string[]
  /** JSON of names, and of icons. */
  readonly names: string
  readonly icons: string
}

function columnsOf(list: readonly GuildMembership[]): Columns {
  return {
    ids: list.map((guild) => guild.id),
    owners: list.map((guild) => (guild.owner ? '1' : '0')).join(''),
    permissions: list.map((guild) => String(guild.permissions)),
    names: JSON.stringify(list.map((guild) => guild.name)),
    icons: JSON.stringify(list.map((guild) => guild.icon)),
  }
}

function listOf(columns: Columns): readonly GuildMembership[] {
  const names: string[] = JSON.parse(columns.names)
  const icons: Array<string | null> = JSON.parse(columns.icons)
  return columns.ids.map((id, place) =>
    Object.freeze({
      id,
      name: names[place]!,
      icon: icons[place] ?? null,
      owner: columns.owners[place] === '1',
      permissions: BigInt(columns.permissions[place]!),
    }),
  )
}

const DECIMAL = /^\d{1,40}$/

/**
 * Reads Discord's guild list (`GET /users/@me/guilds`). A list that is not one, or an entry that lacks its id, name,
 * owner or permissions, is refused whole: half a list would lock somebody out or let somebody in.
 */
export function membershipsFromDiscord(guilds: readonly RESTAPIPartialCurrentUserGuild[]): GuildMemberships {
  if (!Array.isArray(guilds)) throw wrongShape('the guild list is not an array')
  return new GuildMemberships(columnsOf(guilds.map(membership)))
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
 * How memberships are written where bytes count: five lines, one a column. A third of the objects' size; what is read
 * of it when it is decoded is not even the ids, which are cut apart, and the rest waits until it is looked at.
 */
export const membershipsCodec = {
  version: 'm1',
  encode(memberships: GuildMemberships): string {
    const { ids, owners, permissions, names, icons } = memberships.columns()
    return [ids.join(','), owners, permissions.join(','), names, icons].join('\n')
  },
  decode(text: string): GuildMemberships {
    const [ids, owners, permissions, names, icons, ...more] = text.split('\n')
    if (ids === undefined || owners === undefined || permissions === undefined || !names || !icons || more.length > 0)
      throw new TypeError('memberships have five lines')
    const columns = { ids: cells(ids), owners, permissions: cells(permissions), names, icons }
    if (columns.ids.length !== owners.length || columns.permissions.length !== owners.length)
      throw new TypeError('the columns of memberships are of different lengths')
    return new GuildMemberships(columns)
  },
}

const cells = (line: string): string[] => (line === '' ? [] : line.split(','))
