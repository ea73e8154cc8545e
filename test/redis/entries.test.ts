import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import type { SharedKey, Ticket } from '../../src/cache/shared-tier.ts'
import { attentive } from '../contracts/shared-tier.ts'
import { startRedisServer } from '../support/redis-server.ts'
import { startProxy } from './proxy.ts'
import { beside, freshNamespace, openFleet, openRoom, REDIS_URL, type Room, SERVERS, timed, until } from './room.ts'

const FRESH = 60_000
const STALE = 600_000

const userKey = (user: string, key = 'guilds'): SharedKey => ({
  id: `\0u${user.length}:${user}${key}`,
  user,
  label: key,
  version: 'json',
})
const ownKey = (id: string): SharedKey => ({ id, user: undefined, label: 'own', version: 'json' })

const ticketOf = async ({ entries }: Room, key: SharedKey): Promise<Ticket> => {
  const begun = await entries.begin(key, FRESH, STALE)
  if (begun?.kind !== 'load') throw new Error(`got ${JSON.stringify(begun)} instead of leave to load`)
  return begun.ticket
}
const store = async (room: Room, key: SharedKey, text: string) => {
  expect(await room.entries.write(key, await ticketOf(room, key), text, STALE)).toBe(true)
}
const textOf = async ({ entries }: Room, key: SharedKey) => (await entries.read(key))?.value?.text

async function ownServer(args: readonly string[] = []) {
  const server = await startRedisServer(args)
  return Object.assign(server, { [Symbol.asyncDispose]: () => server.stop() })
}
const close = (rooms: Room[]) => {
  for (const { connection } of rooms) connection.close()
}

describe.skipIf(!SERVERS).concurrent('a Redis that freezes', () => {
  test('applies a write late, and it changes nothing where its key or user was invalidated meanwhile', async () => {
    await using server = await ownServer()
    const [a, b] = (await openFleet(2, { url: server.url, readTimeoutMs: 100, writeTimeoutMs: 200 })) as [Room, Room]
    const keys = [userKey('1'), userKey('2'), ownKey('own')]
    const tickets = await Promise.all(keys.map((key) => ticketOf(a, key)))
    server.freeze()
    const writes = keys.map((key, nth) => a.entries.write(key, tickets[nth]!, 'late', STALE))
    expect(await Promise.all(writes)).toEqual([undefined, undefined, undefined])
    await Promise.all([b.entries.invalidate(keys[0]!), b.entries.invalidateUser('2'), b.entries.invalidate(keys[2]!)])
    server.thaw()
    await Promise.all([a.up(), b.up()])
    for (const room of [a, b]) for (const key of keys) expect(await textOf(room, key)).toBeUndefined()
    // Also where it arrives after the invalidation, for sure.
    for (const [nth, key] of keys.entries()) {
      expect(await a.entries.write(key, tickets[nth]!, 'later', STALE)).toBe(false)
      expect(await textOf(b, key)).toBeUndefined()
    }
    close([a, b])
  })

  test('is told of invalidations that time out before it is read again', async () => {
    await using server = await ownServer()
    const [a, b] = (await openFleet(2, { url: server.url, readTimeoutMs: 100, writeTimeoutMs: 200 })) as [Room, Room]
    const key = userKey('1')
    await store(a, key, 'v')
    server.freeze()
    await b.entries.invalidate(key)
    server.thaw()
    await b.up()
    expect(await textOf(b, key)).toBeUndefined()
    await a.up()
    expect(await textOf(a, key)).toBeUndefined()
    close([a, b])
  })
})

describe.skipIf(!SERVERS).concurrent('the mark of an invalidated key', () => {
  test('outlives a newer value that is kept for less: a write from before it still comes too late', async () => {
    await using server = await ownServer()
    const room = await openRoom({ url: server.url }).up()
    const key = userKey('1')
    const early = await ticketOf(room, key)
    await room.entries.invalidate(key)
    expect(await room.entries.write(key, await ticketOf(room, key), 'new', 1)).toBe(true)
    await sleep(30)
    expect(await room.entries.write(key, early, 'from before', STALE)).toBe(false)
    close([room])
  })
})

