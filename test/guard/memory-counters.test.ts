import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { AppliedLimit } from '../../src/guard/applied-limit.ts'
import type { Taken } from '../../src/guard/counters.ts'
import { MemoryCounters } from '../../src/guard/memory-counters.ts'
import { createVirtualClock } from '../../src/simulator/virtual-clock.ts'
import { type Counting, countersContract, quota } from './counters-contract.ts'

const YES = { mayRefuse: () => true }
const NO = { mayRefuse: () => false }
const DAY = 86_400_000

function world(maxCallers = 1_000, startMs?: number) {
  const clock = createVirtualClock(startMs)
  const counters = new MemoryCounters({ clock, maxCallers })
  const take = (id: string, quotas: readonly AppliedLimit[]) => counters.take('ip', id, quotas, YES)
  return { clock, counters, take }
}

describe('in memory', () => {
  countersContract((): Counting => {
    const { clock, counters } = world()
    return {
      take: (kind, id, limits, mayRefuse = true, costs) => counters.take(kind, id, limits, mayRefuse ? YES : NO, costs),
      wait: (ms) => clock.advance(ms),
      now: () => clock.monotonic(),
    }
  })
})

describe('a calendar month', () => {
  test.each([
    ['28 days', '2026-02', 28],
    ['29 days', '2028-02', 29],
    ['30 days', '2026-04', 30],
    ['31 days', '2026-12', 31],
    ['28 days of a century that is no leap year', '2100-02', 28],
  ])('of %s', async (_name, month, days) => {
    const first = Date.parse(`${month}-01T00:00:00Z`)
    const { clock, take } = world(10, first - 1)
    const ten = [quota(10, 'month')]
    for (let time = 0; time < 12; time++) take('a', ten)
    await clock.advance(1)
    const admitted = (times: number) =>
      Array.from({ length: times }, () => take('a', ten)).filter((t) => t.admitted).length
    expect(admitted(7)).toBe(7)
    expect(take('a', ten).counts).toMatchObject([{ used: 8, windowMs: days * DAY, resetInMs: days * DAY }])
    // Longer than a timer can be set for, and still the same month.
    await clock.advance(days * DAY - 1)
    expect(admitted(7)).toBe(2)
    expect(take('a', ten).retryAfterMs).toBe(1)
    await clock.advance(1)
    expect(admitted(20)).toBe(10)
  })

  test('is not left backwards: a clock that steps back makes no second January', async () => {
    const { clock, take } = world(10, Date.parse('2026-02-01T00:00:01Z'))
    const one = [quota(1, 'month')]
    expect(take('a', one).admitted).toBe(true)
    clock.step(-60_000)
    expect(take('a', one).admitted).toBe(false)
    expect(take('a', one).retryAfterMs).toBe(28 * DAY + 59_000)
    clock.step(60_000)
    expect(take('a', one).admitted).toBe(false)
  })

  test('does not move with other windows when the wall clock steps', async () => {
    const { clock, take } = world(10)
    const minute = [quota(1, 60_000)]
    take('a', minute)
    clock.step(3 * DAY)
    expect(take('a', minute).admitted).toBe(false)
    clock.step(-6 * DAY)
    expect(take('a', minute).admitted).toBe(false)
    await clock.advance(60_000)
    expect(take('a', minute).admitted).toBe(true)
  })
})

