import fc from 'fast-check'
import { type BatchProgress, batch, createOwnerQuota, HoldfastError, type OwnerQuota } from 'holdfast'
import { describe, expect, test, vi } from 'vitest'
import { createVirtualClock } from '../../src/simulator/virtual-clock.ts'
import { Refused, seeded, Upstream } from './upstream.ts'

const KEY = [{ key: 'k', owner: 'a' }]
const numbers = (n: number) => Array.from({ length: n }, (_, index) => index)

function world(options: { limit?: number; windowMs?: number; limits?: Record<string, number> } = {}) {
  const clock = createVirtualClock()
  const quota = createOwnerQuota({ limit: 10, windowMs: 10_000, clock, ...options })
  /** Lets time pass until the batch is done. */
  const finish = async <T>(running: Promise<T>, stepMs = 500): Promise<T> => {
    let settled = false
    const done = running.finally(() => {
      settled = true
    })
    done.catch(() => {})
    for (let steps = 0; !settled && steps < 10_000; steps++) await clock.advance(stepMs)
    if (!settled) throw new Error('the batch never ended')
    return done
  }
  return { clock, quota, finish }
}

const outcomes = (results: ReadonlyArray<{ status: string; value?: unknown; reason?: unknown }>) =>
  results.map((result) =>
    result.status === 'fulfilled' ? result.value : ((result.reason as HoldfastError).code ?? result.reason),
  )

describe('results', () => {
  test('come in the order of the requests, however the answers come', async () => {
    const { clock, quota, finish } = world()
    const random = seeded(1)
    const results = await finish(
      batch(numbers(35), {
        keys: KEY,
        quota,
        send: async (n) => {
          await clock.sleep(random() * 3_000)
          return n * 2
        },
      }),
    )
    expect(outcomes(results)).toEqual(numbers(35).map((n) => n * 2))
  })

  test('are settled each on its own: a send that throws, at once or later, ends its own request only', async () => {
    const { quota, finish } = world()
    const results = await finish(
      batch(numbers(4), {
        keys: KEY,
        quota,
        send: (n) => {
          if (n === 1) throw new Error('at once')
          return n === 2 ? Promise.reject(undefined) : Promise.resolve(n)
        },
      }),
    )
    expect(results[0]).toEqual({ status: 'fulfilled', value: 0 })
    expect(results[1]).toMatchObject({ status: 'rejected', reason: { message: 'at once' } })
    expect(results[2]).toEqual({ status: 'rejected', reason: undefined })
    expect(results[3]).toEqual({ status: 'fulfilled', value: 3 })
  })

  test('are none for no requests, with or without keys', async () => {
    const { quota } = world()
    const send = async () => 1
    expect(await batch([], { keys: KEY, quota, send })).toEqual([])
    expect(await batch([], { keys: [], quota, send })).toEqual([])
  })

  test('a send that answers twice counts once', async () => {
    const { quota, finish } = world()
    const progress: number[] = []
    const results = await finish(
      batch(numbers(3), {
        keys: KEY,
        quota,
        send: (n, _key, { learn }) => {
          learn({ remaining: 9 - n })
          learn({ remaining: 9 - n })
          return new Promise((resolve, reject) => {
            resolve(n)
            resolve(n + 100)
            reject(new Error('after all'))
          })
        },
        onProgress: ({ done }) => progress.push(done),
      }),
    )
    expect(outcomes(results)).toEqual([0, 1, 2])
    expect(progress.at(-1)).toBe(3)
    expect(await quota.state('a')).toMatchObject({ remaining: 7 })
  })
})

