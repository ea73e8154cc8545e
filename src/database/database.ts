import { Breaker } from '../concurrency/breaker.ts'
import type { DatabaseConfig } from '../config/database.ts'
import { codeOf } from '../errors/code-of.ts'
import { ConfigError, closedError, HoldfastError } from '../errors/errors.ts'
import type { Events } from '../events/events.ts'
import { type Milliseconds, systemClock } from '../time/clock.ts'
import { DatabaseConnection } from './connection.ts'
import { databaseError, isAboutFile } from './database-error.ts'
import { fileIdentity } from './sqlite-file.ts'

/** So many in a row, and the database counts as away. */
const FAILURES_UNTIL_AWAY = 3
/** How long it is left alone then: doubling, from the first to the longest. */
const FIRST_PAUSE_MS: Milliseconds = 1_000
const LONGEST_PAUSE_MS: Milliseconds = 15_000
/** How often the path of SQLite's file is looked at. */
const LOOK_EVERY_MS: Milliseconds = 1_000

/**
 * An instance's database: opened when it is first used, shared by all who keep something there (the ledger, the bot's
 * guilds, sessions), opened anew where its file broke or was replaced, and left alone for a while where it is away.
 *
 * A room's rows are a class beside this one (`membership-rows.ts`) that implements what the room asks for and calls
 * `use`; its tables are a migration (`migrations.ts`).
 */
export class Database {
  readonly #config: DatabaseConfig
  readonly #breaker: Breaker
  #opening: Promise<DatabaseConnection> | undefined
  #file: string | undefined
  #lookedAt = 0
  #failures = 0
  #pauseMs = FIRST_PAUSE_MS
  #lastError: HoldfastError | undefined
  #closing: Promise<void> | undefined

  constructor(config: DatabaseConfig, events: Events) {
    this.#config = config
    // Real time, whatever clock the instance was given: a database answers in no other.
    this.#breaker = new Breaker(systemClock, (state) => events.emit({ type: 'breaker', name: 'database', state }))
  }

  /** Opens it if it is not open. Rejects as `DatabaseConnection.open`. */
  async open(): Promise<void> {
    await this.use(async () => {})
  }

  /**
   * Calls `work` with an open connection. Rejects with what it rejects with; with what opening was refused with; and at
   * once with DATABASE_UNAVAILABLE and `retryAfterMs` while the database is known to be away; with CLOSED after `close()`.
   */
  async use<T>(work: (connection: DatabaseConnection) => Promise<T>): Promise<T> {
    if (this.#closing) throw closedError()
    if (this.#breaker.pass() === 'wait') throw this.#away()
    let connection: DatabaseConnection | undefined
    try {
      connection = await this.#connection()
      const result = await work(connection)
      this.#failures = 0
      this.#pauseMs = FIRST_PAUSE_MS
      this.#breaker.close()
      return result
    } catch (error) {
      const known = databaseError(error)
      await this.#noteFailure(known, connection)
      throw known
    }
  }

  close(): Promise<void> {
    this.#closing ??= (async () => {
      const connection = await this.#opening?.catch(() => undefined)
      await connection?.close()
    })()
    return this.#closing
  }

  async #connection(): Promise<DatabaseConnection> {
    await this.#leaveReplacedFile()
    if (!this.#opening) {
      const opening = DatabaseConnection.open(this.#config, systemClock).then(async (connection) => {
        if (this.#config.kind === 'sqlite') this.#file = await fileIdentity(this.#config.path)
        return connection
      })
      this.#opening = opening
      // What could not be opened is tried again by who comes next, when its time has come.
      opening.catch(() => {
        if (this.#opening === opening) this.#opening = undefined
      })
    }
    return this.#opening
  }

  /** A file that was deleted or replaced would go on taking what is written, and nobody would ever find it again. */
  async #leaveReplacedFile(): Promise<void> {
    if (this.#config.kind !== 'sqlite' || this.#config.path === ':memory:' || !this.#file || !this.#opening) return
    const now = systemClock.monotonic()
    if (now - this.#lookedAt < LOOK_EVERY_MS) return
    this.#lookedAt = now
    const held = this.#opening
    if ((await fileIdentity(this.#config.path)) !== this.#file) this.#leave(held)
  }

  #leave(opening: Promise<DatabaseConnection>): void {
    if (this.#opening !== opening) return
    this.#opening = undefined
    this.#file = undefined
    void opening.then((connection) => connection.close()).catch(() => {})
  }

  async #noteFailure(error: HoldfastError, connection: DatabaseConnection | undefined): Promise<void> {
    const couldNotOpen = connection === undefined
    const isTrouble = couldNotOpen || codeOf(error) === 'DATABASE_UNAVAILABLE' || isAboutFile(error)
    if (codeOf(error) === 'CLOSED' || !isTrouble) {
      // It answered, and that is what a probe asks.
      this.#breaker.close()
      return
    }
    this.#lastError = error
    const opening = this.#opening
    if (opening && this.#config.kind === 'sqlite' && this.#config.path !== ':memory:' && isAboutFile(error)) {
      const current = await opening.catch(() => undefined)
      if (current === connection) this.#leave(opening)
    }
    this.#failures++
    if (couldNotOpen || this.#failures >= FAILURES_UNTIL_AWAY || this.#breaker.state === 'half-open') {
      this.#breaker.open(this.#pauseMs)
      this.#pauseMs = Math.min(this.#pauseMs * 2, LONGEST_PAUSE_MS)
    }
  }

  /** What it was refused with last, again, with the wait that is left. */
  #away(): HoldfastError {
    const retryAfterMs = this.#breaker.closedForMs || FIRST_PAUSE_MS
    const { code = 'DATABASE_UNAVAILABLE', message = 'the database is away' } = this.#lastError ?? {}
    if (this.#lastError instanceof ConfigError) return this.#lastError
    return new HoldfastError(code as HoldfastError['code'], message, { retryAfterMs, cause: this.#lastError?.cause })
  }
}
