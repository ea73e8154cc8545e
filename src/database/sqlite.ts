import type { SqliteDatabase } from 'kysely'
import type { Milliseconds } from '../time/clock.ts'

/** How long a statement may stand still for another process's lock. It stops the event loop; longer waits are slept. */
const BUSY_MS: Milliseconds = 20

/** Opens a file (or `:memory:`) with Node's own SQLite, in the shape that Kysely's dialect asks for. */
export async function openSqlite(path: string): Promise<SqliteDatabase> {
  const { DatabaseSync } = await import('node:sqlite')
  const database = new DatabaseSync(path, { timeout: BUSY_MS })
  // Readers and a writer do not hold each other up; what is committed is on the disk.
  database.exec('pragma journal_mode = wal; pragma synchronous = full')
  return {
    close: () => database.close(),
    prepare(sql) {
      const statement = database.prepare(sql)
      type Parameters = Parameters_<typeof statement.all>
      return {
        reader: statement.columns().length > 0,
        all: (parameters) => statement.all(...(parameters as Parameters)),
        run: (parameters) => statement.run(...(parameters as Parameters)),
        iterate: (parameters) => statement.iterate(...(parameters as Parameters)),
      }
    },
  }
}

type Parameters_<F extends (...args: never[]) => unknown> = F extends (...args: infer P) => unknown ? P : never

/** Another connection holds the lock; it will let go of it. */
export function isBusy(error: unknown): boolean {
  const { errcode } = (error ?? {}) as { errcode?: unknown }
  // The lower byte of SQLite's extended codes: SQLITE_BUSY, SQLITE_LOCKED.
  return typeof errcode === 'number' && [5, 6].includes(errcode & 0xff)
}