describe.skipIf(!SERVERS).concurrent('a Redis that lost something', () => {
  test('all of it, by FLUSHALL: everybody carries on, and newcomers agree on the names', async () => {
    await using server = await ownServer()
    const namespace = freshNamespace()
    // The naming key comes from the oldest secret: these two would begin with different ones.
    const a = await openRoom({ url: server.url, namespace, secrets: [NEW, OLD] }).up()
    const key = userKey('1')
    await store(a, key, 'v')
    const early = await ticketOf(a, userKey('2'))
    using client = await beside(server.url)
    await client.flushAll()
    expect(await textOf(a, key)).toBeUndefined()
    // Not stored, and no reason for the process that loaded it to forget it.
    expect(await a.entries.write(userKey('2'), early, 'from before', STALE)).toBeUndefined()
    expect(await textOf(a, userKey('2'))).toBeUndefined()
    await store(a, key, 'w')
    expect(await textOf(a, key)).toBe('w')
    const b = await openRoom({ url: server.url, namespace, secrets: [NEW] }).up()
    await until(() => a.naming.names.of('user', '1') === b.naming.names.of('user', '1'), 5_000, 'one name for a user')
    await a.up()
    await store(b, key, 'x')
    expect(await textOf(a, key)).toBe('x')
    close([a, b])
  })

  test('all of it, by a restart', async () => {
    await using server = await ownServer()
    const [a, b] = (await openFleet(2, { url: server.url })) as [Room, Room]
    const key = userKey('1')
    await store(a, key, 'v')
    const early = await ticketOf(a, userKey('2'))
    await server.kill()
    await Promise.all([a.away(), b.away()])
    await server.start()
    await Promise.all([a.up(), b.up()])
    expect(await textOf(a, key)).toBeUndefined()
    // Not stored, and no reason for the process that loaded it to forget it.
    expect(await a.entries.write(userKey('2'), early, 'from before', STALE)).toBeUndefined()
    expect(await textOf(a, userKey('2'))).toBeUndefined()
    await store(a, key, 'w')
    expect(await textOf(b, key)).toBe('w')
    close([a, b])
  })

  test.each(['rdb', 'aof'])(
    'its last writes, by a restart with an old %s: an invalidation it forgot is said again',
    async (how) => {
      const folder = mkdtempSync(join(tmpdir(), 'holdfast-redis-'))
      const args = how === 'aof' ? ['--appendonly', 'yes', '--appendfsync', 'always'] : []
      await using server = await ownServer(['--dir', folder, ...args])
      const [a, b] = (await openFleet(2, { url: server.url })) as [Room, Room]
      const [one, two, own, kept] = [userKey('1'), userKey('2'), ownKey('own'), userKey('3')]
      for (const key of [one, two, own, kept]) await store(a, key, 'v')
      using client = await beside(server.url)
      if (how === 'rdb') await client.sendCommand(['SAVE'])
      else await client.configSet('appendonly', 'no')
      await Promise.all([a.entries.invalidate(one), a.entries.invalidateUser('2'), b.entries.invalidate(own)])
      expect(await textOf(b, one)).toBeUndefined()
      await server.kill()
      await Promise.all([a.away(), b.away()])
      await server.start()
      await Promise.all([a.up(), b.up()])
      for (const room of [a, b]) {
        for (const key of [one, two, own]) expect(await textOf(room, key)).toBeUndefined()
        expect(await textOf(room, kept)).toBe('v')
      }
      // What was stored since then is not taken back by saying it again.
      await store(a, one, 'new')
      await store(a, two, 'new')
      await server.freeze()
      await a.entries.invalidate(ownKey('something'))
      server.thaw()
      await a.away()
      await Promise.all([a.up(), b.up()])
      for (const key of [one, two]) expect(await textOf(b, key)).toBe('new')
      close([a, b])
      rmSync(folder, { recursive: true, force: true })
    },
  )

  test('its scripts: they are sent again', async () => {
    await using server = await ownServer()
    const [a, b] = (await openFleet(2, { url: server.url })) as [Room, Room]
    await store(a, userKey('1'), 'v')
    using client = await beside(server.url)
    await client.scriptFlush()
    await a.entries.invalidate(userKey('1'))
    expect(await textOf(b, userKey('1'))).toBeUndefined()
    await client.scriptFlush()
    await store(b, userKey('1'), 'w')
    expect(await textOf(a, userKey('1'))).toBe('w')
    expect(a.failures()).toEqual([])
    close([a, b])
  })

  test('its scripts, just when an invalidation is followed by a read: the read does not overtake it', async () => {
    await using server = await ownServer()
    const [a, b] = (await openFleet(2, { url: server.url })) as [Room, Room]
    using client = await beside(server.url)
    for (const invalidate of [
      (key: SharedKey) => a.entries.invalidate(key),
      (key: SharedKey) => a.entries.invalidateUser(key.user!),
    ]) {
      const key = userKey('1')
      await store(b, key, 'v')
      await client.scriptFlush()
      const invalidated = invalidate(key)
      expect(await textOf(a, key)).toBeUndefined()
      await invalidated
    }
    close([a, b])
  })
})