describe('an owner nobody knows', () => {
  test('gets one call first, and the rest wait for what it teaches', async () => {
    const { clock, quota, finish } = world()
    const upstream = new Upstream({
      clock,
      owners: { k: 'a' },
      pools: { a: { limit: 10, windowMs: 10_000, used: 8, endsAt: 3_000 } },
      latency: () => 50,
    })
    await finish(
      batch(numbers(12), { keys: KEY, quota, send: async (_n, key, { learn }) => learn(await upstream.call(key)) }),
    )
    expect(upstream.calls.map((call) => call.at)).toEqual([50, 150, ...Array(10).fill(3_100)])
    expect(upstream.refusals).toBe(0)
  })

  test('each gets its own probe at once, so that its window begins early', async () => {
    const { clock, quota, finish } = world()
    const sent: string[] = []
    await finish(
      batch(numbers(9), {
        keys: [
          { key: 'k', owner: 'a' },
          { key: 'l', owner: 'b' },
          { key: 'm', owner: 'c' },
        ],
        quota,
        send: async (_n, key) => {
          sent.push(`${clock.monotonic()} ${key}`)
          await clock.sleep(100)
        },
      }),
    )
    expect(sent.slice(0, 3)).toEqual(['0 k', '0 l', '0 m'])
  })

  test('is known for a while: the next batch need not probe again', async () => {
    const { clock, quota, finish } = world()
    const sent: number[] = []
    const run = () =>
      finish(
        batch(numbers(3), {
          keys: KEY,
          quota,
          send: async () => {
            sent.push(clock.monotonic())
            await clock.sleep(100)
          },
        }),
        100,
      )
    await run()
    const secondAt = clock.monotonic()
    await run()
    expect(sent).toEqual([0, 100, 100, secondAt, secondAt, secondAt])
  })
})

describe('pools', () => {
  test('the least loaded goes first, and its keys take turns', async () => {
    const { quota, finish } = world({ limits: { a: 2, b: 6 } })
    const warm = [
      { key: 'a1', owner: 'a' },
      { key: 'b1', owner: 'b' },
      { key: 'b2', owner: 'b' },
    ]
    const sent: string[] = []
    const send = async (_n: number, key: string) => void sent.push(key)
    await finish(batch(numbers(2), { keys: warm, quota, send }))
    sent.length = 0
    await finish(batch(numbers(6), { keys: warm, quota, send }))
    // 1 left of a, 5 of b: b until both have the same.
    expect(sent.slice(0, 4)).toEqual(['b1', 'b2', 'b1', 'b2'])
    expect(sent.filter((key) => key === 'a1')).toHaveLength(1)
  })

  test('the same key twice is one key', async () => {
    const { quota, finish } = world()
    const sent: string[] = []
    await finish(
      batch(numbers(4), {
        keys: [...KEY, ...KEY, { key: 'l', owner: 'a' }],
        quota,
        send: async (_n, key) => void sent.push(key),
      }),
    )
    expect(sent).toEqual(['k', 'l', 'k', 'l'])
  })

  test('what nobody took is spent only by what is sent', async () => {
    const { quota, finish } = world()
    let sent = 0
    await finish(batch(numbers(27), { keys: KEY, quota, send: async () => void sent++ }))
    expect(sent).toBe(27)
    expect(await quota.state('a')).toMatchObject({ remaining: 3 })
  })
})

describe('a 429', () => {
  test('closes the pool and not the request, which goes again after those that were not sent', async () => {
    const { clock, quota, finish } = world({ limit: 3, windowMs: 1_000 })
    const sent: Array<[number, number]> = []
    let refused = false
    const results = await finish(
      batch(numbers(5), {
        keys: KEY,
        quota,
        send: async (n) => {
          sent.push([clock.monotonic(), n])
          await clock.sleep(10)
          if (n === 1 && !refused) {
            refused = true
            throw new Refused(30_000)
          }
          return n
        },
      }),
    )
    expect(outcomes(results)).toEqual([0, 1, 2, 3, 4])
    // 0 probes, 1 and 2 go together, 1 is refused: nothing for 30 s, then 3 alone, then the rest.
    expect(sent).toEqual([
      [0, 0],
      [10, 1],
      [10, 2],
      [30_020, 3],
      [30_030, 4],
      [30_030, 1],
    ])
  })

  test('of one owner lets the others go on', async () => {
    const { clock, quota, finish } = world({ limit: 100 })
    const owners: string[] = []
    await finish(
      batch(numbers(20), {
        keys: [...KEY, { key: 'l', owner: 'b' }],
        quota,
        send: async (_n, _key, { owner }) => {
          await clock.sleep(10)
          if (owner === 'a') throw new Refused(3_600_000)
          owners.push(owner)
        },
      }),
    )
    expect(owners).toEqual(Array(20).fill('b'))
    expect(clock.monotonic()).toBeLessThan(60_000)
  })

  test('after 429 is waited out longer and longer, also where it asks for no wait', async () => {
    const { clock, quota } = world({ limit: 1_000, windowMs: 1_000 })
    const sent: number[] = []
    const running = batch([0], {
      keys: KEY,
      quota,
      deadlineMs: 3_600_000,
      maxAttempts: 1000,
      send: async () => {
        sent.push(clock.monotonic())
        throw new Refused(0)
      },
    })
    await clock.advance(3_600_000)
    expect(outcomes(await running)).toEqual(['BATCH_DEADLINE'])
    expect(sent.length).toBeLessThan(25)
    const waits = sent.slice(1).map((at, index) => at - sent[index]!)
    expect(waits.slice(1, 5).map(Math.round)).toEqual([1_000, 2_000, 4_000, 8_000])
  })
})

