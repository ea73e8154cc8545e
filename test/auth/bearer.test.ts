import nock from 'nock'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { RequireAuthOptions } from '../../src/auth/require-auth-options.ts'
import { ConfigError } from '../../src/errors/errors.ts'
import { blocked403, CLIENT_ID, down, GUILDS, guild, limited, ok, refusal, refused401, setUp } from './discord.ts'

const ME = '/oauth2/@me'
const TOKEN = 'secret-bearer-token'
const HOUR = 3_600_000

beforeAll(() => nock.disableNetConnect())
afterEach(() => nock.cleanAll())
afterAll(() => nock.enableNetConnect())

const bearer = (authorization = `Bearer ${TOKEN}`) =>
  new Request('https://app.test/api', { headers: { authorization } })

const authorization = (changes: object = {}) =>
  ok({
    application: { id: CLIENT_ID, name: 'app' },
    scopes: ['identify', 'guilds'],
    expires: '2026-01-08T00:00:00.000000+00:00',
    user: { id: '1001', username: 'ann' },
    ...changes,
  })

function house(options: Parameters<typeof setUp>[0] = {}) {
  const house = setUp(options)
  house.answers[ME] = authorization()
  house.answers[GUILDS] = ok([guild('1')])
  return house
}

describe('a bearer token', () => {
  test('is looked up once, however often and by however many it is sent', async () => {
    const { holdfast, to } = house()
    const auths = await Promise.all(Array.from({ length: 20 }, () => holdfast.requireAuth(bearer())))
    expect(new Set(auths.map(({ user }) => user.id))).toEqual(new Set(['1001']))
    await holdfast.requireAuth(bearer())
    expect(to(ME)).toEqual([{ path: ME, authorization: `Bearer ${TOKEN}` }])
    expect(to(GUILDS)).toHaveLength(1)
  })

  test('is remembered by a hash of it: the token is in no key', async () => {
    const { holdfast, events } = house()
    await holdfast.requireAuth(bearer())
    const keys = events.flatMap((event) => ('key' in event ? [event.key] : []))
    expect(keys.length).toBeGreaterThan(1)
    expect(keys.join()).not.toContain(TOKEN)
  })

  test.each(['bearer', 'BEARER', 'Bearer '])('is found whatever the case and the spaces: %j', async (scheme) => {
    const { holdfast } = house()
    expect(await holdfast.requireAuth(bearer(`${scheme} ${TOKEN}`))).toMatchObject({ user: { id: '1001' } })
  })

  test.each<[string, object]>([
    ['was issued to another application', { application: { id: '999', name: 'other' } }],
    ['was issued to an application whose id only begins alike', { application: { id: `${CLIENT_ID}0` } }],
    ['names no user, for want of the scope identify', { user: undefined, scopes: ['guilds'] }],
    ['names a user without an id', { user: {} }],
    ['has expired', { expires: '2025-12-31T23:59:59.999Z' }],
    ['expires at this moment', { expires: '2026-01-01T00:00:00.000Z' }],
  ])('that %s is 401, and no guilds are asked for', async (_name, changes) => {
    const { holdfast, answers, to } = house()
    answers[ME] = authorization(changes)
    for (const options of [{}, { guilds: false }] as RequireAuthOptions[])
      expect(await refusal(holdfast.requireAuth(bearer(), options))).toMatchObject({
        code: 'UNAUTHENTICATED',
        status: 401,
      })
    expect(to(ME)).toHaveLength(1)
    expect(to(GUILDS)).toEqual([])
  })

  test('is 401 from the moment it expires, although it is remembered', async () => {
    const { holdfast, answers, clock } = house()
    answers[ME] = authorization({ expires: '2026-01-01T00:10:00Z' })
    await clock.advance(5 * 60_000)
    await holdfast.requireAuth(bearer())
    await clock.advance(5 * 60_000 - 1)
    await holdfast.requireAuth(bearer())
    await clock.advance(1)
    expect(await refusal(holdfast.requireAuth(bearer()))).toMatchObject({ status: 401 })
  })

  test('that lacks the scope guilds is 403 where guilds are needed', async () => {
    const { holdfast, answers, to } = house()
    answers[ME] = authorization({ scopes: ['identify'] })
    expect(await refusal(holdfast.requireAuth(bearer()))).toMatchObject({ code: 'FORBIDDEN', status: 403 })
    expect(await holdfast.requireAuth(bearer(), { guilds: false })).toMatchObject({ user: { id: '1001' } })
    expect(to(GUILDS)).toEqual([])
  })

  test('that Discord does not accept is 401, and is asked about once', async () => {
    const { holdfast, answers, calls } = house()
    answers[ME] = refused401
    for (let i = 0; i < 3; i++) expect(await refusal(holdfast.requireAuth(bearer()))).toMatchObject({ status: 401 })
    expect(calls).toHaveLength(1)
  })

  test('that was revoked is 401 at the next look-up: after 60 minutes at the latest', async () => {
    const { holdfast, answers, clock } = house()
    await holdfast.requireAuth(bearer(), { guilds: false })
    answers[ME] = refused401
    await clock.advance(HOUR)
    expect(await refusal(holdfast.requireAuth(bearer(), { guilds: false }))).toMatchObject({ status: 401 })
  })

  test('that was known goes on working while Discord is down, until it expires', async () => {
    const { holdfast, answers, clock } = house()
    await holdfast.requireAuth(bearer())
    answers[ME] = down
    answers[GUILDS] = down
    await clock.advance(20 * HOUR)
    expect(await holdfast.requireAuth(bearer())).toMatchObject({ user: { id: '1001' }, stale: true })
    await clock.advance(4 * HOUR)
    expect(await refusal(holdfast.requireAuth(bearer()))).toMatchObject({ status: 503 })
  })

  test.each([
    ['is down', down, 'SERVICE_UNAVAILABLE', 503],
    ['throttles', limited(60), 'RATE_LIMITED', 429],
    ['is hidden behind a block page', blocked403, 'SERVICE_UNAVAILABLE', 503],
    ['answers something else', ok({ hello: 1 }), 'SERVICE_UNAVAILABLE', 503],
    ['forgets the application', authorization({ application: undefined }), 'SERVICE_UNAVAILABLE', 503],
    ['forgets the scopes', authorization({ scopes: undefined }), 'SERVICE_UNAVAILABLE', 503],
    ['writes the expiry in no known way', authorization({ expires: 'soon' }), 'SERVICE_UNAVAILABLE', 503],
  ])('not yet known is refused with Retry-After when Discord %s', async (_name, answer, code, status) => {
    const { holdfast, answers } = house()
    answers[ME] = answer
    const refused = await refusal(holdfast.requireAuth(bearer()))
    expect(refused).toMatchObject({ code, status })
    expect(Number(refused.toResponse().headers.get('retry-after'))).toBeGreaterThanOrEqual(1)
  })
})

