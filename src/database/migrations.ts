import type { Kysely } from 'kysely'
import type { DatabaseConfig } from '../config/database.ts'
import type { Milliseconds } from '../time/clock.ts'
import type { Tables } from './schema.ts'

/** Any number will do, as long as it is always the same: 'holdfast' on a telephone's keys. */
const ADVISORY_LOCK = 46_533_278

type Migration = (database: Kysely<Tables>, kind: DatabaseConfig['kind']) => Promise<void>

/** In this order, each once and for ever: what has been released is never edited, only followed. */
const MIGRATIONS: ReadonlyArray<readonly [name: string, Migration]> = [
  [
    '1 owner keys',
    async (database, kind) => {
      const { sql } = await import('kysely')
      const bytes = kind === 'postgres' ? 'bytea' : 'blob'
      await database.schema
        .createTable('holdfast_sealed')
        .addColumn('name', 'text', (column) => column.primaryKey())
        .addColumn('sealed', bytes, (column) => column.notNull())
        .execute()
      await database.schema
        .createTable('holdfast_owner_key')
        .addColumn('id', 'text', (column) => column.primaryKey())
        .addColumn('name', 'text', (column) => column.notNull())
        .addColumn('owner', 'text', (column) => column.notNull())
        .addColumn('sealed', bytes, (column) => column.notNull())
        .addColumn('version', 'integer', (column) => column.notNull())
        .addColumn('is_primary', 'integer', (column) => column.notNull())
        .addColumn('call_limit', 'double precision')
        .addColumn('created_at', 'double precision', (column) => column.notNull())
        .addColumn('last_used_at', 'double precision')
        .addColumn('deleted_at', 'double precision')
        .execute()
      await sql`create unique index holdfast_owner_key_name on holdfast_owner_key (name)
        where deleted_at is null`.execute(database)
      // One primary key an owner, also where two processes make one at the same time.
      await sql`create unique index holdfast_owner_key_primary on holdfast_owner_key (owner)
        where deleted_at is null and is_primary = 1`.execute(database)
      await database.schema.createIndex('holdfast_owner_key_owner').on('holdfast_owner_key').column('owner').execute()
      await database.schema
        .createIndex('holdfast_owner_key_deleted')
        .on('holdfast_owner_key')
        .column('deleted_at')
        .execute()
    },
  ],
]

/** Brings the tables up to date, within one transaction. Of two processes, the second finds nothing left to do. */
export async function migrate(
  database: Kysely<Tables>,
  kind: DatabaseConfig['kind'],
  now: Milliseconds,
): Promise<void> {
  const { sql } = await import('kysely')
  // SQLite's transaction holds the only lock there is.
  if (kind === 'postgres') await sql`select pg_advisory_xact_lock(${ADVISORY_LOCK})`.execute(database)
  await database.schema
    .createTable('holdfast_migration')
    .ifNotExists()
    .addColumn('name', 'text', (column) => column.primaryKey())
    .addColumn('at', 'double precision', (column) => column.notNull())
    .execute()
  const done = new Set(
    (await database.selectFrom('holdfast_migration').select('name').execute()).map(({ name }) => name),
  )
  for (const [name, migration] of MIGRATIONS) {
    if (done.has(name)) continue
    await migration(database, kind)
    await database.insertInto('holdfast_migration').values({ name, at: now }).execute()
  }
}
