// 10 000 users with 100 guilds each: how fast the ledger writes and recalls them, how much room a membership takes, and
// what a request pays for it.
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { createHoldfast, type Holdfast } from 'holdfast'
import pg from 'pg'
import setUpPostgres from '../test/support/postgres.ts'
import { judge, median, race, table } from './figures.ts'

const USERS = Number(process.env.USERS ?? 10_000)
const GUILDS = 100
const UNIVERSE = 20_000
const RECALLS = 1_000
const ROUNDS = 40
const SECRET = 'a-secret-of-at-least-32-bytes-for-benches'
const FIRST_ID = 700_000_000_000_000_000n

/** A Discord that knows one route, in a process of its own: what it costs is none of the ledger's. */
function serve(): void {
  const guild = (index: number) => ({
    id: String(FIRST_ID + BigInt(index) * 977n),
    name: `A guild that is called number ${index}`,
    icon: `${index.toString(16).padStart(32, 'a')}`,
    banner: null,
    owner: index % 50 === 0,
    permissions: String(2_222_085_186_637_376n + BigInt(index % 7)),
    features: ['COMMUNITY', 'NEWS'],
  })
  const server = createServer((request, response) => {
    const user = Number(/user(\d+)$/.exec(request.headers.authorization ?? '')?.[1] ?? 0)
    const guilds = Array.from({ length: GUILDS }, (_, index) => guild((user * 37 + index * 191) % UNIVERSE))
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify(guilds))
  })
  server.listen(0, '127.0.0.1', () => process.send!((server.address() as { port: number }).port))
}

interface Measured {
  readonly usersPerSecond: number
  readonly recallMs: number
  readonly bytes: number
}

const user = (index: number) => ({ userId: String(FIRST_ID + BigInt(index) * 7919n), accessToken: `user${index}` })

/** Loads everybody while nobody can write, and then measures how fast what waits is written. */
async function write(holdfast: Holdfast, lock: () => Promise<() => Promise<void>>): Promise<number> {
  await holdfast.ledger.summary()
  const unlock = await lock()
  let next = 0
  const load = async () => {
    while (next < USERS) await holdfast.memberships(user(next++))
  }
  await Promise.all(Array.from({ length: 20 }, load))
  const written: Array<{ readonly at: number; readonly users: number }> = []
  holdfast.on((event) => {
    if (event.type === 'ledger.written') written.push({ at: performance.now(), users: event.users })
  })
  await unlock()
  const count = () => written.reduce((sum, { users }) => sum + users, 0)
  while (count() < USERS) await new Promise((resolve) => setTimeout(resolve, 50))
  // From the end of the first batch, which began before the others could.
  const [first] = written
  return ((count() - first!.users) / (written.at(-1)!.at - first!.at)) * 1000
}

async function recall(open: () => Holdfast): Promise<number> {
  const holdfast = open()
  const times: number[] = []
  await holdfast.ledger.recall(user(0).userId)
  for (let index = 0; index < RECALLS; index++) {
    const began = performance.now()
    const found = await holdfast.ledger.recall(user((index * 7) % USERS).userId)
    times.push(performance.now() - began)
    if (found?.guilds.size !== GUILDS) throw new Error('a list is not whole')
  }
  await holdfast.close()
  return median(times)
}

async function measure(
  baseUrl: string,
  database: string,
  lock: () => Promise<() => Promise<void>>,
  bytes: () => Promise<number>,
): Promise<Measured> {
  const open = () => createHoldfast({ discord: { baseUrl }, database, secret: SECRET })
  const writer = open()
  const usersPerSecond = await write(writer, lock)
  await writer.close()
  return { usersPerSecond, recallMs: await recall(open), bytes: (await bytes()) / (USERS * GUILDS) }
}

/** Milliseconds of a load, and nanoseconds of a hit, with a ledger and without one, in turns. */
async function requests(baseUrl: string, database: string) {
  const instances = {
    without: createHoldfast({ discord: { baseUrl }, secret: SECRET }),
    with: createHoldfast({ discord: { baseUrl }, database, secret: SECRET }),
  }
  const loads: Record<string, number[]> = { with: [], without: [] }
  let index = USERS
  for (let round = -3; round < ROUNDS; round++)
    for (const [name, holdfast] of Object.entries(instances)) {
      const began = performance.now()
      for (let load = 0; load < 50; load++) await holdfast.memberships(user(index++))
      if (round >= 0) loads[name]!.push((performance.now() - began) / 50)
    }
  await instances.with.ledger.summary()
  const held = user(index - 1)
  for (const holdfast of Object.values(instances)) await holdfast.memberships(held)
  const hits = await race(
    {
      without: () => instances.without.memberships(held),
      with: () => instances.with.memberships(held),
    },
    { calls: () => 20_000 },
  )
  for (const holdfast of Object.values(instances)) await holdfast.close()
  return {
    load: { with: median(loads.with!), without: median(loads.without!) },
    hit: { with: hits.with!, without: hits.without! },
  }
}

