import { describe, expect, test, vi } from 'vitest'
import { createVirtualClock } from '../../src/simulator/virtual-clock.ts'
import { alarm, systemClock } from '../../src/time/clock.ts'

describe('systemClock', () => {
  test('now is the epoch, and monotonic never goes back', () => {
    expect(Math.abs(systemClock.now() - Date.now())).toBeLessThan(1000)
    let last = systemClock.monotonic()
    for (let round = 0; round < 1000; round++) {
      const now = systemClock.monotonic()
      expect(now).toBeGreaterThanOrEqual(last)
      last = now
    }
  })

  test('sleeps at least as long as asked, by the monotonic clock', async () => {
    for (const ms of [0, 0.4, 5.5, 10]) {
      const began = systemClock.monotonic()
      await systemClock.sleep(ms)
      expect(systemClock.monotonic() - began).toBeGreaterThanOrEqual(ms)
    }
  })

  test('a negative sleep resolves at once', async () => {
    await systemClock.sleep(-1000)
  })

  test('an abort before or during a sleep rejects with the reason, and leaves no timer', async () => {
    await expect(systemClock.sleep(1000, AbortSignal.abort('before'))).rejects.toBe('before')
    const controller = new AbortController()
    const sleep = systemClock.sleep(60_000, controller.signal)
    controller.abort('during')
    await expect(sleep).rejects.toBe('during')
  })

  test('an abort after a sleep changes nothing', async () => {
    const controller = new AbortController()
    const removed = vi.spyOn(controller.signal, 'removeEventListener')
    await systemClock.sleep(1, controller.signal)
    controller.abort('after')
    expect(removed).toHaveBeenCalledTimes(1)
  })

  test('a sleep longer than a timer can be is slept in parts: 30 days are 30 days', async () => {
    vi.useFakeTimers()
    try {
      const days = 24 * 60 * 60 * 1000
      let awake = false
      const sleep = systemClock.sleep(30 * days).then(() => (awake = true))
      await vi.advanceTimersByTimeAsync(25 * days)
      expect(awake).toBe(false)
      await vi.advanceTimersByTimeAsync(5 * days)
      await sleep
      expect(awake).toBe(true)
      expect(vi.getTimerCount()).toBe(0)
    } finally {
      vi.useRealTimers()
    }
  })
})

describe('alarm', () => {
  test('rings once, at its time and not before', async () => {
    const clock = createVirtualClock()
    const ring = vi.fn()
    alarm(clock, 100, ring)
    await clock.advance(99)
    expect(ring).not.toHaveBeenCalled()
    await clock.advance(1000)
    expect(ring).toHaveBeenCalledTimes(1)
  })

  test('cancelled, it never rings and keeps nothing; cancelling again or late does nothing', async () => {
    const clock = createVirtualClock()
    const ring = vi.fn()
    const cancel = alarm(clock, 100, ring)
    cancel()
    cancel()
    expect(clock.sleepers).toBe(0)
    await clock.advance(1000)
    expect(ring).not.toHaveBeenCalled()
    const late = alarm(clock, 100, ring)
    await clock.advance(100)
    late()
    expect(ring).toHaveBeenCalledTimes(1)
  })

  test('cancelled by whoever wakes at the same moment, it does not ring', async () => {
    const clock = createVirtualClock()
    const ring = vi.fn()
    let cancel = () => {}
    alarm(clock, 100, () => cancel())
    cancel = alarm(clock, 100, ring)
    await clock.advance(100)
    expect(ring).not.toHaveBeenCalled()
  })
})

describe('createVirtualClock', () => {
  test('starts at 2026-01-01 with monotonic at 0, and stands still until it is told to move', async () => {
    const clock = createVirtualClock()
    expect([clock.now(), clock.monotonic()]).toEqual([Date.UTC(2026, 0, 1), 0])
    await new Promise((resolve) => setImmediate(resolve))
    expect([clock.now(), clock.monotonic()]).toEqual([Date.UTC(2026, 0, 1), 0])
    await clock.advance(1500)
    expect([clock.now(), clock.monotonic()]).toEqual([Date.UTC(2026, 0, 1) + 1500, 1500])
  })

  test('sleepers wake in order of their times, and of their coming where those are equal, each at its own time', async () => {
    const clock = createVirtualClock(0)
    const woken: Array<[string, number]> = []
    const sleep = (name: string, ms: number) => clock.sleep(ms).then(() => woken.push([name, clock.monotonic()]))
    void sleep('c', 30)
    void sleep('a', 10).then(() => sleep('b', 10))
    void sleep('d', 30)
    expect(clock.sleepers).toBe(3)
    await clock.advance(100)
    expect(woken).toEqual([
      ['a', 10],
      ['b', 20],
      ['c', 30],
      ['d', 30],
    ])
    expect([clock.monotonic(), clock.sleepers]).toEqual([100, 0])
  })

  test('a step moves the wall clock alone, also back', async () => {
    const clock = createVirtualClock(1000)
    let awake = false
    void clock.sleep(10).then(() => (awake = true))
    clock.step(-500)
    expect([clock.now(), clock.monotonic()]).toEqual([500, 0])
    clock.step(10_000)
    await clock.advance(9)
    expect(awake).toBe(false)
    await clock.advance(1)
    expect([awake, clock.now()]).toEqual([true, 10_510])
  })

  test('an aborted sleep rejects with its reason and is gone', async () => {
    const clock = createVirtualClock()
    await expect(clock.sleep(10, AbortSignal.abort('before'))).rejects.toBe('before')
    const controller = new AbortController()
    const sleep = clock.sleep(10, controller.signal)
    controller.abort('during')
    await expect(sleep).rejects.toBe('during')
    expect(clock.sleepers).toBe(0)
  })
})
