import type { BotGuild, BotGuildStore, KnownBotGuilds } from '../ledger/bot-guild-store.ts'
import type { Milliseconds } from '../time/clock.ts'
import type { DatabaseConnection } from './connection.ts'
import type { Database } from './database.ts'
import { named, storable } from './membership-sql.ts'

/** A large bot is in a hundred thousand guilds. */
const REPLACE_TIMEOUT_MS: Milliseconds = 60_000

type Row = Record<string, unknown>

/** The guilds of one bot in SQL. */
export class BotGuildRows implements BotGuildStore {
  readonly #database: Database
  readonly #bot: string

  constructor(database: Database, bot: string) {
    this.#database = database
    this.#bot = bot
  }

  read(): Promise<KnownBotGuilds> {
    return this.#database.use((connection) => {
      const { sql } = connection
      return connection.run(async (database) => {
        const guilds =
          await sql<Row>`select cast(guild_id as text) as id, is_in from holdfast_bot_guild where bot = ${this.#bot}`.execute(
            database,
          )
        const synced = await sql<Row>`select synced_at from holdfast_bot where bot = ${this.#bot}`.execute(database)
        return {
          ids: guilds.rows.filter((row) => Number(row.is_in) === 1).map((row) => String(row.id)),
          isKnown: guilds.rows.length + synced.rows.length > 0,
        }
      })
    })
  }

  async change({ id, name }: BotGuild, isIn: boolean, at: Milliseconds): Promise<void> {
    await this.#database.use((connection) => {
      const { sql } = connection
      const guild = this.#table(connection, [{ id, name }])
      return connection.run((database) =>
        sql`insert into holdfast_bot_guild (bot, guild_id, name, is_in, changed_at)
          select ${this.#text(connection)}, n.id, n.name, ${sql.lit(isIn ? 1 : 0)}, ${sql.lit(Math.round(at))} from ${guild} n where true
          on conflict (bot, guild_id) do update set is_in = excluded.is_in, changed_at = excluded.changed_at,
            name = coalesce(excluded.name, holdfast_bot_guild.name)`.execute(database),
      )
    })
  }

  async replace(guilds: readonly BotGuild[], began: Milliseconds): Promise<void> {
    await this.#database.use((connection) => {
      const { sql } = connection
      const at = sql.lit(Math.round(began))
      const table = this.#table(connection, guilds)
      const work = async (database: Parameters<Parameters<DatabaseConnection['transaction']>[0]>[0]) => {
        // First, so that two processes which do this at once do it one after the other.
        await sql`insert into holdfast_bot (bot, synced_at) values (${this.#bot}, ${at})
          on conflict (bot) do update set synced_at = excluded.synced_at`.execute(database)
        await sql`delete from holdfast_bot_guild where bot = ${this.#bot} and changed_at < ${at}
          and guild_id not in (select n.id from ${table} n)`.execute(database)
        await sql`insert into holdfast_bot_guild (bot, guild_id, name, is_in, changed_at)
          select ${this.#text(connection)}, n.id, n.name, 1, ${at} from ${table} n where true order by n.id
          on conflict (bot, guild_id) do update set is_in = 1, changed_at = excluded.changed_at,
            name = coalesce(excluded.name, holdfast_bot_guild.name) where holdfast_bot_guild.changed_at < ${at}`.execute(
          database,
        )
      }
      return connection.transaction(work, { timeoutMs: REPLACE_TIMEOUT_MS, flushed: false })
    })
  }

  /** As a value of a select, PostgreSQL wants to know what a parameter is. */
  #text({ sql }: DatabaseConnection) {
    return sql`cast(${this.#bot} as text)`
  }

  #table({ sql, kind }: DatabaseConnection, guilds: readonly BotGuild[]) {
    return named(
      sql,
      kind,
      guilds.map(({ id, name }) => ({ id, name: name === undefined ? null : storable(name), icon: null })),
    )
  }
}
