import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { defineScript } from '../../src/redis/script.ts'
import { type Clock, systemClock } from '../../src/time/clock.ts'
import { freePort, startRedisServer } from '../support/redis-server.ts'
import { startProxy } from './proxy.ts'
import { beside, openRoom, type RoomOptions, SERVERS, stall, timed, until } from './room.ts'

/** As in production: what these tests are about. */
const PRODUCTION = { readTimeoutMs: 100, writeTimeoutMs: 500 } as const
/** At once: in so few turns of the event loop that no time can have been waited for. */
const AT_ONCE_TURNS = 3
/** A read's time-out, and what a busy machine adds to it. */
const READ_MS = 1_000

const key = (room: ReturnType<typeof openRoom>) => [`${room.connection.prefix}{x}:y`]
const read = (room: ReturnType<typeof openRoom>) => timed(() => room.connection.read(key(room)))
const ECHO = defineScript('echo', 'return ARGV[1]')

/** Everything that can be asked, and how each question ended. */
const askEverything = (room: ReturnType<typeof openRoom>) =>
  Promise.all([
    read(room),
    timed(() => room.connection.run(ECHO, key(room), ['x'])),
    timed(() => room.connection.publish('somewhere', 'x')),
  ])

function expectAway(answers: ReadonlyArray<{ turns: number; code?: string }>) {
  for (const answer of answers) {
    expect(answer.code).toBe('REDIS_UNAVAILABLE')
    expect(answer.turns).toBeLessThanOrEqual(AT_ONCE_TURNS)
  }
}

async function ownServer(args: readonly string[] = []) {
  const server = await startRedisServer(args)
  return Object.assign(server, { [Symbol.asyncDispose]: () => server.stop() })
}

