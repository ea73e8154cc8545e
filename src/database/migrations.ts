import { HoldfastError } from '../errors/errors.ts'
import type { Milliseconds } from '../time/clock.ts'
import { ledger } from './migrations/ledger.ts'
import type { Migrating, Migration } from './migrations/migration.ts'
import { ownerKeys } from './migrations/owner-keys.ts'
import { signIn } from './migrations/sign-in.ts'

/**
 * In this order, each once and for ever: what has been released is never edited, only followed.
 *
 * To add tables: write `migrations/<what>.ts`, add its rows to `Tables` in `schema.ts`, and name it here with the next
 * number. Every table is called `holdfast_…`, ids and names are `text`, times `double precision` (or `bigint` where a
 * statement reads them as text), flags 0 or 1: both databases give those back alike.
 */
const MIGRATIONS: ReadonlyArray<readonly [name: string, Migration]> = [
  ['1 owner keys', ownerKeys],
  ['2 ledger', ledger],
  ['3 sign-in', signIn],
]

/** Any number will do, as long as it is always the same: 'holdfast' on a telephone's keys. */
const ADVISORY_LOCK = 46_533_278

/**
 * Brings the tables up to date, within one transaction that the caller holds. Of two processes, the second finds nothing
 * left to do. Rejects with DATABASE_NEWER, before anything is changed, where a newer version has made tables that this
 * one does not know.
 */
export async function migrate(migrating: Migrating, now: Milliseconds): Promise<void> {
  const { database, sql, kind } = migrating
  // SQLite's transaction holds the only lock there is.
  if (kind === 'postgres') await sql`select pg_advisory_xact_lock(${sql.lit(ADVISORY_LOCK)})`.execute(database)
  await sql`create table if not exists holdfast_migration (
    name text primary key,
    at double precision not null
  )`.execute(database)
  const done = new Set(
    (await database.selectFrom('holdfast_migration').select('name').execute()).map(({ name }) => name),
  )
  refuseNewer([...done])
  for (const [name, migration] of MIGRATIONS) {
    if (done.has(name)) continue
    await migration(migrating)
    await database.insertInto('holdfast_migration').values({ name, at: now }).execute()
  }
}

function refuseNewer(done: readonly string[]): void {
  const unknown = done.filter((name) => !MIGRATIONS.some(([known]) => known === name))
  if (unknown.length === 0) return
  throw new HoldfastError(
    'DATABASE_NEWER',
    `the database was brought up to date by a newer version of Holdfast (${unknown.slice(0, 5).join(', ').slice(0, 200)}); update this one`,
  )
}
