import type { Migration } from './migration.ts'

/** The tables of the key vault (`key-rows.ts`). */
export const ownerKeys: Migration = async ({ database, sql, kind }) => {
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
}
