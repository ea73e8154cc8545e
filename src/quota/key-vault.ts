import { closedError, HoldfastError } from '../errors/errors.ts'
import { type KeyRing, Names, randomId } from '../secrets/key-ring.ts'
import type { Clock, Milliseconds } from '../time/clock.ts'
import { abandonable, withDeadline } from '../time/deadline.ts'
import { isOwner, namelessCause } from './key-owner.ts'
import { contextOf, openedRow } from './key-seal.ts'
import type { KeyRow, KeyStore } from './key-store.ts'

/** A key that the vault holds. */
export interface VaultKey {
  readonly id: string
  readonly key: string
  readonly owner: string
  readonly primary: boolean
  /** Calls a window may have through this key; null where it has no limit of its own. */
  readonly limit: number | null
  readonly createdAt: Date
  readonly lastUsedAt: Date | null
}

/**
 * Keeps keys encrypted in a database, and knows whose they are. Every method rejects with DATABASE_UNAVAILABLE where the
 * database is away (nothing was written, or all of it: `add` may be repeated), with DATABASE_FAILED where it refuses,
 * with VAULT_ROW_DAMAGED where a row was cut or edited, and with CLOSED after `close()`.
 */
export interface KeyVault {
  /**
   * Stores a key and resolves to its id and owner. Without `owner` the function that the vault was made with is asked,
   * once for each key: a key that is there already keeps its owner and its id, and `primary` and `limit` are changed where
   * given. `primary: true` takes the place of the owner's other primary key.
   * Rejects with KEY_OWNER_CHANGED where the key is stored for another owner, KEY_OWNER_UNKNOWN where nobody tells one.
   */
  add(
    key: string,
    options?: { owner?: string; primary?: boolean; limit?: number },
  ): Promise<{ id: string; owner: string }>
  /** Whose key it is; undefined where the vault does not hold it. */
  ownerOf(key: string): Promise<string | undefined>
  /**
   * An owner's keys: the primary one first, then the oldest. What `batch` takes as `keys`. A damaged row is left out, and
   * told of in a process warning (code VAULT_ROW_DAMAGED), once; where no other is left it rejects with that.
   */
  keysOf(owner: string): Promise<VaultKey[]>
  /** Notes that a key was used now. An id that is not there changes nothing. */
  touch(id: string): Promise<void>
  /**
   * Marks a key as deleted, and erases it: nothing finds it any more, and it can be added anew. Its row stays, without the
   * key, until it is cleaned up.
   */
  remove(id: string): Promise<void>
  /**
   * Seals everything under the newest secret that is not yet, while the vault is in use, and resolves to the number of
   * rows. After that the older secrets are needed no more, once no process writes with them.
   */
  rotate(): Promise<number>
  /** Deletes for good what was removed longer ago than this (default 30 days); resolves to the number of rows. Also done when a vault is opened. */
  cleanUp(options?: { olderThanMs?: Milliseconds }): Promise<number>
  close(): Promise<void>
}

const LONGEST_KEY = 4_096
const PAGE = 100
/** Processes that change one row at once: whoever comes second looks again. */
const TRIES = 5
/** Rows that are told of as damaged: after so many the rest is told by `rotate` only. */
const MOST_WARNINGS = 1_000
const KEEP_REMOVED_MS: Milliseconds = 30 * 24 * 60 * 60 * 1000
/** How long the function that tells a key's owner may take. */
const OWNER_TIMEOUT_MS: Milliseconds = 30_000
const NAMING_CONTEXT = 'holdfast vault names'

interface VaultOptions {
  readonly store: KeyStore
  readonly ring: KeyRing
  readonly clock: Clock
  readonly ownerOf?: ((key: string) => Promise<string>) | undefined
}

/** Opens a vault on a store: finds its naming key, or begins one. Rejects with VAULT_WRONG_SECRET. */
export async function openVault(options: VaultOptions): Promise<KeyVault> {
  const { store, ring, clock } = options
  const sealed = await store.namingKey(ring.seal(ring.namingKey(), NAMING_CONTEXT))
  const namingKey = ring.open(sealed, NAMING_CONTEXT)
  if (namingKey === undefined)
    throw new HoldfastError(
      'VAULT_WRONG_SECRET',
      'no secret that was given opens this vault; give the one it was made with, behind a newer one if it is being changed',
    )
  const vault = new SealedVault(options, new Names(namingKey))
  await store.purge(clock.now() - KEEP_REMOVED_MS)
  return vault
}

/**
 * A row is sealed for its owner, id, version and limit, so that it opens nowhere else, and is found by an HMAC of its key. No
 * key is ever part of what the store is asked.
 */
class SealedVault implements KeyVault {
  readonly #store: KeyStore
  readonly #ring: KeyRing
  readonly #clock: Clock
  readonly #names: Names
  readonly #askOwner: ((key: string) => Promise<string>) | undefined
  /** The last of those that add a key now, by its name: one after the other, so that its owner is asked for once. */
  readonly #adding = new Map<string, Promise<unknown>>()
  /** Damaged rows that were told of. */
  readonly #warnedOf = new Set<string>()
  #closing: Promise<void> | undefined

