import { batch, createOwnerQuota } from 'holdfast'
import { describe, expect, test } from 'vitest'
import { createVirtualClock } from '../../src/simulator/virtual-clock.ts'
import { Refused } from './upstream.ts'

const KEYS = [
  { key: 'k-1', owner: 'a' },
  { key: 'k-2', owner: 'a' },
]
const numbers = (n: number) => Array.from({ length: n }, (_, index) => index)

function world(options: { limit?: number; limits?: Record<string, number> } = {}) {
  const clock = createVirtualClock()
  return { clock, quota: createOwnerQuota({ limit: 100, windowMs: 10_000, clock, ...options }) }
}

describe('cost', () => {
  test('is what a request takes of its owner', async () => {
    const { quota } = world()
    await batch([1, 5, 9], { keys: KEYS, quota, send: async (n) => n, cost: (n) => n })
    expect(await quota.state('a')).toMatchObject({ remaining: 85 })
  })

  test('that cannot be, or is more than any window has, rejects its request with the reason, and the rest goes', async () => {
    const { clock, quota } = world()
    const costs = [1, 0, -2, 1.5, Number.NaN, 101, 2]
    const running = batch(costs, { keys: KEYS, quota, send: async (n) => n, cost: (n) => n })
    await clock.advance(1_000)
    expect(
      (await running).map((r) => (r.status === 'fulfilled' ? r.value : (r.reason as { code: string }).code)),
    ).toEqual([1, 'INVALID_OPTION', 'INVALID_OPTION', 'INVALID_OPTION', 'INVALID_OPTION', 'QUOTA_NEVER', 2])
  })

  test('goes to the owner whose window is large enough', async () => {
    const { clock, quota } = world({ limits: { small: 3 } })
    const owners: string[] = []
    const running = batch([10, 10, 10], {
      keys: [{ key: 's', owner: 'small' }, ...KEYS],
      quota,
      cost: (n) => n,
      send: async (_n, _key, { owner }) => void owners.push(owner),
    })
    await clock.advance(1_000)
    await running
    expect(owners).toEqual(['a', 'a', 'a'])
  })
})

describe('priority', () => {
  test('lets the higher go first, and keeps the order within one, also for what goes again', async () => {
    const { clock, quota } = world({ limit: 3 })
    const sent: number[] = []
    const running = batch(numbers(6), {
      keys: [KEYS[0]!],
      quota,
      concurrency: 1,
      priority: (n) => (n >= 4 ? 1 : n === 0 ? -1 : 0),
      send: async (n) => {
        sent.push(n)
        if (n === 4 && sent.length === 1) throw new Refused(1_000)
      },
    })
    await clock.advance(60_000)
    expect((await running).every(({ status }) => status === 'fulfilled')).toBe(true)
    expect(sent).toEqual([4, 5, 4, 1, 2, 3, 0])
  })

  test('that is no number rejects its request', async () => {
    const { quota } = world()
    const [result] = await batch([1], { keys: KEYS, quota, send: async (n) => n, priority: () => Number.NaN })
    expect(result).toMatchObject({ status: 'rejected', reason: { code: 'INVALID_OPTION' } })
  })
})

