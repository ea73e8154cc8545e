import type { Milliseconds } from '../time/clock.ts'
import type { Entry } from './entry.ts'

/** An entry's own cost beside its value. */
const ENTRY_BYTES = 200
/** How often an entry's use is noted at most: moving it to the end of the line on every hit would cost as much as the hit. */
export const NOTE_USE_EVERY_MS: Milliseconds = 1000

/**
 * The values of this process, bounded by entries and bytes; what was used longest ago goes first. A Map keeps its keys
 * in the order they were put in, so the Map is the line (docs/decisions/0001-memory-tier.md).
 */
export class MemoryTier {
  readonly #entries = new Map<string, Entry>()
  readonly #idsOfUser = new Map<string, Set<string>>()
  readonly #maxEntries: number
  readonly #maxBytes: number
  #bytes = 0

  constructor(maxEntries: number, maxBytes: number) {
    this.#maxEntries = maxEntries
    this.#maxBytes = maxBytes
  }

  get entries(): number {
    return this.#entries.size
  }

  get bytes(): number {
    return this.#bytes
  }

  find(id: string): Entry | undefined {
    return this.#entries.get(id)
  }

  /** Moves an entry to the end of the line, if it is still in it. */
  noteUse(id: string, entry: Entry, now: Milliseconds): void {
    entry.usedAtMs = now
    if (this.#entries.get(id) !== entry) return
    this.#entries.delete(id)
    this.#entries.set(id, entry)
  }

  /** Stores, and makes room. A value that is larger than the whole tier is not stored. */
  store(id: string, entry: Entry): void {
    this.delete(id)
    const bytes = costOf(id, entry)
    if (bytes > this.#maxBytes) return
    this.#entries.set(id, entry)
    this.#bytes += bytes
    if (entry.user !== undefined) {
      const ids = this.#idsOfUser.get(entry.user)
      if (ids) ids.add(id)
      else this.#idsOfUser.set(entry.user, new Set([id]))
    }
    for (const oldest of this.#entries.keys()) {
      if (this.#entries.size <= this.#maxEntries && this.#bytes <= this.#maxBytes) break
      this.delete(oldest)
    }
  }

  delete(id: string): void {
    const entry = this.#entries.get(id)
    if (!entry) return
    this.#entries.delete(id)
    this.#bytes -= costOf(id, entry)
    if (entry.user === undefined) return
    const ids = this.#idsOfUser.get(entry.user)
    ids?.delete(id)
    if (ids?.size === 0) this.#idsOfUser.delete(entry.user)
  }

  /** The ids of what is held for a user, as they are now. */
  idsOf(user: string): string[] {
    return [...(this.#idsOfUser.get(user) ?? [])]
  }

  clear(): void {
    this.#entries.clear()
    this.#idsOfUser.clear()
    this.#bytes = 0
  }
}

const costOf = (id: string, entry: Entry) => ENTRY_BYTES + id.length + entry.bytes