  constructor({ store, ring, clock, ownerOf }: VaultOptions, names: Names) {
    this.#store = store
    this.#ring = ring
    this.#clock = clock
    this.#names = names
    this.#askOwner = ownerOf
  }

  async add(
    key: string,
    options: { owner?: string; primary?: boolean; limit?: number } = {},
  ): Promise<{ id: string; owner: string }> {
    const name = this.#name('add', key)
    const { owner: given, primary, limit } = options
    if (given !== undefined && !isOwner(given)) throw invalid('add: owner must be a text of 1 to 512 characters')
    if (primary !== undefined && typeof primary !== 'boolean') throw invalid('add: primary must be true or false')
    if (limit !== undefined && !(Number.isSafeInteger(limit) && limit >= 0))
      throw invalid('add: limit must be a whole number of calls, not negative')
    const before = this.#adding.get(name)
    const adding = (async () => {
      await before?.catch(() => {})
      return this.#add(key, name, options)
    })()
    this.#adding.set(name, adding)
    try {
      return await adding
    } finally {
      if (this.#adding.get(name) === adding) this.#adding.delete(name)
    }
  }

  async #add(
    key: string,
    name: string,
    { owner: given, primary, limit }: { owner?: string; primary?: boolean; limit?: number },
  ): Promise<{ id: string; owner: string }> {
    const change = { ...(primary !== undefined && { primary }), ...(limit !== undefined && { limit }) }
    const held = await this.#store.byName(name)
    if (held) return this.#keep(held, key, given, change)
    const owner = given ?? (await this.#ownerFor(key))
    const id = randomId()
    const row: KeyRow = {
      id,
      name,
      owner,
      sealed: this.#ring.seal(key, contextOf({ id, owner, version: 1, limit: limit ?? null })),
      version: 1,
      primary: primary ?? false,
      limit: limit ?? null,
      createdAt: this.#clock.now(),
      lastUsedAt: null,
    }
    if (await this.#store.insert(row)) return { id, owner }
    // Somebody else added it meanwhile.
    const other = await this.#store.byName(name)
    if (other) return this.#keep(other, key, given, change)
    throw new HoldfastError(
      'DATABASE_FAILED',
      'add: the key was added and removed by somebody else meanwhile; add it again',
    )
  }

  async ownerOf(key: string): Promise<string | undefined> {
    const row = await this.#store.byName(this.#name('ownerOf', key))
    if (!row) return undefined
    this.#mustBe(row, key)
    return row.owner
  }

  async keysOf(owner: string): Promise<VaultKey[]> {
    this.#check()
    if (!isOwner(owner)) throw invalid('keysOf: owner must be a text of 1 to 512 characters')
    const keys: VaultKey[] = []
    const damaged: string[] = []
    for (const row of await this.#store.ofOwner(owner)) {
      const key = this.#opened(row)
      if (key === undefined) damaged.push(row.id)
      else keys.push(asVaultKey(row, key))
    }
    if (damaged.length > 0) {
      if (keys.length === 0) throw damagedError(damaged)
      this.#warn(damaged)
    }
    return keys
  }

  /** Once for each row: whoever asks for an owner's keys asks often. */
  #warn(damaged: readonly string[]): void {
    const news = damaged.filter((id) => !this.#warnedOf.has(id))
    if (news.length === 0 || this.#warnedOf.size >= MOST_WARNINGS) return
    for (const id of news) this.#warnedOf.add(id)
    const { code, message } = damagedError(news)
    process.emitWarning(`holdfast key vault: ${message}; its owner's other keys are given`, {
      type: 'HoldfastWarning',
      code,
    })
  }

  async touch(id: string): Promise<void> {
    this.#check()
    await this.#store.touch(id, this.#clock.now())
  }

  async remove(id: string): Promise<void> {
    this.#check()
    await this.#store.remove(id, this.#clock.now())
  }

  async rotate(): Promise<number> {
    this.#check()
    await this.#rotateNamingKey()
    const damaged: string[] = []
    let sealedAnew = 0
    let last = ''
    for (;;) {
      const rows = await this.#store.page(last, PAGE)
      for (const row of rows) {
        last = row.id
        if (this.#ring.isCurrent(row.sealed)) continue
        const key = this.#opened(row)
        if (key === undefined) {
          damaged.push(row.id)
          continue
        }
        const version = row.version + 1
        // Where somebody else was faster, it is sealed anew already, or gone.
        if (await this.#store.reseal(row.id, row.version, this.#ring.seal(key, contextOf({ ...row, version }))))
          sealedAnew++
      }
      if (rows.length < PAGE) break
    }
    if (damaged.length > 0)
      throw damagedError(damaged, `${sealedAnew} other rows were sealed anew, and these were left as they are`)
    return sealedAnew
  }

  async cleanUp({ olderThanMs = KEEP_REMOVED_MS }: { olderThanMs?: Milliseconds } = {}): Promise<number> {
    this.#check()
    if (typeof olderThanMs !== 'number' || !(olderThanMs >= 0))
      throw invalid('cleanUp: olderThanMs must be milliseconds, not negative')
    return this.#store.purge(this.#clock.now() - olderThanMs)
  }

  close(): Promise<void> {
    this.#closing ??= this.#store.close()
    return this.#closing
  }

  async #keep(
    row: KeyRow,
    key: string,
    given: string | undefined,
    change: { primary?: boolean; limit?: number },
  ): Promise<{ id: string; owner: string }> {
    this.#mustBe(row, key)
    if (given !== undefined && given !== row.owner)
      throw new HoldfastError(
        'KEY_OWNER_CHANGED',
        `add: this key is stored for another owner, as ${row.id}; remove that first if it has really changed hands`,
      )
    const { primary, limit } = change
    for (let tries = 1; ; tries++) {
      const version = row.version + 1
      const bound = limit !== undefined &&
        limit !== row.limit && {
          limit,
          sealed: this.#ring.seal(key, contextOf({ ...row, limit, version })),
          from: row.version,
        }
      if (!bound && primary === undefined) break
      if (
        await this.#store.update(row.id, row.owner, {
          ...(primary !== undefined && { primary }),
          ...(bound && { bound }),
        })
      )
        break
      // Somebody else sealed it anew, or removed it.
      const now = await this.#store.byName(row.name)
      if (tries === TRIES || now?.id !== row.id)
        throw new HoldfastError('DATABASE_FAILED', 'add: the key was changed by somebody else meanwhile; add it again')
      row = now
      this.#mustBe(row, key)
    }
    return { id: row.id, owner: row.owner }
  }

  async #ownerFor(key: string): Promise<string> {
    const ask = this.#askOwner
    if (!ask)
      throw new HoldfastError(
        'KEY_OWNER_UNKNOWN',
        'add: give the key an owner, or the vault a function ownerOf that finds it',
      )
    const late = () => new Error(`no answer within ${OWNER_TIMEOUT_MS} ms`)
    let owner: unknown
    try {
      owner = await withDeadline(this.#clock, OWNER_TIMEOUT_MS, [], late, (signal) =>
        abandonable(() => ask(key), signal),
      )
    } catch (error) {
      // Its text may well hold the URL that was called, and with it the key, in whatever encoding: it goes no further.
      throw new HoldfastError('KEY_OWNER_UNKNOWN', 'add: ownerOf failed, and the key was not stored', {
        cause: namelessCause(error, key),
      })
    }
    if (isOwner(owner)) return owner
    throw new HoldfastError(
      'KEY_OWNER_UNKNOWN',
      'add: ownerOf must resolve to a text of 1 to 512 characters; the key was not stored',
    )
  }

  async #rotateNamingKey(): Promise<void> {
    const sealed = await this.#store.namingKey(this.#ring.seal(this.#ring.namingKey(), NAMING_CONTEXT))
    if (this.#ring.isCurrent(sealed)) return
    const namingKey = this.#ring.open(sealed, NAMING_CONTEXT)
    if (namingKey === undefined) throw damagedError(['the naming key'], 'restore it from a backup')
    await this.#store.replaceNamingKey(sealed, this.#ring.seal(namingKey, NAMING_CONTEXT))
  }

  /** A row that is found under a key's name must hold that key: who can write names into the database can not give anybody another owner. */
  #mustBe(row: KeyRow, key: string): void {
    if (this.#open(row) !== key) throw damagedError([row.id])
  }

  #open(row: KeyRow): string {
    const key = this.#opened(row)
    if (key === undefined) throw damagedError([row.id])
    return key
  }

