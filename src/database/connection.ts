import type { Kysely, Transaction } from 'kysely'
import type { DatabaseConfig } from '../config/database.ts'
import { codeOf } from '../errors/code-of.ts'
import { ConfigError, closedError, HoldfastError } from '../errors/errors.ts'
import type { Clock, Milliseconds } from '../time/clock.ts'
import { abandonable, withDeadline } from '../time/deadline.ts'
import { migrate } from './migrations.ts'
import type { Tables } from './schema.ts'
import { isBusy, openSqlite } from './sqlite.ts'

/** Everything that is asked ends after this, answered or not. */
const QUERY_TIMEOUT_MS: Milliseconds = 5_000
/** Migrations wait for those of another process. */
const MIGRATE_TIMEOUT_MS: Milliseconds = 60_000
const CONNECT_TIMEOUT_MS: Milliseconds = 5_000
const CONNECTIONS = 10
/** Between two tries where another process holds SQLite's lock. */
const BUSY_PAUSE_MS: Milliseconds = 15

/**
 * A database, with its tables as they should be. Kysely speaks to it: over Node's own SQLite, or PostgreSQL.
 *
 * Whatever is asked rejects with DATABASE_UNAVAILABLE (away, too slow, locked, full) or DATABASE_FAILED (anything else),
 * and with CLOSED after `close()`. A transaction that was cut off has written nothing, or, where only the answer to its
 * commit was lost, all of it.
 */
export class DatabaseConnection {
  readonly kind: DatabaseConfig['kind']
  readonly #clock: Clock
  readonly #kysely: Kysely<Tables>
  #closing: Promise<void> | undefined

  private constructor(kind: DatabaseConfig['kind'], kysely: Kysely<Tables>, clock: Clock) {
    this.kind = kind
    this.#kysely = kysely
    this.#clock = clock
  }

  /** Connects, and brings the tables up to date; two processes may do so at once. */
  static async open(config: DatabaseConfig, clock: Clock): Promise<DatabaseConnection> {
    const connection = new DatabaseConnection(config.kind, await connect(config, clock), clock)
    try {
      await connection.#within(MIGRATE_TIMEOUT_MS, () =>
        connection.#transaction((database) => migrate(database, config.kind, clock.now())),
      )
      return connection
    } catch (error) {
      await connection.close()
      throw error
    }
  }

  /** One statement. */
  run<T>(work: (database: Kysely<Tables>) => Promise<T>): Promise<T> {
    return this.#within(QUERY_TIMEOUT_MS, () => work(this.#kysely))
  }

  /** Several statements, all or none. `work` may run more than once. */
  transaction<T>(work: (database: Kysely<Tables>) => Promise<T>): Promise<T> {
    return this.#within(QUERY_TIMEOUT_MS, () => this.#transaction(work))
  }

  close(): Promise<void> {
    this.#closing ??= this.#end()
    return this.#closing
  }

  async #end(): Promise<void> {
    const late = () => unavailable(new Error('it did not close in time'))
    await withDeadline(this.#clock, QUERY_TIMEOUT_MS, [], late, (signal) =>
      abandonable(() => this.#kysely.destroy(), signal),
    ).catch(() => {})
  }

  #transaction<T>(work: (database: Kysely<Tables>) => Promise<T>): Promise<T> {
    if (this.kind === 'postgres')
      return this.#kysely.transaction().execute((transaction: Transaction<Tables>) => work(transaction))
    return this.#kysely.connection().execute(async (database) => {
      const { sql } = await import('kysely')
      // Immediate: one that begins by reading could not become a writer while another one is.
      await sql`begin immediate`.execute(database)
      try {
        const result = await work(database)
        await sql`commit`.execute(database)
        return result
      } catch (error) {
        await sql`rollback`.execute(database).catch(() => {})
        throw error
      }
    })
  }

  async #within<T>(timeoutMs: Milliseconds, work: () => Promise<T>): Promise<T> {
    if (this.#closing) throw closedError()
    const late = () => unavailable(new Error(`no answer within ${timeoutMs} ms`))
    try {
      return await withDeadline(this.#clock, timeoutMs, [], late, (signal) =>
        abandonable(() => this.#untilFree(work, signal), signal),
      )
    } catch (error) {
      throw error instanceof HoldfastError ? error : translate(error)
    }
  }

  /** Again and again while another process holds SQLite's lock. */
  async #untilFree<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
    for (;;) {
      try {
        return await work()
      } catch (error) {
        if (!isBusy(error)) throw error
        await this.#clock.sleep(BUSY_PAUSE_MS, signal)
      }
    }
  }
}

