import { expect, test, vi } from 'vitest'
import { Waiters } from '../../src/discord/waiters.ts'

const never = new AbortController().signal

test('a ring wakes everybody who waits, once, and nobody who comes later', async () => {
  const bell = new Waiters()
  const woken: string[] = []
  const first = bell.wait(never).then(() => woken.push('first'))
  const second = bell.wait(never).then(() => woken.push('second'))
  bell.wakeAll()
  await Promise.all([first, second])
  void bell.wait(never).then(() => woken.push('late'))
  await new Promise((resolve) => setImmediate(resolve))
  expect(woken).toEqual(['first', 'second'])
})

test('ringOne wakes only who has waited longest, in turn, and does nothing where nobody waits', async () => {
  const bell = new Waiters()
  const woken: number[] = []
  for (const name of [1, 2, 3]) void bell.wait(never).then(() => woken.push(name))
  bell.wakeOne()
  await new Promise((resolve) => setImmediate(resolve))
  expect(woken).toEqual([1])
  bell.wakeOne()
  bell.wakeOne()
  bell.wakeOne()
  await new Promise((resolve) => setImmediate(resolve))
  expect(woken).toEqual([1, 2, 3])
})

test('who aborts leaves with its reason, and its ring goes to the next', async () => {
  const bell = new Waiters()
  const leaver = new AbortController()
  const left = bell.wait(leaver.signal)
  const stayed = bell.wait(never)
  leaver.abort('gone')
  await expect(left).rejects.toBe('gone')
  bell.wakeOne()
  await stayed
})

test('a signal that had aborted before is refused at once', async () => {
  await expect(new Waiters().wait(AbortSignal.abort('before'))).rejects.toBe('before')
})

test('no listener stays on the signal after the ring', async () => {
  const bell = new Waiters()
  const { signal } = new AbortController()
  const added = vi.spyOn(signal, 'addEventListener')
  const removed = vi.spyOn(signal, 'removeEventListener')
  const wait = bell.wait(signal)
  bell.wakeAll()
  await wait
  expect(removed.mock.calls.map((call) => call[1])).toEqual(added.mock.calls.map((call) => call[1]))
})

test('who waits again while it is being woken waits for the next ring', async () => {
  const bell = new Waiters()
  let again = false
  const waited = bell.wait(never).then(() => bell.wait(never).then(() => (again = true)))
  bell.wakeAll()
  await new Promise((resolve) => setImmediate(resolve))
  expect(again).toBe(false)
  bell.wakeAll()
  await waited
  expect(again).toBe(true)
})
