import type { RESTAPIPartialCurrentUserGuild } from 'discord-api-types/v10'
import { DiscordUnavailableError } from '../errors/errors.ts'
import { type GuildRecord, type GuildTable, newRecord, type Places, placeOf } from './guild-table.ts'
import {
  checkText,
  isDecimal,
  type MembershipsText,
  type ReadList,
  readText,
  standingInText,
  TEXT_VERSION,
  writeText,
} from './memberships-text.ts'
import { allows, type PermissionName, permissionBit, permissionPlace } from './permissions.ts'
import { hasBit, isOwnerAt, packStandings, permissionsAt, permissionsTextAt, type Standings } from './standings.ts'
import { stringBytes } from './string-bytes.ts'

/** One guild a user is in, as the user's guild list had it. `permissions` are the base ones, without channel overwrites. */
export interface GuildMembership {
  readonly id: string
  readonly name: string
  /** The icon's hash; null where there is none. */
  readonly icon: string | null
  readonly owner: boolean
  readonly permissions: bigint
  /** Plain data, for JSON and for client components: permissions as a decimal string, as Discord sends them. */
  toJSON(): GuildMembershipJson
}

export type GuildMembershipJson = { id: string; name: string; icon: string | null; owner: boolean; permissions: string }

/** What a list asks of whoever holds it (`held-lists.ts`). */
export interface ListKeeper {
  readonly table: GuildTable
  /** Lists whose guilds were looked at as objects lately. */
  readonly lookedAt: {
    get(list: GuildMemberships): readonly GuildMembership[] | undefined
    set(list: GuildMemberships, guilds: readonly GuildMembership[]): unknown
  }
  /** A list that is held costs so many bytes more than before, or less. */
  changed(bytes: number): void
}

/**
 * The guilds a user is in: immutable, and shared between requests. It is kept in one of three forms, and nobody who asks
 * notices which: as the text it was read from, as a list of its own, or, while a cache holds it, as bytes beside a table
 * of guilds that all users share (docs/decisions/0150-memory-of-guild-lists.md).
 */
export class GuildMemberships implements Iterable<GuildMembership> {
  /** While nothing but a permission was ever asked of a list that was read. */
  #text: MembershipsText | undefined
  #wasAsked = false
  #size = 0
  #standings: Standings = ''
  /** Of a list that is in no table. */
  #records: readonly GuildRecord[] | undefined
  /** Of a list that is in a table. */
  #places: Places | undefined
  #held: ListKeeper | undefined
  /** How many entries hold it. */
  #holds = 0

  /** Made by `membershipsFromDiscord` and `membershipsCodec`, and by nobody else. */
  constructor(list: ReadList | MembershipsText) {
    if (typeof list === 'string') this.#text = list
    else this.#become(list)
    Object.freeze(this)
  }

  get size(): number {
    this.#read()
    return this.#size
  }

