import { fork } from 'node:child_process'
import { once } from 'node:events'
import { rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import {
  batch,
  batchStream,
  createHoldfast,
  createKeyVault,
  createOwnerQuota,
  type KeyVault,
  type KeyVaultOptions,
} from 'holdfast'
import pg from 'pg'
import { afterEach, describe, expect, inject, test, vi } from 'vitest'
import { KeyRing } from '../../src/secrets/key-ring.ts'
import { createVirtualClock } from '../../src/simulator/virtual-clock.ts'
import { DATABASES, type TestDatabase, wireTo } from '../database/databases.ts'
import { havePgBouncer, startPgBouncer } from '../support/pgbouncer.ts'

const SECRET = 'the-first-secret-of-at-least-32-bytes'
const NEWER = 'the-second-secret-of-at-least-32-bytes'
const KEY = 'Kx9-a-key-that-must-never-be-seen'

const cleanUps: Array<() => unknown> = []
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp()
})

describe.each(DATABASES)('a vault in %s', (kind, make) => {
  async function vaultOn(database: TestDatabase, options: Partial<KeyVaultOptions> = {}): Promise<KeyVault> {
    const vault = await createKeyVault({ database: database.url, secret: SECRET, ...options })
    cleanUps.push(() => vault.close())
    return vault
  }
  async function newDatabase(): Promise<TestDatabase> {
    const database = await make()
    cleanUps.push(() => database.drop())
    return database
  }
  const newVault = async (options?: Partial<KeyVaultOptions>) => {
    const database = await newDatabase()
    return { database, vault: await vaultOn(database, options) }
  }

  test('gives back what was put in, with everything known of it', async () => {
    const clock = createVirtualClock()
    const { vault } = await newVault({ clock })
    const first = await vault.add(KEY, { owner: 'anna', limit: 50 })
    await clock.advance(1_000)
    const second = await vault.add('another', { owner: 'anna', primary: true })
    await vault.add('bert’s', { owner: 'bert' })
    await clock.advance(1_000)
    await vault.touch(first.id)
    const began = clock.now() - 2_000
    expect(await vault.keysOf('anna')).toEqual([
      {
        id: second.id,
        key: 'another',
        owner: 'anna',
        primary: true,
        limit: null,
        createdAt: new Date(began + 1_000),
        lastUsedAt: null,
      },
      {
        id: first.id,
        key: KEY,
        owner: 'anna',
        primary: false,
        limit: 50,
        createdAt: new Date(began),
        lastUsedAt: new Date(began + 2_000),
      },
    ])
    expect(await vault.ownerOf(KEY)).toBe('anna')
    expect(await vault.ownerOf('bert’s')).toBe('bert')
    expect(await vault.ownerOf('unknown')).toBeUndefined()
    expect(await vault.keysOf('nobody')).toEqual([])
  })

  test('an owner with a NUL, which not every database can keep, is refused in all', async () => {
    const { vault } = await newVault()
    await expect(vault.add(KEY, { owner: 'an\u0000na' })).rejects.toMatchObject({ code: 'INVALID_OPTION' })
  })

  test('asks whose a key is once, however often and at once it is added, and remembers', async () => {
    const ownerOf = vi.fn(async () => 'anna')
    const { database, vault } = await newVault({ ownerOf })
    const added = await Promise.all(Array.from({ length: 5 }, () => vault.add(KEY)))
    expect(new Set(added.map(({ id }) => id)).size).toBe(1)
    await vault.close()
    const reopened = await vaultOn(database, { ownerOf })
    expect(await reopened.add(KEY)).toEqual({ id: added[0]!.id, owner: 'anna' })
    expect(await reopened.ownerOf(KEY)).toBe('anna')
    expect(ownerOf).toHaveBeenCalledTimes(1)
  })

  test('one primary key an owner, also where several are made so at once', async () => {
    const { vault } = await newVault()
    await Promise.all(
      Array.from({ length: 4 }, (_, index) => vault.add(`key ${index}`, { owner: 'anna', primary: true })),
    )
    const keys = await vault.keysOf('anna')
    expect(keys.map((key) => key.primary)).toEqual([true, false, false, false])
    await vault.add(keys[2]!.key, { primary: true })
    expect((await vault.keysOf('anna'))[0]).toMatchObject({ id: keys[2]!.id, primary: true })
    await vault.add(keys[2]!.key, { primary: false, limit: 7 })
    expect((await vault.keysOf('anna')).map((key) => key.primary)).toEqual([false, false, false, false])
  })

  test('a key whose owner changed is an error until it was removed', async () => {
    const { vault } = await newVault()
    const { id } = await vault.add(KEY, { owner: 'anna' })
    const error = await vault.add(KEY, { owner: 'bert' }).catch((error: unknown) => error)
    expect(error).toMatchObject({ code: 'KEY_OWNER_CHANGED' })
    expect(await vault.ownerOf(KEY)).toBe('anna')
    await vault.remove(id)
    await vault.add(KEY, { owner: 'bert' })
    expect(await vault.ownerOf(KEY)).toBe('bert')
    expect(await vault.keysOf('anna')).toEqual([])
  })

  test('a removed key is found by nothing, and its row is gone for good only when it is cleaned up', async () => {
    const clock = createVirtualClock()
    const { database, vault } = await newVault({ clock })
    const { id } = await vault.add(KEY, { owner: 'anna', primary: true })
    await vault.remove(id)
    await vault.remove(id)
    await vault.remove('unknown')
    expect(await vault.ownerOf(KEY)).toBeUndefined()
    expect(await vault.keysOf('anna')).toEqual([])
    await clock.advance(10_000)
    expect(await vault.cleanUp()).toBe(0)
    expect(await vault.cleanUp({ olderThanMs: 20_000 })).toBe(0)
    expect(await database.query('select id from holdfast_owner_key')).toHaveLength(1)
    expect(await vault.cleanUp({ olderThanMs: 10_000 })).toBe(1)
    expect(await database.query('select id from holdfast_owner_key')).toHaveLength(0)
    await vault.remove((await vault.add(KEY, { owner: 'anna' })).id)
    await clock.advance(31 * 24 * 3_600_000)
    await vaultOn(database, { clock })
    expect(await database.query('select id from holdfast_owner_key')).toHaveLength(0)
  })

  test('a removed key is erased: taking the mark off its row gives it to nobody', async () => {
    const { database, vault } = await newVault()
    const { id } = await vault.add(KEY, { owner: 'anna' })
    await vault.remove(id)
    await database.query('update holdfast_owner_key set deleted_at = null')
    await expect(vault.keysOf('anna')).rejects.toMatchObject({ code: 'VAULT_ROW_DAMAGED' })
    await expect(vault.ownerOf(KEY)).rejects.toMatchObject({ code: 'VAULT_ROW_DAMAGED' })
  })

  test("a key's limit is sealed with it: one that was edited in the database opens nothing", async () => {
    const { database, vault } = await newVault()
    await vault.add(KEY, { owner: 'anna', limit: 5 })
    await vault.add(KEY, { limit: 7 })
    expect(await vault.keysOf('anna')).toMatchObject([{ key: KEY, limit: 7 }])
    for (const limit of [5, 1_000_000, null]) {
      await database.query('update holdfast_owner_key set call_limit = ?', [limit])
      await expect(vault.keysOf('anna')).rejects.toMatchObject({ code: 'VAULT_ROW_DAMAGED' })
    }
    await database.query('update holdfast_owner_key set call_limit = 7')
    expect(await vault.keysOf('anna')).toMatchObject([{ key: KEY, limit: 7 }])
  })

  test('several that change the limit of one key at once end with one of theirs, and the key opens', async () => {
    const { database, vault } = await newVault()
    const other = await vaultOn(database)
    await vault.add(KEY, { owner: 'anna' })
    await Promise.all([vault.add(KEY, { limit: 3 }), other.add(KEY, { limit: 4, primary: true })])
    const [key] = await vault.keysOf('anna')
    expect(key).toMatchObject({ key: KEY, primary: true })
    expect([3, 4]).toContain(key?.limit)
  })

  test('a row that was sealed before limits were opens, also under a newer secret, and is bound to its limit when it changes', async () => {
    const { database, vault } = await newVault()
    const { id } = await vault.add(KEY, { owner: 'anna', limit: 5 })
    const old = new KeyRing([SECRET]).seal(KEY, JSON.stringify(['holdfast vault key', 'anna', id, 1]))
    await database.query('update holdfast_owner_key set sealed = ?', [old])
    expect(await vault.keysOf('anna')).toMatchObject([{ key: KEY, limit: 5 }])
    await (await vaultOn(database, { secret: [NEWER, SECRET] })).rotate()
    const after = await vaultOn(database, { secret: NEWER })
    expect(await after.keysOf('anna')).toMatchObject([{ key: KEY, limit: 5 }])
    await database.query('update holdfast_owner_key set call_limit = 6')
    await expect(after.keysOf('anna')).rejects.toMatchObject({ code: 'VAULT_ROW_DAMAGED' })
  })

  test('a use is never made older, whatever the clock does', async () => {
    const clock = createVirtualClock()
    const { vault } = await newVault({ clock })
    const { id } = await vault.add(KEY, { owner: 'anna' })
    await vault.touch(id)
    const used = clock.now()
    clock.step(-3_600_000)
    await vault.touch(id)
    expect((await vault.keysOf('anna'))[0]?.lastUsedAt).toEqual(new Date(used))
  })

  test('nothing that can be read in the database is the key, or a hash of it that anybody could make', async () => {
    const { createHash } = await import('node:crypto')
    const { database, vault } = await newVault()
    await vault.add(KEY, { owner: 'anna' })
    const dump = inspect(
      [await database.query('select * from holdfast_owner_key'), await database.query('select * from holdfast_sealed')],
      { depth: 9, maxArrayLength: null, maxStringLength: null },
    )
    expect(dump).toContain('anna')
    for (const algorithm of ['sha256', 'sha1', 'md5', 'sha512'])
      for (const encoding of ['hex', 'base64', 'base64url'] as const)
        expect(dump).not.toContain(createHash(algorithm).update(KEY).digest(encoding).slice(0, 22))
    expect(dump).not.toContain(KEY)
    expect(
      Buffer.from((await database.query('select sealed from holdfast_owner_key'))[0]!.sealed as Buffer).toString(
        'latin1',
      ),
    ).not.toContain(KEY)
  })

  describe('rotation', () => {
    test('seals all anew under the newest secret but what was removed, and names stay', async () => {
      const { database, vault } = await newVault()
      for (let n = 0; n < 130; n++) await vault.add(`key ${n}`, { owner: `owner ${n % 3}` })
      const { id } = await vault.add(KEY, { owner: 'anna' })
      await vault.remove(id)
      const rotating = await vaultOn(database, { secret: [NEWER, SECRET] })
      // Nothing is lost while two generations of processes are at it.
      const rotation = rotating.rotate()
      for (let n = 0; n < 20; n++) {
        expect(await rotating.ownerOf(`key ${n}`)).toBe(`owner ${n % 3}`)
        await rotating.touch(id)
      }
      const sealedAnew = await rotation
      expect(sealedAnew).toBe(130)
      expect(await rotating.rotate()).toBe(0)
      const after = await vaultOn(database, { secret: NEWER })
      for (let n = 0; n < 130; n += 25) expect(await after.ownerOf(`key ${n}`)).toBe(`owner ${n % 3}`)
      expect(await after.keysOf('owner 0')).toHaveLength(44)
      expect(await after.add('key 0')).toMatchObject({ owner: 'owner 0' })
    })

    test('in its safe order lets every process open every row at every step of a rolling deploy', async () => {
      const { database, vault } = await newVault()
      await vault.add('first', { owner: 'anna' })
      const steps = [SECRET, [SECRET, NEWER], [NEWER, SECRET], NEWER]
      for (let step = 1; step < steps.length; step++) {
        const before = await vaultOn(database, { secret: steps[step - 1]! })
        const after = await vaultOn(database, { secret: steps[step]! })
        await before.add(`before ${step}`, { owner: 'anna' })
        await after.add(`after ${step}`, { owner: 'anna' })
        const keys = (await before.keysOf('anna')).map(({ key }) => key)
        expect(keys).toHaveLength(1 + 2 * step)
        expect((await after.keysOf('anna')).map(({ key }) => key)).toEqual(keys)
        if (step === 2) await after.rotate()
      }
    })

    test('begun the wrong way round says to give the newer secret, not only to remove the row', async () => {
      const { database, vault } = await newVault()
      const ahead = await vaultOn(database, { secret: [NEWER, SECRET] })
      await ahead.add('sealed ahead', { owner: 'anna' })
      await expect(vault.ownerOf('sealed ahead')).rejects.toMatchObject({
        code: 'VAULT_ROW_DAMAGED',
        message: expect.stringContaining('give this process the newer one'),
      })
    })

    test('two processes that rotate at once seal each row once', async () => {
      const { database, vault } = await newVault()
      for (let n = 0; n < 120; n++) await vault.add(`key ${n}`, { owner: 'anna' })
      const both = await Promise.all([1, 2].map(() => vaultOn(database, { secret: [NEWER, SECRET] })))
      const counts = await Promise.all(both.map((vault) => vault.rotate()))
      expect(counts[0]! + counts[1]!).toBe(120)
      expect(await (await vaultOn(database, { secret: NEWER })).keysOf('anna')).toHaveLength(120)
    })
  })

  describe('trouble', () => {
    test('the wrong secret opens nothing, says so, and changes nothing', async () => {
      const { database, vault } = await newVault()
      await vault.add(KEY, { owner: 'anna' })
      await expect(createKeyVault({ database: database.url, secret: NEWER })).rejects.toMatchObject({
        code: 'VAULT_WRONG_SECRET',
      })
      expect(await (await vaultOn(database)).keysOf('anna')).toHaveLength(1)
    })

    test.each<[string, string]>([
      [
        'truncated',
        kind === 'SQLite'
          ? 'update holdfast_owner_key set sealed = substr(sealed, 1, 40)'
          : 'update holdfast_owner_key set sealed = substring(sealed from 1 for 40)',
      ],
      [
        'emptied',
        kind === 'SQLite'
          ? "update holdfast_owner_key set sealed = x''"
          : "update holdfast_owner_key set sealed = ''::bytea",
      ],
      ['given to another owner', "update holdfast_owner_key set owner = 'mallory'"],
      ['set back to an older version', 'update holdfast_owner_key set version = version + 1'],
    ])('a row that was %s is named, never used, and can be replaced', async (_how, statement) => {
      const { database, vault } = await newVault()
      const { id } = await vault.add(KEY, { owner: 'anna' })
      await database.query(statement)
      const owner = statement.includes('mallory') ? 'mallory' : 'anna'
      for (const ask of [() => vault.keysOf(owner), () => vault.ownerOf(KEY), () => vault.add(KEY, { owner })]) {
        const error = await ask().catch((error: unknown) => error)
        expect(error).toMatchObject({ code: 'VAULT_ROW_DAMAGED', message: expect.stringContaining(id) })
        expect(inspect(error, { depth: 9 })).not.toContain(KEY)
      }
      await vault.remove(id)
      await vault.add(KEY, { owner: 'anna' })
      expect(await vault.keysOf('anna')).toMatchObject([{ key: KEY }])
    })

    test("a damaged row hides only itself: its owner's other keys are given, and it is told of once", async () => {
      const { database, vault } = await newVault()
      const { id } = await vault.add(KEY, { owner: 'anna', primary: true })
      await vault.add('good-1', { owner: 'anna' })
      await vault.add('good-2', { owner: 'anna' })
      await database.query(`update holdfast_owner_key set version = version + 1 where id = '${id}'`)
      const warned: object[] = []
      const emitWarning = vi
        .spyOn(process, 'emitWarning')
        .mockImplementation((message, options) => void warned.push({ message, ...(options as object) }))
      try {
        for (const _ of ['first', 'second'])
          expect((await vault.keysOf('anna')).map(({ key }) => key)).toEqual(['good-1', 'good-2'])
      } finally {
        emitWarning.mockRestore()
      }
      expect(warned).toHaveLength(1)
      expect(warned[0]).toMatchObject({ code: 'VAULT_ROW_DAMAGED', message: expect.stringContaining(id) })
      expect(inspect(warned)).not.toContain(KEY)
    })

    test("a name that was written onto another owner's row gives nobody that owner", async () => {
      const { database, vault } = await newVault()
      await vault.add('mallory’s', { owner: 'mallory' })
      const [mallory] = await database.query('select name from holdfast_owner_key')
      await vault.remove((await vault.add('other', { owner: 'x' })).id)
      await vault.add(KEY, { owner: 'anna' })
      await database.query("delete from holdfast_owner_key where owner <> 'anna'")
      await database.query('update holdfast_owner_key set name = ?', [mallory!.name])
      await expect(vault.ownerOf('mallory’s')).rejects.toMatchObject({ code: 'VAULT_ROW_DAMAGED' })
    })

    test('rotation passes over damaged rows, seals the others and then names them', async () => {
      const { database, vault } = await newVault()
      const { id } = await vault.add(KEY, { owner: 'anna' })
      for (let n = 0; n < 5; n++) await vault.add(`key ${n}`, { owner: 'bert' })
      await database.query("update holdfast_owner_key set owner = 'mallory' where owner = 'anna'")
      const rotating = await vaultOn(database, { secret: [NEWER, SECRET] })
      await expect(rotating.rotate()).rejects.toMatchObject({
        code: 'VAULT_ROW_DAMAGED',
        message: expect.stringMatching(new RegExp(`${id}.*5 other rows were sealed anew`)),
      })
      expect(await (await vaultOn(database, { secret: NEWER })).keysOf('bert')).toHaveLength(5)
    })

    test('nobody who knows the owner: nothing is stored, and the key is in no error', async () => {
      const { database, vault } = await newVault()
      await expect(vault.add(KEY)).rejects.toMatchObject({ code: 'KEY_OWNER_UNKNOWN' })
      const wrongs: Array<() => Promise<string>> = [
        () => Promise.reject(new Error(`GET https://api.example/user?key=${KEY} failed`)),
        () => Promise.reject(Object.assign(new Error('failed'), { url: `https://api.example/?key=${KEY}` })),
        () => {
          throw KEY
        },
        () => Promise.reject(new Error(`GET https://api.example/user?key=${encodeURIComponent(KEY)} failed`)),
        () => Promise.reject(new Error(`Basic ${Buffer.from(KEY).toString('base64')}`)),
        () => Promise.reject(Object.assign(new Error('failed'), { code: KEY, name: KEY })),
        async () => undefined as never,
        async () => '',
      ]
      for (const ownerOf of wrongs) {
        const error = await (await vaultOn(database, { ownerOf })).add(KEY).catch((error: unknown) => error)
        expect(error).toMatchObject({ code: 'KEY_OWNER_UNKNOWN' })
        const shown = inspect(error, { depth: 9 })
        for (const form of [KEY, encodeURIComponent(KEY), Buffer.from(KEY).toString('base64')])
          expect(shown).not.toContain(form)
      }
      const safe = await (
        await vaultOn(database, {
          ownerOf: () => Promise.reject(Object.assign(new TypeError('503'), { code: 'ECONNRESET' })),
        })
      )
        .add(KEY)
        .catch((error: unknown) => error)
      expect((safe as Error).cause).toEqual(new Error('TypeError ECONNRESET'))
      expect(await vault.ownerOf(KEY)).toBeUndefined()
    })

    test('what cannot be used is refused, and shows no key', async () => {
      const { vault } = await newVault()
      const wrongs: Array<() => Promise<unknown>> = [
        () => vault.add('', { owner: 'a' }),
        () => vault.add(5 as never, { owner: 'a' }),
        () => vault.add('x'.repeat(5_000), { owner: 'a' }),
        () => vault.add('half \ud83d', { owner: 'a' }),
        () => vault.add(KEY, { owner: 'half \udc00' }),
        () => vault.add(KEY, { owner: '' }),
        () => vault.add(KEY, { owner: 'a', limit: -1 }),
        () => vault.add(KEY, { owner: 'a', limit: 1.5 }),
        () => vault.add(KEY, { owner: 'a', primary: 'yes' as never }),
        () => vault.keysOf(''),
        () => vault.ownerOf(''),
        () => vault.cleanUp({ olderThanMs: -1 }),
      ]
      for (const wrong of wrongs) {
        const error = await wrong().catch((error: unknown) => error)
        expect(error).toMatchObject({ code: 'INVALID_OPTION' })
        expect(String(error)).not.toContain(KEY)
      }
    })

    test('closed, it says so', async () => {
      const { vault } = await newVault()
      await Promise.all([vault.close(), vault.close()])
      await expect(vault.keysOf('anna')).rejects.toMatchObject({ code: 'CLOSED' })
      await expect(vault.add(KEY, { owner: 'anna' })).rejects.toMatchObject({ code: 'CLOSED' })
    })
  })

  test('several processes open an empty database at once: one makes the tables, all use the same names', async () => {
    const database = await newDatabase()
    const worker = join(tmpdir(), `holdfast-vault-${process.pid}-${kind}.ts`)
    cleanUps.push(() => rmSync(worker))
    writeFileSync(
      worker,
      `import { createKeyVault } from '${new URL('../../src/index.ts', import.meta.url).href}'
const vault = await createKeyVault({ database: process.argv[2], secret: '${SECRET}' })
await vault.add('of ' + process.argv[3], { owner: 'anna' })
await vault.add('of all', { owner: 'anna', primary: true })
await vault.close()
`,
    )
    const codes = await Promise.all(
      Array.from({ length: 4 }, async (_, index) => {
        const child = fork(worker, [database.url, String(index)], {
          stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
          execArgv: ['--disable-warning=ExperimentalWarning'],
        })
        return (await once(child, 'exit'))[0] as number
      }),
    )
    expect(codes).toEqual([0, 0, 0, 0])
    const keys = await (await vaultOn(database)).keysOf('anna')
    expect(keys.map(({ key }) => key).sort()).toEqual(['of 0', 'of 1', 'of 2', 'of 3', 'of all'])
    const done = (await database.query('select name from holdfast_migration')).map(({ name }) => name)
    expect(done).toContain('1 owner keys')
    expect(new Set(done).size).toBe(done.length)
  })
})

