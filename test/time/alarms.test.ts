import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createVirtualClock } from '../../src/simulator/virtual-clock.ts'
import { Alarms } from '../../src/time/alarms.ts'

describe('alarms', () => {
  test('ring in the order of their times, each once and never early, on one timer; those that are cancelled never', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.integer({ min: 0, max: 1000 }), fc.option(fc.integer({ min: 0, max: 1000 }))), {
          maxLength: 60,
        }),
        async (wanted) => {
          const clock = createVirtualClock()
          const alarms = new Alarms(clock)
          const rung: number[] = []
          const expected: number[] = []
          const cancellations: Array<{ at: number; cancel: () => void }> = []
          for (const [ms, cancelAt] of wanted) {
            const cancel = alarms.after(ms, () => {
              expect(clock.monotonic()).toBeGreaterThanOrEqual(ms)
              rung.push(ms)
            })
            if (cancelAt !== null && cancelAt < ms) cancellations.push({ at: cancelAt, cancel })
            else expected.push(ms)
          }
          expect(clock.sleepers).toBe(wanted.length > 0 ? 1 : 0)
          for (const { at, cancel } of cancellations.sort((one, two) => one.at - two.at)) {
            await clock.advance(at - clock.monotonic())
            cancel()
            cancel()
          }
          await clock.advance(1001)
          expect(rung).toEqual(expected.sort((one, two) => one - two))
          expect(clock.sleepers).toBe(0)
        },
      ),
    )
  })

  test('at infinity never ring, and keep no timer; one set while another rings is set all the same', async () => {
    const clock = createVirtualClock()
    const alarms = new Alarms(clock)
    alarms.after(Number.POSITIVE_INFINITY, () => expect.unreachable())()
    expect(clock.sleepers).toBe(0)
    const rung: string[] = []
    alarms.after(10, () => {
      rung.push('first')
      alarms.after(5, () => rung.push('second'))
    })
    await clock.advance(14)
    expect(rung).toEqual(['first'])
    await clock.advance(1)
    expect(rung).toEqual(['first', 'second'])
    expect(clock.sleepers).toBe(0)
  })
})
