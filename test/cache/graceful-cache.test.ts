import { runInNewContext } from 'node:vm'
import { describe, expect, test, vi } from 'vitest'
import { OwnKey } from '../../src/cache/cache-key.ts'
import type { LoadContext } from '../../src/cache/cache-options.ts'
import { GracefulCache, type GracefulCacheOptions } from '../../src/cache/graceful-cache.ts'
import type { SharedTier } from '../../src/cache/shared-tier.ts'
import { HoldfastError } from '../../src/errors/errors.ts'
import { Events, type HoldfastEvent } from '../../src/events/events.ts'
import { createVirtualClock } from '../../src/simulator/virtual-clock.ts'

const FRESH = 60_000
const STALE = 600_000
const PATIENCE = 500

function setUp(options: Partial<GracefulCacheOptions> = {}) {
  const clock = createVirtualClock()
  const events = new Events(clock)
  const seen: HoldfastEvent[] = []
  events.on((event) => seen.push(event))
  const cache = new GracefulCache({
    freshMs: FRESH,
    staleMs: STALE,
    patienceMs: PATIENCE,
    loadTimeoutMs: 30_000,
    maxEntries: 100_000,
    maxBytes: 100_000_000,
    clock,
    events,
    ...options,
  })
  return { clock, cache, seen }
}

/** A loader whose every call is answered by hand. */
function byHand<T = string>() {
  const calls: Array<PromiseWithResolvers<T> & { context: LoadContext<T> }> = []
  const load = (context: LoadContext<T>) => {
    const call = { ...Promise.withResolvers<T>(), context }
    calls.push(call)
    return call.promise
  }
  return { load, calls }
}

const trouble = (details: object = {}) => Object.assign(new Error('trouble'), details)
const rejected = (promise: Promise<unknown>) =>
  promise.then(
    (value) => {
      throw new Error(`resolved to ${JSON.stringify(value)} where it should have rejected`)
    },
    (error: unknown) => error as Error & Record<string, unknown>,
  )
/** An object that holds itself. */
function cycle() {
  const list: unknown[] = []
  list.push({ list })
  return list
}

/** Lets everything run that is not waiting for time. */
const settle = (clock: ReturnType<typeof createVirtualClock>) => clock.advance(0)

/** Whether a promise has settled by now. */
async function state(promise: Promise<unknown>, clock: ReturnType<typeof createVirtualClock>) {
  let now: 'pending' | 'resolved' | 'rejected' = 'pending'
  promise.then(
    () => {
      now = 'resolved'
    },
    () => {
      now = 'rejected'
    },
  )
  await settle(clock)
  return now
}

describe('a fresh value', () => {
  test('is loaded once and then answered from memory until its fresh time is over', async () => {
    const { cache, clock } = setUp()
    const load = vi.fn(async () => 'v')
    const first = await cache.get('k', { load })
    expect(first).toMatchObject({ value: 'v', state: 'loaded', source: 'load', ageMs: 0 })
    expect(first.fetchedAt).toEqual(new Date(clock.now()))
    await clock.advance(FRESH * 0.8 - 1)
    expect(await cache.get('k', { load })).toEqual({
      value: 'v',
      state: 'fresh',
      source: 'memory',
      ageMs: FRESH * 0.8 - 1,
      fetchedAt: first.fetchedAt,
    })
    expect(load).toHaveBeenCalledTimes(1)
  })

  test('sets no timer when it is hit', async () => {
    const { cache, clock } = setUp()
    await cache.get('k', { load: async () => 'v' })
    await settle(clock)
    expect(clock.sleepers).toBe(0)
    void cache.get('k', { load: async () => 'v' })
    expect(clock.sleepers).toBe(0)
  })

  test('is refreshed once in the background from 80 % of its fresh time on, and nobody waits for it', async () => {
    const { cache, clock } = setUp()
    await cache.set('k', 'old')
    const { load, calls } = byHand()
    await clock.advance(FRESH * 0.8 - 1)
    expect(await cache.get('k', { load })).toMatchObject({ value: 'old', state: 'fresh' })
    await settle(clock)
    expect(calls).toHaveLength(0)
    await clock.advance(1)
    const answers = await Promise.all([cache.get('k', { load }), cache.get('k', { load }), cache.get('k', { load })])
    expect(answers.map(({ value, state }) => [value, state])).toEqual(Array(3).fill(['old', 'fresh']))
    await settle(clock)
    expect(calls).toHaveLength(1)
    expect(calls[0]!.context.stale).toBe('old')
    calls[0]!.resolve('new')
    await settle(clock)
    expect(await cache.get('k', { load })).toMatchObject({ value: 'new', state: 'fresh', ageMs: 0 })
  })

  test('stays fresh when its background refresh fails, and the failure holds the next refresh back for 5 s', async () => {
    const { cache, clock } = setUp()
    await cache.set('k', 'old')
    await clock.advance(FRESH * 0.8)
    const load = vi.fn(async () => {
      throw trouble()
    })
    for (let i = 0; i < 5; i++) {
      expect(await cache.get('k', { load })).toMatchObject({ value: 'old', state: 'fresh' })
      await clock.advance(999)
    }
    expect(load).toHaveBeenCalledTimes(1)
    await clock.advance(5)
    await cache.get('k', { load })
    await settle(clock)
    expect(load).toHaveBeenCalledTimes(2)
  })

  test('is purged when its background refresh is answered with 401', async () => {
    const { cache, clock } = setUp()
    await cache.set('k', 'old')
    await clock.advance(FRESH * 0.9)
    const load = async () => {
      throw trouble({ status: 401 })
    }
    expect((await cache.get('k', { load })).value).toBe('old')
    await settle(clock)
    expect(cache.peek('k')).toBeUndefined()
    expect(await rejected(cache.get('k', { load }))).toMatchObject({ status: 401 })
  })

  test('is judged by the times of whoever asks, so that one caller may be stricter than another', async () => {
    const { cache, clock } = setUp()
    await cache.set('k', 'old')
    await clock.advance(10_000)
    const { load, calls } = byHand()
    const strict = cache.get('k', { load, freshMs: 5_000, staleMs: 5_000 })
    expect(await state(strict, clock)).toBe('pending')
    expect(await cache.get('k', { load })).toMatchObject({ value: 'old', state: 'fresh' })
    calls[0]!.resolve('new')
    expect(await strict).toMatchObject({ value: 'new', state: 'loaded' })
  })
})