describe('bounds', () => {
  test('a flood of new callers never frees one that is being limited', async () => {
    const { clock, counters, take } = world(100)
    const limit = [quota(2, 60_000)]
    take('limited', limit)
    take('limited', limit)
    for (let index = 0; index < 10_000; index++) take(`new ${index}`, limit)
    expect(take('limited', limit).admitted).toBe(false)
    expect(counters.stats()).toEqual({ callers: 100, overflowing: false })
    await clock.advance(60_000)
    expect(take('limited', limit).admitted).toBe(true)
    expect(take('later', limit).admitted).toBe(true)
  })

  test('… and does not lock newcomers out: callers who have used little make room', () => {
    const { counters, take } = world(100)
    const limit = [quota(60, 'month')]
    for (let index = 0; index < 10_000; index++) take(`flood ${index}`, limit)
    for (let index = 0; index < 1_000; index++) expect(take(`visitor ${index}`, limit).admitted).toBe(true)
    expect(counters.stats().callers).toBe(100)
  })

  test('… nor where all places are taken by callers who spent theirs: newcomers hardly meet in what they share', async () => {
    const overflows: boolean[] = []
    const clock = createVirtualClock()
    const counters = new MemoryCounters({
      clock,
      maxCallers: 100,
      onOverflow: (kind, overflowing) => kind === 'ip' && overflows.push(overflowing),
    })
    const limit = [quota(1, 60_000)]
    const take = (id: string) => counters.take('ip', id, limit, YES)
    for (let index = 0; index < 100; index++) take(`spent ${index}`)
    expect([counters.stats().overflowing, overflows]).toEqual([false, []])
    let admitted = 0
    for (let index = 0; index < 1_000; index++) if (take(`visitor ${index}`).admitted) admitted++
    expect(admitted).toBeGreaterThanOrEqual(990)
    for (let index = 0; index < 1_000; index++) expect(take(`visitor ${index}`).admitted).toBe(false)
    for (let index = 0; index < 100; index++) expect(take(`spent ${index}`).admitted).toBe(false)
    expect([counters.stats(), overflows]).toEqual([{ callers: 100, overflowing: true }, [true]])
    await clock.advance(60_000)
    expect(take('later').admitted).toBe(true)
    expect([counters.stats().overflowing, overflows]).toEqual([false, [true, false]])
  })

  test('thirty full windows in a row are each admitted in full', async () => {
    const { clock, take } = world(10)
    const limit = [quota(7, 1_000), quota(1_000, 'month')]
    for (let window = 0; window < 30; window++) {
      const admitted = Array.from({ length: 10 }, () => take('a', limit).admitted)
      expect(admitted.filter(Boolean).length).toBe(7)
      await clock.advance(1_000)
    }
  })

  test('a flood of addresses takes no place from users', () => {
    const { counters, take } = world(10)
    const limit = [quota(1, 60_000)]
    for (let index = 0; index < 100; index++) take(`new ${index}`, limit)
    for (let index = 0; index < 10; index++)
      expect(counters.take('user', `user ${index}`, limit, YES).admitted).toBe(true)
  })

  test('callers whose windows are over make room', async () => {
    const { clock, counters, take } = world(50)
    const limit = [quota(1, 1_000), quota(1, 'month')]
    for (let round = 0; round < 20; round++) {
      for (let index = 0; index < 50; index++) expect(take(`${round} ${index}`, limit).admitted).toBe(true)
      await clock.advance(33 * DAY)
    }
    expect(counters.stats()).toEqual({ callers: 50, overflowing: false })
  })
})