describe.skipIf(!SERVERS).concurrent('Redis is away', () => {
  test('where it never was there: everything rejects at once, with one log line, and it is found when it comes', async () => {
    const port = await freePort()
    using room = openRoom({ ...PRODUCTION, url: `redis://127.0.0.1:${port}` })
    room.connection.start()
    await room.connection.ready(1_000)
    expectAway(await askEverything(room))
    await sleep(500)
    expectAway(await askEverything(room))
    expect(room.lines).toHaveLength(1)
    expect(room.lines[0]).toMatchObject({ level: 'warn', details: { error: 'ECONNREFUSED' } })
    await until(() => room.states().length >= 4, 5_000, 'two attempts')
    expect(room.states().slice(0, 4)).toEqual(['open', 'half-open', 'open', 'half-open'])
    const server = await startRedisServer([], port)
    await room.up(5_000)
    expect(room.states().at(-1)).toBe('closed')
    expect((await read(room)).value).toEqual([null])
    expect(room.lines).toHaveLength(1)
    await server.stop()
  })

  test('where it was frozen before the start: the first question waits its time, and nobody after it', async () => {
    await using server = await ownServer()
    server.freeze()
    using room = openRoom({ ...PRODUCTION, url: server.url })
    room.connection.start()
    const first = await read(room)
    expect(first.code).toBe('REDIS_UNAVAILABLE')
    expect(first.ms).toBeLessThan(1_000)
    for (let nth = 0; nth < 5; nth++) expectAway(await askEverything(room))
    server.thaw()
    await room.up()
    expect((await read(room)).value).toEqual([null])
  })

  test('once it was killed: every question rejects at once', async () => {
    await using server = await ownServer()
    using room = await openRoom({ ...PRODUCTION, url: server.url }).up()
    const underWay = askEverything(room)
    await server.kill()
    await underWay
    await room.away()
    for (let nth = 0; nth < 5; nth++) expectAway(await askEverything(room))
    expect(room.states().slice(0, 1)).toEqual(['open'])
    expect(room.lines).toHaveLength(1)
    await server.start()
    await room.up()
    expect((await read(room)).value).toEqual([null])
    // The second outage is told like the first.
    await server.kill()
    await room.away()
    expect(room.lines).toHaveLength(2)
  })

  test('once it is frozen: the first read waits readTimeoutMs, nobody after it, and one probe closes the breaker', async () => {
    await using server = await ownServer()
    using room = await openRoom({ ...PRODUCTION, url: server.url }).up()
    server.freeze()
    const asked = await Promise.all(Array.from({ length: 50 }, () => read(room)))
    for (const { ms, code } of asked) {
      expect(code).toBe('REDIS_UNAVAILABLE')
      expect(ms).toBeGreaterThan(95)
      expect(ms).toBeLessThan(READ_MS)
    }
    for (let nth = 0; nth < 20; nth++) {
      expectAway(await askEverything(room))
      await sleep(20)
    }
    expect(room.states()[0]).toBe('open')
    server.thaw()
    const { ms } = await timed(() => room.up())
    expect(ms).toBeLessThan(6_000)
    expect(room.states().at(-2)).toBe('half-open')
    expect(room.states().at(-1)).toBe('closed')
    expect((await read(room)).value).toEqual([null])
  })

  test('where it answers later than readTimeoutMs, also to the probe', async () => {
    await using server = await ownServer()
    await using proxy = await startProxy(server.port)
    using room = await openRoom({ ...PRODUCTION, url: proxy.url }).up()
    proxy.set({ answers: 'delay', ms: 400 })
    const first = await read(room)
    expect(first.code).toBe('REDIS_UNAVAILABLE')
    expect(first.ms).toBeLessThan(READ_MS)
    // Slow enough for reads, quick enough for writes: the probe must not call that usable.
    for (let nth = 0; nth < 40; nth++) {
      expectAway([await read(room)])
      await sleep(50)
    }
    expect(room.states()).not.toContain('closed')
    proxy.set({ answers: 'pass' })
    await room.up()
  })

  test('where it takes no writes: a replica that is read-only', async () => {
    await using primary = await ownServer()
    await using replica = await ownServer(['--replicaof', '127.0.0.1', String(primary.port)])
    using room = openRoom({ ...PRODUCTION, url: replica.url })
    room.connection.start()
    await room.connection.ready(2_000)
    expectAway(await askEverything(room))
    expect(room.lines).toMatchObject([{ details: { error: expect.stringMatching(/READONLY|LOADING|MASTERDOWN/) } }])
    using client = await beside(replica.url)
    await client.sendCommand(['REPLICAOF', 'NO', 'ONE'])
    await room.up()
  })

  test('and a primary that becomes a read-only replica while in use', async () => {
    await using primary = await ownServer()
    await using server = await ownServer()
    using room = await openRoom({ ...PRODUCTION, url: server.url }).up()
    using client = await beside(server.url)
    await client.replicaOf('127.0.0.1', primary.port)
    await room.entries.invalidate({ id: 'k', user: undefined, label: 'k', version: 'json' })
    await room.away()
    expectAway(await askEverything(room))
  })

  test.each(['wrong password', 'wrong user', 'no password'])(
    'where it lets nobody in (%s), and neither name nor password is told to anybody',
    async (how) => {
      await using server = await ownServer(['--requirepass', 'the-right-password'])
      const at = { 'wrong password': ':a-wrong-password@', 'wrong user': 'somebody:the-right-password@' }[how] ?? ''
      using room = openRoom({ ...PRODUCTION, url: `redis://${at}127.0.0.1:${server.port}` })
      room.connection.start()
      await room.connection.ready(2_000)
      const error = await room.connection.read(key(room)).catch((error: Error) => error)
      await room.entries.invalidate({ id: 'k', user: undefined, label: 'k', version: 'json' })
      expectAway(await askEverything(room))
      expect(room.lines).toMatchObject([{ details: { error: expect.stringMatching(/^(WRONGPASS|NOAUTH)$/) } }])
      const told = JSON.stringify([room.lines, room.seen, error, (error as Error).message, (error as Error).stack])
      expect(told).not.toMatch(/password@|a-wrong-password|the-right-password|somebody/)
      using right = await openRoom({ url: `redis://:the-right-password@127.0.0.1:${server.port}` }).up()
      expect(right.connection.isUp).toBe(true)
    },
  )

  test('where a connection swallows everything', async () => {
    await using server = await ownServer()
    await using proxy = await startProxy(server.port)
    using room = await openRoom({ ...PRODUCTION, url: proxy.url }).up()
    proxy.set({ answers: 'swallow' })
    expect((await read(room)).ms).toBeLessThan(READ_MS)
    expectAway(await askEverything(room))
    await sleep(2_000)
    expectAway(await askEverything(room))
    proxy.set({ answers: 'pass' })
    await room.up()
  })

  test('where only messages do not arrive any more: the heartbeat notices', async () => {
    await using server = await ownServer()
    await using proxy = await startProxy(server.port)
    using room = await openRoom({ ...PRODUCTION, url: proxy.url }).up()
    await sleep(200)
    proxy.set({ answers: 'swallow', on: 'messages' })
    const { ms } = await timed(() => room.away(12_000))
    expect(ms).toBeLessThan(12_000)
    expect(room.lines).toMatchObject([{ details: { error: 'messages do not arrive any more' } }])
    proxy.set({ answers: 'pass' })
    await room.up()
  })

  test.each(['cut in half', 'garbage'] as const)('where an answer is %s', async (answers) => {
    await using server = await ownServer()
    await using proxy = await startProxy(server.port)
    using room = await openRoom({ ...PRODUCTION, url: proxy.url }).up()
    proxy.set({ answers })
    const asked = await askEverything(room)
    // The first answers may have been in the good half.
    for (const { code } of asked) expect([undefined, 'REDIS_UNAVAILABLE']).toContain(code)
    expect(asked.map(({ code }) => code)).toContain('REDIS_UNAVAILABLE')
    await room.away()
    expectAway(await askEverything(room))
    await sleep(300)
    proxy.set({ answers: 'pass' })
    await room.up()
    expect((await read(room)).value).toEqual([null])
  })

  test('where the connection is reset with questions under way', async () => {
    await using server = await ownServer()
    await using proxy = await startProxy(server.port)
    using room = await openRoom({ ...PRODUCTION, url: proxy.url }).up()
    for (let round = 0; round < 3; round++) {
      const underWay = Promise.all(Array.from({ length: 100 }, () => read(room)))
      proxy.reset()
      for (const { code, ms } of await underWay) {
        expect([undefined, 'REDIS_UNAVAILABLE']).toContain(code)
        expect(ms).toBeLessThan(READ_MS)
      }
      await room.up()
    }
  })
})

