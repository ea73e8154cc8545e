import type { Kysely } from 'kysely'
import type { Claim, KeptSession, KeptTokens, SignInStore } from '../sign-in/sign-in-store.ts'
import type { Clock, Milliseconds } from '../time/clock.ts'
import type { DatabaseConnection } from './connection.ts'
import type { Database } from './database.ts'
import type { Tables } from './schema.ts'

/** How often what has ended is cleared away. */
const CLEAR_EVERY_MS: Milliseconds = 10 * 60 * 1000

interface TokenRow {
  readonly row_id: string | null
  readonly version: number
  readonly sealed: Uint8Array
  readonly signed_in_at: number
}

interface SessionRow extends TokenRow {
  readonly user_id: string
  readonly created_at: number
  readonly seen_at: number
}

/** The login's sessions and tokens in SQL. What several processes must agree about at once is told by the database's clock. */
export class SignInRows implements SignInStore {
  readonly #database: Database
  readonly #clock: Clock
  readonly #absoluteMs: Milliseconds
  #clearedAt = Number.NEGATIVE_INFINITY

  /** No session lasts longer than `absoluteMs`. */
  constructor(database: Database, clock: Clock, absoluteMs: Milliseconds) {
    this.#database = database
    this.#clock = clock
    this.#absoluteMs = absoluteMs
  }

