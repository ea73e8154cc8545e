import { describe, expect, test, vi } from 'vitest'
import { Flight, SingleFlight } from '../../src/concurrency/single-flight.ts'

function deferred<T>() {
  return Promise.withResolvers<T>()
}

describe('SingleFlight', () => {
  test('who asks while work is under way gets that work; who asks after it has landed finds nothing', async () => {
    const flights = new SingleFlight<number>('continue')
    const work = deferred<number>()
    const flight = flights.start('a', () => work.promise)
    expect(flights.get('a')).toBe(flight)
    expect(flights.get('b')).toBeUndefined()
    work.resolve(1)
    expect(await flight.wait()).toBe(1)
    await Promise.resolve()
    expect(flights.get('a')).toBeUndefined()
    expect([...flights.keys()]).toEqual([])
    expect([...flights.values()]).toEqual([])
  })

  test('a failure reaches everybody who waits, is forgotten, and is never an unhandled rejection', async () => {
    const flights = new SingleFlight<number>('continue')
    const failure = new Error('no')
    const flight = flights.start('a', async () => {
      throw failure
    })
    const waits = await Promise.allSettled([flight.wait(), flight.wait(), flight.wait(new AbortController().signal)])
    expect(waits.map((wait) => wait.status === 'rejected' && wait.reason)).toEqual([failure, failure, failure])
    expect(flights.get('a')).toBeUndefined()
    // Nobody waits for this one.
    flights.start('b', async () => {
      throw failure
    })
    await new Promise((resolve) => setImmediate(resolve))
    expect(flights.get('b')).toBeUndefined()
  })

  test('work that throws before its first await rejects like any other', async () => {
    const flights = new SingleFlight<number>('continue')
    const failure = new Error('no')
    const flight = flights.start('a', () => {
      throw failure
    })
    await expect(flight.wait()).rejects.toBe(failure)
  })

  test('a late landing ends nobody else’s flight', async () => {
    const flights = new SingleFlight<number>('continue')
    const old = deferred<number>()
    const first = flights.start('a', () => old.promise)
    flights.forget('a', first)
    const second = flights.start('a', () => deferred<number>().promise)
    expect([...flights.values()]).toEqual([first, second])
    old.resolve(1)
    await first.wait()
    await Promise.resolve()
    expect(flights.get('a')).toBe(second)
    expect([...flights.values()]).toEqual([second])
    flights.forget('a', first)
    expect(flights.get('a')).toBe(second)
  })
})

describe('Flight', () => {
  test('a caller that leaves ends its own wait at once with its reason, and the others still get the value', async () => {
    const work = deferred<number>()
    let signal: AbortSignal | undefined
    const flight = new Flight<number>((given) => {
      signal = given
      return work.promise
    }, 'cancel')
    const leaver = new AbortController()
    const left = flight.wait(leaver.signal)
    const stayed = flight.wait()
    const reason = new Error('tab closed')
    leaver.abort(reason)
    await expect(left).rejects.toBe(reason)
    expect(signal?.aborted).toBe(false)
    work.resolve(7)
    expect(await stayed).toBe(7)
  })

  test('the last caller to leave cancels the work, with its reason', async () => {
    let signal: AbortSignal | undefined
    const flight = new Flight<number>((given) => {
      signal = given
      return new Promise((_, reject) => given.addEventListener('abort', () => reject(given.reason)))
    }, 'cancel')
    const callers = Array.from({ length: 3 }, () => new AbortController())
    const waits = callers.map((caller) => flight.wait(caller.signal))
    callers[0]!.abort('one')
    callers[1]!.abort('two')
    expect(signal?.aborted).toBe(false)
    callers[2]!.abort('three')
    expect(signal?.aborted).toBe(true)
    expect(signal?.reason).toBe('three')
    expect((await Promise.allSettled(waits)).map((wait) => wait.status === 'rejected' && wait.reason)).toEqual([
      'one',
      'two',
      'three',
    ])
  })

  test('with "continue", work goes on although everybody left', async () => {
    const work = deferred<number>()
    let signal: AbortSignal | undefined
    const flight = new Flight<number>((given) => {
      signal = given
      return work.promise
    }, 'continue')
    const caller = new AbortController()
    const wait = flight.wait(caller.signal)
    caller.abort('gone')
    await expect(wait).rejects.toBe('gone')
    expect(signal?.aborted).toBe(false)
    work.resolve(1)
    expect(await flight.promise).toBe(1)
  })

  test('a caller whose signal had aborted before gets its reason', async () => {
    const flight = new Flight<number>(async () => 1, 'continue')
    await expect(flight.wait(AbortSignal.abort('before'))).rejects.toBe('before')
  })

  test('an abort after landing changes nothing, and no listener stays on the caller’s signal', async () => {
    const work = deferred<number>()
    const flight = new Flight<number>(() => work.promise, 'cancel')
    const caller = new AbortController()
    const added = vi.spyOn(caller.signal, 'addEventListener')
    const removed = vi.spyOn(caller.signal, 'removeEventListener')
    const wait = flight.wait(caller.signal)
    work.resolve(1)
    expect(await wait).toBe(1)
    await new Promise((resolve) => setImmediate(resolve))
    caller.abort('after')
    expect(await wait).toBe(1)
    expect(added).toHaveBeenCalledTimes(1)
    expect(removed).toHaveBeenCalledTimes(1)
    expect(removed.mock.calls[0]?.[1]).toBe(added.mock.calls[0]?.[1])
  })

  test('of a thousand callers half leave and the other half get the one answer', async () => {
    const work = deferred<object>()
    const run = vi.fn(() => work.promise)
    const flights = new SingleFlight<object>('cancel')
    const controllers = Array.from({ length: 1000 }, () => new AbortController())
    const waits = controllers.map((controller) =>
      (flights.get('key') ?? flights.start('key', run)).wait(controller.signal),
    )
    for (let index = 0; index < 1000; index += 2) controllers[index]!.abort('left')
    const answer = {}
    work.resolve(answer)
    const settled = await Promise.allSettled(waits)
    expect(settled.filter((wait) => wait.status === 'fulfilled' && wait.value === answer)).toHaveLength(500)
    expect(settled.filter((wait) => wait.status === 'rejected' && wait.reason === 'left')).toHaveLength(500)
    expect(run).toHaveBeenCalledTimes(1)
  })
})