describe('a request that is always refused', () => {
  test('stops nobody else, and is settled with its own error after maxAttempts', async () => {
    const { quota, finish } = world({ limit: 100, windowMs: 1_000 })
    let tries = 0
    const results = await finish(
      batch(numbers(50), {
        keys: KEY,
        quota,
        send: async (n) => {
          if (n !== 7) return n
          tries++
          throw new Refused(1_000)
        },
      }),
    )
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(49)
    expect(results[7]).toMatchObject({ status: 'rejected', reason: { status: 429 } })
    expect(tries).toBe(5)
  })

  test('is tried as often as maxAttempts says', async () => {
    const { quota, finish } = world({ limit: 100, windowMs: 1_000 })
    let tries = 0
    const send = async () => {
      tries++
      throw new Refused(10)
    }
    await finish(batch([0], { keys: KEY, quota, send, maxAttempts: 2 }))
    expect(tries).toBe(2)
  })
})

describe('a dead key', () => {
  const dead = () => Object.assign(new Error('401'), { keyDead: true })
  const KEYS = [
    { key: 'revoked', owner: 'a' },
    { key: 'good', owner: 'a' },
    { key: 'other', owner: 'b' },
  ]

  test('is taken out, and its requests go with another', async () => {
    const { quota, finish } = world({ limit: 100 })
    const used: string[] = []
    const send = async (n: number, key: string) => {
      used.push(key)
      if (key === 'revoked') throw dead()
      return n
    }
    const results = await finish(batch(numbers(60), { keys: KEYS, quota, send }))
    expect(outcomes(results)).toEqual(numbers(60))
    expect(new Set(used)).toEqual(new Set(['revoked', 'good', 'other']))
    // Those that were under way together found out together.
    expect(used.filter((key) => key === 'revoked').length).toBeLessThan(40)
  })

  test('takes its owner out where it is the last; the rest goes with the other owners', async () => {
    const { quota, finish } = world({ limit: 100 })
    const send = async (n: number, key: string) => {
      if (key !== 'other') throw dead()
      return n
    }
    expect(outcomes(await finish(batch(numbers(60), { keys: KEYS, quota, send })))).toEqual(numbers(60))
  })

  test('settles everything with its error where no key is left', async () => {
    const { quota, finish } = world({ limit: 100 })
    const results = await finish(batch(numbers(9), { keys: KEYS, quota, send: () => Promise.reject(dead()) }))
    expect(results.every(({ status }) => status === 'rejected')).toBe(true)
    expect(outcomes(results).every((reason) => (reason as { keyDead?: boolean }).keyDead)).toBe(true)
  })
})

test('an onProgress that rejects ends nothing', async () => {
  const { quota, finish } = world()
  const onProgress = async () => {
    throw new Error('the screen is gone')
  }
  const results = await finish(batch(numbers(3), { keys: KEY, quota, send: async (n) => n, onProgress }))
  expect(outcomes(results)).toEqual([0, 1, 2])
})

