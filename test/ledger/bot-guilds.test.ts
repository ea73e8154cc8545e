import { createHoldfast, type Holdfast, type HoldfastOptions } from 'holdfast'
import { createVirtualClock, startSimulator } from 'holdfast/simulator'
import { afterEach, describe, expect, test } from 'vitest'
import type { BotGuildStore } from '../../src/ledger/bot-guild-store.ts'
import { TrackedBotGuilds } from '../../src/ledger/bot-guilds.ts'
import { DATABASES, type TestDatabase } from '../database/databases.ts'

const SECRET = 'a-secret-of-at-least-32-bytes-for-tests'
const cleanUps: Array<() => unknown> = []
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp()
})

const PLACES: ReadonlyArray<readonly [string, (() => Promise<TestDatabase>) | undefined]> = [
  ['memory', undefined],
  ...DATABASES,
]

describe.each(PLACES)('the bot’s guilds in %s', (_kind, make) => {
  async function house(guilds: number) {
    const database = await make?.()
    cleanUps.push(() => database?.drop())
    const clock = createVirtualClock()
    const discord = await startSimulator({ users: 1, guildsPerUser: 3, clock })
    cleanUps.push(() => discord.close())
    for (let index = 1; index <= guilds; index++)
      discord.joinGuild(discord.clientId, { id: String(1_000 + index), name: `guild ${index}` })
    const open = (options: HoldfastOptions = {}): Holdfast => {
      const holdfast = createHoldfast({
        discord: { baseUrl: discord.url, botToken: discord.botToken, clientId: discord.clientId, ...options.discord },
        ...(database && { database: database.url }),
        secret: SECRET,
        clock,
      })
      cleanUps.push(() => holdfast.close())
      return holdfast
    }
    const timed = async <T>(work: Promise<T>): Promise<T> => {
      let done = false
      const watched = work.finally(() => {
        done = true
      })
      watched.catch(() => {})
      while (!done) await clock.advance(20)
      return watched
    }
    return { clock, discord, open, timed, isKept: database !== undefined }
  }

  test('are the whole list, page after page, and what is shared needs no second call', async () => {
    const { discord, open, timed } = await house(450)
    const holdfast = open()
    // And those that the simulator's bot is in from the beginning.
    expect(await timed(holdfast.botGuilds.sync())).toBeGreaterThanOrEqual(450)
    const [user] = discord.users
    discord.joinGuild(user!.id, { id: '1007', name: 'guild 7' })
    discord.joinGuild(user!.id, { id: '5555', name: 'without the bot' })
    const { guilds } = await timed(holdfast.memberships({ userId: user!.id, accessToken: user!.accessToken }))
    const calls = discord.calls.length
    const shared = (await holdfast.botGuilds.shared(guilds)).map(({ id }) => id)
    expect(shared).toContain('1007')
    expect(shared).not.toContain('5555')
    expect(guilds.has('5555')).toBe(true)
    expect(await holdfast.botGuilds.has('1450')).toBe(true)
    expect(await holdfast.botGuilds.has('1451')).toBe(false)
    expect(discord.calls.length).toBe(calls)
  })

  test('follow events, and are kept for the next process where there is a database', async () => {
    const { discord, open, timed, isKept } = await house(3)
    const holdfast = open()
    // The first question syncs.
    expect(await timed(holdfast.botGuilds.has('1001'))).toBe(true)
    await holdfast.botGuilds.joined({ id: '77', name: 'new\u0000' })
    await holdfast.botGuilds.left('1001')
    expect(await holdfast.botGuilds.has('77')).toBe(true)
    expect(await holdfast.botGuilds.has('1001')).toBe(false)
    if (!isKept) return
    const calls = discord.calls.length
    const next = open({ discord: {} })
    expect(await next.botGuilds.has('77')).toBe(true)
    expect(await next.botGuilds.has('1001')).toBe(false)
    expect(await next.botGuilds.has('1002')).toBe(true)
    expect(discord.calls.length).toBe(calls)
  })

  test('an event that comes while the list is fetched stands', async () => {
    const { open, timed } = await house(3)
    const holdfast = open()
    const syncing = holdfast.botGuilds.sync()
    const fed = Promise.all([holdfast.botGuilds.joined({ id: '77' }), holdfast.botGuilds.left('1002')])
    await timed(Promise.all([syncing, fed]))
    const { botGuilds } = holdfast
    expect(await Promise.all(['77', '1001', '1002'].map((id) => botGuilds.has(id)))).toEqual([true, true, false])
  })

  test('of nothing known, and no bot to ask, it says so; bad ids are refused', async () => {
    const { open } = await house(0)
    const holdfast = open({ discord: { botToken: undefined } as never })
    await expect(holdfast.botGuilds.has('1')).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      option: 'discord.botToken',
    })
    await expect(holdfast.botGuilds.sync()).rejects.toMatchObject({ option: 'discord.botToken' })
    for (const id of ['', 'x', null, '01'])
      await expect(holdfast.botGuilds.left(id as string)).rejects.toMatchObject({ code: 'INVALID_OPTION' })
    await expect(holdfast.botGuilds.joined({ id: 'x' })).rejects.toMatchObject({ code: 'INVALID_OPTION' })
    await holdfast.botGuilds.joined({ id: '5' })
    expect(await holdfast.botGuilds.has('5')).toBe(true)
    const signal = AbortSignal.abort(new Error('no time'))
    await expect(holdfast.botGuilds.sync({ signal })).rejects.toThrow('no time')
  })
})

