import { createVirtualClock } from 'holdfast/simulator'
import { describe, expect, test } from 'vitest'
import { SharedDeadline } from '../../src/time/shared-deadline.ts'

const never = () => new Promise<never>(() => {})
const turn = () => new Promise((resolve) => setImmediate(resolve))

describe('a deadline that many share', () => {
  test('ends each at its own time, and nobody before', async () => {
    const clock = createVirtualClock()
    const deadline = new SharedDeadline(clock, 100)
    const ended: string[] = []
    const begin = (name: string) =>
      deadline.race(never(), () => name).catch((late) => ended.push(`${late} ${clock.monotonic()}`))
    begin('a')
    await clock.advance(30)
    begin('b')
    begin('c')
    await clock.advance(69)
    expect(ended).toEqual([])
    await clock.advance(1)
    expect(ended).toEqual(['a 100'])
    await clock.advance(30)
    expect(ended).toEqual(['a 100', 'b 130', 'c 130'])
    expect(clock.sleepers).toBe(0)
  })

  test('leaves no sleeper on the clock once all have ended, and one at most before', async () => {
    const clock = createVirtualClock()
    const deadline = new SharedDeadline(clock, 100)
    for (let nth = 0; nth < 3; nth++) {
      for (let follows = 0; follows < 5; follows++)
        expect(await deadline.race(Promise.resolve(nth), () => 'late')).toBe(nth)
      await expect(deadline.race(Promise.reject(new Error('no')), () => 'late')).rejects.toThrow('no')
      expect(clock.sleepers).toBeLessThanOrEqual(1)
      await turn()
      expect(clock.sleepers).toBe(0)
    }
  })

  test('holds also where it begins in the turn in which the last one ended', async () => {
    const clock = createVirtualClock()
    const deadline = new SharedDeadline(clock, 100)
    await deadline.race(Promise.resolve(), () => 'late')
    const late = deadline.race(never(), () => 'late').catch((reason: unknown) => reason)
    await clock.advance(100)
    expect(await late).toBe('late')
    expect(clock.sleepers).toBe(0)
  })
})