/** Everything that a vault does, once. */
async function usesAllOf(database: string | object): Promise<void> {
  const before = await createKeyVault({ database, secret: SECRET })
  cleanUps.push(() => before.close())
  const { id } = await before.add(KEY, { owner: 'anna', limit: 5 })
  await Promise.all(Array.from({ length: 8 }, (_, n) => before.add(`key ${n}`, { owner: 'anna', primary: n === 3 })))
  await before.add(KEY, { limit: 6 })
  await before.touch(id)
  const rotating = await createKeyVault({ database, secret: [NEWER, SECRET] })
  cleanUps.push(() => rotating.close())
  expect(await rotating.rotate()).toBe(9)
  await rotating.remove((await rotating.add('key 0')).id)
  const after = await createKeyVault({ database, secret: NEWER })
  cleanUps.push(() => after.close())
  const keys = await after.keysOf('anna')
  expect(keys).toHaveLength(8)
  expect(keys[0]).toMatchObject({ key: 'key 3', primary: true })
  expect(keys.find((key) => key.id === id)).toMatchObject({ key: KEY, limit: 6, lastUsedAt: expect.any(Date) })
  expect(await after.ownerOf('key 0')).toBeUndefined()
  expect(await after.cleanUp({ olderThanMs: 0 })).toBe(1)
}

