import { describe, expect, test, vi } from 'vitest'
import { OwnKey } from '../../src/cache/cache-key.ts'
import { GracefulCache, type GracefulCacheOptions } from '../../src/cache/graceful-cache.ts'
import { DiscordUnavailableError } from '../../src/errors/errors.ts'
import { Events } from '../../src/events/events.ts'
import { createVirtualClock } from '../../src/simulator/virtual-clock.ts'

const FRESH = 60_000
const SECOND = 1_000

/** As chance has it, the same in every run. */
function random() {
  let state = 1
  return () => {
    state = (state * 48_271) % 2_147_483_647
    return state / 2_147_483_647
  }
}

function setUp(options: Partial<GracefulCacheOptions> = {}) {
  const clock = createVirtualClock()
  const cache = new GracefulCache({
    freshMs: FRESH,
    staleMs: 3_600_000,
    patienceMs: 500,
    loadTimeoutMs: 30_000,
    maxEntries: 100_000,
    maxBytes: 100_000_000,
    clock,
    random: random(),
    events: new Events(clock),
    ...options,
  })
  return { clock, cache }
}

const down = () => new DiscordUnavailableError('DISCORD_NETWORK', 'down', { route: 'GET /x', attempts: 1 })
const keys = (count: number) => Array.from({ length: count }, (_, index) => `key-${index}`)

/** The largest share of the moments that any window of this length holds. */
function densest(moments: readonly number[], windowMs: number): number {
  const most = Math.max(...moments.map((at) => moments.filter((other) => other >= at && other < at + windowMs).length))
  return most / moments.length
}

describe('refreshes that nobody waits for', () => {
  test('of lists fetched together come apart: no second holds more than 60 % of them', async () => {
    const { cache, clock } = setUp()
    const moments: number[] = []
    const load = async () => {
      moments.push(clock.monotonic())
      return 'v'
    }
    await Promise.all(keys(400).map((key) => cache.get(key, { load })))
    moments.length = 0
    await clock.advance(0.85 * FRESH)
    const hits = await Promise.all(keys(400).map((key) => cache.get(key, { load })))
    expect(hits.every(({ state }) => state === 'fresh')).toBe(true)
    await clock.advance(5 * SECOND)
    expect(moments).toHaveLength(400)
    expect(densest(moments, SECOND)).toBeLessThan(0.6)
  })

  test('are at most 100 at once; what found no place is asked for again by a later hit', async () => {
    const { cache, clock } = setUp()
    await Promise.all(keys(300).map((key) => cache.get(key, { load: async () => 'v' })))
    await clock.advance(0.85 * FRESH)
    let underWay = 0
    let most = 0
    const begun = new Set<string>()
    const load = (key: string) => async () => {
      begun.add(key)
      most = Math.max(most, ++underWay)
      await clock.sleep(SECOND / 2)
      underWay--
      return 'w'
    }
    const hitAll = () => Promise.all(keys(300).map((key) => cache.get(key, { load: load(key) })))
    await hitAll()
    await clock.advance(6 * SECOND)
    expect(most).toBeLessThanOrEqual(100)
    expect(begun.size).toBeGreaterThan(200)
    const hang = setUp({ maxBackgroundLoads: 3 })
    await Promise.all(keys(20).map((key) => hang.cache.get(key, { load: async () => 'v' })))
    await hang.clock.advance(0.85 * FRESH)
    const hung = vi.fn(() => new Promise<string>(() => {}))
    await Promise.all(keys(20).map((key) => hang.cache.get(key, { load: hung })))
    await hang.clock.advance(6 * SECOND)
    expect(hung).toHaveBeenCalledTimes(3)
    hang.cache.close()
  })

  test('say so to the loader, and stand back when what they were for has gone', async () => {
    const { cache, clock } = setUp()
    await cache.get('k', { load: async () => 'v' })
    await cache.get('other', { load: async () => 'v' })
    await clock.advance(0.85 * FRESH)
    const load = vi.fn(async (_context: object) => 'w')
    await cache.get('k', { load })
    await cache.get('other', { load })
    expect(load).toHaveBeenCalledTimes(1)
    expect(load.mock.calls[0]![0]).toMatchObject({ background: true })
    await cache.invalidate('other')
    await clock.advance(5 * SECOND)
    expect(load).toHaveBeenCalledTimes(1)
  })

  test('are handed to the platform that would end the process, as promises that never reject', async () => {
    const work: Array<Promise<unknown>> = []
    const { cache, clock } = setUp({ waitUntil: (promise) => work.push(promise) })
    await cache.get('k', { load: async () => 'v' })
    expect(work).toHaveLength(0)
    await clock.advance(0.85 * FRESH)
    await cache.get('k', { load: async () => Promise.reject(down()) })
    expect(work.length).toBeGreaterThan(0)
    await clock.advance(5 * SECOND)
    await expect(Promise.all(work)).resolves.toBeDefined()
  })
})

