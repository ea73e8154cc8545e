import type { SharedKey } from '../cache/shared-tier.ts'
import { RecentlyUsed } from '../collections/recently-used.ts'
import { REDIS_KEYS } from './keys.ts'
import type { Naming } from './naming.ts'

/** Keys of so many entries are computed once. */
const REMEMBERED = 10_000

/** The keys of one entry in Redis, all in one slot. */
export interface EntryKeys {
  readonly epoch: string
  readonly entry: string
  readonly lease: string
}

/** Where entries are in Redis. Throws REDIS_UNAVAILABLE while it was never reached: only then are the names known. */
export class EntryKeyTable {
  readonly #prefix: string
  readonly #naming: Naming
  readonly #known = new RecentlyUsed<string, EntryKeys>(REMEMBERED)
  #knownUnder: unknown

  constructor(prefix: string, naming: Naming) {
    this.#prefix = prefix
    this.#naming = naming
  }

  of(key: SharedKey): EntryKeys {
    const { names } = this.#naming
    if (this.#knownUnder !== names) {
      this.#known.clear()
      this.#knownUnder = names
    }
    let keys = this.#known.get(key.id)
    if (keys) return keys
    const slot = key.user === undefined ? names.of('key', key.id) : names.of('user', key.user)
    const name = names.of('entry', key.id)
    const at = (pattern: string) =>
      this.#prefix + pattern.replace('<user>', slot).replace('<label>', key.label).replace('<key>', name)
    keys = { epoch: at(REDIS_KEYS.epoch[0]), entry: at(REDIS_KEYS.entry[0]), lease: at(REDIS_KEYS.lease[0]) }
    this.#known.set(key.id, keys)
    return keys
  }

  epochOf(user: string): string {
    return this.#prefix + REDIS_KEYS.epoch[0].replace('<user>', this.#naming.names.of('user', user))
  }
}
