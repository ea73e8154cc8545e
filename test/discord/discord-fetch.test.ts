import nock from 'nock'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import {
  DiscordAPIError,
  DiscordRateLimitError,
  DiscordUnavailableError,
  HoldfastError,
} from '../../src/errors/errors.ts'
import { anyAnswer, failureOf, HEADERS, LIMITED, ORIGIN, scriptedDiscord, watched } from './scripted-discord.ts'

beforeAll(() => nock.disableNetConnect())
afterEach(() => {
  const left = nock.pendingMocks()
  nock.cleanAll()
  expect(left).toEqual([])
})
afterAll(() => nock.enableNetConnect())

const ME = '/users/@me'
const GUILDS = '/users/@me/guilds'

describe('what goes over the wire', () => {
  test('a GET carries the token, our user agent and accept, and no content type', async () => {
    const { holdfast } = scriptedDiscord()
    nock(ORIGIN, { badheaders: ['content-type'] })
      .matchHeader('authorization', 'Bearer abc')
      .matchHeader('user-agent', /^DiscordBot \(https?:\/\/\S+, \d+\.\d+\.\d+\)/)
      .matchHeader('accept', 'application/json')
      .get('/api/v10/users/@me')
      .reply(200, { id: '1' })
    expect(await holdfast.discordFetch('/users/@me', 'abc')).toEqual({ id: '1' })
  })

  test('query values are escaped and appended, undefined ones left out, behind what the path has', async () => {
    const { holdfast } = scriptedDiscord()
    nock(ORIGIN).get('/api/v10/users/@me/guilds?a=1&limit=200&with_counts=true&after=x%26y%3Dz').reply(200, [])
    const query = { limit: 200, with_counts: true, before: undefined, after: 'x&y=z' }
    expect(await holdfast.discordFetch(`${GUILDS}?a=1`, 'abc', { query })).toEqual([])
  })

  test.each(['POST', 'PUT', 'PATCH', 'DELETE'] as const)(
    '%s sends its body as JSON, with its type also where there is none',
    async (method) => {
      const { holdfast } = scriptedDiscord()
      const wire = nock(ORIGIN, { reqheaders: { 'content-type': 'application/json', authorization: 'Bot abc' } })
      wire.intercept('/api/v10/channels/1/messages', method, '{"content":"é"}').reply(200, { id: '2' })
      wire.intercept('/api/v10/channels/1/messages', method).reply(204)
      const options = { method, tokenType: 'Bot' } as const
      expect(
        await holdfast.discordFetch('/channels/1/messages', 'abc', { ...options, body: { content: 'é' } }),
      ).toEqual({ id: '2' })
      expect(await holdfast.discordFetch('/channels/1/messages', 'abc', options)).toBeUndefined()
    },
  )

  test('getCurrentUser and getUserGuilds are GETs of their routes, whatever method they are given', async () => {
    const { holdfast, answers } = scriptedDiscord()
    answers(ME, [200, { id: '1' }])
    answers(GUILDS, [200, []])
    expect(await holdfast.getCurrentUser('abc', { method: 'DELETE' })).toEqual({ id: '1' })
    expect(await holdfast.getUserGuilds('abc')).toEqual([])
  })

  test('redirects are not followed: a token must not travel to wherever an answer points', async () => {
    const { holdfast, answers } = scriptedDiscord()
    answers(ME, [302, '', { location: 'https://evil.example/' }])
    await expect(holdfast.getCurrentUser('abc')).rejects.toMatchObject({ code: 'DISCORD_FOREIGN_ANSWER' })
  })
})