test('a batch notes in the vault which keys it used', async () => {
  const clock = createVirtualClock()
  const vault = await createKeyVault({ secret: SECRET, clock })
  cleanUps.push(() => vault.close())
  await vault.add('first', { owner: 'anna' })
  await vault.add('primary', { owner: 'anna', primary: true })
  await clock.advance(5_000)
  const quota = createOwnerQuota({ limit: 10, windowMs: 10_000, clock })
  const send = async () => {}
  const keys = await vault.keysOf('anna')
  await batch([1, 2, 3], { keys, quota, vault, send })
  expect((await vault.keysOf('anna')).map(({ lastUsedAt }) => lastUsedAt)).toEqual([new Date(clock.now()), null])
  for await (const _ of batchStream([1], { keys: keys.slice(1), quota, vault, send }));
  expect((await vault.keysOf('anna')).map(({ lastUsedAt }) => lastUsedAt)).not.toContain(null)
})

test('a vault keeps its keys in a Kysely instance of the user, and leaves it open', async () => {
  const { Kysely, SqliteDialect } = await import('kysely')
  const { DatabaseSync } = await import('node:sqlite')
  const file = new DatabaseSync(':memory:')
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
  await usesAllOf(kysely)
  for (const close of cleanUps.splice(1).reverse()) await close()
  expect(await kysely.selectFrom('holdfast_owner_key').select('owner').distinct().execute()).toEqual([
    { owner: 'anna' },
  ])
})

