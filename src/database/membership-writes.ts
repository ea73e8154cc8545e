import type { Kysely } from 'kysely'
import { RecentlyUsed } from '../collections/recently-used.ts'
import type { laterFetch, StandingFetch } from '../ledger/later-fetch.ts'
import type { AnsweredFetch, KeptGuild } from '../ledger/membership-store.ts'
import { fingerprint, randomId } from '../secrets/key-ring.ts'
import type { Clock, Milliseconds } from '../time/clock.ts'
import type { DatabaseConnection } from './connection.ts'
import type { LedgerTime } from './ledger-time.ts'
import { named, numberRows, numbers, storable, whole } from './membership-sql.ts'
import type { Tables } from './schema.ts'

/** A batch may be slow without being given up; nobody waits for it. Another fetch brings again what is lost with the machine. */
const BATCH = { timeoutMs: 30_000, flushed: false } as const
/** Guilds whose name and icon, and users whose row, are known to stand in the database already. */
const KNOWN = 50_000
const MEMBERSHIP = { no: 'bigint', guild_id: 'bigint', standing: 'bigint' } as const
/** What becomes of a user's row when a fetch is saved. */
const SETTLED = {
  no: 'bigint',
  sent_at: 'bigint',
  writer_ms: 'double precision',
  drift_ms: 'double precision',
  list_hash: 'bigint',
  forgotten: 'smallint',
} as const
/** Of a user without memberships. */
const NO_LIST = '0'

type InTransaction = { readonly connection: DatabaseConnection; readonly database: Kysely<Tables> }
type Row = Record<string, unknown>

interface UserRow extends StandingFetch {
  readonly no: number
  readonly listHash: string
}

/** A user whose fetch stands from now on; `guilds` null where they are forgotten. */
interface Settled {
  readonly row: UserRow
  readonly sentMs: Milliseconds
  readonly driftMs: Milliseconds
  readonly guilds: readonly KeptGuild[] | null
  readonly listHash: string
}

/** The turn and the time of a write. */
interface Moment {
  readonly turn: number
  readonly now: Milliseconds
}

interface Saved {
  readonly moment: Moment
  /** The fetches of users who have no row. */
  readonly missing: readonly AnsweredFetch[]
}

/**
 * Answered fetches on their way into the ledger's rows: many users a transaction, each with few statements, and nothing
 * written of a list that did not change.
 */
export class MembershipWrites {
  readonly #clock: Clock
  readonly #time: LedgerTime
  readonly #writer = randomId()
  /** Name and icon by guild id, as they were last written. */
  readonly #knownGuilds = new RecentlyUsed<string, Omit<KeptGuild, 'standing'>>(KNOWN)
  readonly #knownUsers = new RecentlyUsed<string, true>(KNOWN)

  constructor(clock: Clock, time: LedgerTime) {
    this.#clock = clock
    this.#time = time
  }