  async open(session: KeptSession, tokens: KeptTokens): Promise<void> {
    await this.#together(async (database, { sql }) => {
      // The tokens first: their row is what `end` waits for.
      await sql`insert into holdfast_token (user_id, row_id, version, sealed, signed_in_at)
        values (${tokens.userId}, ${tokens.rowId}, ${tokens.version}, ${Buffer.from(tokens.sealed)}, ${tokens.signedInAt})
        on conflict (user_id) do update set row_id = excluded.row_id, version = excluded.version,
          sealed = excluded.sealed, signed_in_at = excluded.signed_in_at`.execute(database)
      await sql`insert into holdfast_session (id_hash, user_id, created_at, seen_at)
        values (${session.idHash}, ${session.userId}, ${session.createdAt}, ${session.seenAt})`.execute(database)
    })
    await this.#clear()
  }

  find(idHash: string) {
    return this.#one(async (database, { sql }) => {
      const { rows } = await sql<SessionRow>`select s.user_id, s.created_at, s.seen_at,
          t.row_id, t.version, t.sealed, t.signed_in_at
        from holdfast_session s left join holdfast_token t on t.user_id = s.user_id
        where s.id_hash = ${idHash}`.execute(database)
      const [row] = rows
      if (!row) return undefined
      const { user_id: userId, created_at: createdAt, seen_at: seenAt } = row
      return { session: { idHash, userId, createdAt, seenAt }, tokens: tokensOf(userId, row) }
    })
  }

  async touch({ idHash }: KeptSession, seenAt: Milliseconds): Promise<void> {
    await this.#one((database, { sql }) =>
      sql`update holdfast_session set seen_at = ${seenAt} where id_hash = ${idHash}`.execute(database),
    )
  }

  end({ idHash, userId }: KeptSession): Promise<void> {
    return this.#ended(userId, (database, { sql }) =>
      sql`delete from holdfast_session where id_hash = ${idHash}`.execute(database),
    )
  }

  endAll(userId: string, before?: Milliseconds): Promise<void> {
    const until = before ?? Number.MAX_VALUE
    return this.#ended(
      userId,
      (database, { sql }) =>
        sql`delete from holdfast_session where user_id = ${userId} and created_at < ${until}`.execute(database),
      until,
    )
  }

  tokensOf(userId: string): Promise<KeptTokens | undefined> {
    return this.#one(async (database, { sql }) => {
      const { rows } = await sql<TokenRow>`select row_id, version, sealed, signed_in_at
        from holdfast_token where user_id = ${userId}`.execute(database)
      return rows[0] && tokensOf(userId, rows[0])
    })
  }

  replace(tokens: KeptTokens, from: { readonly rowId: string; readonly version: number }): Promise<boolean> {
    return this.#one(async (database, { sql }) => {
      const { rows } = await sql`update holdfast_token
        set sealed = ${Buffer.from(tokens.sealed)}, version = ${tokens.version}
        where user_id = ${tokens.userId} and row_id = ${from.rowId} and version = ${from.version} and row_id = ${tokens.rowId}
        returning user_id`.execute(database)
      return rows.length > 0
    })
  }

  lease(userId: string, holder: string, forMs: Milliseconds): Promise<boolean> {
    return this.#one(async (database, connection) => {
      const { sql } = connection
      const now = nowOf(connection)
      const { rows } = await sql`insert into holdfast_refresh (user_id, holder, until_at)
        values (${userId}, ${holder}, ${now} + ${forMs})
        on conflict (user_id) do update set holder = excluded.holder, until_at = excluded.until_at
          where holdfast_refresh.holder = excluded.holder or holdfast_refresh.until_at < ${now}
        returning user_id`.execute(database)
      return rows.length > 0
    })
  }

  async release(userId: string, holder: string): Promise<void> {
    await this.#one((database, { sql }) =>
      sql`delete from holdfast_refresh where user_id = ${userId} and holder = ${holder}`.execute(database),
    )
  }

  claim(attempt: string, code: string, forMs: Milliseconds): Promise<Claim> {
    return this.#together(async (database, connection): Promise<Claim> => {
      const { sql } = connection
      const now = nowOf(connection)
      const { rows: mine } = await sql`insert into holdfast_attempt (attempt, code, state, until_at)
        values (${attempt}, ${code}, 'pending', ${now} + ${forMs})
        on conflict (attempt) do update set code = excluded.code, state = 'pending', outcome = null, until_at = excluded.until_at
          where holdfast_attempt.until_at < ${now}
        returning attempt`.execute(database)
      if (mine.length > 0) return { kind: 'mine' }
      const { rows } = await sql<{
        code: string
        state: string
        outcome: Uint8Array | null
      }>`select code, state, outcome
        from holdfast_attempt where attempt = ${attempt}`.execute(database)
      const [held] = rows
      if (!held || held.code !== code || held.state === 'failed') return { kind: 'spent' }
      return held.outcome ? { kind: 'done', sealed: held.outcome } : { kind: 'pending' }
    })
  }

  async settle(attempt: string, code: string, outcome: Uint8Array | null, forMs: Milliseconds): Promise<void> {
    await this.#one((database, connection) => {
      const { sql } = connection
      const state = outcome === null ? 'failed' : 'done'
      const bytes = outcome === null ? null : Buffer.from(outcome)
      return sql`update holdfast_attempt set code = ${code}, state = ${state}, outcome = ${bytes},
        until_at = ${nowOf(connection)} + ${forMs} where attempt = ${attempt}`.execute(database)
    })
  }

  /** Ends sessions, and with a user's last one their tokens, if they are from before `before`. */
  #ended(
    userId: string,
    end: (database: Kysely<Tables>, connection: DatabaseConnection) => Promise<unknown>,
    before = Number.MAX_VALUE,
  ): Promise<void> {
    return this.#together(async (database, connection) => {
      const { sql, kind } = connection
      // Whoever is signing this user in has the row; after them, their session is seen.
      if (kind === 'postgres')
        await sql`select user_id from holdfast_token where user_id = ${userId} for update`.execute(database)
      await end(database, connection)
      await sql`delete from holdfast_token where user_id = ${userId} and signed_in_at < ${before}
        and not exists (select 1 from holdfast_session where user_id = ${userId})`.execute(database)
    })
  }

  /** Now and then, what has ended by itself; in a transaction of its own, and whoever fails at it leaves it to the next. */
  async #clear(): Promise<void> {
    const now = this.#clock.now()
    if (now - this.#clearedAt < CLEAR_EVERY_MS) return
    this.#clearedAt = now
    const oldest = now - this.#absoluteMs
    await this.#together(async (database, connection) => {
      const { sql } = connection
      await sql`delete from holdfast_session where created_at <= ${oldest}`.execute(database)
      await sql`delete from holdfast_token where signed_in_at <= ${oldest}
        and not exists (select 1 from holdfast_session s where s.user_id = holdfast_token.user_id)`.execute(database)
      await sql`delete from holdfast_attempt where until_at < ${nowOf(connection)}`.execute(database)
      await sql`delete from holdfast_refresh where until_at < ${nowOf(connection)} - 60000`.execute(database)
    }).catch(() => {})
  }

  #one<T>(work: (database: Kysely<Tables>, connection: DatabaseConnection) => Promise<T>): Promise<T> {
    return this.#database.use((connection) => connection.run((database) => work(database, connection)))
  }

  #together<T>(work: (database: Kysely<Tables>, connection: DatabaseConnection) => Promise<T>): Promise<T> {
    return this.#database.use((connection) => connection.transaction((database) => work(database, connection)))
  }
}

function tokensOf(userId: string, row: TokenRow): KeptTokens | undefined {
  if (row.row_id === null) return undefined
  return {
    userId,
    rowId: row.row_id,
    version: Number(row.version),
    sealed: row.sealed,
    signedInAt: Number(row.signed_in_at),
  }
}

/** The database's own wall clock, epoch milliseconds: processes may disagree by more than a lease lasts. */
function nowOf({ sql, kind }: DatabaseConnection) {
  return kind === 'postgres'
    ? sql.raw<number>('(extract(epoch from clock_timestamp()) * 1000)::double precision')
    : sql.raw<number>("((julianday('now') - 2440587.5) * 86400000.0)")
}
