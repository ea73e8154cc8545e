import type { SharedKey } from '../cache/shared-tier.ts'
import { Names } from '../secrets/key-ring.ts'

/**
 * Every key in a store that was handed in, without the prefix that all begin with; what is in `<…>` is a name (HMAC):
 * no id and no token is ever in a key.
 */
export const STORE_KEYS = {
  namingKey: ['names', 'the key behind all names, sealed under the secret'],
  all: ['all', 'the epoch of everything'],
  changed: ['changed', 'another token after each invalidation; every process looks at it every 2 s'],
  user: ['user:<user>', 'the epoch of all keys of a user'],
  key: ['key:<key>', 'the epoch of one key'],
  value: ['value:<label>:<key>', 'a value, sealed, with the epochs it was written under'],
  lease: ['lease:<key>', 'which process is loading the value, or that it failed'],
} as const satisfies Record<string, readonly [pattern: string, holds: string]>

/** The keys of one entry. */
export interface StoreKeys {
  readonly user: string | undefined
  readonly key: string
  readonly value: string
  readonly lease: string
}

/** Where things are in a store. */
export class StoreKeyTable {
  readonly #prefix: string
  #names: Names

  constructor(prefix: string, namingKey: string) {
    this.#prefix = prefix
    this.#names = new Names(namingKey)
  }

  rename(namingKey: string): void {
    this.#names = new Names(namingKey)
  }

  at(which: 'namingKey' | 'all' | 'changed'): string {
    return this.#prefix + STORE_KEYS[which][0]
  }

  of(key: SharedKey): StoreKeys {
    const name = this.#names.of('entry', key.id)
    const at = (pattern: string) => this.#prefix + pattern.replace('<label>', key.label).replace('<key>', name)
    return {
      user: key.user === undefined ? undefined : this.ofUser(key.user),
      key: at(STORE_KEYS.key[0]),
      value: at(STORE_KEYS.value[0]),
      lease: at(STORE_KEYS.lease[0]),
    }
  }

  ofUser(user: string): string {
    return this.#prefix + STORE_KEYS.user[0].replace('<user>', this.#names.of('user', user))
  }
}