  /** Whether the user is in the guild. */
  has(guildId: string): boolean {
    if (typeof guildId !== 'string') return false
    if (this.#isFirstQuestion()) return standingInText(this.#text!, guildId) !== undefined
    return this.#find(guildId) >= 0
  }

  /** The user's membership of a guild; undefined where they are not in it. */
  get(guildId: string): GuildMembership | undefined {
    if (typeof guildId !== 'string') return undefined
    this.#read()
    const place = this.#find(guildId)
    return place < 0 ? undefined : this.#at(place)
  }

  /** Owner and ADMINISTRATOR imply every permission; false where the user is not a member. Throws ConfigError for an unknown name. */
  can(guildId: string, permission: PermissionName): boolean {
    const bit = permissionPlace(permission)
    if (typeof guildId !== 'string') return false
    if (this.#isFirstQuestion()) {
      const standing = standingInText(this.#text!, guildId)
      return standing !== undefined && allows(standing, permissionBit(permission))
    }
    const place = this.#find(guildId)
    return place >= 0 && hasBit(this.#standings, place, this.#width, bit)
  }

  [Symbol.iterator](): Iterator<GuildMembership> {
    return this.#all()[Symbol.iterator]()
  }

  /** Plain objects for a page; `permissions` as a decimal string, as Discord sends it. */
  toJSON(): GuildMembershipJson[] {
    this.#read()
    const looked = this.#held?.lookedAt.get(this)
    if (looked) return looked.map(jsonOf)
    // No objects for the sake of their copies, and no bigints for the sake of their digits.
    const width = this.#width
    const list: GuildMembershipJson[] = []
    for (let place = 0; place < this.#size; place++) {
      const { id, name, icon } = this.#record(place)
      const owner = isOwnerAt(this.#standings, place, width)
      list.push({ id, name, icon, owner, permissions: permissionsTextAt(this.#standings, place, width) })
    }
    return list
  }

  /** What `membershipsCodec` writes; for nobody else. */
  static textOf(memberships: GuildMemberships): MembershipsText {
    return memberships.#text ?? writeText(memberships.#size, (place) => memberships.#at(place))
  }

  /** An entry of a cache holds the list from now on: its guilds go into the table. For `HeldLists` alone. */
  static hold(memberships: GuildMemberships, held: ListKeeper): void {
    if (memberships.#holds++ > 0) return
    memberships.#held = held
    if (memberships.#records) memberships.#enter(memberships.#records)
    held.changed(GuildMemberships.bytesOf(memberships))
  }

  /** An entry lets go of it; after the last one whoever still has the list keeps its guilds. For `HeldLists` alone. */
  static release(memberships: GuildMemberships): void {
    if (memberships.#holds === 0 || --memberships.#holds > 0) return
    const held = memberships.#held!
    held.changed(-GuildMemberships.bytesOf(memberships))
    if (memberships.#places !== undefined) {
      memberships.#records = held.table.leave(memberships.#places, memberships.#size)
      memberships.#places = undefined
    }
    memberships.#held = undefined
  }

  /** What the list holds on the heap beside the table. */
  static bytesOf(memberships: GuildMemberships): number {
    const { bytes } = GuildMemberships
    if (memberships.#text !== undefined) return bytes + stringBytes(memberships.#text)
    const records = memberships.#records === undefined ? 0 : memberships.#records.length * (8 + RECORD_ALONE_BYTES)
    return bytes + bytesOfText(memberships.#standings) + bytesOfText(memberships.#places) + records
  }

  /** The object with its eight fields. */
  static readonly bytes = 24 + 8 * 8

  get #width(): number {
    return this.#standings.length / this.#size
  }

  /** Many a list that was read is asked once and never again: that is answered from the text. */
  #isFirstQuestion(): boolean {
    if (this.#text === undefined) return false
    if (!this.#wasAsked) {
      this.#wasAsked = true
      return true
    }
    this.#read()
    return false
  }

  #read(): void {
    if (this.#text === undefined) return
    const list = readText(this.#text)
    const before = GuildMemberships.bytesOf(this)
    this.#text = undefined
    this.#become(list)
    this.#held?.changed(GuildMemberships.bytesOf(this) - before)
  }

  #become({ records, standings }: ReadList): void {
    this.#size = records.length
    this.#standings = standings
    this.#records = records
    if (this.#held) this.#enter(records)
  }

  #enter(records: readonly GuildRecord[]): void {
    this.#places = this.#held!.table.enter(records)
    if (this.#places !== undefined) this.#records = undefined
  }

  /** The place of a guild in the list; -1 where it is not in it. */
  #find(guildId: string): number {
    if (this.#places !== undefined) {
      // What a list in the table names is in the table.
      const record = this.#held!.table.find(guildId)
      return record === undefined ? -1 : placeOf(record, this.#places, this.#size)
    }
    return this.#records!.findIndex(({ id }) => id === guildId)
  }

  #record(place: number): GuildRecord {
    return this.#places === undefined ? this.#records![place]! : this.#held!.table.at(this.#places, this.#size, place)
  }

  #at(place: number): GuildMembership {
    const { id, name, icon } = this.#record(place)
    const width = this.#width
    const owner = isOwnerAt(this.#standings, place, width)
    return newMembership(id, name, icon, owner, permissionsAt(this.#standings, place, width))
  }

  #all(): readonly GuildMembership[] {
    this.#read()
    const looked = this.#held?.lookedAt.get(this)
    if (looked) return looked
    const list = Array.from({ length: this.#size }, (_, place) => this.#at(place))
    this.#held?.lookedAt.set(this, list)
    return list
  }
}

/** A record that is in no table, with its strings, at most about. */
const RECORD_ALONE_BYTES = 64 + 40 + 48 + 56

const bytesOfText = (text: string | undefined): number => (text === undefined ? 0 : (16 + text.length + 7) & ~7)

/** Its fields are its own, so that a membership is plain data to whoever looks at its properties; what it does is its class's, which costs nothing to make. */
class Membership implements GuildMembership {
  readonly id: string
  readonly name: string
  readonly icon: string | null
  readonly owner: boolean
  readonly permissions: bigint

  constructor(id: string, name: string, icon: string | null, owner: boolean, permissions: bigint) {
    this.id = id
    this.name = name
    this.icon = icon
    this.owner = owner
    this.permissions = permissions
    Object.freeze(this)
  }

  toJSON(): GuildMembershipJson {
    return jsonOf(this)
  }
}

export function newMembership(
  id: string,
  name: string,
  icon: string | null,
  owner: boolean,
  permissions: bigint,
): GuildMembership {
  return new Membership(id, name, icon, owner, permissions)
}

function jsonOf({ id, name, icon, owner, permissions }: GuildMembership): GuildMembershipJson {
  return { id, name, icon, owner, permissions: String(permissions) }
}

/**
 * Reads Discord's guild list (`GET /users/@me/guilds`). A list that is not one, or an entry that lacks its id, name,
 * owner or permissions, is refused whole: half a list would lock somebody out or let somebody in.
 */
export function membershipsFromDiscord(guilds: readonly RESTAPIPartialCurrentUserGuild[]): GuildMemberships {
  if (!Array.isArray(guilds)) throw wrongShape('the guild list is not an array')
  const records: GuildRecord[] = []
  for (const guild of guilds) {
    if (typeof guild !== 'object' || guild === null) throw wrongShape('a guild is not an object')
    const { id, name, icon, permissions } = guild
    if (!isDecimal(id)) throw wrongShape('a guild has no id')
    if (typeof name !== 'string') throw wrongShape('a guild has no name')
    if (!isDecimal(permissions)) throw wrongShape('a guild has no permissions')
    records.push(newRecord(id, name, typeof icon === 'string' ? icon : null))
  }
  const standings = packStandings(
    guilds.length,
    (place) => guilds[place]!.permissions,
    (place) => guilds[place]!.owner === true,
  )
  return new GuildMemberships({ records, standings })
}

function wrongShape(what: string): DiscordUnavailableError {
  return new DiscordUnavailableError('DISCORD_WRONG_SHAPE', `Discord's guild list cannot be used: ${what}`, {
    route: 'GET /users/@me/guilds',
    attempts: 1,
  })
}

/** How memberships are written where bytes count: a third of the objects' size. */
export const membershipsCodec = {
  version: TEXT_VERSION,
  encode: (memberships: GuildMemberships): string => GuildMemberships.textOf(memberships),
  decode(text: string): GuildMemberships {
    checkText(text)
    return new GuildMemberships(text)
  },
}
