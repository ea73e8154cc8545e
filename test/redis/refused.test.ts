import { setTimeout as sleep } from 'node:timers/promises'
import { createHoldfast, type Holdfast } from 'holdfast'
import { describe, expect, test } from 'vitest'
import { systemClock } from '../../src/time/clock.ts'
import { attentive } from '../contracts/shared-tier.ts'
import { guildsOf, ownServer, STALE, store, textOf } from './own-server.ts'
import { beside, openFleet, openRoom, type Room, SECRET, SERVERS, until } from './room.ts'

const close = (...rooms: Room[]) => {
  for (const { connection } of rooms) connection.close()
}

describe.skipIf(!SERVERS).concurrent('an invalidation', () => {
  test('that Redis refuses while it is up is said again until it takes it', async () => {
    await using server = await ownServer()
    const [a, b] = (await openFleet(2, { url: server.url })) as [Room, Room]
    const [one, two] = [guildsOf('1'), guildsOf('2')]
    for (const key of [one, two]) await store(a, key, 'v')
    const heard = attentive(b.entries)
    using client = await beside(server.url)
    await client.configSet('min-replicas-to-write', '1')
    await Promise.all([a.entries.invalidate(one), a.entries.invalidateUser('2')])
    expect(a.failures()).toContain('invalidate REDIS_UNAVAILABLE')
    // Nothing is read of it where it was invalidated, and the connection is not at fault.
    expect(await textOf(a, one)).toBeUndefined()
    expect(a.states()).not.toContain('open')
    await sleep(300)
    await client.configSet('min-replicas-to-write', '0')
    await until(async () => (await textOf(b, one)) === undefined, 5_000, 'the key to be gone')
    await until(async () => (await textOf(b, two)) === undefined, 5_000, 'the user to be gone')
    await until(() => heard.filter((what) => what.includes('invalidated')).length >= 2, 5_000, 'both to be heard')
    await store(b, one, 'new')
    await sleep(200)
    expect(await textOf(a, one)).toBe('new')
    close(a, b)
  })

  test('that only others heard is said again by them, where Redis comes back from before it', async () => {
    await using server = await ownServer()
    const [a, b, c] = (await openFleet(3, { url: server.url })) as [Room, Room, Room]
    const keys = [guildsOf('1'), guildsOf('2')] as const
    for (const key of keys) await store(a, key, 'v')
    const heard = attentive(b.entries)
    using client = await beside(server.url)
    await client.sendCommand(['SAVE'])
    await a.entries.invalidate(keys[0])
    await a.entries.invalidateUser('2')
    await until(() => heard.filter((what) => what.includes('invalidated')).length >= 2, 5_000, 'both to be heard')
    close(a)
    await server.kill()
    await Promise.all([b.away(), c.away()])
    await server.start()
    await Promise.all([b.up(), c.up()])
    for (const room of [b, c]) for (const key of keys) expect(await textOf(room, key)).toBeUndefined()
    close(b, c)
  })

  test('while Redis was away counts from when it was made: what was loaded well after it stands', async () => {
    await using server = await ownServer()
    let passedMs = 0
    const clock = { ...systemClock, monotonic: () => systemClock.monotonic() + passedMs }
    const redis = { url: server.url, readTimeoutMs: 1_000, writeTimeoutMs: 2_000 }
    const open = () => createHoldfast({ redis, secret: SECRET, clock })
    const [a, b] = [open(), open()]
    const both = async (state: 'up' | 'away') => {
      for (const who of [a, b]) await until(() => who.stats().redis === state, 15_000, state)
    }
    const get = ({ cacheUserScopedGraceful }: Holdfast, user: string, value: string) =>
      cacheUserScopedGraceful(user, 'x', 3_600_000, 3_600_000, async () => value)
    await both('up')
    await server.kill()
    await both('away')
    // Redis's own clock cannot be set: so what happens from here on happened two minutes ago.
    passedMs = -120_000
    for (const who of [a, b]) await get(who, 'loaded before', 'old')
    const users = ['loaded before', 'loaded after']
    await Promise.all(users.map((user) => a.cache.invalidateUser(user)))
    await a.cache.invalidate('one key')
    // Another process may not know what time it is in Redis as well as that.
    for (const who of [a, b]) await get(who, 'loaded at once', 'old')
    await a.cache.invalidateUser('loaded at once')
    passedMs += 60_000
    for (const who of [a, b]) await get(who, 'loaded after', 'kept')
    for (const who of [a, b])
      await who.cache.get('one key', { freshMs: 3_600_000, staleMs: 3_600_000, load: async () => 'kept' })
    passedMs += 60_000
    await server.start()
    await both('up')
    for (const who of [b, a]) {
      expect(await get(who, 'loaded after', 'new')).toBe('kept')
      expect(
        (await who.cache.get('one key', { freshMs: 3_600_000, staleMs: 3_600_000, load: async () => 'new' })).value,
      ).toBe('kept')
      for (const user of ['loaded before', 'loaded at once']) expect(await get(who, user, 'new'), user).toBe('new')
    }
    await Promise.all([a.close(), b.close()])
  })

  test('of everything needs no look at the keys, however many there are, and survives a snapshot from before it', async () => {
    await using server = await ownServer()
    const [a, b] = (await openFleet(2, { url: server.url })) as [Room, Room]
    const key = guildsOf('1')
    await store(b, key, 'v')
    using client = await beside(server.url)
    await client.sendCommand(['SAVE'])
    await client.sendCommand(['CONFIG', 'RESETSTAT'])
    await server.freeze()
    for (let nth = 0; nth < 10_001; nth++)
      void a.entries.invalidate({ ...guildsOf('x'), user: undefined, id: `k${nth}` })
    await a.away()
    server.thaw()
    await a.up()
    await until(async () => (await textOf(b, key)) === undefined, 5_000, 'everything to be gone')
    const stats = String(await client.sendCommand(['INFO', 'commandstats']))
    expect(stats).not.toMatch(/cmdstat_(scan|keys|unlink)/)
    await server.kill()
    await Promise.all([a.away(), b.away()])
    await server.start()
    await Promise.all([a.up(), b.up()])
    using late = await openRoom({ url: server.url, namespace: a.namespace }).up()
    for (const room of [a, b, late]) expect(await textOf(room, key)).toBeUndefined()
    close(a, b)
  })
})