async function main(): Promise<void> {
  const discord = fork(import.meta.filename, ['serve'])
  const [port] = (await once(discord, 'message')) as [number]
  const baseUrl = `http://127.0.0.1:${port}`
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-bench-'))
  const file = join(folder, 'ledger.db')
  const lockSqlite = async () => {
    const other = new DatabaseSync(file)
    other.exec('begin immediate')
    return async () => {
      other.exec('commit')
      other.close()
    }
  }
  const sqlite = await measure(baseUrl, `sqlite:${file}`, lockSqlite, async () => {
    const database = new DatabaseSync(file)
    database.exec('pragma wal_checkpoint(truncate)')
    const whole = statSync(file).size
    const [names] = database.prepare("select sum(pgsize) as bytes from dbstat where name like '%holdfast_guild'").all()
    const bytes = whole - Number(names!.bytes)
    database.close()
    // The file as it was written, less the names.
    return bytes
  })
  const paid = await requests(baseUrl, `sqlite:${join(folder, 'paid.db')}`)

  let postgresUrl: string | undefined
  const stop = await setUpPostgres({ provide: (_: string, url: string) => (postgresUrl = url) } as never)
  const lockPostgres = async () => {
    const client = new pg.Client({ connectionString: postgresUrl })
    await client.connect()
    await client.query('begin')
    await client.query('lock table holdfast_user in exclusive mode')
    return async () => {
      await client.query('commit')
      await client.end()
    }
  }
  const postgres = postgresUrl
    ? await measure(baseUrl, postgresUrl, lockPostgres, async () => {
        const client = new pg.Client({ connectionString: postgresUrl })
        await client.connect()
        const { rows } = await client.query(
          "select pg_total_relation_size('holdfast_membership') + pg_total_relation_size('holdfast_user') as bytes",
        )
        await client.end()
        return Number(rows[0].bytes)
      })
    : undefined
  stop()
  discord.kill()
  rmSync(folder, { recursive: true })

  const rows = Object.entries({ SQLite: sqlite, ...(postgres && { PostgreSQL: postgres }) })
  table(
    [`${USERS} users with ${GUILDS} guilds`, 'users a second', 'recall, ms', 'bytes a membership'],
    rows.map(([name, { usersPerSecond, recallMs, bytes }]) => [name, usersPerSecond, recallMs, bytes]),
  )
  table(
    ['what a request pays (SQLite, medians)', 'without ledger', 'with', 'ratio'],
    [
      ['a load, ms', paid.load.without, paid.load.with, paid.load.with / paid.load.without],
      ['a hit, ns', paid.hit.without, paid.hit.with, paid.hit.with / paid.hit.without],
    ],
  )
  judge([
    { name: 'SQLite writes', value: sqlite.usersPerSecond, unit: 'users/s', target: 500, atLeast: true },
    { name: 'SQLite recalls', value: sqlite.recallMs, unit: 'ms', target: 2 },
    { name: 'SQLite keeps a membership in', value: sqlite.bytes, unit: 'bytes', target: 40 },
    ...(postgres
      ? [
          { name: 'PostgreSQL writes', value: postgres.usersPerSecond, unit: 'users/s', target: 1_000, atLeast: true },
          { name: 'PostgreSQL recalls', value: postgres.recallMs, unit: 'ms', target: 2 },
          { name: 'PostgreSQL keeps a membership in', value: postgres.bytes, unit: 'bytes', target: 120 },
        ]
      : []),
    { name: 'a hit with a ledger', value: paid.hit.with / paid.hit.without, unit: '× without', target: 1.1 },
    { name: 'a load with a ledger', value: paid.load.with / paid.load.without, unit: '× without', target: 1.1 },
  ])
}

if (process.argv[2] === 'serve') serve()
else await main()