describe('ends', () => {
  test('a deadline settles what is left, and says what was sent and what was not', async () => {
    const { clock, quota } = world({ limit: 3 })
    const aborted: unknown[] = []
    const running = batch(numbers(5), {
      keys: KEY,
      quota,
      deadlineMs: 5_000,
      send: async (n, _key, { signal }) => {
        if (n === 2) {
          signal.addEventListener('abort', () => aborted.push(signal.reason))
          await new Promise(() => {})
        }
        return n
      },
    })
    await clock.advance(5_000)
    const results = await running
    expect(outcomes(results)).toEqual([0, 1, 'BATCH_DEADLINE', 'BATCH_DEADLINE', 'BATCH_DEADLINE'])
    const messages = results.map((result) => (result.status === 'rejected' ? String(result.reason) : ''))
    expect(messages[2]).toContain('was sent')
    expect(messages[3]).toContain('was not sent')
    expect(aborted).toHaveLength(1)
    expect(clock.sleepers).toBe(0)
  })

  test("an abort settles what is left with the signal's own reason, and sends nothing more", async () => {
    const { clock, quota } = world({ limit: 2 })
    const controller = new AbortController()
    let sent = 0
    const running = batch(numbers(5), { keys: KEY, quota, signal: controller.signal, send: async () => ++sent })
    await clock.advance(1_000)
    controller.abort(new Error('enough'))
    expect(await running).toEqual([
      { status: 'fulfilled', value: 1 },
      { status: 'fulfilled', value: 2 },
      ...Array(3).fill({ status: 'rejected', reason: new Error('enough') }),
    ])
    await clock.advance(60_000)
    expect(sent).toBe(2)
    expect(clock.sleepers).toBe(0)
  })

  test('a signal that aborted before sends nothing', async () => {
    const { quota } = world()
    const signal = AbortSignal.abort('no')
    const send = () => Promise.reject(new Error('sent'))
    expect(await batch([1], { keys: KEY, quota, signal, send })).toEqual([{ status: 'rejected', reason: 'no' }])
  })

  test('a send that hangs is given up after sendTimeoutMs, and not sent again', async () => {
    const { clock, quota, finish } = world()
    let hung = 0
    const results = await finish(
      batch(numbers(3), {
        keys: KEY,
        quota,
        sendTimeoutMs: 2_000,
        send: (n) => {
          if (n > 0) return Promise.resolve(n)
          hung++
          return new Promise(() => {})
        },
      }),
    )
    expect(outcomes(results)).toEqual(['BATCH_SEND_TIMEOUT', 1, 2])
    expect(hung).toBe(1)
    expect(clock.sleepers).toBe(0)
  })

  test('sends that do not listen to their signal keep their places until they end: no more are under way than may be', async () => {
    const { clock, quota, finish } = world({ limit: 1_000 })
    const began = clock.monotonic()
    let [underWay, most] = [0, 0]
    const settledAt: number[] = []
    const results = await finish(
      batch(numbers(12), {
        keys: KEY,
        quota,
        concurrency: 4,
        sendTimeoutMs: 1_000,
        send: async () => {
          most = Math.max(most, ++underWay)
          await clock.sleep(1_800)
          underWay--
        },
        onProgress: ({ waitingUntil }) => {
          if (!waitingUntil) settledAt.push(clock.monotonic())
        },
      }),
    )
    expect(outcomes(results)).toEqual(Array(12).fill('BATCH_SEND_TIMEOUT'))
    expect(most).toBe(4)
    // It is settled at its deadline all the same.
    expect(settledAt[0]! - began).toBe(1_000)
    expect(clock.sleepers).toBeLessThanOrEqual(4)
  })

  test('a send that never ends keeps its place for as long again as it may take, and no longer', async () => {
    const { clock, quota, finish } = world()
    const sentAt: number[] = []
    const results = await finish(
      batch(numbers(3), {
        keys: KEY,
        quota,
        concurrency: 1,
        sendTimeoutMs: 1_000,
        send: () => {
          sentAt.push(clock.monotonic())
          return new Promise(() => {})
        },
      }),
    )
    expect(outcomes(results)).toEqual(Array(3).fill('BATCH_SEND_TIMEOUT'))
    expect(sentAt.map((at) => at - sentAt[0]!)).toEqual([0, 2_000, 4_000])
    expect(clock.sleepers).toBe(0)
  })

  test('owners that may make no call at all are said to be so', async () => {
    const { quota, finish } = world({ limit: 0 })
    expect(outcomes(await finish(batch([1, 2], { keys: KEY, quota, send: async () => 1 })))).toEqual([
      'QUOTA_NEVER',
      'QUOTA_NEVER',
    ])
  })

  test('an owner that was stopped with 0, and raised between two batches, is used by the second', async () => {
    const { quota, finish } = world({ limit: 0 })
    const go = () => finish(batch([1], { keys: KEY, quota, send: async (n) => n }))
    expect(outcomes(await go())).toEqual(['QUOTA_NEVER'])
    await quota.setLimit('a', 1)
    expect(outcomes(await go())).toEqual([1])
  })

  test('an owner that was stopped with 0 beside another, and raised between two batches, is used by the second', async () => {
    const { clock, quota, finish } = world({ limit: 5 })
    const keys = [...KEY, { key: 'l', owner: 'b' }]
    await quota.setLimit('b', 0)
    const used: string[] = []
    const send = async (_: number, key: string) => void used.push(key)
    await finish(batch(numbers(3), { keys, quota, send }))
    expect(used).not.toContain('l')
    await quota.setLimit('b', 5)
    await clock.advance(20_000)
    await finish(batch(numbers(10), { keys, quota, send }))
    expect(used.filter((key) => key === 'l')).toHaveLength(5)
  })

  test('an owner that was reset between two batches waits for no 429 of the first', async () => {
    const { clock, quota, finish } = world({ limit: 5 })
    const refused = async () => {
      throw new Refused(3_600_000)
    }
    await finish(batch([1], { keys: KEY, quota, deadlineMs: 1_000, send: refused }))
    await quota.reset('a')
    const began = clock.monotonic()
    let sentAt = Number.POSITIVE_INFINITY
    const send = async () => {
      sentAt = clock.monotonic()
    }
    await finish(batch([1], { keys: KEY, quota, deadlineMs: 60_000, send }))
    expect(sentAt - began).toBeLessThan(1_000)
  })

  test('a late answer that tells no end takes nothing from the window that has begun since', async () => {
    const { clock, quota, finish } = world({ limit: 5, windowMs: 10_000 })
    const running = batch(numbers(6), {
      keys: KEY,
      quota,
      send: async (n, _key, { learn }) => {
        await clock.sleep(n === 1 ? 12_000 : 50)
        learn(n === 1 ? { remaining: 0 } : {})
        return n
      },
    })
    await clock.advance(12_500)
    // One call of this window, and one that may have arrived in it.
    expect((await quota.state('a')).remaining).toBeGreaterThanOrEqual(3)
    await finish(running)
  })

  test('a quota that cannot tell its state rejects what costs too much, and nothing else', async () => {
    const { quota, finish } = world({ limit: 2 })
    const broken = {
      take: quota.take.bind(quota),
      learn: quota.learn.bind(quota),
      state: async () => Promise.reject(new Error('away')),
    }
    const running = batch([5, 1], { keys: KEY, quota: broken, cost: (n) => n, send: async (n) => n })
    expect(outcomes(await finish(running))).toEqual(['QUOTA_NEVER', 1])
  })

  test('a limit raised while it waits is used at once, and one lowered holds', async () => {
    const { clock, quota, finish } = world({ limit: 2, windowMs: 3_600_000 })
    const sent: number[] = []
    const running = batch(numbers(6), { keys: KEY, quota, send: async () => void sent.push(clock.monotonic()) })
    await clock.advance(1_000)
    expect(sent).toHaveLength(2)
    await quota.setLimit('a', 5)
    await clock.advance(1_000)
    expect(sent).toHaveLength(5)
    await quota.setLimit('a', 1)
    await finish(running, 60_000)
    expect(sent[5]).toBeGreaterThanOrEqual(3_600_000)
  })

  test('a quota that is closed or fails settles what is left with its error', async () => {
    const { clock, quota } = world({ limit: 1 })
    const running = batch(numbers(2), { keys: KEY, quota, send: async (n) => n })
    await clock.advance(100)
    await quota.close()
    await clock.advance(10_000)
    expect(outcomes(await running)).toEqual([0, 'CLOSED'])
  })
})

