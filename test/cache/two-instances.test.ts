import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test, vi } from 'vitest'
import type { CacheOptions } from '../../src/cache/cache-options.ts'
import { GracefulCache, type GracefulCacheOptions } from '../../src/cache/graceful-cache.ts'
import { systemClock } from '../../src/time/clock.ts'
import {
  beside,
  openFleet,
  REDIS_URL,
  type Room,
  type RoomOptions,
  SERVERS,
  stall,
  timed,
  until,
} from '../redis/room.ts'
import { startRedisServer } from '../support/redis-server.ts'

const NEWS_MS = 150
const FRESH = 60_000
const STALE = 600_000

/** The caches of several processes on one Redis. */
async function openCaches(count: number, options: Partial<GracefulCacheOptions> = {}, redis: RoomOptions = {}) {
  const rooms = await openFleet(count, redis)
  const caches = rooms.map(
    ({ entries, events }) =>
      new GracefulCache({
        freshMs: FRESH,
        staleMs: STALE,
        patienceMs: 2_000,
        loadTimeoutMs: 10_000,
        maxEntries: 1_000,
        maxBytes: 10_000_000,
        clock: systemClock,
        events,
        shared: entries,
        ...options,
      }),
  ) as [GracefulCache, GracefulCache, GracefulCache]
  return {
    rooms: rooms as [Room, Room, Room],
    caches,
    [Symbol.dispose]: () => {
      for (const cache of caches) cache.close()
      for (const { connection } of rooms) connection.close()
    },
  }
}

const GUILDS = { user: '1', key: 'guilds' }
const never: CacheOptions<string>['load'] = async () => {
  throw new Error('loaded where nothing had to be')
}
const value =
  (text: string, afterMs = 0): CacheOptions<string>['load'] =>
  async () => {
    if (afterMs > 0) await sleep(afterMs)
    return text
  }
const trouble = (status: number) => async () => {
  throw Object.assign(new Error('trouble'), { status })
}
/** Until what is stored in the background is stored. */
const stored = () => sleep(NEWS_MS)