describe('against a model', () => {
  /** The same rules, as slowly and plainly as they can be written. */
  class Model {
    readonly windows = new Map<string, { start: number; end: number; used: number; admitted: number }>()
    take(id: string, quotas: readonly AppliedLimit[], mayRefuse: boolean, now: number, wall: number) {
      const open = quotas.map((quota) => {
        const window = this.windows.get(`${id} ${quota.counter}`)
        return window && (quota.windowMs === 'month' ? wall : now) < window.end ? window : undefined
      })
      const refused = quotas.some(
        ({ limit }, index) =>
          (open[index]?.admitted ?? 0) >= limit * 10 || (mayRefuse && (open[index]?.used ?? 0) >= limit),
      )
      if (refused) return undefined
      return quotas.map(({ counter, windowMs }, index) => {
        let window = open[index]
        if (!window) {
          const date = new Date(wall)
          const monthEnd = Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1)
          window = { start: now, end: windowMs === 'month' ? monthEnd : now + windowMs, used: 0, admitted: 0 }
          this.windows.set(`${id} ${counter}`, window)
        }
        window.used++
        window.admitted++
        return window
      })
    }
    refund(
      id: string,
      quotas: readonly AppliedLimit[],
      charged: readonly object[],
      now: number,
      wall: number,
    ): boolean {
      let given = false
      for (const [index, { counter, windowMs }] of quotas.entries()) {
        const window = this.windows.get(`${id} ${counter}`)
        if (window !== charged[index] || !window || (windowMs === 'month' ? wall : now) >= window.end) continue
        window.used--
        given = true
      }
      return given
    }
  }

  const step = fc.oneof(
    {
      weight: 8,
      arbitrary: fc.record({
        do: fc.constant('take' as const),
        id: fc.constantFrom('a', 'b'),
        quotas: fc.subarray([0, 1, 2, 3], { minLength: 1 }),
        mayRefuse: fc.boolean(),
      }),
    },
    { weight: 3, arbitrary: fc.record({ do: fc.constant('refund' as const), which: fc.nat(40) }) },
    {
      weight: 3,
      arbitrary: fc.record({
        do: fc.constant('wait' as const),
        ms: fc.constantFrom(1, 99, 100, 101, 1_000, 10 * DAY, 40 * DAY),
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({ do: fc.constant('step' as const), ms: fc.integer({ min: -1_400_000, max: 1_400_000 }) }),
    },
  )

  test('any sequence of requests, refunds and clock steps counts as it should', async () => {
    const quotas = [quota(1, 100), quota(3, 1_000), quota(2, 'month'), quota(4, 30 * DAY)]
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
        const { clock, counters } = world()
        const model = new Model()
        const taken: Array<{
          id: string
          quotas: AppliedLimit[]
          taken: Taken
          charged: readonly object[]
          refunded: boolean
        }> = []
        for (const action of steps) {
          const [now, wall] = [clock.monotonic(), clock.now()]
          if (action.do === 'wait') await clock.advance(action.ms)
          else if (action.do === 'step') clock.step(action.ms)
          else if (action.do === 'refund') {
            const receipt = taken[action.which]
            if (!receipt || receipt.refunded) continue
            receipt.refunded = true
            expect(receipt.taken.refund()).toBe(model.refund(receipt.id, receipt.quotas, receipt.charged, now, wall))
          } else {
            const asked = action.quotas.map((index) => quotas[index]!)
            const charged = model.take(action.id, asked, action.mayRefuse, now, wall)
            const got = counters.take('ip', action.id, asked, action.mayRefuse ? YES : NO)
            expect(got.admitted).toBe(charged !== undefined)
            if (!charged) expect(got.retryAfterMs).toBeGreaterThan(0)
            if (!charged) continue
            expect(got.counts.map(({ used }) => used)).toEqual(charged.map(({ used }) => used))
            taken.push({ id: action.id, quotas: asked, taken: got, charged, refunded: false })
          }
        }
      }),
      { numRuns: 300 },
    )
  })
})

describe('a window that slides, against the times of all requests', () => {
  test('no share of a window holds more than it may, who waits as told passes, and two quiet windows bring all back', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 12 }),
        fc.array(fc.record({ waitMs: fc.integer({ min: 0, max: 700 }), asks: fc.integer({ min: 1, max: 15 }) }), {
          minLength: 1,
          maxLength: 40,
        }),
        async (limit, steps) => {
          const { clock, take } = world()
          const limits = [{ ...quota(limit, 1_000), sliding: true }]
          const passed: number[] = []
          for (const { waitMs, asks } of steps) {
            await clock.advance(waitMs)
            for (let time = 0; time < asks; time++) if (take('a', limits).admitted) passed.push(clock.monotonic())
            const refused = take('a', limits)
            if (refused.admitted) passed.push(clock.monotonic())
            else if (waitMs % 3 === 0) {
              await clock.advance(refused.retryAfterMs)
              expect(take('a', limits).admitted).toBe(true)
              passed.push(clock.monotonic())
            }
          }
          for (const [first, from] of passed.entries())
            for (let last = first; last < passed.length && passed[last]! - from <= 1_000; last++)
              expect(last - first + 1).toBeLessThanOrEqual((1 + (passed[last]! - from) / 1_000) * limit + 1)
          await clock.advance(2_000)
          expect(Array.from({ length: limit + 5 }, () => take('a', limits).admitted).filter(Boolean).length).toBe(limit)
        },
      ),
      { numRuns: 150 },
    )
  })
})
