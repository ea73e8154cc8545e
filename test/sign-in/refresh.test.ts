import { describe, expect, test } from 'vitest'
import { KeyRing } from '../../src/secrets/key-ring.ts'
import { TokenBox } from '../../src/sign-in/token-box.ts'
import { tokensOf } from '../../src/sign-in/token-keeper.ts'
import type { Browser } from './browser.ts'
import { type House, openHouse } from './house.ts'

const HOUR = 60 * 60 * 1000
const DAY = 24 * HOUR
/** As Discord's. */
const WEEK = 7 * DAY
const LONG_SESSIONS = { login: { idleMs: 60 * DAY, absoluteMs: 90 * DAY }, cache: { freshMs: DAY, staleMs: 60 * DAY } }

const TOKEN_ROUTE = 'POST /oauth2/token'
const refreshes = ({ discord }: House) =>
  discord.calls.filter(({ method, route, body }) => {
    const { grant_type } = (body ?? {}) as { grant_type?: string }
    return method === 'POST' && route === '/oauth2/token' && grant_type === 'refresh_token'
  })
const outcomes = ({ events }: House) =>
  events.flatMap((event) => (event.type === 'login.refresh' ? [event.outcome] : []))

/** Real answers take real time; the clock of the house stands still meanwhile. */
async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  await expect.poll(holds, { timeout: 5_000, interval: 5 }).toBe(true)
}

/** Chance that is the same each time (Numerical Recipes' generator). */
function seeded(state = 1): () => number {
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}

async function signedIn(options = {}): Promise<House & { browser: () => Browser; user: Browser }> {
  const house = await openHouse({ ...LONG_SESSIONS, ...options }, { tokenLifetimeMs: WEEK })
  const user = house.browser()
  await user.signIn()
  return Object.assign(house, { user })
}

const status = async (browser: Browser) => (await browser.send('/me')).status