describe('a stale value', () => {
  async function held(age = FRESH, options: Partial<GracefulCacheOptions> = {}) {
    const house = setUp(options)
    await house.cache.set('k', 'old')
    await house.clock.advance(age)
    return house
  }

  test('gives way to the new one when the refresh ends within the patience of the caller that started it', async () => {
    const { cache, clock } = await held()
    const { load, calls } = byHand()
    const answer = cache.get('k', { load })
    await clock.advance(PATIENCE - 1)
    calls[0]!.resolve('new')
    expect(await answer).toMatchObject({ value: 'new', state: 'loaded', ageMs: 0 })
  })

  test('is given after 500 ms to the caller that started the refresh, and the refresh goes on', async () => {
    const { cache, clock } = await held()
    const { load, calls } = byHand()
    const answer = cache.get('k', { load })
    await clock.advance(PATIENCE - 1)
    expect(await state(answer, clock)).toBe('pending')
    await clock.advance(1)
    expect(await answer).toMatchObject({
      value: 'old',
      state: 'stale',
      source: 'memory',
      reason: 'slow',
      ageMs: FRESH + PATIENCE,
    })
    expect(calls[0]!.context.signal.aborted).toBe(false)
    calls[0]!.resolve('new')
    await settle(clock)
    expect(await cache.get('k', { load })).toMatchObject({ value: 'new', state: 'fresh' })
  })

  test('is given at once to everybody who comes while a refresh is under way', async () => {
    const { cache, clock } = await held()
    const { load, calls } = byHand()
    const starter = cache.get('k', { load })
    await settle(clock)
    const sleepers = clock.sleepers
    const others = await Promise.all(Array.from({ length: 50 }, () => cache.get('k', { load })))
    expect(new Set(others.map(({ state, reason }) => `${state} ${reason}`))).toEqual(new Set(['stale slow']))
    expect(clock.sleepers).toBe(sleepers)
    expect(calls).toHaveLength(1)
    calls[0]!.resolve('new')
    await starter
  })

  test.each([0, 200, 5_000])('patienceMs %i is what the starter waits at most', async (patienceMs) => {
    const { cache, clock } = await held()
    const { load } = byHand()
    const answer = cache.get('k', { load, patienceMs })
    if (patienceMs > 0) {
      await clock.advance(patienceMs - 1)
      expect(await state(answer, clock)).toBe('pending')
      await clock.advance(1)
    }
    expect(await answer).toMatchObject({ value: 'old', state: 'stale', reason: 'slow' })
  })

  test('is never given once it has become too old while its caller was being patient', async () => {
    const { cache, clock } = await held(STALE - 100)
    const { load, calls } = byHand()
    const answer = cache.get('k', { load })
    await clock.advance(PATIENCE)
    expect(await state(answer, clock)).toBe('pending')
    calls[0]!.resolve('new')
    expect(await answer).toMatchObject({ value: 'new', state: 'loaded' })
  })

  test('does not hide an error that comes when the value has become too old', async () => {
    const { cache, clock } = await held(STALE - 100)
    const { load, calls } = byHand()
    const answer = rejected(cache.get('k', { load }))
    await clock.advance(200)
    calls[0]!.reject(trouble({ status: 503 }))
    expect(await answer).toMatchObject({ status: 503 })
  })

  test.each([
    ['429', { status: 429 }, 'throttled'],
    ['500', { status: 500 }, 'unavailable'],
    ['502', { status: 502 }, 'unavailable'],
    ['503', { status: 503 }, 'unavailable'],
    ['a network error', { code: 'DISCORD_NETWORK' }, 'unavailable'],
    ['a time-out', { code: 'DISCORD_TIMEOUT' }, 'unavailable'],
    ['an error without anything', {}, 'unavailable'],
  ])('hides %s', async (_name, details, reason) => {
    const { cache, clock } = await held()
    const load = vi.fn(async () => {
      throw trouble(details)
    })
    const answer = await cache.get('k', { load })
    expect(answer).toMatchObject({ value: 'old', state: 'stale', reason })
    expect(answer.retryAt).toEqual(new Date(clock.now() + 5_000))
    // Held back now: the next caller gets it without another load.
    expect(await cache.get('k', { load })).toMatchObject({ value: 'old', state: 'stale', reason })
    expect(load).toHaveBeenCalledTimes(1)
  })

  test.each([undefined, null, 'a string', 42])('hides a loader that throws %j instead of an error', async (thrown) => {
    const { cache } = await held()
    const load = () => Promise.reject(thrown)
    expect(await cache.get('k', { load })).toMatchObject({ value: 'old', state: 'stale', reason: 'unavailable' })
  })

  test.each([400, 401, 403, 404, 410])(
    'never hides %i: the value is purged and the error is thrown',
    async (status) => {
      const { cache } = await held()
      const error = trouble({ status })
      const load = async () => {
        throw error
      }
      expect(await rejected(cache.get('k', { load }))).toBe(error)
      expect(cache.peek('k')).toBeUndefined()
      // The purge holds: trouble that follows finds nothing to hide behind.
      const down = trouble({ status: 503 })
      expect(await rejected(cache.get('k', { load: () => Promise.reject(down) }))).toBe(down)
    },
  )

  test('hides what shouldMask says, and nothing else', async () => {
    const hidesAll = await held()
    const load = async () => {
      throw trouble({ status: 404 })
    }
    expect(await hidesAll.cache.get('k', { load, shouldMask: () => true })).toMatchObject({ state: 'stale' })
    const hidesNothing = await held()
    const down = trouble({ status: 503 })
    const get = hidesNothing.cache.get('k', { load: () => Promise.reject(down), shouldMask: () => false })
    expect(await rejected(get)).toBe(down)
    expect(hidesNothing.cache.peek('k')).toBeUndefined()
  })

  test('is given at once, with when to try again, where the load is known to be refused', async () => {
    const { cache, clock } = await held()
    const load = vi.fn(async () => 'new')
    const own = new OwnKey('k', '')
    await cache.get(own, { load: async () => 'old' })
    await clock.advance(FRESH)
    expect(await cache.get(own, { load, refusedForMs: () => 7_000 })).toMatchObject({
      value: 'old',
      state: 'stale',
      reason: 'throttled',
      retryAt: new Date(clock.now() + 7_000),
    })
    expect(load).not.toHaveBeenCalled()
    expect(clock.sleepers).toBe(0)
    expect(await cache.get(own, { load, refusedForMs: () => undefined })).toMatchObject({ value: 'new' })
  })

  test('expires at its stale time, counted from the fetch, however often its refresh has failed', async () => {
    const { cache, clock } = await held()
    const down = trouble({ status: 503 })
    const load = vi.fn(() => Promise.reject(down))
    let last: Awaited<ReturnType<typeof cache.get>> | undefined
    for (let age = FRESH; age < STALE; age += 10_000) {
      last = await cache.get('k', { load })
      expect(last).toMatchObject({ value: 'old', state: 'stale', ageMs: age })
      await clock.advance(10_000)
    }
    expect(last!.fetchedAt).toEqual(new Date(clock.now() - STALE))
    expect(await rejected(cache.get('k', { load }))).toBe(down)
    expect(load.mock.calls.length).toBeGreaterThan(3)
  })

  test('that one caller found too old is still there for those who accept it', async () => {
    const { cache, clock } = setUp()
    await cache.get('k', { load: async () => 'old', freshMs: 5_000, staleMs: 5_000 })
    await clock.advance(6_000)
    const down = trouble({ status: 503 })
    const load = () => Promise.reject(down)
    expect(await rejected(cache.get('k', { load, freshMs: 5_000, staleMs: 5_000 }))).toBe(down)
    expect(await cache.get('k', { load })).toMatchObject({ value: 'old', state: 'fresh' })
  })
})

