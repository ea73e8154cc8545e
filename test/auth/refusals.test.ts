import nock from 'nock'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { AuthError } from '../../src/auth/auth-error.ts'
import type { RequireAuthOptions } from '../../src/auth/require-auth-options.ts'
import { ConfigError } from '../../src/errors/errors.ts'
import type { Session } from '../../src/sessions/session.ts'
import {
  blocked403,
  down,
  GUILDS,
  guild,
  limited,
  MANAGE_GUILD,
  ok,
  refusal,
  refused401,
  refused403,
  request,
  SESSIONS,
  setUp,
} from './discord.ts'

const SECOND = 1_000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE
const ME = '/oauth2/@me'

beforeAll(() => nock.disableNetConnect())
afterEach(() => nock.cleanAll())
afterAll(() => nock.enableNetConnect())

const logger = () => ({ debug: vi.fn(), info: vi.fn(), warn: vi.fn(), error: vi.fn() })

function annInGuild1(options: Parameters<typeof setUp>[0] = {}) {
  const house = setUp({ sessions: SESSIONS, ...options })
  house.answers[GUILDS] = ok([guild('1', MANAGE_GUILD)])
  return house
}

describe('a refusal explains itself to the developer', () => {
  test('as an event with a reason from the list, and never with an id or a token', async () => {
    const { holdfast, events } = annInGuild1()
    await refusal(holdfast.requireAuth(request('nobody')))
    await refusal(holdfast.requireAuth(request(), { guild: '2' }))
    await refusal(holdfast.requireAuth(request(), { guild: '1', permissions: 'BanMembers' }))
    await refusal(holdfast.requireAuth(request(), { guild: () => null }))
    const refused = events.filter(({ type }) => type === 'auth.refused')
    expect(refused.map((event) => ('reason' in event ? event.reason : ''))).toEqual([
      'no-session',
      'not-in-guild',
      'permission-missing',
      'no-guild-named',
    ])
    expect(JSON.stringify(events)).not.toMatch(/secret-token|1001/)
  })

  test.each<[string, () => unknown, string]>([
    [
      'throws',
      () => {
        throw new TypeError("Cannot read properties of undefined (reading 'user')")
      },
      'session-resolver-failed',
    ],
    ['finds no access token', () => ({ userId: '1001' }), 'session-invalid'],
  ])('in the log, once a minute a kind, where the resolver %s', async (_name, session, reason) => {
    const log = logger()
    const { holdfast, clock } = setUp({ session: session as () => Session, logger: log })
    for (let time = 0; time < 50; time++)
      expect(await refusal(holdfast.requireAuth(request()))).toMatchObject({ reason })
    expect(log.error).toHaveBeenCalledTimes(1)
    await clock.advance(MINUTE)
    await refusal(holdfast.requireAuth(request()))
    expect(log.error).toHaveBeenCalledTimes(2)
    expect(log.error.mock.calls[1]![0]).toMatchObject({ count: 50 })
  })

  test('without what could be an id or a token in the words of others', async () => {
    const log = logger()
    const session = () => {
      throw Object.assign(new Error(`no row for 1234567890123 with ${SESSIONS.ann!.accessToken}`), { code: 'ENOROW' })
    }
    const { holdfast } = setUp({ session, logger: log })
    await refusal(holdfast.requireAuth(request()))
    expect(log.error.mock.calls[0]![0]).toMatchObject({
      error: 'Error',
      code: 'ENOROW',
      message: 'no row for … with …',
    })
    expect(JSON.stringify(log.error.mock.calls)).not.toMatch(/1234567890123|secret-token/)
  })

  test('and tells the user no more than they need', async () => {
    const { holdfast } = setUp({
      session: () => {
        throw new Error('the password is hunter2')
      },
    })
    const text = await (await refusal(holdfast.requireAuth(request()))).toResponse(request()).text()
    expect(text).not.toMatch(/hunter2|resolver/)
  })
})