describe.skipIf(!SERVERS).concurrent('a Redis whose memory is full', () => {
  test('is read on; writes fail quietly, and invalidations do not', async () => {
    await using server = await ownServer()
    const [a, b] = (await openFleet(2, { url: server.url })) as [Room, Room]
    const [one, two, own, kept, next] = [userKey('1'), userKey('2'), ownKey('own'), userKey('3'), userKey('4')]
    for (const key of [one, two, own, kept]) await store(a, key, 'v')
    const heard = attentive(b.entries)
    using client = await beside(server.url)
    await client.configSet('maxmemory', '1')
    expect(await textOf(b, kept)).toBe('v')
    expect(await b.entries.begin(next, FRESH, STALE)).toBeUndefined()
    expect(await b.entries.take(next, STALE)).toBeUndefined()
    await Promise.all([a.entries.invalidate(one), a.entries.invalidateUser('2'), a.entries.invalidate(own)])
    for (const room of [a, b]) {
      for (const key of [one, two, own]) expect(await textOf(room, key)).toBeUndefined()
      expect(await textOf(room, kept)).toBe('v')
    }
    const invalidations = () => heard.filter((what) => what.includes('invalidated')).length
    await expect.poll(invalidations, { timeout: 1_000 }).toBe(3)
    a.fleet.announce({ about: 'egress' }, 1_000)
    a.fleet.invalidSent(true)
    // Nobody counts it as away, and whoever comes anew gets in.
    using late = await openRoom({ url: server.url, namespace: a.namespace }).up()
    expect(await textOf(late, kept)).toBe('v')
    for (const room of [a, b, late]) {
      expect(room.states()).not.toContain('open')
      expect(room.lines).toEqual([])
      for (const failure of room.failures()) expect(failure).toMatch(/^(begin|write|renew|give up) REDIS_UNAVAILABLE$/)
    }
    await client.configSet('maxmemory', '0')
    await store(b, next, 'v')
    expect(await textOf(a, next)).toBe('v')
    close([a, b])
  })
})

describe.skipIf(!SERVERS).concurrent('what is invalidated while a process catches up', () => {
  test('is said as soon as it is back, to all', async () => {
    await using server = await ownServer()
    await using proxy = await startProxy(server.port)
    const namespace = freshNamespace()
    const a = await openRoom({ url: proxy.url, namespace }).up()
    const b = await openRoom({ url: server.url, namespace }).up()
    const keys = Array.from({ length: 20 }, (_, nth) => userKey(`${nth}`))
    for (const key of keys) await store(b, key, 'v')
    proxy.reset()
    await a.away()
    // Catching up takes about ten round trips; one of these falls between any two of them.
    proxy.set({ answers: 'delay', ms: 30 })
    for (const [nth, key] of keys.entries()) {
      await (nth % 2 ? a.entries.invalidate(key) : a.entries.invalidateUser(key.user!))
      await sleep(30)
    }
    await a.up()
    const gone = async () => (await Promise.all(keys.map((key) => textOf(b, key)))).every((text) => text === undefined)
    await until(gone, 2_000, 'everything that was invalidated to be gone')
    close([a, b])
  })

  test('is not lost where it comes while everything is being invalidated', async () => {
    await using server = await ownServer()
    await using proxy = await startProxy(server.port)
    const namespace = freshNamespace()
    const a = await openRoom({ url: proxy.url, namespace }).up()
    const b = await openRoom({ url: server.url, namespace }).up()
    const key = userKey('1')
    proxy.reset()
    await a.away()
    proxy.set({ answers: 'delay', ms: 30 })
    for (let nth = 0; nth < 10_001; nth++) await a.entries.invalidate(ownKey(`gone-${nth}`))
    while (!a.connection.isUp) {
      await store(b, key, 'v').catch(() => {})
      await a.entries.invalidate(key)
      await sleep(5)
    }
    await until(async () => (await textOf(b, key)) === undefined, 2_000, 'the last one to be gone')
    close([a, b])
  })
})

