import { createHoldfast, type Holdfast, type HoldfastEvent, type HoldfastOptions } from 'holdfast'
import { createVirtualClock, startSimulator } from 'holdfast/simulator'
import { afterEach, describe, expect, test } from 'vitest'
import { DATABASES } from '../database/databases.ts'

const SECRET = 'a-secret-of-at-least-32-bytes-for-tests'
const HOUR = 3_600_000
const DAY = 24 * HOUR

const cleanUps: Array<() => unknown> = []
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp()
})

describe.each(DATABASES)('the ledger in %s', (_kind, make) => {
  async function house({
    users = 3,
    guildsPerUser = 5,
    ...options
  }: HoldfastOptions & { users?: number; guildsPerUser?: number } = {}) {
    const database = await make()
    cleanUps.push(() => database.drop())
    const clock = createVirtualClock()
    const discord = await startSimulator({ users, guildsPerUser, clock })
    cleanUps.push(() => discord.close())
    const events: HoldfastEvent[] = []
    const open = (more: HoldfastOptions = {}): Holdfast => {
      const holdfast = createHoldfast({
        discord: { baseUrl: discord.url, maxRetries: 0, maxWaitMs: 0, ...options.discord },
        database: database.url,
        secret: SECRET,
        clock,
        ...options,
        ...more,
      })
      holdfast.on((event) => events.push(event))
      cleanUps.push(() => holdfast.close())
      return holdfast
    }
    const as = (index: number) => {
      const { id: userId, accessToken } = discord.users[index]!
      return { userId, accessToken }
    }
    return { clock, discord, database, events, open, as }
  }

  test('a cold start in an outage still knows who is in which guild', async () => {
    const { discord, clock, open, as } = await house()
    const before = open()
    const loaded = await before.memberships(as(0))
    expect(loaded.source).toBe('load')
    await before.close()
    await clock.advance(2 * DAY)
    discord.fault('server-error')
    const after = open()
    const recalled = await after.memberships(as(0))
    expect(recalled).toMatchObject({
      stale: true,
      source: 'ledger',
      reason: 'unavailable',
      fetchedAt: loaded.fetchedAt,
    })
    const byId = (one: { id: string }, other: { id: string }) => (BigInt(one.id) < BigInt(other.id) ? -1 : 1)
    expect(recalled.guilds.toJSON().sort(byId)).toEqual(loaded.guilds.toJSON().sort(byId))
    await expect(after.memberships(as(1))).rejects.toMatchObject({ code: 'DISCORD_SERVER_ERROR' })
  })

  test('it is asked only where nothing is held and Discord cannot be asked', async () => {
    const { clock, discord, open, as } = await house()
    const before = open()
    await before.memberships(as(0))
    await before.close()
    await clock.advance(5_000)
    const holdfast = open()
    expect(await holdfast.memberships(as(0))).toMatchObject({ source: 'load' })
    await clock.advance(2 * HOUR)
    discord.fault('server-error')
    expect(await holdfast.memberships(as(0))).toMatchObject({ source: 'memory', stale: true })
  })

  test('what it gives is as old as the caller takes, and at most ledgerMaxAgeMs', async () => {
    const { clock, discord, open, as } = await house()
    const before = open()
    await before.memberships(as(0))
    await before.close()
    await clock.advance(29 * DAY)
    discord.fault('server-error')
    const holdfast = open()
    expect(await holdfast.ledger.recall(as(0).userId)).toMatchObject({ source: 'ledger' })
    expect(await holdfast.ledger.recall(as(0).userId, { maxAgeMs: 28 * DAY })).toBeUndefined()
    expect(await holdfast.memberships(as(0))).toMatchObject({ source: 'ledger' })
    for (const options of [{ maxAgeMs: 28 * DAY }, { live: true }, { ledger: false }])
      await expect(holdfast.memberships(as(0), options)).rejects.toMatchObject({ code: 'DISCORD_SERVER_ERROR' })
    await clock.advance(1 * DAY + 1_000)
    expect(await holdfast.ledger.recall(as(0).userId)).toBeUndefined()
    await expect(holdfast.memberships(as(0))).rejects.toMatchObject({ code: 'DISCORD_SERVER_ERROR' })
    expect(await open({ ledgerMaxAgeMs: 40 * DAY }).ledger.recall(as(0).userId)).toMatchObject({ source: 'ledger' })
  })

  test('a bearer token that nobody remembers is not believed after a cold start in an outage, while a resolver of the app is', async () => {
    const { discord, open, as } = await house()
    const wire = { baseUrl: discord.url, clientId: discord.clientId, maxRetries: 0, maxWaitMs: 0 }
    const request = new Request('https://dash.example/', { headers: { authorization: `Bearer ${as(0).accessToken}` } })
    const before = open({ discord: wire })
    expect(await before.requireAuth(request)).toMatchObject({ source: 'load' })
    await before.close()
    discord.fault('server-error')
    await expect(open({ discord: wire }).requireAuth(request)).rejects.toMatchObject({ status: 503 })
    expect(await open({ session: () => as(0) }).requireAuth(request)).toMatchObject({ source: 'ledger' })
  })

  test('a route that asks for permissions or changes things takes it only if its own maxAgeMs says so', async () => {
    const { discord, open, as } = await house()
    const before = open()
    const { guilds } = await before.memberships(as(0))
    await before.close()
    discord.fault('server-error')
    const holdfast = open({ session: () => as(0) })
    const guild = [...guilds].find(({ owner }) => owner)?.id ?? [...guilds][0]!.id
    const look = new Request('https://dash.example/')
    const change = new Request('https://dash.example/', { method: 'POST' })
    expect(await holdfast.requireAuth(look, { guild })).toMatchObject({ source: 'ledger', stale: true })
    expect(await holdfast.requireAuth(change, { maxAgeMs: HOUR })).toMatchObject({ source: 'ledger' })
    const { id, permissions } = guilds.get(guild)!
    const names = permissions === 0n ? [] : (['ViewChannel'] as const)
    await expect(holdfast.requireAuth(look, { guild: id, permissions: names })).rejects.toMatchObject({ status: 503 })
    await expect(holdfast.requireAuth(change)).rejects.toMatchObject({ status: 503 })
    await expect(holdfast.requireAuth(change, { guild })).rejects.toMatchObject({ status: 503 })
    await expect(holdfast.requireAuth(look, { live: true })).rejects.toMatchObject({ status: 503 })
  })

  test('leaving a guild removes its row, and a new name or right replaces the old one', async () => {
    const { clock, discord, database, open, as } = await house()
    const holdfast = open()
    const { userId } = as(0)
    const first = await holdfast.memberships(as(0))
    const [left, ...stayed] = [...first.guilds].map(({ id }) => id)
    discord.leaveGuild(userId, left!)
    discord.joinGuild(userId, { id: '4242', name: 'A new\u0000 one \ud800', permissions: '9007199254740993' })
    await clock.advance(2 * HOUR)
    await holdfast.memberships(as(0), { maxAgeMs: 0 })
    const recalled = await holdfast.ledger.recall(userId)
    expect([...recalled!.guilds].map(({ id }) => id).sort()).toEqual(['4242', ...stayed].sort())
    await holdfast.close()
    const next = open()
    const again = await next.ledger.recall(userId)
    expect(again!.guilds.get('4242')).toMatchObject({ permissions: 9007199254740993n })
    expect(again!.guilds.has(left!)).toBe(false)
    expect(await database.query('select user_no from holdfast_membership')).toHaveLength(stayed.length + 1)
  })

  test('whoever is forgotten, revoked or invalidated stays so, also against an answer that is under way', async () => {
    const { clock, discord, database, open, as } = await house()
    const holdfast = open()
    for (const index of [0, 1, 2]) await holdfast.memberships(as(index))
    await clock.advance(5_000)
    const slow = discord.fault('slow', { userId: as(0).userId })
    const late = holdfast.memberships(as(0), { maxAgeMs: 0 }).catch(() => {})
    await clock.advance(0)
    await holdfast.ledger.forget(as(0).userId)
    slow()
    await clock.advance(10_000)
    await late
    discord.revoke(as(1).userId)
    await holdfast.memberships(as(1), { maxAgeMs: 0 }).catch(() => {})
    await holdfast.cache.invalidateUser(as(2).userId)
    for (const index of [0, 1, 2]) expect(await holdfast.ledger.recall(as(index).userId)).toBeUndefined()
    await holdfast.close()
    const next = open()
    for (const index of [0, 1, 2]) expect(await next.ledger.recall(as(index).userId)).toBeUndefined()
    expect(await next.ledger.usersPerGuild()).toEqual([])
    expect(await database.query('select user_no from holdfast_membership')).toEqual([])
    // And can come back.
    expect(await next.memberships(as(0))).toMatchObject({ source: 'load' })
    expect(await next.ledger.recall(as(0).userId)).toMatchObject({ source: 'ledger' })
    // The bare ids go when no answer can be under way any more.
    await clock.advance(2 * HOUR)
    await next.memberships(as(0), { maxAgeMs: 0 })
    await next.close()
    expect(await database.query('select no from holdfast_user')).toHaveLength(1)
  })

  test('tells who uses us: guilds by users, and what it holds', async () => {
    const { clock, discord, open, as } = await house({ users: 4, guildsPerUser: 1 })
    for (const index of [0, 1, 2, 3]) discord.joinGuild(as(index).userId, { id: '77', name: 'Everybody' })
    for (const index of [0, 1]) discord.joinGuild(as(index).userId, { id: '88', name: 'Two' })
    const holdfast = open()
    await holdfast.memberships(as(0))
    await clock.advance(3 * DAY)
    for (const index of [1, 2, 3]) await holdfast.memberships(as(index))
    expect((await holdfast.ledger.usersPerGuild()).slice(0, 2)).toEqual([
      { guildId: '77', name: 'Everybody', users: 4 },
      { guildId: '88', name: 'Two', users: 2 },
    ])
    expect(await holdfast.ledger.usersPerGuild({ limit: 1, verifiedWithinMs: DAY })).toEqual([
      { guildId: '77', name: 'Everybody', users: 3 },
    ])
    expect(await holdfast.ledger.summary()).toMatchObject({
      users: 4,
      ages: [
        { days: 0, users: 3 },
        { days: 3, users: 1 },
      ],
    })
    const exported = await holdfast.ledger.exportUser(as(0).userId)
    expect(exported).toMatchObject({ userId: as(0).userId, guilds: expect.any(Array) })
    expect(exported!.guilds).toHaveLength(3)
    await holdfast.ledger.forget(as(0).userId)
    expect(await holdfast.ledger.exportUser(as(0).userId)).toBeUndefined()
  })

  test('of two processes the fetch that was sent last stands, whatever the order of the answers', async () => {
    const { clock, discord, open, as } = await house()
    const [one, other] = [open(), open()]
    const { userId } = as(0)
    await Promise.all([one.ready({ deadlineMs: 5_000 }), other.ready({ deadlineMs: 5_000 })])
    const early = await one.getUserGuilds(as(0).accessToken)
    const before = early.map(({ id }) => id)
    await clock.advance(5_000)
    const slow = discord.fault('slow', { userId, times: 1 })
    const first = one.memberships(as(0)).catch(() => {})
    await clock.advance(100)
    slow()
    discord.leaveGuild(userId, before[0]!)
    await clock.advance(2_000)
    await other.memberships(as(0))
    await other.close()
    await clock.advance(30_000)
    await first
    await one.close()
    const guilds = (await open().ledger.recall(userId))!.guilds
    expect(guilds.has(before[0]!)).toBe(false)
    expect(guilds.size).toBe(before.length - 1)
  })

  test('bad ids and options are refused, and a user who is none of Discord’s is only not kept', async () => {
    const { events, discord, open, as } = await house()
    const holdfast = open()
    for (const id of ['', 'anna', '12x', '-1', '9223372036854775808', null, 7])
      for (const method of ['recall', 'forget', 'exportUser'] as const)
        await expect(holdfast.ledger[method](id as string)).rejects.toMatchObject({ code: 'INVALID_OPTION' })
    await expect(holdfast.ledger.usersPerGuild({ limit: 0 })).rejects.toMatchObject({ code: 'INVALID_OPTION' })
    await expect(holdfast.ledger.recall('1', { maxAge: 1 } as never)).rejects.toMatchObject({ code: 'INVALID_OPTION' })
    const { accessToken } = as(0)
    expect(await holdfast.memberships({ userId: 'anna', accessToken })).toMatchObject({ source: 'load' })
    discord.fault('server-error')
    await expect(holdfast.memberships({ userId: 'bert', accessToken })).rejects.toMatchObject({
      code: 'DISCORD_SERVER_ERROR',
    })
    expect(events.filter(({ type }) => type === 'ledger.skipped')).toMatchObject([{ reason: 'id', users: 1 }])
  })
})

test('without a database there is no ledger, and it says so', async () => {
  await using holdfast = createHoldfast({})
  await expect(holdfast.ledger.recall('1')).rejects.toMatchObject({ code: 'CONFIG_INVALID', option: 'database' })
  await expect(holdfast.ledger.refreshDue({ olderThanMs: 1, limit: 1, token: async () => null })).rejects.toMatchObject(
    {
      option: 'database',
    },
  )
  await holdfast.ready()
})

test.each([-1, Number.NaN, '30', Number.POSITIVE_INFINITY, null, 366 * 24 * 3_600_000])(
  'ledgerMaxAgeMs %s is a ConfigError',
  (ledgerMaxAgeMs) => {
    expect(() => createHoldfast({ ledgerMaxAgeMs: ledgerMaxAgeMs as number })).toThrow(
      expect.objectContaining({ code: 'CONFIG_INVALID', option: 'ledgerMaxAgeMs' }),
    )
  },
)
