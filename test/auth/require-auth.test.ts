import nock from 'nock'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { AuthError } from '../../src/auth/auth-error.ts'
import { ConfigError } from '../../src/errors/errors.ts'
import type { Session } from '../../src/sessions/session.ts'
import {
  ADMINISTRATOR,
  blocked403,
  down,
  GUILDS,
  guild,
  limited,
  MANAGE_GUILD,
  MANAGE_ROLES,
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

beforeAll(() => nock.disableNetConnect())
afterEach(() => nock.cleanAll())
afterAll(() => nock.enableNetConnect())

/** Ann is signed in and in guild 1, which Discord tells whoever asks. */
function annInGuild1(options: Parameters<typeof setUp>[0] = {}) {
  const house = setUp({ sessions: SESSIONS, ...options })
  house.answers[GUILDS] = ok([guild('1', MANAGE_GUILD)])
  return house
}

describe('who is it?', () => {
  test('no session is 401, and Discord is not asked', async () => {
    const { holdfast, calls } = annInGuild1()
    expect(await refusal(holdfast.requireAuth(request('stranger')))).toMatchObject({
      code: 'UNAUTHENTICATED',
      status: 401,
    })
    expect(calls).toEqual([])
  })

  test('a session is its user and their guilds', async () => {
    const { holdfast, clock, calls } = annInGuild1()
    const auth = await holdfast.requireAuth(request())
    expect(auth).toMatchObject({ user: { id: '1001' }, stale: false, source: 'load' })
    expect(auth.guildsFetchedAt).toEqual(new Date(clock.now()))
    expect(auth.guilds.size).toBe(1)
    expect('guild' in auth).toBe(false)
    expect(calls).toEqual([{ path: GUILDS, authorization: 'Bearer secret-token-of-ann' }])
    expect(await holdfast.requireAuth(request())).toMatchObject({ source: 'memory', stale: false })
    expect(calls).toHaveLength(1)
  })

  test('a server component passes its headers and that it looks', async () => {
    const { holdfast, clock } = annInGuild1()
    const headers = new Headers({ cookie: 'ann' })
    await holdfast.requireAuth({ headers, method: 'GET' })
    await clock.advance(30 * MINUTE)
    expect(await holdfast.requireAuth({ headers, method: 'GET' })).toMatchObject({
      user: { id: '1001' },
      source: 'memory',
    })
  })

  test.each<[string, unknown]>([
    ['undefined', undefined],
    ['a number', 7],
    ['a string', 'ann'],
    ['true', true],
    ['an empty object', {}],
    ['an array', []],
    ['no userId', { accessToken: 't' }],
    ['an empty userId', { userId: '', accessToken: 't' }],
    ['a userId that is a number', { userId: 1001, accessToken: 't' }],
    ['no accessToken', { userId: '1001' }],
    ['an empty accessToken', { userId: '1001', accessToken: '' }],
    ['an accessToken that is an object', { userId: '1001', accessToken: {} }],
  ])('a session resolver that returns %s lets nobody in: 401', async (_name, session) => {
    for (const value of [session, Promise.resolve(session)]) {
      const { holdfast, calls } = setUp({ session: () => value as Session })
      expect(await refusal(holdfast.requireAuth(request()))).toMatchObject({ status: 401 })
      expect(await refusal(holdfast.requireAuth(request(), { guilds: false }))).toMatchObject({ status: 401 })
      expect(calls).toEqual([])
    }
  })

  test.each<[string, () => never]>([
    [
      'throws',
      () => {
        throw new Error('the session store is down')
      },
    ],
    ['rejects', (() => Promise.reject(new Error('the session store is down'))) as () => never],
    ['rejects with nothing', (() => Promise.reject(undefined)) as () => never],
  ])('a session resolver that %s lets nobody in: 503', async (_name, session) => {
    const { holdfast, calls } = setUp({ session })
    const refused = await refusal(holdfast.requireAuth(request()))
    expect(refused).toBeInstanceOf(AuthError)
    expect(refused).toMatchObject({ code: 'SERVICE_UNAVAILABLE', status: 503 })
    expect(calls).toEqual([])
  })

  test('guilds: false needs the user only: Discord is not asked', async () => {
    const { holdfast, calls } = annInGuild1()
    expect(await holdfast.requireAuth(request(), { guilds: false })).toEqual({ user: { id: '1001' } })
    expect(calls).toEqual([])
  })

  test('guilds: false with a guild checks the guild all the same', async () => {
    const { holdfast } = annInGuild1()
    const options = { guilds: false, guild: '2' }
    expect(await refusal(holdfast.requireAuth(request(), options))).toMatchObject({ status: 403 })
  })
})

describe('a dead token', () => {
  test('is 401, purges the list, and is not sent again', async () => {
    const { holdfast, answers, clock, calls } = annInGuild1()
    await holdfast.requireAuth(request())
    answers[GUILDS] = refused401
    await clock.advance(HOUR)
    expect(await refusal(holdfast.requireAuth(request()))).toMatchObject({ code: 'UNAUTHENTICATED', status: 401 })
    expect(holdfast.stats().cache.entries).toBe(0)
    const sent = calls.length
    expect(await refusal(holdfast.requireAuth(request()))).toMatchObject({ status: 401 })
    expect(await refusal(holdfast.requireAuth(request(), { guilds: false }))).toMatchObject({ status: 401 })
    expect(calls).toHaveLength(sent)
  })

  test('is 401 also while a fresh list is cached', async () => {
    const { holdfast, answers } = annInGuild1()
    await holdfast.requireAuth(request())
    answers['/users/@me'] = refused401
    await refusal(holdfast.getCurrentUser('secret-token-of-ann'))
    expect(holdfast.stats().cache.entries).toBe(1)
    expect(await refusal(holdfast.requireAuth(request()))).toMatchObject({ status: 401 })
  })

  test('in the background purges the list: whoever comes next is refused', async () => {
    const { holdfast, answers, clock } = annInGuild1()
    await holdfast.requireAuth(request())
    answers[GUILDS] = refused401
    await clock.advance(50 * MINUTE)
    expect(await holdfast.requireAuth(request())).toMatchObject({ stale: false })
    await vi.waitFor(() => expect(holdfast.stats().cache.entries).toBe(0))
    expect(await refusal(holdfast.requireAuth(request()))).toMatchObject({ status: 401 })
  })

  const session = (token: string): Session => ({ userId: '1001', accessToken: token })
  const onlyC = (authorization: string) => (authorization === 'Bearer token-c' ? ok([guild('1')]) : refused401)

  test('of one session does not refuse another session of the same user that asks at the same time', async () => {
    const { holdfast, answers } = setUp({ sessions: { a: session('token-a'), c: session('token-c') } })
    answers[GUILDS] = onlyC
    const [a, c] = await Promise.allSettled([holdfast.requireAuth(request('a')), holdfast.requireAuth(request('c'))])
    expect(a).toMatchObject({ status: 'rejected', reason: { status: 401 } })
    expect(c).toMatchObject({ status: 'fulfilled', value: { user: { id: '1001' } } })
  })

  test('of two sessions does not refuse a third of the same user that asks at the same time', async () => {
    const { holdfast, answers } = setUp({
      sessions: { a: session('token-a'), b: session('token-b'), c: session('token-c') },
    })
    answers[GUILDS] = onlyC
    const [a, b, c] = await Promise.allSettled(['a', 'b', 'c'].map((name) => holdfast.requireAuth(request(name))))
    expect(a).toMatchObject({ status: 'rejected', reason: { status: 401 } })
    expect(b).toMatchObject({ status: 'rejected', reason: { status: 401 } })
    expect(c).toMatchObject({ status: 'fulfilled', value: { user: { id: '1001' } } })
  })
})

describe('in which guild?', () => {
  test('a guild that the user is in passes, and comes along', async () => {
    const { holdfast } = annInGuild1()
    const auth = await holdfast.requireAuth(request(), { guild: '1' })
    expect(auth.guild).toEqual({ id: '1', name: 'Guild 1', icon: null, owner: false, permissions: 32n })
  })

  test('a guild that the user is not in is 403', async () => {
    const { holdfast } = annInGuild1()
    expect(await refusal(holdfast.requireAuth(request(), { guild: '2' }))).toMatchObject({
      code: 'FORBIDDEN',
      status: 403,
    })
  })

  test.each([
    ['null', () => null],
    ['undefined', () => undefined],
    ["''", () => ''],
    ['a promise of null', async () => null],
    ['a number', (() => 1) as never],
    ['an array with the id', (() => ['1']) as never],
    ['an object that reads as the id', (() => ({ toString: () => '1' })) as never],
  ])('a guild function that returns %s never passes', async (_name, find) => {
    const { holdfast } = annInGuild1()
    expect(await refusal(holdfast.requireAuth(request(), { guild: find }))).toMatchObject({ status: 403 })
  })

  test.each([undefined, null, '', 1, ['1'], {}, true])(
    '{ guild: %j } is a ConfigError, not a route without a guild',
    async (value) => {
      const { holdfast, calls } = annInGuild1()
      const error = await refusal(holdfast.requireAuth(request(), { guild: value as never }))
      expect(error).toBeInstanceOf(ConfigError)
      expect(error).toMatchObject({ option: 'guild' })
      expect(calls).toEqual([])
    },
  )

  test.each(['__proto__', 'constructor', 'has', '1 ', '01', '1\n'])(
    '{ guild: %j } is a guild that nobody is in',
    async (value) => {
      const { holdfast } = annInGuild1()
      expect(await refusal(holdfast.requireAuth(request(), { guild: value as never }))).toMatchObject({ status: 403 })
    },
  )

  test('a guild function that throws lets nobody in, and its error is the caller’s', async () => {
    const { holdfast } = annInGuild1()
    const error = new Error('no such route parameter')
    const find = () => {
      throw error
    }
    expect(await refusal(holdfast.requireAuth(request(), { guild: find }))).toBe(error)
  })

  test('a user who has left a guild is out at the next refresh', async () => {
    const { holdfast, answers, clock } = annInGuild1()
    await holdfast.requireAuth(request(), { guild: '1' })
    answers[GUILDS] = ok([])
    await clock.advance(47 * MINUTE)
    await holdfast.requireAuth(request(), { guild: '1' })
    await clock.advance(13 * MINUTE)
    expect(await refusal(holdfast.requireAuth(request(), { guild: '1' }))).toMatchObject({ status: 403 })
  })

  test('one user’s guilds are never another’s', async () => {
    const { holdfast, answers } = annInGuild1()
    answers[GUILDS] = (authorization) => ok(authorization.endsWith('ann') ? [guild('1')] : [guild('2')])
    await holdfast.requireAuth(request('ann'), { guild: '1' })
    expect(await refusal(holdfast.requireAuth(request('bob'), { guild: '1' }))).toMatchObject({ status: 403 })
    await holdfast.requireAuth(request('bob'), { guild: '2' })
    expect(await refusal(holdfast.requireAuth(request('ann'), { guild: '2' }))).toMatchObject({ status: 403 })
  })
})

describe('with which permissions?', () => {
  const permissions = ['ManageGuild', 'ManageRoles'] as const

  test.each([
    ['all of them', String(32 + 268435456), false, true],
    ['one of two', MANAGE_GUILD, false, false],
    ['the other of two', MANAGE_ROLES, false, false],
    ['none', '0', false, false],
    ['Administrator', ADMINISTRATOR, false, true],
    ['nothing but being the owner', '0', true, true],
    ['bits beyond 2^53', String(2n ** 60n + 32n + 268435456n), false, true],
    ['only bits beyond 2^53', String(2n ** 60n), false, false],
  ])('who has %s is let in or refused with 403', async (_name, bits, owner, passes) => {
    const { holdfast, answers } = annInGuild1()
    answers[GUILDS] = ok([guild('1', bits, owner), guild('2', ADMINISTRATOR, true)])
    const answer = holdfast.requireAuth(request(), { guild: '1', permissions })
    if (passes) expect(await answer).toMatchObject({ guild: { id: '1' } })
    else expect(await refusal(answer)).toMatchObject({ code: 'FORBIDDEN', status: 403 })
  })

  test('a single name is a list of one', async () => {
    const { holdfast } = annInGuild1()
    await holdfast.requireAuth(request(), { guild: '1', permissions: 'ManageGuild' })
    const answer = holdfast.requireAuth(request(), { guild: '1', permissions: 'ManageRoles' })
    expect(await refusal(answer)).toMatchObject({ status: 403 })
  })

  test('permissions without a guild are a ConfigError, before anybody is asked', async () => {
    const { holdfast, calls } = annInGuild1()
    for (const needed of ['ManageGuild', [], ['ManageGuild']] as const) {
      const error = await refusal(holdfast.requireAuth(request('stranger'), { permissions: needed } as never))
      expect(error).toBeInstanceOf(ConfigError)
      expect(error).toMatchObject({ code: 'CONFIG_INVALID', option: 'permissions' })
    }
    expect(calls).toEqual([])
  })

  test.each(['MANAGE_GUILD', 'manageGuild', '', 'toString', '__proto__', '32', 32n, null, {}])(
    'the permission %s is unknown: a ConfigError, also for the owner',
    async (name) => {
      const { holdfast, answers } = annInGuild1()
      answers[GUILDS] = ok([guild('1', ADMINISTRATOR, true)])
      const error = await refusal(holdfast.requireAuth(request(), { guild: '1', permissions: [name] as never }))
      expect(error).toBeInstanceOf(ConfigError)
    },
  )
})

describe('scopes', () => {
  const withScopes = (scopes: unknown) => ({
    sessions: { ann: { ...SESSIONS.ann!, scopes: scopes as string[] } },
  })

  test('that lack guilds are refused with 403 before the cache is read', async () => {
    const { holdfast, calls, events } = setUp(withScopes(['identify', 'guilds.join', 'guilds.members.read']))
    await holdfast.cache.set({ user: '1001', key: 'guilds' }, 'a list', { codec: TEXT })
    expect(await refusal(holdfast.requireAuth(request()))).toMatchObject({ code: 'FORBIDDEN', status: 403 })
    expect(events).toMatchObject([{ type: 'auth.refused', status: 403, reason: 'scope-missing' }])
    expect(calls).toEqual([])
  })

  test('that lack guilds are enough where only the user is needed', async () => {
    const { holdfast } = setUp(withScopes(['identify']))
    expect(await holdfast.requireAuth(request(), { guilds: false })).toEqual({ user: { id: '1001' } })
  })

  test.each([[['guilds']], [['identify', 'guilds']], [undefined]])('%j are enough for guilds', async (scopes) => {
    const { holdfast } = annInGuild1(withScopes(scopes))
    expect(await holdfast.requireAuth(request())).toMatchObject({ user: { id: '1001' } })
  })

  test('are read as the list that was given, whatever else that list can do', async () => {
    const scopes = Object.assign(['identify'], { includes: () => true })
    const { holdfast, calls } = annInGuild1(withScopes(scopes))
    expect(await refusal(holdfast.requireAuth(request()))).toMatchObject({ status: 403 })
    expect(calls).toEqual([])
  })

  test.each(['identify guilds.join', 7, {}, true])('that are %j and no list let nobody in', async (scopes) => {
    const { holdfast, calls } = annInGuild1(withScopes(scopes))
    expect(await refusal(holdfast.requireAuth(request()))).toBeInstanceOf(AuthError)
    expect(calls).toEqual([])
  })
})

const TEXT = { version: '1', encode: String, decode: (text: string) => text }

describe('when Discord has trouble', () => {
  test.each([
    ['throttles', limited(60), 'throttled', 60 * SECOND],
    ['is down', down, 'unavailable', 5 * SECOND],
    ['is hidden behind a block page with 403', blocked403, 'unavailable', 5 * SECOND],
  ] as const)('and %s, the list that is held is served, marked stale', async (_name, answer, reason, waitMs) => {
    const { holdfast, answers, clock } = annInGuild1()
    const fetchedAt = new Date(clock.now())
    await holdfast.requireAuth(request())
    answers[GUILDS] = answer
    await clock.advance(2 * HOUR)
    for (let i = 0; i < 3; i++) {
      const auth = await holdfast.requireAuth(request(), { guild: '1', permissions: 'ManageGuild' })
      expect(auth).toMatchObject({ stale: true, reason, source: 'memory', guildsFetchedAt: fetchedAt })
      expect(auth.retryAt).toEqual(new Date(clock.now() + waitMs))
    }
    await clock.advance(22 * HOUR - 1)
    expect(await holdfast.requireAuth(request())).toMatchObject({ stale: true, reason })
    await clock.advance(1)
    expect(await refusal(holdfast.requireAuth(request()))).toMatchObject({ status: reason === 'throttled' ? 429 : 503 })
  })

  test('and cannot be reached, the list that is held is served', async () => {
    const { holdfast, clock } = annInGuild1()
    await holdfast.requireAuth(request())
    nock.cleanAll()
    await clock.advance(2 * HOUR)
    expect(await holdfast.requireAuth(request())).toMatchObject({ stale: true, reason: 'unavailable' })
  })

  test('and has not answered within 500 ms, the list that is held is served', async () => {
    const { holdfast, clock } = annInGuild1()
    await holdfast.requireAuth(request())
    nock.cleanAll()
    nock('https://discord.test').get(/.*/).delay(60_000).reply(200, [])
    await clock.advance(2 * HOUR)
    const answer = holdfast.requireAuth(request())
    await clock.advance(500)
    expect(await answer).toMatchObject({ stale: true, reason: 'slow' })
    nock.abortPendingRequests()
    const closed = holdfast.close({ deadlineMs: 0 })
    await clock.advance(0)
    await closed
  })

  test('a 403 in Discord’s own JSON is an answer: 403, and nobody else’s: the list stays for the user’s other sessions', async () => {
    const { holdfast, answers, clock } = annInGuild1()
    await holdfast.requireAuth(request())
    answers[GUILDS] = refused403
    await clock.advance(2 * HOUR)
    const refused = { code: 'FORBIDDEN', status: 403, reason: 'scope-missing' }
    expect(await refusal(holdfast.requireAuth(request()))).toMatchObject(refused)
    answers[GUILDS] = down
    // Remembered, and not sent again.
    expect(await refusal(holdfast.requireAuth(request()))).toMatchObject(refused)
    expect(await holdfast.requireAuth(request('other-ann'))).toMatchObject({ stale: true, source: 'memory' })
  })

  test('a 429 with nothing held is RATE_LIMITED with the wait that is left', async () => {
    const { holdfast, answers, clock, calls } = annInGuild1()
    answers[GUILDS] = limited(60)
    expect(await refusal(holdfast.requireAuth(request()))).toMatchObject({
      code: 'RATE_LIMITED',
      status: 429,
      retryAfterMs: 60 * SECOND,
    })
    await clock.advance(20 * SECOND)
    expect(await refusal(holdfast.requireAuth(request()))).toMatchObject({ status: 429, retryAfterMs: 40 * SECOND })
    expect(calls).toHaveLength(1)
    answers[GUILDS] = ok([guild('1')])
    await clock.advance(40 * SECOND)
    expect(await holdfast.requireAuth(request())).toMatchObject({ stale: false })
  })

  test.each([
    ['503', down],
    ['403 with a block page', blocked403],
    ['401 with a block page', { ...blocked403, status: 401 }],
    ['404 with a block page', { ...blocked403, status: 404 }],
    ['200 with a page', { ...blocked403, status: 200 }],
    ['200 with half a list', ok([guild('1'), { id: '2' }])],
    ['200 with an object', ok({ guilds: [] })],
  ])('a %s with nothing held is SERVICE_UNAVAILABLE with Retry-After', async (_name, answer) => {
    const { holdfast, answers } = annInGuild1()
    answers[GUILDS] = answer
    const refused = await refusal(holdfast.requireAuth(request()))
    expect(refused).toMatchObject({ code: 'SERVICE_UNAVAILABLE', status: 503 })
    expect(refused.retryAfterMs).toBeGreaterThan(0)
  })

  test('one user who is throttled delays nobody else', async () => {
    const { holdfast, answers } = annInGuild1()
    answers[GUILDS] = (authorization) => (authorization.endsWith('ann') ? limited(600) : ok([guild('2')]))
    expect(await refusal(holdfast.requireAuth(request('ann')))).toMatchObject({ status: 429 })
    expect(await holdfast.requireAuth(request('bob'))).toMatchObject({ user: { id: '1002' }, stale: false })
  })
})

describe('maxAgeMs', () => {
  const LOOKS = ['GET', 'HEAD']
  const CHANGES = ['POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'QUERY', 'get ']

  test.each(LOOKS)('is the stale time for %s: 24 h', async (method) => {
    const { holdfast, answers, clock } = annInGuild1()
    await holdfast.requireAuth(request())
    answers[GUILDS] = down
    await clock.advance(24 * HOUR - 1)
    expect(await holdfast.requireAuth(request('ann', { method }))).toMatchObject({ stale: true })
    await clock.advance(1)
    expect(await refusal(holdfast.requireAuth(request('ann', { method })))).toMatchObject({ status: 503 })
  })

  test.each(CHANGES)('is 5 minutes for %s', async (method) => {
    const { holdfast, answers, clock } = annInGuild1()
    await holdfast.requireAuth(request())
    answers[GUILDS] = down
    const change = { headers: new Headers({ cookie: 'ann' }), method }
    await clock.advance(5 * MINUTE - 1)
    expect(await holdfast.requireAuth(change)).toMatchObject({ stale: false })
    await clock.advance(5 * SECOND)
    expect(await refusal(holdfast.requireAuth(change))).toMatchObject({ code: 'SERVICE_UNAVAILABLE', status: 503 })
  })

  test('of a change that is refused leaves the list to those who only look', async () => {
    const { holdfast, answers, clock } = annInGuild1()
    await holdfast.requireAuth(request('ann', { method: 'POST' }))
    answers[GUILDS] = down
    await clock.advance(6 * MINUTE)
    expect(await refusal(holdfast.requireAuth(request('ann', { method: 'POST' })))).toMatchObject({ status: 503 })
    expect(await holdfast.requireAuth(request())).toMatchObject({ stale: false, source: 'memory' })
    await clock.advance(HOUR)
    expect(await holdfast.requireAuth(request())).toMatchObject({ stale: true })
  })

  test('that a route gives itself is kept to, in both directions', async () => {
    const { holdfast, answers, clock } = annInGuild1()
    await holdfast.requireAuth(request())
    answers[GUILDS] = down
    await clock.advance(10 * MINUTE)
    const change = request('ann', { method: 'DELETE' })
    expect(await holdfast.requireAuth(change, { maxAgeMs: HOUR })).toMatchObject({ source: 'memory' })
    expect(await refusal(holdfast.requireAuth(request(), { maxAgeMs: MINUTE }))).toMatchObject({ status: 503 })
    expect(await refusal(holdfast.requireAuth(request(), { maxAgeMs: 0 }))).toMatchObject({ status: 503 })
  })

  test('longer than the stale time does not stretch it', async () => {
    const { holdfast, answers, clock } = annInGuild1()
    await holdfast.requireAuth(request())
    answers[GUILDS] = down
    await clock.advance(24 * HOUR)
    expect(await refusal(holdfast.requireAuth(request(), { maxAgeMs: 48 * HOUR }))).toMatchObject({ status: 503 })
  })

  test.each([-1, Number.NaN, {}])('%j lets nobody in', async (maxAgeMs) => {
    const { holdfast } = annInGuild1()
    await holdfast.requireAuth(request())
    await refusal(holdfast.requireAuth(request(), { maxAgeMs: maxAgeMs as number }))
  })
})

describe('live', () => {
  const live = { guild: '1', permissions: 'ManageGuild', live: true } as const
  const bot = { discord: { botToken: 'secret-bot-token' } }
  const roles = (everyone: string, other: string) => [
    { id: '1', permissions: everyone },
    { id: '77', permissions: other },
  ]
  const GUILD = '/guilds/1'
  const MEMBER = '/guilds/1/members/1001'

  test('with a maxAgeMs below five seconds keeps to the shorter of the two', async () => {
    const { holdfast, clock, calls } = annInGuild1()
    await holdfast.requireAuth(request())
    await clock.advance(2_000)
    expect(await holdfast.requireAuth(request(), { live: true })).toMatchObject({ source: 'memory' })
    expect(await holdfast.requireAuth(request(), { live: true, maxAgeMs: 1_000 })).toMatchObject({ source: 'load' })
    expect(calls).toHaveLength(2)
  })

  test('accepts a list fetched less than 5 s ago, and fetches an older one', async () => {
    const { holdfast, clock, calls } = annInGuild1()
    await holdfast.requireAuth(request())
    await clock.advance(5 * SECOND - 1)
    await holdfast.requireAuth(request(), { ...live, maxAgeMs: HOUR })
    await vi.waitFor(() => expect(calls.length).toBe(2)) // the refresh in the background, past 80 % of the 5 s
    await clock.advance(5 * SECOND)
    expect(await holdfast.requireAuth(request(), live)).toMatchObject({ source: 'load', stale: false })
    expect(calls).toHaveLength(3)
  })

  test.each([
    ['throttles', limited(60), '60'],
    ['is down', down, '5'],
  ])(
    'without a bot is 503 with Retry-After when Discord %s, however young the list',
    async (_name, answer, seconds) => {
      const { holdfast, answers, clock } = annInGuild1()
      await holdfast.requireAuth(request())
      answers[GUILDS] = answer
      await clock.advance(5 * SECOND)
      const refused = await refusal(holdfast.requireAuth(request(), live))
      expect(refused).toMatchObject({ code: 'SERVICE_UNAVAILABLE', status: 503 })
      expect(refused.toResponse().headers.get('retry-after')).toBe(seconds)
    },
  )

  test('is confirmed with the bot’s token where the user’s own list cannot be fetched', async () => {
    const { holdfast, answers, clock, calls } = annInGuild1(bot)
    await holdfast.requireAuth(request())
    answers[GUILDS] = limited(60)
    answers[GUILD] = ok({ id: '1', name: 'Now', icon: 'i', owner_id: '5', roles: roles('0', MANAGE_GUILD) })
    answers[MEMBER] = ok({ user: { id: '1001' }, roles: ['77'] })
    await clock.advance(10 * SECOND)
    const auth = await holdfast.requireAuth(request(), live)
    expect(auth.guild).toEqual({ id: '1', name: 'Now', icon: 'i', owner: false, permissions: 32n })
    expect(
      calls.filter(({ authorization }) => authorization === 'Bot secret-bot-token').map(({ path }) => path),
    ).toEqual([GUILD, MEMBER])
  })

  test.each([
    ['is not in the guild any more', { status: 404, body: { message: 'Unknown Member', code: 10007 } }, 403],
    ['has lost the role', ok({ user: { id: '1001' }, roles: [] }), 403],
    ['cannot be looked up', down, 503],
    ['is in a guild that the bot cannot see', { status: 404, body: { message: 'Unknown Guild', code: 10004 } }, 503],
  ])('refuses whom the bot says %s, although the held list says otherwise', async (_name, member, status) => {
    const { holdfast, answers, clock } = annInGuild1(bot)
    await holdfast.requireAuth(request())
    answers[GUILDS] = limited(60)
    answers[GUILD] = ok({ id: '1', name: 'Now', icon: null, owner_id: '5', roles: roles('0', MANAGE_GUILD) })
    answers[MEMBER] = member
    await clock.advance(10 * SECOND)
    expect(await refusal(holdfast.requireAuth(request(), live))).toMatchObject({ status })
  })

  test.each<[string, string, string | null, number]>([
    ['is timed out', MANAGE_GUILD, '2100-01-01T00:00:00.000000+00:00', 403],
    ['was timed out, and is no longer', MANAGE_GUILD, '1970-01-01T00:00:01.000000+00:00', 200],
    ['is not timed out', MANAGE_GUILD, null, 200],
    ['is timed out as an administrator, whom that does not bind', ADMINISTRATOR, '2100-01-01T00:00:00+00:00', 200],
  ])('with a member whom the bot says %s', async (_name, permissions, until, status) => {
    const { holdfast, answers, clock } = annInGuild1(bot)
    await holdfast.requireAuth(request())
    answers[GUILDS] = limited(60)
    answers[GUILD] = ok({ id: '1', name: 'Now', icon: null, owner_id: '5', roles: roles('0', permissions) })
    answers[MEMBER] = ok({ user: { id: '1001' }, roles: ['77'], communication_disabled_until: until })
    await clock.advance(10 * SECOND)
    const outcome = await holdfast.requireAuth(request(), live).then(
      () => 200,
      (error: AuthError) => error.status,
    )
    expect(outcome).toBe(status)
  })

  test('passes the owner whom the bot sees', async () => {
    const { holdfast, answers, clock } = annInGuild1(bot)
    await holdfast.requireAuth(request())
    answers[GUILDS] = limited(60)
    answers[GUILD] = ok({ id: '1', name: 'Now', icon: null, owner_id: '1001', roles: roles('0', '0') })
    answers[MEMBER] = ok({ user: { id: '1001' }, roles: [] })
    await clock.advance(10 * SECOND)
    expect(await holdfast.requireAuth(request(), live)).toMatchObject({ guild: { owner: true } })
  })

  test('a dead token is 401, whatever the bot could say', async () => {
    const { holdfast, answers, to } = annInGuild1(bot)
    answers[GUILDS] = refused401
    expect(await refusal(holdfast.requireAuth(request(), live))).toMatchObject({ status: 401 })
    expect(to(GUILD)).toEqual([])
  })

  test.each(['../1', '1/../2', '1?x', 'x', ' 1'])('asks the bot about no guild named %j', async (id) => {
    const { holdfast, answers, clock, calls } = annInGuild1(bot)
    await holdfast.requireAuth(request())
    answers[GUILDS] = limited(60)
    await clock.advance(10 * SECOND)
    expect(await refusal(holdfast.requireAuth(request(), { guild: id, live: true }))).toMatchObject({ status: 503 })
    expect(calls.filter(({ path }) => path !== GUILDS)).toEqual([])
  })
})

describe('withAuth', () => {
  test('calls the handler with request, auth and every further argument, which guild gets too', async () => {
    const { holdfast } = annInGuild1()
    const guildOf = vi.fn((_request: unknown, context: { params: { id: string } }) => context.params.id)
    const handler = vi.fn((_request: Request, auth: object, context: object, more: number) =>
      Response.json({ auth: Object.keys(auth), context, more }),
    )
    const route = holdfast.withAuth(handler, { guild: guildOf })
    const asked = request()
    const context = { params: { id: '1' } }
    const response = await route(asked, context, 7)
    expect(response.status).toBe(200)
    expect(handler.mock.calls[0]).toEqual([asked, expect.objectContaining({ user: { id: '1001' } }), context, 7])
    expect(guildOf.mock.calls[0]).toEqual([asked, context, 7])
    expect((await route(asked, { params: { id: '2' } }, 7)).status).toBe(403)
    expect(handler).toHaveBeenCalledTimes(1)
  })

  test('answers refusals itself, and the handler is not called', async () => {
    const { holdfast } = annInGuild1()
    const handler = vi.fn(() => new Response())
    const response = await holdfast.withAuth(handler)(request('stranger'))
    expect(response.status).toBe(401)
    expect(await response.json()).toMatchObject({ code: 'UNAUTHENTICATED' })
    expect(handler).not.toHaveBeenCalled()
  })

  test('throws on what is not a refusal: ConfigError, the guild function’s error, the handler’s', async () => {
    const { holdfast } = annInGuild1()
    const error = new Error('a bug')
    const fails = () => {
      throw error
    }
    const handler = () => new Response()
    expect(
      await refusal(holdfast.withAuth(handler, { permissions: 'ManageGuild' } as never)(request())),
    ).toBeInstanceOf(ConfigError)
    expect(await refusal(holdfast.withAuth(handler, { guild: fails })(request()))).toBe(error)
    expect(await refusal(holdfast.withAuth(fails)(request()))).toBe(error)
    expect(await refusal(holdfast.withAuth(() => Promise.reject(error))(request()))).toBe(error)
  })

  test('an AuthError of the handler’s own is the handler’s: it is thrown, not answered', async () => {
    const { holdfast } = annInGuild1()
    const handler = async () => {
      await holdfast.requireAuth(request('stranger'))
      return new Response()
    }
    expect(await refusal(holdfast.withAuth(handler)(request()))).toMatchObject({ status: 401 })
  })
})

test.each<[string, object | null]>([
  ['maxAgeMs that is text', { maxAgeMs: '5' }],
  ['maxAgeMs that is negative', { maxAgeMs: -1 }],
  ['maxAgeMs that is not a number', { maxAgeMs: Number.NaN }],
  ['permissions that are null', { guild: '1', permissions: null }],
  ['permissions that are a number', { guild: '1', permissions: 8 }],
  ['no options object', null],
])('%s is a ConfigError, and no 503 for ever', async (_, options) => {
  const { holdfast } = setUp()
  await expect(holdfast.requireAuth(new Request('https://app.test/'), options as never)).rejects.toBeInstanceOf(
    ConfigError,
  )
})
