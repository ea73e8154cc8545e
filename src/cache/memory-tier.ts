import type { Milliseconds } from '../time/clock.ts'
import { isOwn } from './cache-key.ts'
import type { Entry } from './entry.ts'

/** An entry's own cost beside its value and its id: the object with its times, and its place in the line. */
const ENTRY_BYTES = 340
/** What finding a user's ids costs for each of them. */
const USER_BYTES = 100
/** A string's own, twice: an id is put together of two parts, which V8 keeps beside the whole. */
const ID_BYTES = 56
/** How often an entry's use is noted at most: moving it to the end of the line on every hit would cost as much as the hit. */
export const NOTE_USE_EVERY_MS: Milliseconds = 1000

/** Holds values that share parts with each other, and knows what they cost together. */
export interface ValueKeeper {
  /** What all values that are held cost on the heap. */
  readonly bytes: number
  /** One more entry holds the value. */
  hold(value: unknown): void
  /** One entry less does. */
  release(value: unknown): void
}

/** Entries in the order in which they were used last. A Map keeps its keys in the order they were put in, so it is the line. */
class Line {
  readonly entries = new Map<string, Entry>()
  bytes = 0
}

/**
 * The values of this process, bounded by entries and bytes; what was used longest ago goes first
 * (docs/decisions/0001-memory-tier.md). The house's own entries and the app's stand in lines of their own: neither can
 * push the other below half of the room.
 */
export class MemoryTier {
  readonly #own = new Line()
  readonly #others = new Line()
  /** One id of a user, or several: most have one. */
  readonly #idsOfUser = new Map<string, string | Set<string>>()
  readonly #maxEntries: number
  readonly #maxBytes: number
  readonly #keeper: ValueKeeper | undefined

  constructor(maxEntries: number, maxBytes: number, keeper?: ValueKeeper) {
    this.#maxEntries = maxEntries
    this.#maxBytes = maxBytes
    this.#keeper = keeper
  }

  get entries(): number {
    return this.#own.entries.size + this.#others.entries.size
  }

  /** What is held on the heap, at least. */
  get bytes(): number {
    return this.#ownBytes + this.#others.bytes
  }

  find(id: string): Entry | undefined {
    return this.#lineOf(id).entries.get(id)
  }

  /** Moves an entry to the end of the line, if it is still in it. */
  noteUse(id: string, entry: Entry, now: Milliseconds): void {
    entry.usedAtMs = Math.floor(now)
    const { entries } = this.#lineOf(id)
    if (entries.get(id) !== entry) return
    entries.delete(id)
    entries.set(id, entry)
  }

  /** Stores, and makes room. A value that is larger than the whole tier is not stored. */
  store(id: string, entry: Entry): void {
    // Held before the old one is let go: what both share stays.
    if (entry.kept) this.#keeper?.hold(entry.value)
    this.delete(id)
    const bytes = costOf(id, entry)
    if (bytes > this.#maxBytes) {
      if (entry.kept) this.#keeper?.release(entry.value)
      return
    }
    const line = this.#lineOf(id)
    line.entries.set(id, entry)
    line.bytes += bytes
    if (entry.user !== undefined) this.#noteUser(entry.user, id)
    this.#makeRoom()
  }

  delete(id: string): void {
    const line = this.#lineOf(id)
    const entry = line.entries.get(id)
    if (!entry) return
    line.entries.delete(id)
    line.bytes -= costOf(id, entry)
    if (entry.kept) this.#keeper?.release(entry.value)
    if (entry.user === undefined) return
    const ids = this.#idsOfUser.get(entry.user)
    if (typeof ids === 'object') ids.delete(id)
    if (ids === id || (typeof ids === 'object' && ids.size === 0)) this.#idsOfUser.delete(entry.user)
  }

  /** The ids of what is held for a user, as they are now. */
  idsOf(user: string): string[] {
    const ids = this.#idsOfUser.get(user)
    return ids === undefined ? [] : typeof ids === 'string' ? [ids] : [...ids]
  }

  /** Every entry, in no order that matters. */
  *all(): Generator<Entry> {
    yield* this.#own.entries.values()
    yield* this.#others.entries.values()
  }

  clear(): void {
    for (const line of [this.#own, this.#others]) for (const id of [...line.entries.keys()]) this.delete(id)
  }

  get #ownBytes(): number {
    return this.#own.bytes + (this.#keeper?.bytes ?? 0)
  }

  #lineOf(id: string): Line {
    return isOwn(id) ? this.#own : this.#others
  }

  #noteUser(user: string, id: string): void {
    const ids = this.#idsOfUser.get(user)
    if (ids === undefined) this.#idsOfUser.set(user, id)
    else if (typeof ids === 'object') ids.add(id)
    else if (ids !== id) this.#idsOfUser.set(user, new Set([ids, id]))
  }

  #makeRoom(): void {
    while (this.entries > 0) {
      const { bytes } = this
      let othersHaveMore: boolean
      if (this.entries > this.#maxEntries) othersHaveMore = this.#others.entries.size > this.#maxEntries / 2
      else if (bytes > this.#maxBytes) othersHaveMore = this.#others.bytes > this.#maxBytes / 2
      else return
      const line = othersHaveMore || this.#own.entries.size === 0 ? this.#others : this.#own
      this.delete(line.entries.keys().next().value!)
    }
  }
}

function costOf(id: string, entry: Entry): number {
  return (
    ENTRY_BYTES +
    ID_BYTES +
    2 * id.length +
    (entry.user === undefined ? 0 : USER_BYTES + entry.user.length) +
    entry.bytes
  )
}