test.skipIf(!inject('postgresUrl') || !havePgBouncer())(
  'a vault works through PgBouncer in transaction mode',
  async () => {
    const [, make] = DATABASES.find(([name]) => name === 'PostgreSQL')!
    const behind = await make()
    cleanUps.push(() => behind.drop())
    const pooler = await startPgBouncer(behind.url, 2)
    cleanUps.push(() => pooler.stop())
    await usesAllOf(pooler.url)
  },
)

describe.skipIf(!inject('postgresUrl'))('a PostgreSQL that goes away', () => {
  const [, make] = DATABASES.find(([name]) => name === 'PostgreSQL') ?? []

  test('in mid-write: a clear error, nothing half done, and the same again once it is back', async () => {
    const database = await make!()
    cleanUps.push(() => database.drop())
    const wire = await wireTo(database.url)
    cleanUps.push(() => wire.close())
    const vault = await createKeyVault({ database: wire.url, secret: SECRET })
    cleanUps.push(() => vault.close())
    const before = await vault.add('before', { owner: 'anna', primary: true })
    // Somebody holds the row that the write needs, so that it stands in the middle when the wire is cut.
    const blocker = new pg.Client({ connectionString: database.url })
    await blocker.connect()
    await blocker.query('begin')
    await blocker.query('select 1 from holdfast_owner_key for update')
    const adding = vault.add(KEY, { owner: 'anna', primary: true }).catch((error: unknown) => error)
    await new Promise((resolve) => setTimeout(resolve, 200))
    wire.cut()
    const error = await adding
    expect(error).toMatchObject({ code: 'DATABASE_UNAVAILABLE' })
    expect(inspect(error, { depth: 9 })).not.toContain(KEY)
    await expect(vault.keysOf('anna')).rejects.toMatchObject({ code: 'DATABASE_UNAVAILABLE' })
    await blocker.query('rollback')
    await blocker.end()
    wire.mend()
    expect(await vault.keysOf('anna')).toMatchObject([{ id: before.id, primary: true }])
    await vault.add(KEY, { owner: 'anna', primary: true })
    expect((await vault.keysOf('anna')).map(({ key, primary }) => [key, primary])).toEqual([
      [KEY, true],
      ['before', false],
    ])
  })

  test('without a word: everything ends after its time', async () => {
    const database = await make!()
    cleanUps.push(() => database.drop())
    const wire = await wireTo(database.url)
    cleanUps.push(() => wire.close())
    const clock = createVirtualClock()
    const vault = await createKeyVault({ database: wire.url, secret: SECRET, clock })
    wire.freeze()
    const pending = [vault.keysOf('anna'), vault.add(KEY, { owner: 'anna' })].map((work) =>
      work.catch((error: unknown) => error),
    )
    await clock.advance(5_000)
    for (const error of await Promise.all(pending)) expect(error).toMatchObject({ code: 'DATABASE_UNAVAILABLE' })
    const closing = vault.close()
    await clock.advance(5_000)
    await closing
    wire.close()
  })

  test('no server at all is an error that holds no password', async () => {
    const error = await createKeyVault({
      database: 'postgres://user:p4ssw0rd@127.0.0.1:1/app',
      secret: SECRET,
    }).catch((error: unknown) => error)
    expect(error).toMatchObject({ code: 'DATABASE_UNAVAILABLE' })
    expect(inspect(error, { depth: 9 })).not.toContain('p4ssw0rd')
  })

  test('what is asked of it, and with what, never holds a key', async () => {
    const seen: string[] = []
    const query = pg.Client.prototype.query as (...words: unknown[]) => unknown
    vi.spyOn(pg.Client.prototype, 'query').mockImplementation(function (this: unknown, ...words: unknown[]) {
      seen.push(inspect(words.slice(0, 2), { depth: 9, maxStringLength: null }))
      return query.apply(this, words)
    } as never)
    cleanUps.push(() => vi.restoreAllMocks())
    const database = await make!()
    cleanUps.push(() => database.drop())
    const vault = await createKeyVault({ database: database.url, secret: [NEWER, SECRET], ownerOf: async () => 'anna' })
    cleanUps.push(() => vault.close())
    const { id } = await vault.add(KEY, { primary: true, limit: 3 })
    await vault.ownerOf(KEY)
    await vault.keysOf('anna')
    await vault.touch(id)
    await vault.rotate()
    await vault.remove(id)
    expect(seen.length).toBeGreaterThan(10)
    expect(seen.join('\n')).not.toContain(KEY)
  })
})

