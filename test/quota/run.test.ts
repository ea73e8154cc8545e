import { batch, createOwnerQuota, type OwnerQuota } from 'holdfast'
import { describe, expect, test } from 'vitest'
import { createVirtualClock } from '../../src/simulator/virtual-clock.ts'
import { Refused, Upstream } from './upstream.ts'

function world(options: { limit?: number; limits?: Record<string, number> } = {}) {
  const clock = createVirtualClock()
  return { clock, quota: createOwnerQuota({ limit: 10, windowMs: 10_000, clock, ...options }) }
}
const settled = async <T>(running: Promise<T>) => running.catch((error: unknown) => error)

describe('run', () => {
  test('spends windows one after another without a 429, in the order of the calls, and resolves as send does', async () => {
    const { clock, quota } = world()
    const upstream = new Upstream({
      clock,
      owners: { k: 'a' },
      pools: { a: { limit: 10, windowMs: 10_000 } },
      latency: () => 50,
    })
    const done: number[] = []
    const runs = Array.from({ length: 25 }, (_, n) =>
      quota.run('a', async ({ learn }) => {
        learn(await upstream.call('k'))
        done.push(n)
        return n * 2
      }),
    )
    await clock.advance(60_000)
    expect(await Promise.all(runs)).toEqual(runs.map((_, n) => n * 2))
    expect(done).toEqual(runs.map((_, n) => n))
    expect(upstream.refusals).toBe(0)
    expect(Math.max(...upstream.calls.map(({ at }) => at))).toBeLessThan(21_000)
  })

  test('goes again after a 429, as often as maxAttempts says, and then rejects with it', async () => {
    const { clock, quota } = world()
    let tries = 0
    const twice = quota.run('a', async () => {
      if (++tries < 3) throw new Refused(500)
      return 'through'
    })
    await clock.advance(20_000)
    expect(await twice).toBe('through')
    const always = settled(
      quota.run(
        'b',
        () => {
          tries++
          throw new Refused(500)
        },
        { maxAttempts: 2 },
      ),
    )
    await clock.advance(20_000)
    expect(await always).toBeInstanceOf(Refused)
    expect(tries).toBe(5)
  })

  test('one call that is always refused does not stop the others', async () => {
    const { clock, quota } = world()
    const poisoned = settled(quota.run('a', () => Promise.reject(new Refused(100)), { maxAttempts: 1_000 }))
    const good = Array.from({ length: 30 }, (_, n) => quota.run('a', async () => n))
    await clock.advance(120_000)
    expect(await Promise.all(good)).toHaveLength(30)
    await quota.close()
    expect(await poisoned).toMatchObject({ code: 'CLOSED' })
  })

  test('any other error is its own, once', async () => {
    const { quota } = world()
    let sent = 0
    const failing = quota.run('a', () => {
      sent++
      throw new Error('no')
    })
    await expect(failing).rejects.toThrow('no')
    expect(sent).toBe(1)
  })

  test('ends at its deadline and at an abort, in the line and under way, and says whether it was sent', async () => {
    const { clock, quota } = world({ limit: 1 })
    let inner: AbortSignal | undefined
    const hangs = settled(
      quota.run(
        'a',
        ({ signal }) => {
          inner = signal
          return new Promise(() => {})
        },
        { deadlineMs: 2_000 },
      ),
    )
    const waits = settled(quota.run('a', async () => 1, { deadlineMs: 1_500 }))
    const controller = new AbortController()
    const given = settled(quota.run('a', async () => 1, { signal: controller.signal }))
    await clock.advance(1_000)
    controller.abort(new Error('left'))
    expect(await given).toMatchObject({ message: 'left' })
    await clock.advance(1_000)
    expect(await waits).toMatchObject({
      code: 'QUOTA_DEADLINE',
      message: expect.stringContaining('no turn within 1500'),
    })
    expect(await hangs).toMatchObject({ code: 'QUOTA_DEADLINE', message: expect.stringContaining('was sent') })
    expect(inner?.aborted).toBe(true)
    await expect(quota.run('a', async () => 1, { signal: AbortSignal.abort(new Error('before')) })).rejects.toThrow(
      'before',
    )
    expect(clock.sleepers).toBe(0)
  })

  test('counts its cost, and one that no window can take is rejected and holds up nobody', async () => {
    const { clock, quota } = world()
    const dear = settled(quota.run('a', async () => 1, { cost: 11 }))
    expect(await quota.run('a', async () => 'small', { cost: 4 })).toBe('small')
    expect(await dear).toMatchObject({ code: 'QUOTA_NEVER', message: expect.stringContaining('costs 11') })
    expect(await quota.state('a')).toMatchObject({ remaining: 6 })
    const done: boolean[] = []
    const waits = quota.run('a', async () => void done.push(true), { cost: 7 })
    await clock.advance(9_000)
    expect(done).toEqual([])
    await clock.advance(2_000)
    await waits
    expect(await quota.state('a')).toMatchObject({ remaining: 3 })
  })

  test('an owner who may make no call is told so, and other owners go on', async () => {
    const { quota } = world({ limits: { stopped: 0 } })
    await expect(quota.run('stopped', async () => 1)).rejects.toMatchObject({ code: 'QUOTA_NEVER' })
    expect(await quota.run('a', async () => 1)).toBe(1)
  })

  test('shares its owner with batches, call by call', async () => {
    const { clock, quota } = world({ limit: 4 })
    const order: string[] = []
    const running = batch([1, 2, 3, 4, 5, 6], {
      keys: [{ key: 'k', owner: 'a' }],
      quota,
      send: async (n) => void order.push(`batch ${n}`),
    })
    const run = quota.run('a', async () => void order.push('run'))
    await clock.advance(30_000)
    await Promise.all([running, run])
    expect(order.indexOf('run')).toBeLessThan(3)
  })

  test('a closed quota rejects what waits, however long it would have waited', async () => {
    const { clock, quota } = world({ limit: 1 })
    await quota.run('a', async () => 1)
    await quota.learn('a', { retryAfterMs: 3_600_000 })
    const waits = settled(quota.run('a', async () => 1))
    await clock.advance(1_000)
    await quota.close()
    expect(await waits).toMatchObject({ code: 'CLOSED' })
    expect(await settled(quota.run('a', async () => 1))).toMatchObject({ code: 'CLOSED' })
  })

  test.each<[string, unknown[]]>([
    ['no owner', ['', async () => 1]],
    ['no function', ['a', 5]],
    ['a cost of 0', ['a', async () => 1, { cost: 0 }]],
    ['a negative cost', ['a', async () => 1, { cost: -1 }]],
    ['half a call', ['a', async () => 1, { cost: 1.5 }]],
    ['no attempts', ['a', async () => 1, { maxAttempts: 0 }]],
    ['an unknown option', ['a', async () => 1, { costs: 1 }]],
  ])('refuses %s', async (_name, args) => {
    const { quota } = world()
    const run = quota.run.bind(quota) as (...args: unknown[]) => ReturnType<OwnerQuota['run']>
    await expect(run(...args)).rejects.toMatchObject({ code: 'INVALID_OPTION' })
  })
})
