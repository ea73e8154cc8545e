import { describe, expect, test } from 'vitest'
import { DiscordAPIError } from '../../src/errors/errors.ts'
import type { GuildRequest } from '../../src/guilds/guild-request.ts'
import { membershipsFromDiscord } from '../../src/guilds/memberships.ts'
import { UserGuilds } from '../../src/guilds/user-guilds.ts'
import { createVirtualClock } from '../../src/simulator/virtual-clock.ts'

const ann = { userId: '1', accessToken: 'token-of-ann' }
const answered = (status: number) =>
  new DiscordAPIError(`answered ${status}`, { status, route: 'GET /users/@me/guilds', attempts: 1 })

/** Without a cache: every question is a load. */
function setUp() {
  const clock = createVirtualClock()
  let asked = 0
  let error: Error | undefined
  const guilds = new UserGuilds({
    clock,
    times: { freshMs: 60_000, staleMs: 600_000 },
    cache: {
      get: async (_userId: string, request: GuildRequest) => {
        const value = await request.load({ signal: new AbortController().signal })
        return { value, state: 'loaded', source: 'load', fetchedAt: new Date(clock.now()) }
      },
    },
    source: {
      getUserGuildsAnew: async () => {
        asked++
        if (error) throw error
        return []
      },
      refusedForMs: () => undefined,
    },
  })
  return {
    clock,
    guilds,
    asked: () => asked,
    answer: (next: Error | undefined) => {
      error = next
    },
  }
}

describe('a token that Discord refused', () => {
  test('for a scope is not asked with again for five minutes', async () => {
    const { guilds, clock, asked, answer } = setUp()
    answer(answered(403))
    await expect(guilds.of(ann)).rejects.toMatchObject({ status: 403 })
    answer(undefined)
    await clock.advance(5 * 60_000 - 1)
    await expect(guilds.of(ann)).rejects.toMatchObject({ status: 403 })
    expect(asked()).toBe(1)
    await clock.advance(1)
    expect((await guilds.of(ann)).guilds).toEqual(membershipsFromDiscord([]))
  })

  test('as dead is the wire’s to remember: who signs in anew with the same one gets their guilds at once', async () => {
    const { guilds, asked, answer } = setUp()
    answer(answered(401))
    await expect(guilds.of(ann)).rejects.toMatchObject({ status: 401 })
    answer(undefined)
    expect((await guilds.of(ann)).guilds.size).toBe(0)
    expect(asked()).toBe(2)
  })

  test('of one session refuses nothing to another session of the user', async () => {
    const { guilds, answer } = setUp()
    answer(answered(403))
    await expect(guilds.of(ann)).rejects.toMatchObject({ status: 403 })
    answer(undefined)
    expect((await guilds.of({ ...ann, accessToken: 'another-token' })).guilds.size).toBe(0)
  })
})
