import nock from 'nock'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { ConfigError, DiscordRateLimitError } from '../../src/errors/errors.ts'
import * as door from '../../src/index.ts'
import { defaultHoldfast, setDefaultHoldfast } from '../../src/instance/default-instance.ts'
import { createHoldfast } from '../../src/instance/holdfast.ts'
import { createVirtualClock } from '../../src/simulator/virtual-clock.ts'
import { down, GUILDS, guild, limited, ok, refusal, refused401, request, SESSIONS, setUp } from '../auth/discord.ts'

const SECOND = 1_000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE
const DEFAULT = Symbol.for('holdfast@1.default')
const processWide = globalThis as { [DEFAULT]?: unknown }
const ann = { userId: '1001', accessToken: 'secret-token-of-ann' }

beforeAll(() => nock.disableNetConnect())
afterEach(() => {
  nock.cleanAll()
  vi.unstubAllEnvs()
  setDefaultHoldfast(undefined)
})
afterAll(() => nock.enableNetConnect())

describe('the default instance', () => {
  test('is built at first use, once, and is kept under Symbol.for("holdfast@1.default")', () => {
    expect(processWide[DEFAULT]).toBeUndefined()
    const first = defaultHoldfast()
    expect(defaultHoldfast()).toBe(first)
    expect(processWide[DEFAULT]).toBe(first)
  })

  test('is shared with a second copy of the package in the same process', async () => {
    const first = defaultHoldfast()
    vi.resetModules()
    const copy = await import('../../src/index.ts')
    expect(copy.defaultHoldfast).not.toBe(defaultHoldfast)
    expect(copy.defaultHoldfast()).toBe(first)
  })

  test('is not built by importing the package or by wrapping a handler, even with an unusable environment', async () => {
    vi.stubEnv('DISCORD_API_MAX_RETRIES', 'many')
    vi.resetModules()
    const copy = await import('../../src/index.ts')
    copy.withAuth(() => new Response())
    expect(processWide[DEFAULT]).toBeUndefined()
    expect(() => copy.defaultHoldfast()).toThrow(/DISCORD_API_MAX_RETRIES/)
    expect(processWide[DEFAULT]).toBeUndefined()
  })

  test.each<[string, () => Promise<unknown>]>([
    ['discordFetch', () => door.discordFetch('/users/@me', 'token')],
    ['getCurrentUser', () => door.getCurrentUser('token')],
    ['getUserGuilds', () => door.getUserGuilds('token')],
    ['cacheUserScopedGraceful', () => door.cacheUserScopedGraceful('u', 'k', 1, 1, async () => 'v')],
    ['requireAuth', () => door.requireAuth(request())],
    ['withAuth', () => door.withAuth(() => new Response())(request())],
  ])('that cannot be built is a rejection of %s, not a throw before there is a promise', async (_name, call) => {
    vi.stubEnv('DISCORD_API_MAX_RETRIES', 'many')
    let promise: Promise<unknown> | undefined
    expect(() => {
      promise = call()
    }).not.toThrow()
    expect(await refusal(promise!)).toMatchObject({ code: 'CONFIG_INVALID', option: 'DISCORD_API_MAX_RETRIES' })
  })

  test('reads the environment when it is built', async () => {
    vi.stubEnv('DISCORD_API_BASE_URL', 'https://elsewhere.test/v10')
    nock('https://elsewhere.test').get('/v10/users/@me').reply(200, { id: '7' })
    expect(await door.getCurrentUser('token')).toEqual({ id: '7' })
  })

  test('can be replaced, and with undefined the next use builds a new one', () => {
    const own = createHoldfast()
    setDefaultHoldfast(own)
    expect(defaultHoldfast()).toBe(own)
    setDefaultHoldfast(undefined)
    expect(defaultHoldfast()).not.toBe(own)
  })

  test('is behind every free function', async () => {
    const { holdfast, answers, to } = setUp({ sessions: SESSIONS })
    setDefaultHoldfast(holdfast)
    answers[GUILDS] = ok([guild('1')])
    answers['/users/@me'] = ok({ id: '1001' })
    expect(await door.discordFetch('/users/@me', 'a')).toEqual({ id: '1001' })
    expect(await door.getCurrentUser('b')).toEqual({ id: '1001' })
    expect(await door.getUserGuilds('c')).toMatchObject([{ id: '1' }])
    expect(await door.cacheUserScopedGraceful('1001', 'k', 1, 1, async () => 'v')).toBe('v')
    expect(holdfast.cache.peek({ user: '1001', key: 'k' })).toMatchObject({ value: 'v' })
    expect(await door.requireAuth(request(), { guild: '1' })).toMatchObject({ guild: { id: '1' } })
    const route = door.withAuth((_request, auth, extra: string) => Response.json([auth.user.id, extra]))
    expect(await (await route(request(), 'x')).json()).toEqual(['1001', 'x'])
    expect(to('/users/@me')).toHaveLength(2)
  })
})

