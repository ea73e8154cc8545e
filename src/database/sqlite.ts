import type { CompiledQuery, DatabaseConnection, Dialect, Driver, QueryResult } from 'kysely'
import { foreign, refuseForeignFile } from './sqlite-file.ts'
import { SqliteThread } from './sqlite-thread.ts'

/** Kysely's dialect for a file (or `:memory:`) that Node's own SQLite opens. */
export function sqliteDialect(
  { SqliteAdapter, SqliteIntrospector, SqliteQueryCompiler }: typeof import('kysely'),
  path: string,
): Dialect {
  return {
    createAdapter: () => new SqliteAdapter(),
    createDriver: () => new SqliteDriver(path),
    createIntrospector: (database) => new SqliteIntrospector(database),
    createQueryCompiler: () => new SqliteQueryCompiler(),
  }
}

/** One connection, one thread; Kysely lets one use it at a time. */
class SqliteDriver implements Driver {
  readonly #path: string
  #connection: ThreadConnection | undefined

  constructor(path: string) {
    this.#path = path
  }

  async init(): Promise<void> {
    if (this.#path !== ':memory:') await refuseForeignFile(this.#path)
    const thread = new SqliteThread(this.#path)
    try {
      const opened = await thread.open()
      if (opened.foreign) throw foreign("another program's database")
      this.#connection = new ThreadConnection(thread)
    } catch (error) {
      await thread.terminate()
      throw error
    }
  }

  async acquireConnection(): Promise<DatabaseConnection> {
    return this.#connection!
  }

  async beginTransaction(connection: DatabaseConnection): Promise<void> {
    await (connection as ThreadConnection).ask('begin')
  }

  async commitTransaction(connection: DatabaseConnection): Promise<void> {
    await (connection as ThreadConnection).ask('commit')
  }

  async rollbackTransaction(connection: DatabaseConnection): Promise<void> {
    await (connection as ThreadConnection).ask('rollback')
  }

  async releaseConnection(): Promise<void> {}

  async destroy(): Promise<void> {
    await this.#connection?.thread.close()
  }
}

class ThreadConnection implements DatabaseConnection {
  readonly thread: SqliteThread

  constructor(thread: SqliteThread) {
    this.thread = thread
  }

  ask(sql: string, parameters: readonly unknown[] = []) {
    return this.thread.ask(sql, parameters)
  }

  async executeQuery<Row>({ sql, parameters }: CompiledQuery): Promise<QueryResult<Row>> {
    const { rows, changes, lastInsertRowid } = await this.ask(sql, parameters)
    return { rows: rows as Row[], numAffectedRows: BigInt(changes), insertId: BigInt(lastInsertRowid) }
  }

  // biome-ignore lint/correctness/useYield: a thread answers at once or not at all
  async *streamQuery(): AsyncIterableIterator<QueryResult<never>> {
    throw new Error('rows are not streamed out of the thread')
  }
}
