import { expect, test, vi } from 'vitest'
import { Events, type HoldfastEvent } from '../../src/events/events.ts'
import { Log } from '../../src/events/log.ts'
import { createVirtualClock } from '../../src/simulator/virtual-clock.ts'

const happening = { type: 'breaker', name: 'discord', state: 'open' } as const

test('every listener gets every event from its subscription on, with the wall clock’s time', () => {
  const clock = createVirtualClock(1000)
  const events = new Events(clock)
  const early: HoldfastEvent[] = []
  const late: HoldfastEvent[] = []
  events.on((event) => early.push(event))
  events.emit(happening)
  events.on((event) => late.push(event))
  clock.step(-400)
  events.emit(happening)
  expect(early).toEqual([
    { at: 1000, ...happening },
    { at: 600, ...happening },
  ])
  expect(late).toEqual([{ at: 600, ...happening }])
})

test('with nobody listening nothing is made: the clock is not even read', () => {
  const clock = createVirtualClock()
  const now = vi.spyOn(clock, 'now')
  const events = new Events(clock)
  expect(events.active).toBe(false)
  events.emit(happening)
  const leave = events.on(() => {})
  expect(events.active).toBe(true)
  leave()
  expect(events.active).toBe(false)
  events.emit(happening)
  expect(now).not.toHaveBeenCalled()
})

test('one function that listens twice hears twice, and leaves one at a time', () => {
  const events = new Events(createVirtualClock())
  const listener = vi.fn()
  const leaveFirst = events.on(listener)
  const leaveSecond = events.on(listener)
  events.emit(happening)
  expect(listener).toHaveBeenCalledTimes(2)
  leaveFirst()
  leaveFirst()
  events.emit(happening)
  expect(listener).toHaveBeenCalledTimes(3)
  leaveSecond()
  events.emit(happening)
  expect(listener).toHaveBeenCalledTimes(3)
})

test('a listener that throws is told to the logger, and the others hear all the same', () => {
  const clock = createVirtualClock()
  const logger = { debug: vi.fn(), info: vi.fn(), warn: vi.fn(), error: vi.fn() }
  const events = new Events(clock, new Log(logger, clock))
  const error = new Error('of the listener')
  const other = vi.fn()
  events.on(() => {
    throw error
  })
  events.on(other)
  events.emit(happening)
  expect(other).toHaveBeenCalledTimes(1)
  expect(logger.error).toHaveBeenCalledExactlyOnceWith(
    expect.objectContaining({ error: 'Error', message: 'of the listener', count: 1 }),
    expect.stringContaining('a listener to breaker threw'),
  )
})

test('a listener that throws where there is no logger changes nothing', () => {
  const events = new Events(createVirtualClock())
  events.on(() => {
    throw new Error('listener')
  })
  expect(() => events.emit(happening)).not.toThrow()
})

test('an async listener that rejects is told to the logger, and is no unhandled rejection', async () => {
  const clock = createVirtualClock()
  const logger = { debug: vi.fn(), info: vi.fn(), warn: vi.fn(), error: vi.fn() }
  const events = new Events(clock, new Log(logger, clock))
  const silent = new Events(clock)
  const other = vi.fn()
  for (const each of [events, silent]) {
    each.on((async () => {
      throw new Error('of the listener')
    }) as () => void)
    each.on(other)
    each.emit(happening)
  }
  expect(other).toHaveBeenCalledTimes(2)
  await vi.waitFor(() => expect(logger.error).toHaveBeenCalledTimes(1))
  expect(logger.error.mock.calls[0]).toEqual([
    expect.objectContaining({ error: 'Error', message: 'of the listener' }),
    expect.stringContaining('a listener to breaker threw'),
  ])
})

test('a listener that leaves during an event does not keep others from hearing it', () => {
  const events = new Events(createVirtualClock())
  const other = vi.fn()
  const leave = events.on(() => leave())
  events.on(other)
  events.emit(happening)
  events.emit(happening)
  expect(other).toHaveBeenCalledTimes(2)
})