describe.skipIf(!REDIS_URL).concurrent('two processes', () => {
  test('what one has loaded, the other finds in Redis, and then has in memory, with its age', async () => {
    using world = await openCaches(2)
    const [a, b] = world.caches
    const loaded = await a.get(GUILDS, { load: value('v') })
    await sleep(300)
    const found = await b.get(GUILDS, { load: never })
    expect(found).toMatchObject({ value: 'v', state: 'fresh', source: 'redis' })
    expect(found.ageMs).toBeGreaterThanOrEqual(299)
    expect(found.ageMs).toBeLessThan(2_000)
    expect(Math.abs(found.fetchedAt.getTime() - loaded.fetchedAt.getTime())).toBeLessThan(100)
    const held = await b.get(GUILDS, { load: never })
    expect(held).toMatchObject({ value: 'v', state: 'fresh', source: 'memory' })
    expect(held.ageMs).toBeGreaterThanOrEqual(found.ageMs)
  })

  test('load a cold key once between them, however many ask', async () => {
    using world = await openCaches(3)
    let loads = 0
    const load = async () => {
      loads++
      await sleep(100)
      return 'v'
    }
    const asked = world.caches.flatMap((cache) => Array.from({ length: 50 }, () => cache.get(GUILDS, { load })))
    const { ms, value: answers } = await timed(() => Promise.all(asked))
    for (const { value } of answers!) expect(value).toBe('v')
    expect(loads).toBe(1)
    expect(ms).toBeLessThan(1_000)
  })

  test('a value grows old for all of them, and none is given that is older than its caller allows', async () => {
    using world = await openCaches(2)
    const [a, b] = world.caches
    await a.get(GUILDS, { load: value('v') })
    await stored()
    const found = await b.get(GUILDS, { load: trouble(503), freshMs: 100, staleMs: 60_000 })
    expect(found).toMatchObject({ value: 'v', state: 'stale', source: 'redis', reason: 'unavailable' })
    await expect(b.get(GUILDS, { load: trouble(503), freshMs: 50, staleMs: 100 })).rejects.toThrow()
  })

  test('nothing that one has invalidated is given by the other', async () => {
    using world = await openCaches(2)
    const [a, b] = world.caches
    for (const forget of [() => a.invalidate(GUILDS), () => a.invalidateUser('1'), () => a.set(GUILDS, 'set')]) {
      await b.invalidate(GUILDS)
      await b.get(GUILDS, { load: value('old') })
      await stored()
      expect((await a.get(GUILDS, { load: never })).value).toBe('old')
      await forget()
      await sleep(NEWS_MS)
      expect((await b.get(GUILDS, { load: value('new') })).value).not.toBe('old')
    }
  })

  test('a load that one began before the other invalidated is given to nobody who asks later', async () => {
    using world = await openCaches(2)
    const [a, b] = world.caches
    const early = a.get(GUILDS, { load: value('old', 300) })
    await sleep(100)
    await b.invalidate(GUILDS)
    await sleep(NEWS_MS - 50)
    const late = [a.get(GUILDS, { load: value('new') }), b.get(GUILDS, { load: value('new') })]
    expect((await early).value).toBe('old')
    for (const answer of await Promise.all(late)) expect(answer.value).toBe('new')
    await stored()
    for (const cache of [a, b]) expect((await cache.get(GUILDS, { load: never })).value).toBe('new')
  })

  test('set() reaches the other, whatever it holds or loads', async () => {
    using world = await openCaches(2)
    const [a, b] = world.caches
    await b.get(GUILDS, { load: value('loaded') })
    await stored()
    await a.set(GUILDS, 'set')
    await sleep(NEWS_MS)
    expect(await b.get(GUILDS, { load: never })).toMatchObject({ value: 'set', source: 'redis' })
    const other = { user: '2', key: 'guilds' }
    const loading = b.get(other, { load: value('loaded', 300) })
    await sleep(100)
    await a.set(other, 'set')
    await loading
    await sleep(NEWS_MS)
    for (const cache of [a, b]) expect((await cache.get(other, { load: never })).value).toBe('set')
  })

  test.each([401, 403, 404])('a %s purges the value of both, in both tiers', async (status) => {
    using world = await openCaches(3)
    const [a, b, c] = world.caches
    await a.get(GUILDS, { load: value('v') })
    await stored()
    await b.get(GUILDS, { load: never })
    await expect(b.get(GUILDS, { load: trouble(status), freshMs: 1 })).rejects.toMatchObject({ status })
    await sleep(NEWS_MS)
    expect(a.peek(GUILDS)).toBeUndefined()
    for (const cache of [a, c]) await expect(cache.get(GUILDS, { load: trouble(503) })).rejects.toThrow()
  })

  test('whoever waits for a load that ends in a 404 does not wait for its lease', async () => {
    using world = await openCaches(2)
    const [a, b] = world.caches
    const failing = a.get(GUILDS, {
      load: async () => {
        await sleep(200)
        return trouble(404)()
      },
    })
    const asked = failing.catch((error) => error.status)
    await sleep(50)
    const { ms, value: answer } = await timed(() => b.get(GUILDS, { load: value('mine') }))
    expect(answer).toMatchObject({ value: 'mine', source: 'load' })
    expect(ms).toBeLessThan(700)
    expect(await asked).toBe(404)
  })

  test('share a failure: while one backs off, the other does not try', async () => {
    using world = await openCaches(2)
    const [a, b] = world.caches
    await expect(a.get(GUILDS, { load: trouble(503) })).rejects.toMatchObject({ status: 503 })
    await stored()
    const load = vi.fn(value('v'))
    const error = await b.get(GUILDS, { load }).catch((error) => error)
    expect(error).toMatchObject({ code: 'LOAD_FAILED_ELSEWHERE' })
    expect(error.retryAfterMs).toBeGreaterThan(3_000)
    expect(error.retryAfterMs).toBeLessThanOrEqual(5_000)
    expect(load).not.toHaveBeenCalled()
  })

  test('a failure elsewhere hides behind what is held, whatever shouldMask says of other errors', async () => {
    using world = await openCaches(2)
    const [a, b] = world.caches
    await a.get(GUILDS, { load: value('v') })
    await stored()
    await b.get(GUILDS, { load: never })
    const shouldMask = (error: unknown) => (error as { status?: number }).status === 503
    const options = { load: trouble(503), shouldMask, freshMs: 50 }
    expect(await a.get(GUILDS, options)).toMatchObject({ value: 'v', state: 'stale' })
    await sleep(NEWS_MS)
    expect(await b.get(GUILDS, options)).toMatchObject({ value: 'v', state: 'stale', reason: 'unavailable' })
    expect(await a.get(GUILDS, options)).toMatchObject({ value: 'v', state: 'stale' })
  })

  test('a value too large for memory does not become fresh by waiting for another process that fails', async () => {
    using world = await openCaches(2, { maxBytes: 300 })
    const [a, b] = world.caches
    const large = 'x'.repeat(1_000)
    await a.get(GUILDS, { load: value(large) })
    await stored()
    const options = { freshMs: 100, staleMs: 200 }
    await sleep(150)
    const failing = a.get(GUILDS, {
      load: async () => {
        await sleep(200)
        return trouble(429)()
      },
      ...options,
    })
    const failed = expect(failing).rejects.toMatchObject({ status: 429 })
    await sleep(50)
    expect(await b.get(GUILDS, { load: value('new'), ...options })).toMatchObject({ value: 'new', source: 'load' })
    await failed
  })

  test('an eager refresh is made by one of them', async () => {
    using world = await openCaches(3)
    await world.caches[0].get(GUILDS, { load: value('v') })
    await stored()
    for (const cache of world.caches) await cache.get(GUILDS, { load: never })
    const load = vi.fn(value('refreshed', 100))
    await sleep(1_700)
    const answers = await Promise.all(world.caches.map((cache) => cache.get(GUILDS, { load, freshMs: 2_000 })))
    for (const answer of answers) expect(answer).toMatchObject({ value: 'v', state: 'fresh' })
    await sleep(100 + 2 * NEWS_MS)
    for (const cache of world.caches) expect((await cache.get(GUILDS, { load })).value).toBe('refreshed')
    expect(load).toHaveBeenCalledTimes(1)
  })

  test('a codec writes what the other reads; a newer version of it loads for itself', async () => {
    using world = await openCaches(3)
    const [a, b, c] = world.caches
    const codec = (version: string) => ({
      version,
      encode: (set: Set<string>) => [...set].join(),
      decode: (text: string) => new Set(text.split(',')),
    })
    await a.get(GUILDS, { load: async () => new Set(['x', 'y']), codec: codec('1') })
    await stored()
    const read = await b.get<Set<string>>(GUILDS, { load: never as never, codec: codec('1') })
    expect(read).toMatchObject({ source: 'redis', value: new Set(['x', 'y']) })
    const own = await c.get(GUILDS, { load: async () => new Set(['z']), codec: codec('2') })
    expect(own).toMatchObject({ source: 'load', value: new Set(['z']) })
    const failing = { ...codec('1'), decode: () => expect.fail('cannot be decoded') as never }
    const undecodable = await c.get({ user: '1', key: 'other' }, { load: async () => new Set(['w']), codec: failing })
    expect(undecodable.value).toEqual(new Set(['w']))
  })
})