describe('control flow of a framework', () => {
  const redirect = Object.assign(new Error('NEXT_REDIRECT'), { digest: 'NEXT_REDIRECT;replace;/login;307;' })
  test.each<[string, unknown]>([
    ['a Response', new Response(null, { status: 302, headers: { location: '/login' } })],
    ["Next's redirect()", redirect],
    ["Hono's HTTPException", Object.assign(new Error('no'), { getResponse: () => new Response() })],
    ["SvelteKit's redirect", { status: 303, location: '/login' }],
  ])('%s that the resolver throws is passed on as it is', async (_name, thrown) => {
    for (const session of [
      () => {
        throw thrown
      },
      async () => {
        throw thrown
      },
    ]) {
      const { holdfast, events } = setUp({ session: session as never })
      expect(await refusal(holdfast.requireAuth(request()))).toBe(thrown)
      expect(events).toEqual([])
    }
  })
})

describe('a session resolver', () => {
  test('has 10 s, and learns from its signal that they are over', async () => {
    let signal: AbortSignal | undefined
    const session = (_request: unknown, context: { signal: AbortSignal }) => {
      signal = context.signal
      return new Promise<never>(() => {})
    }
    const log = logger()
    const { holdfast, clock } = setUp({ session, logger: log })
    const refused = refusal(holdfast.requireAuth(request()))
    await clock.advance(10 * SECOND - 1)
    expect(signal!.aborted).toBe(false)
    await clock.advance(1)
    expect(await refused).toMatchObject({ status: 503, reason: 'session-resolver-slow' })
    expect(signal!.aborted).toBe(true)
    expect(log.error.mock.calls.map(([, message]) => message)).toEqual([
      'requireAuth refused: the session resolver took longer than 10 s',
    ])
  })

  test('hears of a token that died, and may return another', async () => {
    const told: Array<string | undefined> = []
    const session = (_request: unknown, { diedToken }: { diedToken?: string }) => {
      told.push(diedToken)
      return { userId: '1001', accessToken: diedToken ? 'new-token' : 'old-token' }
    }
    const { holdfast, answers, to } = setUp({ session })
    answers[GUILDS] = (authorization) => (authorization === 'Bearer new-token' ? ok([guild('1')]) : refused401)
    expect(await holdfast.requireAuth(request(), { guild: '1' })).toMatchObject({ guild: { id: '1' } })
    expect(told).toEqual([undefined, 'old-token'])
    expect(to(GUILDS)).toHaveLength(2)
    // Known by now: asked for another at once, also where no guilds are needed.
    expect(await holdfast.requireAuth(request(), { guilds: false })).toMatchObject({ user: { id: '1001' } })
    expect(to(GUILDS)).toHaveLength(2)
  })

  test.each(['the same', 'another dead one', 'none', 'an error'])(
    'is asked once more and not again: %s',
    async (second) => {
      let asked = 0
      const session = (_request: unknown, { diedToken }: { diedToken?: string }) => {
        asked++
        if (diedToken === undefined || second === 'the same') return { userId: '1001', accessToken: 'dead-1' }
        if (second === 'an error') throw new Error('no refresh')
        return second === 'none' ? null : { userId: '1001', accessToken: 'dead-2' }
      }
      const { holdfast, answers } = setUp({ session })
      answers[GUILDS] = refused401
      expect(await refusal(holdfast.requireAuth(request()))).toMatchObject({
        status: second === 'an error' ? 503 : 401,
      })
      expect(asked).toBe(2)
    },
  )

  test('takes its time off the patience', async () => {
    const session = async () => {
      await house.clock.sleep(400)
      return SESSIONS.ann!
    }
    const house = setUp({ session })
    house.answers[GUILDS] = ok([guild('1')])
    const first = house.holdfast.requireAuth(request())
    await house.clock.advance(400)
    await first
    await house.clock.advance(2 * HOUR)
    nock.cleanAll()
    nock('https://discord.test').get(/.*/).delay(60_000).reply(200, '[]')
    const began = house.clock.monotonic()
    const answer = house.holdfast.requireAuth(request())
    await house.clock.advance(400)
    await house.clock.advance(99)
    let answered = false
    void answer.then(() => {
      answered = true
    })
    await house.clock.advance(0)
    expect(answered).toBe(false)
    await house.clock.advance(1)
    expect(await answer).toMatchObject({ stale: true, reason: 'slow' })
    expect(house.clock.monotonic() - began).toBe(500)
    nock.abortPendingRequests()
    await house.holdfast.close({ deadlineMs: 0 })
  })

  test('whose session changes between two looks is believed the first time', async () => {
    let looks = 0
    const session = () => ({
      get userId() {
        return ++looks === 1 ? '1001' : '1002'
      },
      accessToken: 'secret-token-of-ann',
    })
    const { holdfast, answers } = setUp({ session })
    answers[GUILDS] = ok([guild('1')])
    expect((await holdfast.requireAuth(request())).user.id).toBe('1001')
    expect(looks).toBe(1)
  })

  test('of its own may say how the user is called', async () => {
    const { holdfast } = setUp({
      session: () => ({ ...SESSIONS.ann!, username: 'ann', globalName: null, avatar: 'a1' }),
    })
    const { user } = await holdfast.requireAuth(request(), { guilds: false })
    expect(user).toEqual({ id: '1001', username: 'ann', globalName: null, avatar: 'a1' })
  })
})

