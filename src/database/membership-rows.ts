import type { Kysely } from 'kysely'
import type { laterFetch } from '../ledger/later-fetch.ts'
import type {
  AnsweredFetch,
  GuildCount,
  KeptGuild,
  LedgerSummary,
  Look,
  MembershipStore,
  Recalled,
} from '../ledger/membership-store.ts'
import type { Clock, Milliseconds } from '../time/clock.ts'
import type { DatabaseConnection } from './connection.ts'
import type { Database } from './database.ts'
import { guildsInText } from './guild-rows.ts'
import { LedgerTime } from './ledger-time.ts'
import { numbers, whole } from './membership-sql.ts'
import { MembershipWrites } from './membership-writes.ts'
import type { Tables } from './schema.ts'

/** Counting everything takes longer than looking one user up. */
const COUNT_TIMEOUT_MS: Milliseconds = 60_000
/** Longer than any fetch is under way, so that no late answer brings back who was forgotten. */
const FORGOTTEN_MS: Milliseconds = 60 * 60 * 1000
const PRUNED_AT_ONCE = 500
const DAY_MS: Milliseconds = 24 * 60 * 60 * 1000

/** What may be lost with the machine: another fetch brings it again. */
const LOSABLE = { flushed: false } as const
type Row = Record<string, unknown>

/** The ledger's rows in SQL, several users a statement. */
export class MembershipRows implements MembershipStore {
  readonly #database: Database
  readonly #clock: Clock
  readonly #time: LedgerTime
  readonly #writes: MembershipWrites
  #turn = 0
  /** The ledger's clock minus our monotonic one, when `#turn` was seen. */
  #seenOffsetMs: Milliseconds
  /** Whether that clock is the database's, of which we know no more than we have seen. */
  #isTheirs = false

  constructor(database: Database, clock: Clock) {
    this.#database = database
    this.#clock = clock
    this.#seenOffsetMs = clock.now() - clock.monotonic()
    this.#time = new LedgerTime(clock)
    this.#writes = new MembershipWrites(clock, this.#time)
  }

  look(): Look {
    const clock = this.#clock
    const offsetMs = this.#isTheirs ? this.#seenOffsetMs : clock.now() - clock.monotonic()
    return { turn: this.#turn, offsetsMs: [this.#seenOffsetMs, offsetMs] }
  }

  open(): Promise<void> {
    return this.#database.use(async (connection) => {
      await this.#ask(
        connection,
        connection.sql`select ${this.#time.now(connection)} as now, ${this.#lastTurn(connection)} as turn`,
      ).then(([row]) => this.#saw(connection, row!))
    })
  }

  async save(fetches: readonly AnsweredFetch[], judge: typeof laterFetch): Promise<void> {
    await this.#database.use(async (connection) => {
      this.#saw(connection, await this.#writes.save(connection, fetches, judge))
    })
  }

  recall(userId: string, timeoutMs?: Milliseconds): Promise<Recalled | undefined> {
    return this.#database.use(async (connection) => {
      const { sql, kind } = connection
      const guilds =
        kind === 'postgres'
          ? // The names guild by guild, because joined the planner might read all guilds there are; limited, because it takes
            // a large table that it knows nothing of for one that is worth compiling the plan for. One text a column takes
            // half as long to make as one a row.
            sql`(select json_build_array(string_agg(m.guild_id::text, ','), string_agg(m.standing::text, ','), json_agg(g.name), json_agg(g.icon))::text
              from (select guild_id, standing from holdfast_membership where user_no = u.no order by guild_id limit 1000) m
              left join lateral (select name, icon from holdfast_guild where id = m.guild_id limit 1) g on true)`
          : sql`(select json_array(group_concat(m.guild_id), group_concat(m.standing), json_group_array(g.name), json_group_array(g.icon))
              from (select guild_id, standing from holdfast_membership where user_no = u.no order by guild_id) m
              left join holdfast_guild g on g.id = m.guild_id)`
      const query = sql`select u.sent_at, ${this.#time.now(connection)} as now, ${this.#lastTurn(connection)} as turn, ${guilds} as guilds
        from holdfast_user u where u.user_id = ${whole(connection, userId)} and u.turn > 0 and u.forgotten = 0`
      const [row] = await this.#ask(connection, query, timeoutMs)
      if (!row) return undefined
      this.#saw(connection, row)
      return { sentAt: Number(row.sent_at), now: this.#time.of(row), guilds: this.#guildsOf(row.guilds) }
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
          join holdfast_user u on u.no = m.user_no and u.forgotten = 0 and u.sent_at >= ${this.#time.before(connection, verifiedWithinMs)}
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
      const days = sql`(${this.#time.now(connection)} - sent_at) / ${sql.lit(DAY_MS)}`
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
          await sql<Row>`update holdfast_user set due_after = ${this.#time.now(connection)} + ${whole(connection, forMs)}
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
      const until = forMs > 0 ? sql`${this.#time.now(connection)} + ${whole(connection, forMs)}` : sql`0`
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
          where (forgotten = 1 and sent_at < ${this.#time.before(connection, FORGOTTEN_MS)}) or sent_at < ${this.#time.before(connection, keepMs)} and turn > 0
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

  async #ask(
    connection: DatabaseConnection,
    query: ReturnType<DatabaseConnection['sql']>,
    timeoutMs?: Milliseconds,
  ): Promise<Row[]> {
    const work = async (database: Kysely<Tables>) => (await query.execute(database)).rows as Row[]
    return connection.run(work, timeoutMs === undefined ? {} : { timeoutMs })
  }

  #guildsOf(text: unknown): KeptGuild[] {
    const guilds = guildsInText(text)
    // Its row is gone, for example with an older backup: the next list that has it writes it again.
    if (guilds.some(({ name }) => name === null)) this.#writes.forgetNames()
    return guilds.map((guild) => ({ ...guild, name: guild.name ?? '' }))
  }

  #isDue(connection: DatabaseConnection, olderThanMs: Milliseconds) {
    const { sql } = connection
    return sql`turn > 0 and forgotten = 0 and sent_at <= ${this.#time.before(connection, olderThanMs)} and due_after <= ${this.#time.now(connection)}`
  }

  #lastTurn({ sql, kind }: DatabaseConnection) {
    return kind === 'postgres'
      ? sql`(select case when is_called then last_value else 0 end from holdfast_turn)`
      : sql`(select turn from holdfast_turn)`
  }

  #saw(connection: DatabaseConnection, row: { readonly turn?: unknown; readonly now?: unknown }): void {
    this.#turn = Number(row.turn)
    this.#isTheirs = this.#time.isTheirs(connection)
    const now = this.#isTheirs ? this.#time.of(row) : this.#clock.now()
    this.#seenOffsetMs = now - this.#clock.monotonic()
  }
}