describe('progress', () => {
  test('tells how much is done, and until when it waits', async () => {
    const { clock, quota, finish } = world({ limit: 2 })
    const seen: BatchProgress[] = []
    const began = clock.now()
    await finish(batch(numbers(3), { keys: KEY, quota, send: async (n) => n, onProgress: (p) => seen.push(p) }))
    expect(seen.at(-1)).toEqual({ done: 3, total: 3 })
    const waits = seen.filter((progress) => progress.waitingUntil)
    expect(waits.length).toBeGreaterThan(0)
    expect(waits.at(-1)).toEqual({ done: 2, total: 3, waitingUntil: new Date(began + 10_000) })
    for (const wait of waits) expect(wait.waitingUntil).toEqual(new Date(began + 10_000))
  })

  test('a listener that throws changes nothing', async () => {
    const { quota, finish } = world()
    const onProgress = () => {
      throw new Error('mine')
    }
    expect(outcomes(await finish(batch([1], { keys: KEY, quota, send: async (n) => n, onProgress })))).toEqual([1])
  })
})

describe('several batches', () => {
  test("one owner's long batch does not hold up another's", async () => {
    const { clock, quota, finish } = world({ limit: 5 })
    let shortDoneAt = 0
    const long = batch(numbers(200), { keys: KEY, quota, send: async () => {} })
    const short = batch(numbers(5), { keys: [{ key: 'l', owner: 'b' }], quota, send: async () => {} }).then(() => {
      shortDoneAt = clock.monotonic()
    })
    await finish(Promise.all([long, short]))
    expect(shortDoneAt).toBeLessThan(10_000)
  })

  test('on one owner share it call by call, also where a window has only one', async () => {
    for (const limit of [1, 10]) {
      const { clock, quota, finish } = world({ limit })
      const sent: string[] = []
      const run = (name: string, n: number) =>
        batch(numbers(n), { keys: KEY, quota, send: async () => void sent.push(name) })
      const long = run('long', 40)
      await clock.advance(1_000)
      const short = run('short', 5)
      await finish(Promise.all([long, short]))
      const shortEnd = sent.lastIndexOf('short')
      expect(sent.slice(0, shortEnd).filter((name) => name === 'long').length, `limit ${limit}`).toBeLessThanOrEqual(
        limit + 6,
      )
    }
  })
})

