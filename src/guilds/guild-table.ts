import { bytesAsText } from './standings.ts'
import { stringBytes } from './string-bytes.ts'

/** What all members of a guild see of it, once for all of them. */
export interface GuildRecord {
  readonly id: string
  name: string
  icon: string | null
  /** Its place in the table; -1 where it is in none. */
  index: number
  /** Lists in the table that name it. */
  members: number
}

/** How a list names its guilds: slots to find them by, then the indices of their records, in the list's order. */
export type Places = string

/** A record's own cost: the object, its place in the table's array, and its entry in the table's map. */
const RECORD_BYTES = 64 + 12 + 44
/** Bytes of an index: room for 16 million guilds. */
const INDEX_BYTES = 3
export const MOST_RECORDS = 2 ** (8 * INDEX_BYTES)
/** An empty slot. Lists of more guilds have no slots, and are searched from one end to the other. */
const EMPTY = 0xff

export function newRecord(id: string, name: string, icon: string | null): GuildRecord {
  return { id, name, icon, index: -1, members: 0 }
}

/** The guilds that lists in memory name: names and icons are held once, however many users share a guild. */
export class GuildTable {
  readonly #byId = new Map<string, GuildRecord>()
  readonly #byIndex: Array<GuildRecord | undefined> = []
  readonly #free: number[] = []
  /** What the records hold on the heap. */
  bytes = 0

  get size(): number {
    return this.#byId.size
  }

  find(id: string): GuildRecord | undefined {
    return this.#byId.get(id)
  }

  /** Takes the guilds of a list in, and returns how the list may name them. Undefined where the table is full. */
  enter(guilds: readonly GuildRecord[]): Places | undefined {
    if (this.#byId.size + guilds.length > MOST_RECORDS) return undefined
    const indices: number[] = []
    for (const guild of guilds) {
      const record = this.#byId.get(guild.id) ?? this.#add(guild)
      if (record.name !== guild.name || record.icon !== guild.icon) this.#rename(record, guild)
      record.members++
      indices.push(record.index)
    }
    return packPlaces(indices)
  }

  /** Lets the guilds of a list go. Returns them: what nobody else names is in the table no longer. */
  leave(places: Places, size: number): GuildRecord[] {
    const records: GuildRecord[] = []
    for (let place = 0; place < size; place++) {
      const record = this.at(places, size, place)
      records.push(record)
      if (--record.members === 0) this.#remove(record)
    }
    return records
  }

  /** The guild at a place of a list that is in the table. */
  at(places: Places, size: number, place: number): GuildRecord {
    return this.#byIndex[indexAt(places, slotsOf(size), place)]!
  }

  #add({ id, name, icon }: GuildRecord): GuildRecord {
    const record = newRecord(id, name, icon)
    record.index = this.#free.pop() ?? this.#byIndex.length
    this.#byIndex[record.index] = record
    this.#byId.set(id, record)
    this.bytes += recordBytes(record)
    return record
  }

  #remove(record: GuildRecord): void {
    this.bytes -= recordBytes(record)
    this.#byId.delete(record.id)
    this.#byIndex[record.index] = undefined
    this.#free.push(record.index)
    record.index = -1
    // Nothing is left of the room it once took.
    if (this.#byId.size === 0) this.#byIndex.length = this.#free.length = 0
  }

  /** What was fetched last is how it is called now. */
  #rename(record: GuildRecord, { name, icon }: GuildRecord): void {
    this.bytes -= recordBytes(record)
    record.name = name
    record.icon = icon
    this.bytes += recordBytes(record)
  }
}

function recordBytes({ id, name, icon }: GuildRecord): number {
  return RECORD_BYTES + stringBytes(id) + stringBytes(name) + (icon === null ? 0 : stringBytes(icon))
}

/** The place of a record in a list; -1 where the list does not name it. */
export function placeOf(record: GuildRecord, places: Places, size: number): number {
  const { index } = record
  const slots = slotsOf(size)
  if (slots === 0) {
    for (let place = 0; place < size; place++) if (indexAt(places, 0, place) === index) return place
    return -1
  }
  for (let slot = firstSlot(index, slots); ; slot = slot + 1 < slots ? slot + 1 : 0) {
    const place = places.charCodeAt(slot)
    if (place === EMPTY) return -1
    const at = slots + place * INDEX_BYTES
    // Most others differ in the first byte already.
    if (places.charCodeAt(at) === (index & 0xff) && indexAt(places, slots, place) === index) return place
  }
}

function packPlaces(indices: readonly number[]): Places {
  const slots = slotsOf(indices.length)
  return bytesAsText(slots + indices.length * INDEX_BYTES, (bytes) => {
    bytes.fill(EMPTY, 0, slots)
    for (let place = 0; place < indices.length; place++) {
      const index = indices[place]!
      bytes.writeUIntLE(index, slots + place * INDEX_BYTES, INDEX_BYTES)
      if (slots === 0) continue
      let slot = firstSlot(index, slots)
      while (bytes[slot] !== EMPTY) slot = slot + 1 < slots ? slot + 1 : 0
      bytes[slot] = place
    }
  })
}

function indexAt(places: Places, slots: number, place: number): number {
  const at = slots + place * INDEX_BYTES
  return places.charCodeAt(at) | (places.charCodeAt(at + 1) << 8) | (places.charCodeAt(at + 2) << 16)
}

/** Two thirds of them are in use: a look finds what it seeks in two steps, and what is not there in five. */
function slotsOf(size: number): number {
  return size >= EMPTY ? 0 : size + ((size + 1) >> 1)
}

/** Multiplying by the golden ratio spreads indices that follow each other. */
function firstSlot(index: number, slots: number): number {
  return ((Math.imul(index, 0x9e3779b1) >>> 16) * slots) >>> 16
}
