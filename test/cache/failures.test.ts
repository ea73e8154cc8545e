import { expect, test } from 'vitest'
import { Failures } from '../../src/cache/failures.ts'
import { DiscordUnavailableError } from '../../src/errors/errors.ts'
import { createVirtualClock } from '../../src/simulator/virtual-clock.ts'

const down = () => new DiscordUnavailableError('DISCORD_NETWORK', 'down', { route: 'GET /x', attempts: 1 })

test('a success after failures that are no outage does not use up the end of one that follows', async () => {
  const clock = createVirtualClock()
  const failures = new Failures(clock)
  failures.note('of the app', new Error('a bug'))
  failures.recovered()
  await clock.advance(500)
  const failure = failures.note('list', down())
  await clock.advance(100)
  expect(failures.waitMs(failure)).toBe(4_900)
  failures.recovered()
  expect(failures.waitMs(failure)).toBeLessThanOrEqual(0)
})

test('the end of an outage leaves alone what failed for another reason, or was told how long to wait', async () => {
  const clock = createVirtualClock()
  const failures = new Failures(clock)
  const own = failures.note('own', new Error('a bug'))
  const told = failures.note('told', Object.assign(down(), { retryAfterMs: 60_000 }))
  const limited = failures.note('limited', Object.assign(new Error('429'), { status: 429, retryAfterMs: 7_000 }))
  failures.note('list', down())
  failures.recovered()
  expect([own, told, limited].map((failure) => failures.waitMs(failure))).toEqual([5_000, 60_000, 7_000])
})