describe('options that would let somebody in', () => {
  test.each<[object, string]>([
    [{ guild: '1', permissions: undefined }, 'permissions'],
    [{ guild: '1', permissions: [] }, 'permissions'],
    [{ guild: '1', permissions: '' }, 'permissions'],
    [{ guild: '1', permission: 'ManageGuild' }, 'permission'],
    [{ guildId: '1' }, 'guildId'],
    [{ guild: undefined, permissions: 'ManageGuild' }, 'guild'],
    [{ live: undefined }, 'live'],
    [{ live: 'false' }, 'live'],
    [{ maxAgeMs: undefined }, 'maxAgeMs'],
    [{ maxAgeMs: '5' }, 'maxAgeMs'],
    [{ guilds: undefined }, 'guilds'],
    [{ guilds: 0 }, 'guilds'],
  ])('%j is a ConfigError that names it, before anybody is asked', async (options, option) => {
    const { holdfast, calls } = annInGuild1()
    for (const tried of [
      holdfast.requireAuth(request(), options as never),
      holdfast.withAuth(() => new Response(), options as never)(request()),
    ]) {
      const error = await refusal(tried)
      expect(error).toBeInstanceOf(ConfigError)
      expect(error).toMatchObject({ option })
    }
    expect(calls).toEqual([])
  })

  test('a misspelt one is told the nearest right one', async () => {
    const { holdfast } = annInGuild1()
    const error = await refusal(holdfast.requireAuth(request(), { guild: '1', permission: 'ManageGuild' } as never))
    expect(error.message).toContain('did you mean permissions?')
  })

  test.each([undefined, null, {}, 'GET', { headers: {} }, { headers: { cookie: 'ann' } }])(
    '%j is no request: a ConfigError',
    async (asked) => {
      const { holdfast } = annInGuild1()
      expect(await refusal(holdfast.requireAuth(asked as never))).toMatchObject({
        code: 'CONFIG_INVALID',
        option: 'request',
      })
    },
  )
})

describe('a request without a method', () => {
  test('counts as a change: memberships of 20 hours ago do not do', async () => {
    const { holdfast, answers, clock } = annInGuild1()
    await holdfast.requireAuth(request())
    answers[GUILDS] = down
    await clock.advance(20 * HOUR)
    const headers = new Headers({ cookie: 'ann' })
    expect(await holdfast.requireAuth({ headers, method: 'GET' })).toMatchObject({ stale: true })
    expect(await refusal(holdfast.requireAuth({ headers }))).toMatchObject({ status: 503 })
  })
})

