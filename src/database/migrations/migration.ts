import type { Kysely } from 'kysely'
import type { SqlKind } from '../../config/database.ts'
import type { Tables } from '../schema.ts'

/** A transaction in which a migration runs. */
export interface Migrating {
  readonly database: Kysely<Tables>
  readonly sql: typeof import('kysely').sql
  readonly kind: SqlKind
}

export type Migration = (migrating: Migrating) => Promise<void>
