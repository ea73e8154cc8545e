import { afterEach, expect, test } from 'vitest'
import { GUILDS, guild, ok, setUp } from '../auth/discord.ts'

const USERS = 1_000
const SECOND = 1_000
const MINUTE = 60 * SECOND
/** How finely time moves, and so how finely moments can be told apart. */
const STEP = 50

/** As chance has it, the same in every run. */
function chance() {
  let state = 1
  return () => {
    state = (state * 48_271) % 2_147_483_647
    return state / 2_147_483_647
  }
}

const down = { status: 503, body: 'upstream connect error', headers: { 'content-type': 'text/plain' } }
const spent = { 'x-ratelimit-limit': '1', 'x-ratelimit-remaining': '0', 'x-ratelimit-reset-after': '1' }
const calm = { ...ok([guild('1', '32')]), headers: { ...spent, 'x-ratelimit-bucket': 'guilds' } }

let world: ReturnType<typeof setUp> | undefined
afterEach(() => world?.holdfast.close({ deadlineMs: 0 }))

test('an outage with 1 000 active users: retries come apart, no page waits longer than its patience, and two minutes after it all are fresh', async () => {
  world = setUp({ random: chance(), cache: { freshMs: MINUTE, patienceMs: 500 } })
  const { holdfast, clock, answers } = world
  const calls: number[] = []
  holdfast.on((event) => {
    if (event.type === 'discord.call') calls.push(clock.monotonic())
  })
  const seen = new Map<number, { stale: boolean; waitedMs: number }>()
  let longestMs = 0
  let refused = 0
  const underWay = new Set<Promise<unknown>>()
  const visit = (user: number) => {
    const began = clock.monotonic()
    const page = holdfast
      .memberships({ userId: `${user + 1}`, accessToken: `token-of-${user}` })
      .then(
        ({ stale }) => {
          const waitedMs = clock.monotonic() - began
          longestMs = Math.max(longestMs, waitedMs)
          seen.set(user, { stale, waitedMs })
        },
        () => {
          refused++
        },
      )
      .finally(() => underWay.delete(page))
    underWay.add(page)
  }
  /** What has begun and needs no time gets on. */
  const settle = async () => {
    for (let turn = 0; turn < 4; turn++) await new Promise((resolve) => setImmediate(resolve))
  }
  /** Every user opens a page each `everyMs`, spread over that time. */
  const visits = async (forMs: number, everyMs: number) => {
    const perStep = Math.ceil((USERS * STEP) / everyMs)
    for (let step = 0, next = 0; step < forMs / STEP; step++) {
      for (let index = 0; index < perStep; index++) visit(next++ % USERS)
      await settle()
      await clock.advance(STEP)
    }
  }
  /** The largest share that any 100 ms hold of the calls of ten seconds. */
  const densest = () => {
    const most = Math.max(...calls.map((at) => calls.filter((other) => other >= at && other < at + 100).length))
    return most / USERS
  }

  answers[GUILDS] = calm
  for (let user = 0; user < USERS; user++) visit(user)
  while (underWay.size > 0) await settle()
  expect([seen.size, refused]).toEqual([USERS, 0])

  // All lists were fetched in the same moment, so all become stale in the same moment.
  await clock.advance(MINUTE)
  answers[GUILDS] = down
  await visits(10 * SECOND, 5 * SECOND)
  calls.length = 0
  longestMs = 0
  await visits(30 * SECOND, 5 * SECOND)
  expect(calls.length).toBeGreaterThan(USERS / 2)
  expect(densest()).toBeLessThan(0.05)
  expect(longestMs).toBeLessThanOrEqual(500 + STEP)
  expect(refused).toBe(0)

  answers[GUILDS] = calm
  calls.length = 0
  longestMs = 0
  await visits(2 * MINUTE - 5 * SECOND, 5 * SECOND)
  seen.clear()
  await visits(5 * SECOND, 5 * SECOND)
  while (underWay.size > 0) {
    await settle()
    await clock.advance(STEP)
  }
  expect([...seen.values()].filter(({ stale }) => stale)).toEqual([])
  expect(seen.size).toBe(USERS)
  expect(densest()).toBeLessThan(0.2)
  expect(longestMs).toBeLessThanOrEqual(500 + STEP)
  expect(refused).toBe(0)
}, 180_000)