describe('the wait that a refusal names', () => {
  test('is the one that is left of the back-off, however long', async () => {
    const { holdfast, answers, clock } = annInGuild1()
    answers[GUILDS] = down
    for (let time = 0; time < 12; time++) {
      await refusal(holdfast.requireAuth(request()))
      await clock.advance(5 * MINUTE)
    }
    const refused = await refusal(holdfast.requireAuth(request()))
    expect(refused.toResponse().headers.get('retry-after')).toBe('300')
    await clock.advance(100 * SECOND)
    expect((await refusal(holdfast.requireAuth(request()))).retryAfterMs).toBe(200 * SECOND)
  })
})

describe('a 403 of one session', () => {
  const TWO: Record<string, Session> = {
    good: { userId: '1001', accessToken: 'good-token' },
    poor: { userId: '1001', accessToken: 'poor-token' },
  }

  test('is not the other session’s, even where both ask at the same time', async () => {
    const { holdfast, answers } = setUp({ sessions: TWO })
    answers[GUILDS] = (authorization) => (authorization.endsWith('good-token') ? ok([guild('1')]) : refused403)
    const [poor, good] = await Promise.allSettled([
      holdfast.requireAuth(request('poor')),
      holdfast.requireAuth(request('good')),
    ])
    expect(poor).toMatchObject({ status: 'rejected', reason: { status: 403, reason: 'scope-missing' } })
    expect(good).toMatchObject({ status: 'fulfilled' })
    expect(await holdfast.requireAuth(request('good'))).toMatchObject({ source: 'memory' })
  })

  test('is remembered: 200 page views make one call', async () => {
    const { holdfast, answers, to, clock } = setUp({ sessions: TWO })
    answers[GUILDS] = refused403
    for (let view = 0; view < 200; view++)
      expect(await refusal(holdfast.requireAuth(request('poor')))).toMatchObject({ status: 403 })
    expect(to(GUILDS)).toHaveLength(1)
    await clock.advance(5 * MINUTE)
    await refusal(holdfast.requireAuth(request('poor')))
    expect(to(GUILDS)).toHaveLength(2)
  })
})

describe('guilds: false', () => {
  const bearer = (method: string) =>
    new Request('https://app.test/x', { method, headers: { authorization: 'Bearer a-bearer-token' } })
  const identity = (clock: { now(): number }) =>
    ok({
      application: { id: '1234567890', name: 'ours' },
      expires: new Date(clock.now() + 24 * HOUR).toISOString(),
      scopes: ['identify', 'guilds'],
      user: { id: '1001', username: 'ann', global_name: 'Ann', avatar: null },
    })

  test.each<[string, string, RequireAuthOptions, number]>([
    ['a change, after 5 minutes', 'POST', {}, 5 * MINUTE + SECOND],
    ['live', 'GET', { live: true }, 6 * SECOND],
    ['maxAgeMs', 'GET', { maxAgeMs: MINUTE }, MINUTE + SECOND],
    ['live and maxAgeMs: 0', 'POST', { live: true, maxAgeMs: 0 }, 1],
  ])('asks again whose a bearer token is: %s', async (_name, method, options, afterMs) => {
    const { holdfast, answers, clock } = setUp()
    answers[ME] = identity(clock)
    const asked = { ...options, guilds: false } as const
    expect(await holdfast.requireAuth(bearer(method), asked)).toEqual({
      user: { id: '1001', username: 'ann', globalName: 'Ann', avatar: null },
    })
    answers[ME] = refused401
    await clock.advance(afterMs)
    expect(await refusal(holdfast.requireAuth(bearer(method), asked))).toMatchObject({ status: 401 })
  })

  test('with live asks Discord of a session of one’s own too', async () => {
    const { holdfast, answers, clock, to } = setUp({ sessions: SESSIONS })
    answers[ME] = identity(clock)
    expect(await holdfast.requireAuth(request(), { guilds: false })).toEqual({ user: { id: '1001' } })
    expect(to(ME)).toHaveLength(0)
    await holdfast.requireAuth(request(), { guilds: false, live: true })
    expect(to(ME)).toHaveLength(1)
    answers[ME] = refused401
    await clock.advance(6 * SECOND)
    expect(await refusal(holdfast.requireAuth(request(), { guilds: false, live: true }))).toMatchObject({ status: 401 })
  })

  test('invalidateUser takes the identity along', async () => {
    const { holdfast, answers, clock, to } = setUp()
    answers[ME] = identity(clock)
    await holdfast.requireAuth(bearer('GET'), { guilds: false })
    await holdfast.cache.invalidateUser('1001')
    await holdfast.requireAuth(bearer('GET'), { guilds: false })
    expect(to(ME)).toHaveLength(2)
  })
})