describe('a SQLite file', () => {
  test('that cannot be opened, or is none, is an error that says so', async () => {
    await expect(createKeyVault({ database: 'sqlite:/no/such/folder/vault.db', secret: SECRET })).rejects.toMatchObject(
      {
        code: 'DATABASE_UNAVAILABLE',
      },
    )
    const file = join(tmpdir(), `holdfast-no-database-${process.pid}`)
    writeFileSync(file, 'a letter, and no database, of more than a few bytes '.repeat(20))
    cleanUps.push(() => rmSync(file))
    await expect(createKeyVault({ database: `sqlite:${file}`, secret: SECRET })).rejects.toMatchObject({
      code: 'DATABASE_FOREIGN',
    })
  })

  test('that another process has locked is waited for, and not for ever', async () => {
    const [, make] = DATABASES[0]!
    const database = await make()
    cleanUps.push(() => database.drop())
    const { DatabaseSync } = await import('node:sqlite')
    const vault = await createKeyVault({ database: database.url, secret: SECRET })
    cleanUps.push(() => vault.close())
    const other = new DatabaseSync(database.url.slice('sqlite:'.length))
    cleanUps.push(() => other.close())
    other.exec('begin immediate')
    const adding = vault.add(KEY, { owner: 'anna' })
    await new Promise((resolve) => setTimeout(resolve, 300))
    other.exec('commit')
    await adding
    other.exec('begin immediate')
    await expect(vault.add('second', { owner: 'anna' })).rejects.toMatchObject({ code: 'DATABASE_UNAVAILABLE' })
    other.exec('rollback')
    expect(await vault.keysOf('anna')).toMatchObject([{ key: KEY }])
  })
})