  /** As `MembershipStore.save`; resolves to when that was. */
  async save(
    connection: DatabaseConnection,
    fetches: readonly AnsweredFetch[],
    judge: typeof laterFetch,
  ): Promise<Moment> {
    const { moment, missing } = await this.#saveKnown(connection, fetches, judge)
    if (missing.length === 0) return moment
    // They were deleted since this process added them.
    for (const { userId } of missing) this.#knownUsers.delete(userId)
    return (await this.#saveKnown(connection, missing, judge)).moment
  }

  /** Names and icons are written again with the next lists, whatever was written before. */
  forgetNames(): void {
    this.#knownGuilds.clear()
  }

  async #saveKnown(
    connection: DatabaseConnection,
    fetches: readonly AnsweredFetch[],
    judge: typeof laterFetch,
  ): Promise<Saved> {
    // Before the other transaction, and in the order of the ids: together with the users' rows, which that one locks in
    // the same order, no two processes can wait for each other.
    await this.#addUnknown(connection, fetches)
    return connection.transaction((database) => this.#save({ connection, database }, fetches, judge), BATCH)
  }

  async #save(
    { connection, database }: InTransaction,
    fetches: readonly AnsweredFetch[],
    judge: typeof laterFetch,
  ): Promise<Saved> {
    const { turn, now } = await this.#takeTurn({ connection, database })
    const offsetMs = now - this.#clock.monotonic()
    const rows = await this.#lockUsers({ connection, database }, fetches)
    const settled: Settled[] = []
    const missing: AnsweredFetch[] = []
    for (const answered of fetches) {
      const { userId, sentMs, look } = answered
      const row = rows.get(userId)
      if (!row) {
        missing.push(answered)
        continue
      }
      const sentAt = offsetMs + sentMs
      // A step before it was sent, too: what was saved since that turn was saved by a clock that stood elsewhere.
      const driftMs = furthest(look.offsetsMs.map((before) => offsetMs - before))
      const arriving = { sentAt, writer: this.#writer, writerMs: sentMs, seenTurn: look.turn, driftMs }
      const later = judge(row, arriving, now)
      if (later === 'standing') continue
      const { guilds } = answered
      if (later === 'arriving')
        settled.push({ row, sentMs, driftMs, guilds, listHash: guilds ? listHash(guilds) : NO_LIST })
      // Forgotten as of now, which is later than either: what was asked before now might be older than the one that stood.
      // When now is, is in doubt as much as they were.
      else {
        const sentMs = this.#clock.monotonic()
        settled.push({ row, sentMs, driftMs: furthest([driftMs, row.driftMs]), guilds: null, listHash: NO_LIST })
      }
    }
    if (settled.length > 0) {
      await this.#settle({ connection, database }, settled, { turn, now, offsetMs })
      await this.#keepLists({ connection, database }, settled)
    }
    return { moment: { turn, now }, missing }
  }

  async #settle(
    { connection, database }: InTransaction,
    settled: readonly Settled[],
    { turn, now, offsetMs }: Moment & { readonly offsetMs: Milliseconds },
  ): Promise<void> {
    const { sql, kind } = connection
    const columns = {
      no: settled.map(({ row }) => row.no),
      sent_at: settled.map(({ sentMs }) => Math.round(offsetMs + sentMs)),
      writer_ms: settled.map(({ sentMs }) => sentMs),
      drift_ms: settled.map(({ driftMs }) => driftMs),
      list_hash: settled.map(({ listHash }) => listHash),
      forgotten: settled.map(({ guilds }) => (guilds ? 0 : 1)),
    }
    await sql`update holdfast_user set sent_at = n.sent_at, writer_ms = n.writer_ms, drift_ms = n.drift_ms, list_hash = n.list_hash, forgotten = n.forgotten,
      saved_at = ${whole(connection, now)}, turn = ${whole(connection, turn)}, writer = ${this.#writer}
      from ${numberRows(sql, kind, SETTLED, columns)} n where holdfast_user.no = n.no`.execute(database)
  }

