import { getEventListeners } from 'node:events'
import { describe, expect, test } from 'vitest'
import { createVirtualClock } from '../../src/simulator/virtual-clock.ts'
import { abandonable, withDeadline } from '../../src/time/deadline.ts'

const hang = (signal: AbortSignal) =>
  new Promise<never>((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))

describe('withDeadline', () => {
  test('aborts the work after its time, with the reason that late makes, and leaves no alarm behind', async () => {
    const clock = createVirtualClock()
    const ended = withDeadline(clock, 500, [], () => 'late', hang).catch((reason) => reason)
    await clock.advance(499)
    expect(clock.sleepers).toBe(1)
    await clock.advance(1)
    expect(await ended).toBe('late')
    expect(clock.sleepers).toBe(0)
  })

  test('aborts the work with the reason of whichever signal aborts first, and listens to none afterwards', async () => {
    const clock = createVirtualClock()
    const callers = [new AbortController(), new AbortController()]
    let given: AbortSignal | undefined
    const ended = withDeadline(
      clock,
      500,
      [undefined, ...callers.map(({ signal }) => signal)],
      () => 'late',
      (signal) => {
        given = signal
        return hang(signal)
      },
    ).catch((reason) => reason)
    callers[1]!.abort('second')
    callers[0]!.abort('first')
    expect(await ended).toBe('second')
    expect(given?.reason).toBe('second')
    expect(clock.sleepers).toBe(0)
  })

  test('hands an abort that came before to the work', async () => {
    const clock = createVirtualClock()
    const seen = await withDeadline(
      clock,
      500,
      [AbortSignal.abort('before')],
      () => 'late',
      async (signal) => signal.reason,
    )
    expect([seen, clock.sleepers]).toEqual(['before', 0])
  })

  test('leaves no listener on the signals of callers, however the work ends', async () => {
    const clock = createVirtualClock()
    const { signal } = new AbortController()
    await withDeadline(
      clock,
      500,
      [signal],
      () => 'late',
      async () => 7,
    )
    await withDeadline(
      clock,
      500,
      [signal],
      () => 'late',
      () => Promise.reject(new Error('failed')),
    ).catch(() => {})
    expect(getEventListeners(signal, 'abort')).toEqual([])
    expect(clock.sleepers).toBe(0)
  })

  test('sets no alarm where there is no deadline', async () => {
    const clock = createVirtualClock()
    const caller = new AbortController()
    const ended = withDeadline(clock, Number.POSITIVE_INFINITY, [caller.signal], () => 'late', hang).catch((r) => r)
    expect(clock.sleepers).toBe(0)
    caller.abort('enough')
    expect(await ended).toBe('enough')
  })
})

describe('abandonable', () => {
  test('settles as the work does, also where it throws at once', async () => {
    const { signal } = new AbortController()
    expect(await abandonable(async () => 7, signal)).toBe(7)
    const thrown = new Error('at once')
    const throwing = () => {
      throw thrown
    }
    await expect(abandonable(throwing, signal)).rejects.toBe(thrown)
  })

  test('leaves no listener on the signal', async () => {
    const { signal } = new AbortController()
    await abandonable(async () => 7, signal)
    await abandonable(() => Promise.reject(new Error('failed')), signal).catch(() => {})
    await new Promise((resolve) => setImmediate(resolve))
    expect(getEventListeners(signal, 'abort')).toEqual([])
  })

  test('is rejected by the signal although the work listens to nothing, and a late failure is nobody’s', async () => {
    const controller = new AbortController()
    let fail: (reason: unknown) => void = () => {}
    const work = new Promise<never>((_, reject) => {
      fail = reject
    })
    const ended = abandonable(() => work, controller.signal)
    controller.abort('given up')
    await expect(ended).rejects.toBe('given up')
    fail(new Error('too late'))
    await new Promise((resolve) => setImmediate(resolve))
  })

  test('does not begin work whose signal has aborted', async () => {
    let begun = false
    const ended = abandonable(async () => {
      begun = true
    }, AbortSignal.abort('before'))
    await expect(ended).rejects.toBe('before')
    expect(begun).toBe(false)
  })
})
