import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { createHoldfast, type Holdfast, type HoldfastEvent, type HoldfastOptions } from 'holdfast'
import { type Simulator, startSimulator } from 'holdfast/simulator'
import pg from 'pg'
import { afterEach, describe, expect, inject, test, vi } from 'vitest'
import { DATABASES, wireTo } from '../database/databases.ts'
import { havePgBouncer, startPgBouncer } from '../support/pgbouncer.ts'

const SECRET = 'a-secret-of-at-least-32-bytes-for-tests'

const cleanUps: Array<() => unknown> = []
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp()
})

const until = async (what: string, holds: () => boolean | Promise<boolean>, forMs = 15_000) => {
  const end = performance.now() + forMs
  while (!(await holds())) {
    if (performance.now() > end) throw new Error(`not within ${forMs} ms: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 25))
  }
}

async function house(users = 4): Promise<{
  discord: Simulator
  open(database: string, more?: HoldfastOptions): Holdfast
  events: HoldfastEvent[]
  as(index: number): { userId: string; accessToken: string }
}> {
  const discord = await startSimulator({
    users,
    guildsPerUser: 4,
    userGuildsLimit: { limit: 50, windowMs: 1_000, kind: 'fixed' },
  })
  cleanUps.push(() => discord.close())
  const events: HoldfastEvent[] = []
  return {
    discord,
    events,
    open(database, more) {
      const holdfast = createHoldfast({ discord: { baseUrl: discord.url }, database, secret: SECRET, ...more })
      holdfast.on((event) => events.push(event))
      cleanUps.push(() => holdfast.close())
      return holdfast
    },
    as(index) {
      const { id: userId, accessToken } = discord.users[index]!
      return { userId, accessToken }
    },
  }
}

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), 'holdfast-trouble-'))
  cleanUps.push(() => rmSync(path, { recursive: true, force: true }))
  return path
}

describe('a file', () => {
  test('that somebody else has locked holds up no request, is said once, and takes the writes afterwards', async () => {
    const { open, as, events } = await house()
    const file = join(folder(), 'app.db')
    const holdfast = open(`sqlite:${file}`)
    await holdfast.ready({ deadlineMs: 5_000 })
    const other = new DatabaseSync(file)
    cleanUps.push(() => other.close())
    other.exec('begin exclusive')
    for (const index of [0, 1, 2]) expect(await holdfast.memberships(as(index))).toMatchObject({ source: 'load' })
    // What waits is known here all the same.
    expect(await holdfast.ledger.recall(as(1).userId)).toMatchObject({ source: 'ledger' })
    await new Promise((resolve) => setTimeout(resolve, 1_500))
    other.exec('commit')
    await until(
      'written',
      () => Number(other.prepare('select count(*) as n from holdfast_user where turn > 0').get()!.n) === 3,
    )
    expect(events.filter(({ type }) => type === 'ledger.failed').length).toBeLessThanOrEqual(1)
  })

  test.each<[string, string, (path: string) => void]>([
    ["another program's file", 'DATABASE_FOREIGN', (path) => writeFileSync(path, 'Dear Sir or Madam, '.repeat(9))],
    [
      'a newer schema',
      'DATABASE_NEWER',
      (path) => {
        const newer = new DatabaseSync(path)
        newer.exec(
          "create table holdfast_migration (name text primary key, at double precision not null); insert into holdfast_migration values ('99 later', 0)",
        )
        newer.close()
      },
    ],
  ])(
    'that is not to be used (%s): requests go on, ready and the ledger say %s, and so do few events',
    async (_what, code, prepare) => {
      const { open, as, events } = await house()
      const path = join(folder(), 'app.db')
      prepare(path)
      const logger = { debug: vi.fn(), info: vi.fn(), warn: vi.fn(), error: vi.fn() }
      const holdfast = open(`sqlite:${path}`, { logger })
      await expect(holdfast.ready({ deadlineMs: 5_000 })).rejects.toMatchObject({ code })
      for (const index of [0, 1, 2, 3]) expect(await holdfast.memberships(as(index))).toMatchObject({ source: 'load' })
      await expect(holdfast.ledger.usersPerGuild()).rejects.toMatchObject({ code })
      await until('said', () => events.some((event) => event.type === 'ledger.failed' && event.code === code))
      expect(events.filter(({ type }) => type === 'ledger.failed')).toHaveLength(1)
      const warned = logger.warn.mock.calls.filter(([, message]) => String(message).includes('ledger'))
      expect(warned).toEqual([
        [
          { operation: 'write', code, waiting: expect.any(Number), count: 1 },
          expect.stringContaining('database failed'),
        ],
      ])
      expect(JSON.stringify(logger.warn.mock.calls)).not.toContain(as(0).userId)
    },
  )

  test('that is damaged while it is open is said, and replaced by a good one is used again', async () => {
    const { open, as, events } = await house()
    const path = join(folder(), 'app.db')
    const holdfast = open(`sqlite:${path}`)
    await holdfast.memberships(as(0))
    await holdfast.ledger.summary()
    for (const side of ['', '-wal', '-shm']) rmSync(path + side, { force: true })
    writeFileSync(path, Buffer.alloc(8_192, 'x'))
    await new Promise((resolve) => setTimeout(resolve, 1_100))
    expect(await holdfast.memberships(as(1))).toMatchObject({ source: 'load' })
    await until('said', () => events.some(({ type }) => type === 'ledger.failed'))
    rmSync(path)
    await until(
      'written',
      async () =>
        (await holdfast.ledger.recall(as(1).userId).catch(() => undefined)) !== undefined &&
        events.some(({ type }) => type === 'ledger.recovered'),
      18_000,
    )
  })

  test('in a folder that nobody may write to, and then may again', async () => {
    const { open, as, events } = await house()
    // Root may write anywhere, so the folder is one that is not there yet.
    const path = join(folder(), 'later')
    const holdfast = open(`sqlite:${join(path, 'app.db')}`)
    expect(await holdfast.memberships(as(0))).toMatchObject({ source: 'load' })
    await until('said', () =>
      events.some((event) => event.type === 'ledger.failed' && event.code === 'DATABASE_UNAVAILABLE'),
    )
    const { mkdirSync } = await import('node:fs')
    mkdirSync(path)
    chmodSync(path, 0o700)
    await until('written', () => events.some(({ type }) => type === 'ledger.recovered'))
  })

  test('whose process was killed at any moment opens, and holds whole users as they were answered', {
    timeout: 60_000,
  }, async () => {
    const { discord, open } = await house(40)
    const file = join(folder(), 'app.db')
    const worker = join(folder(), 'worker.mjs')
    writeFileSync(
      worker,
      `import { createHoldfast } from ${JSON.stringify(new URL('../../dist/index.js', import.meta.url).href)}
const { url, users, database, secret } = JSON.parse(process.argv[2])
const holdfast = createHoldfast({ discord: { baseUrl: url }, database, secret })
holdfast.on((event) => event.type === 'ledger.written' && process.send({ written: event.users }))
for (;;) for (const user of users) await holdfast.memberships(user, { maxAgeMs: 0 }).catch(() => {})
`,
    )
    const users = discord.users.map(({ id: userId, accessToken }) => ({ userId, accessToken }))
    const words = JSON.stringify({ url: discord.url, users, database: `sqlite:${file}`, secret: SECRET })
    for (let round = 0; round < 3; round++) {
      const child: ChildProcess = fork(worker, [words], { stdio: ['ignore', 'ignore', 'ignore', 'ipc'] })
      await once(child, 'message')
      await new Promise((resolve) => setTimeout(resolve, 60 + 130 * round))
      child.kill('SIGKILL')
      await once(child, 'exit')
      const seen = new DatabaseSync(file)
      expect(seen.prepare('pragma integrity_check').get()).toEqual({ integrity_check: 'ok' })
      const counts = seen.prepare('select count(*) as n from holdfast_membership group by user_no').all()
      expect(counts.length).toBeGreaterThan(0)
      seen.close()
      const holdfast = open(`sqlite:${file}`)
      let known = 0
      for (const { id, guilds } of discord.users) {
        const recalled = await holdfast.ledger.recall(id)
        if (!recalled) continue
        known++
        expect([...recalled.guilds].map((guild) => guild.id).sort()).toEqual(guilds.map((guild) => guild.id).sort())
      }
      expect(known).toBe(counts.length)
      await holdfast.close()
    }
  })
})

describe('two processes and one database', () => {
  test.each(DATABASES)('in %s: no lost update', async (_kind, make) => {
    const database = await make()
    cleanUps.push(() => database.drop())
    const { discord, open, as } = await house(12)
    const instances = Array.from({ length: 4 }, () => open(database.url))
    const all = discord.users.map((_, index) => index)
    for (let round = 0; round < 3; round++) {
      if (round === 2) for (const { id, guilds } of discord.users) discord.leaveGuild(id, guilds[0]!.id)
      await Promise.all(
        instances.flatMap((holdfast) =>
          all.map((index) => holdfast.memberships(as(index), { maxAgeMs: 0 }).catch(() => {})),
        ),
      )
    }
    for (const holdfast of instances) await holdfast.close()
    const after = open(database.url)
    for (const index of all) {
      const recalled = await after.ledger.recall(as(index).userId)
      expect([...recalled!.guilds].map(({ id }) => id)).not.toContain(discord.users[index]!.guilds[0])
      expect(recalled!.guilds.size).toBe(3)
    }
  })
})

describe.skipIf(!inject('postgresUrl'))('a PostgreSQL', () => {
  const make = async () => {
    const [, postgres] = DATABASES.find(([name]) => name === 'PostgreSQL')!
    const database = await postgres()
    cleanUps.push(() => database.drop())
    return database
  }

  test('whose connections are ended, and which is gone for a while, costs nobody a request and no write', async () => {
    const database = await make()
    const wire = await wireTo(database.url)
    cleanUps.push(() => wire.close())
    const { open, as, events } = await house()
    const holdfast = open(wire.url)
    await holdfast.memberships(as(0))
    await holdfast.ledger.summary()
    const admin = new pg.Client({ connectionString: database.url })
    await admin.connect()
    await admin.query(
      'select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid() and datname = current_database()',
    )
    await admin.end()
    expect(await holdfast.memberships(as(1))).toMatchObject({ source: 'load' })
    wire.cut()
    expect(await holdfast.memberships(as(2))).toMatchObject({ source: 'load' })
    await until('said', () => events.some(({ type }) => type === 'ledger.failed'))
    wire.mend()
    await until('written', () => events.some(({ type }) => type === 'ledger.recovered'))
    await until(
      'all there',
      async () => (await database.query('select no from holdfast_user where turn > 0')).length === 3,
    )
  })

  test.skipIf(!havePgBouncer())(
    'behind PgBouncer in transaction mode, four instances write at once and all of it is there',
    async () => {
      const database = await make()
      const pooler = await startPgBouncer(database.url, 3)
      cleanUps.push(() => pooler.stop())
      const { discord, open, as } = await house(12)
      const instances = Array.from({ length: 4 }, () => open(pooler.url))
      await Promise.all(
        instances.flatMap((holdfast) =>
          discord.users.map((_, index) => holdfast.memberships(as(index)).catch(() => {})),
        ),
      )
      for (const holdfast of instances) await holdfast.close()
      expect(await database.query('select no from holdfast_user where turn > 0')).toHaveLength(12)
      expect(await database.query('select user_no from holdfast_membership')).toHaveLength(48)
    },
  )
})