describe('options, environment and defaults', () => {
  /** How many minutes lists are fresh: 80 % of a minute at a time, until the refresh that comes at 80 %. */
  async function freshMinutes(options: Parameters<typeof setUp>[0]) {
    const { holdfast, answers, clock } = setUp(options)
    answers[GUILDS] = ok([guild('1')])
    await holdfast.memberships(ann)
    for (let minutes = 1; minutes <= 100; minutes++) {
      await clock.advance(0.8 * MINUTE)
      await holdfast.memberships(ann)
      await clock.advance(0)
      if (holdfast.stats().discord.calls > 1) return minutes
    }
    return Number.POSITIVE_INFINITY
  }

  test('lists are fresh for 60 minutes by default', async () => {
    expect(await freshMinutes({})).toBe(60)
  })

  test('the environment beats the default', async () => {
    vi.stubEnv('DISCORD_GUILD_CACHE_FRESH_MINUTES', '2')
    expect(await freshMinutes({})).toBe(2)
  })

  test('an option beats the environment', async () => {
    vi.stubEnv('DISCORD_GUILD_CACHE_FRESH_MINUTES', '2')
    expect(await freshMinutes({ cache: { freshMs: MINUTE } })).toBe(1)
  })

  test('a bad value is a ConfigError when the instance is made, and names the variable', () => {
    vi.stubEnv('DISCORD_GUILD_CACHE_STALE_HOURS', 'a day')
    expect(() => createHoldfast()).toThrow(ConfigError)
    expect(() => createHoldfast()).toThrow(/DISCORD_GUILD_CACHE_STALE_HOURS.*a day/)
  })

  test('two instances share nothing', async () => {
    const one = createHoldfast()
    const other = createHoldfast()
    await one.cache.set('k', 'v')
    expect(other.cache.peek('k')).toBeUndefined()
  })
})

describe('cacheUserScopedGraceful', () => {
  test('keeps a value per user and key: fresh, then stale while the function fails with trouble', async () => {
    const { holdfast, clock } = setUp()
    const { cacheUserScopedGraceful } = holdfast
    const load = vi.fn(async () => 'v')
    const fails = vi.fn(() => Promise.reject(Object.assign(new Error('down'), { status: 502 })))
    expect(await cacheUserScopedGraceful('u', 'k', MINUTE, HOUR, load)).toBe('v')
    expect(await cacheUserScopedGraceful('u', 'k', MINUTE, HOUR, fails)).toBe('v')
    expect(fails).not.toHaveBeenCalled()
    expect(await cacheUserScopedGraceful('other', 'k', MINUTE, HOUR, async () => 'theirs')).toBe('theirs')
    await clock.advance(HOUR - 1)
    expect(await cacheUserScopedGraceful('u', 'k', MINUTE, HOUR, fails)).toBe('v')
    await clock.advance(1)
    expect(await refusal(cacheUserScopedGraceful('u', 'k', MINUTE, HOUR, fails))).toMatchObject({ status: 502 })
  })

  test('goes with invalidateUser', async () => {
    const { holdfast } = setUp()
    await holdfast.cacheUserScopedGraceful('u', 'k', MINUTE, HOUR, async () => 'old')
    await holdfast.cache.invalidateUser('u')
    expect(await holdfast.cacheUserScopedGraceful('u', 'k', MINUTE, HOUR, async () => 'new')).toBe('new')
  })
})

