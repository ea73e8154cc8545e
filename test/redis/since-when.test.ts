import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { sinceWhen } from '../../src/redis/since-when.ts'

const WAY_MS = 200
const DAY_MS = 86_400_000

describe('an invalidation that Redis hears of later', () => {
  test('counts from seconds after it was made on; at once, or where nobody knew the time, from now on', () => {
    const at = (agoMs: number, madeAt: number | undefined = 1e12 - agoMs, now: number | undefined = 1e12) =>
      sinceWhen({ madeAt, agoMs, now, wayMs: WAY_MS })
    expect(at(60_000)).toBe(1e12 - 60_000 + 5_000 + WAY_MS + 60)
    expect(at(DAY_MS)).toBeLessThan(1e12 - DAY_MS + 120_000)
    expect([at(0), at(5_200)]).toEqual([0, 0])
    expect(sinceWhen({ madeAt: undefined, agoMs: 60_000, now: 1e12, wayMs: WAY_MS })).toBe(0)
    expect(sinceWhen({ madeAt: 1, agoMs: 60_000, now: undefined, wayMs: WAY_MS })).toBe(0)
  })

  test('never stands back behind a load from before it, on a clock that drifted, was set, or is another machine’s', () => {
    const wrongBy = fc.double({ min: -4_900, max: 0, noNaN: true })
    fc.assert(
      fc.property(
        fc.double({ min: 0, max: 7 * DAY_MS, noNaN: true }),
        fc.double({ min: -0.001, max: 0.001, noNaN: true }),
        fc.double({ min: -DAY_MS, max: DAY_MS, noNaN: true }),
        wrongBy,
        wrongBy,
        (agoMs, drift, setByMs, wrongThen, wrongNow) => {
          const madeAt = 1e12
          const nowInRedis = madeAt + agoMs * (1 + drift) + setByMs
          const since = sinceWhen({ madeAt: madeAt + wrongThen, agoMs, now: nowInRedis + wrongNow, wayMs: WAY_MS })
          // By the clock that Redis had then, and by the one that it has now.
          if (since === 0) return
          expect(since).toBeGreaterThanOrEqual(madeAt)
          expect(since).toBeGreaterThanOrEqual(madeAt + setByMs)
          expect(since).toBeLessThan(nowInRedis)
        },
      ),
    )
  })
})