describe('input that cannot be used is refused at once, with nothing sent', () => {
  const refused = async (path: unknown, token: unknown, options?: object) => {
    const { holdfast } = scriptedDiscord()
    const error = await (holdfast.discordFetch as (...all: unknown[]) => Promise<unknown>)(path, token, options).catch(
      (error) => error,
    )
    expect(error).toBeInstanceOf(HoldfastError)
    expect(holdfast.stats().discord.calls).toBe(0)
    return error as HoldfastError
  }

  test.each([
    ['empty', '', 'empty'],
    ['undefined', undefined, 'not a string'],
    ['null', null, 'not a string'],
    ['a number', 5, 'not a string'],
    ['an object', { toString: () => 'abc' }, 'not a string'],
    ['longer than 2048 characters', 'x'.repeat(2049), '2048'],
    ['with a space', 'Bearer abc', 'space'],
    ['with CR LF', 'abc\r\nX-Injected: 1', 'control'],
    ['not ASCII', 'abcé', 'ASCII'],
  ])('a token that is %s', async (_name, token, why) => {
    const error = await refused(ME, token)
    expect(error.code).toBe('INVALID_TOKEN')
    expect(error.message).toContain(why)
    expect(error.message).not.toContain('abc')
  })

  test.each([
    'https://evil.example/',
    '//evil.example',
    '/a//b',
    '/a/../b',
    '/a/%2e%2e/b',
    '/a\r\nb',
    '',
    'users/@me',
    null,
    5,
  ])('the path %j', async (path) => {
    expect((await refused(path, 'abc')).code).toBe('INVALID_PATH')
  })

  test.each([
    ['method', 'HEAD'],
    ['method', 'get'],
    ['tokenType', 'Basic'],
    ['priority', 'urgent'],
    ['principal', ''],
    ['principal', 5],
    ['maxRetries', -1],
    ['maxRetries', 1.5],
    ['maxRetries', Number.NaN],
    ['maxRetries', '3'],
    ['retryDelay', -1],
    ['retryDelay', Number.POSITIVE_INFINITY],
    ['maxWaitMs', -1],
    ['maxWaitMs', Number.NaN],
    ['deadlineMs', 0],
    ['deadlineMs', -5],
    ['deadlineMs', Number.NaN],
    ['retryOn', 'always'],
    ['body', 5n],
    ['body', () => {}],
  ])('option %s: %s', async (option, value) => {
    const error = await refused(ME, 'abc', { [option]: value })
    expect(error.code).toBe('INVALID_OPTION')
    expect(error.message).toContain(`option ${option} `)
  })

  test.each<[string, object]>([
    ['maxWaitMs as text', { maxWaitMs: '10' }],
    ['maxWaitMs null', { maxWaitMs: null }],
    ['deadlineMs as text', { deadlineMs: '50' }],
    ['deadlineMs 0', { deadlineMs: 0 }],
    ['an endless retryDelay', { retryDelay: Number.POSITIVE_INFINITY }],
    ['a query that is text', { query: 'a=b' }],
    ['a signal that is none', { signal: {} }],
    ['a body in a GET', { body: {} }],
  ])('%s', async (_, options) => {
    expect((await refused(ME, 'abc', options as never)).code).toBe('INVALID_OPTION')
  })

  test('a body that goes in circles', async () => {
    const body: Record<string, unknown> = {}
    body.self = body
    expect((await refused(ME, 'abc', { method: 'POST', body })).code).toBe('INVALID_OPTION')
  })
})

