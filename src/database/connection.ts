import type { Kysely } from 'kysely'
import type { DatabaseConfig, SqlKind } from '../config/database.ts'
import { closedError } from '../errors/errors.ts'
import type { Clock, Milliseconds } from '../time/clock.ts'
import { abandonable, withDeadline } from '../time/deadline.ts'
import { databaseError, isBusy, unavailable } from './database-error.ts'
import { migrate } from './migrations.ts'
import { loadKysely, loadPg } from './packages.ts'
import type { Tables } from './schema.ts'
import { sqliteDialect } from './sqlite.ts'
import { APPLICATION_ID } from './sqlite-file.ts'

/** Everything that is asked ends after this, answered or not. */
const QUERY_TIMEOUT_MS: Milliseconds = 5_000
/** Migrations wait for those of another process. */
const MIGRATE_TIMEOUT_MS: Milliseconds = 60_000
const CONNECT_TIMEOUT_MS: Milliseconds = 5_000
const CONNECTIONS = 10
/** Between two tries where another process holds SQLite's lock. */
const BUSY_PAUSE_MS: Milliseconds = 15

type KyselyPackage = typeof import('kysely')

/** How a piece of work with the database is done. */
export interface WorkOptions {
  /** When it is given up. Default 5 s. */
  readonly timeoutMs?: Milliseconds
  /**
   * False for what may be lost when the database's machine (not this process) stops: nobody then waits for the disk at
   * each commit. The database stays whole either way. Default true.
   */
  readonly flushed?: boolean
}

/**
 * A database, with its tables as they should be. Kysely speaks to it: over Node's own SQLite, PostgreSQL, or an instance
 * of the user's.
 *
 * Whatever is asked rejects with DATABASE_UNAVAILABLE (away, too slow, locked, full) or DATABASE_FAILED (anything else),
 * and with CLOSED after `close()`. A transaction that was cut off has written nothing, or, where only the answer to its
 * commit was lost, all of it.
 */
export class DatabaseConnection {
  readonly kind: SqlKind
  /** Kysely's tag for SQL of one's own. */
  readonly sql: KyselyPackage['sql']
  readonly #config: DatabaseConfig
  readonly #clock: Clock
  readonly #kysely: Kysely<Tables>
  #closing: Promise<void> | undefined

  private constructor(config: DatabaseConfig, kysely: Kysely<Tables>, sql: KyselyPackage['sql'], clock: Clock) {
    this.kind = config.kind === 'user' ? config.sqlKind : config.kind
    this.sql = sql
    this.#config = config
    this.#kysely = kysely
    this.#clock = clock
  }