describe.skipIf(!REDIS_URL)('the end of a load', () => {
  test.each(['written', 'given up'])(
    '(%s) is not missed by who asks while its news overtake the answer',
    async (how) => {
      const port = Number(new URL(REDIS_URL!).port || 6379)
      await using proxy = await startProxy(port)
      const namespace = freshNamespace()
      const a = await openRoom({ namespace }).up()
      const b = await openRoom({ namespace, url: proxy.url }).up()
      const key = userKey('1')
      const ticket = await ticketOf(a, key)
      proxy.set({ answers: 'delay', ms: 80, on: 'commands' })
      const asked = b.entries.begin(key, FRESH, STALE)
      await sleep(20)
      if (how === 'written') await a.entries.write(key, ticket, 'v', STALE)
      else await a.entries.giveUp(key, ticket, 0)
      const begun = (await asked) as { kind: 'wait'; forMs: number }
      expect(begun.kind).toBe('wait')
      const { ms } = await timed(() => b.entries.done(key, begun.forMs, new AbortController().signal))
      expect(ms).toBeLessThan(500)
      close([a, b])
    },
  )
})

describe.skipIf(!REDIS_URL)('processes that share the seed of their chance', () => {
  test('hear each other, and do not share a lease', async () => {
    const [a, b] = (await openFleet(2, { random: () => 0.5 })) as [Room, Room]
    const heard = attentive(b.entries)
    const [one, two] = await Promise.all([a, b].map(({ entries }) => entries.begin(userKey('1'), FRESH, STALE)))
    expect([one!.kind, two!.kind].sort()).toEqual(['load', 'wait'])
    await a.entries.invalidate(userKey('2'))
    await expect.poll(() => heard, { timeout: 1_000 }).toEqual([`invalidated ${userKey('2').id}`])
    close([a, b])
  })
})

describe.skipIf(!REDIS_URL)('what Redis keeps of an invalidation', () => {
  test('lasts as long as a value that a process which is cut off may hold', async () => {
    using room = await openRoom({ staleMs: STALE }).up()
    using client = await beside()
    await room.entries.invalidate(ownKey('own'))
    await room.entries.invalidateUser('1')
    const keys = await client.keys(`${room.connection.prefix}*`)
    const marks = keys.filter((key) => /:(entry|epoch)(:|$)/.test(key))
    expect(marks).toHaveLength(2)
    for (const key of marks) expect(await client.pTTL(key)).toBeGreaterThan(STALE)
  })

  test('everything that is kept for users and keys ends by itself', async () => {
    using room = await openRoom({ staleMs: STALE }).up()
    using client = await beside()
    await store(room, userKey('1'), 'v')
    await ticketOf(room, userKey('2'))
    await room.entries.giveUp(userKey('3'), await ticketOf(room, userKey('3')), 1_000)
    await room.entries.invalidate(ownKey('own'))
    room.fleet.announce({ about: 'token', tokenId: 'x' }, 60_000)
    room.fleet.invalidSent(false)
    await sleep(100)
    for (const key of await client.keys(`${room.connection.prefix}*`))
      if (!key.endsWith('{names}:key')) expect(await client.pTTL(key), key).toBeGreaterThan(0)
  })
})

const OLD = 'the-old-secret-of-thirty-two-bytes-or-more'
const NEW = 'the-new-secret-of-thirty-two-bytes-or-more'