describe('an answer that cannot be used is DiscordUnavailableError', () => {
  test.each([
    ['null where an object is due', ME, null, 'DISCORD_WRONG_SHAPE'],
    ['[] where an object is due', ME, [], 'DISCORD_WRONG_SHAPE'],
    ['text where an object is due', ME, '"x"', 'DISCORD_WRONG_SHAPE'],
    ['an object where a list is due', GUILDS, {}, 'DISCORD_WRONG_SHAPE'],
    ['null where a list is due', GUILDS, null, 'DISCORD_WRONG_SHAPE'],
    ['half a body', ME, '{"id":"1', 'DISCORD_NOT_JSON'],
    ['nothing', ME, '', 'DISCORD_NOT_JSON'],
  ])('%s', async (_name, path, body, code) => {
    const { holdfast, answers } = scriptedDiscord()
    answers(path, [200, typeof body === 'string' ? body : JSON.stringify(body), { 'content-type': 'application/json' }])
    const error = await failureOf(holdfast.discordFetch(path, 'abc'))
    expect(error).toBeInstanceOf(DiscordUnavailableError)
    expect(error).toMatchObject({ code, route: `GET ${path}`, attempts: 1 })
    expect(error.message).not.toContain('{"id')
  })

  test('an HTML page with status 200', async () => {
    const { holdfast, answers } = scriptedDiscord()
    answers(ME, [200, '<html>Maintenance</html>', { 'content-type': 'text/html' }])
    await expect(holdfast.getCurrentUser('abc')).rejects.toMatchObject({
      code: 'DISCORD_NOT_JSON',
      message: expect.stringContaining('text/html'),
    })
  })

  test('an HTML 403: a block page, not Discord’s word, and the token stays good', async () => {
    const { holdfast, answers } = scriptedDiscord()
    answers(ME, [403, '<html>Access denied</html>', { 'content-type': 'text/html' }], [200, { id: '1' }])
    const error = await failureOf(holdfast.getCurrentUser('abc'))
    expect(error).toBeInstanceOf(DiscordUnavailableError)
    expect(error).toMatchObject({ code: 'DISCORD_FOREIGN_ANSWER', route: 'GET /users/@me', attempts: 1 })
    expect(await holdfast.getCurrentUser('abc')).toEqual({ id: '1' })
  })

  test('an HTML 401 does not kill the token', async () => {
    const { holdfast, answers } = scriptedDiscord()
    answers(ME, [401, 'Unauthorized'], [200, { id: '1' }])
    await expect(holdfast.getCurrentUser('abc')).rejects.toMatchObject({ code: 'DISCORD_FOREIGN_ANSWER' })
    expect(await holdfast.getCurrentUser('abc')).toEqual({ id: '1' })
  })

  test('a route that is not known may answer anything that is JSON', async () => {
    const { holdfast, answers } = scriptedDiscord()
    answers('/something/new', [200, 'null', { 'content-type': 'application/json' }])
    expect(await holdfast.discordFetch('/something/new', 'abc')).toBeNull()
  })
})

describe('refusals of Discord’s own', () => {
  test.each([
    [400, 50_035, 'DISCORD_REFUSED'],
    [403, 50_001, 'DISCORD_FORBIDDEN'],
    [404, 10_004, 'DISCORD_NOT_FOUND'],
  ])('%d with code %d is a DiscordAPIError, tried once', async (status, code, errorCode) => {
    const { holdfast, answers } = scriptedDiscord()
    answers('/guilds/123456789012345678', [status, { message: 'no', code }])
    const error = await failureOf(holdfast.discordFetch('/guilds/123456789012345678', 'abc'))
    expect(error).toBeInstanceOf(DiscordAPIError)
    expect(error).toMatchObject({ status, discordCode: code, code: errorCode, route: 'GET /guilds/:id', attempts: 1 })
    expect(error.retryAfterMs).toBeUndefined()
  })

  test('after a 401 the token is refused locally, with attempts 0, and another token is not', async () => {
    const { holdfast, answers, clock } = scriptedDiscord()
    answers(ME, [401, { message: '401: Unauthorized', code: 0 }], [200, { id: '1' }])
    await expect(holdfast.getCurrentUser('dead')).rejects.toMatchObject({ status: 401, attempts: 1 })
    await clock.advance(599_000)
    await expect(holdfast.getCurrentUser('dead')).rejects.toMatchObject({
      status: 401,
      attempts: 0,
      code: 'DISCORD_UNAUTHORIZED',
    })
    await expect(holdfast.getUserGuilds('dead', { principal: '1' })).rejects.toMatchObject({ attempts: 0 })
    expect(await holdfast.getCurrentUser('alive')).toEqual({ id: '1' })
    expect(holdfast.stats().discord.calls).toBe(2)
  })

  test('a call that waits its turn while its token dies is never sent', async () => {
    const { holdfast, answers, settle } = scriptedDiscord()
    answers(ME, [401, { message: '401: Unauthorized', code: 0 }])
    const first = watched(holdfast.getCurrentUser('dead'))
    const second = watched(holdfast.discordFetch(`${ME}?x=1`, 'dead'))
    await settle()
    expect([first.error?.attempts, second.error?.attempts]).toEqual([1, 0])
    expect(second.error?.status).toBe(401)
  })
})

