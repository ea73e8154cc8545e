import { describe, expect, test } from 'vitest'
import type { AppliedLimit } from '../../src/guard/applied-limit.ts'
import type { CallerKind, Costs, Taken } from '../../src/guard/counters.ts'

/** Counters of some kind, and the time they live in. */
export interface Counting {
  take(
    kind: CallerKind,
    id: string,
    limits: readonly AppliedLimit[],
    mayRefuse?: boolean,
    costs?: Costs,
  ): Promise<Taken> | Taken
  /** Lets time pass for them. */
  wait(ms: number): Promise<void>
  now(): number
}

let slots = 0

export function quota(limit: number, windowMs: number | 'month', counter = `counter ${slots + 1}`): AppliedLimit {
  slots++
  return {
    counter,
    slot: slots,
    name: counter,
    limit,
    ceiling: limit * 10,
    windowMs,
    sliding: false,
    cost: 1,
    onStoreError: 'local',
  }
}

export const sliding = (limit: number, windowMs: number): AppliedLimit => ({ ...quota(limit, windowMs), sliding: true })

const WINDOW_MS = 400
const LONG_MS = 3_600_000

/** What holds for counters wherever they are. */
export function countersContract(make: () => Counting): void {
  let callers = 0
  const caller = () => `caller ${callers++} ${Math.random()}`
  const many = async (times: number, take: () => Promise<Taken> | Taken) => {
    const taken: Taken[] = []
    for (let time = 0; time < times; time++) taken.push(await take())
    return taken.filter(({ admitted }) => admitted).length
  }

  test('a limit admits its number, and refuses what comes on top until its window ends', async () => {
    const counting = make()
    const [id, quotas] = [caller(), [quota(3, WINDOW_MS)]]
    expect(await many(10, () => counting.take('ip', id, quotas))).toBe(3)
    const refused = await counting.take('ip', id, quotas)
    expect(refused.admitted).toBe(false)
    expect(refused.retryAfterMs).toBeGreaterThan(0)
    expect(refused.retryAfterMs).toBeLessThanOrEqual(WINDOW_MS)
    expect(refused.counts).toMatchObject([{ used: 3, windowMs: WINDOW_MS, refuses: true }])
    await counting.wait(refused.retryAfterMs)
    expect(await many(10, () => counting.take('ip', id, quotas))).toBe(3)
  })

  test('a window begins with its first request', async () => {
    const counting = make()
    const [id, quotas] = [caller(), [quota(1, WINDOW_MS)]]
    await counting.wait(WINDOW_MS * 0.7)
    const first = await counting.take('ip', id, quotas)
    expect(first.counts[0]!.resetInMs).toBe(WINDOW_MS)
    await counting.wait(WINDOW_MS * 0.4)
    expect((await counting.take('ip', id, quotas)).admitted).toBe(false)
  })

  test('several limits are taken together or not at all', async () => {
    const counting = make()
    const id = caller()
    const [short, long] = [quota(1, LONG_MS), quota(10, LONG_MS)]
    expect(await many(5, () => counting.take('user', id, [short, long]))).toBe(1)
    const { counts } = await counting.take('user', id, [long])
    expect(counts[0]!.used).toBe(2)
  })

  test('a refusal names the limits that refuse, and waits for the last of them', async () => {
    const counting = make()
    const id = caller()
    const [short, long, open] = [quota(1, WINDOW_MS), quota(1, LONG_MS), quota(5, 2 * LONG_MS)]
    await counting.take('user', id, [short, long, open])
    const refused = await counting.take('user', id, [short, long, open])
    expect(refused.counts.map(({ refuses }) => refuses)).toEqual([true, true, false])
    expect(refused.retryAfterMs).toBeGreaterThan(LONG_MS - WINDOW_MS)
    expect(refused.retryAfterMs).toBeLessThanOrEqual(LONG_MS)
  })

  test('a refused request begins no window', async () => {
    const counting = make()
    const id = caller()
    const [spent, fresh] = [quota(1, LONG_MS), quota(1, WINDOW_MS)]
    await counting.take('user', id, [spent])
    const refused = await counting.take('user', id, [spent, fresh])
    expect(refused.counts[1]).toMatchObject({ used: 0, resetInMs: WINDOW_MS, refuses: false })
    expect((await counting.take('user', id, [fresh])).counts[0]!.resetInMs).toBe(WINDOW_MS)
  })

  test('callers do not count for each other, nor do kinds of callers', async () => {
    const counting = make()
    const [id, quotas] = [caller(), [quota(1, LONG_MS)]]
    for (const kind of ['user', 'session', 'ip'] as const)
      expect(await many(2, () => counting.take(kind, id, quotas))).toBe(1)
    const other = caller()
    expect(await many(2, () => counting.take('ip', other, quotas))).toBe(1)
  })

  test('limits with one counter share it, whatever route they stand at', async () => {
    const counting = make()
    const id = caller()
    const shared = quota(3, LONG_MS)
    expect(await many(2, () => counting.take('user', id, [shared, quota(5, LONG_MS)]))).toBe(2)
    expect(await many(2, () => counting.take('user', id, [shared]))).toBe(1)
  })

  test('a refund gives the places back, in every limit', async () => {
    const counting = make()
    const [id, quotas] = [caller(), [quota(1, LONG_MS), quota(1, 'month')]]
    const first = await counting.take('user', id, quotas)
    expect((await counting.take('user', id, quotas)).admitted).toBe(false)
    expect(await first.refund()).toBe(true)
    const again = await counting.take('user', id, quotas)
    expect(again.admitted).toBe(true)
    expect(again.counts.map(({ used }) => used)).toEqual([1, 1])
  })

  test('a refund into a window that is over goes nowhere', async () => {
    const counting = make()
    const [id, quotas] = [caller(), [quota(1, WINDOW_MS)]]
    const early = await counting.take('user', id, quotas)
    await counting.wait(WINDOW_MS + 1)
    const late = await counting.take('user', id, quotas)
    expect(late.admitted).toBe(true)
    expect(await early.refund()).toBe(false)
    expect((await counting.take('user', id, quotas)).admitted).toBe(false)
  })

  test('… also where nobody has come since', async () => {
    const counting = make()
    const [id, quotas] = [caller(), [quota(1, WINDOW_MS)]]
    const early = await counting.take('user', id, quotas)
    await counting.wait(WINDOW_MS + 1)
    expect(await early.refund()).toBe(false)
    expect(await many(3, () => counting.take('user', id, quotas))).toBe(1)
  })

  test('a refund takes back what is over and leaves what is not', async () => {
    const counting = make()
    const id = caller()
    const [short, long] = [quota(1, WINDOW_MS), quota(1, LONG_MS)]
    const taken = await counting.take('user', id, [short, long])
    await counting.wait(WINDOW_MS + 1)
    expect(await taken.refund()).toBe(true)
    expect(await many(3, () => counting.take('user', id, [long]))).toBe(1)
  })

  test('what may not be refused counts, so that the next that may is; ten times the limit stops it too', async () => {
    const counting = make()
    const [id, quotas] = [caller(), [quota(2, LONG_MS)]]
    expect(await many(2, () => counting.take('ip', id, quotas, false))).toBe(2)
    expect((await counting.take('ip', id, quotas, true)).admitted).toBe(false)
    expect(await many(30, () => counting.take('ip', id, quotas, false))).toBe(18)
    const refused = await counting.take('ip', id, quotas, false)
    expect(refused.counts).toMatchObject([{ used: 20, refuses: true }])
  })

  test('refunds do not lower the count that the ceiling is held against', async () => {
    const counting = make()
    const [id, quotas] = [caller(), [quota(1, LONG_MS)]]
    let admitted = 0
    for (let time = 0; time < 15; time++) {
      const taken = await counting.take('user', id, quotas)
      if (taken.admitted) admitted++
      if (taken.admitted) await taken.refund()
    }
    expect(admitted).toBe(10)
  })

  test('no limits admit everything', async () => {
    const taken = await make().take('ip', caller(), [])
    expect(taken).toMatchObject({ admitted: true, counts: [], retryAfterMs: 0 })
    expect(await taken.refund()).toBe(false)
  })

  test('a month says how long it is, and when it ends', async () => {
    const { counts } = await make().take('ip', caller(), [quota(1, 'month')])
    const days = counts[0]!.windowMs / 86_400_000
    expect([28, 29, 30, 31]).toContain(days)
    expect(counts[0]!.resetInMs).toBeLessThanOrEqual(counts[0]!.windowMs)
  })

  test('a short window that begins anew does not shorten the memory of a long one', async () => {
    const counting = make()
    const [id, short, long] = [caller(), quota(5, WINDOW_MS), quota(1, 'month')]
    expect((await counting.take('user', id, [short, long])).admitted).toBe(true)
    await counting.wait(WINDOW_MS + 1)
    await counting.take('user', id, [short])
    await counting.wait(WINDOW_MS + 1)
    expect((await counting.take('user', id, [long])).admitted).toBe(false)
  })

  test('points are charged together and given back together', async () => {
    const counting = make()
    const [id, limits] = [caller(), [{ ...quota(10, LONG_MS), cost: () => 0 }, quota(3, LONG_MS)]]
    const first = await counting.take('user', id, limits, true, [7, 1])
    expect(first.counts.map(({ used }) => used)).toEqual([7, 1])
    expect((await counting.take('user', id, limits, true, [4, 1])).admitted).toBe(false)
    expect((await counting.take('user', id, limits, true, [3, 1])).counts.map(({ used }) => used)).toEqual([10, 2])
    expect(await first.refund()).toBe(true)
    expect((await counting.take('user', id, limits, true, [7, 1])).counts.map(({ used }) => used)).toEqual([10, 2])
  })

  test('many limits at once are taken together, too', async () => {
    const counting = make()
    const [id, limits] = [caller(), Array.from({ length: 90 }, (_, index) => quota(index + 2, LONG_MS))]
    expect(await many(5, () => counting.take('user', id, limits))).toBe(2)
    expect((await counting.take('user', id, limits.slice(1))).counts[0]!.used).toBe(3)
  })

  describe('a window that slides', () => {
    test('of many at once exactly the limit passes', async () => {
      const counting = make()
      const [id, limits] = [caller(), [sliding(7, LONG_MS)]]
      const taken = await Promise.all(Array.from({ length: 50 }, () => counting.take('user', id, limits)))
      expect(taken.filter(({ admitted }) => admitted).length).toBe(7)
    })

    test('who waits Retry-After passes, and who comes sooner does not', async () => {
      const counting = make()
      const [id, limits] = [caller(), [sliding(4, 2 * WINDOW_MS)]]
      for (let round = 0; round < 3; round++) {
        await many(10, () => counting.take('user', id, limits))
        const refused = await counting.take('user', id, limits)
        expect([refused.admitted, refused.counts[0]!.refuses]).toEqual([false, true])
        expect(refused.retryAfterMs).toBeGreaterThan(0)
        expect(refused.retryAfterMs).toBeLessThanOrEqual(4 * WINDOW_MS)
        await counting.wait(refused.retryAfterMs)
        expect((await counting.take('user', id, limits)).admitted).toBe(true)
      }
    })

    test('the whole limit is back after two quiet windows, and only then', async () => {
      const counting = make()
      const [id, limits] = [caller(), [sliding(6, WINDOW_MS)]]
      expect(await many(9, () => counting.take('user', id, limits))).toBe(6)
      await counting.wait(2 * WINDOW_MS + 1)
      expect(await many(9, () => counting.take('user', id, limits))).toBe(6)
      await counting.wait(WINDOW_MS * 1.2)
      expect(await many(9, () => counting.take('user', id, limits))).toBeLessThan(6)
    })

    test('within any share of the window at most (1 + share) × limit + 1 pass, however they come', async () => {
      const counting = make()
      const [id, limit] = [caller(), 10]
      const limits = [sliding(limit, WINDOW_MS)]
      const passed: Array<readonly [from: number, to: number]> = []
      const began = counting.now()
      while (counting.now() - began < 4 * WINDOW_MS) {
        for (let time = 0; time < 4; time++) {
          const from = counting.now()
          if ((await counting.take('user', id, limits)).admitted) passed.push([from, counting.now()])
        }
        await counting.wait(7)
      }
      expect(passed.length).toBeGreaterThan(2 * limit)
      for (const [first, [from]] of passed.entries())
        for (let last = first; last < passed.length; last++) {
          const share = (passed[last]![1] - from) / WINDOW_MS
          if (share <= 1) expect(last - first + 1).toBeLessThanOrEqual((1 + share) * limit + 1)
        }
    })

    test('is given back into the window that was charged, also while it fades', async () => {
      const counting = make()
      const [id, limits] = [caller(), [sliding(4, WINDOW_MS)]]
      const taken = [await counting.take('user', id, limits), await counting.take('user', id, limits)]
      expect((await counting.take('user', id, limits)).counts[0]!.used).toBe(3)
      expect(await taken[0]!.refund()).toBe(true)
      expect((await counting.take('user', id, limits)).counts[0]!.used).toBe(3)
      await counting.wait(WINDOW_MS)
      expect(await taken[1]!.refund()).toBe(true)
      await counting.wait(2 * WINDOW_MS)
      const late = await counting.take('user', id, limits)
      await counting.wait(2 * WINDOW_MS + 1)
      expect(await late.refund()).toBe(false)
    })

    test('what may not be refused is stopped at ten times the limit', async () => {
      const counting = make()
      const [id, limits] = [caller(), [sliding(2, LONG_MS)]]
      expect(await many(40, () => counting.take('user', id, limits, false))).toBe(20)
    })
  })
}
