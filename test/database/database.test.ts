import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { createHoldfast } from 'holdfast'
import { afterEach, describe, expect, inject, test } from 'vitest'
import { readDatabase } from '../../src/config/database.ts'
import { Database } from '../../src/database/database.ts'
import { Events, type HoldfastEvent } from '../../src/events/events.ts'
import { systemClock } from '../../src/time/clock.ts'
import { havePgBouncer, startPgBouncer } from '../support/pgbouncer.ts'
import { DATABASES } from './databases.ts'

const cleanUps: Array<() => unknown> = []
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp()
})

function open(option: unknown) {
  const events = new Events(systemClock)
  const seen: HoldfastEvent[] = []
  events.on((event) => seen.push(event))
  const database = new Database(readDatabase(option, {})!, events)
  cleanUps.push(() => database.close())
  return { database, seen }
}

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), 'holdfast-database-'))
  cleanUps.push(() => rmSync(path, { recursive: true, force: true }))
  return path
}

const write = (database: Database, name: string) =>
  database.use((connection) =>
    connection.transaction((tables) =>
      tables
        .insertInto('holdfast_sealed')
        .values({ name, sealed: Buffer.from(name) })
        .execute(),
    ),
  )

const names = (database: Database) =>
  database.use((connection) =>
    connection.run(async (tables) =>
      (await tables.selectFrom('holdfast_sealed').select('name').orderBy('name').execute()).map(({ name }) => name),
    ),
  )

describe.each(DATABASES)('a database in %s', (_kind, make) => {
  async function made() {
    const database = await make()
    cleanUps.push(() => database.drop())
    return database
  }

  test('keeps what was written, for the next who opens it', async () => {
    const { url } = await made()
    const first = open(url).database
    await write(first, 'one')
    await first.close()
    await expect(first.use(async () => {})).rejects.toMatchObject({ code: 'CLOSED' })
    expect(await names(open(url).database)).toEqual(['one'])
  })

  test('of several that open it at once, one makes the tables', async () => {
    const { url, query } = await made()
    const many = Array.from({ length: 4 }, () => open(url).database)
    await Promise.all(many.map((database) => database.open()))
    await Promise.all(many.map((database, index) => write(database, `row ${index}`)))
    expect(await names(many[0]!)).toHaveLength(4)
    const done = await query('select name from holdfast_migration')
    expect(new Set(done.map(({ name }) => name)).size).toBe(done.length)
  })

  test('with tables of a newer version it is refused, unchanged, and says what to do', async () => {
    const { url, query } = await made()
    const first = open(url).database
    await first.open()
    await first.close()
    await query("insert into holdfast_migration (name, at) values ('99 something new', 0)")
    const { database, seen } = open(url)
    await expect(database.open()).rejects.toMatchObject({
      code: 'DATABASE_NEWER',
      message: expect.stringMatching(/99 something new.*update/),
    })
    // At once, and as clearly, while it is not looked at again.
    await expect(database.open()).rejects.toMatchObject({
      code: 'DATABASE_NEWER',
      retryAfterMs: expect.toSatisfy((ms) => ms > 0 && ms <= 1_000),
    })
    expect(seen).toMatchObject([{ type: 'breaker', name: 'database', state: 'open' }])
  })

  test('a transaction that throws has written nothing', async () => {
    const { url } = await made()
    const { database } = open(url)
    const failing = database.use((connection) =>
      connection.transaction(async (tables) => {
        await tables
          .insertInto('holdfast_sealed')
          .values({ name: 'half', sealed: Buffer.from('') })
          .execute()
        throw new TypeError('in the middle')
      }),
    )
    await expect(failing).rejects.toMatchObject({ code: 'DATABASE_FAILED', cause: { message: 'in the middle' } })
    expect(await names(database)).toEqual([])
  })
})

describe("a path that leads to something that is not Holdfast's", () => {
  const fingerprintOf = (path: string) => createHash('sha256').update(readFileSync(path)).digest('hex')

  test.each<[string, (path: string) => void]>([
    ['a folder', (path) => mkdirSync(path)],
    ['a text', (path) => writeFileSync(path, 'Dear Sir or Madam, '.repeat(20))],
    ['a few bytes', (path) => writeFileSync(path, 'x')],
    [
      "another program's database",
      (path) => {
        const other = new DatabaseSync(path)
        other.exec('create table invoice (id integer primary key); insert into invoice values (1)')
        other.close()
      },
    ],
    [
      "another program's database in WAL mode, with what was not yet moved into it",
      (path) => {
        execFileSync(
          process.execPath,
          [
            '--disable-warning=ExperimentalWarning',
            '-e',
            `const { DatabaseSync } = require('node:sqlite')
           const other = new DatabaseSync(${JSON.stringify(path)})
           other.exec('pragma journal_mode = wal; create table invoice (id integer primary key)')
           process.kill(process.pid, 'SIGKILL')`,
          ].slice(0),
          { stdio: 'ignore' },
        )
      },
    ],
    [
      'an empty database that carries the name of another program',
      (path) => {
        const other = new DatabaseSync(path)
        other.exec('pragma application_id = 1234; vacuum')
        other.close()
      },
    ],
  ])('%s is refused, and stays as it is', async (_what, prepare) => {
    const path = join(folder(), 'somebody.db')
    try {
      prepare(path)
    } catch {
      // The one that kills itself.
    }
    const isFolder = _what === 'a folder'
    const before = isFolder ? '' : fingerprintOf(path)
    const files = readdirSync(join(path, '..')).sort()
    const { database } = open(`sqlite:${path}`)
    await expect(database.open()).rejects.toMatchObject({ code: 'DATABASE_FOREIGN' })
    await database.close()
    if (!isFolder) expect(fingerprintOf(path)).toBe(before)
    expect(readdirSync(join(path, '..')).sort()).toEqual(expect.arrayContaining(files))
  })

  test('an empty file is as good as none', async () => {
    const path = join(folder(), 'new.db')
    writeFileSync(path, '')
    const { database } = open(`sqlite:${path}`)
    await write(database, 'one')
    expect(await names(database)).toEqual(['one'])
  })
})