describe('429', () => {
  test('is waited for as long as the body says, and then tried again', async () => {
    const { holdfast, answers, clock, sent } = scriptedDiscord()
    answers(GUILDS, [429, LIMITED(0.3), { ...HEADERS(1, 0, 0.234), 'retry-after': '1' }], [200, []])
    const call = watched(holdfast.getUserGuilds('abc'))
    await clock.advance(299)
    expect([sent(), call.done]).toEqual([[0], false])
    await clock.advance(1)
    expect([sent(), call.value]).toEqual([[0, 300], []])
  })

  test('that names no wait is tried again after 1, 2 and 4 s, and then given up', async () => {
    const { holdfast, answers, clock, sent, events } = scriptedDiscord()
    answers(GUILDS, ...Array.from({ length: 4 }, () => [429, {}, HEADERS(1, 0, 0.1)] as const))
    const call = watched(holdfast.getUserGuilds('abc'))
    await clock.advance(60_000)
    expect(sent()).toEqual([0, 1000, 3000, 7000])
    expect(call.error).toBeInstanceOf(DiscordRateLimitError)
    expect(call.error).toMatchObject({
      code: 'DISCORD_RATE_LIMITED',
      scope: 'user',
      local: false,
      attempts: 4,
      status: 429,
    })
    expect(events.filter((event) => event.type === 'discord.retry')).toHaveLength(3)
    expect(holdfast.stats().discord).toMatchObject({ calls: 4, rateLimited: 4, retries: 3 })
  })

  test.each([0, 1, 5])('is tried again at most maxRetries times: %d', async (maxRetries) => {
    const { holdfast, answers, clock, sent } = scriptedDiscord()
    answers(GUILDS, ...Array.from({ length: maxRetries + 1 }, () => [429, LIMITED(0.1), HEADERS(1, 0, 0.1)] as const))
    const call = watched(holdfast.getUserGuilds('abc', { maxRetries }))
    await clock.advance(60_000)
    expect(sent()).toHaveLength(maxRetries + 1)
    expect(call.error).toMatchObject({ attempts: maxRetries + 1, retryAfterMs: 100 })
  })

  test('is tried again for POST as well: a 429 was not carried out', async () => {
    const { holdfast, clock } = scriptedDiscord()
    const wire = nock(ORIGIN)
    wire.post('/api/v10/channels/1/messages').reply(429, LIMITED(0.5), HEADERS(5, 0, 0.5))
    wire.post('/api/v10/channels/1/messages').reply(200, { id: '2' })
    const call = watched(holdfast.discordFetch('/channels/1/messages', 'abc', { method: 'POST', body: {} }))
    await clock.advance(500)
    expect(call.value).toEqual({ id: '2' })
  })

  test('with a wait beyond maxWaitMs rejects at once, and names the wait', async () => {
    const { holdfast, answers, settle, clock } = scriptedDiscord()
    answers(GUILDS, [429, LIMITED(10.001), HEADERS(1, 0, 10.001)])
    const call = watched(holdfast.getUserGuilds('abc'))
    await settle()
    expect(call.error).toMatchObject({ retryAfterMs: 10_001, local: false, attempts: 1 })
    expect(clock.sleepers).toBe(0)
  })

  test('and the next call of that user, whose wait is known, is refused locally at once', async () => {
    const { holdfast, answers, settle, clock } = scriptedDiscord()
    answers(GUILDS, [429, LIMITED(60), HEADERS(1, 0, 60)])
    await holdfast.getUserGuilds('abc').catch(() => {})
    await clock.advance(20_000)
    const call = watched(holdfast.getUserGuilds('abc', { query: { limit: 1 } }))
    await settle()
    expect(call.error).toBeInstanceOf(DiscordRateLimitError)
    expect(call.error).toMatchObject({ local: true, attempts: 0, retryAfterMs: 40_000, scope: 'user' })
    expect(holdfast.stats().discord.calls).toBe(1)
  })

  test('all waits of one call together stay within maxWaitMs', async () => {
    const { holdfast, answers, clock, sent } = scriptedDiscord()
    answers(
      GUILDS,
      [429, LIMITED(4), HEADERS(1, 0, 4)],
      [429, LIMITED(4), HEADERS(1, 0, 4)],
      [429, LIMITED(4), HEADERS(1, 0, 4)],
    )
    const call = watched(holdfast.getUserGuilds('abc', { maxRetries: 10 }))
    await clock.advance(8_000)
    expect(sent()).toEqual([0, 4000, 8000])
    expect(call.error).toMatchObject({ retryAfterMs: 4000, attempts: 3 })
  })

  test('a deadline bounds waits like maxWaitMs', async () => {
    const { holdfast, answers, settle } = scriptedDiscord()
    answers(GUILDS, [429, LIMITED(4), HEADERS(1, 0, 4)])
    const call = watched(holdfast.getUserGuilds('abc', { deadlineMs: 3999 }))
    await settle()
    expect(call.error).toMatchObject({ code: 'DISCORD_RATE_LIMITED', retryAfterMs: 4000 })
  })

  test('maxWaitMs: 0 never waits; Infinity waits a day', async () => {
    const { holdfast, answers, settle, clock } = scriptedDiscord()
    answers(GUILDS, [429, LIMITED(0.001), HEADERS(1, 0, 0.001)], [429, LIMITED(82_721), HEADERS(1, 0, 1)], [200, []])
    const hasty = watched(holdfast.getUserGuilds('hasty', { maxWaitMs: 0 }))
    await settle()
    expect(hasty.error).toMatchObject({ retryAfterMs: 1 })
    const patient = watched(holdfast.getUserGuilds('patient', { maxWaitMs: Number.POSITIVE_INFINITY }))
    await clock.advance(82_720_999)
    expect(patient.done).toBe(false)
    await clock.advance(1)
    expect(patient.value).toEqual([])
  })

  test('a wall clock that steps back an hour during the wait changes nothing', async () => {
    const { holdfast, answers, clock } = scriptedDiscord()
    answers(GUILDS, [429, LIMITED(2), HEADERS(1, 0, 2)], [200, []])
    const call = watched(holdfast.getUserGuilds('abc'))
    await clock.advance(1000)
    clock.step(-3_600_000)
    await clock.advance(999)
    expect(call.done).toBe(false)
    await clock.advance(1)
    expect(call.value).toEqual([])
  })

  test('of one user never delays another, whatever it is about', async () => {
    for (const more of [{}, { 'x-ratelimit-scope': 'global' }, { 'x-ratelimit-remaining': '3' }]) {
      const { holdfast, clock, settle } = scriptedDiscord()
      anyAnswer(({ token }) =>
        token === 'Bearer slow' ? [429, LIMITED(5), { ...HEADERS(1, 0, 5), ...more }] : [200, [], HEADERS(1, 0, 0.5)],
      )
      const slow = watched(holdfast.getUserGuilds('slow', { maxRetries: 0 }))
      await settle()
      expect(slow.error?.retryAfterMs).toBe(5000)
      const others = ['a', 'b', 'c'].map((token) => watched(holdfast.getUserGuilds(token)))
      await settle()
      expect(others.map((call) => call.value)).toEqual([[], [], []])
      expect(clock.monotonic()).toBe(0)
      nock.cleanAll()
    }
  })

  test('is the user’s, not the token’s: a fresh token of the same principal waits as well', async () => {
    const { holdfast, answers, settle } = scriptedDiscord()
    answers(GUILDS, [429, LIMITED(60), HEADERS(1, 0, 60)])
    await holdfast.getUserGuilds('old', { principal: '7' }).catch(() => {})
    const call = watched(holdfast.getUserGuilds('new', { principal: '7' }))
    await settle()
    expect(call.error).toMatchObject({ local: true, attempts: 0 })
  })

  test('global pauses every route of that principal', async () => {
    const { holdfast, answers, settle } = scriptedDiscord()
    answers(GUILDS, [
      429,
      LIMITED(30, { global: true }),
      { 'x-ratelimit-global': 'true', 'x-ratelimit-scope': 'global' },
    ])
    await expect(holdfast.getUserGuilds('abc')).rejects.toMatchObject({ scope: 'global', local: false })
    const call = watched(holdfast.getCurrentUser('abc'))
    await settle()
    expect(call.error).toMatchObject({ scope: 'global', local: true, retryAfterMs: 30_000 })
  })

  test('of a bucket leaves the other routes of that principal alone', async () => {
    const { holdfast, answers } = scriptedDiscord()
    answers(GUILDS, [429, LIMITED(30), HEADERS(1, 0, 30)])
    answers(ME, [200, { id: '1' }])
    await expect(holdfast.getUserGuilds('abc')).rejects.toMatchObject({ scope: 'user' })
    expect(await holdfast.getCurrentUser('abc')).toEqual({ id: '1' })
  })

  test('with places remaining is a sub-limit: that route pauses, another route of the same bucket does not', async () => {
    const { holdfast, settle } = scriptedDiscord()
    const path = '/api/v10/channels/123456789012345678'
    nock(ORIGIN)
      .patch(path)
      .reply(429, LIMITED(600), HEADERS(5, 4, 5))
    nock(ORIGIN)
      .get(path)
      .reply(200, {}, HEADERS(5, 3, 5))
    const patch = { method: 'PATCH', body: { name: 'x' } } as const
    await expect(holdfast.discordFetch('/channels/123456789012345678', 'abc', patch)).rejects.toMatchObject({
      retryAfterMs: 600_000,
    })
    const again = watched(holdfast.discordFetch('/channels/123456789012345678', 'abc', patch))
    await settle()
    expect(again.error).toMatchObject({ local: true, retryAfterMs: 600_000 })
    expect(await holdfast.discordFetch('/channels/123456789012345678', 'abc')).toEqual({})
  })

  test('with scope shared pauses that resource for everybody, no other one, and is not counted as invalid', async () => {
    const { holdfast, answers, settle } = scriptedDiscord()
    const [one, two] = [
      '/guilds/123456789012345678/members/111111111111111111',
      '/guilds/223456789012345678/members/111111111111111111',
    ]
    answers(one, [429, LIMITED(60), { ...HEADERS(10, 9, 64), 'x-ratelimit-scope': 'shared' }])
    answers(two, [200, {}])
    await expect(holdfast.discordFetch(one, 'abc')).rejects.toMatchObject({ scope: 'shared', retryAfterMs: 60_000 })
    expect(holdfast.stats().discord.invalidBudgetUsed).toBe(0)
    const other = watched(holdfast.discordFetch(one, 'another'))
    await settle()
    expect(other.error).toMatchObject({ scope: 'shared', local: true })
    expect(await holdfast.discordFetch(two, 'abc')).toEqual({})
  })
})