describe('a list of the bot’s guilds', () => {
  const clock = createVirtualClock()
  const tracked = (pages: unknown[], store?: Partial<BotGuildStore>) => {
    let next = 0
    return new TrackedBotGuilds({
      clock,
      store:
        store &&
        (async () => ({
          read: async () => ({ ids: [], isKnown: false }),
          change: async () => {},
          replace: async () => {},
          ...store,
        })),
      page: async () => {
        const page = pages[next++]
        if (page instanceof Error) throw page
        return page
      },
    })
  }
  const page = (...ids: number[]) => ids.map((id) => ({ id: String(id), name: 'x' }))

  test('does not end with a page that is not full', async () => {
    expect(await tracked([page(1, 2), page(3), page(4, 5, 6), []]).sync()).toBe(6)
  })

  test.each<[string, unknown[]]>([
    ['is none', ['<html>']],
    ['is cut in an entry', [page(1, 2), [{ id: '3' }, null], []]],
    ['has an id that is none', [[{ id: 'abc' }], []]],
    ['repeats itself', [page(1, 2), page(1, 2), page(1, 2)]],
    ['repeats a part of itself', [page(1, 2, 3), page(3, 4), []]],
    ['breaks off', [page(1, 2), new Error('connection lost')]],
  ])('that %s changes nothing', async (_what, pages) => {
    let replaced = false
    const botGuilds = tracked([...pages], {
      replace: async () => {
        replaced = true
      },
    })
    await botGuilds.joined({ id: '9' })
    const error = await botGuilds.sync().catch((error: unknown) => error)
    if (_what !== 'breaks off') expect(error).toMatchObject({ code: 'DISCORD_WRONG_SHAPE' })
    expect(error).toBeInstanceOf(Error)
    expect(replaced).toBe(false)
    expect(await botGuilds.has('9')).toBe(true)
    expect(await botGuilds.has('1')).toBe(false)
  })

  test('an event that the database could not be told holds here, and is told later', async () => {
    const told: string[] = []
    let away = true
    const botGuilds = tracked([], {
      change: async ({ id }) => {
        if (away) throw new Error('away')
        told.push(id)
      },
      read: async () => ({ ids: ['1', ...told], isKnown: true }),
    })
    await expect(botGuilds.joined({ id: '9' })).rejects.toThrow('away')
    expect(await botGuilds.has('9')).toBe(true)
    away = false
    await clock.advance(16_000)
    await botGuilds.has('9')
    await clock.advance(1)
    expect(told).toEqual(['9'])
    expect(await botGuilds.has('1')).toBe(true)
  })
})