describe('after a failure', () => {
  test('the key is not tried again for 5, 10, 20, 40, 80, 160 and then always 300 s', async () => {
    const { cache, clock } = setUp()
    const load = vi.fn(() => Promise.reject(trouble()))
    for (const seconds of [5, 10, 20, 40, 80, 160, 300, 300, 300]) {
      load.mockClear()
      await rejected(cache.get('k', { load }))
      expect(load).toHaveBeenCalledTimes(1)
      await clock.advance(seconds * 1000 - 1)
      await rejected(cache.get('k', { load }))
      expect(load).toHaveBeenCalledTimes(1)
      await clock.advance(1)
    }
  })

  test('a success begins the backoff anew', async () => {
    const { cache, clock } = setUp({ freshMs: 1, staleMs: 1 })
    const load = vi.fn<() => Promise<string>>(() => Promise.reject(trouble()))
    await rejected(cache.get('k', { load }))
    await clock.advance(5_000)
    await rejected(cache.get('k', { load }))
    await clock.advance(10_000)
    load.mockResolvedValueOnce('v')
    await cache.get('k', { load })
    await clock.advance(1)
    await rejected(cache.get('k', { load }))
    load.mockClear()
    await clock.advance(4_999)
    await rejected(cache.get('k', { load }))
    expect(load).toHaveBeenCalledTimes(0)
    await clock.advance(1)
    await rejected(cache.get('k', { load }))
    expect(load).toHaveBeenCalledTimes(1)
  })

  test.each([700, 42_000, 3_600_000])(
    'that names a wait of %i ms, that wait is kept to instead',
    async (retryAfterMs) => {
      const { cache, clock } = setUp()
      await cache.set('k', 'old', { freshMs: 0, staleMs: STALE * 100 })
      const load = vi.fn(() => Promise.reject(trouble({ status: 429, retryAfterMs })))
      const times = { freshMs: 0, staleMs: STALE * 100 }
      const retryAt = new Date(clock.now() + retryAfterMs)
      expect(await cache.get('k', { load, ...times })).toMatchObject({ reason: 'throttled', retryAt })
      await clock.advance(retryAfterMs - 1)
      expect(await cache.get('k', { load, ...times })).toMatchObject({ reason: 'throttled', retryAt })
      expect(load).toHaveBeenCalledTimes(1)
      await clock.advance(1)
      await cache.get('k', { load, ...times })
      expect(load).toHaveBeenCalledTimes(2)
    },
  )

  test.each([Number.NaN, Number.POSITIVE_INFINITY, -1, 0, '9'])(
    'a wait of %j is no wait: 5 s',
    async (retryAfterMs) => {
      const { cache, clock } = setUp()
      const load = vi.fn(() => Promise.reject(trouble({ retryAfterMs })))
      await rejected(cache.get('k', { load }))
      await clock.advance(4_999)
      await rejected(cache.get('k', { load }))
      expect(load).toHaveBeenCalledTimes(1)
      await clock.advance(1)
      await rejected(cache.get('k', { load }))
      expect(load).toHaveBeenCalledTimes(2)
    },
  )

  test('with nothing held, whoever comes during the backoff gets that failure, with the wait that is left', async () => {
    const { cache, clock } = setUp()
    const failure = new HoldfastError('LOAD_TIMEOUT', 'no', { retryAfterMs: 8_000 })
    const load = vi.fn(() => Promise.reject(failure))
    await rejected(cache.get('k', { load }))
    await clock.advance(3_000)
    const again = await rejected(cache.get('k', { load }))
    expect(again).toBeInstanceOf(HoldfastError)
    expect(again).toMatchObject({ code: 'LOAD_TIMEOUT', message: 'no', retryAfterMs: 5_000 })
    expect(failure.retryAfterMs).toBe(8_000)
    expect(load).toHaveBeenCalledTimes(1)
  })

  test('that is an answer (404), the next caller asks again at once', async () => {
    const { cache } = setUp()
    const load = vi.fn(() => Promise.reject(trouble({ status: 404 })))
    await rejected(cache.get('k', { load }))
    await rejected(cache.get('k', { load }))
    expect(load).toHaveBeenCalledTimes(2)
  })

  test('the backoff of one key does not touch another', async () => {
    const { cache } = setUp()
    await rejected(cache.get('k', { load: () => Promise.reject(trouble()) }))
    expect(await cache.get('other', { load: async () => 'v' })).toMatchObject({ value: 'v', state: 'loaded' })
  })
})