describe('keys of the house', () => {
  test('are not the app’s: its own list under { user, guilds } poisons nothing, either way', async () => {
    const { holdfast } = annInGuild1()
    const own = () => holdfast.cacheUserScopedGraceful('1001', 'guilds', HOUR, 24 * HOUR, async () => [{ id: 'mine' }])
    expect(await own()).toEqual([{ id: 'mine' }])
    expect(await holdfast.requireAuth(request(), { guild: '1' })).toMatchObject({ guild: { id: '1' } })
    expect(await own()).toEqual([{ id: 'mine' }])
    await holdfast.cache.invalidateUser('1001')
    expect(holdfast.stats().cache.entries).toBe(0)
  })

  test.each(['', {}, undefined, ' ', 'with space'])(
    'an accessToken %j of one caller holds nobody else back',
    async (accessToken) => {
      const { holdfast } = annInGuild1()
      await expect(holdfast.memberships({ userId: '1001', accessToken: accessToken as string })).rejects.toMatchObject({
        code: 'INVALID_TOKEN',
      })
      expect(await holdfast.memberships({ userId: '1001', accessToken: 'good-token' })).toMatchObject({ stale: false })
    },
  )

  test('cache.get without a loader says so, and holds nobody else back', async () => {
    const { holdfast } = annInGuild1()
    await expect(holdfast.cache.get('z', {} as never)).rejects.toMatchObject({ code: 'INVALID_OPTION' })
    await expect(holdfast.cache.get('z', { load: async () => 1, freshMS: 5 } as never)).rejects.toMatchObject({
      code: 'INVALID_OPTION',
    })
    expect(await holdfast.cache.get('z', { load: async () => 1 })).toMatchObject({ value: 1 })
  })
})

describe('JSON', () => {
  test('carries auth, its guild and its guilds; permissions are decimal strings', async () => {
    const { holdfast } = annInGuild1()
    const auth = await holdfast.requireAuth(request(), { guild: '1' })
    const plain = { id: '1', name: 'Guild 1', icon: null, owner: false, permissions: '32' }
    expect(await Response.json(auth).json()).toMatchObject({ user: { id: '1001' }, guilds: [plain], guild: plain })
    expect(await Response.json([...auth.guilds].filter(({ id }) => id === '1')).json()).toEqual([plain])
    expect(auth.guild.toJSON()).toEqual(plain)
    expect(Object.getPrototypeOf(auth.guild.toJSON())).toBe(Object.prototype)
  })

  test('and nothing of it can be changed by one handler for all', async () => {
    const { holdfast } = annInGuild1()
    const auth = await holdfast.requireAuth(request(), { guild: '1' })
    expect(() => Object.assign(auth.guilds, { can: () => true })).toThrow(TypeError)
    expect(() => Object.assign(auth.guild, { owner: true })).toThrow(TypeError)
    expect(auth.guilds.has(['1'] as never)).toBe(false)
    expect(auth.guilds.has(['1'] as never)).toBe(false)
  })
})