describe('tokens', () => {
  test('are refreshed early and in the background, before anybody has to wait for it', async () => {
    await using house = await signedIn()
    const id = house.discord.users[0]!.id
    const first = await house.holdfast.login.accessToken(id)
    await house.clock.advance(4.5 * DAY)
    expect(await status(house.user)).toBe(200)
    expect(refreshes(house).length).toBe(0)
    await house.clock.advance(1.6 * DAY)
    expect(await house.holdfast.login.accessToken(id)).toBe(first)
    await until(() => outcomes(house).includes('refreshed'))
    const second = await house.holdfast.login.accessToken(id)
    expect(second).not.toBe(first)
    expect(refreshes(house).length).toBe(1)
    await house.clock.advance(4 * DAY)
    expect(await house.holdfast.login.accessToken(id)).toBe(second)
  })

  test('of many who signed in together are refreshed over a day, each when 15 to 30 % of their life is left', async () => {
    const random = seeded()
    await using house = await openHouse({ ...LONG_SESSIONS, random }, { tokenLifetimeMs: WEEK, users: 24 })
    for (const { id } of house.discord.users) {
      house.discord.nextLogin(id)
      expect((await house.browser().signIn()).status).toBe(303)
    }
    const begun = house.clock.now()
    const look = async () => {
      for (const { id } of house.discord.users) await house.holdfast.login.accessToken(id)
    }
    await house.clock.advance(0.7 * WEEK - HOUR)
    await look()
    for (let step = 0; step < 9; step++) {
      await house.clock.advance(3 * HOUR)
      await look()
    }
    await until(() => outcomes(house).length === 24)
    expect(new Set(outcomes(house))).toEqual(new Set(['refreshed']))
    const hours = house.events.flatMap(({ type, at }) => (type === 'login.refresh' ? [(at - begun) / HOUR] : []))
    expect(Math.min(...hours)).toBeGreaterThan((0.7 * WEEK) / HOUR)
    const steps = Map.groupBy(hours, (hour) => Math.round(hour))
    // Three hours are an eighth of the day that they have.
    expect(Math.max(...[...steps.values()].map(({ length }) => length))).toBeLessThanOrEqual(12)
    expect(steps.size).toBeGreaterThanOrEqual(4)
  })

  test('of ten thousand are spread evenly: no hour has twice its share, the first time or the second', () => {
    const random = seeded()
    const granted = { accessToken: 'a', refreshToken: 'r', scopes: [], lifetimeMs: WEEK }
    const profile = { username: 'u', globalName: null, avatar: null }
    const [first, second] = [new Map<number, number>(), new Map<number, number>()]
    const note = (hours: Map<number, number>, at: number) => {
      const hour = Math.floor(at / HOUR)
      hours.set(hour, (hours.get(hour) ?? 0) + 1)
    }
    for (let user = 0; user < 10_000; user++) {
      const once = tokensOf(granted, { profile }, 0, random())
      const twice = tokensOf(granted, once, once.refreshAt, random())
      expect([once.refreshAt >= 0.7 * WEEK, once.refreshAt <= 0.85 * WEEK]).toEqual([true, true])
      note(first, once.refreshAt - 0.7 * WEEK)
      note(second, twice.refreshAt - 1.4 * WEEK)
    }
    // 15 % of a week is 25.2 hours.
    expect(Math.max(...first.values())).toBeLessThan((2 * 10_000) / 25.2)
    expect([first.size, second.size]).toEqual([26, 51])
    expect(Math.max(...second.values())).toBeLessThan((2 * 10_000) / 25.2)
  })

  test('are refreshed once for a hundred requests that find them expired', async () => {
    await using house = await signedIn()
    await house.clock.advance(WEEK + 1)
    const answers = await Promise.all(Array.from({ length: 100 }, () => status(house.user)))
    expect(new Set(answers)).toEqual(new Set([200]))
    expect(refreshes(house).length).toBe(1)
  })

  test.each(['rate-limit', 'server-error', 'reset'] as const)(
    'that expired while the token endpoint is in trouble (%s) sign nobody out: what is held is shown, and nothing dead is sent',
    async (fault) => {
      await using house = await signedIn()
      expect(await status(house.user)).toBe(200)
      const calm = house.discord.fault(fault, { route: TOKEN_ROUTE, retryAfterMs: 3_000 })
      await house.clock.advance(WEEK + 1)
      const before = house.discord.calls.length
      for (let time = 0; time < 3; time++) {
        const me = await house.user.send('/me')
        expect([me.status, (await me.json()).stale]).toEqual([200, true])
      }
      const since = house.discord.calls.slice(before).map(({ route }) => route)
      expect(since.every((route) => route === '/oauth2/token')).toBe(true)
      // A request for every visitor would be one too many: after a failure nobody asks for a while.
      expect(since.length).toBeLessThanOrEqual(fault === 'reset' ? 2 : 1)
      await expect(house.holdfast.login.accessToken(house.discord.users[0]!.id)).rejects.toMatchObject({
        code: expect.stringMatching(/^DISCORD_/),
      })
      calm()
      await house.clock.advance(2 * 60_000)
      await until(async () => (await (await house.user.send('/me')).json()).stale === false)
      expect(outcomes(house)).toContain('refreshed')
    },
  )

  test('whose authorization has ended end the session, after somebody looked again', async () => {
    await using house = await signedIn()
    house.discord.revoke(house.discord.users[0]!.id)
    await house.clock.advance(WEEK + 1)
    expect(await status(house.user)).toBe(401)
    expect(outcomes(house)).toEqual(['ended'])
    expect(await status(house.user)).toBe(401)
    expect(refreshes(house).length).toBe(1)
    expect((await house.user.signIn()).status).toBe(303)
    expect(await status(house.user)).toBe(200)
  })

  test('are kept where our own secret is wrong: an alarm for the operator, said once, and nobody is signed out', async () => {
    await using house = await signedIn()
    expect(await status(house.user)).toBe(200)
    house.discord.fault('answer', { route: TOKEN_ROUTE, status: 401, body: { error: 'invalid_client' } })
    await house.clock.advance(WEEK + 1)
    for (let time = 0; time < 3; time++) {
      expect(await status(house.user)).toBe(200)
      await house.clock.advance(2 * 60_000)
    }
    expect(house.logged.filter((line) => line.includes('DISCORD_CLIENT_SECRET')).length).toBe(1)
    expect(outcomes(house)).not.toContain('ended')
  })

  test('are asked for once more where no answer came, because nobody knows what became of the question', async () => {
    await using house = await signedIn()
    expect(await status(house.user)).toBe(200)
    house.discord.fault('hang', { route: TOKEN_ROUTE, times: 1 })
    await house.clock.advance(WEEK + 1)
    const asked = status(house.user)
    await until(() => refreshes(house).length === 1)
    await house.clock.advance(5_000)
    await until(() => refreshes(house).length === 2)
    await until(() => outcomes(house).includes('refreshed'))
    await asked
    expect(await status(house.user)).toBe(200)
  })

  test('that Discord refuses before their time are refreshed, and the request goes on', async () => {
    await using house = await signedIn()
    house.discord.fault('answer', {
      route: 'GET /users/@me/guilds',
      status: 401,
      body: { message: '401: Unauthorized', code: 0 },
      times: 1,
    })
    expect(await status(house.user)).toBe(200)
    expect(outcomes(house)).toEqual(['refreshed'])
  })

  test('of somebody who signs in anew while they are refreshed are the new ones', async () => {
    await using house = await signedIn()
    await house.clock.advance(WEEK + 1)
    const other = house.browser()
    const end = house.discord.fault('slow', { route: TOKEN_ROUTE, times: 1 })
    const first = status(house.user)
    await until(() => refreshes(house).length === 1)
    end()
    await other.signIn()
    await house.clock.advance(60_000)
    await first
    expect([await status(house.user), await status(other)]).toEqual([200, 200])
    expect(outcomes(house)).not.toContain('ended')
  })

  test('sealed under a secret that is rotated out of first place are still read; under one that is gone, the user signs in', async () => {
    const [older, newer] = ['a'.repeat(40), 'b'.repeat(40)]
    const tokens = {
      accessToken: 'x',
      refreshToken: 'y',
      scopes: [],
      expiresAt: 1,
      refreshAt: 1,
      profile: { username: 'u', globalName: null, avatar: null },
    }
    const place = { userId: '1', rowId: 'row', version: 3, signedInAt: 0 }
    const kept = new TokenBox(new KeyRing([older])).seal(tokens, place)
    expect(new TokenBox(new KeyRing([newer, older])).open(kept)).toEqual(tokens)
    expect(new TokenBox(new KeyRing([newer])).open(kept)).toBeUndefined()
    // Moved to another user, row or version they open for nobody.
    const box = new TokenBox(new KeyRing([older]))
    for (const change of [{ userId: '2' }, { rowId: 'other' }, { version: 4 }])
      expect(box.open({ ...kept, ...change })).toBeUndefined()
  })
})