describe('a SQLite file', () => {
  test('that is deleted, or replaced by a backup, while it is open is found out within a second', async () => {
    const path = join(folder(), 'own.db')
    const { database } = open(`sqlite:${path}`)
    await write(database, 'one')
    renameSync(path, `${path}.moved`)
    for (const side of ['-wal', '-shm']) rmSync(path + side, { force: true })
    await new Promise((resolve) => setTimeout(resolve, 1_050))
    await write(database, 'two')
    expect(await names(database)).toEqual(['two'])
    const seen = new DatabaseSync(path, { readOnly: true })
    expect(seen.prepare('select name from holdfast_sealed').all()).toMatchObject([{ name: 'two' }])
    seen.close()
  })

  test('in memory is one for all who use it, and is never opened anew', async () => {
    const { database } = open('sqlite::memory:')
    await write(database, 'one')
    await Promise.allSettled(
      Array.from({ length: 5 }, () =>
        database.use((connection) => connection.run((tables) => connection.sql`not sql at all`.execute(tables))),
      ),
    )
    expect(await names(database)).toEqual(['one'])
  })

  test('stands still in a thread: the event loop goes on while another process holds its lock', async () => {
    const path = join(folder(), 'locked.db')
    const { database } = open(`sqlite:${path}`)
    await database.open()
    const other = new DatabaseSync(path)
    cleanUps.push(() => other.close())
    other.exec('begin immediate')
    let turns = 0
    const writing = write(database, 'one')
    const until = performance.now() + 200
    while (performance.now() < until) {
      await new Promise((resolve) => setImmediate(resolve))
      turns++
    }
    other.exec('commit')
    await writing
    expect(turns).toBeGreaterThan(100)
  })
})

describe.skipIf(!inject('postgresUrl') || !havePgBouncer())('PgBouncer in transaction mode', () => {
  test('takes our connections, and its restart is no more than a pause', async () => {
    const [, make] = DATABASES.find(([name]) => name === 'PostgreSQL')!
    const behind = await make()
    cleanUps.push(() => behind.drop())
    const pooler = await startPgBouncer(behind.url, 2)
    cleanUps.push(() => pooler.stop())
    const { database } = open(pooler.url)
    await Promise.all(Array.from({ length: 30 }, (_, index) => write(database, `row ${index}`)))
    expect(await names(database)).toHaveLength(30)
    await pooler.restart()
    const again = async (): Promise<void> => {
      for (let tries = 0; ; tries++) {
        try {
          return void (await write(database, 'after'))
        } catch (error) {
          expect(error).toMatchObject({ code: 'DATABASE_UNAVAILABLE' })
          if (tries > 40) throw error
          await new Promise((resolve) => setTimeout(resolve, 100))
        }
      }
    }
    await again()
    expect(await names(database)).toContain('after')
  })
})

describe('an instance of the user', () => {
  test('is used, migrated, and left open', async () => {
    const path = join(folder(), 'theirs.db')
    const { Kysely, SqliteDialect } = await import('kysely')
    const file = new DatabaseSync(path)
    const kysely = new Kysely<Record<string, Record<string, unknown>>>({
      dialect: new SqliteDialect({
        database: {
          close: () => file.close(),
          prepare(sql) {
            const statement = file.prepare(sql)
            return {
              reader: statement.columns().length > 0,
              all: (parameters) => statement.all(...(parameters as string[])),
              run: (parameters) => statement.run(...(parameters as string[])),
              iterate: (parameters) => statement.iterate(...(parameters as string[])),
            }
          },
        },
      }),
    })
    cleanUps.push(() => kysely.destroy())
    await kysely.schema.createTable('their_own').addColumn('id', 'integer').execute()
    const { database } = open(kysely)
    await write(database, 'one')
    await database.close()
    expect(await kysely.selectFrom('holdfast_sealed').selectAll().execute()).toMatchObject([{ name: 'one' }])
    expect(await kysely.selectFrom('their_own').selectAll().execute()).toEqual([])
  })

  test('whose SQL is none that Holdfast writes is refused when the instance is made', async () => {
    const { Kysely, MysqlDialect } = await import('kysely')
    const mysql = new Kysely({ dialect: new MysqlDialect({ pool: async () => ({}) as never }) })
    expect(() => createHoldfast({ database: mysql, secret: 'a-secret-of-at-least-32-bytes-here' })).toThrow(
      expect.objectContaining({ option: 'database', message: expect.stringContaining('PostgreSQL or SQLite') }),
    )
  })
})

test.each([
  ['mysql://x', 'database'],
  ['sqlite:', 'database'],
  ['postgres:', 'database'],
  ['', 'database'],
  [7, 'database'],
  [{}, 'database'],
  [[], 'database'],
])('a database %j is a ConfigError before anything is opened', (database, option) => {
  expect(() => createHoldfast({ database: database as string, secret: 'a-secret-of-at-least-32-bytes-here' })).toThrow(
    expect.objectContaining({ code: 'CONFIG_INVALID', option }),
  )
})
