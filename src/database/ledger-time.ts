import { type Clock, type Milliseconds, systemClock } from '../time/clock.ts'
import type { DatabaseConnection } from './connection.ts'
import { whole } from './membership-sql.ts'

/**
 * What time it is in the ledger: PostgreSQL's own, so that the clocks of machines need not agree; else the instance's
 * (SQLite's processes share their machine's, and virtual time is in no database).
 */
export class LedgerTime {
  readonly #clock: Clock

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Whether it is the database's own. */
  isTheirs({ kind }: DatabaseConnection): boolean {
    return kind === 'postgres' && this.#clock === systemClock
  }

  /** Now, in SQL: epoch milliseconds. */
  now(connection: DatabaseConnection) {
    return this.isTheirs(connection)
      ? connection.sql`(extract(epoch from clock_timestamp()) * 1000)::bigint`
      : whole(connection, this.#clock.now())
  }

  /** The moment so long ago, in SQL. */
  before(connection: DatabaseConnection, ms: Milliseconds) {
    return connection.sql`(${this.now(connection)} - ${whole(connection, ms)})`
  }

  /** The moment of a row that was asked for `now`, if it was. */
  of(row: { readonly now?: unknown }): Milliseconds {
    return row.now === undefined ? this.#clock.now() : Number(row.now)
  }
}