describe('a call still under way when a window begins', () => {
  test('is counted in it, because it may arrive only then', async () => {
    const { clock, quota, finish } = world({ limit: 3, windowMs: 1_000 })
    const random = seeded(5)
    const upstream = new Upstream({
      clock,
      owners: { k: 'a' },
      pools: { a: { limit: 3, windowMs: 1_000 } },
      latency: () => 20 + 400 * random(),
    })
    await finish(
      batch(numbers(60), { keys: KEY, quota, send: async (_n, key, { learn }) => learn(await upstream.call(key)) }),
    )
    expect(upstream.refusals).toBe(0)
  })
})

describe('what cannot be used', () => {
  const quota = createOwnerQuota({ limit: 1, windowMs: 1 })
  const send = async () => 1
  test.each<[string, unknown, object]>([
    ['no keys', [1], { keys: [] }],
    ['keys that are no list', [1], { keys: 'k' }],
    ['a key without an owner', [1], { keys: [{ key: 'k' }] }],
    ['an empty key', [1], { keys: [{ key: '', owner: 'a' }] }],
    ['a key with two owners', [1], { keys: [...KEY, { key: 'k', owner: 'b' }] }],
    ['no quota', [1], { quota: undefined }],
    ['no send', [1], { send: 5 }],
    ['a concurrency of 0', [1], { concurrency: 0 }],
    ['a negative deadline', [1], { deadlineMs: -1 }],
    ['requests that are no list', 5, {}],
  ])('is refused: %s', async (_name, requests, options) => {
    const error = await batch(requests as number[], { keys: KEY, quota, send, ...options } as never).catch(
      (error: unknown) => error,
    )
    expect(error).toBeInstanceOf(HoldfastError)
    expect(error).toMatchObject({ code: 'INVALID_OPTION' })
    expect(String(error)).not.toContain("'k'")
  })
})

test("a quota of somebody's own will do: it needs the four methods only", async () => {
  let left = 3
  const own: Pick<OwnerQuota, 'take' | 'state' | 'setLimit' | 'learn' | 'close'> = {
    take: async () => {
      if (left-- > 0) return { ok: true, remaining: left }
      left = 3
      return { ok: false, remaining: 0, retryAfterMs: 20 }
    },
    state: async () => ({ limit: 3, remaining: left, resetAt: new Date(0) }),
    setLimit: async () => {},
    learn: () => {
      throw new Error('not today')
    },
    close: async () => {},
  }
  expect(
    outcomes(
      await batch(numbers(5), {
        keys: KEY,
        quota: own,
        send: async (n, _key, { learn }) => {
          learn({ remaining: 1 })
          return n
        },
      }),
    ),
  ).toEqual([0, 1, 2, 3, 4])
})

