import { execFileSync } from 'node:child_process'
import { chmodSync, chownSync, existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createHoldfast, type HoldfastEvent } from 'holdfast'
import { describe, expect, test } from 'vitest'
import { DATABASES } from '../../database/databases.ts'
import { startProxy } from '../../redis/proxy.ts'
import { ends, pairsOf, someDiscord, startWorker, until } from './fleet.ts'

const SECRET = 'a-secret-of-at-least-32-bytes-for-tests'
/** A user of the machine who may write nowhere: root is never refused. */
const NOBODY = process.getuid?.() === 0 ? 65_534 : undefined
const QUICK_MS = 1_000

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), 'holdfast-long-ledger-'))
  ends.push(() => rmSync(path, { recursive: true, force: true }))
  chmodSync(path, 0o755)
  return path
}

describe('a SQLite file', { timeout: 60_000 }, () => {
  test('that may only be read holds up no request, and is written to as soon as it may be', async () => {
    const path = folder()
    const database = `sqlite:${join(path, 'app.db')}`
    const discord = await someDiscord(4)
    const [first, ...others] = pairsOf(discord)
    const before = await startWorker(discord, database)
    await before.tell({ do: 'once', users: [first!] })
    await before.tell({ do: 'close' })
    const files = () => ['app.db', 'app.db-wal', 'app.db-shm'].map((name) => join(path, name)).filter(existsSync)
    for (const file of files()) chmodSync(file, 0o444)
    if (NOBODY === undefined) chmodSync(path, 0o555)

    const after = await startWorker(discord, database, NOBODY)
    const locked = await after.tell({ do: 'once', users: others })
    expect(locked.slowestMs).toBeLessThan(QUICK_MS)
    expect(locked.written).toBe(0)
    await until(
      'said',
      async () => (await after.tell({ do: 'once', users: [] })).failures.includes('DATABASE_UNAVAILABLE'),
      10_000,
    )
    chmodSync(path, 0o755)
    for (const file of [path, ...files()]) if (NOBODY !== undefined) chownSync(file, NOBODY, NOBODY)
    for (const file of files()) chmodSync(file, 0o644)
    await until('written', async () => (await after.tell({ do: 'once', users: [] })).written >= others.length, 60_000)
    await after.tell({ do: 'close' })
  })

  test('on a full disk holds up no request, stays whole, and is written to when there is room again', async (context) => {
    const disk = smallDisk(folder())
    if (!disk) {
      process.stderr.write('\n  !!! no file system can be mounted here (root): a full disk is not tried !!!\n\n')
      return context.skip('no file system can be mounted here')
    }
    const file = join(disk, 'app.db')
    const discord = await someDiscord(40)
    const worker = await startWorker(discord, `sqlite:${file}`)
    const [first, ...others] = pairsOf(discord)
    await worker.tell({ do: 'once', users: [first!] })
    const filler = join(disk, 'filler')
    fill(filler)
    for (const { id } of discord.users)
      for (let guild = 0; guild < 60; guild++)
        discord.joinGuild(id, { id: `${id.slice(0, 12)}${1_000 + guild}`, name: `A guild with a long name, ${guild}` })
    const full = await worker.tell({ do: 'once', users: others })
    expect(full.slowestMs).toBeLessThan(QUICK_MS)
    await until(
      'said',
      async () => (await worker.tell({ do: 'once', users: [] })).failures.includes('DATABASE_UNAVAILABLE'),
      10_000,
    )
    rmSync(filler)
    await until('written', async () => (await worker.tell({ do: 'once', users: [] })).written >= 40, 60_000)
    await worker.tell({ do: 'close' })
    const { DatabaseSync } = await import('node:sqlite')
    const seen = new DatabaseSync(file)
    expect(seen.prepare('pragma integrity_check').get()).toEqual({ integrity_check: 'ok' })
    expect(seen.prepare('select count(*) as n from holdfast_user where turn > 0').get()).toEqual({ n: 40 })
    seen.close()
  })
})

/** A megabyte of its own; undefined where none can be mounted. */
function smallDisk(path: string): string | undefined {
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', path], { stdio: 'ignore' })
  } catch {
    return undefined
  }
  ends.push(() => execFileSync('umount', ['-l', path]))
  return path
}

/** Takes all the room that is left. */
function fill(path: string): void {
  for (let size = 65_536; size >= 1_024; size /= 2)
    try {
      for (;;) writeFileSync(path, Buffer.alloc(size), { flag: 'a' })
    } catch {
      // Less, then.
    }
  if (statSync(path).size === 0) throw new Error('there was no room to take')
}

test.skipIf(!DATABASES.some(([name]) => name === 'PostgreSQL'))(
  'a PostgreSQL whose every answer takes 2 s holds up no request, is said, and is written to at once when it has recovered',
  { timeout: 90_000 },
  async () => {
    const [, make] = DATABASES.find(([name]) => name === 'PostgreSQL')!
    const database = await make()
    ends.push(() => database.drop())
    const target = new URL(database.url)
    const proxy = await startProxy(Number(target.port))
    ends.push(() => proxy[Symbol.asyncDispose]())
    target.port = new URL(proxy.url).port
    const discord = await someDiscord(12)
    const events: HoldfastEvent[] = []
    const holdfast = createHoldfast({ discord: { baseUrl: discord.url }, database: target.href, secret: SECRET })
    ends.push(() => holdfast.close())
    holdfast.on((event) => events.push(event))
    const written = () => events.reduce((sum, event) => sum + (event.type === 'ledger.written' ? event.users : 0), 0)
    const ask = async (from: number, to: number) => {
      for (const { id: userId, accessToken } of discord.users.slice(from, to)) {
        const began = performance.now()
        expect(await holdfast.memberships({ userId, accessToken }, { maxAgeMs: 0 })).toMatchObject({ source: 'load' })
        expect(performance.now() - began).toBeLessThan(QUICK_MS)
      }
    }
    await ask(0, 2)
    await until('written', () => written() === 2, 10_000)

    const from = events.length
    proxy.set({ answers: 'delay', ms: 2_000 })
    await ask(2, 6)
    const said = ({ type }: HoldfastEvent) => type === 'ledger.slow' || type === 'ledger.failed' || type === 'breaker'
    await until('said', () => events.slice(from).some(said), 45_000)
    await ask(6, 8)
    proxy.set({ answers: 'pass' })
    await ask(8, 12)
    await until('everything written', () => written() >= 12, 20_000)
    expect(await database.query('select no from holdfast_user where turn > 0')).toHaveLength(12)
  },
)
