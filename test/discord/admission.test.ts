import { createHoldfast } from 'holdfast'
import { createVirtualClock } from 'holdfast/simulator'
import { expect, test } from 'vitest'
import { InvalidBudget } from '../../src/discord/invalid-budget.ts'

// What is wired between the parts, and not only callable.

test('a 429 of a bucket takes back the credit for round trips: the next window is waited for in full', async () => {
  const clock = createVirtualClock()
  const sentAt: number[] = []
  let refuse = false
  const controller = { abort() {} }
  const dispatcher = {
    dispatch(_options: unknown, handler: Record<string, (...all: unknown[]) => void>) {
      handler.onRequestStart!(controller, {})
      sentAt.push(clock.monotonic())
      const status = refuse ? 429 : 200
      refuse = false
      void clock.sleep(100).then(() => {
        const headers = { 'x-ratelimit-limit': '1', 'x-ratelimit-remaining': '0', 'x-ratelimit-reset-after': '1' }
        handler.onResponseStart!(controller, status, { 'content-type': 'application/json', ...headers }, '')
        handler.onResponseData!(controller, Buffer.from('{"retry_after":1}'))
        handler.onResponseEnd!(controller, {})
      })
      return true
    },
  }
  const holdfast = createHoldfast({ clock, random: () => 0, discord: { baseUrl: 'https://discord.test', dispatcher } })
  const calls = async (count: number) => {
    for (let call = 0; call < count; call++) {
      const done = holdfast.discordFetch('/x', 'abc')
      await clock.advance(5000)
      await done
    }
  }
  // Back to back, so that each waits for the window of the one before.
  const together = async (count: number) => {
    const all = Promise.all(Array.from({ length: count }, (_, n) => holdfast.discordFetch(`/x?n=${n}`, 'abc')))
    await clock.advance(count * 2500)
    await all
  }
  await calls(4)
  sentAt.length = 0
  await together(2)
  const earned = sentAt[1]! - sentAt[0]!
  expect(earned).toBeLessThan(1050)
  refuse = true
  sentAt.length = 0
  await together(2)
  // The one that was refused, again, and the other.
  expect(sentAt).toHaveLength(3)
  expect(sentAt[2]! - sentAt[1]!).toBeGreaterThanOrEqual(1100)
  await holdfast.close()
})

test('totals of the fleet that are adopted twice count strangers once', () => {
  const budget = new InvalidBudget(createVirtualClock())
  const totals = [{ agoMs: 0, count: 300, strangers: 300 }]
  budget.adopt(totals)
  budget.adopt(totals)
  expect(budget.used).toBe(0.03)
  expect(budget.strangersStoppedForMs()).toBe(0)
})

test('what others sent before this process began is forgotten on time', async () => {
  const clock = createVirtualClock()
  const budget = new InvalidBudget(clock)
  budget.adopt([{ agoMs: 590_000, count: 9_990, strangers: 0 }])
  expect(budget.stoppedForMs('login')).toBeGreaterThan(0)
  await clock.advance(25_000)
  expect(budget.stoppedForMs('login')).toBe(0)
})