describe('a cold key', () => {
  test('asked by 10 000 callers at once is loaded once', async () => {
    const { cache, clock } = setUp()
    const { load, calls } = byHand<{ n: number }>()
    const answers = Array.from({ length: 10_000 }, () => cache.get('k', { load }))
    await settle(clock)
    expect(calls).toHaveLength(1)
    calls[0]!.resolve({ n: 1 })
    const values = new Set((await Promise.all(answers)).map(({ value }) => value))
    expect(values.size).toBe(1)
  })

  test('that fails, fails once for all who asked', async () => {
    const { cache, clock } = setUp()
    const { load, calls } = byHand()
    const answers = Array.from({ length: 1_000 }, () => rejected(cache.get('k', { load })))
    await settle(clock)
    const error = trouble({ status: 503 })
    calls[0]!.reject(error)
    expect(new Set(await Promise.all(answers))).toEqual(new Set([error]))
    expect(calls).toHaveLength(1)
  })

  test('keeps null, false, 0 and the empty string as values', async () => {
    const { cache } = setUp()
    for (const value of [null, false, 0, '', [], {}]) {
      const key = `k${JSON.stringify(value)}`
      await cache.get(key, { load: async () => value })
      expect(await cache.get(key, { load: () => Promise.reject(trouble()) })).toMatchObject({ value, state: 'fresh' })
    }
  })
})

describe('a value that another process loaded', () => {
  test('is answered after one look, also where memory has no room for it', async () => {
    const read = vi.fn<SharedTier['read']>(async () => ({
      invalidBefore: 0,
      value: { text: '"theirs"', ageMs: 10, begunAt: 1 },
    }))
    const never = async () => {
      throw new Error('nothing but a look was needed')
    }
    const shared: SharedTier = {
      ...{ source: 'redis' as const, isUsable: true, renewEveryMs: 1_000, lately: () => 0, listen: () => {}, read },
      ...{ begin: never, take: never, renew: never, write: never, giveUp: never, done: never },
      ...{ invalidate: never, invalidateUser: never },
    }
    for (const maxBytes of [1, 100_000_000]) {
      read.mockClear()
      const { cache } = setUp({ shared, maxBytes })
      const answers = await Promise.all([1, 2, 3].map(() => cache.get('key', { load: never })))
      expect(answers).toMatchObject(Array(3).fill({ value: 'theirs', state: 'fresh', source: 'redis', ageMs: 10 }))
      expect(read).toHaveBeenCalledOnce()
      expect(cache.stats().entries).toBe(maxBytes === 1 ? 0 : 1)
    }
  })
})