  /**
   * Connects, and brings the tables up to date; two processes may do so at once. `clock` is what deadlines are counted
   * with. Rejects with ConfigError where a package is missing, DATABASE_FOREIGN for a path that leads to something else,
   * DATABASE_NEWER, DATABASE_UNAVAILABLE and DATABASE_FAILED.
   */
  static async open(config: DatabaseConfig, clock: Clock): Promise<DatabaseConnection> {
    const kysely = await loadKysely()
    const connection = new DatabaseConnection(config, await connect(config, kysely), kysely.sql, clock)
    try {
      await connection.transaction((database) => connection.#migrate(database), { timeoutMs: MIGRATE_TIMEOUT_MS })
      return connection
    } catch (error) {
      await connection.close()
      throw error
    }
  }

  /** One statement. */
  run<T>(work: (database: Kysely<Tables>) => Promise<T>, { timeoutMs }: WorkOptions = {}): Promise<T> {
    return this.#within(timeoutMs, () => work(this.#kysely))
  }

  /** Several statements, all or none. `work` may run more than once. */
  transaction<T>(work: (database: Kysely<Tables>) => Promise<T>, options: WorkOptions = {}): Promise<T> {
    const { timeoutMs = QUERY_TIMEOUT_MS, flushed = true } = options
    return this.#within(timeoutMs, (signal) => {
      // What was given up must not be committed after its caller was told so.
      const inTime: typeof work = async (database) => {
        if (signal.aborted) throw signal.reason
        const result = await work(database)
        if (signal.aborted) throw signal.reason
        return result
      }
      return this.#config.kind === 'sqlite'
        ? this.#inSqlite(inTime, flushed)
        : this.#inTransaction(inTime, timeoutMs, flushed)
    })
  }

  close(): Promise<void> {
    this.#closing ??= this.#end()
    return this.#closing
  }

  async #end(): Promise<void> {
    // An instance of the user's is closed by the user.
    if (this.#config.kind === 'user') return
    const late = () => unavailable(new Error('it did not close in time'))
    await withDeadline(this.#clock, QUERY_TIMEOUT_MS, [], late, (signal) =>
      abandonable(() => this.#kysely.destroy(), signal),
    ).catch(() => {})
  }

  async #migrate(database: Kysely<Tables>): Promise<void> {
    await migrate({ database, sql: this.sql, kind: this.kind }, this.#clock.now())
    // Whose file this is, for other programs; also for those that came before this line.
    if (this.#config.kind === 'sqlite')
      await this.sql.raw(`pragma application_id = ${APPLICATION_ID}`).execute(database)
  }

  #inTransaction<T>(
    work: (database: Kysely<Tables>) => Promise<T>,
    timeoutMs: Milliseconds,
    flushed: boolean,
  ): Promise<T> {
    return this.#kysely.transaction().execute(async (database) => {
      // Within the transaction: poolers refuse settings at the start of a connection, and mix up those of a session. The
      // server then gives up what nobody waits for any more.
      // Everything here looks rows up by their keys; a planner that knows nothing of new tables would read them whole.
      if (this.kind === 'postgres')
        await this.#set(database, {
          statement_timeout: timeoutMs,
          idle_in_transaction_session_timeout: timeoutMs,
          enable_seqscan: 'off',
          enable_hashjoin: 'off',
          enable_mergejoin: 'off',
          // Compiling a plan takes longer than running any of these.
          jit: 'off',
          ...(!flushed && { synchronous_commit: 'off' }),
        })
      return work(database)
    })
  }

  /** Settings of PostgreSQL, until the transaction ends. */
  async #set(database: Kysely<Tables>, settings: Record<string, string | number>): Promise<void> {
    const each = Object.entries(settings).map(([name, value]) => `set_config('${name}', '${value}', true)`)
    await this.sql.raw(`select ${each.join(', ')}`).execute(database)
  }

  #inSqlite<T>(work: (database: Kysely<Tables>) => Promise<T>, flushed: boolean): Promise<T> {
    return this.#kysely.connection().execute(async (database) => {
      const ask = (text: string) => this.sql.raw(text).execute(database)
      if (!flushed) await ask('pragma synchronous = normal')
      try {
        // Immediate: one that begins by reading could not become a writer while another one is.
        await ask('begin immediate')
        try {
          const result = await work(database)
          await ask('commit')
          return result
        } catch (error) {
          await ask('rollback').catch(() => {})
          throw error
        }
      } finally {
        if (!flushed) await ask('pragma synchronous = full').catch(() => {})
      }
    })
  }

  async #within<T>(timeoutMs: Milliseconds = QUERY_TIMEOUT_MS, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    if (this.#closing) throw closedError()
    const late = () => unavailable(new Error(`no answer within ${timeoutMs} ms`))
    try {
      return await withDeadline(this.#clock, timeoutMs, [], late, (signal) =>
        abandonable(() => this.#untilFree(work, signal), signal),
      )
    } catch (error) {
      throw databaseError(error)
    }
  }

  /** Again and again while another process holds SQLite's lock. */
  async #untilFree<T>(work: (signal: AbortSignal) => Promise<T>, signal: AbortSignal): Promise<T> {
    for (;;) {
      try {
        return await work(signal)
      } catch (error) {
        if (!isBusy(error) || signal.aborted) throw error
        await this.#clock.sleep(BUSY_PAUSE_MS, signal)
      }
    }
  }
}

async function connect(config: DatabaseConfig, kysely: KyselyPackage): Promise<Kysely<Tables>> {
  if (config.kind === 'user') return config.kysely as Kysely<Tables>
  if (config.kind === 'sqlite') return new kysely.Kysely({ dialect: sqliteDialect(kysely, config.path) })
  const { default: pg } = await loadPg()
  const pool = new pg.Pool({
    connectionString: config.url,
    max: CONNECTIONS,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    // Where the server does not answer at all. What it does itself about slow statements is said in each transaction.
    query_timeout: MIGRATE_TIMEOUT_MS,
    keepAlive: true,
    allowExitOnIdle: true,
  })
  // A connection that breaks while nobody uses it is replaced when somebody does; of one that breaks in use, the query
  // tells. Both say so once more as an event, which without a listener would end the process.
  pool.on('error', () => {})
  pool.on('connect', (client) => client.on('error', () => {}))
  return new kysely.Kysely({ dialect: new kysely.PostgresDialect({ pool }) })
}