describe('memberships', () => {
  test('of one user are fetched once for 10 000 callers', async () => {
    const { holdfast, answers, calls } = setUp()
    answers[GUILDS] = ok([guild('1')])
    const results = await Promise.all(Array.from({ length: 10_000 }, () => holdfast.memberships(ann)))
    expect(calls).toHaveLength(1)
    expect(new Set(results.map(({ guilds }) => guilds)).size).toBe(1)
    expect(results[0]).toMatchObject({ stale: false, source: 'load' })
  })

  test('reject as discordFetch does where none are held', async () => {
    const { holdfast, answers } = setUp()
    answers[GUILDS] = limited(60)
    const error = await refusal(holdfast.memberships(ann))
    expect(error).toBeInstanceOf(DiscordRateLimitError)
    expect(error).toMatchObject({ status: 429, retryAfterMs: 60 * SECOND })
    answers[GUILDS] = refused401
    expect(await refusal(holdfast.memberships({ userId: '2', accessToken: 'dead' }))).toMatchObject({ status: 401 })
  })

  test('are given stale at once, without a call, where Discord has already said how long it will refuse', async () => {
    const { holdfast, answers, clock, calls } = setUp()
    answers[GUILDS] = ok([guild('1')])
    await holdfast.memberships(ann)
    await clock.advance(2 * HOUR)
    answers[GUILDS] = limited(60)
    await refusal(holdfast.getUserGuilds(ann.accessToken, { principal: ann.userId }))
    const sent = calls.length
    expect(await holdfast.memberships(ann)).toMatchObject({
      stale: true,
      reason: 'throttled',
      retryAt: new Date(clock.now() + 60 * SECOND),
    })
    expect(calls).toHaveLength(sent)
  })

  test.each([
    [{ maxAgeMs: 10 * MINUTE }, 10 * MINUTE],
    [{ live: true }, 5 * SECOND],
    [{ live: true, maxAgeMs: HOUR }, 5 * SECOND],
  ])('asked for with %j are never older than that', async (options, ms) => {
    const { holdfast, answers, clock } = setUp()
    answers[GUILDS] = ok([guild('1')])
    await holdfast.memberships(ann)
    answers[GUILDS] = down
    await clock.advance(ms - 1)
    expect(await holdfast.memberships(ann, options)).toMatchObject({ source: 'memory' })
    await clock.advance(1)
    await refusal(holdfast.memberships(ann, options))
  })

  test('end their caller’s wait when its signal aborts', async () => {
    const { holdfast } = setUp()
    const reason = new Error('gone')
    expect(await refusal(holdfast.memberships(ann, { signal: AbortSignal.abort(reason) }))).toBe(reason)
  })

  test('are shared, and nobody can change them', async () => {
    const { holdfast, answers } = setUp()
    answers[GUILDS] = ok([guild('1', '0')])
    const { guilds } = await holdfast.memberships(ann)
    const held = guilds.get('1')!
    expect(() => Object.assign(held, { owner: true })).toThrow(TypeError)
    expect(() => Object.assign(guilds, { size: 5 })).toThrow(TypeError)
    expect((await holdfast.memberships(ann)).guilds.can('1', 'ManageGuild')).toBe(false)
  })
})

describe('on and stats', () => {
  test('tell what happened, until the listener leaves', async () => {
    const { holdfast, answers, events } = setUp()
    answers[GUILDS] = ok([guild('1')])
    const types: string[] = []
    const leave = holdfast.on(({ type }) => types.push(type))
    await holdfast.memberships(ann)
    await holdfast.memberships(ann)
    leave()
    await holdfast.memberships(ann)
    expect(types).toEqual(['cache.miss', 'discord.call', 'cache.hit'])
    expect(events.map(({ type }) => type)).toEqual([...types, 'cache.hit'])
    expect(holdfast.stats()).toMatchObject({
      cache: { fresh: 2, stale: 0, loaded: 1, failed: 0, entries: 1 },
      discord: { calls: 1, rateLimited: 0, retries: 0, invalidBudgetUsed: 0, breaker: 'closed' },
    })
  })
})

describe('close', () => {
  test('ends everything, once: later calls are refused with CLOSED, and no timer is left', async () => {
    const { holdfast, answers, clock } = setUp({ sessions: SESSIONS })
    answers[GUILDS] = ok([guild('1')])
    await holdfast.memberships(ann)
    expect(holdfast.close()).toBe(holdfast.close())
    await holdfast.close()
    expect(await refusal(holdfast.memberships(ann))).toMatchObject({ code: 'CLOSED' })
    expect(await refusal(holdfast.discordFetch('/users/@me', 'token'))).toMatchObject({ code: 'CLOSED' })
    expect(await refusal(holdfast.cache.get('k', { load: async () => 'v' }))).toMatchObject({ code: 'CLOSED' })
    expect(await refusal(holdfast.requireAuth(request()))).toMatchObject({ status: 503 })
    expect(clock.sleepers).toBe(0)
  })

  test('waits for the loads under way, at most for its deadline', async () => {
    const clock = createVirtualClock()
    const holdfast = createHoldfast({ clock })
    const { promise, resolve } = Promise.withResolvers<string>()
    const ends = holdfast.cache.get('ends', { load: () => promise })
    const hangs = refusal(holdfast.cache.get('hangs', { load: () => new Promise(() => {}) }))
    await clock.advance(0)
    const closed = holdfast.close({ deadlineMs: 2_000 })
    await clock.advance(1_000)
    resolve('v')
    expect(await ends).toMatchObject({ value: 'v' })
    await clock.advance(1_000)
    await closed
    expect(await hangs).toMatchObject({ code: 'CLOSED' })
    expect(clock.sleepers).toBe(0)
  })

  test('is what `await using` does', async () => {
    const outside: { holdfast?: ReturnType<typeof createHoldfast> } = {}
    {
      await using holdfast = createHoldfast()
      outside.holdfast = holdfast
    }
    expect(await refusal(outside.holdfast!.discordFetch('/users/@me', 'token'))).toMatchObject({ code: 'CLOSED' })
  })
})
