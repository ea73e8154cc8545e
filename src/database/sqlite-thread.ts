import { Worker } from 'node:worker_threads'
import { unavailable } from './database-error.ts'

/** What a statement came to. */
export interface StatementResult {
  readonly rows: unknown[]
  readonly changes: number | bigint
  readonly lastInsertRowid: number | bigint
}

/** How long a statement may stand still for another process's lock; longer waits begin again. */
const BUSY_MS = 250
/** Prepared statements kept; the library asks far fewer. */
const STATEMENTS = 200

/**
 * What runs in the thread. A text, because a file of its own would get lost in every bundle. `foreign` tells a database
 * that has tables and none of ours; it is found out without writing, before anything is opened to write.
 */
const SOURCE = `'use strict'
const { existsSync, statSync } = require('node:fs')
const { pathToFileURL } = require('node:url')
const { parentPort, workerData } = require('node:worker_threads')
const { DatabaseSync } = require('node:sqlite')
const { path } = workerData
const statements = new Map()
let database

function tablesOf(database) {
  const [row] = database.prepare("select count(*) as n, count(case when name = 'holdfast_migration' then 1 end) as ours from sqlite_schema where type = 'table'").all()
  return row
}

function isForeign() {
  if (path === ':memory:' || !existsSync(path) || statSync(path).size === 0) return false
  const url = pathToFileURL(path)
  // As if nobody could ever write to it: no lock, no file beside it.
  url.search = '?immutable=1'
  let look = new DatabaseSync(url, { readOnly: true })
  let tables = tablesOf(look)
  look.close()
  if (tables.n === 0 && existsSync(path + '-wal')) {
    look = new DatabaseSync(path, { readOnly: true })
    tables = tablesOf(look)
    look.close()
  }
  return tables.n > 0 && tables.ours === 0
}

function statementOf(sql) {
  let statement = statements.get(sql)
  if (!statement) {
    const prepared = database.prepare(sql)
    statement = { prepared, reader: prepared.columns().length > 0 }
    if (statements.size >= ${STATEMENTS}) statements.delete(statements.keys().next().value)
    statements.set(sql, statement)
  }
  return statement
}

const does = {
  open() {
    if (isForeign()) return { foreign: true }
    database = new DatabaseSync(path, { timeout: ${BUSY_MS} })
    // Readers and a writer do not hold each other up; what is committed is on the disk.
    database.exec('pragma journal_mode = wal; pragma synchronous = full')
    return { foreign: false }
  },
  ask({ sql, parameters }) {
    const { prepared, reader } = statementOf(sql)
    if (reader) return { rows: prepared.all(...parameters), changes: 0, lastInsertRowid: 0 }
    return { rows: [], ...prepared.run(...parameters) }
  },
  close() {
    statements.clear()
    database?.close()
    return {}
  },
}

parentPort.on('message', ({ id, what, work }) => {
  try {
    parentPort.postMessage({ id, result: does[what](work) })
  } catch (error) {
    const { message, code, errcode } = error
    parentPort.postMessage({ id, error: { message, code, errcode } })
  }
})
`

interface Waiting {
  readonly resolve: (result: never) => void
  readonly reject: (error: unknown) => void
}

/**
 * SQLite in a thread of its own: a slow disk, another process's lock and a batch of rows stop that thread, and not the
 * event loop that answers requests. It keeps no process alive while nothing is asked.
 */
export class SqliteThread {
  readonly #worker: Worker
  readonly #waiting = new Map<number, Waiting>()
  #asked = 0
  #ended: unknown

  constructor(path: string) {
    this.#worker = new Worker(SOURCE, {
      eval: true,
      workerData: { path },
      // Not those of the process, which may be meant for its own code.
      execArgv: ['--disable-warning=ExperimentalWarning'],
    })
    this.#worker.unref()
    this.#worker.on('message', ({ id, result, error }) => {
      const waiting = this.#waiting.get(id)
      this.#forget(id)
      if (error) waiting?.reject(Object.assign(new Error(error.message), { code: error.code, errcode: error.errcode }))
      else waiting?.resolve(result as never)
    })
    this.#worker.on('error', (error) => this.#end(error))
    this.#worker.on('exit', () => this.#end(new Error('the thread of SQLite ended')))
  }

  /** Opens the file, in WAL mode. `foreign`: it belongs to another program, and was not touched. */
  open(): Promise<{ readonly foreign: boolean }> {
    return this.#send('open')
  }

  ask(sql: string, parameters: readonly unknown[]): Promise<StatementResult> {
    return this.#send('ask', { sql, parameters })
  }

  async close(): Promise<void> {
    await this.#send('close').catch(() => {})
    await this.#worker.terminate()
  }

  /** Ends the thread, whatever it is doing. */
  async terminate(): Promise<void> {
    await this.#worker.terminate()
  }

  #send<T>(what: string, work?: object): Promise<T> {
    if (this.#ended !== undefined) return Promise.reject(unavailable(this.#ended))
    return new Promise<T>((resolve, reject) => {
      const id = ++this.#asked
      this.#waiting.set(id, { resolve, reject })
      if (this.#waiting.size === 1) this.#worker.ref()
      try {
        this.#worker.postMessage({ id, what, work })
      } catch (error) {
        // A parameter that no thread can be given.
        this.#forget(id)
        reject(error)
      }
    })
  }

  #forget(id: number): void {
    this.#waiting.delete(id)
    if (this.#waiting.size === 0) this.#worker.unref()
  }

  #end(cause: unknown): void {
    this.#ended ??= cause
    for (const { reject } of this.#waiting.values()) reject(unavailable(cause))
    this.#waiting.clear()
  }
}