describe.skipIf(!SERVERS).concurrent('how long something lasts', () => {
  test('a value does not inherit the time of the one before, nor an epoch that of another user', async () => {
    await using server = await ownServer()
    using room = await openRoom({ url: server.url, staleMs: STALE }).up()
    using client = await beside(server.url)
    const year = 365 * 24 * 3_600_000
    await store(room, guildsOf('1'), 'long', year)
    const taken = await room.entries.take(guildsOf('1'), 1_000)
    expect(await room.entries.write(guildsOf('1'), taken!, 'short', 1_000)).toBe(true)
    await store(room, guildsOf('2'), 'v')
    const { names } = room.naming
    const [entry] = await client.keys(`*{${names.of('user', '1')}}:entry*`)
    expect(await client.pTTL(entry!)).toBeLessThanOrEqual(1_000)
    const [epoch] = await client.keys(`*{${names.of('user', '2')}}:epoch`)
    expect(await client.pTTL(epoch!)).toBeLessThan(2 * STALE)
  })

  test('an invalidation is remembered as long as the longest-lived value beside it, even after a short-lived one', async () => {
    await using server = await ownServer()
    using room = await openRoom({ url: server.url, staleMs: 1_000 }).up()
    using client = await beside(server.url)
    const [long, short] = [guildsOf('1'), { ...guildsOf('1'), id: '\0u1:1short' }]
    await store(room, long, 'v', STALE)
    await store(room, short, 'v', 1_000)
    await room.entries.invalidate(long)
    await room.entries.invalidateUser('1')
    const { names } = room.naming
    for (const key of await client.keys(`*{${names.of('user', '1')}}:e*`))
      if (!(await client.pTTL(key)) || key.includes(names.of('entry', long.id)) || key.endsWith(':epoch'))
        expect(await client.pTTL(key), key).toBeGreaterThan(STALE)
  })
})
