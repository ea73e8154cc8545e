import { setTimeout as sleep } from 'node:timers/promises'
import { type Simulator, type SimulatorOptions, startSimulator } from 'holdfast/simulator'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { startRedisServer } from '../support/redis-server.ts'
import { type FleetOptions, type Member, openFleet, type Reply, until } from './fleet.ts'
import { GUILDS, SECOND } from './world.ts'

// Real processes, a real Redis and real time. Bounds are generous where a busy machine could break them; the figures
// themselves are the benches'.
const servers = inject('redisServers')

/** A Discord, a Redis of its own and a fleet in front of them. */
async function open(options: { simulator?: SimulatorOptions; fleet?: Partial<FleetOptions>; redis?: 'down' } = {}) {
  const discord = await startSimulator(options.simulator)
  const redis = await startRedisServer()
  if (options.redis === 'down') await redis.kill()
  const fleet = await openFleet({ discord, redisUrl: redis.url, ...options.fleet })
  const guildCalls = () => discord.calls.filter(({ route }) => route === GUILDS)
  return {
    discord,
    redis,
    fleet,
    guildCalls,
    user: discord.users[0]!,
    async [Symbol.asyncDispose]() {
      redis.thaw()
      try {
        await fleet[Symbol.asyncDispose]()
      } finally {
        await redis.stop()
        await discord.close()
      }
    },
  }
}

/** Visits by random users, `width` at a time, until the returned function is called; it resolves to all replies. */
function traffic(fleet: { next(): Member | undefined }, users: Simulator['users'], width = 8) {
  const replies: Reply[] = []
  let over = false
  let turn = 0
  const visitor = async () => {
    while (!over) {
      const member = fleet.next()
      if (!member) throw new Error('nobody is there to answer')
      replies.push(await member.visit(users[turn++ % users.length]!))
      await sleep(4)
    }
  }
  const visitors = Array.from({ length: width }, visitor)
  return async () => {
    over = true
    await Promise.all(visitors)
    return replies
  }
}

const slowest = (replies: readonly Reply[]) => Math.max(...replies.map((reply) => reply.receivedAt - reply.sentAt))
const errors = (replies: readonly Reply[]) => replies.filter(({ status }) => status !== 200)