describe('settings', () => {
  test('without a database a vault lasts as long as the process; with an instance it shares its own', async () => {
    const alone = await createKeyVault({ secret: SECRET })
    await alone.add(KEY, { owner: 'anna' })
    expect(await alone.keysOf('anna')).toHaveLength(1)
    await alone.close()
    const [, make] = DATABASES[0]!
    const database = await make()
    cleanUps.push(() => database.drop())
    await using holdfast = createHoldfast({ database: database.url, secret: SECRET })
    const vault = await createKeyVault({ holdfast })
    await vault.add(KEY, { owner: 'anna' })
    await vault.close()
    expect(await database.query('select owner from holdfast_owner_key')).toMatchObject([{ owner: 'anna' }])
  })

  test('that cannot be are a ConfigError', async () => {
    for (const [options, option] of [
      [{}, 'secret'],
      [{ secret: 'short' }, 'secret'],
      [{ secret: SECRET, database: 'mysql://x' }, 'database'],
      [{ secret: SECRET, ownerOf: 5 }, 'ownerOf'],
      [{ secret: SECRET, holdfast: {} }, 'holdfast'],
      [undefined, 'secret'],
      [5, 'options'],
    ] as const)
      await expect(createKeyVault(options as never)).rejects.toMatchObject({ code: 'CONFIG_INVALID', option })
  })
})
