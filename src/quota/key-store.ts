import type { Bytes } from '../secrets/bytes.ts'
import type { Milliseconds } from '../time/clock.ts'

/** A key as it is stored: sealed, and named under the vault's naming key. */
export interface KeyRow {
  readonly id: string
  readonly name: string
  readonly owner: string
  readonly sealed: Bytes
  /** Raised whenever the row is sealed anew. */
  readonly version: number
  readonly primary: boolean
  readonly limit: number | null
  /** Wall clock, epoch milliseconds. */
  readonly createdAt: Milliseconds
  readonly lastUsedAt: Milliseconds | null
}

/** What changes of a row. */
export interface KeyChange {
  readonly primary?: boolean
  /** A limit, with the key sealed for it as the version after `from`. */
  readonly bound?: { readonly limit: number; readonly sealed: Bytes; readonly from: number }
}

/** Where a vault keeps its rows. None of its arguments holds a key; each method is one step, done wholly or not at all. */
export interface KeyStore {
  /** The sealed naming key; `first` becomes it where there is none yet. */
  namingKey(first: Bytes): Promise<Bytes>
  /** False where `from` is not what is stored any more. */
  replaceNamingKey(from: Bytes, to: Bytes): Promise<boolean>
  /** The row of that name that is not deleted. */
  byName(name: string): Promise<KeyRow | undefined>
  /** Those that are not deleted; the primary one first, then the oldest. */
  ofOwner(owner: string): Promise<KeyRow[]>
  /** False where a row of that name is there already. A primary row takes the place of its owner's other primary row. */
  insert(row: KeyRow): Promise<boolean>
  /** Changes what is given of a row that is not deleted. False where that has another version by now than `bound` is `from`. */
  update(id: string, owner: string, change: KeyChange): Promise<boolean>
  touch(id: string, at: Milliseconds): Promise<void>
  /** Marks a row as deleted, and erases its key: nothing finds it any more. */
  remove(id: string, at: Milliseconds): Promise<void>
  /** Deletes for good what was marked before `at`; returns how many rows. */
  purge(before: Milliseconds): Promise<number>
  /** Up to `count` rows with ids after `id`, in the order of ids, that are not deleted. */
  page(afterId: string, count: number): Promise<KeyRow[]>
  /** False where the row is gone or has another version by now. */
  reseal(id: string, version: number, sealed: Bytes): Promise<boolean>
  close(): Promise<void>
}