describe('keys', () => {
  const spread = async (
    keys: Parameters<typeof batch<number, void>>[1]['keys'],
    options: object = {},
    requests = 12,
  ) => {
    const { clock, quota } = world()
    const sent: string[] = []
    const underWay = new Map<string, number>()
    let mostPerKey = 0
    let mostInAll = 0
    const count = (key: string, by: number) => {
      underWay.set(key, (underWay.get(key) ?? 0) + by)
      mostPerKey = Math.max(mostPerKey, underWay.get(key)!)
      mostInAll = Math.max(
        mostInAll,
        [...underWay.values()].reduce((sum, n) => sum + n, 0),
      )
    }
    const running = batch(numbers(requests), {
      keys,
      quota,
      ...options,
      send: async (_n, key) => {
        sent.push(key)
        count(key, 1)
        await clock.sleep(100)
        count(key, -1)
      },
    })
    await clock.advance(9_000)
    const early = sent.length
    await clock.advance(60_000)
    expect((await running).every(({ status }) => status === 'fulfilled')).toBe(true)
    return { sent, early, mostPerKey, mostInAll }
  }

  test('concurrencyPerKey and concurrencyPerOwner hold', async () => {
    expect(await spread(KEYS, { concurrencyPerKey: 2 })).toMatchObject({ mostPerKey: 2, mostInAll: 4 })
    expect(await spread(KEYS, { concurrencyPerOwner: 3 })).toMatchObject({ mostInAll: 3 })
  })

  test('the primary one goes wherever it could', async () => {
    const { sent } = await spread([KEYS[0]!, { ...KEYS[1]!, primary: true }])
    expect(new Set(sent)).toEqual(new Set(['k-2']))
    const shared = await spread([KEYS[0]!, { ...KEYS[1]!, primary: true }], { concurrencyPerKey: 1 })
    expect(new Set(shared.sent)).toEqual(new Set(['k-1', 'k-2']))
    expect(shared.sent[0]).toBe('k-2')
  })

  test("a key's own limit holds within its owner's, and the rest waits for its next window", async () => {
    const both = await spread([
      { ...KEYS[0]!, limit: 2 },
      { ...KEYS[1]!, limit: null },
    ])
    expect(both.sent.filter((key) => key === 'k-1')).toHaveLength(2)
    const alone = await spread([{ ...KEYS[0]!, limit: 5 }])
    expect(alone.early).toBe(5)
    expect(alone.sent).toHaveLength(12)
  })

  test("a key's own limit is one for all batches of this process", async () => {
    const { clock, quota } = world()
    let sent = 0
    const send = async () => void sent++
    const keys = [{ ...KEYS[0]!, limit: 5 }]
    const running = [1, 2].map(() => batch(numbers(4), { keys, quota, send }))
    await clock.advance(9_000)
    expect(sent).toBe(5)
    await clock.advance(9_000)
    await Promise.all(running)
    expect(sent).toBe(8)
  })

  test('that may make no call at all reject what waits for them', async () => {
    const { clock, quota } = world()
    const running = batch([1], { keys: [{ ...KEYS[0]!, limit: 0 }], quota, send: async (n) => n })
    await clock.advance(1_000)
    expect(await running).toMatchObject([{ status: 'rejected', reason: { code: 'QUOTA_NEVER' } }])
    for (const limit of [-1, 1.5, '3'])
      await expect(
        batch([1], { keys: [{ ...KEYS[0]!, limit: limit as number }], quota, send: async (n) => n }),
      ).rejects.toMatchObject({ code: 'INVALID_OPTION' })
  })
})

test('a first call that hangs is followed by another after a few round trips, and the owner goes on', async () => {
  const { clock, quota } = world({ limit: 20 })
  let calls = 0
  const running = batch(numbers(10), {
    keys: [KEYS[0]!],
    quota,
    send: async () => {
      if (++calls === 1) await new Promise(() => {})
      await clock.sleep(50)
    },
  })
  await clock.advance(6_000)
  expect(calls).toBe(10)
  await clock.advance(60_000)
  const results = await running
  expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(9)
  expect(results[0]).toMatchObject({ status: 'rejected', reason: { code: 'BATCH_SEND_TIMEOUT' } })
})

test('a request that waits for the one large window does not keep the processor busy with the small ones', async () => {
  const { clock, quota } = world({ limit: 2, limits: { large: 9 } })
  let asked = 0
  const waits: Array<Date | undefined> = []
  const began = clock.now()
  const running = batch([8, 8], {
    keys: [...KEYS, { key: 'l', owner: 'large' }],
    quota,
    cost: (n) => n,
    send: async () => ++asked,
    onProgress: ({ waitingUntil }) => waits.push(waitingUntil),
  })
  await clock.advance(9_000)
  expect(asked).toBe(1)
  expect(waits.at(-1)).toEqual(new Date(began + 10_000))
  await clock.advance(2_000)
  expect((await running).map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled'])
})