describe('a load', () => {
  test('that never settles is given up after loadTimeoutMs: its signal aborts, its callers learn it, its slot is free', async () => {
    const { cache, clock } = setUp({ loadTimeoutMs: 2_000 })
    const { load, calls } = byHand()
    const answer = rejected(cache.get('k', { load }))
    await clock.advance(1_999)
    expect(calls[0]!.context.signal.aborted).toBe(false)
    await clock.advance(1)
    expect(await answer).toMatchObject({ code: 'LOAD_TIMEOUT' })
    expect(calls[0]!.context.signal.aborted).toBe(true)
    await clock.advance(5_000)
    const second = cache.get('k', { load })
    await settle(clock)
    expect(calls).toHaveLength(2)
    calls[1]!.resolve('new')
    expect(await second).toMatchObject({ value: 'new' })
  })

  test('that ends after it was given up changes nothing, whether it succeeds or fails', async () => {
    const { cache, clock } = setUp({ loadTimeoutMs: 2_000 })
    const { load, calls } = byHand()
    const first = rejected(cache.get('k', { load }))
    await clock.advance(2_000)
    await first
    await clock.advance(5_000)
    const second = rejected(cache.get('k', { load }))
    await clock.advance(2_000)
    await second
    calls[0]!.resolve('late')
    calls[1]!.reject(trouble({ status: 401 }))
    await settle(clock)
    expect(cache.peek('k')).toBeUndefined()
    await cache.set('k', 'set')
    await settle(clock)
    expect(cache.peek('k')).toMatchObject({ value: 'set' })
  })

  test('that hangs is masked by a stale value, and counts as a failure when it is given up', async () => {
    const { cache, clock } = setUp({ loadTimeoutMs: 2_000 })
    await cache.set('k', 'old')
    await clock.advance(FRESH)
    const { load, calls } = byHand()
    const answer = cache.get('k', { load })
    await clock.advance(PATIENCE)
    expect(await answer).toMatchObject({ value: 'old', reason: 'slow' })
    await clock.advance(2_000)
    const again = await cache.get('k', { load, patienceMs: 0 })
    expect(again).toMatchObject({ value: 'old', reason: 'unavailable' })
    expect(calls).toHaveLength(1)
  })

  test('that throws synchronously rejects like any other', async () => {
    const { cache } = setUp()
    const error = trouble()
    const load = () => {
      throw error
    }
    expect(await rejected(cache.get('k', { load }))).toBe(error)
  })

  test('that is no promise is a value like any other', async () => {
    const { cache } = setUp()
    expect(await cache.get('k', { load: (() => 'v') as never })).toMatchObject({ value: 'v', state: 'loaded' })
  })

  test('leaves no timer behind, however it ends', async () => {
    const { cache, clock } = setUp()
    await cache.get('a', { load: async () => 'v' })
    await rejected(cache.get('b', { load: () => Promise.reject(trouble()) }))
    await cache.set('c', 'old')
    await clock.advance(FRESH)
    await cache.get('c', { load: async () => 'new' })
    await settle(clock)
    expect(clock.sleepers).toBe(0)
  })

  test('gets no stale value where there is none, and the old one where there is', async () => {
    const { cache, clock } = setUp()
    const contexts: object[] = []
    const load = async (context: LoadContext<string>) => {
      contexts.push(context)
      return 'v'
    }
    await cache.get('k', { load })
    await clock.advance(FRESH)
    await cache.get('k', { load })
    expect('stale' in contexts[0]!).toBe(false)
    expect(contexts[1]).toMatchObject({ stale: 'v' })
  })

  test.each<[string, unknown]>([
    ['a Date', { at: new Date(0) }],
    ['a Map', new Map([[1, 2]])],
    ['a Set', new Set([1])],
    ['a BigInt', { n: 1n }],
    ['NaN', { n: Number.NaN }],
    ['Infinity', [Number.POSITIVE_INFINITY]],
    ['-0', -0],
    ['a function', () => 1],
    ['a symbol', Symbol('s')],
    ['a typed array', new Uint8Array(2)],
    ['an object of a class', new (class Guild {})()],
    ['an object with toJSON', Object.defineProperty({}, 'toJSON', { value: () => 1 })],
    ['undefined within an array', [undefined]],
    ['a cycle', cycle()],
  ])('that returns %s is refused with VALUE_NOT_JSON', async (_name, value) => {
    const { cache } = setUp()
    expect(await rejected(cache.get('k', { load: async () => value }))).toMatchObject({ code: 'VALUE_NOT_JSON' })
    expect(await rejected(cache.set('k', value))).toMatchObject({ code: 'VALUE_NOT_JSON' })
    expect(cache.peek('k')).toBeUndefined()
  })

  test('that returns plain data of another realm is kept, as a test runner and a vm make it', async () => {
    const { cache } = setUp()
    const made = "({ id: '1', list: [1, { deep: null }], absent: undefined })"
    const value = runInNewContext(made)
    expect(Object.getPrototypeOf(value)).not.toBe(Object.prototype)
    const { value: loaded } = await cache.get<object>('k', { load: async () => value })
    expect(loaded).toEqual({ id: '1', list: [1, { deep: null }] })
    await cache.set('k', runInNewContext('[{ a: 1 }]'))
    expect(cache.peek('k')!.value).toEqual([{ a: 1 }])
  })

  test.each([
    'new Date(0)',
    'new Map()',
    'new (class Guild {})()',
    'Object.create({ inherited: 1 })',
    '10n',
    '[() => 1]',
  ])('that returns %s of another realm is refused as one of ours is', async (source) => {
    const { cache } = setUp()
    const load = async () => runInNewContext(source)
    expect(await rejected(cache.get('k', { load }))).toMatchObject({ code: 'VALUE_NOT_JSON' })
  })

  test('that returns undefined is refused with VALUE_UNDEFINED, also with a codec', async () => {
    const { cache } = setUp()
    const codec = { version: '1', encode: () => '', decode: () => undefined }
    expect(await rejected(cache.get('a', { load: async () => undefined }))).toMatchObject({ code: 'VALUE_UNDEFINED' })
    expect(await rejected(cache.get('b', { load: async () => undefined, codec }))).toMatchObject({
      code: 'VALUE_UNDEFINED',
    })
    expect(await rejected(cache.set('c', undefined))).toMatchObject({ code: 'VALUE_UNDEFINED' })
  })

  test('with a codec may return what JSON would change', async () => {
    const { cache } = setUp()
    const value = new Map([['a', 1n]])
    const codec = {
      version: '1',
      encode: (map: Map<string, bigint>) => [...map].join(),
      decode: () => new Map<string, bigint>(),
    }
    expect((await cache.get('k', { load: async () => value, codec })).value).toBe(value)
    expect((await cache.get('k', { load: async () => new Map(), codec })).value).toBe(value)
  })

  test('that returns what JSON carries unchanged is kept, deep as 100 levels', async () => {
    const { cache } = setUp()
    let value: unknown = 'end'
    for (let depth = 0; depth < 100; depth++) value = depth % 2 ? [value] : { value, absent: undefined }
    expect((await cache.get('k', { load: async () => value })).state).toBe('loaded')
    expect((await cache.get('n', { load: async () => Object.assign(Object.create(null), { a: 1 }) })).state).toBe(
      'loaded',
    )
  })
})

