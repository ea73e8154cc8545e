import { describe, expect, test } from 'vitest'
import { HOUR, MINUTE, openWorld } from './world.ts'

describe('cacheUserScopedGraceful with a function of the app, fresh for an hour and stale for a day', () => {
  async function setUp() {
    const world = await openWorld()
    const { discord, holdfast, user } = world
    let fetches = 0
    /** Any fetch of the app's own; here one that knows nothing of Holdfast's. */
    const fetchFn = async () => {
      fetches++
      const response = await fetch(`${discord.url}/users/@me/guilds`, {
        headers: { authorization: `Bearer ${user.accessToken}`, 'user-agent': 'DiscordBot (https://app.test, 1)' },
      })
      if (!response.ok) throw Object.assign(new Error(`Discord said ${response.status}`), { status: response.status })
      return ((await response.json()) as Array<{ id: string }>).map(({ id }) => id)
    }
    const guilds = () => holdfast.cacheUserScopedGraceful(user.id, 'my-guilds', HOUR, 24 * HOUR, fetchFn)
    return { ...world, guilds, fetches: () => fetches }
  }

  test('asks once an hour, and once for all who ask at the same time', async () => {
    await using world = await setUp()
    const lists = await Promise.all(Array.from({ length: 100 }, world.guilds))
    expect(new Set(lists.map((list) => list.join())).size).toBe(1)
    expect(lists[0]).toEqual(world.user.guilds.map(({ id }) => id))
    await world.clock.advance(47 * MINUTE)
    await world.guilds()
    expect(world.fetches()).toBe(1)
    await world.clock.advance(20 * MINUTE)
    await world.drive(world.guilds())
    expect(world.fetches()).toBe(2)
  })

  test.each(['server-error', 'rate-limit', 'reset', 'malformed', 'truncate'] as const)(
    'serves what it held while Discord fails (%s): after 23 hours still, after 24 hours no more',
    async (kind) => {
      await using world = await setUp()
      const { clock, discord, guilds } = world
      const first = await guilds()
      const end = discord.fault(kind)
      await clock.advance(23 * HOUR)
      expect(await world.drive(guilds())).toEqual(first)
      await clock.advance(HOUR - 1)
      expect(await world.drive(guilds())).toEqual(first)
      await clock.advance(2)
      await expect(world.drive(guilds())).rejects.toThrow()
      end()
      await clock.advance(5 * MINUTE)
      expect(await world.drive(guilds())).toEqual(first)
    },
  )

  test('fails with the error of the function, as it was thrown, where nothing is held', async () => {
    await using world = await setUp()
    world.discord.fault('server-error', { status: 503 })
    await expect(world.guilds()).rejects.toMatchObject({ message: 'Discord said 503', status: 503 })
  })

  test.each([401, 403, 404])('an answer of %i is not hidden, and ends what was held', async (status) => {
    await using world = await setUp()
    const { clock, holdfast, user } = world
    let answer: () => Promise<string> = async () => 'held'
    const value = () => holdfast.cacheUserScopedGraceful(user.id, 'profile', HOUR, 24 * HOUR, () => answer())
    expect(await value()).toBe('held')
    await clock.advance(2 * HOUR)
    answer = async () => {
      throw Object.assign(new Error('refused'), { status })
    }
    await expect(value()).rejects.toThrow('refused')
    answer = async () => {
      throw new Error('down')
    }
    await expect(value()).rejects.toThrow('down')
  })

  test('one user never gets what was fetched for another', async () => {
    await using world = await openWorld({ simulator: { users: 5 } })
    const { discord, holdfast } = world
    const guilds = (nth: number) => {
      const { id, accessToken } = discord.users[nth]!
      return holdfast.cacheUserScopedGraceful(id, 'guilds-again', HOUR, 24 * HOUR, async () =>
        (await holdfast.getUserGuilds(accessToken, { principal: id })).map((guild) => guild.id),
      )
    }
    for (let round = 0; round < 2; round++)
      for (const [nth, user] of discord.users.entries())
        expect(await guilds(nth)).toEqual(user.guilds.map(({ id }) => id))
    expect(discord.calls).toHaveLength(5)
  })
})