describe.skipIf(!servers)('four processes with one Redis', () => {
  let world: Awaited<ReturnType<typeof open>>
  let next = 0
  beforeAll(async () => {
    world = await open({
      simulator: { latencyMs: 20, users: 20, userGuildsLimit: { limit: 50, windowMs: 1000, kind: 'fixed' } },
      fleet: { patienceWithRedisMs: 5_000 },
    })
  })
  afterAll(() => world[Symbol.asyncDispose]())

  /** A user whom no process knows yet, and the calls made for them. */
  function newcomer() {
    const user = world.discord.users[next++]!
    return { user, calls: () => world.guildCalls().filter(({ userId }) => userId === user.id) }
  }

  test('asks Discord once for 10 000 callers of one cold key in 4 processes', async () => {
    const { user, calls } = newcomer()
    const { id, accessToken } = user
    const began = performance.now()
    const answers = await Promise.all(
      world.fleet.members.map((member) => member.ask(`/many?callers=2500&as=${id}&as=${accessToken}`)),
    )
    const tookMs = performance.now() - began
    for (const { body } of answers) expect(body).toEqual({ answered: 2_500, sizes: [20] })
    expect(calls()).toHaveLength(1)
    expect(tookMs).toBeLessThan(3 * SECOND)
  })

  test('respects in every process a 429 that one has met', async () => {
    const { discord, fleet } = world
    const { user, calls } = newcomer()
    discord.fault('rate-limit', { userId: user.id, route: GUILDS, retryAfterMs: 60_000, times: 1 })
    const first = await fleet.members[0]!.visit(user)
    expect(first).toMatchObject({ status: 429, code: 'RATE_LIMITED' })
    await sleep(50)
    const others = await Promise.all(fleet.members.map((member) => member.visit(user)))
    for (const reply of others) {
      expect(reply).toMatchObject({ status: 429, code: 'RATE_LIMITED' })
      expect(reply.retryAfterMs).toBeGreaterThan(50_000)
    }
    // Also one that begins only now.
    expect(await (await fleet.restart(3)).visit(user)).toMatchObject({ status: 429 })
    expect(calls()).toHaveLength(1)
    // It was about this user alone.
    expect(await fleet.members[1]!.visit(newcomer().user)).toMatchObject({ status: 200 })
  })

  test('asks Discord nothing in any process while one knows of a ban', async () => {
    const { discord, fleet } = world
    const before = discord.calls.length
    discord.fault('ban', { retryAfterMs: 2_000, times: 1 })
    const first = fleet.members[1]!.visit(newcomer().user)
    await until(() => discord.calls.length > before, SECOND, 'one process meets the ban')
    await sleep(50)
    const others = fleet.members.map((member) => member.visit(newcomer().user))
    // It is over before anybody's patience is: all of them wait for its end.
    for (const reply of await Promise.all([first, ...others])) expect(reply).toMatchObject({ status: 200 })
    const [banned, ...later] = discord.calls.slice(before)
    for (const call of later) expect(call.at - banned!.at).toBeGreaterThanOrEqual(2_000 - 1)
  })

  test('refuses in every process a token that Discord has refused to one', async () => {
    const { discord, fleet } = world
    const { user, calls } = newcomer()
    for (const member of fleet.members) expect(await member.visit(user)).toMatchObject({ status: 200 })
    discord.revoke(user.id)
    expect(await fleet.members[0]!.visit(user, { maxAgeMs: 0 })).toMatchObject({ status: 401 })
    await sleep(50)
    for (const member of fleet.members)
      expect(await member.visit(user)).toMatchObject({ status: 401, code: 'UNAUTHENTICATED' })
    expect(calls().filter(({ status }) => status === 401)).toHaveLength(1)
  })

  test('keeps for all what was loaded for somebody who accepts nothing older', async () => {
    const { fleet } = world
    const { user, calls } = newcomer()
    expect(await fleet.members[0]!.visit(user, { maxAgeMs: 100 })).toMatchObject({ status: 200, source: 'load' })
    await sleep(300)
    for (const member of fleet.members.slice(1))
      expect(await member.visit(user)).toMatchObject({ status: 200, source: 'redis' })
    expect(calls()).toHaveLength(1)
  })

  test('forgets a user in all processes: 50 ms later none answers the old list', async () => {
    const { discord, fleet } = world
    const { user, calls } = newcomer()
    for (let round = 0; round < 10; round++) {
      const before = await Promise.all(fleet.members.map((member) => member.visit(user)))
      const joined = `90000000000000${String(round).padStart(3, '0')}`
      for (const reply of before) expect(reply.guildIds).not.toContain(joined)
      discord.joinGuild(user.id, { id: joined, name: 'Joined just now' })
      await fleet.members[round % 4]!.invalidate(user.id)
      await sleep(50)
      const after = await Promise.all(fleet.members.map((member) => member.visit(user)))
      for (const reply of after) expect(reply.guildIds).toContain(joined)
    }
    // One load each time.
    expect(calls()).toHaveLength(11)
  })

  test('lets somebody who was removed from a guild in nowhere once one process has refreshed', async () => {
    const { discord, fleet } = world
    const { user, calls } = newcomer()
    const guildId = user.guilds[3]!.id
    for (const member of fleet.members) expect((await member.visit(user)).guildIds).toContain(guildId)
    discord.leaveGuild(user.id, guildId)
    await sleep(1_000)
    const refreshed = await fleet.members[2]!.visit(user, { maxAgeMs: 500 })
    expect(refreshed.guildIds).not.toContain(guildId)
    await sleep(50)
    for (const member of fleet.members) expect((await member.visit(user)).guildIds).not.toContain(guildId)
    expect(calls()).toHaveLength(2)
  })
})