  /** Writes the memberships that changed, and deletes those that a list has no more. */
  async #keepLists({ connection, database }: InTransaction, settled: readonly Settled[]): Promise<void> {
    const { sql, kind } = connection
    const changed = settled.filter(({ row, listHash }) => listHash !== row.listHash)
    // A user without a list has no rows that these could meet.
    const firsts = changed.filter(({ row }) => row.listHash === NO_LIST)
    if (firsts.some(hasGuilds))
      await sql`insert into holdfast_membership (user_no, guild_id, standing)
        select n.no, n.guild_id, n.standing from ${numberRows(sql, kind, MEMBERSHIP, membershipsOf(firsts))} n
        order by n.no, n.guild_id`.execute(database)
    const others = changed.filter(({ row }) => row.listHash !== NO_LIST)
    if (others.length === 0) return
    const list = numberRows(sql, kind, MEMBERSHIP, membershipsOf(others))
    if (others.some(hasGuilds))
      await sql`insert into holdfast_membership (user_no, guild_id, standing)
        select n.no, n.guild_id, n.standing from ${list} n
        left join holdfast_membership m on m.user_no = n.no and m.guild_id = n.guild_id
        where m.standing is null or m.standing <> n.standing order by n.no, n.guild_id
        on conflict (user_no, guild_id) do update set standing = excluded.standing`.execute(database)
    const all = others.map(({ row }) => row.no)
    await sql`delete from holdfast_membership where user_no in ${numbers(sql, kind, all)}
      and (user_no, guild_id) not in (select n.no, n.guild_id from ${list} n)`.execute(database)
  }

  async #takeTurn({ connection, database }: InTransaction): Promise<Moment> {
    const { sql, kind } = connection
    const query =
      kind === 'postgres'
        ? sql<Row>`select nextval('holdfast_turn') as turn, ${this.#time.now(connection)} as now`
        : sql<Row>`update holdfast_turn set turn = turn + 1 where only = 1 returning turn`
    const row = (await query.execute(database)).rows[0]!
    return { turn: Number(row.turn), now: this.#time.of(row) }
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
      await sql<Row>`select no, cast(user_id as text) as user_id, sent_at, saved_at, turn, writer, writer_ms, drift_ms, cast(list_hash as text) as list_hash
      from holdfast_user where user_id in ${ids} order by user_id ${sql.raw(kind === 'postgres' ? 'for update' : '')}`.execute(
        database,
      )
    return new Map(
      rows.map((row) => [
        String(row.user_id),
        {
          no: Number(row.no),
          sentAt: Number(row.sent_at),
          savedAt: Number(row.saved_at),
          turn: Number(row.turn),
          writer: String(row.writer),
          writerMs: Number(row.writer_ms),
          driftMs: Number(row.drift_ms),
          listHash: String(row.list_hash),
        },
      ]),
    )
  }

  /** Rows for guilds and users that are not known to have one, or (guilds) another name or icon. */
  async #addUnknown(connection: DatabaseConnection, fetches: readonly AnsweredFetch[]): Promise<void> {
    const { sql, kind } = connection
    const guilds = new Map<string, KeptGuild>()
    for (const fetch of fetches)
      for (const guild of fetch.guilds ?? []) {
        const known = this.#knownGuilds.get(guild.id)
        if (known?.name !== guild.name || known.icon !== guild.icon) guilds.set(guild.id, guild)
      }
    const users = fetches.filter(({ userId }) => !this.#knownUsers.has(userId)).map(({ userId }) => userId)
    if (guilds.size + users.length === 0) return
    const rows = [...guilds.values()].map(({ id, name, icon }) => ({
      id,
      name: storable(name),
      icon: icon === null ? null : storable(icon),
    }))
    const add = async (database: Kysely<Tables>) => {
      if (rows.length > 0)
        await sql`insert into holdfast_guild (id, name, icon) select n.id, n.name, n.icon from ${named(sql, kind, rows)} n
          left join holdfast_guild g on g.id = n.id
          where g.name is null or g.name <> n.name or coalesce(g.icon, '') <> coalesce(n.icon, '') order by n.id
          on conflict (id) do update set name = excluded.name, icon = excluded.icon`.execute(database)
      if (users.length > 0)
        await sql`insert into holdfast_user (user_id) select n.value from ${numbers(sql, kind, users)} n
          where not exists (select 1 from holdfast_user u where u.user_id = n.value) order by n.value
          on conflict (user_id) do nothing`.execute(database)
    }
    await connection.transaction(add, BATCH)
    for (const { id, name, icon } of guilds.values()) this.#knownGuilds.set(id, { id, name, icon })
    for (const userId of users) this.#knownUsers.set(userId, true)
  }
}

function hasGuilds({ guilds }: Settled): boolean {
  return guilds !== null && guilds.length > 0
}

/** The rows of these users' lists, as columns: a list of a hundred thousand memberships is no place for objects. */
function membershipsOf(settled: readonly Settled[]): Record<keyof typeof MEMBERSHIP, (string | number)[]> {
  const columns = { no: [] as number[], guild_id: [] as string[], standing: [] as string[] }
  for (const { row, guilds } of settled)
    for (const { id, standing } of guilds ?? []) {
      columns.no.push(row.no)
      columns.guild_id.push(id)
      columns.standing.push(standing)
    }
  return columns
}

/** 64 bits by which a list that did not change is known. */
function listHash(guilds: readonly KeptGuild[]): string {
  let text = ''
  for (const { id, standing } of guilds) text += `${id} ${standing},`
  const hash = Buffer.from(fingerprint(text), 'base64url').readBigInt64BE()
  return String(hash || 1n)
}

/** Of some drifts, the one that is furthest from none. */
function furthest(drifts: readonly Milliseconds[]): Milliseconds {
  return drifts.reduce((most, drift) => (Math.abs(drift) > Math.abs(most) ? drift : most))
}