describe('an invalidation', () => {
  test('makes the next caller load', async () => {
    const { cache } = setUp()
    await cache.set('k', 'old')
    await cache.invalidate('k')
    expect(cache.peek('k')).toBeUndefined()
    expect(await cache.get('k', { load: async () => 'new' })).toMatchObject({ value: 'new', state: 'loaded' })
  })

  test.each(['invalidate', 'invalidateUser'] as const)(
    '%s during a load: its callers are answered, and its value is not kept',
    async (how) => {
      const { cache, clock } = setUp()
      const key = { user: 'u', key: 'k' }
      const { load, calls } = byHand()
      const before = cache.get(key, { load })
      await settle(clock)
      await (how === 'invalidate' ? cache.invalidate(key) : cache.invalidateUser('u'))
      const after = cache.get(key, { load })
      await settle(clock)
      expect(calls).toHaveLength(2)
      calls[0]!.resolve('old')
      expect(await before).toMatchObject({ value: 'old' })
      expect(cache.peek(key)).toBeUndefined()
      expect(await state(after, clock)).toBe('pending')
      calls[1]!.resolve('new')
      expect(await after).toMatchObject({ value: 'new' })
      expect(cache.peek(key)).toMatchObject({ value: 'new' })
    },
  )

  test('is not undone by an older load that lands after a newer one', async () => {
    const { cache, clock } = setUp()
    const { load, calls } = byHand()
    const before = cache.get('k', { load })
    await settle(clock)
    await cache.invalidate('k')
    const after = cache.get('k', { load })
    await settle(clock)
    calls[1]!.resolve('new')
    await after
    calls[0]!.resolve('old')
    await before
    expect(cache.peek('k')).toMatchObject({ value: 'new' })
  })

  test.each([401, 503])(
    'keeps a load under way that fails with %i from saying anything about what came after',
    async (status) => {
      const { cache, clock } = setUp()
      const { load, calls } = byHand()
      const before = rejected(cache.get('k', { load }))
      await settle(clock)
      await cache.invalidate('k')
      await cache.get('k', { load: async () => 'new' })
      calls[0]!.reject(trouble({ status }))
      await before
      expect(cache.peek('k')).toMatchObject({ value: 'new' })
      await clock.advance(FRESH)
      expect(await cache.get('k', { load: async () => 'newer' })).toMatchObject({ value: 'newer', state: 'loaded' })
    },
  )

  test('ends the backoff of its key', async () => {
    const { cache } = setUp()
    for (const forget of [() => cache.invalidate({ user: 'u', key: 'k' }), () => cache.invalidateUser('u')]) {
      await rejected(cache.get({ user: 'u', key: 'k' }, { load: () => Promise.reject(trouble()) }))
      await forget()
      expect((await cache.get({ user: 'u', key: 'k' }, { load: async () => 'v' })).value).toBe('v')
      await cache.invalidate({ user: 'u', key: 'k' })
    }
  })

  test('of a user forgets all of that user and nothing of anybody else', async () => {
    const { cache } = setUp()
    const keys = [
      { user: 'a', key: 'bc' },
      { user: 'a', key: 'c' },
      { user: 'ab', key: 'c' },
      { user: 'b', key: 'a' },
      'a',
      'abc',
      '\u0000u1:abc',
    ]
    for (const key of keys) await cache.set(key, 'v')
    await cache.invalidateUser('a')
    expect(keys.map((key) => cache.peek(key) !== undefined)).toEqual([false, false, true, true, true, true, true])
  })
})

describe('set', () => {
  test('during a load wins over it, and the callers of the load get what they loaded', async () => {
    const { cache, clock } = setUp()
    const { load, calls } = byHand()
    const before = cache.get('k', { load })
    await settle(clock)
    await cache.set('k', 'set')
    calls[0]!.resolve('loaded')
    expect(await before).toMatchObject({ value: 'loaded' })
    expect(cache.peek('k')).toMatchObject({ value: 'set' })
  })

  test('counts as a fetch, and ends the backoff', async () => {
    const { cache, clock } = setUp()
    await rejected(cache.get('k', { load: () => Promise.reject(trouble()) }))
    await cache.set('k', 'v')
    expect(await cache.get('k', { load: () => Promise.reject(trouble()) })).toMatchObject({
      value: 'v',
      state: 'fresh',
      ageMs: 0,
      fetchedAt: new Date(clock.now()),
    })
    await clock.advance(FRESH)
    expect(await cache.get('k', { load: async () => 'new' })).toMatchObject({ value: 'new' })
  })
})

