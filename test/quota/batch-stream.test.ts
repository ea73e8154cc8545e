import { batch, batchStream, createOwnerQuota, type StreamResult } from 'holdfast'
import { describe, expect, test } from 'vitest'
import { createVirtualClock } from '../../src/simulator/virtual-clock.ts'
import { Refused, Upstream } from './upstream.ts'

const KEYS = [{ key: 'k', owner: 'a' }]
const numbers = (n: number) => Array.from({ length: n }, (_, index) => index)
const keyDead = () => Object.assign(new Error('revoked'), { keyDead: true })

function world(options: { limit?: number } = {}) {
  const clock = createVirtualClock()
  return { clock, quota: createOwnerQuota({ limit: 1_000, windowMs: 10_000, clock, ...options }) }
}

async function all<Request, Result>(stream: AsyncIterable<StreamResult<Request, Result>>) {
  const results: Array<StreamResult<Request, Result>> = []
  let error: unknown
  try {
    for await (const result of stream) results.push(result)
  } catch (thrown) {
    error = thrown
  }
  return { results, error }
}
const values = (results: ReadonlyArray<{ status: string; value?: unknown }>) =>
  results.map((result) => result.value as number).sort((a, b) => a - b)

describe('batchStream', () => {
  test('tells each result as it comes, with its request and place, over several windows without a 429', async () => {
    const { clock, quota } = world({ limit: 10 })
    const upstream = new Upstream({
      clock,
      owners: { k: 'a' },
      pools: { a: { limit: 10, windowMs: 10_000 } },
      latency: () => 30,
    })
    const running = all(
      batchStream(
        numbers(35).map((n) => `r${n}`),
        {
          keys: KEYS,
          quota,
          send: async (request, key, { learn }) => {
            learn(await upstream.call(key))
            return `${request} done`
          },
        },
      ),
    )
    await clock.advance(60_000)
    const { results, error } = await running
    expect(error).toBeUndefined()
    expect(results.map(({ index }) => index).sort((a, b) => a - b)).toEqual(numbers(35))
    for (const result of results)
      expect(result).toEqual({
        index: result.index,
        request: `r${result.index}`,
        status: 'fulfilled',
        value: `r${result.index} done`,
      })
    expect(upstream.refusals).toBe(0)
  })

  test('a slow answer holds up no other, and a failed one is its own', async () => {
    const { clock, quota } = world()
    const running = all(
      batchStream(numbers(4), {
        keys: KEYS,
        quota,
        send: async (n) => {
          if (n === 1) await clock.sleep(5_000)
          if (n === 2) throw new Error('no')
          return n
        },
      }),
    )
    await clock.advance(6_000)
    const { results } = await running
    expect(results.map(({ index }) => index).at(-1)).toBe(1)
    expect(results.find(({ index }) => index === 2)).toMatchObject({ status: 'rejected', request: 2 })
  })

  test('reads no more than concurrency ahead of who reads it, from an input that never ends', async () => {
    const { quota } = world({ limit: 1_000_000 })
    let read = 0
    let isClosed = false
    async function* endless() {
      try {
        for (;;) yield read++
      } finally {
        isClosed = true
      }
    }
    let taken = 0
    let most = 0
    for await (const _ of batchStream(endless(), { keys: KEYS, quota, concurrency: 8, send: async (n) => n })) {
      most = Math.max(most, read - ++taken)
      if (taken % 10 === 0) await new Promise((resolve) => setImmediate(resolve))
      if (taken === 500) break
    }
    expect(most).toBeLessThanOrEqual(9)
    await new Promise((resolve) => setImmediate(resolve))
    expect(isClosed).toBe(true)
  })

  test('an input that throws loses nothing that was read, and then throws its error', async () => {
    const { clock, quota } = world()
    const broken = function* () {
      yield 1
      yield 2
      throw new Error('the file ended')
    }
    const send = async (n: number) => {
      await clock.sleep(100)
      return n
    }
    const running = all(batchStream(broken(), { keys: KEYS, quota, send }))
    await clock.advance(1_000)
    const { results, error } = await running
    expect(values(results)).toEqual([1, 2])
    expect(error).toMatchObject({ message: 'the file ended' })
  })

  test.each([
    ['abort', 'gone', {}],
    ['deadline', expect.stringContaining('deadline'), { deadlineMs: 500 }],
  ])('at the %s what was read comes back with the reason, which is then thrown', async (how, message, options) => {
    const { clock, quota } = world()
    const controller = new AbortController()
    const aborted: boolean[] = []
    const endless = async function* () {
      for (let n = 0; ; n++) {
        if (n === 3) await new Promise(() => {})
        yield n
      }
    }
    const running = all(
      batchStream(endless(), {
        keys: KEYS,
        quota,
        signal: controller.signal,
        ...options,
        send: (_n, _key, { signal }) => {
          signal.addEventListener('abort', () => aborted.push(true))
          return new Promise(() => {})
        },
      }),
    )
    await clock.advance(500)
    if (how === 'abort') controller.abort(new Error('gone'))
    await clock.advance(1)
    const { results, error } = await running
    expect(results).toHaveLength(3)
    for (const result of results) expect(result).toMatchObject({ status: 'rejected', reason: { message } })
    expect(error).toMatchObject({ message })
    expect(aborted.length).toBeGreaterThan(0)
    expect(clock.sleepers).toBe(0)
  })

  test('429s go again, dead keys go out once for all, and limits of keys hold across the stream', async () => {
    const { clock, quota } = world()
    const withDead: number[] = []
    let refused = false
    let underWay = 0
    let most = 0
    const running = all(
      batchStream(numbers(50), {
        keys: [
          { key: 'dead', owner: 'a' },
          { key: 'good', owner: 'a' },
        ],
        quota,
        concurrencyPerKey: 2,
        send: async (n, key) => {
          if (key === 'dead') {
            withDead.push(n)
            throw keyDead()
          }
          most = Math.max(most, ++underWay)
          await clock.sleep(10)
          underWay--
          if (n === 7 && !refused) {
            refused = true
            throw new Refused(300)
          }
          return n
        },
      }),
    )
    await clock.advance(60_000)
    expect(values((await running).results)).toEqual(numbers(50))
    expect(withDead.length).toBeLessThanOrEqual(2)
    expect(most).toBe(2)
  })

  test('with every key dead the rest is rejected', async () => {
    const { clock, quota } = world()
    const running = all(
      batchStream(numbers(5), { keys: KEYS, quota, concurrency: 1, send: () => Promise.reject(keyDead()) }),
    )
    await clock.advance(1_000)
    const { results } = await running
    expect(results.map((result) => result.status)).toEqual(Array(5).fill('rejected'))
    expect(results[4]).toMatchObject({ reason: { code: 'QUOTA_NEVER' } })
  })

  test('on one owner with a batch, each has every other call, however many requests of the stream wait', async () => {
    const { clock, quota } = world({ limit: 10 })
    const sent: string[] = []
    const options = (name: string) => ({ keys: KEYS, quota, send: async () => void sent.push(name) })
    const stream = all(batchStream(numbers(100), options('stream')))
    await clock.advance(1_000)
    const other = batch(numbers(20), options('batch'))
    await clock.advance(200_000)
    await Promise.all([stream, other])
    const meanwhile = sent.slice(0, sent.lastIndexOf('batch')).filter((name) => name === 'stream')
    expect(meanwhile.length).toBeLessThanOrEqual(10 + 20 + 2)
  })

  test('owners that may make no call are asked again for what is read later', async () => {
    const given = [false, false, true, true]
    let taken = 0
    const quota = {
      take: async () =>
        given[taken++]
          ? ({ ok: true, remaining: 10 } as const)
          : ({ ok: false, remaining: 0, retryAfterMs: Number.POSITIVE_INFINITY } as const),
      state: async () => ({ limit: 10, remaining: 10, resetAt: new Date() }),
      learn: async () => {},
    }
    const { results } = await all(batchStream(numbers(4), { keys: KEYS, quota, concurrency: 1, send: async (n) => n }))
    expect(results.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'fulfilled', 'fulfilled'])
    expect(results[0]).toMatchObject({ reason: { code: 'QUOTA_NEVER' } })
  })

  test('tells when it waits, once for each wait', async () => {
    const { clock, quota } = world({ limit: 5 })
    const waits: number[] = []
    const running = all(
      batchStream(numbers(15), {
        keys: KEYS,
        quota,
        send: async (n) => n,
        onProgress: ({ waitingUntil }) => waitingUntil && waits.push(waitingUntil.getTime()),
      }),
    )
    await clock.advance(60_000)
    await running
    expect(waits).toHaveLength(2)
  })

  test('at its deadline says what was sent and what was not', async () => {
    const { clock, quota } = world({ limit: 2 })
    const running = all(
      batchStream(numbers(4), { keys: KEYS, quota, deadlineMs: 5_000, send: () => new Promise(() => {}) }),
    )
    await clock.advance(6_000)
    const { results, error } = await running
    expect(error).toMatchObject({ code: 'BATCH_DEADLINE' })
    const said = results
      .sort((a, b) => a.index - b.index)
      .map((result) => String((result as { reason?: unknown }).reason))
    expect(said[0]).toContain('was sent')
    expect(said[3]).toContain('was not sent')
    expect(clock.sleepers).toBe(0)
  })

  test('a cost that cannot be, or throws, is its own request’s', async () => {
    const { clock, quota } = world({ limit: 10 })
    const cost = (n: number) => {
      if (n === 2) throw new Error('no cost')
      return n
    }
    const running = all(batchStream([0, 1, 2, 3, 11], { keys: KEYS, quota, cost, send: async (n) => n }))
    await clock.advance(1_000)
    const { results } = await running
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(2)
    expect(await quota.state('a')).toMatchObject({ remaining: 6 })
  })

  test('an input without anything ends at once; what is no input, and no options, is refused', async () => {
    const { quota } = world()
    const send = async () => 1
    expect(await all(batchStream([], { keys: KEYS, quota, send }))).toEqual({ results: [], error: undefined })
    for (const input of [5, 'text', undefined, {}])
      expect((await all(batchStream(input as never, { keys: KEYS, quota, send }))).error).toMatchObject({
        code: 'INVALID_OPTION',
      })
    expect((await all(batchStream([1], { keys: [], quota, send }))).error).toMatchObject({ code: 'INVALID_OPTION' })
  })
})