describe('an outage', () => {
  async function afterAnOutage(count: number) {
    const { cache, clock } = setUp()
    const users = keys(count).map((id) => new OwnKey('guilds', id))
    await Promise.all(users.map((key) => cache.get(key, { load: async () => 'v' })))
    await clock.advance(FRESH)
    let isDown = true
    const tries: number[] = []
    const load = async () => {
      tries.push(clock.monotonic())
      if (isDown) throw down()
      cache.recovered()
      return 'w'
    }
    /** Every user asks once a second, all in the same moment. */
    const ask = async (ms: number) => {
      const states: string[] = []
      for (let second = 0; second < ms / SECOND; second++) {
        const asked = Promise.all(users.map((key) => cache.get(key, { load, patienceMs: 0 })))
        await clock.advance(SECOND)
        states.push(...(await asked).map(({ value }) => String(value)))
      }
      return states.slice(-count)
    }
    return {
      cache,
      clock,
      tries,
      ask,
      end: () => {
        isDown = false
      },
    }
  }

  test('with 1 000 users: no 100 ms hold more than 5 % of the retries', async () => {
    const { ask, tries } = await afterAnOutage(1_000)
    await ask(1 * SECOND)
    expect(tries).toHaveLength(1_000)
    tries.length = 0
    await ask(12 * SECOND)
    expect(tries.length).toBeGreaterThanOrEqual(1_000)
    expect(densest(tries, 100) * (tries.length / 1_000)).toBeLessThan(0.05)
  })

  test('once it is over, every list that is asked for is fresh within two minutes, however long it was', async () => {
    const { ask, end, tries } = await afterAnOutage(200)
    // Long enough for back-offs of five minutes.
    await ask(15 * 60 * SECOND)
    tries.length = 0
    end()
    const values = await ask(120 * SECOND)
    expect(new Set(values)).toEqual(new Set(['w']))
    expect(densest(tries, 100)).toBeLessThan(0.2)
  })
})

describe('a loader that knows better', () => {
  test('says how long its value may be kept, and every caller keeps to it', async () => {
    const { cache, clock } = setUp()
    let value = 0
    const load = async ({ keep }: { keep(times: object): void }) => {
      keep({ freshMs: 5 * SECOND, staleMs: 10 * SECOND })
      return ++value
    }
    const ask = () => cache.get('k', { load, freshMs: FRESH })
    await ask()
    await clock.advance(3 * SECOND)
    expect(await ask()).toMatchObject({ value: 1, state: 'fresh' })
    await clock.advance(3 * SECOND)
    expect((await ask()).value).toBe(2)
    const fails = async () => Promise.reject(new Error('down'))
    await clock.advance(9 * SECOND)
    expect(await cache.get('k', { load: fails })).toMatchObject({ value: 2, state: 'stale' })
    await clock.advance(2 * SECOND)
    await expect(cache.get('k', { load: fails })).rejects.toThrow('down')
  })

  test.each([-1, Number.NaN, '5', null])('is refused times that are none: %j', async (freshMs) => {
    const { cache } = setUp()
    const load = async ({ keep }: { keep(times: object): void }) => keep({ freshMs })
    await expect(cache.get('k', { load: load as never })).rejects.toMatchObject({ code: 'INVALID_OPTION' })
  })
})

describe('what was invalidated', () => {
  test('while a caller waited for its refresh is not given to it', async () => {
    const { cache, clock } = setUp()
    await cache.set({ user: 'ann', key: 'k' }, 'old')
    await clock.advance(FRESH)
    const { promise, resolve } = Promise.withResolvers<string>()
    const answer = cache.get({ user: 'ann', key: 'k' }, { load: () => promise })
    await clock.advance(100)
    await cache.invalidateUser('ann')
    await clock.advance(SECOND)
    resolve('new')
    expect(await answer).toMatchObject({ value: 'new' })
  })

  test('is not given in place of a refresh that fails either', async () => {
    const { cache, clock } = setUp()
    await cache.set('k', 'old')
    await clock.advance(FRESH)
    const { promise, reject } = Promise.withResolvers<string>()
    const answer = cache.get('k', { load: () => promise })
    await clock.advance(100)
    await cache.invalidate('k')
    reject(new Error('down'))
    await expect(answer).rejects.toThrow('down')
  })
})

describe('the room in memory', () => {
  test('a thousand one-time keys of the app leave the lists of 500 users where they are', async () => {
    const { cache } = setUp({ maxEntries: 1_000 })
    for (let user = 0; user < 500; user++)
      await cache.get(new OwnKey('guilds', `${user}`), { load: async () => 'list' })
    for (const key of keys(1_000)) await cache.get(key, { load: async () => 'v' })
    const load = vi.fn(async () => 'again')
    for (let user = 0; user < 500; user++) await cache.get(new OwnKey('guilds', `${user}`), { load })
    expect(load).toHaveBeenCalledTimes(0)
    expect(cache.stats().entries).toBeLessThanOrEqual(1_000)
  })

  test('ten thousand keys that fail make no list try again before its time', async () => {
    const { cache } = setUp()
    const load = vi.fn(async () => Promise.reject(down()))
    const key = new OwnKey('guilds', 'ann')
    await expect(cache.get(key, { load })).rejects.toMatchObject({ code: 'DISCORD_NETWORK' })
    for (const other of keys(10_001))
      await cache.get(other, { load: async () => Promise.reject(new Error('x')) }).catch(() => {})
    const refused = await cache.get(key, { load }).catch((error: unknown) => error)
    expect(refused).toMatchObject({ code: 'DISCORD_NETWORK', retryAfterMs: expect.any(Number) })
    expect(load).toHaveBeenCalledTimes(1)
  })

  test.each([9e15, Number.MAX_VALUE])(
    'a wait of %d ms that a loader names is believed for a day at most',
    async (retryAfterMs) => {
      const { cache, clock } = setUp({ staleMs: 1e12 })
      await cache.set('k', 'old', { staleMs: 1e12 })
      await clock.advance(FRESH)
      const load = async () => Promise.reject(Object.assign(new Error('later'), { retryAfterMs, status: 429 }))
      const held = await cache.get('k', { load, staleMs: 1e12 })
      expect(Number.isNaN(held.retryAt!.getTime())).toBe(false)
      await clock.advance(24 * 3_600_000)
      expect(await cache.get('k', { load: async () => 'new', staleMs: 1e12 })).toMatchObject({ value: 'new' })
    },
  )
})