describe.skipIf(!SERVERS)('while Redis is away', () => {
  test('twenty thousand questions keep no memory', async () => {
    await using server = await ownServer()
    using room = await openRoom({ ...PRODUCTION, url: server.url }).up()
    const ask = async (count: number) => {
      for (let nth = 0; nth < count; nth++) await Promise.allSettled([room.connection.read(key(room))])
    }
    server.freeze()
    // The first of them are in the dead connection's queue.
    await Promise.allSettled(Array.from({ length: 20_000 }, () => room.connection.read(key(room))))
    await ask(100)
    const gc = globalThis.gc ?? (await exposedGc())
    gc()
    const before = process.memoryUsage().heapUsed
    await ask(20_000)
    gc()
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(4_000_000)
  })

  test('a flood of questions into a freezing Redis is let go when it is given up', async () => {
    await using server = await ownServer()
    using room = await openRoom({ ...PRODUCTION, url: server.url }).up()
    const gc = globalThis.gc ?? (await exposedGc())
    gc()
    const before = process.memoryUsage().heapUsed
    server.freeze()
    await Promise.allSettled(Array.from({ length: 20_000 }, () => room.connection.read(key(room))))
    await sleep(50)
    gc()
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(8_000_000)
  })
})

describe.skipIf(!SERVERS)('an event loop that stood still', () => {
  test('is no time-out, when the answer lay in the socket', async () => {
    await using server = await ownServer()
    using room = await openRoom({ ...PRODUCTION, url: server.url }).up()
    for (let round = 0; round < 3; round++) {
      const asked = [read(room), ...Array.from({ length: 200 }, () => read(room))]
      await new Promise((resolve) => setImmediate(resolve))
      stall(300)
      for (const { code } of await Promise.all(asked)) expect(code).toBeUndefined()
    }
    expect(room.states()).toEqual([])
  })
})

