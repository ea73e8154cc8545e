import nock from 'nock'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { anyAnswer, failureOf, ORIGIN, scriptedDiscord, watched } from './scripted-discord.ts'

// Which 401 ends a token, for whom, and for how long.

beforeAll(() => nock.disableNetConnect())
afterEach(() => nock.cleanAll())
afterAll(() => nock.enableNetConnect())

const UNAUTHORIZED = { message: '401: Unauthorized', code: 0 }
const MINUTE = 60_000
const WEBHOOK = '/webhooks/123456789012345678/an-expired-interaction-token/messages/@original'

/** What a Discord says that answers 401 on one path and accepts everything else. */
const refusing = (path: string, body: unknown = UNAUTHORIZED) =>
  anyAnswer((request) =>
    request.path.split('?')[0] === path ? [401, body] : [200, request.path.endsWith('guilds') ? [] : { id: '1' }],
  )

describe('a 401 ends a token', () => {
  test.each([
    ['/users/@me', {}],
    ['/users/@me/guilds', {}],
    ['/oauth2/@me', {}],
    ['/guilds/123456789012345678', { code: 50_025, message: 'Invalid OAuth2 access token' }],
  ])('of a user on %s: where nothing but the token can be wrong, or where the code says so', async (path, body) => {
    const { holdfast } = scriptedDiscord()
    refusing(path, { ...UNAUTHORIZED, ...body })
    await failureOf(holdfast.discordFetch(path, 'abc'))
    expect(await failureOf(holdfast.discordFetch('/x', 'abc'))).toMatchObject({ status: 401, attempts: 0 })
  })

  test.each([
    ['an expired interaction token in the path', WEBHOOK, { message: 'Invalid Webhook Token', code: 50_027 }],
    ['a route that only bots may use', '/guilds/123456789012345678/members/1', UNAUTHORIZED],
    ['the webhook code, even on an identity route', '/users/@me', { message: 'Invalid Webhook Token', code: 50_027 }],
  ])('never over %s', async (_, path, body) => {
    for (const tokenType of ['Bearer', 'Bot'] as const) {
      const { holdfast } = scriptedDiscord()
      refusing(path, body)
      for (let time = 0; time < 3; time++) await failureOf(holdfast.discordFetch(path, 'abc', { tokenType }))
      expect(await holdfast.discordFetch('/x', 'abc', { tokenType })).toEqual({ id: '1' })
      nock.cleanAll()
    }
  })

  test('of a bot only at /users/@me', async () => {
    const bot = { tokenType: 'Bot' } as const
    const { holdfast } = scriptedDiscord()
    refusing('/users/@me/guilds')
    await failureOf(holdfast.discordFetch('/users/@me/guilds', 'abc', bot))
    expect(await holdfast.discordFetch('/users/@me', 'abc', bot)).toEqual({ id: '1' })
    nock.cleanAll()
    refusing('/users/@me')
    await failureOf(holdfast.discordFetch('/users/@me', 'abc', bot))
    expect(await failureOf(holdfast.discordFetch('/x', 'abc', bot))).toMatchObject({ attempts: 0 })
  })

  test('of a bot that never asks who it is: after its first 401 elsewhere that is asked for it, once', async () => {
    const { holdfast, sent } = scriptedDiscord()
    const asked = anyAnswer(() => [401, UNAUTHORIZED])
    const post = () =>
      failureOf(holdfast.discordFetch('/channels/1/messages?limit=1', 'abc', { tokenType: 'Bot', principal: 'bot' }))
    expect(await post()).toMatchObject({ status: 401, attempts: 1 })
    await vi.waitFor(() => expect(sent()).toHaveLength(2))
    for (let time = 0; time < 3; time++) expect(await post()).toMatchObject({ status: 401, attempts: 0 })
    expect(asked.map(({ path, token }) => [path, token])).toEqual([
      ['/channels/1/messages?limit=1', 'Bot abc'],
      ['/users/@me', 'Bot abc'],
    ])
  })

  test('of a bot only where it does not know itself: it is asked about once a minute, and goes on', async () => {
    const { holdfast, clock, sent } = scriptedDiscord()
    const asked = refusing('/guilds/123456789012345678')
    const get = () =>
      failureOf(holdfast.discordFetch('/guilds/123456789012345678', 'abc', { tokenType: 'Bot', principal: 'bot' }))
    const checks = () => asked.filter(({ path }) => path === '/users/@me').length
    for (let time = 0; time < 5; time++) expect(await get()).toMatchObject({ status: 401, attempts: 1 })
    await vi.waitFor(() => expect(sent()).toHaveLength(6))
    expect(checks()).toBe(1)
    await clock.advance(MINUTE)
    for (let time = 0; time < 5; time++) expect(await get()).toMatchObject({ status: 401, attempts: 1 })
    await vi.waitFor(() => expect(sent()).toHaveLength(12))
    expect(checks()).toBe(2)
  })

  test('of a user never by asking: a 401 on another route says nothing', async () => {
    const { holdfast, settle } = scriptedDiscord()
    const asked = refusing('/guilds/123456789012345678')
    await failureOf(holdfast.discordFetch('/guilds/123456789012345678', 'abc'))
    await settle()
    expect(await holdfast.discordFetch('/x', 'abc')).toEqual({ id: '1' })
    expect(asked.map(({ path }) => path)).toEqual(['/guilds/123456789012345678', '/x'])
  })

  test('as it was sent: the same text as Bot lives on when it died as Bearer', async () => {
    const { holdfast } = scriptedDiscord()
    anyAnswer(({ token }) => (token.startsWith('Bearer') ? [401, UNAUTHORIZED] : [200, { id: '1' }]))
    await failureOf(holdfast.getCurrentUser('abc'))
    expect(await holdfast.discordFetch('/users/@me', 'abc', { tokenType: 'Bot' })).toEqual({ id: '1' })
    expect(await failureOf(holdfast.getCurrentUser('abc'))).toMatchObject({ attempts: 0 })
  })

  test('not where it is not Discord’s own', async () => {
    const { holdfast } = scriptedDiscord()
    refusing('/users/@me', '<html>401</html>')
    expect((await failureOf(holdfast.getCurrentUser('abc'))).code).toBe('DISCORD_FOREIGN_ANSWER')
    expect(await holdfast.discordFetch('/x', 'abc')).toEqual({ id: '1' })
  })
})