async function connect(config: DatabaseConfig, clock: Clock): Promise<Kysely<Tables>> {
  const { Kysely, PostgresDialect, SqliteDialect } = await needed('kysely', () => import('kysely'))
  if (config.kind === 'sqlite') {
    const { path } = config
    return new Kysely({ dialect: new SqliteDialect({ database: () => opened(path, clock) }) })
  }
  const { default: pg } = await needed('pg', () => import('pg'))
  const pool = new pg.Pool({
    connectionString: config.url,
    max: CONNECTIONS,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    // The server gives up what nobody waits for any more; the client does where the server does not answer at all.
    statement_timeout: MIGRATE_TIMEOUT_MS,
    query_timeout: MIGRATE_TIMEOUT_MS,
    keepAlive: true,
    allowExitOnIdle: true,
  })
  // A connection that breaks while nobody uses it is replaced when somebody does; of one that breaks in use, the query
  // tells. Both say so once more as an event, which without a listener would end the process.
  pool.on('error', () => {})
  pool.on('connect', (client) => client.on('error', () => {}))
  return new Kysely({ dialect: new PostgresDialect({ pool }) })
}

/** Switching to the write-ahead log needs the file for a moment, too. */
async function opened(path: string, clock: Clock): ReturnType<typeof openSqlite> {
  const giveUpAt = clock.monotonic() + CONNECT_TIMEOUT_MS
  for (;;) {
    try {
      return await openSqlite(path)
    } catch (error) {
      if (!isBusy(error) || clock.monotonic() > giveUpAt) throw error
      await clock.sleep(BUSY_PAUSE_MS)
    }
  }
}

async function needed<T>(name: string, load: () => Promise<T>): Promise<T> {
  try {
    return await load()
  } catch (error) {
    if (codeOf(error) !== 'ERR_MODULE_NOT_FOUND') throw error
    throw new ConfigError('database', `with a database the package ${name} is needed: npm install ${name}`, {
      cause: error,
    })
  }
}

/** SQLite's result codes that mean: not now. PERM, BUSY, LOCKED, READONLY, IOERR, FULL, CANTOPEN. */
const SQLITE_AWAY = new Set([3, 5, 6, 8, 10, 13, 14])
/** PostgreSQL's classes of errors that mean: not now. Connections, resources, shutdown, and what is cancelled. */
const POSTGRES_AWAY = /^(08|53|57|58|25006)/

function translate(error: unknown): HoldfastError {
  const { code, errcode, message } = (error ?? {}) as { code?: unknown; errcode?: unknown; message?: unknown }
  const away =
    typeof errcode === 'number'
      ? SQLITE_AWAY.has(errcode & 0xff)
      : typeof code === 'string'
        ? POSTGRES_AWAY.test(code) || /^E[A-Z]+$/.test(code)
        : /connect|terminated|timeout/i.test(String(message))
  if (away) return unavailable(error)
  return new HoldfastError(
    'DATABASE_FAILED',
    `the database refused what it was asked (${typeof code === 'string' ? code : 'no code'}); see \`cause\``,
    { cause: error },
  )
}

function unavailable(cause: unknown): HoldfastError {
  return new HoldfastError(
    'DATABASE_UNAVAILABLE',
    'the database cannot be used: away, too slow, locked or full; see that it runs, and try again',
    { cause },
  )
}