describe('a caller that aborts', () => {
  const reason = new Error('gone')

  test('before it asks starts nothing, also where a fresh value is held', async () => {
    const { cache, clock } = setUp()
    const load = vi.fn(async () => 'v')
    const signal = AbortSignal.abort(reason)
    expect(await rejected(cache.get('k', { load, signal }))).toBe(reason)
    await settle(clock)
    expect(load).not.toHaveBeenCalled()
    await cache.set('k', 'v')
    expect(await rejected(cache.get('k', { load, signal }))).toBe(reason)
  })

  test('while it waits leaves at once; the load goes on for the others and for the cache', async () => {
    const { cache, clock } = setUp()
    const { load, calls } = byHand()
    const controller = new AbortController()
    const leaves = rejected(cache.get('k', { load, signal: controller.signal }))
    const stays = cache.get('k', { load })
    await settle(clock)
    controller.abort(reason)
    expect(await leaves).toBe(reason)
    expect(calls[0]!.context.signal.aborted).toBe(false)
    calls[0]!.resolve('v')
    expect(await stays).toMatchObject({ value: 'v' })
  })

  test('and was the only one still leaves its value behind', async () => {
    const { cache, clock } = setUp()
    const { load, calls } = byHand()
    const controller = new AbortController()
    const leaves = rejected(cache.get('k', { load, signal: controller.signal }))
    await settle(clock)
    controller.abort(reason)
    await leaves
    calls[0]!.resolve('v')
    await settle(clock)
    expect(cache.peek('k')).toMatchObject({ value: 'v' })
  })

  test('while it is patient with a refresh gets its reason, not the stale value', async () => {
    const { cache, clock } = setUp()
    await cache.set('k', 'old')
    await clock.advance(FRESH)
    const { load, calls } = byHand()
    const controller = new AbortController()
    const leaves = rejected(cache.get('k', { load, signal: controller.signal }))
    await settle(clock)
    controller.abort(reason)
    expect(await leaves).toBe(reason)
    calls[0]!.resolve('new')
    await settle(clock)
    expect(cache.peek('k')).toMatchObject({ value: 'new' })
  })

  test('after its answer changes nothing', async () => {
    const { cache, clock } = setUp()
    const controller = new AbortController()
    const answer = await cache.get('k', { load: async () => 'v', signal: controller.signal })
    controller.abort(reason)
    await settle(clock)
    expect(answer.value).toBe('v')
    expect(cache.peek('k')).toMatchObject({ value: 'v' })
  })

  test('is nobody else’s concern: of a thousand callers half abort and half are answered by one load', async () => {
    const { cache, clock } = setUp()
    const { load, calls } = byHand()
    const controllers = Array.from({ length: 1_000 }, () => new AbortController())
    const answers = controllers.map(({ signal }) => cache.get('k', { load, signal }))
    const settled = Promise.allSettled(answers)
    await settle(clock)
    controllers.forEach((controller, index) => {
      if (index % 2 === 0) controller.abort(reason)
    })
    calls[0]!.resolve('v')
    const results = await settled
    expect(calls).toHaveLength(1)
    expect(results.filter(({ status }, index) => status === (index % 2 === 0 ? 'rejected' : 'fulfilled'))).toHaveLength(
      1_000,
    )
  })
})

describe('memory', () => {
  test('holds at most maxEntries, and what was used longest ago goes first', async () => {
    const { cache, clock } = setUp({ maxEntries: 3 })
    for (const key of ['a', 'b', 'c']) {
      await cache.set(key, key)
      await clock.advance(2_000)
    }
    await cache.get('a', { load: async () => 'never' })
    await cache.set('d', 'd')
    expect(cache.stats().entries).toBe(3)
    expect(['a', 'b', 'c', 'd'].filter((key) => cache.peek(key))).toEqual(['a', 'c', 'd'])
  })

  test('holds at most maxBytes, counted from the values', async () => {
    const { cache } = setUp({ maxBytes: 10_000 })
    for (let n = 0; n < 50; n++) {
      await cache.set(`k${n}`, 'x'.repeat(1_000))
      expect(cache.stats().bytes).toBeLessThanOrEqual(10_000)
    }
    expect(cache.stats().entries).toBeGreaterThan(5)
    expect(cache.peek('k49')).toBeDefined()
    expect(cache.peek('k0')).toBeUndefined()
  })

  test('does not keep a value larger than all of it: its callers get it, the others stay', async () => {
    const { cache } = setUp({ maxBytes: 10_000 })
    await cache.set('small', 's')
    const big = 'x'.repeat(20_000)
    expect((await cache.get('big', { load: async () => big })).value).toBe(big)
    expect(cache.peek('big')).toBeUndefined()
    expect(cache.peek('small')).toBeDefined()
  })

  test('counts back to nothing when everything is forgotten', async () => {
    const { cache } = setUp()
    for (let n = 0; n < 20; n++) await cache.set({ user: 'u', key: `k${n % 10}` }, 'x'.repeat(n))
    expect(cache.stats().entries).toBe(10)
    await cache.invalidateUser('u')
    expect(cache.stats()).toMatchObject({ entries: 0, bytes: 0 })
  })
})

describe('keys', () => {
  test('that are different never meet', async () => {
    const { cache } = setUp()
    const keys = [
      { user: 'a', key: 'bc' },
      { user: 'ab', key: 'c' },
      { user: '1:a', key: 'bc' },
      'abc',
      'a:bc',
      '\u0000abc',
      '\u0000u1:abc',
      '\u0000u2:abc',
      '\u0000k\u0000u1:abc',
      'k\u0000u1:abc',
      '__proto__',
      'constructor',
      { user: '__proto__', key: 'toString' },
      { user: '\u0000u1:a', key: 'bc' },
    ]
    for (const [index, key] of keys.entries()) await cache.set(key, index)
    expect(keys.map((key) => cache.peek(key)?.value)).toEqual(keys.map((_, index) => index))
  })

  test.each([
    '',
    null,
    undefined,
    7,
    {},
    { user: 'u' },
    { user: '', key: 'k' },
    { user: 'u', key: '' },
    { user: 1, key: 'k' },
  ])('that are none are refused with INVALID_KEY: %j', async (key) => {
    const { cache } = setUp()
    const load = vi.fn(async () => 'v')
    expect(await rejected(cache.get(key as never, { load }))).toMatchObject({ code: 'INVALID_KEY' })
    expect(await rejected(cache.set(key as never, 'v'))).toMatchObject({ code: 'INVALID_KEY' })
    expect(load).not.toHaveBeenCalled()
  })

  test.each([{ freshMs: -1 }, { staleMs: Number.NaN }, { patienceMs: '5' }, { freshMs: null }])(
    'asked for with %j are refused with INVALID_OPTION',
    async (times) => {
      const { cache } = setUp()
      const load = vi.fn(async () => 'v')
      expect(await rejected(cache.get('k', { load, ...(times as object) }))).toMatchObject({ code: 'INVALID_OPTION' })
      expect(load).not.toHaveBeenCalled()
    },
  )
})