describe.skipIf(!SERVERS).concurrent('when Redis goes and comes back', () => {
  test('memory carries on, and what is doubtful is looked up once', async () => {
    const server = await startRedisServer()
    {
      using world = await openCaches(2, {}, { url: server.url })
      const [a, b] = world.caches
      const keys = Array.from({ length: 5 }, (_, nth) => ({ user: `${nth}`, key: 'guilds' }))
      for (const key of keys) await a.get(key, { load: value(`v of ${key.user}`) })
      await stored()
      for (const key of keys) await b.get(key, { load: never })
      const [, cutOff] = world.rooms
      using client = await beside(server.url)
      const kept = await client.sendCommand(['CONFIG', 'GET', 'maxclients'])
      expect(kept).toBeDefined()
      // Only b is away: its connections are ended, and nobody new is let in for a while.
      await client.sendCommand(['CONFIG', 'SET', 'requirepass', 'nobody-knows'])
      cutOff.connection.renew()
      await cutOff.away()
      for (const key of keys) expect(await b.get(key, { load: never })).toMatchObject({ source: 'memory' })
      await a.invalidate(keys[0]!)
      await a.invalidateUser('1')
      await a.set(keys[2]!, 'set meanwhile')
      await client.sendCommand(['CONFIG', 'SET', 'requirepass', ''])
      await cutOff.up()
      expect(b.peek(keys[3]!)).toBeUndefined()
      await client.sendCommand(['CONFIG', 'RESETSTAT'])
      for (const _round of [1, 2, 3]) {
        expect(await b.get(keys[0]!, { load: value('new') })).toMatchObject({ value: 'new' })
        expect(await b.get(keys[1]!, { load: value('new') })).toMatchObject({ value: 'new' })
        expect(await b.get(keys[2]!, { load: never })).toMatchObject({ value: 'set meanwhile' })
        expect(await b.get(keys[3]!, { load: never })).toMatchObject({ value: 'v of 3', source: 'memory' })
        expect(await b.get(keys[4]!, { load: never })).toMatchObject({ value: 'v of 4', source: 'memory' })
      }
      const stats = String(await client.sendCommand(['INFO', 'commandstats']))
      expect(/cmdstat_mget:calls=(\d+)/.exec(stats)?.[1]).toBe('5')
    }
    await server.stop()
  })

  test('restarted empty: nobody asks Discord for what is still in memory', async () => {
    const server = await startRedisServer()
    {
      using world = await openCaches(2, {}, { url: server.url })
      const [a, b] = world.caches
      await a.get(GUILDS, { load: value('v') })
      await stored()
      await b.get(GUILDS, { load: never })
      await server.kill()
      await Promise.all(world.rooms.map((room) => room.away()))
      await server.start()
      await Promise.all(world.rooms.map((room) => room.up()))
      for (const cache of [a, b]) expect(await cache.get(GUILDS, { load: never })).toMatchObject({ value: 'v' })
    }
    await server.stop()
  })
})

