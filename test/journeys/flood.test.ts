import { describe, expect, test } from 'vitest'
import { HOUR, MINUTE, openApp, openWorld, outcome } from './world.ts'

const MADE_UP = 10_000
/** 5 % of the 10 000 invalid requests in ten minutes that Discord bans for. */
const BUDGET = 500

const madeUp = (nth: number) => ({ accessToken: `made-up-token-${String(nth).padStart(12, '0')}` })

describe('10 000 made-up bearer tokens', () => {
  test('spend at most 5 % of what Discord bans for, and nobody who is signed in notices', async () => {
    await using world = await openWorld({ simulator: { users: 20 } })
    await using app = await openApp(world.holdfast)
    const { clock, discord } = world
    for (const user of discord.users) await world.asked(user)
    await clock.advance(2 * HOUR)
    const calls = world.watch()
    const codes = new Map<string, number>()
    const signedIn: Array<Awaited<ReturnType<typeof app.visit>>> = []
    for (let batch = 0; batch < 20; batch++) {
      const flood = Array.from({ length: MADE_UP / 20 }, (_, nth) =>
        outcome(world.asked(madeUp(batch * (MADE_UP / 20) + nth))),
      )
      // Their lists have to be fetched anew in the middle of it: their tokens are known to be good.
      signedIn.push(await app.visit(discord.users[batch]!.accessToken))
      for (const code of await Promise.all(flood)) codes.set(code, (codes.get(code) ?? 0) + 1)
    }
    expect([...codes.keys()].sort()).toEqual(['RATE_LIMITED', 'UNAUTHENTICATED'])
    expect(codes.get('UNAUTHENTICATED')! + codes.get('RATE_LIMITED')!).toBe(MADE_UP)
    const refused = calls().filter(({ status }) => status === 401)
    expect(refused.length).toBeGreaterThan(0)
    expect(refused.length).toBeLessThanOrEqual(BUDGET)
    expect(codes.get('UNAUTHENTICATED')).toBe(refused.length)
    expect(calls().every(({ wouldBan, status }) => !wouldBan && (status === 200 || status === 401))).toBe(true)
    expect(signedIn.map(({ status, stale }) => [status, stale])).toEqual(discord.users.map(() => [200, false]))
    expect(world.holdfast.stats().discord.invalidBudgetUsed).toBeLessThanOrEqual(0.05)
  })

  test('spread over half an hour never spend more than that in any ten minutes', async () => {
    await using world = await openWorld()
    const { clock } = world
    const calls = world.watch()
    for (let minute = 0; minute < 30; minute++) {
      const nextAt = clock.monotonic() + MINUTE
      const flood = Array.from({ length: 100 }, (_, nth) => outcome(world.asked(madeUp(minute * 100 + nth))))
      await world.drive(Promise.all(flood))
      await clock.advance(nextAt - clock.monotonic())
    }
    const times = calls().map(({ at }) => at)
    expect(times.length).toBeGreaterThan(BUDGET)
    for (let nth = BUDGET; nth < times.length; nth++)
      expect(times[nth]! - times[nth - BUDGET]!).toBeGreaterThanOrEqual(10 * MINUTE)
  })

  test('one made-up token, sent again and again, is sent to Discord once', async () => {
    await using world = await openWorld()
    for (let nth = 0; nth < 200; nth++) expect(await outcome(world.asked(madeUp(0)))).toBe('UNAUTHENTICATED')
    expect(world.discord.calls).toHaveLength(1)
  })

  test.each([
    'Bearer ',
    'Bearer a b',
    'Bearer \u00e4',
    `Bearer ${'x'.repeat(10_000)}`,
    'Basic dXNlcjpwYXNz',
    'Bearer,',
    'bearer{}',
  ])('what cannot be a token (%.20s) is refused without a call', async (authorization) => {
    await using world = await openWorld()
    const headers = new Headers({ authorization })
    expect(await outcome(world.holdfast.requireAuth({ method: 'GET', headers }))).toBe('UNAUTHENTICATED')
    expect(world.discord.calls).toEqual([])
  })

  test('a newcomer with a good token gets in once the flood is ten minutes old', async () => {
    await using world = await openWorld()
    await Promise.all(Array.from({ length: 600 }, (_, nth) => outcome(world.asked(madeUp(nth)))))
    const refused = await world.asked(world.user).then(
      () => undefined,
      (error: { retryAfterMs: number; code: string }) => error,
    )
    expect(refused?.code).toBe('RATE_LIMITED')
    await world.clock.advance(refused!.retryAfterMs)
    expect(await outcome(world.drive(world.asked(world.user)))).toBe('let in')
  })
})