  #opened(row: KeyRow): string | undefined {
    return openedRow(this.#ring, row)
  }

  #name(method: string, key: unknown): string {
    this.#check()
    // UTF-8 has no place for half a pair of surrogates: another key would come back.
    if (typeof key !== 'string' || key === '' || key.length > LONGEST_KEY || !key.isWellFormed())
      throw invalid(`${method}: the key must be a text of 1 to ${LONGEST_KEY} characters, and no half of one`)
    return this.#names.of('owner key', key)
  }

  #check(): void {
    if (this.#closing) throw closedError()
  }
}

function asVaultKey(row: KeyRow, key: string): VaultKey {
  return {
    id: row.id,
    key,
    owner: row.owner,
    primary: row.primary,
    limit: row.limit,
    createdAt: new Date(row.createdAt),
    lastUsedAt: row.lastUsedAt === null ? null : new Date(row.lastUsedAt),
  }
}

function invalid(message: string): HoldfastError {
  return new HoldfastError('INVALID_OPTION', message)
}

function damagedError(
  ids: readonly string[],
  then = 'while the secret is being changed give this process the newer one, too; else restore it, or remove it and add the key again',
): HoldfastError {
  return new HoldfastError(
    'VAULT_ROW_DAMAGED',
    `${ids.slice(0, 10).join(', ')} cannot be opened: cut, edited, or sealed under a secret that was not given; ${then}`,
  )
}
