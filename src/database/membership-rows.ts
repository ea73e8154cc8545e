import type { Kysely } from 'kysely'
import { RecentlyUsed } from '../collections/recently-used.ts'
import type { laterFetch, StandingFetch } from '../ledger/later-fetch.ts'
import type {
  AnsweredFetch,
  GuildCount,
  KeptGuild,
  LedgerSummary,
  Look,
  MembershipStore,
  Recalled,
} from '../ledger/membership-store.ts'
import { randomId } from '../secrets/key-ring.ts'
import { type Clock, type Milliseconds, systemClock } from '../time/clock.ts'
import type { DatabaseConnection } from './connection.ts'
import type { Database } from './database.ts'
import { guildRows } from './guild-rows.ts'
import { type NamedRow, named, numberRows, numbers, storable } from './membership-sql.ts'
import type { Tables } from './schema.ts'

/** A batch may be slow without being given up; nobody waits for it. */
const SAVE_TIMEOUT_MS: Milliseconds = 30_000
/** Counting everything takes longer than looking one user up. */
const COUNT_TIMEOUT_MS: Milliseconds = 60_000
/** Longer than any fetch is under way, so that no late answer brings back who was forgotten. */
const FORGOTTEN_MS: Milliseconds = 60 * 60 * 1000
const PRUNED_AT_ONCE = 500
/** Guilds whose name and icon are known to stand in the database already. */
const KNOWN_GUILDS = 50_000
const DAY_MS: Milliseconds = 24 * 60 * 60 * 1000

/** What may be lost with the machine: another fetch brings it again. */
const LOSABLE = { flushed: false } as const
const MEMBERSHIP = { no: 'bigint', guild_id: 'bigint', standing: 'bigint' } as const
/** What becomes of a user's row when a fetch is saved. */
const SETTLED = { no: 'bigint', sent_at: 'bigint', writer_ms: 'double precision', forgotten: 'smallint' } as const

type InTransaction = { readonly connection: DatabaseConnection; readonly database: Kysely<Tables> }
type Row = Record<string, unknown>

interface UserRow extends StandingFetch {
  readonly no: number
  readonly userId: string
}

/** The ledger's rows in SQL, several users a statement. */
export class MembershipRows implements MembershipStore {
  readonly #database: Database
  readonly #clock: Clock
  readonly #writer = randomId()
  /** Name and icon by guild id, as they were last written. */
  readonly #knownGuilds = new RecentlyUsed<string, string>(KNOWN_GUILDS)
  #look: Look

  constructor(database: Database, clock: Clock) {
    this.#database = database
    this.#clock = clock
    this.#look = { turn: 0, offsetMs: clock.now() - clock.monotonic() }
  }

  look(): Look {
    return this.#look
  }

