import nock from 'nock'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { INVALID_LIMIT } from '../../../src/discord/invalid-budget.ts'
import { answeringDispatcher, anyAnswer, failureOf, scriptedDiscord, watched } from '../../discord/scripted-discord.ts'

// Floods of thousands of calls, which take their time.

describe('on the wire', () => {
  beforeAll(() => nock.disableNetConnect())
  afterEach(() => nock.cleanAll())
  afterAll(() => nock.enableNetConnect())

  const UNAUTHORIZED = [401, { message: '401: Unauthorized', code: 0 }] as const

  /** Another user for each token. */
  const idOf = (token: string) => token.replace(/\D/g, '')

  test('ten thousand made-up tokens spend at most 500 of the budget of 10 000, and known users notice nothing', async () => {
    const { dispatcher, asked } = answeringDispatcher(({ token }) =>
      token.startsWith('Bearer known') ? [200, { id: idOf(token) }] : UNAUTHORIZED,
    )
    const { holdfast, settle, clock } = scriptedDiscord({ dispatcher })
    const known = Array.from({ length: 20 }, (_, index) => `known${index}`)
    for (const token of known) await holdfast.getCurrentUser(token)
    const attack = Array.from({ length: 10_000 }, (_, index) => watched(holdfast.getCurrentUser(`made-up-${index}`)))
    const users = known.map((token) => watched(holdfast.getCurrentUser(token)))
    await settle()
    expect(users.map((user) => user.value?.id)).toEqual(known.map(idOf))
    for (let round = 0; round < 100 && attack.some((call) => !call.done); round++) await settle()
    expect(clock.monotonic()).toBe(0)
    expect(attack.every((call) => call.done)).toBe(true)
    expect(attack.filter((call) => call.error?.status === 401)).toHaveLength(500)
    expect(
      attack.filter(
        (call) =>
          call.error?.code === 'DISCORD_RATE_LIMITED' &&
          call.error.local &&
          call.error.scope === 'egress' &&
          call.error.attempts === 0 &&
          call.error.retryAfterMs > 0,
      ),
    ).toHaveLength(9500)
    expect(asked.filter(({ token }) => token.includes('made-up'))).toHaveLength(500)
    expect(holdfast.stats().discord.invalidBudgetUsed).toBe(0.05)
    for (const token of known) expect(await holdfast.getCurrentUser(token)).toEqual({ id: idOf(token) })
    // The users who hold nobody back are let go after two seconds; then nobody waits for anything.
    await clock.advance(2_000)
    expect(clock.sleepers).toBe(0)
  }, 30_000)

  test('strangers that turn out valid do not use it up: a thousand new users all get in', async () => {
    const { holdfast, settle, clock } = scriptedDiscord()
    anyAnswer(({ token }) => [200, { id: idOf(token) }])
    const users = Array.from({ length: 1000 }, (_, index) => watched(holdfast.getCurrentUser(`new${index}`)))
    for (let round = 0; round < 50 && users.some((user) => !user.done); round++) await settle()
    expect(users.filter((user) => user.value)).toHaveLength(1000)
    expect(clock.monotonic()).toBe(0)
  })

  test.each([
    ['their callers leave', () => AbortSignal.timeout(20), {}],
    ['their deadline passes', () => undefined, { deadlineMs: 20 }],
  ])(
    'made-up tokens cannot pass it where %s: what was sent and not answered counts as invalid',
    async (_, signal, options) => {
      const { holdfast, clock } = scriptedDiscord()
      const asked = anyAnswer(() => new Promise(() => {}))
      const attack = Array.from({ length: 1500 }, (_, index) =>
        watched(holdfast.getCurrentUser(`made-up-${index}`, { ...options, ...(signal() && { signal: signal()! }) })),
      )
      for (let round = 0; round < 50 && attack.some((call) => !call.done); round++) {
        await new Promise((resolve) => setTimeout(resolve, 5))
        await clock.advance(20)
      }
      expect(attack.every((call) => call.done)).toBe(true)
      expect(asked).toHaveLength(500)
      expect(holdfast.stats().discord.invalidBudgetUsed).toBe(0.05)
      const late = await failureOf(holdfast.getCurrentUser('late'))
      expect([late.local, late.scope]).toEqual([true, 'egress'])
      await clock.advance(300_000)
      expect((await failureOf(holdfast.getCurrentUser('later', { maxWaitMs: 0 }))).local).toBe(true)
    },
  )

  test('strangers that Discord does not answer count for a minute: an outage shuts nobody out who signs in after it', async () => {
    const { holdfast, clock } = scriptedDiscord({ timeoutMs: 1000 })
    let hang = true
    anyAnswer(() => (hang ? new Promise(() => {}) : [200, { id: '1' }]))
    const lost = Array.from({ length: 500 }, (_, index) => watched(holdfast.getCurrentUser(`new${index}`)))
    await clock.advance(1100)
    expect(lost.filter((call) => call.error?.code === 'DISCORD_TIMEOUT')).toHaveLength(500)
    expect(holdfast.stats().discord.invalidBudgetUsed).toBe(0)
    expect((await failureOf(holdfast.getCurrentUser('next'))).local).toBe(true)
    hang = false
    await clock.advance(70_000)
    expect(await holdfast.getCurrentUser('next')).toEqual({ id: '1' })
  })

  test('strangers that are never sent give their places back: 600 calls behind a hold keep nobody from signing in', async () => {
    const { holdfast, settle } = scriptedDiscord()
    anyAnswer(({ path }) =>
      path.startsWith('/guilds') ? [429, { message: 'x', retry_after: 8, global: true }] : [200, { id: '1' }],
    )
    const bot = { tokenType: 'Bot', principal: 'bot' } as const
    const held = Array.from({ length: 600 }, (_, index) =>
      watched(holdfast.discordFetch(`/guilds/${100000000000000000n + BigInt(index)}`, 'bot', bot)),
    )
    await settle()
    const login = watched(holdfast.getCurrentUser('somebody', { priority: 'login' }))
    await settle()
    expect(login.value).toEqual({ id: '1' })
    expect(held.some((call) => call.done)).toBe(false)
    await holdfast.close()
  })

  test('401, 403 and 429 are counted; a shared 429, a 404 and a 5xx are not', async () => {
    const { holdfast } = scriptedDiscord({ maxRetries: 0 })
    const limited = { message: 'x', retry_after: 0.001, global: false }
    const answers: Array<readonly [number, unknown, Record<string, string>?]> = [
      UNAUTHORIZED,
      [403, { message: 'no', code: 50_001 }],
      [403, '<html>'],
      [429, limited, { 'x-ratelimit-scope': 'user' }],
      [429, limited, { 'x-ratelimit-scope': 'shared' }],
      [404, { message: 'no', code: 10_004 }],
      [503, ''],
      [200, {}],
    ]
    anyAnswer(({ count }) => answers[count - 1]!)
    const used: number[] = []
    for (let index = 0; index < answers.length; index++) {
      await holdfast.discordFetch(`/route${index}`, `token${index}`).catch(() => {})
      used.push(Math.round(holdfast.stats().discord.invalidBudgetUsed * INVALID_LIMIT))
    }
    expect(used).toEqual([1, 2, 3, 4, 4, 4, 4, 4])
  })

  test('background work stops at 80 %, pages at 95 %, logins just before the ban; each says for how long', async () => {
    let forbidden = false
    const { dispatcher } = answeringDispatcher(() => (forbidden ? [403, { message: 'no', code: 50_001 }] : [200, {}]))
    const { holdfast } = scriptedDiscord({ dispatcher, maxRetries: 0 })
    await holdfast.discordFetch('/x', 'known')
    forbidden = true
    const spendUpTo = async (share: number) => {
      while (holdfast.stats().discord.invalidBudgetUsed < share)
        await Promise.all(
          Array.from({ length: 100 }, (_, index) =>
            holdfast
              .discordFetch(`/x${index}`, 'known', { priority: 'login', principal: String(Math.random()) })
              .catch(() => {}),
          ),
        )
    }
    const allowed = async () => {
      const states = []
      for (const priority of ['background', 'page', 'login'] as const) {
        const error = await failureOf(holdfast.discordFetch('/y', 'known', { priority, principal: priority }))
        if (error.status === 429)
          expect(error).toMatchObject({ local: true, scope: 'egress', attempts: 0, retryAfterMs: expect.any(Number) })
        states.push(error.status)
      }
      return states
    }
    await spendUpTo(0.79)
    expect(await allowed()).toEqual([403, 403, 403])
    await spendUpTo(0.8)
    expect(await allowed()).toEqual([429, 403, 403])
    await spendUpTo(0.95)
    expect(await allowed()).toEqual([429, 429, 403])
    await spendUpTo(0.99)
    expect(await allowed()).toEqual([429, 429, 429])
  }, 60_000)

  test('work that waits in line when its share is spent is not sent after all', async () => {
    let forbidden = false
    const { dispatcher } = answeringDispatcher(() => (forbidden ? [403, { message: 'no', code: 50_001 }] : [200, {}]))
    const { holdfast, settle } = scriptedDiscord({ dispatcher, maxRetries: 0, maxWaitMs: 60_000 })
    await holdfast.discordFetch('/x', 'known')
    forbidden = true
    const used = () => Math.round(holdfast.stats().discord.invalidBudgetUsed * INVALID_LIMIT)
    while (used() < 7990) {
      const calls = Array.from({ length: Math.min(100, 7990 - used()) }, (_, index) =>
        holdfast.discordFetch('/x', 'known', { priority: 'login', principal: `${used()}-${index}` }).catch(() => {}),
      )
      await Promise.all(calls)
    }
    // No answer names a limit, so they go one after the other.
    const line = Array.from({ length: 40 }, (_, index) =>
      watched(holdfast.discordFetch(`/y?n=${index}`, 'known', { priority: 'background', principal: 'bot' })),
    )
    for (let round = 0; round < 60 && line.some((call) => !call.done); round++) await settle()
    expect(used()).toBe(8000)
    expect(line.filter((call) => call.error?.status === 429 && call.error.local)).toHaveLength(30)
  }, 60_000)
})