describe.skipIf(!servers)('a fleet', () => {
  test('is restarted one by one under traffic without a call to Discord and without an error', async () => {
    await using world = await open({
      simulator: { users: 1_000, userGuildsLimit: { limit: 50, windowMs: 1000, kind: 'fixed' } },
      fleet: { patienceWithRedisMs: 5_000 },
    })
    const { users } = world.discord
    const { fleet } = world
    for (let from = 0; from < users.length; from += 100)
      await Promise.all(users.slice(from, from + 100).map((user, index) => fleet.members[index % 4]!.visit(user)))
    expect(world.guildCalls()).toHaveLength(1_000)
    const end = traffic(fleet, users)
    for (const slot of [0, 1, 2, 3]) await fleet.restart(slot)
    await sleep(200)
    const replies = await end()
    expect(errors(replies)).toEqual([])
    expect(replies.length).toBeGreaterThan(500)
    expect(replies.every(({ stale }) => stale === false)).toBe(true)
    expect(world.guildCalls()).toHaveLength(1_000)
  })

  test.each(['frozen', 'killed'] as const)(
    'answers on as before while Redis is %s, and nobody waits long',
    async (how) => {
      const users = 60
      await using world = await open({ simulator: { users } })
      const { discord, fleet, redis } = world
      const known = discord.users.slice(0, users / 2)
      for (const member of fleet.members) await Promise.all(known.map((user) => member.visit(user)))
      expect(world.guildCalls()).toHaveLength(known.length)
      const end = traffic(fleet, known)
      await sleep(300)
      if (how === 'frozen') redis.freeze()
      else await redis.kill()
      await sleep(50)
      // Nobody has these: everybody loads for itself.
      const strangers = await Promise.all(discord.users.slice(users / 2).map((user) => fleet.next()!.visit(user)))
      await sleep(1_000)
      const replies = await end()
      expect(errors(replies)).toEqual([])
      expect(errors(strangers)).toEqual([])
      expect(slowest(replies)).toBeLessThan(500)
      expect(slowest(strangers)).toBeLessThan(1_000)
      for (const member of fleet.members) expect((await member.stats()).redis).toBe('away')
      if (how === 'frozen') redis.thaw()
      else await redis.start()
      for (const member of fleet.members)
        await until(async () => (await member.stats()).redis === 'up', 6 * SECOND, 'Redis is noticed')
      expect(errors(await Promise.all(known.map((user) => fleet.next()!.visit(user))))).toEqual([])
    },
  )

  test('goes on when the process that loads is killed: the others take over after at most one lease', async () => {
    await using world = await open()
    const { discord, fleet, user } = world
    const endHang = discord.fault('hang', { route: GUILDS, times: 1 })
    const lost = fleet.members[0]!.visit(user)
    await until(() => world.guildCalls().length === 1, 3 * SECOND, 'the first process asks')
    const waiting = fleet.members.slice(1).map((member) => member.visit(user))
    await sleep(100)
    expect(world.guildCalls()).toHaveLength(1)
    const killedAt = Date.now()
    await fleet.members[0]!.kill()
    endHang()
    expect((await lost).status).toBe(0)
    const replies = await Promise.all(waiting)
    expect(errors(replies)).toEqual([])
    // The lease is 2 s.
    for (const reply of replies) expect(reply.receivedAt - killedAt).toBeLessThan(3 * SECOND)
    expect(world.guildCalls()).toHaveLength(2)
    delete fleet.members[0]
  })

  test('keeps what it holds when Redis comes back empty while Discord is down', async () => {
    await using world = await open({ fleet: { processes: 2, options: { cache: { freshMs: 300 } } } })
    const { discord, fleet, redis, user } = world
    const [one, two] = fleet.members
    expect(await one!.visit(user)).toMatchObject({ status: 200, stale: false })
    await redis.kill()
    discord.fault('server-error')
    await redis.start()
    for (const member of [one!, two!])
      await until(async () => (await member.stats()).redis === 'up', 6 * SECOND, 'Redis is noticed')
    // It holds nothing, and its attempt to load leaves its traces in Redis.
    expect(await two!.visit(user)).toMatchObject({ status: 503 })
    await sleep(300)
    expect(await one!.visit(user)).toMatchObject({ status: 200, stale: true })
  })

  test('starts without Redis, and shares once it is there', async () => {
    await using world = await open({ redis: 'down', fleet: { processes: 2 } })
    const { discord, fleet, redis, user } = world
    expect(fleet.members.map(({ redisAtStart }) => redisAtStart)).toEqual(['away', 'away'])
    expect(await fleet.members[0]!.visit(user)).toMatchObject({ status: 200, source: 'load' })
    await redis.start()
    for (const member of fleet.members)
      await until(async () => (await member.stats()).redis === 'up', 6 * SECOND, 'Redis is noticed')
    const other = discord.users[1]!
    expect(await fleet.members[0]!.visit(other)).toMatchObject({ status: 200, source: 'load' })
    await until(
      async () => (await fleet.members[1]!.visit(other)).source === 'redis' || world.guildCalls().length > 2,
      SECOND,
      'the other process has it',
    )
    expect(world.guildCalls()).toHaveLength(2)
  })
})