  open(): Promise<void> {
    return this.#database.use(async (connection) => {
      await this.#ask(
        connection,
        connection.sql`select ${this.#now(connection)} as now, ${this.#lastTurn(connection)} as turn`,
      ).then(([row]) => this.#saw(row!))
    })
  }

  async save(fetches: readonly AnsweredFetch[], judge: typeof laterFetch): Promise<void> {
    await this.#database.use(async (connection) => {
      // Both before the transaction, each a statement of its own that takes its locks in the order of the ids: together
      // with the users' rows, which the transaction locks in that order too, no two processes can wait for each other.
      await this.#nameGuilds(connection, fetches)
      await this.#addUsers(connection, fetches)
      await connection.transaction((database) => this.#save({ connection, database }, fetches, judge), {
        timeoutMs: SAVE_TIMEOUT_MS,
        flushed: false,
      })
    })
  }

  recall(userId: string, timeoutMs?: Milliseconds): Promise<Recalled | undefined> {
    return this.#database.use(async (connection) => {
      const { sql, kind } = connection
      const guilds =
        kind === 'postgres'
          ? // The names one by one, because joined the planner might read all guilds there are; limited, because it takes a
            // large table that it knows nothing of for one that is worth compiling the plan for.
            sql`(select json_agg(json_build_array(m.guild_id::text, m.standing::text,
              (select g.name from holdfast_guild g where g.id = m.guild_id),
              (select g.icon from holdfast_guild g where g.id = m.guild_id)) order by m.guild_id)::text
              from (select guild_id, standing from holdfast_membership where user_no = u.no limit 1000) m)`
          : sql`(select json_group_array(json_array(cast(m.guild_id as text), cast(m.standing as text), g.name, g.icon) order by m.guild_id)
              from holdfast_membership m left join holdfast_guild g on g.id = m.guild_id where m.user_no = u.no)`
      const query = sql`select u.sent_at, ${this.#now(connection)} as now, ${this.#lastTurn(connection)} as turn, ${guilds} as guilds
        from holdfast_user u where u.user_id = ${this.#number(connection, userId)} and u.turn > 0 and u.forgotten = 0`
      const [row] = await this.#ask(connection, query, timeoutMs)
      if (!row) return undefined
      this.#saw(row)
      return { sentAt: Number(row.sent_at), now: this.#nowOf(row), guilds: this.#guildsOf(row.guilds) }
    })
  }

  usersPerGuild({
    limit,
    verifiedWithinMs,
  }: GuildCount): Promise<Array<{ guildId: string; name: string; users: number }>> {
    return this.#database.use(async (connection) => {
      const { sql } = connection
      const query = sql`select cast(c.guild_id as text) as guild_id, g.name, c.users from (
          select m.guild_id, count(*) as users from holdfast_membership m
          join holdfast_user u on u.no = m.user_no and u.forgotten = 0 and u.sent_at >= ${this.#before(connection, verifiedWithinMs)}
          group by m.guild_id order by count(*) desc, m.guild_id limit ${sql.lit(limit)}
        ) c left join holdfast_guild g on g.id = c.guild_id order by c.users desc, c.guild_id`
      const rows = await this.#ask(connection, query, COUNT_TIMEOUT_MS)
      return rows.map(({ guild_id, name, users }) => ({
        guildId: String(guild_id),
        name: typeof name === 'string' ? name : '',
        users: Number(users),
      }))
    })
  }

  summary(): Promise<LedgerSummary> {
    return this.#database.use(async (connection) => {
      const { sql } = connection
      const count = async (table: string) => {
        const [row] = await this.#ask(connection, sql`select count(*) as n from ${sql.table(table)}`, COUNT_TIMEOUT_MS)
        return Number(row!.n)
      }
      const days = sql`(${this.#now(connection)} - sent_at) / ${sql.lit(DAY_MS)}`
      const ages = await this.#ask(
        connection,
        sql`select ${days} as days, count(*) as users from holdfast_user where turn > 0 and forgotten = 0 group by 1 order by 1`,
        COUNT_TIMEOUT_MS,
      )
      const byDay = ages.map((row) => ({ days: Math.max(0, Number(row.days)), users: Number(row.users) }))
      return {
        users: byDay.reduce((sum, { users }) => sum + users, 0),
        memberships: await count('holdfast_membership'),
        guilds: await count('holdfast_guild'),
        ages: byDay,
      }
    })
  }

  countDue(olderThanMs: Milliseconds): Promise<number> {
    return this.#database.use(async (connection) => {
      const query = connection.sql`select count(*) as n from holdfast_user where ${this.#isDue(connection, olderThanMs)}`
      const [row] = await this.#ask(connection, query, COUNT_TIMEOUT_MS)
      return Number(row!.n)
    })
  }

  claimDue(olderThanMs: Milliseconds, limit: number, forMs: Milliseconds): Promise<string[]> {
    return this.#database.use((connection) =>
      connection.transaction(async (database) => {
        const { sql, kind } = connection
        const result =
          await sql<Row>`update holdfast_user set due_after = ${this.#now(connection)} + ${this.#number(connection, forMs)}
          where no in (
            select no from holdfast_user where ${this.#isDue(connection, olderThanMs)} order by sent_at limit ${sql.lit(limit)}
            ${sql.raw(kind === 'postgres' ? 'for update skip locked' : '')}
          ) returning cast(user_id as text) as user_id, sent_at`.execute(database)
        // What an update returns is in no order.
        const oldestFirst = result.rows.sort((one, other) => Number(one.sent_at) - Number(other.sent_at))
        return oldestFirst.map((row) => String(row.user_id))
      }, LOSABLE),
    )
  }

  async putOff(userIds: readonly string[], forMs: Milliseconds): Promise<void> {
    if (userIds.length === 0) return
    await this.#database.use((connection) => {
      const { sql, kind } = connection
      const until = forMs > 0 ? sql`${this.#now(connection)} + ${this.#number(connection, forMs)}` : sql`0`
      const lock = sql.raw(kind === 'postgres' ? 'order by user_id for update' : '')
      return connection.transaction(
        (database) =>
          sql`update holdfast_user set due_after = ${until} where no in
          (select no from holdfast_user where user_id in ${numbers(sql, kind, userIds)} ${lock})`.execute(database),
        LOSABLE,
      )
    })
  }

  prune(keepMs: Milliseconds): Promise<number> {
    return this.#database.use((connection) =>
      connection.transaction(async (database) => {
        const { sql, kind } = connection
        const old = await sql<Row>`select no from holdfast_user
          where (forgotten = 1 and sent_at < ${this.#before(connection, FORGOTTEN_MS)}) or sent_at < ${this.#before(connection, keepMs)} and turn > 0
          order by sent_at limit ${sql.lit(PRUNED_AT_ONCE)} ${sql.raw(kind === 'postgres' ? 'for update skip locked' : '')}`.execute(
          database,
        )
        const found = old.rows.map((row) => Number(row.no))
        if (found.length === 0) return 0
        for (const [table, column] of [
          ['holdfast_membership', 'user_no'],
          ['holdfast_user', 'no'],
        ] as const)
          await sql`delete from ${sql.table(table)} where ${sql.ref(column)} in ${numbers(sql, kind, found)}`.execute(
            database,
          )
        return found.length
      }, LOSABLE),
    )
  }

  async #save(
    { connection, database }: InTransaction,
    fetches: readonly AnsweredFetch[],
    judge: typeof laterFetch,
  ): Promise<void> {
    const { sql, kind } = connection
    const { turn, now } = await this.#takeTurn({ connection, database })
    const offsetMs = now - this.#clock.monotonic()
    const rows = await this.#lockUsers({ connection, database }, fetches)
    const kept: Array<{ row: UserRow; answered: AnsweredFetch; guilds: readonly KeptGuild[] | null }> = []
    for (const answered of fetches) {
      const row = rows.get(answered.userId)
      // Deleted since it was added a moment ago; its fetch is among those of the next one.
      if (!row) continue
      const later = judge(
        row,
        {
          sentAt: offsetMs + answered.sentMs,
          writer: this.#writer,
          writerMs: answered.sentMs,
          seenTurn: answered.look.turn,
          driftMs: offsetMs - answered.look.offsetMs,
        },
        now,
      )
      if (later !== 'standing') kept.push({ row, answered, guilds: later === 'unknown' ? null : answered.guilds })
    }
    if (kept.length > 0) {
      const settled = kept.map(({ row, answered, guilds }) => ({
        no: row.no,
        sent_at: Math.round(offsetMs + answered.sentMs),
        writer_ms: answered.sentMs,
        forgotten: guilds ? 0 : 1,
      }))
      await sql`update holdfast_user set sent_at = n.sent_at, writer_ms = n.writer_ms, forgotten = n.forgotten,
        saved_at = ${this.#number(connection, now)}, turn = ${this.#number(connection, turn)}, writer = ${this.#writer}
        from ${numberRows(sql, kind, SETTLED, settled)} n where holdfast_user.no = n.no`.execute(database)
    }
    const rowsOf = (isNew: boolean) =>
      kept
        .filter(({ row }) => (row.turn === 0) === isNew)
        .flatMap(({ row, guilds }) =>
          (guilds ?? []).map(({ id, standing }) => ({ no: row.no, guild_id: id, standing })),
        )
    // A user who was never saved has no rows that these could meet.
    const firsts = rowsOf(true)
    if (firsts.length > 0)
      await sql`insert into holdfast_membership (user_no, guild_id, standing)
        select n.no, n.guild_id, n.standing from ${numberRows(sql, kind, MEMBERSHIP, firsts)} n
        order by n.no, n.guild_id`.execute(database)
    const list = rowsOf(false)
    if (list.length > 0)
      await sql`insert into holdfast_membership (user_no, guild_id, standing)
        select n.no, n.guild_id, n.standing from ${numberRows(sql, kind, MEMBERSHIP, list)} n
        left join holdfast_membership m on m.user_no = n.no and m.guild_id = n.guild_id
        where m.standing is null or m.standing <> n.standing order by n.no, n.guild_id
        on conflict (user_no, guild_id) do update set standing = excluded.standing`.execute(database)
    await this.#removeLeft(
      { connection, database },
      kept.filter(({ row }) => row.turn > 0).map(({ row, guilds }) => ({ no: row.no, guilds: guilds ?? [] })),
    )
    this.#look = { turn, offsetMs }
  }

  /** Deletes the memberships that a user's new list lacks. Few users have left a guild since the last one: counting tells which. */
  async #removeLeft(
    { connection, database }: InTransaction,
    users: ReadonlyArray<{ readonly no: number; readonly guilds: readonly KeptGuild[] }>,
  ): Promise<void> {
    if (users.length === 0) return
    const { sql, kind } = connection
    const all = numbers(
      sql,
      kind,
      users.map(({ no }) => no),
    )
    const counted =
      await sql<Row>`select user_no, count(*) as n from holdfast_membership where user_no in ${all} group by user_no`.execute(
        database,
      )
    const held = new Map(counted.rows.map((row) => [Number(row.user_no), Number(row.n)]))
    for (const { no, guilds } of users) {
      if ((held.get(no) ?? 0) === guilds.length) continue
      const ids = numbers(
        sql,
        kind,
        guilds.map(({ id }) => id),
      )
      await sql`delete from holdfast_membership where user_no = ${no} and guild_id not in ${ids}`.execute(database)
    }
  }

  async #takeTurn({ connection, database }: InTransaction): Promise<{ turn: number; now: Milliseconds }> {
    const { sql, kind } = connection
    const query =
      kind === 'postgres'
        ? sql<Row>`select nextval('holdfast_turn') as turn, ${this.#now(connection)} as now`
        : sql<Row>`update holdfast_turn set turn = turn + 1 where only = 1 returning turn`
    const row = (await query.execute(database)).rows[0]!
    return { turn: Number(row.turn), now: this.#nowOf(row) }
  }

  async #lockUsers(
    { connection, database }: InTransaction,
    fetches: readonly AnsweredFetch[],
  ): Promise<Map<string, UserRow>> {
    const { sql, kind } = connection
    const ids = numbers(
      sql,
      kind,
      fetches.map(({ userId }) => userId),
    )
    const { rows } =
      await sql<Row>`select no, cast(user_id as text) as user_id, sent_at, saved_at, turn, writer, writer_ms
      from holdfast_user where user_id in ${ids} order by user_id ${sql.raw(kind === 'postgres' ? 'for update' : '')}`.execute(
        database,
      )
    return new Map(
      rows.map((row) => {
        const userId = String(row.user_id)
        return [
          userId,
          {
            userId,
            no: Number(row.no),
            sentAt: Number(row.sent_at),
            savedAt: Number(row.saved_at),
            turn: Number(row.turn),
            writer: String(row.writer),
            writerMs: Number(row.writer_ms),
          },
        ]
      }),
    )
  }

  async #addUsers(connection: DatabaseConnection, fetches: readonly AnsweredFetch[]): Promise<void> {
    const { sql, kind } = connection
    const ids = numbers(
      sql,
      kind,
      fetches.map(({ userId }) => userId),
    )
    await this.#write(
      connection,
      sql`insert into holdfast_user (user_id) select n.value from ${ids} n
        where not exists (select 1 from holdfast_user u where u.user_id = n.value) order by n.value
        on conflict (user_id) do nothing`,
    )
  }

  async #nameGuilds(connection: DatabaseConnection, fetches: readonly AnsweredFetch[]): Promise<void> {
    const { sql, kind } = connection
    const unknown = new Map<string, NamedRow & { readonly text: string }>()
    for (const { guilds } of fetches)
      for (const { id, name, icon } of guilds ?? []) {
        const text = `${name}\n${icon ?? ''}`
        if (this.#knownGuilds.get(id) !== text)
          unknown.set(id, { id, name: storable(name), icon: icon === null ? null : storable(icon), text })
      }
    if (unknown.size === 0) return
    await this.#write(
      connection,
      sql`insert into holdfast_guild (id, name, icon) select n.id, n.name, n.icon from ${named(sql, kind, [...unknown.values()])} n
        left join holdfast_guild g on g.id = n.id
        where g.name is null or g.name <> n.name or coalesce(g.icon, '') <> coalesce(n.icon, '') order by n.id
        on conflict (id) do update set name = excluded.name, icon = excluded.icon`,
    )
    for (const [id, { text }] of unknown) this.#knownGuilds.set(id, text)
  }

  /** One statement that may be lost with the machine. */
  async #write(connection: DatabaseConnection, query: ReturnType<DatabaseConnection['sql']>): Promise<void> {
    await connection.transaction((database) => query.execute(database), { timeoutMs: SAVE_TIMEOUT_MS, flushed: false })
  }

  async #ask(
    connection: DatabaseConnection,
    query: ReturnType<DatabaseConnection['sql']>,
    timeoutMs?: Milliseconds,
  ): Promise<Row[]> {
    const work = async (database: Kysely<Tables>) => (await query.execute(database)).rows as Row[]
    return connection.run(work, timeoutMs === undefined ? {} : { timeoutMs })
  }

  #guildsOf(text: unknown): KeptGuild[] {
    return guildRows(text).map(([id, standing, name, icon]) => {
      // Its row is gone, for example with an older backup: the next list that has it writes it again.
      if (name === null) this.#knownGuilds.clear()
      return { id, standing, name: name ?? '', icon }
    })
  }

  #isDue(connection: DatabaseConnection, olderThanMs: Milliseconds) {
    const { sql } = connection
    return sql`turn > 0 and forgotten = 0 and sent_at <= ${this.#before(connection, olderThanMs)} and due_after <= ${this.#now(connection)}`
  }

  /** Several processes of one database share its clock, if all of them live in real time; else each has its own. */
  #hasOwnTime(connection: DatabaseConnection): boolean {
    return connection.kind === 'postgres' && this.#clock === systemClock
  }

  #now(connection: DatabaseConnection) {
    const { sql } = connection
    return this.#hasOwnTime(connection)
      ? sql`(extract(epoch from clock_timestamp()) * 1000)::bigint`
      : this.#number(connection, this.#clock.now())
  }

  /** A whole number as a parameter; SQLite is given all numbers as floating ones. */
  #number({ sql, kind }: DatabaseConnection, value: number | string) {
    const whole = typeof value === 'number' ? Math.round(value) : value
    return kind === 'postgres' ? sql`${whole}::bigint` : sql`cast(${whole} as integer)`
  }

  #nowOf(row: Row): Milliseconds {
    return row.now === undefined ? this.#clock.now() : Number(row.now)
  }

  /** The moment so long ago. */
  #before(connection: DatabaseConnection, ms: Milliseconds) {
    const { sql } = connection
    return sql`(${this.#now(connection)} - ${this.#number(connection, ms)})`
  }

  #lastTurn({ sql, kind }: DatabaseConnection) {
    return kind === 'postgres'
      ? sql`(select case when is_called then last_value else 0 end from holdfast_turn)`
      : sql`(select turn from holdfast_turn)`
  }

  #saw(row: Row): void {
    this.#look = { turn: Number(row.turn), offsetMs: this.#nowOf(row) - this.#clock.monotonic() }
  }
}