describe('a ban of our address', () => {
  test('stops everybody, and one half-open probe after Retry-After finds out that it is over', async () => {
    const { holdfast, settle, clock, events } = scriptedDiscord()
    let banned = true
    const asked = anyAnswer(() => (banned ? [429, 'error code: 1015', { 'retry-after': '120' }] : [200, { id: '1' }]))
    await expect(holdfast.getCurrentUser('a')).rejects.toMatchObject({
      scope: 'egress',
      local: false,
      retryAfterMs: 120_000,
    })
    expect(holdfast.stats().discord.breaker).toBe('open')
    await clock.advance(119_999)
    await expect(holdfast.getCurrentUser('b', { maxWaitMs: 0 })).rejects.toMatchObject({
      scope: 'egress',
      local: true,
      retryAfterMs: 1,
      attempts: 0,
    })
    expect(asked).toHaveLength(1)
    banned = false
    await clock.advance(1)
    const calls = ['b', 'c', 'd'].map((token) => watched(holdfast.getCurrentUser(token)))
    await settle()
    expect(calls.map((call) => call.value)).toEqual([{ id: '1' }, { id: '1' }, { id: '1' }])
    expect(asked).toHaveLength(4)
    expect(events.flatMap((event) => (event.type === 'breaker' ? [event.state] : []))).toEqual([
      'open',
      'half-open',
      'closed',
    ])
  })

  test('lets one call through as the probe while the others wait for what it finds', async () => {
    const { holdfast, settle, clock } = scriptedDiscord()
    const probe = Promise.withResolvers<readonly [number, unknown]>()
    const asked = anyAnswer(({ count }) =>
      count === 1 ? [429, 'error code: 1015'] : count === 2 ? probe.promise : [200, { id: '1' }],
    )
    await holdfast.getCurrentUser('a').catch(() => {})
    await clock.advance(60_000)
    const calls = ['b', 'c', 'd'].map((token) => watched(holdfast.getCurrentUser(token)))
    await settle()
    expect(asked).toHaveLength(2)
    expect(holdfast.stats().discord.breaker).toBe('half-open')
    probe.resolve([200, { id: '1' }])
    await settle()
    expect(asked).toHaveLength(4)
    expect(calls.map((call) => call.value)).toEqual([{ id: '1' }, { id: '1' }, { id: '1' }])
  })

  test('that names no time lasts 60 s, and doubles with every probe that finds it still there, to an hour', async () => {
    const { holdfast, clock } = scriptedDiscord()
    anyAnswer(() => [429, '<html>1015</html>'])
    const waits: number[] = []
    for (let round = 0; round < 9; round++) {
      const error = await failureOf(holdfast.getCurrentUser(`t${round}`))
      expect(error).toMatchObject({ scope: 'egress', local: false })
      waits.push(error.retryAfterMs / 60_000)
      await clock.advance(error.retryAfterMs)
    }
    expect(waits).toEqual([1, 2, 4, 8, 16, 32, 60, 60, 60])
  })

  test('seen by several calls that were under way together counts once', async () => {
    const { holdfast, settle, clock } = scriptedDiscord()
    anyAnswer(() => [429, 'error code: 1015'])
    const calls = Array.from({ length: 20 }, (_, index) => watched(holdfast.getCurrentUser(`t${index}`)))
    await settle()
    expect(calls.map((call) => call.error?.retryAfterMs)).toEqual(Array(20).fill(60_000))
    await clock.advance(60_000)
    await expect(holdfast.getCurrentUser('later')).rejects.toMatchObject({ retryAfterMs: 120_000 })
  })

  test('ends for the next caller when the probe is given up: nobody is stranded', async () => {
    const { holdfast, settle, clock } = scriptedDiscord()
    const asked = anyAnswer(({ count }) =>
      count === 1 ? [429, 'error code: 1015'] : count === 2 ? new Promise(() => {}) : [200, { id: '1' }],
    )
    await holdfast.getCurrentUser('a').catch(() => {})
    await clock.advance(60_000)
    const controller = new AbortController()
    const probe = watched(holdfast.getCurrentUser('b', { signal: controller.signal }))
    await settle()
    const other = watched(holdfast.getCurrentUser('c'))
    await settle()
    expect([asked.length, other.done]).toEqual([2, false])
    controller.abort('gone')
    await settle()
    expect([probe.error, other.value, asked.length]).toEqual(['gone', { id: '1' }, 3])
  })

  test('is over for a probe that anything else answers, also a 5xx or a 404', async () => {
    for (const answer of [
      [503, ''],
      [404, { message: 'Unknown', code: 10_013 }],
    ] as const) {
      const { holdfast, clock } = scriptedDiscord()
      anyAnswer(({ count }) => (count === 1 ? [429, 'error code: 1015'] : answer))
      await holdfast.getCurrentUser('a').catch(() => {})
      await clock.advance(60_000)
      await expect(holdfast.getCurrentUser('b')).rejects.toMatchObject({ status: answer[0] })
      expect(holdfast.stats().discord.breaker).toBe('closed')
      nock.cleanAll()
    }
  })
})

