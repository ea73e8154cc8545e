import nock from 'nock'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { anyAnswer, failureOf, scriptedDiscord } from './scripted-discord.ts'

// How blocks of our address look, what they stop, and when it goes on. Shapes and sources: docs/guides/outages.md.

beforeAll(() => nock.disableNetConnect())
afterEach(() => nock.cleanAll())
afterAll(() => nock.enableNetConnect())

type Reply = readonly [number, unknown, Record<string, string>?]
const PAGE = '<!DOCTYPE html><html><title>Access denied | discord.com used Cloudflare</title></html>'
const CLOUDFLARE_JSON = {
  type: 'https://developers.cloudflare.com/support/troubleshooting/http-status-codes/cloudflare-1xxx-errors/error-1015/',
  title: 'Error 1015: You are being rate limited',
  status: 429,
  error_code: 1015,
  error_name: 'rate_limited',
  cloudflare_error: true,
  retryable: true,
  retry_after: 30,
}
const MINUTE = 60_000
const HOUR = 60 * MINUTE
const guild = (n: number) => `/guilds/${100000000000000000n + BigInt(n)}`

describe('what is read as a block of our address', () => {
  test.each<[string, Reply, number]>([
    ['plain text', [429, 'error code: 1015', { 'retry-after': '66271' }], 66_271_000],
    ['a page', [429, PAGE], 60_000],
    [
      'Discord’s own words',
      [429, { code: 0, message: 'You are being blocked from accessing our API temporarily' }],
      60_000,
    ],
    [
      'Cloudflare’s JSON: the longer of header and body',
      [429, CLOUDFLARE_JSON, { 'retry-after': '66271' }],
      66_271_000,
    ],
    ['Cloudflare’s JSON: the longer of body and header', [429, CLOUDFLARE_JSON, { 'retry-after': '5' }], 30_000],
    ['Cloudflare’s JSON with 403', [403, { ...CLOUDFLARE_JSON, status: 403, error_code: 1020 }], 30_000],
    ['Discord’s 40333', [403, { message: 'internal network error', code: 40_333 }], 60_000],
  ])('%s', async (_, reply, waitMs) => {
    const { holdfast } = scriptedDiscord({ maxRetries: 0 })
    const asked = anyAnswer(() => reply)
    const first = await failureOf(holdfast.getCurrentUser('one'))
    expect(first.retryAfterMs).toBe(waitMs)
    expect(holdfast.stats().discord.breaker).toBe('open')
    for (let user = 0; user < 60; user++)
      expect(await failureOf(holdfast.getUserGuilds(`user${user}`))).toMatchObject({ local: true, scope: 'egress' })
    expect(asked).toHaveLength(1)
  })

  test('a 403 of it is trouble: what is held stays, and is served', async () => {
    const { clock, holdfast } = scriptedDiscord()
    let blocked = false
    anyAnswer(() => (blocked ? [403, { message: 'internal network error', code: 40_333 }] : [200, []]))
    const user = { userId: '7', accessToken: 'abc' }
    await holdfast.memberships(user)
    await clock.advance(2 * HOUR)
    blocked = true
    for (let view = 0; view < 3; view++)
      expect(await holdfast.memberships(user)).toMatchObject({ stale: true, reason: 'unavailable' })
    expect((await failureOf(holdfast.getUserGuilds('other'))).code).toBe('DISCORD_RATE_LIMITED')
  })

  test('a foreign 403 on one route for one principal is about what was asked; a second route or principal makes it one', async () => {
    for (const [path, token] of [
      [guild(1), 'user1'],
      ['/users/@me', 'user2'],
    ] as const) {
      const { holdfast } = scriptedDiscord()
      const asked = anyAnswer(() => [403, PAGE])
      for (let time = 0; time < 3; time++)
        expect((await failureOf(holdfast.discordFetch('/users/@me', 'user1'))).code).toBe('DISCORD_FOREIGN_ANSWER')
      expect(holdfast.stats().discord.breaker).toBe('closed')
      await failureOf(holdfast.discordFetch(path, token))
      expect(holdfast.stats().discord.breaker).toBe('open')
      for (let user = 0; user < 50; user++) await failureOf(holdfast.getUserGuilds(`user${user}`))
      expect(asked).toHaveLength(4)
      nock.cleanAll()
    }
  })

  test('foreign 403s far apart, or with an answer of Discord’s between them, are none', async () => {
    const { holdfast, clock } = scriptedDiscord()
    let page = true
    anyAnswer(() => (page ? [403, PAGE] : [200, { id: '1' }]))
    for (let user = 0; user < 4; user++) {
      page = true
      await failureOf(holdfast.getCurrentUser(`user${user}`))
      page = false
      await holdfast.getCurrentUser(`fine${user}`)
    }
    page = true
    await failureOf(holdfast.getCurrentUser('user8'))
    await clock.advance(61_000)
    await failureOf(holdfast.getUserGuilds('user9'))
    expect(holdfast.stats().discord.breaker).toBe('closed')
  })
})

