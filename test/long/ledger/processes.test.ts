import { setTimeout as sleep } from 'node:timers/promises'
import type { Simulator } from 'holdfast/simulator'
import { describe, expect, test } from 'vitest'
import { DATABASES, type TestDatabase } from '../../database/databases.ts'
import { havePgBouncer, startPgBouncer } from '../../support/pgbouncer.ts'
import { ends, pairsOf, someDiscord, startWorker, type Worker } from './fleet.ts'

const HOUR_MS = 3_600_000

async function make(kind: string): Promise<TestDatabase> {
  const [, database] = DATABASES.find(([name]) => name === kind)!
  const made = await database()
  ends.push(() => made.drop())
  return made
}

/** User and guild of every row, as the database holds them. */
async function rowsIn(database: TestDatabase): Promise<Map<string, string[]>> {
  const rows = await database.query(`select cast(u.user_id as text) as user_id, cast(m.guild_id as text) as guild_id
    from holdfast_user u join holdfast_membership m on m.user_no = u.no where u.forgotten = 0 order by m.guild_id`)
  const byUser = new Map<string, string[]>()
  for (const { user_id, guild_id } of rows)
    byUser.set(String(user_id), [...(byUser.get(String(user_id)) ?? []), String(guild_id)])
  return byUser
}

const truthOf = (discord: Simulator) =>
  new Map(discord.users.map(({ id, guilds }) => [id, guilds.map((guild) => guild.id).sort(byNumber)]))
const byNumber = (one: string, other: string) => (BigInt(one) < BigInt(other) ? -1 : 1)

/** All load the same users in the same order, while these leave guilds and join others. */
async function loadTogether(discord: Simulator, workers: readonly Worker[], forMs: number): Promise<void> {
  for (const worker of workers) await worker.tell({ do: 'load', users: pairsOf(discord) })
  const end = performance.now() + forMs
  for (let round = 0; performance.now() < end; round++) {
    const user = discord.users[round % discord.users.length]!
    discord.leaveGuild(user.id, user.guilds[0]!.id)
    discord.joinGuild(user.id, { id: String(1_000 + round), name: `Joined in round ${round}` })
    await sleep(5)
  }
}

/** Everybody is asked for once more by one process, and what the others had under way is written too. */
async function settle(discord: Simulator, workers: readonly Worker[]): Promise<string[]> {
  for (const worker of workers) await worker.tell({ do: 'once', users: [] })
  const last = workers.at(-1)!
  await last.tell({ do: 'once', users: pairsOf(discord) })
  const answers = await Promise.all(workers.map((worker) => worker.tell({ do: 'close' })))
  return answers.flatMap(({ failures }) => failures)
}

const hasPostgres = DATABASES.some(([name]) => name === 'PostgreSQL')
const processes = [
  ...(hasPostgres ? [['four processes on one PostgreSQL', 'PostgreSQL', 4] as const] : []),
  ['two processes on one SQLite file', 'SQLite', 2] as const,
] as const

async function loseNoUpdate(database: TestDatabase, url: string, count: number): Promise<void> {
  const discord = await someDiscord(40)
  const workers = await Promise.all(Array.from({ length: count }, () => startWorker(discord, url)))
  await loadTogether(discord, workers, 2_000)
  expect(await settle(discord, workers)).toEqual([])
  expect(Object.fromEntries(await rowsIn(database))).toEqual(Object.fromEntries(truthOf(discord)))
}

const deadlocksIn = async (database: TestDatabase) =>
  (await database.query('select deadlocks::int as n from pg_stat_database where datname = current_database()'))[0]!.n

describe.each(processes)('%s', { timeout: 60_000 }, (_name, kind, count) => {
  test('lose no update and end in no deadlock', async () => {
    const database = await make(kind)
    await loseNoUpdate(database, database.url, count)
    if (kind === 'PostgreSQL') expect(await deadlocksIn(database)).toBe(0)
  })

  test('are killed under load, and leave whole users behind', async () => {
    const database = await make(kind)
    const discord = await someDiscord(40)
    const survivor = await startWorker(discord, database.url)
    for (let round = 0; round < 2; round++) {
      const victims = await Promise.all(Array.from({ length: count - 1 }, () => startWorker(discord, database.url)))
      const answered = truthOf(discord)
      for (const worker of [survivor, ...victims]) await worker.tell({ do: 'load', users: pairsOf(discord) })
      await sleep(400 + 170 * round)
      for (const { child } of victims) child.kill('SIGKILL')
      await survivor.tell({ do: 'once', users: [] })
      for (const [userId, guilds] of await rowsIn(database)) expect(guilds).toEqual(answered.get(userId))
      for (const { id, guilds } of discord.users) discord.leaveGuild(id, guilds[0]!.id)
      // What was killed holds no lock: everybody's new list is written at once.
      await survivor.tell({ do: 'once', users: pairsOf(discord) })
      expect(Object.fromEntries(await rowsIn(database))).toEqual(Object.fromEntries(truthOf(discord)))
    }
    expect((await survivor.tell({ do: 'close' })).failures).toEqual([])
  })

  test('share the users that are due, and refresh none twice', async () => {
    const database = await make(kind)
    const discord = await someDiscord(300)
    const workers = await Promise.all([1, 2].map(() => startWorker(discord, database.url)))
    await workers[0]!.tell({ do: 'once', users: pairsOf(discord) })
    await database.query(`update holdfast_user set sent_at = sent_at - ${2 * HOUR_MS}`)
    const from = discord.calls.length
    const tokens = pairsOf(discord)
    const answers = await Promise.all(
      workers.map((worker) => worker.tell({ do: 'refresh', olderThanMs: HOUR_MS, tokens })),
    )
    const asked = discord.calls.slice(from).map(({ userId }) => userId)
    expect(asked).toHaveLength(300)
    expect(new Set(asked).size).toBe(300)
    for (const { refreshed } of answers) expect(refreshed).toBeGreaterThan(0)
    await Promise.all(workers.map((worker) => worker.tell({ do: 'close' })))
  })
})

test.skipIf(!hasPostgres || !havePgBouncer())(
  'four processes behind PgBouncer in transaction mode lose no update and end in no deadlock',
  { timeout: 60_000 },
  async () => {
    const database = await make('PostgreSQL')
    const pooler = await startPgBouncer(database.url, 3)
    ends.push(() => pooler.stop())
    await loseNoUpdate(database, pooler.url, 4)
    expect(await deadlocksIn(database)).toBe(0)
  },
)
