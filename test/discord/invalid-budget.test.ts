import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { INVALID_LIMIT, InvalidBudget } from '../../src/discord/invalid-budget.ts'
import { createVirtualClock } from '../../src/simulator/virtual-clock.ts'

const TEN_MINUTES = 600_000

describe('InvalidBudget', () => {
  const spent = (count: number) => {
    const clock = createVirtualClock()
    const budget = new InvalidBudget(clock)
    for (let index = 0; index < count; index++) budget.spend()
    return { clock, budget }
  }

  test.each([
    ['background', 8000],
    ['page', 9500],
    ['login', 9900],
  ] as const)('%s work goes on below %d of 10 000 and stops there', (priority, at) => {
    const { budget } = spent(at - 1)
    expect(budget.stoppedForMs(priority)).toBe(0)
    budget.spend()
    expect(budget.stoppedForMs(priority)).toBeGreaterThan(0)
    expect(budget.stoppedForMs(priority)).toBeLessThanOrEqual(TEN_MINUTES + 10_000)
    expect(budget.used).toBe(at / INVALID_LIMIT)
  })

  test('what was spent is forgotten after ten minutes, never earlier, at most ten seconds later', async () => {
    const { budget, clock } = spent(9900)
    await clock.advance(TEN_MINUTES - 1)
    expect(budget.used).toBe(0.99)
    await clock.advance(10_001)
    expect(budget.used).toBe(0)
  })

  test('after the wait that it names, work goes on', async () => {
    const { budget, clock } = spent(4000)
    await clock.advance(300_000)
    for (let index = 0; index < 5500; index++) budget.spend()
    const waitMs = budget.stoppedForMs('page')
    await clock.advance(waitMs - 1)
    expect(budget.stoppedForMs('page')).toBe(1)
    await clock.advance(1)
    expect(budget.stoppedForMs('page')).toBe(0)
    expect(budget.used).toBe(0.55)
  })

  test('against a model that remembers every time: never less than the last ten minutes, never more than the last ten and a sixth', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.integer({ min: 0, max: 200_000 }), fc.integer({ min: 0, max: 5 })), { maxLength: 40 }),
        async (steps) => {
          let now = 0
          const budget = new InvalidBudget({ monotonic: () => now, now: () => 0, sleep: async () => {} })
          const times: number[] = []
          for (const [pause, count] of steps) {
            now += pause
            for (let index = 0; index < count; index++) {
              budget.spend()
              times.push(now)
            }
            const counted = Math.round(budget.used * INVALID_LIMIT)
            expect(counted).toBeGreaterThanOrEqual(times.filter((time) => time > now - TEN_MINUTES).length)
            expect(counted).toBeLessThanOrEqual(times.filter((time) => time > now - TEN_MINUTES - 10_000).length)
          }
        },
      ),
    )
  })

  test('strangers may have 500 under way or spent in all, and those beyond wait for an answer', async () => {
    const { budget, clock } = spent(0)
    for (let index = 0; index < 500; index++) {
      expect(budget.strangersStoppedForMs()).toBe(0)
      budget.strangerSent()
    }
    expect(budget.strangersStoppedForMs()).toBe('soon')
    budget.strangerAnswered('valid')
    expect(budget.strangersStoppedForMs()).toBe(0)
    budget.strangerSent()
    for (let index = 0; index < 500; index++) budget.strangerAnswered('invalid')
    const waitMs = budget.strangersStoppedForMs()
    expect(waitMs).toBeGreaterThan(0)
    await clock.advance(waitMs as number)
    expect(budget.strangersStoppedForMs()).toBe(0)
  })
})