test('whatever answers come and however late, every request is settled once and in its place', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.record({ ms: fc.nat({ max: 5_000 }), how: fc.constantFrom('ok', 'ok', 'ok', '429', 'throw') }), {
        maxLength: 40,
      }),
      fc.integer({ min: 1, max: 6 }),
      fc.integer({ min: 1, max: 8 }),
      async (plan, limit, concurrency) => {
        const { clock, quota, finish } = world({ limit, limits: { b: limit + 1 } })
        const tries = new Map<number, number>()
        let underWay = 0
        let most = 0
        const progress: number[] = []
        const results = await finish(
          batch(numbers(plan.length), {
            keys: [...KEY, { key: 'l', owner: 'b' }, { key: 'm', owner: 'b' }],
            quota,
            concurrency,
            onProgress: ({ done }) => progress.push(done),
            send: async (n) => {
              most = Math.max(most, ++underWay)
              const { ms, how } = plan[n]!
              const attempt = (tries.get(n) ?? 0) + 1
              tries.set(n, attempt)
              await clock.sleep(ms)
              underWay--
              if (how === '429' && attempt === 1) throw new Refused(700)
              if (how === 'throw') throw n
              return n
            },
          }),
          5_000,
        )
        expect(
          results.map((result, index) => (result.status === 'fulfilled' ? result.value : result.reason) === index),
        ).toEqual(plan.map(() => true))
        for (const [n, { how }] of plan.entries()) expect(tries.get(n)).toBe(how === '429' ? 2 : 1)
        expect(most).toBeLessThanOrEqual(concurrency)
        expect(progress).toEqual([...progress].sort((a, b) => a - b))
        expect(clock.sleepers).toBe(0)
      },
    ),
    { numRuns: 60 },
  )
})

describe('the uses of keys', () => {
  const KEYS = [
    { key: 'k', owner: 'a', id: 'id k' },
    { key: 'l', owner: 'b', id: 'id l' },
  ]
  const warnings = async (run: () => Promise<unknown>) => {
    const emitWarning = vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
    try {
      await run()
      return emitWarning.mock.calls.map(([text]) => String(text))
    } finally {
      emitWarning.mockRestore()
    }
  }

  test('are noted in the vault: at the first call, once a minute after that, one at a time, and before it resolves', async () => {
    const { clock, quota, finish } = world({ limit: 10 })
    const noted: Array<readonly [string, number]> = []
    let atOnce = 0
    const began = clock.monotonic()
    const vault = {
      touch: async (id: string) => {
        expect(++atOnce).toBe(1)
        await clock.sleep(5)
        atOnce--
        noted.push([id, Math.floor((clock.monotonic() - began) / 60_000)])
      },
    }
    await finish(batch(numbers(140), { keys: KEYS, quota, vault, send: async (n) => n }))
    const minutes = (id: string) => noted.filter(([of]) => of === id).map(([, minute]) => minute)
    expect(minutes('id k')).toEqual([0, 1])
    expect(minutes('id l')).toEqual([0, 1])
  })

  test('stop no call where they cannot be noted: a warning says so, once, and shows no key', async () => {
    const { quota, finish } = world({ limit: 10 })
    const touch = vi.fn(async () => {
      throw Object.assign(new Error('k'), { code: 'DATABASE_UNAVAILABLE' })
    })
    const said = await warnings(async () => {
      const results = await finish(batch(numbers(50), { keys: KEYS, quota, vault: { touch }, send: async (n) => n }))
      expect(outcomes(results)).toEqual(numbers(50))
    })
    expect(said).toEqual([expect.stringContaining('(DATABASE_UNAVAILABLE)')])
    expect(touch).toHaveBeenCalledTimes(1)
  })

  test('hold up the end of a batch no longer than 10 s, and not where it is ended early', async () => {
    const { clock, quota } = world({ limit: 100 })
    const vault = { touch: () => new Promise<void>(() => {}) }
    const options = { keys: KEYS, quota, vault, send: async (n: number) => n }
    const stop = new AbortController()
    const endedAt: number[] = []
    const began = clock.monotonic()
    const ends = (running: Promise<unknown>) => running.then(() => endedAt.push(clock.monotonic() - began))
    const said = await warnings(async () => {
      const hanging = ends(batch(numbers(4), options))
      const ended = ends(
        batch(numbers(4), { ...options, signal: stop.signal, send: () => new Promise<number>(() => {}) }),
      )
      const late = ends(batch(numbers(4), { ...options, deadlineMs: 3_000 }))
      await clock.advance(1_000)
      stop.abort()
      await clock.advance(20_000)
      await Promise.all([hanging, ended, late])
    })
    expect(endedAt).toEqual([1_000, 3_000, 10_000])
    expect(said).toHaveLength(3)
  })
})
