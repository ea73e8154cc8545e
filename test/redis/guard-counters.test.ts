import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, inject, test, vi } from 'vitest'
import { defineScript } from '../../src/redis/script.ts'
import { MONTH_IN_LUA } from '../../src/redis/take-script.ts'
import { monthOf } from '../../src/time/month.ts'
import { type Counting, countersContract, quota } from '../guard/counters-contract.ts'
import { type RedisServer, startRedisServer } from '../support/redis-server.ts'
import { type Orders, type Outcome, openCounters } from './guard-process.ts'

const url = inject('redisUrl')
const prefix = `holdfast:1:guard-test-${process.pid}-${Math.floor(Math.random() * 1e9)}:app:`
const HOUR = 3_600_000

describe.skipIf(url === undefined)('in Redis', () => {
  let opened: ReturnType<typeof openCounters>
  beforeAll(async () => {
    opened = openCounters({ url: url!, prefix, readTimeoutMs: 15_000, longestTakeMs: 15_000 })
    await opened.connection.ready(5_000)
    expect(opened.connection.isUp).toBe(true)
  })
  afterAll(() => opened.connection.close())

  countersContract(
    (): Counting => ({
      take: (kind, id, limits, mayRefuse = true, costs) =>
        opened.counters.attempt(kind, id, limits, mayRefuse, costs).taken,
      wait: (ms) => sleep(ms + 2),
      now: () => performance.now(),
    }),
  )

  test('months are the same as everywhere, over four hundred years', async () => {
    const script = defineScript('month', `${MONTH_IN_LUA}\nlocal from, to = month(tonumber(ARGV[1])) return {from, to}`)
    const ask = async (now: number) => {
      const [start, end] = (await opened.connection.run(script, [`${prefix}{month}`], [now])) as unknown[]
      return { start: Number(start), end: Number(end) }
    }
    for (let month = 0; month < 12 * 30; month++) {
      const first = Date.UTC(2024, month)
      expect(await ask(first)).toEqual(monthOf(first))
      expect(await ask(first - 1)).toEqual(monthOf(first - 1))
    }
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: Date.UTC(2370, 0) }), async (now) => {
        expect(await ask(now)).toEqual(monthOf(now))
      }),
      { numRuns: 500 },
    )
  })

  test('no key names a caller, and every key ends with its longest window', async () => {
    const taken = await opened.counters.attempt('ip', '203.0.113.77', [quota(5, 60_000), quota(5, 30_000)], true).taken
    expect(taken.admitted).toBe(true)
    const script = defineScript('ttl', "return redis.call('PTTL', KEYS[1])")
    const key = `${prefix}{${opened.naming.names.of('guard ip', '203.0.113.77')}}:guard:counts`
    expect(key).not.toContain('203.0.113')
    const ttl = Number(await opened.connection.run(script, [key], []))
    expect(ttl).toBeGreaterThan(50_000)
    expect(ttl).toBeLessThanOrEqual(60_000)
  })

  test('another type under the key is a bug that is told, not an outage', async () => {
    const key = `${prefix}{${opened.naming.names.of('guard ip', 'wrong')}}:guard:counts`
    await opened.connection.run(defineScript('set', "return redis.call('SET', KEYS[1], 'x')"), [key], [])
    await expect(opened.counters.attempt('ip', 'wrong', [quota(1, 1000)], true).taken).rejects.toMatchObject({
      code: 'REDIS_MISUSE',
    })
  })

  test('requests of one turn are asked about together, and one caller’s trouble is nobody else’s', async () => {
    const key = `${prefix}{${opened.naming.names.of('guard ip', 'broken')}}:guard:counts`
    await opened.connection.run(defineScript('set', "return redis.call('SET', KEYS[1], 'x')"), [key], [])
    const limits = [quota(2, HOUR), { ...quota(9, 1_000), sliding: true }]
    const run = vi.spyOn(opened.connection, 'run')
    const ids = ['a', 'broken', 'a', 'b', 'a', 'b'].map((id) => (id === 'broken' ? id : `together ${id}`))
    const outcomes = await Promise.allSettled(ids.map((id) => opened.counters.attempt('ip', id, limits, true).taken))
    expect(run).toHaveBeenCalledTimes(1)
    run.mockRestore()
    expect(outcomes.map((one) => (one.status === 'fulfilled' ? one.value.admitted : one.reason.code))).toEqual([
      true,
      'REDIS_MISUSE',
      true,
      true,
      false,
      true,
    ])
    const [first, , second] = outcomes
    if (first?.status !== 'fulfilled' || second?.status !== 'fulfilled') throw new Error('both were admitted')
    expect(second.value.counts.map(({ used }) => used)).toEqual([2, 2])
    expect(await first.value.refund()).toBe(true)
    expect((await opened.counters.attempt('ip', 'together a', limits, true).taken).admitted).toBe(true)
  })

  test('more than one script call’s worth at once is counted as exactly', async () => {
    const limits = [quota(150, HOUR)]
    const taken = await Promise.all(
      Array.from({ length: 400 }, () => opened.counters.attempt('user', 'a crowd', limits, true).taken),
    )
    expect(taken.filter(({ admitted }) => admitted).length).toBe(150)
  })

  test('a caller is looked at without being counted, and forgotten', async () => {
    const limits = [quota(5, HOUR), quota(5, 'month'), { ...quota(5, HOUR), sliding: true }]
    const used = async () => (await opened.counters.look('user', 'looked at', limits)).map((count) => count.used)
    expect(await used()).toEqual([0, 0, 0])
    for (let time = 0; time < 3; time++) await opened.counters.attempt('user', 'looked at', limits, true).taken
    expect(await used()).toEqual([3, 3, 3])
    expect(await used()).toEqual([3, 3, 3])
    await opened.counters.forget('user', 'looked at')
    expect(await used()).toEqual([0, 0, 0])
  })

  test('points and windows that slide are undone as they were taken', async () => {
    const limits = [{ ...quota(9, 400), sliding: true, cost: () => 0 }]
    const attempt = opened.counters.attempt('user', 'undone points', limits, true, [6])
    await attempt.taken
    // Into the window after, where what was charged fades.
    await sleep(450)
    await opened.counters.attempt('user', 'undone points', limits, true, [1]).taken
    attempt.undo()
    await expect.poll(async () => (await opened.counters.look('user', 'undone points', limits))[0]!.used).toBe(1)
  })

  test('an attempt that is undone was never there, once and in either order', async () => {
    const one = [quota(1, HOUR)]
    const attempt = opened.counters.attempt('user', 'undone', one, true)
    expect((await attempt.taken).admitted).toBe(true)
    attempt.undo()
    attempt.undo()
    const again = async () => (await opened.counters.attempt('user', 'undone', one, true).taken).admitted
    await expect.poll(again).toBe(true)
    attempt.undo()
    await sleep(50)
    expect((await opened.counters.attempt('user', 'undone', one, true).taken).admitted).toBe(false)
  })

  describe('four processes', () => {
    const processes: ChildProcess[] = []
    beforeAll(async () => {
      const file = fileURLToPath(new URL('guard-process.ts', import.meta.url))
      for (let index = 0; index < 4; index++) processes.push(fork(file, [url!, prefix], { execArgv: [] }))
      await Promise.all(processes.map((process) => once(process, 'message')))
    })
    afterAll(() => {
      for (const process of processes) process.disconnect()
    })

    const obey = (orders: readonly Orders[]) =>
      Promise.all(
        processes.map(async (process, index): Promise<Outcome> => {
          process.send(orders[index]!)
          const [outcome] = await once(process, 'message')
          return outcome as Outcome
        }),
      )
    const sum = (outcomes: readonly Outcome[], what: 'admitted' | 'refunded', id: string) =>
      outcomes.reduce((total, outcome) => total + (outcome[what][id] ?? 0), 0)

    test('admit together what the tightest limit allows, and what is given back is admitted again, once', async () => {
      let round = 0
      await fc.assert(
        fc.asyncProperty(
          fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 3 }),
          fc.array(
            fc.record({
              requests: fc.integer({ min: 0, max: 60 }),
              lanes: fc.integer({ min: 1, max: 8 }),
              refundEvery: fc.integer({ min: 0, max: 5 }),
            }),
            { minLength: 4, maxLength: 4 },
          ),
          async (limits, parts) => {
            const ids = [`a ${round}`, `b ${round++}`]
            const quotas = limits.map((limit, index) => quota(limit, index === 1 ? 'month' : HOUR))
            const outcomes = await obey(parts.map((part) => ({ ...part, ids, quotas })))
            const tightest = Math.min(...limits)
            for (const id of ids) {
              const held = sum(outcomes, 'admitted', id) - sum(outcomes, 'refunded', id)
              expect(held).toBeLessThanOrEqual(tightest)
              const asked = parts.reduce(
                (total, { requests }) => total + Math.floor((requests + (id === ids[0] ? 1 : 0)) / 2),
                0,
              )
              const last = await opened.counters.attempt('user', id, quotas, true).taken
              // What is counted is what was admitted and not given back, in every limit alike.
              for (const { used } of last.counts) expect(used).toBe(held + (last.admitted ? 1 : 0))
              if (last.admitted) expect(sum(outcomes, 'admitted', id)).toBeLessThanOrEqual(asked)
              else expect(held === tightest || sum(outcomes, 'admitted', id) >= tightest * 10).toBe(true)
            }
          },
        ),
        { numRuns: 25 },
      )
    }, 120_000)

    test('never more than the limit in any window, however short', async () => {
      const windowMs = 150
      const began = Date.now()
      const orders = { ids: ['short'], quotas: [quota(7, windowMs)], requests: 1_500, lanes: 4, refundEvery: 0 }
      const outcomes = await obey([orders, orders, orders, orders])
      const windows = Math.floor((Date.now() - began) / windowMs) + 1
      expect(sum(outcomes, 'admitted', 'short')).toBeLessThanOrEqual(7 * windows)
      expect(sum(outcomes, 'admitted', 'short')).toBeGreaterThan(7)
    }, 60_000)
  })
})

