import { createVirtualClock } from 'holdfast/simulator'
import { describe, expect, test } from 'vitest'
import { RedisTime } from '../../src/redis/redis-time.ts'

describe("what time it is on Redis's clock", () => {
  test('is not known before Redis told it, and follows the monotonic clock after', async () => {
    const clock = createVirtualClock()
    const time = new RedisTime(clock)
    expect(time.now()).toBeUndefined()
    time.begin(clock.monotonic(), 5_000)
    await clock.advance(250)
    expect(time.now()).toBe(5_250)
  })

  test('is the earliest that answers allow, and what is a second later says that the clock was set', () => {
    const clock = createVirtualClock()
    const time = new RedisTime(clock)
    time.begin(0, 5_000)
    time.observe(0, 5_900)
    expect(time.now()).toBe(5_000)
    time.observe(0, 4_990)
    expect(time.now()).toBe(4_990)
    time.observe(0, 5_990)
    expect(time.now()).toBe(5_990)
  })

  test('is estimated anew after a minute, so that a drift between two clocks does not add up', () => {
    const time = new RedisTime(createVirtualClock())
    time.begin(0, 5_000)
    time.observe(60_000, 65_020)
    expect(time.now()).toBe(5_000)
    time.observe(60_001, 65_021)
    expect(time.now()).toBe(5_020)
  })

  test.each([Number.NaN, Number.POSITIVE_INFINITY])('is not %s because an answer made no sense', (nonsense) => {
    const time = new RedisTime(createVirtualClock())
    time.begin(0, nonsense)
    expect(time.now()).toBeUndefined()
    time.begin(0, 5_000)
    time.observe(0, nonsense)
    time.begin(0, nonsense)
    expect(time.now()).toBe(5_000)
  })
})
