import nock from 'nock'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { summed } from '../../src/discord/holds.ts'
import { anyAnswer, failureOf, scriptedDiscord } from './scripted-discord.ts'

beforeAll(() => nock.disableNetConnect())
afterEach(() => nock.cleanAll())
afterAll(() => nock.enableNetConnect())

type Reply = readonly [number, unknown, Record<string, string>?]
const CLOUDFLARE = 'error code: 1015'
const limited = (scope: string, seconds: string): Reply => [
  429,
  { message: 'You are being rate limited.', retry_after: Number(seconds), global: scope === 'global' },
  { 'retry-after': seconds, 'x-ratelimit-scope': scope, 'x-ratelimit-bucket': 'b', via: '1.1 google' },
]

describe('holds()', () => {
  test.each<[string, Reply, string, string, number]>([
    ['a block', [429, CLOUDFLARE, { 'retry-after': '600' }], '/users/@me', 'address', 600_000],
    ['a 429 of a user', limited('user', '30'), '/users/@me', 'principal', 30_000],
    ['a global 429 of a user', limited('global', '40'), '/users/@me', 'principal', 40_000],
    ['a shared 429', limited('shared', '50'), '/channels/123456789012345678', 'resource', 50_000],
    ['a dead token', [401, { message: '401: Unauthorized', code: 0 }], '/users/@me', 'token', 600_000],
  ])('tells of %s for as long as it lasts, and then of nothing', async (_what, reply, path, about, forMs) => {
    const { holdfast, clock } = scriptedDiscord({ maxRetries: 0 })
    expect(holdfast.holds()).toEqual([])
    anyAnswer(() => reply)
    await failureOf(holdfast.discordFetch(path, 'user'))
    const [hold, ...others] = holdfast.holds()
    expect(others).toEqual([])
    expect(hold).toMatchObject({ about, count: 1 })
    expect(hold!.longestMs).toBeLessThanOrEqual(forMs)
    expect(hold!.longestMs).toBeGreaterThan(forMs - 1_000)
    expect(JSON.stringify(holdfast.holds())).not.toContain('123456789012345678')
    await clock.advance(forMs)
    expect(holdfast.holds()).toEqual([])
  })

  test('counts who is held, and says how long the last of them is', async () => {
    const { holdfast } = scriptedDiscord({ maxRetries: 0 })
    anyAnswer(({ count }) => limited('user', String(10 + 10 * count)))
    for (const token of ['a-user', 'b-user', 'c-user']) await failureOf(holdfast.discordFetch('/users/@me', token))
    const [hold] = holdfast.holds()
    expect(hold).toMatchObject({ about: 'principal', count: 3 })
    expect(hold!.longestMs).toBeGreaterThan(39_000)
  })

  test('tells of a route that alone is blocked, once others are open', async () => {
    const { holdfast, clock } = scriptedDiscord({ maxRetries: 0 })
    anyAnswer(({ path }) =>
      path.includes('/invites/') ? [429, CLOUDFLARE, { 'retry-after': '86400' }] : [200, { id: '1' }],
    )
    await failureOf(holdfast.discordFetch('/invites/abc', 'bot'))
    expect(holdfast.holds()).toMatchObject([{ about: 'address' }])
    await clock.advance(6 * 60_000)
    await holdfast.discordFetch('/users/@me', 'bot')
    expect(holdfast.holds()).toMatchObject([{ about: 'route', count: 1 }])
    holdfast.liftBlock()
    expect(holdfast.holds()).toEqual([])
  })

  test('tells that made-up tokens have spent what strangers may', async () => {
    const { holdfast } = scriptedDiscord({ maxRetries: 0 })
    anyAnswer(() => [401, { message: '401: Unauthorized', code: 0 }])
    for (let stranger = 0; stranger < 500; stranger++)
      await failureOf(holdfast.discordFetch('/users/@me', `s${stranger}`))
    expect(holdfast.holds()).toMatchObject([
      { about: 'strangers', count: 1, longestMs: expect.toSatisfy((ms) => ms > 500_000 && ms <= 610_000) },
      { about: 'token', count: 500 },
    ])
  })
})

test('a kind of which all have ended is not told', () => {
  expect(summed('token', [])).toBeUndefined()
  expect(summed('token', [0, -5])).toBeUndefined()
  expect(summed('token', [3, -5, 9, 4])).toEqual({ about: 'token', count: 3, longestMs: 9 })
})