describe('a header that is no bearer token', () => {
  test.each([
    '',
    'Bearer',
    'Bearer ',
    'Bearer a b',
    'Bearer a,b',
    'Bearer "a"',
    'Bearer ä',
    'Bearer =',
    'Bearer a=b',
    'Basic YTpi',
    'Bot token',
    'Bearertoken',
    'token',
    `Bearer ${'x'.repeat(2_049)}`,
    `Bearer ${'x'.repeat(8_000)}`,
    'Bearer a, Bearer b',
  ])('is 401 without any call: %j', async (header) => {
    const { holdfast, calls } = house()
    expect(await refusal(holdfast.requireAuth(bearer(header)))).toMatchObject({ code: 'UNAUTHENTICATED', status: 401 })
    expect(calls).toEqual([])
  })

  test('no header at all is 401 without any call', async () => {
    const { holdfast, calls } = house()
    expect(await refusal(holdfast.requireAuth(new Request('https://app.test')))).toMatchObject({ status: 401 })
    expect(calls).toEqual([])
  })

  test('a token of 512 characters is still one', async () => {
    const { holdfast } = house()
    expect(await holdfast.requireAuth(bearer(`Bearer ${'x'.repeat(2_048)}`))).toMatchObject({ user: { id: '1001' } })
  })
})

describe('without DISCORD_CLIENT_ID', () => {
  const { clientId: _, ...discord } = { clientId: undefined, baseUrl: 'https://discord.test/api' }
  const without = () => house({ discord: { ...discord, clientId: undefined as never } })

  test('a bearer token is a ConfigError that says what to set, and is sent to nobody', async () => {
    const { holdfast, calls } = without()
    const error = await refusal(holdfast.requireAuth(bearer()))
    expect(error).toBeInstanceOf(ConfigError)
    expect(error).toMatchObject({ option: 'DISCORD_CLIENT_ID', message: expect.stringContaining('DISCORD_CLIENT_ID') })
    expect(calls).toEqual([])
  })

  test('a request without one is 401, and a session resolver of one’s own works', async () => {
    const { holdfast } = without()
    expect(await refusal(holdfast.requireAuth(new Request('https://app.test')))).toMatchObject({ status: 401 })
    const own = house({
      discord: { ...discord, clientId: undefined as never },
      session: () => ({ userId: '1', accessToken: 't' }),
    })
    expect(await own.holdfast.requireAuth(bearer())).toMatchObject({ user: { id: '1' } })
  })
})

test('a session resolver of one’s own is the only one: bearer tokens are not looked at', async () => {
  const { holdfast, calls } = house({ session: () => null })
  expect(await refusal(holdfast.requireAuth(bearer()))).toMatchObject({ status: 401 })
  expect(calls).toEqual([])
})