describe.skipIf(!SERVERS)('the way back', () => {
  /** The machine's time, which can be moved on, and what was slept. */
  const watchedClock = () => {
    const slept: number[] = []
    let aheadMs = 0
    const clock: Clock = {
      now: () => systemClock.now() + aheadMs,
      monotonic: () => systemClock.monotonic() + aheadMs,
      sleep: (ms, signal) => {
        slept.push(ms)
        return systemClock.sleep(ms, signal)
      },
    }
    const moveOn = (ms: number) => {
      aheadMs += ms
    }
    return { clock, slept, moveOn }
  }

  test('takes longer after each short life, and after a long good one it is 50 ms again', async () => {
    await using server = await ownServer()
    const { clock, slept, moveOn } = watchedClock()
    using room = await openRoom({ url: server.url, clock, random: () => 0 }).up()
    const pauses: Array<number | undefined> = []
    for (const lifeMs of [0, 0, 0, 9_000, 11_000, 0]) {
      // Its heartbeat sleeps: nothing is under way that a leap of time would make late.
      await until(() => slept.at(-1) === 5_000, 5_000, 'the first beat')
      moveOn(lifeMs)
      const before = slept.length
      room.connection.renew()
      await room.away()
      pauses.push(slept[before])
      await room.up()
    }
    expect(pauses).toEqual([100, 200, 400, 800, 50, 100])
  })

  test('begins to count the time for a connection when the library is loaded', async () => {
    await using server = await ownServer()
    const { clock, slept } = watchedClock()
    using room = openRoom({ url: server.url, clock })
    room.connection.start()
    expect(slept).toEqual([])
    await room.up()
    expect(slept[0]).toBe(1_500)
  })
})

describe.skipIf(!SERVERS)('close()', () => {
  /** How many connections a server has, but ours. */
  const clients = async (url: string) => {
    using client = await beside(url)
    return (
      String(await client.sendCommand(['CLIENT', 'LIST']))
        .trim()
        .split('\n').length - 1
    )
  }
  const CASES: Array<[string, RoomOptions & { waitMs: number }]> = [0, 1, 2, 4, 8, 16, 32, 64].map((waitMs) => [
    `${waitMs} ms after the start`,
    { waitMs },
  ])

  test.each(CASES)('leaves no connection behind, %s', async (_when, { waitMs }) => {
    await using server = await ownServer()
    const room = openRoom({ url: server.url })
    room.connection.start()
    if (waitMs > 0) await sleep(waitMs)
    const underWay = askEverything(room)
    room.connection.close()
    room.connection.close()
    for (const { code } of await underWay) expect(['CLOSED', 'REDIS_UNAVAILABLE', undefined]).toContain(code)
    await until(async () => (await clients(server.url)) === 0, 2_000, 'the connections to be gone')
    expect(room.connection.isUp).toBe(false)
    expect(room.connection.isUsable).toBe(false)
    expect((await read(room)).code).toBe('CLOSED')
  })

  test('leaves none behind either, in the middle of catching up', async () => {
    await using server = await ownServer()
    await using proxy = await startProxy(server.port)
    proxy.set({ answers: 'delay', ms: 40 })
    const room = openRoom({ url: proxy.url })
    room.connection.start()
    await sleep(250)
    room.connection.close()
    await until(async () => (await clients(server.url)) === 0, 2_000, 'the connections to be gone')
    expect(room.connection.isUp).toBe(false)
  })

  test('ends the attempts to come back', async () => {
    await using server = await ownServer()
    const room = await openRoom({ url: server.url }).up()
    await server.kill()
    await room.away()
    room.connection.close()
    await server.start()
    await sleep(500)
    expect(await clients(server.url)).toBe(0)
  })
})

async function exposedGc(): Promise<() => void> {
  const { setFlagsFromString } = await import('node:v8')
  const { runInNewContext } = await import('node:vm')
  setFlagsFromString('--expose-gc')
  return runInNewContext('gc')
}