// One after the other: these measure.
describe.skipIf(!SERVERS)('with production’s time-outs', () => {
  const PRODUCTION = { readTimeoutMs: 100, writeTimeoutMs: 500 }

  test('frozen: a hit does not notice, the first miss waits its time, the next none; everybody loads for itself', async () => {
    const server = await startRedisServer()
    {
      using world = await openCaches(2, {}, { url: server.url, ...PRODUCTION })
      const [a, b] = world.caches
      await a.get(GUILDS, { load: value('v') })
      await stored()
      server.freeze()
      const hit = await timed(() => a.get(GUILDS, { load: never }))
      expect(hit.value).toMatchObject({ value: 'v', source: 'memory' })
      expect(hit.turns).toBeLessThan(2)
      const first = await timed(() => b.get(GUILDS, { load: value('own') }))
      expect(first.value).toMatchObject({ value: 'own', source: 'load' })
      expect(first.ms).toBeLessThan(1_000)
      const second = await timed(() => b.get('other', { load: value('own') }))
      expect(second.turns).toBeLessThan(6)
      await a.invalidate(GUILDS)
      expect((await timed(() => a.get(GUILDS, { load: value('own') }))).turns).toBeLessThan(6)
      server.thaw()
      await Promise.all(world.rooms.map((room) => room.up()))
      // b's own was loaded before a invalidated, as far as anybody can tell.
      await sleep(NEWS_MS)
      expect((await b.get(GUILDS, { load: value('after') })).value).not.toBe('v')
    }
    await server.stop()
  })

  test('a stall of the event loop is nobody’s time-out', async () => {
    using world = await openCaches(2, {}, PRODUCTION)
    const [a, b] = world.caches
    await a.get(GUILDS, { load: value('v') })
    await stored()
    const asked = b.get(GUILDS, { load: never })
    await new Promise((resolve) => setImmediate(resolve))
    stall(300)
    expect(await asked).toMatchObject({ value: 'v', source: 'redis' })
    await until(() => world.rooms[1].connection.isUp, 100, 'it to be up')
  })
})