describe('the probe after a block', () => {
  test.each<[string, Reply]>([
    ['a page', [403, PAGE]],
    ['another block', [403, { message: 'internal network error', code: 40_333 }]],
  ])('that is answered with %s keeps everything shut', async (_, reply) => {
    const { holdfast, clock } = scriptedDiscord()
    const asked = anyAnswer(({ count }) => (count === 1 ? [429, 'error code: 1015', { 'retry-after': '10' }] : reply))
    await failureOf(holdfast.getCurrentUser('one', { maxRetries: 0 }))
    await clock.advance(10_001)
    const probes = await Promise.all(
      Array.from({ length: 50 }, (_, user) => failureOf(holdfast.getCurrentUser(`user${user}`, { maxRetries: 0 }))),
    )
    expect(probes.filter(({ local }) => local)).toHaveLength(49)
    expect(asked).toHaveLength(2)
    expect(holdfast.stats().discord.breaker).toBe('open')
  })
})

describe('a block of a day on one route', () => {
  const DAY = { 'retry-after': '86400' }
  const blockedInvites = (other: (count: number) => Reply = () => [200, { id: '1' }]) =>
    anyAnswer(({ path, count }) => (path.startsWith('/invites') ? [429, 'error code: 1015', DAY] : other(count)))

  test('stops all for minutes; then another route opens within the hour, and the blocked one stays shut', async () => {
    const { holdfast, clock } = scriptedDiscord({ maxRetries: 0 })
    const asked = blockedInvites()
    await failureOf(holdfast.discordFetch('/invites/abc', 'bot'))
    const refused = await failureOf(holdfast.getCurrentUser('user'))
    expect(refused).toMatchObject({ local: true, scope: 'egress' })
    expect(refused.retryAfterMs).toBeLessThanOrEqual(HOUR)
    await clock.advance(refused.retryAfterMs - 1)
    expect(await failureOf(holdfast.getCurrentUser('user', { maxWaitMs: 0 }))).toMatchObject({ local: true })
    await clock.advance(1)
    expect(await holdfast.getCurrentUser('user')).toEqual({ id: '1' })
    expect(await holdfast.discordFetch('/x', 'other')).toEqual({ id: '1' })
    expect(holdfast.stats().discord.breaker).toBe('closed')
    for (let hour = 0; hour < 23; hour++) {
      await clock.advance(HOUR)
      expect(await failureOf(holdfast.discordFetch('/invites/def', 'bot'))).toMatchObject({ local: true })
    }
    expect(asked.filter(({ path }) => path.startsWith('/invites'))).toHaveLength(1)
  })

  test('met again later stops only that route', async () => {
    const { holdfast, clock } = scriptedDiscord({ maxRetries: 0 })
    blockedInvites()
    await failureOf(holdfast.discordFetch('/invites/abc', 'bot'))
    await clock.advance(10 * MINUTE)
    await holdfast.getCurrentUser('user')
    await clock.advance(24 * HOUR)
    expect(await failureOf(holdfast.discordFetch('/invites/abc', 'bot'))).toMatchObject({ local: false })
    expect(holdfast.stats().discord.breaker).toBe('closed')
    expect(await holdfast.getCurrentUser('user')).toEqual({ id: '1' })
    expect(await failureOf(holdfast.discordFetch('/invites/abc', 'bot'))).toMatchObject({ local: true })
  })

  test('that is no route’s alone is probed elsewhere ever more rarely, within the hour each time, and its time is not shortened', async () => {
    const { holdfast, clock } = scriptedDiscord({ maxRetries: 0 })
    const asked = blockedInvites(() => [429, 'error code: 1015', { 'retry-after': '30' }])
    await failureOf(holdfast.discordFetch('/invites/abc', 'bot'))
    const probedAt: number[] = []
    for (let minute = 1; minute <= 180; minute++) {
      await clock.advance(MINUTE)
      const before = asked.length
      await failureOf(holdfast.discordFetch(`/route${minute}`, 'user'))
      if (asked.length > before) probedAt.push(minute)
    }
    expect(probedAt.length).toBeGreaterThanOrEqual(4)
    expect(probedAt.length).toBeLessThanOrEqual(10)
    for (const [index, minute] of probedAt.entries())
      expect(minute - (probedAt[index - 1] ?? 0)).toBeLessThanOrEqual(60)
    expect(await failureOf(holdfast.discordFetch('/invites/abc', 'bot'))).toMatchObject({ local: true })
  })

  test('can be lifted by an operator, for every route at once', async () => {
    const { holdfast } = scriptedDiscord({ maxRetries: 0 })
    let blocked = true
    anyAnswer(() => (blocked ? [429, 'error code: 1015', DAY] : [200, { id: '1' }]))
    await failureOf(holdfast.discordFetch('/invites/abc', 'bot'))
    blocked = false
    holdfast.liftBlock()
    expect(holdfast.stats().discord.breaker).toBe('closed')
    expect(await holdfast.discordFetch('/invites/abc', 'bot')).toEqual({ id: '1' })
  })
})