describe('trouble', () => {
  test.each([500, 502, 503, 504])(
    'a %d is not tried again by default, and by retryOn: transient after 1, 2 and 4 s',
    async (status) => {
      const { holdfast, answers, clock, sent } = scriptedDiscord()
      answers(ME, ...Array.from({ length: 5 }, () => [status, '<html>'] as const))
      await expect(holdfast.getCurrentUser('once')).rejects.toMatchObject({
        code: 'DISCORD_SERVER_ERROR',
        status,
        attempts: 1,
      })
      const call = watched(holdfast.getCurrentUser('abc', { retryOn: 'transient' }))
      await clock.advance(60_000)
      expect(sent()).toEqual([0, 0, 1000, 3000, 7000])
      expect(call.error).toMatchObject({ status, attempts: 4 })
    },
  )

  test('a 501 is never tried again', async () => {
    const { holdfast, answers } = scriptedDiscord({ retryOn: 'transient' })
    answers(ME, [501, ''])
    await expect(holdfast.getCurrentUser('abc')).rejects.toMatchObject({ status: 501, attempts: 1 })
  })

  test('what could be carried out twice is never tried again', async () => {
    const { holdfast } = scriptedDiscord({ retryOn: 'transient' })
    for (const method of ['POST', 'PATCH'] as const) {
      nock(ORIGIN).intercept('/api/v10/channels/1', method).reply(502)
      await expect(holdfast.discordFetch('/channels/1', 'abc', { method })).rejects.toMatchObject({
        status: 502,
        attempts: 1,
      })
    }
    nock(ORIGIN).post('/api/v10/channels/1').replyWithError('reset')
    await expect(holdfast.discordFetch('/channels/1', 'abc', { method: 'POST' })).rejects.toMatchObject({
      code: 'DISCORD_NETWORK',
      attempts: 1,
    })
  })

  test('PUT and DELETE are tried again', async () => {
    for (const method of ['PUT', 'DELETE'] as const) {
      const { holdfast, clock } = scriptedDiscord({ retryOn: 'transient' })
      nock(ORIGIN).intercept('/api/v10/channels/1', method).reply(502)
      nock(ORIGIN).intercept('/api/v10/channels/1', method).reply(204)
      const call = watched(holdfast.discordFetch('/channels/1', 'abc', { method }))
      await clock.advance(1000)
      expect(call).toMatchObject({ done: true, value: undefined })
      expect(call.error).toBeUndefined()
    }
  })

  test('a 503 that names a wait is waited for that long', async () => {
    const { holdfast, answers, clock, sent } = scriptedDiscord({ retryOn: 'transient' })
    answers(ME, [503, '', { 'retry-after': '3' }], [200, { id: '1' }])
    const call = watched(holdfast.getCurrentUser('abc'))
    await clock.advance(3000)
    expect([sent(), call.value]).toEqual([[0, 3000], { id: '1' }])
  })

  test('a network error is tried again by retryOn: transient, and says how often where it stays', async () => {
    const { holdfast, clock } = scriptedDiscord({ retryOn: 'transient', maxRetries: 1 })
    anyAnswer(() => Promise.reject(new Error('reset')))
    const call = watched(holdfast.getCurrentUser('abc'))
    await clock.advance(2000)
    expect(call.error).toBeInstanceOf(DiscordUnavailableError)
    expect(call.error).toMatchObject({ code: 'DISCORD_NETWORK', attempts: 2 })
  })

  test('the jitter of a backoff is added and comes from the random source', async () => {
    const { holdfast, answers, clock, sent } = scriptedDiscord({ retryOn: 'transient', retryDelayMs: 100 })
    answers(ME, [500], [200, { id: '1' }])
    const call = watched(holdfast.getCurrentUser('abc'))
    await clock.advance(99)
    expect(call.done).toBe(false)
    await clock.advance(1)
    expect(sent()).toEqual([0, 100])
  })

  test('a deadline ends an attempt under way, with DISCORD_TIMEOUT', async () => {
    const { holdfast, clock } = scriptedDiscord()
    anyAnswer(() => new Promise(() => {}))
    const get = watched(holdfast.getCurrentUser('abc', { deadlineMs: 500 }))
    await clock.advance(499)
    expect(get.done).toBe(false)
    await clock.advance(1)
    expect(get.error).toBeInstanceOf(DiscordUnavailableError)
    expect(get.error).toMatchObject({ code: 'DISCORD_TIMEOUT', route: 'GET /users/@me', attempts: 1 })
    expect(clock.sleepers).toBe(0)
  })

  test('an attempt that is not answered within timeoutMs ends with DISCORD_TIMEOUT', async () => {
    const { holdfast, clock } = scriptedDiscord({ timeoutMs: 2000 })
    anyAnswer(() => new Promise(() => {}))
    const call = watched(holdfast.getCurrentUser('abc'))
    await clock.advance(1999)
    expect(call.done).toBe(false)
    await clock.advance(1)
    expect(call.error).toMatchObject({ code: 'DISCORD_TIMEOUT', attempts: 1 })
    expect(clock.sleepers).toBe(0)
  })
})