describe('a dead token', () => {
  test('is tried again within an hour by one call, and by one an hour at most from then on', async () => {
    const { holdfast, clock } = scriptedDiscord()
    const asked = refusing('/users/@me')
    await failureOf(holdfast.getCurrentUser('abc'))
    const trials: number[] = []
    for (let minute = 1; minute <= 6 * 60; minute++) {
      await clock.advance(MINUTE)
      const before = asked.length
      await Promise.allSettled(
        Array.from({ length: 5 }, (_, index) => holdfast.discordFetch(`/users/@me?n=${index}`, 'abc')),
      )
      await failureOf(holdfast.getCurrentUser('abc')).catch(() => {})
      if (asked.length > before) trials.push(minute)
      expect(asked.length - before).toBeLessThanOrEqual(1)
      if (trials.length > 0) break
    }
    expect(trials[0]).toBeLessThanOrEqual(60)
  })

  test('that is refused again waits twice as long, and never longer than an hour', async () => {
    const { holdfast, clock } = scriptedDiscord()
    const asked = anyAnswer(() => [401, UNAUTHORIZED])
    await failureOf(holdfast.getCurrentUser('abc'))
    const trials: number[] = []
    for (let minute = 1; minute <= 5 * 60; minute++) {
      await clock.advance(MINUTE)
      const before = asked.length
      await failureOf(holdfast.getCurrentUser('abc'))
      if (asked.length > before) trials.push(minute)
    }
    expect(trials).toEqual([10, 30, 70, 130, 190, 250])
  })

  test('that Discord accepts after all lives for everybody at once', async () => {
    const { holdfast, clock } = scriptedDiscord()
    let dead = true
    anyAnswer(() => (dead ? [401, UNAUTHORIZED] : [200, { id: '1' }]))
    await failureOf(holdfast.getCurrentUser('abc'))
    dead = false
    await clock.advance(10 * MINUTE)
    expect(await holdfast.getCurrentUser('abc')).toEqual({ id: '1' })
    expect(await holdfast.discordFetch('/x', 'abc')).toEqual({ id: '1' })
  })

  test('stays dead though a call that was under way when it died is answered', async () => {
    const { holdfast, settle } = scriptedDiscord()
    const answered = Promise.withResolvers<readonly [number, unknown]>()
    const asked = anyAnswer(({ path }) => (path === '/x' ? answered.promise : [401, UNAUTHORIZED]))
    const underWay = holdfast.discordFetch('/x', 'abc')
    await settle()
    await failureOf(holdfast.getCurrentUser('abc'))
    answered.resolve([200, { id: '1' }])
    expect(await underWay).toEqual({ id: '1' })
    expect(await failureOf(holdfast.discordFetch('/y', 'abc'))).toMatchObject({ status: 401, attempts: 0 })
    expect(asked).toHaveLength(2)
  })

  test('whose trial hangs is tried by the next after a minute, and not before', async () => {
    const { holdfast, clock, settle } = scriptedDiscord({ timeoutMs: 300_000 })
    let hang = false
    const asked = anyAnswer(() => (hang ? new Promise(() => {}) : [401, UNAUTHORIZED]))
    await failureOf(holdfast.getCurrentUser('abc'))
    hang = true
    await clock.advance(10 * MINUTE)
    const trial = watched(holdfast.discordFetch('/users/@me?n=1', 'abc'))
    await settle()
    expect(await failureOf(holdfast.discordFetch('/users/@me?n=2', 'abc'))).toMatchObject({ attempts: 0 })
    await clock.advance(MINUTE)
    hang = false
    expect(asked).toHaveLength(2)
    expect(trial.done).toBe(false)
    await holdfast.close()
  })

  test('lets requireAuth in again once Discord accepts it, after one question', async () => {
    const { holdfast, clock } = scriptedDiscord()
    const { createHoldfast } = await import('holdfast')
    const own = createHoldfast({
      clock,
      random: () => 0,
      discord: { baseUrl: `${ORIGIN}/api/v10` },
      session: () => ({ userId: '1', accessToken: 'abc' }),
    })
    let dead = true
    const asked = anyAnswer(({ path }) =>
      dead ? [401, UNAUTHORIZED] : [200, path.endsWith('guilds') ? [] : { id: '1' }],
    )
    const look = () => own.requireAuth(new Request('https://app.example/'))
    await expect(look()).rejects.toMatchObject({ status: 401 })
    await expect(look()).rejects.toMatchObject({ status: 401 })
    const before = asked.length
    dead = false
    await clock.advance(10 * MINUTE)
    expect((await look()).user).toMatchObject({ id: '1' })
    expect(asked.length - before).toBe(2)
    await own.close()
    await holdfast.close()
  })
})
