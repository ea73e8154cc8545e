import { expect, test, vi } from 'vitest'
import { onAbort } from '../../src/time/on-abort.ts'

const turns = (count: number) =>
  Array.from({ length: count }).reduce<Promise<void>>(
    (before) => before.then(() => new Promise((resolve) => setImmediate(resolve))),
    Promise.resolve(),
  )

test('however many listen to a signal, it carries one listener, and none once all have gone', () => {
  const { signal } = new AbortController()
  const added = vi.spyOn(signal, 'addEventListener')
  const removed = vi.spyOn(signal, 'removeEventListener')
  const ends = Array.from({ length: 1000 }, () => onAbort(signal, () => {}))
  expect(added).toHaveBeenCalledTimes(1)
  for (const end of ends) {
    end()
    end()
  }
  expect(removed.mock.calls.map((call) => call[1])).toEqual(added.mock.calls.map((call) => call[1]))
})

test('everybody is told once, in parts: never more than 100 in one turn of the event loop', async () => {
  const controller = new AbortController()
  let told = 0
  for (let index = 0; index < 1050; index++) onAbort(controller.signal, () => told++)
  const end = onAbort(controller.signal, () => expect.unreachable())
  controller.abort()
  expect(told).toBeLessThanOrEqual(100)
  end()
  let before = told
  for (let turn = 0; turn < 30; turn++) {
    await turns(1)
    expect(told - before).toBeLessThanOrEqual(100)
    before = told
  }
  expect(told).toBe(1050)
})

test('who begins to listen after others have gone is heard too', () => {
  const controller = new AbortController()
  onAbort(controller.signal, () => {})()
  let told = 0
  onAbort(controller.signal, () => told++)
  controller.abort()
  expect(told).toBe(1)
})
