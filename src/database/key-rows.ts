import type { Selectable } from 'kysely'
import { HoldfastError } from '../errors/errors.ts'
import type { KeyChange, KeyRow, KeyStore } from '../quota/key-store.ts'
import type { Milliseconds } from '../time/clock.ts'
import type { DatabaseConnection } from './connection.ts'
import type { Tables } from './schema.ts'

/** The row of `holdfast_sealed` that holds the vault's naming key. */
const NAMING_KEY = 'vault names'
/** Two processes that make a key primary at once: one of them tries again. */
const TRIES = 5

/** A vault's rows in SQL. */
export class KeyRows implements KeyStore {
  readonly #database: DatabaseConnection

  constructor(database: DatabaseConnection) {
    this.#database = database
  }

  namingKey(first: Buffer): Promise<Buffer> {
    return this.#database.transaction(async (database) => {
      await database
        .insertInto('holdfast_sealed')
        .values({ name: NAMING_KEY, sealed: first })
        .onConflict((conflict) => conflict.column('name').doNothing())
        .execute()
      const row = await database
        .selectFrom('holdfast_sealed')
        .select('sealed')
        .where('name', '=', NAMING_KEY)
        .executeTakeFirstOrThrow()
      return Buffer.from(row.sealed)
    })
  }

  replaceNamingKey(from: Buffer, to: Buffer): Promise<boolean> {
    return this.#database.run(async (database) => {
      const { numUpdatedRows } = await database
        .updateTable('holdfast_sealed')
        .set({ sealed: to })
        .where('name', '=', NAMING_KEY)
        .where('sealed', '=', from)
        .executeTakeFirst()
      return numUpdatedRows > 0n
    })
  }

  byName(name: string): Promise<KeyRow | undefined> {
    return this.#database.run(async (database) => {
      const row = await database
        .selectFrom('holdfast_owner_key')
        .selectAll()
        .where('name', '=', name)
        .where('deleted_at', 'is', null)
        .executeTakeFirst()
      return row && asKeyRow(row)
    })
  }

  ofOwner(owner: string): Promise<KeyRow[]> {
    return this.#database.run(async (database) => {
      const rows = await database
        .selectFrom('holdfast_owner_key')
        .selectAll()
        .where('owner', '=', owner)
        .where('deleted_at', 'is', null)
        .orderBy('is_primary', 'desc')
        .orderBy('created_at')
        .orderBy('id')
        .execute()
      return rows.map(asKeyRow)
    })
  }

  insert(row: KeyRow): Promise<boolean> {
    return this.#primary(async () =>
      this.#database.transaction(async (database) => {
        const held = await database
          .selectFrom('holdfast_owner_key')
          .select('id')
          .where('name', '=', row.name)
          .where('deleted_at', 'is', null)
          .executeTakeFirst()
        if (held) return false
        if (row.primary)
          await database
            .updateTable('holdfast_owner_key')
            .set({ is_primary: 0 })
            .where('owner', '=', row.owner)
            .where('is_primary', '=', 1)
            .execute()
        await database
          .insertInto('holdfast_owner_key')
          .values({
            id: row.id,
            name: row.name,
            owner: row.owner,
            sealed: row.sealed,
            version: row.version,
            is_primary: row.primary ? 1 : 0,
            call_limit: row.limit,
            created_at: row.createdAt,
            last_used_at: row.lastUsedAt,
            deleted_at: null,
          })
          .execute()
        return true
      }),
    )
  }

  update(id: string, owner: string, { primary, bound }: KeyChange): Promise<boolean> {
    return this.#primary(() =>
      this.#database.transaction(async (database) => {
        if (bound) {
          const { numUpdatedRows } = await database
            .updateTable('holdfast_owner_key')
            .set({ call_limit: bound.limit, sealed: bound.sealed, version: bound.from + 1 })
            .where('id', '=', id)
            .where('version', '=', bound.from)
            .where('deleted_at', 'is', null)
            .executeTakeFirst()
          if (numUpdatedRows === 0n) return false
        }
        if (primary === undefined) return true
        if (primary)
          await database
            .updateTable('holdfast_owner_key')
            .set({ is_primary: 0 })
            .where('owner', '=', owner)
            .where('is_primary', '=', 1)
            .where('id', '!=', id)
            .execute()
        await database
          .updateTable('holdfast_owner_key')
          .set({ is_primary: primary ? 1 : 0 })
          .where('id', '=', id)
          .where('deleted_at', 'is', null)
          .execute()
        return true
      }),
    )
  }

  async touch(id: string, at: Milliseconds): Promise<void> {
    await this.#database.run((database) =>
      database
        .updateTable('holdfast_owner_key')
        .set({ last_used_at: at })
        .where('id', '=', id)
        // A clock that was set back, or another process's that is behind, makes no use older.
        .where((row) => row.or([row('last_used_at', 'is', null), row('last_used_at', '<', at)]))
        .execute(),
    )
  }

  async remove(id: string, at: Milliseconds): Promise<void> {
    await this.#database.run((database) =>
      database
        .updateTable('holdfast_owner_key')
        .set({ deleted_at: at, sealed: Buffer.alloc(0) })
        .where('id', '=', id)
        .where('deleted_at', 'is', null)
        .execute(),
    )
  }

  purge(before: Milliseconds): Promise<number> {
    return this.#database.run(async (database) => {
      const { numDeletedRows } = await database
        .deleteFrom('holdfast_owner_key')
        .where('deleted_at', '<=', before)
        .executeTakeFirst()
      return Number(numDeletedRows)
    })
  }

  page(afterId: string, count: number): Promise<KeyRow[]> {
    return this.#database.run(async (database) => {
      const rows = await database
        .selectFrom('holdfast_owner_key')
        .selectAll()
        .where('id', '>', afterId)
        .where('deleted_at', 'is', null)
        .orderBy('id')
        .limit(count)
        .execute()
      return rows.map(asKeyRow)
    })
  }

  reseal(id: string, version: number, sealed: Buffer): Promise<boolean> {
    return this.#database.run(async (database) => {
      const { numUpdatedRows } = await database
        .updateTable('holdfast_owner_key')
        .set({ sealed, version: version + 1 })
        .where('id', '=', id)
        .where('version', '=', version)
        .executeTakeFirst()
      return numUpdatedRows > 0n
    })
  }

  close(): Promise<void> {
    return this.#database.close()
  }

  /** The unique indexes decide between two processes at once; whoever loses looks again. */
  async #primary<T>(work: () => Promise<T>): Promise<T> {
    for (let tries = 1; ; tries++) {
      try {
        return await work()
      } catch (error) {
        if (tries === TRIES || !(error instanceof HoldfastError) || !isTaken(error.cause)) throw error
      }
    }
  }
}

/** A unique index was in the way: PostgreSQL's code, SQLite's two. */
function isTaken(cause: unknown): boolean {
  const { code, errcode } = (cause ?? {}) as { code?: unknown; errcode?: unknown }
  return code === '23505' || errcode === 2067 || errcode === 1555
}

function asKeyRow(row: Selectable<Tables['holdfast_owner_key']>): KeyRow {
  return {
    id: row.id,
    name: row.name,
    owner: row.owner,
    sealed: Buffer.from(row.sealed),
    version: row.version,
    primary: row.is_primary === 1,
    limit: row.call_limit,
    createdAt: row.created_at,
    lastUsedAt: row.last_used_at,
  }
}