describe.skipIf(!inject('redisServers'))('a Redis that stops answering', () => {
  let server: RedisServer
  beforeAll(async () => {
    server = await startRedisServer()
  })
  afterAll(() => server.stop())

  test('is away within 100 ms; what it counted without telling is undone when it is back', async () => {
    const own = openCounters({ url: server.url, prefix })
    const watch = openCounters({ url: server.url, prefix, readTimeoutMs: 15_000, longestTakeMs: 15_000 })
    await own.connection.ready(5_000)
    await watch.connection.ready(5_000)
    const two = [quota(2, HOUR), quota(5, 'month')]
    expect((await own.counters.attempt('user', 'frozen', two, true).taken).admitted).toBe(true)

    server.freeze()
    const began = performance.now()
    const lost = own.counters.attempt('user', 'frozen', two, true)
    await expect(lost.taken).rejects.toMatchObject({ code: 'REDIS_UNAVAILABLE' })
    expect(performance.now() - began).toBeLessThan(150)
    const next = performance.now()
    await expect(own.counters.attempt('user', 'frozen', two, true).taken).rejects.toMatchObject({
      code: 'REDIS_UNAVAILABLE',
    })
    expect(performance.now() - next).toBeLessThan(20)
    lost.undo()
    server.thaw()

    await expect.poll(() => own.connection.isUp, { timeout: 10_000 }).toBe(true)
    // The first that is counted again pays back what is owed.
    await own.counters.attempt('user', 'somebody else', two, true).taken
    await expect
      .poll(
        async () => {
          const counted = await watch.counters.attempt('user', 'frozen', two, true).taken
          if (counted.admitted) await counted.refund()
          return counted.admitted && counted.counts.map(({ used }) => used)
        },
        { timeout: 5_000 },
      )
      .toEqual([2, 2])
    own.connection.close()
    watch.connection.close()
  })
})