describe('peek', () => {
  test('tells at once what is held, fresh or stale, starts nothing, and is undefined where nothing is', async () => {
    const { cache, clock, seen } = setUp()
    expect(cache.peek('k')).toBeUndefined()
    await cache.set('k', 'v')
    expect(cache.peek('k')).toMatchObject({ value: 'v', state: 'fresh', source: 'memory', ageMs: 0 })
    await clock.advance(FRESH)
    expect(cache.peek('k')).toMatchObject({ value: 'v', state: 'stale', ageMs: FRESH })
    await clock.advance(STALE - FRESH - 1)
    expect(cache.peek('k')).toMatchObject({ value: 'v', state: 'stale' })
    await clock.advance(1)
    expect(cache.peek('k')).toBeUndefined()
    expect(seen).toEqual([])
    expect(clock.sleepers).toBe(0)
  })
})

describe('drain', () => {
  test('waits for the loads under way, forgotten ones too, and no longer', async () => {
    const { cache, clock } = setUp()
    const { load, calls } = byHand()
    const first = cache.get('a', { load })
    await settle(clock)
    await cache.invalidate('a')
    const second = cache.get('b', { load })
    await settle(clock)
    const drained = cache.drain(10_000)
    calls[0]!.resolve('v')
    expect(await state(drained, clock)).toBe('pending')
    calls[1]!.resolve('v')
    expect(await state(drained, clock)).toBe('resolved')
    await Promise.all([first, second])
    expect(clock.sleepers).toBe(0)
  })

  test('waits at most for its deadline', async () => {
    const { cache, clock } = setUp()
    const { load, calls } = byHand()
    const hangs = cache.get('k', { load })
    const drained = cache.drain(1_000)
    await clock.advance(999)
    expect(await state(drained, clock)).toBe('pending')
    await clock.advance(1)
    await drained
    calls[0]!.resolve('v')
    await hangs
  })

  test('begins no more refreshes: what is stale is given at once', async () => {
    const { cache, clock } = setUp()
    await cache.set('k', 'old')
    await clock.advance(FRESH * 0.9)
    await cache.drain(0)
    const load = vi.fn(async () => 'new')
    expect(await cache.get('k', { load })).toMatchObject({ value: 'old', state: 'fresh' })
    await clock.advance(FRESH)
    expect(await cache.get('k', { load })).toMatchObject({ value: 'old', state: 'stale' })
    expect(load).not.toHaveBeenCalled()
  })
})

describe('close', () => {
  test('ends the loads under way with CLOSED and leaves no timer', async () => {
    const { cache, clock } = setUp()
    const { load, calls } = byHand()
    const answer = rejected(cache.get('k', { load }))
    await settle(clock)
    cache.close()
    expect(await answer).toMatchObject({ code: 'CLOSED' })
    expect(calls[0]!.context.signal.aborted).toBe(true)
    calls[0]!.resolve('late')
    await settle(clock)
    expect(clock.sleepers).toBe(0)
    expect(cache.peek('k')).toBeUndefined()
  })

  test('refuses every later get and set with CLOSED, whether the value is fresh, stale or missing', async () => {
    const { cache, clock } = setUp()
    await cache.set('stale', 'v')
    await clock.advance(FRESH)
    await cache.set('fresh', 'v')
    cache.close()
    const load = vi.fn(async () => 'v')
    for (const key of ['missing', 'stale', 'fresh'])
      expect(await rejected(cache.get(key, { load })), key).toMatchObject({ code: 'CLOSED' })
    expect(await rejected(cache.set('k', 'v'))).toMatchObject({ code: 'CLOSED' })
    expect(load).not.toHaveBeenCalled()
  })
})

describe('the wall clock', () => {
  test.each([-86_400_000, 86_400_000])('stepping by %i ms changes neither ages nor waits', async (step) => {
    const { cache, clock } = setUp()
    await cache.set('k', 'old')
    clock.step(step)
    await clock.advance(1_000)
    expect(await cache.get('k', { load: async () => 'never' })).toMatchObject({ state: 'fresh', ageMs: 1_000 })
    await clock.advance(FRESH)
    const load = vi.fn(() => Promise.reject(trouble()))
    expect((await cache.get('k', { load })).retryAt).toEqual(new Date(clock.now() + 5_000))
    clock.step(step)
    await clock.advance(4_999)
    await cache.get('k', { load })
    expect(load).toHaveBeenCalledTimes(1)
    await clock.advance(1)
    await cache.get('k', { load })
    expect(load).toHaveBeenCalledTimes(2)
  })
})

describe('what is observed', () => {
  test('names the key without its user, and counts what happened', async () => {
    const { cache, clock, seen } = setUp()
    const key = { user: 'user-4711', key: 'guilds' }
    await cache.get(key, { load: async () => 'v' })
    await cache.get(key, { load: async () => 'v' })
    await clock.advance(FRESH)
    await cache.get(key, { load: () => Promise.reject(trouble({ code: 'DOWN' })) })
    expect(seen.map(({ at, ...event }) => event)).toEqual([
      { type: 'cache.miss', key: 'guilds' },
      { type: 'cache.hit', key: 'guilds' },
      { type: 'cache.refresh', key: 'guilds', reason: 'stale' },
      { type: 'cache.failed', key: 'guilds', code: 'DOWN' },
      { type: 'cache.stale', key: 'guilds', reason: 'unavailable' },
    ])
    expect(cache.stats()).toMatchObject({ fresh: 1, stale: 1, loaded: 1, failed: 1, entries: 1 })
    expect(JSON.stringify(seen)).not.toContain('4711')
  })
})
