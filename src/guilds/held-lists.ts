import { LRUCache } from 'lru-cache'
import { GuildTable } from './guild-table.ts'
import { type GuildMembership, GuildMemberships, type ListKeeper } from './memberships.ts'

/** Lists whose guilds were looked at as objects lately: a page that shows them asks more than once. */
const LOOKED_AT = 16
/** A membership as an object with its five fields, and a bigint of its own. */
const OBJECT_BYTES = 24 + 5 * 8 + 24

/**
 * The guild lists that a cache holds, and what they cost on the heap: the lists themselves, the guilds that they share,
 * and the few whose guilds are at hand as objects.
 */
export class HeldLists implements ListKeeper {
  readonly table = new GuildTable()
  readonly lookedAt = new LRUCache<GuildMemberships, readonly GuildMembership[]>({ max: LOOKED_AT })
  #lists = 0

  get bytes(): number {
    let looked = 0
    for (const list of this.lookedAt.values()) looked += list.length * OBJECT_BYTES
    return this.#lists + this.table.bytes + looked
  }

  hold(list: GuildMemberships): void {
    GuildMemberships.hold(list, this)
  }

  release(list: GuildMemberships): void {
    this.lookedAt.delete(list)
    GuildMemberships.release(list)
  }

  changed(bytes: number): void {
    this.#lists += bytes
  }
}
