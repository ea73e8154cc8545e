import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { createHoldfast, type DiscordFetchOptions, type Holdfast } from 'holdfast'
import { describe, expect, test } from 'vitest'
import { DiscordClient } from '../../src/discord/discord-fetch.ts'
import type { FleetNews, InvalidRequests, Notice } from '../../src/discord/fleet.ts'
import { routeOf } from '../../src/discord/route.ts'
import { Events } from '../../src/events/events.ts'
import { type Clock, systemClock } from '../../src/time/clock.ts'
import {
  beside,
  freshNamespace,
  openFleet,
  openRoom,
  REDIS_URL,
  type Room,
  SECRET,
  SERVERS,
  until,
} from '../redis/room.ts'
import { type RedisServer, startRedisServer } from '../support/redis-server.ts'
import { answeringDispatcher, failureOf, HEADERS, LIMITED } from './scripted-discord.ts'

/** How soon others respect what one has met; on a busy machine. */
const NEWS_MS = 150

type Answer = readonly [status: number, body: unknown, headers?: Record<string, string>]
const OK = (path: string): Answer => [200, path.endsWith('/guilds') ? [] : { id: '1' }]
const UNAUTHORIZED: Answer = [401, { message: '401: Unauthorized', code: 0 }]

/** A Discord on a real socket, whose answers the test writes, and the processes that ask it. */
async function openWorld(redis: string | RedisServer = REDIS_URL!) {
  let answer: (path: string, token: string) => Answer | Promise<Answer> = OK
  const asked: string[] = []
  const server = createServer(async (request, response) => {
    const token = (request.headers.authorization ?? '').replace(/^\w+ /, '')
    asked.push(request.url!)
    const [status, body, headers] = await answer(request.url!, token)
    response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const namespace = freshNamespace()
  const opened: Holdfast[] = []
  return {
    asked,
    answers: (next: typeof answer) => {
      answer = next
    },
    process: async () => {
      const holdfast = createHoldfast({
        discord: { baseUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, maxRetries: 0 },
        redis: {
          url: typeof redis === 'string' ? redis : redis.url,
          namespace,
          readTimeoutMs: 1_000,
          writeTimeoutMs: 2_000,
        },
        secret: SECRET,
      })
      opened.push(holdfast)
      await holdfast.ready({ deadlineMs: 10_000 })
      return holdfast
    },
    async [Symbol.asyncDispose]() {
      for (const holdfast of opened) await holdfast.close({ deadlineMs: 0 })
      server.closeAllConnections()
      server.close()
    },
  }
}

const ask = (holdfast: Holdfast, path: string, token: string, options: DiscordFetchOptions = {}) =>
  holdfast.discordFetch(path, token, { maxWaitMs: 50, ...options })

const ME = '/users/@me'
const GUILDS = '/users/@me/guilds'
const MEMBER = '/guilds/197038439483310086/members/1'

interface Case {
  readonly limited: Answer
  readonly path: string
  /** Calls of others that are held, and that go on. */
  readonly held: ReadonlyArray<readonly [path: string, principal: string]>
  readonly free: ReadonlyArray<readonly [path: string, principal: string]>
  readonly scope: string
}

const CASES: Record<string, Case> = {
  'a bucket': {
    limited: [429, LIMITED(30), { ...HEADERS(1, 0, 30), 'x-ratelimit-scope': 'user' }],
    path: GUILDS,
    held: [[GUILDS, 'p']],
    free: [
      [GUILDS, 'q'],
      [ME, 'p'],
    ],
    scope: 'user',
  },
  'a route, whose bucket has room': {
    limited: [429, LIMITED(30), { ...HEADERS(5, 4, 30), 'x-ratelimit-scope': 'user' }],
    path: GUILDS,
    held: [[GUILDS, 'p']],
    free: [
      [GUILDS, 'q'],
      [ME, 'p'],
    ],
    scope: 'user',
  },
  'a principal': {
    limited: [429, LIMITED(30, { global: true }), { 'x-ratelimit-global': 'true', 'x-ratelimit-scope': 'global' }],
    path: GUILDS,
    held: [
      [GUILDS, 'p'],
      [ME, 'p'],
    ],
    free: [[ME, 'q']],
    scope: 'global',
  },
  'a resource that all share': {
    limited: [429, LIMITED(30), { ...HEADERS(5, 4, 30), 'x-ratelimit-scope': 'shared' }],
    path: MEMBER,
    held: [
      [MEMBER, 'p'],
      [MEMBER, 'q'],
    ],
    free: [['/guilds/2/members/1', 'p']],
    scope: 'shared',
  },
  'our address': {
    limited: [429, {}, { 'retry-after': '30' }],
    path: GUILDS,
    held: [
      [GUILDS, 'p'],
      [ME, 'q'],
    ],
    free: [],
    scope: 'egress',
  },
}

describe.skipIf(!REDIS_URL).concurrent('a 429 that one process meets', () => {
  test.each(Object.entries(CASES))(
    'about %s is respected by the others, and by who comes later',
    async (_what, about) => {
      await using world = await openWorld()
      const [a, b] = [await world.process(), await world.process()]
      world.answers((path) => (path === about.path ? about.limited : OK(path)))
      const met = await failureOf(ask(a, about.path, 'token-a', { principal: 'p' }))
      expect(met).toMatchObject({ code: 'DISCORD_RATE_LIMITED', local: false, scope: about.scope })
      await sleep(NEWS_MS)
      world.answers(OK)
      world.asked.length = 0
      for (const who of [b, await world.process()]) {
        for (const [path, principal] of about.held) {
          const error = await failureOf(ask(who, path, `token-b-${principal}`, { principal }))
          expect(error, `${path} of ${principal}`).toMatchObject({ local: true, scope: about.scope })
          expect(error.retryAfterMs).toBeGreaterThan(20_000)
          expect(error.retryAfterMs).toBeLessThanOrEqual(30_000)
        }
        expect(world.asked).toEqual([])
        for (const [path, principal] of about.free) await ask(who, path, `token-c-${principal}`, { principal })
        world.asked.length = 0
      }
    },
  )

  test('and its hold ends when it ends, also for who came later', async () => {
    await using world = await openWorld()
    const a = await world.process()
    world.answers(() => [429, LIMITED(1), { ...HEADERS(1, 0, 1), 'x-ratelimit-scope': 'user' }])
    await failureOf(ask(a, GUILDS, 'token', { principal: 'p' }))
    const late = await world.process()
    world.answers(OK)
    world.asked.length = 0
    const began = performance.now()
    await ask(late, GUILDS, 'token', { principal: 'p', maxWaitMs: 5_000 })
    expect(performance.now() - began).toBeLessThan(1_500)
    expect(world.asked).toHaveLength(1)
  })
})

describe.skipIf(!REDIS_URL).concurrent('what else one process learns', () => {
  test('a dead token is never sent again, by anybody', async () => {
    await using world = await openWorld()
    const [a, b] = [await world.process(), await world.process()]
    world.answers((path, token) => (token === 'dead' ? UNAUTHORIZED : OK(path)))
    await failureOf(ask(a, ME, 'dead'))
    await sleep(NEWS_MS)
    world.asked.length = 0
    for (const who of [b, await world.process()]) {
      expect(await failureOf(ask(who, ME, 'dead'))).toMatchObject({ status: 401 })
      expect(world.asked).toEqual([])
      await ask(who, ME, 'alive')
      world.asked.length = 0
    }
  })

  test('a dead token stays dead for all, though answers to what was under way come after its 401', async () => {
    await using world = await openWorld()
    const [a, b, c] = [await world.process(), await world.process(), await world.process()]
    const answered = Promise.withResolvers<void>()
    world.answers(async (path) => {
      if (path === ME) return UNAUTHORIZED
      await answered.promise
      return OK(path)
    })
    const underWay = [a, b].map((who) => ask(who, GUILDS, 'dead'))
    await until(() => world.asked.length === 2, 5_000, 'both calls to be under way')
    await failureOf(ask(a, ME, 'dead'))
    await sleep(NEWS_MS)
    answered.resolve()
    expect(await Promise.all(underWay)).toEqual([[], []])
    await sleep(NEWS_MS)
    world.answers(OK)
    world.asked.length = 0
    for (const who of [a, b, c, await world.process()])
      expect(await failureOf(ask(who, ME, 'dead'))).toMatchObject({ status: 401, attempts: 0 })
    expect(world.asked).toEqual([])
  })

  test('that an operator lifted a block: nobody waits for it any longer', async () => {
    await using world = await openWorld()
    const [a, b] = [await world.process(), await world.process()]
    world.answers(() => [429, {}, { 'retry-after': '60' }])
    await failureOf(ask(a, ME, 'token'))
    await until(() => b.stats().discord.breaker === 'open', 2_000, 'the ban to be known')
    world.answers(OK)
    b.liftBlock()
    expect(await ask(b, ME, 'token')).toEqual({ id: '1' })
    await until(() => a.stats().discord.breaker === 'closed', 2_000, 'the lift to be known')
    expect(await ask(a, ME, 'token')).toEqual({ id: '1' })
  })

  test('that a ban is over: the others need no probe of their own', async () => {
    await using world = await openWorld()
    const [a, b] = [await world.process(), await world.process()]
    world.answers(() => [429, {}, { 'retry-after': '1' }])
    await failureOf(ask(a, ME, 'token'))
    await until(() => b.stats().discord.breaker === 'open', 2_000, 'the ban to be known')
    world.answers(OK)
    await sleep(1_050)
    await ask(a, ME, 'token', { maxWaitMs: 2_000 })
    await until(() => b.stats().discord.breaker === 'closed', 2_000, 'its end to be known')
    expect(b.stats().discord.calls).toBe(0)
  })

  test('how near the ban for invalid requests is; who comes later takes over the count', async () => {
    await using world = await openWorld()
    const [a, b] = [await world.process(), await world.process()]
    world.answers(() => UNAUTHORIZED)
    for (let nth = 0; nth < 20; nth++) await failureOf(ask(a, ME, `dead-${nth}`))
    for (let nth = 0; nth < 10; nth++) await failureOf(ask(b, ME, `dead-too-${nth}`))
    const used = (who: Holdfast) => who.stats().discord.invalidBudgetUsed
    for (const who of [a, b]) await until(() => used(who) === 0.003, 2_000, 'both to have counted')
    const late = await world.process()
    expect(used(late)).toBe(0.003)
    await failureOf(ask(late, ME, 'dead-as-well'))
    for (const who of [a, b, late]) await until(() => used(who) === 0.0031, 2_000, 'all to have counted')
  })

  test('how much strangers have spent: together they get what one process would give them', async () => {
    await using world = await openWorld()
    const [a, b] = [await world.process(), await world.process()]
    await ask(a, ME, 'known')
    world.answers((path, token) => (token === 'known' ? OK(path) : UNAUTHORIZED))
    for (const [from, who] of [
      [0, a],
      [250, b],
    ] as const)
      await Promise.all(Array.from({ length: 250 }, (_, nth) => failureOf(ask(who, ME, `made-up-${from + nth}`))))
    await until(() => a.stats().discord.invalidBudgetUsed >= 0.05, 2_000, 'everything to be counted')
    world.asked.length = 0
    const late = await world.process()
    for (const who of [a, b, late]) {
      expect(await failureOf(ask(who, ME, 'one-more'))).toMatchObject({ local: true, scope: 'egress' })
      expect(world.asked).toEqual([])
    }
    await ask(a, ME, 'known')
  })
})

function listenTo(room: Room) {
  const told: Array<{ notice: Notice; forMs: number; at: number }> = []
  const invalid: InvalidRequests[] = []
  let totals: readonly InvalidRequests[] = []
  const news: FleetNews = {
    noticed: (notice, forMs) => told.push({ notice, forMs, at: performance.now() }),
    egressFree: () => {},
    invalidSent: (requests) => invalid.push(requests),
    invalidTotals: (requests) => {
      totals = requests
    },
  }
  room.fleet.listen(news)
  return { told, invalid, total: () => totals.reduce((sum, { count }) => sum + count, 0) }
}

describe.skipIf(!REDIS_URL)('news', () => {
  test('reach the others within 50 ms, nearly always', async () => {
    const [a, b] = (await openFleet(2)) as [Room, Room]
    const { told } = listenTo(b)
    const took: number[] = []
    for (let nth = 0; nth < 50; nth++) {
      const saidAt = performance.now()
      a.fleet.announce({ about: 'principal', principal: `${nth}` }, 10_000)
      await until(() => told.length > nth, 2_000, 'the news')
      took.push(told[nth]!.at - saidAt)
    }
    took.sort((one, two) => one - two)
    expect(took[Math.floor(took.length * 0.9)]).toBeLessThan(50)
    for (const { connection } of [a, b]) connection.close()
  })

  test('are the same on the board as they were told, with the time that is left', async () => {
    const [a, b] = (await openFleet(2)) as [Room, Room]
    const { told } = listenTo(b)
    const route = routeOf('GET', MEMBER, 0)
    const notices: Notice[] = [
      { about: 'egress' },
      { about: 'principal', principal: 'p' },
      { about: 'resource', route },
      { about: 'route', principal: 'p', route },
      { about: 'bucket', principal: 'p', route },
      { about: 'token', tokenId: 't' },
      { about: 'token-lives', tokenId: 'u' },
      { about: 'egress-lifted' },
    ]
    for (const notice of notices) a.fleet.announce(notice, 20_000.5)
    a.fleet.announce({ about: 'principal', principal: 'soon over' }, 100)
    await until(() => told.length === notices.length + 1, 2_000, 'the news')
    await sleep(150)
    const late = openRoom({ namespace: a.namespace })
    const heardLate = listenTo(late)
    await late.up()
    const about = (list: typeof told) => list.map(({ notice }) => JSON.stringify(notice)).sort()
    expect(about(heardLate.told)).toEqual(about(told.slice(0, -1)))
    for (const { forMs } of heardLate.told) {
      expect(forMs).toBeGreaterThan(10_000)
      expect(forMs).toBeLessThan(19_900)
    }
    for (const { connection } of [a, b, late]) connection.close()
  })
})

/** What a process of the fleet asks Discord with, at a time of its own. */
function openClient(
  room: Room,
  dispatcher: ReturnType<typeof answeringDispatcher>['dispatcher'],
  clock: Clock = systemClock,
) {
  return new DiscordClient({
    baseUrl: new URL('https://discord.test/api/v10'),
    userAgent: 'test',
    timeoutMs: 10_000,
    clock,
    random: () => 0,
    events: new Events(clock),
    maxRetries: 0,
    retryDelayMs: 1000,
    maxWaitMs: 0,
    retryOn: 'rate-limit',
    dispatcher,
    fleet: room.fleet,
  })
}

describe.skipIf(!REDIS_URL).concurrent('of two notices the later counts', () => {
  test('for who comes later and who comes back: a lifted block, whichever would have lasted longer', async () => {
    await using world = await openWorld()
    const [a, b] = [await world.process(), await world.process()]
    world.answers(() => [429, {}, { 'retry-after': '80000' }])
    await failureOf(ask(a, ME, 'token'))
    await until(() => b.stats().discord.breaker === 'open', 2_000, 'the ban to be known')
    world.answers(OK)
    b.liftBlock()
    await until(() => a.stats().discord.breaker === 'closed', 2_000, 'the lift to be known')
    expect(await ask(await world.process(), ME, 'token')).toEqual({ id: '1' })
    world.answers(() => [429, {}, { 'retry-after': '30' }])
    await failureOf(ask(b, ME, 'token'))
    expect(await failureOf(ask(await world.process(), ME, 'token'))).toMatchObject({ local: true, scope: 'egress' })
  })

  test('for who lifted it, and loses its connection afterwards', async () => {
    const [a, b] = (await openFleet(2)) as [Room, Room]
    const { dispatcher } = answeringDispatcher(() => [200, { id: '1' }])
    const client = openClient(b, dispatcher)
    a.fleet.announce({ about: 'egress', route: 'GET /x' }, 80_000)
    await until(() => client.stats().breaker === 'open', 2_000, 'the ban to be known')
    client.liftBlock()
    const { told } = listenTo(a)
    await until(() => told.length === 1, 2_000, 'the lift to be known')
    b.connection.renew()
    await b.away()
    await b.up()
    expect(await client.fetch('/x', 'abc')).toEqual({ id: '1' })
    await client.close()
    for (const { connection } of [a, b]) connection.close()
  })

  test.each(['tried again', 'issued again'])('about a token: where it is %s, it lives for all', async (how) => {
    const [a, b] = (await openFleet(2)) as [Room, Room]
    let passedMs = 0
    // Only the token's time passes: what time it is in Redis is estimated anew every 5 s at the latest.
    const clock = { ...systemClock, monotonic: () => systemClock.monotonic() + passedMs }
    let dead = true
    const { asked, dispatcher } = answeringDispatcher(() => (dead ? [401, UNAUTHORIZED[1]] : [200, { id: '1' }]))
    const [one, other] = [openClient(a, dispatcher, clock), openClient(b, dispatcher)]
    await failureOf(one.getCurrentUser('abc'))
    await sleep(NEWS_MS)
    expect(await failureOf(other.fetch('/x', 'abc'))).toMatchObject({ status: 401, attempts: 0 })
    dead = false
    if (how === 'tried again') {
      passedMs = 10 * 60_000
      await one.getCurrentUser('abc')
    } else one.tokenIssued('abc')
    await until(() => other.isDeadToken('abc') === false, 2_000, 'the news')
    expect(await other.fetch('/x', 'abc')).toEqual({ id: '1' })
    const late = openRoom({ namespace: a.namespace })
    const third = openClient(late, dispatcher)
    await late.up()
    expect(await third.fetch('/x', 'abc')).toEqual({ id: '1' })
    expect(asked).toHaveLength(how === 'tried again' ? 4 : 3)
    for (const client of [one, other, third]) await client.close()
    for (const { connection } of [a, b, late]) connection.close()
  })
})

describe.skipIf(!REDIS_URL)('invalid requests', () => {
  test('that were counted when the totals were read are not counted again when the message comes late', async () => {
    const a = await openRoom().up()
    const channel = `${a.connection.prefix}backplane`
    using listening = await beside()
    using network = await beside()
    const said: string[] = []
    await listening.subscribe(channel, (message) => void said.push(message))
    a.fleet.invalidSent(true)
    await until(() => said.length === 1, 5_000, 'the message')
    const late = openRoom({ namespace: a.namespace })
    const heard = listenTo(late)
    await late.up()
    expect(heard.total()).toBe(1)
    await network.publish(channel, said[0]!)
    a.fleet.invalidSent(false)
    // What was sent after the totals were read counts.
    await until(() => heard.invalid.length > 0, 5_000, 'the news')
    expect(heard.invalid).toEqual([{ agoMs: expect.any(Number), count: 1, strangers: 0 }])
    for (const { connection } of [a, late]) connection.close()
  })
})

describe.skipIf(!SERVERS).concurrent('what is learned while Redis is away', () => {
  test('is said when it is back: holds for the time that is left, dead tokens, invalid requests', async () => {
    const server = await startRedisServer()
    {
      await using world = await openWorld(server)
      const [a, b] = [await world.process(), await world.process()]
      await server.kill()
      for (const who of [a, b]) await until(() => who.stats().redis === 'away', 5_000, 'Redis to be away')
      const { limited } = CASES['a principal']!
      world.answers((path, token) => (token === 'dead' ? UNAUTHORIZED : token === 'limited' ? limited : OK(path)))
      await failureOf(ask(a, ME, 'limited', { principal: 'p' }))
      await failureOf(ask(a, ME, 'dead', { principal: 'q' }))
      await ask(b, ME, 'token', { principal: 'p' })
      await server.start()
      for (const who of [a, b]) await until(() => who.stats().redis === 'up', 10_000, 'Redis to be back')
      await sleep(NEWS_MS)
      world.asked.length = 0
      for (const who of [b, await world.process()]) {
        expect(await failureOf(ask(who, ME, 'token', { principal: 'p' }))).toMatchObject({ local: true })
        expect(await failureOf(ask(who, ME, 'dead', { principal: 'q' }))).toMatchObject({ status: 401 })
        // The 429 and the 401.
        expect(who.stats().discord.invalidBudgetUsed).toBe(0.0002)
      }
      expect(world.asked).toEqual([])
    }
    await server.stop()
  })

  test('is not said where it is over by then, and is counted at its own time', async () => {
    const server = await startRedisServer()
    let passedMs = 0
    const clock = { ...systemClock, monotonic: () => systemClock.monotonic() + passedMs }
    const a = await openRoom({ url: server.url, clock }).up()
    const b = await openRoom({ url: server.url, namespace: a.namespace }).up()
    const heard = listenTo(b)
    await server.kill()
    await a.away()
    const pass = async (ms: number) => {
      // What was tried before has to have failed before the time moves.
      await sleep(20)
      passedMs += ms
    }
    for (let nth = 0; nth < 500; nth++) a.fleet.invalidSent(nth % 2 === 0)
    a.fleet.announce({ about: 'principal', principal: 'over' }, 60_000)
    await pass(11 * 60_000)
    for (let nth = 0; nth < 40; nth++) a.fleet.invalidSent(nth % 2 === 0)
    a.fleet.announce({ about: 'principal', principal: 'still held' }, 600_000)
    await pass(5 * 60_000)
    for (let nth = 0; nth < 3; nth++) a.fleet.invalidSent(false)
    await sleep(20)
    await server.start()
    await Promise.all([a.up(), b.up()])
    await until(() => heard.told.length > 0, 2_000, 'the news')
    expect(heard.told.map(({ notice }) => notice)).toEqual([{ about: 'principal', principal: 'still held' }])
    expect(heard.told[0]!.forMs).toBeLessThanOrEqual(300_000)
    const late = openRoom({ url: server.url, namespace: a.namespace })
    const heardLate = listenTo(late)
    await late.up()
    expect(heardLate.total()).toBe(43)
    for (const { connection } of [a, b, late]) connection.close()
    await server.stop()
  })

  test('is bounded, however much it is', async () => {
    const server = await startRedisServer()
    let passedMs = 0
    const clock = { ...systemClock, monotonic: () => systemClock.monotonic() + passedMs }
    const a = await openRoom({ url: server.url, clock }).up()
    await server.kill()
    await a.away()
    for (let nth = 0; nth < 3_000; nth++) {
      a.fleet.announce({ about: 'principal', principal: `${nth}` }, 3_600_000)
      a.fleet.invalidSent(true)
      passedMs += 1_000
      if (nth % 100 === 0) await sleep(1)
    }
    await server.start()
    const late = openRoom({ url: server.url, namespace: a.namespace })
    await a.up()
    const heard = listenTo(late)
    await late.up()
    expect(heard.told.length).toBeLessThanOrEqual(1_000)
    expect(heard.told.length).toBeGreaterThan(900)
    expect(heard.total()).toBeLessThanOrEqual(610)
    expect(heard.total()).toBeGreaterThan(400)
    for (const { connection } of [a, late]) connection.close()
    await server.stop()
  })
})
