import { expect, test, vi } from 'vitest'
import { type OnGivingUp, Waiters } from '../../src/discord/waiters.ts'
import { until } from './scripted-discord.ts'

const never: OnGivingUp = () => () => {}

test('wakeAll wakes everybody who waits, once, and nobody who comes later', async () => {
  const waiters = new Waiters()
  const woken: string[] = []
  const first = waiters.wait(never).then(() => woken.push('first'))
  const second = waiters.wait(never).then(() => woken.push('second'))
  waiters.wakeAll()
  await Promise.all([first, second])
  void waiters.wait(never).then(() => woken.push('late'))
  await new Promise((resolve) => setImmediate(resolve))
  expect(woken).toEqual(['first', 'second'])
})

test('wakeOne wakes only who has waited longest, in turn, and does nothing where nobody waits', async () => {
  const waiters = new Waiters()
  const woken: number[] = []
  for (const name of [1, 2, 3]) void waiters.wait(never).then(() => woken.push(name))
  waiters.wakeOne()
  await new Promise((resolve) => setImmediate(resolve))
  expect(woken).toEqual([1])
  waiters.wakeOne()
  waiters.wakeOne()
  waiters.wakeOne()
  await new Promise((resolve) => setImmediate(resolve))
  expect(woken).toEqual([1, 2, 3])
})

test('who aborts leaves with its reason, and its turn goes to the next', async () => {
  const waiters = new Waiters()
  const leaver = new AbortController()
  const left = waiters.wait(until(leaver.signal))
  const stayed = waiters.wait(never)
  leaver.abort('gone')
  await expect(left).rejects.toBe('gone')
  waiters.wakeOne()
  await stayed
})

test('no listener stays on the signal after it was woken', async () => {
  const waiters = new Waiters()
  const { signal } = new AbortController()
  const added = vi.spyOn(signal, 'addEventListener')
  const removed = vi.spyOn(signal, 'removeEventListener')
  const wait = waiters.wait(until(signal))
  waiters.wakeAll()
  await wait
  expect(removed.mock.calls.map((call) => call[1])).toEqual(added.mock.calls.map((call) => call[1]))
})

test('who waits again while it is being woken waits for the next time', async () => {
  const waiters = new Waiters()
  let again = false
  const waited = waiters.wait(never).then(() => waiters.wait(never).then(() => (again = true)))
  waiters.wakeAll()
  await new Promise((resolve) => setImmediate(resolve))
  expect(again).toBe(false)
  waiters.wakeAll()
  await waited
  expect(again).toBe(true)
})