describe('the option refusal', () => {
  const answer = async (refusal_: unknown, cookie = 'nobody') => {
    const { holdfast } = annInGuild1({ refusal: refusal_ as never })
    return holdfast.withAuth(() => new Response('in'))(request(cookie))
  }

  test('writes the app’s own words; status, no-store and Retry-After stay', async () => {
    const seen: unknown[] = []
    const refusal_ = (refused: object, asked: unknown) => {
      seen.push(refused, asked)
      return { body: '<h1>Wer da?</h1>', contentType: 'text/html; charset=utf-8' }
    }
    const response = await answer(refusal_)
    expect([
      response.status,
      await response.text(),
      response.headers.get('content-type'),
      response.headers.get('cache-control'),
    ]).toEqual([401, '<h1>Wer da?</h1>', 'text/html; charset=utf-8', 'no-store'])
    expect(seen[0]).toEqual({ status: 401, code: 'UNAUTHENTICATED', reason: 'no-session' })
    expect(seen[1]).toBeInstanceOf(Request)
  })

  test('leads to the sign-in', async () => {
    const response = await answer(() => ({ redirect: '/sign-in?from=%2Fpage' }))
    expect([response.status, response.headers.get('location'), response.headers.get('cache-control')]).toEqual([
      303,
      '/sign-in?from=%2Fpage',
      'no-store',
    ])
  })

  test.each<[string, unknown]>([
    ['returns nothing', () => undefined],
    [
      'throws',
      () => {
        throw new Error('no')
      },
    ],
    ['returns nonsense', () => ({ body: 7, contentType: 'x' })],
    ['returns a header that is none', () => ({ redirect: '/a\nset-cookie: b' })],
  ])('that %s keeps ours', async (_name, refusal_) => {
    const response = await answer(refusal_)
    expect([response.status, (await response.json()).code]).toEqual([401, 'UNAUTHENTICATED'])
  })
})

describe('memberships({ refresh: true })', () => {
  test('asks Discord however young the list is, and falls back to it', async () => {
    const { holdfast, answers, to, clock } = annInGuild1()
    const ann = SESSIONS.ann!
    await holdfast.memberships(ann)
    answers[GUILDS] = ok([guild('1'), guild('2')])
    expect((await holdfast.memberships(ann, { refresh: true })).guilds.has('2')).toBe(true)
    answers[GUILDS] = limited(60)
    const held = await holdfast.memberships(ann, { refresh: true })
    expect(held).toMatchObject({ stale: true, reason: 'throttled' })
    expect(held.guilds.size).toBe(2)
    expect(to(GUILDS)).toHaveLength(3)
    // Not again before Discord's time, and the others never noticed.
    expect(await holdfast.memberships(ann, { refresh: true })).toMatchObject({ reason: 'throttled' })
    expect(await holdfast.memberships(ann)).toMatchObject({ stale: false })
    expect(to(GUILDS)).toHaveLength(3)
    answers[GUILDS] = blocked403
    await clock.advance(60 * SECOND)
    expect(await holdfast.memberships(ann, { refresh: true })).toMatchObject({ stale: true, reason: 'unavailable' })
  })

  test('waits for Discord, however impatient the cache is', async () => {
    const { holdfast, clock } = annInGuild1({ cache: { patienceMs: 0 } })
    await holdfast.memberships(SESSIONS.ann!)
    await clock.advance(SECOND)
    expect(await holdfast.memberships(SESSIONS.ann!, { refresh: true })).toMatchObject({ source: 'load' })
  })
})

test('an AuthError of the resolver’s own making is passed on', async () => {
  const made = new AuthError('FORBIDDEN', 'banned here', { now: () => 0 })
  const { holdfast } = setUp({
    session: () => {
      throw made
    },
  })
  expect(await refusal(holdfast.requireAuth(request()))).toBe(made)
})
