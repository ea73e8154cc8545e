// 100 000 users (USERS=… for fewer) are due: four instances refresh them together, on the simulator's virtual clock, one
// PostgreSQL and 100 ms of latency.
import { createHoldfast } from 'holdfast'
import { createVirtualClock, startSimulator } from 'holdfast/simulator'
import setUpPostgres from '../test/support/postgres.ts'
import { judge, table } from './figures.ts'

const USERS = Number(process.env.USERS ?? 100_000)
const INSTANCES = 4
const AT_ONCE = 10
const LATENCY_MS = 100
const HOUR_MS = 3_600_000
const STEP_MS = 10

let database = ''
const stop = await setUpPostgres({
  provide: (_: string, url: string) => {
    database = url
  },
} as never)
const clock = createVirtualClock()
const discord = await startSimulator({ users: USERS, guildsPerUser: 3, clock })
const open = () =>
  createHoldfast({
    discord: { baseUrl: discord.url },
    database,
    secret: 'a-secret-of-at-least-32-bytes-for-benches',
    clock,
    cache: { maxEntries: 1_000 },
  })

const callsNow = { asleep: 0, sent: 0 }
const done = Array.from({ length: INSTANCES }, () => 0)

/** Waits until all calls are in their latency: what HTTP and PostgreSQL take on this machine is no virtual time. */
async function settled(): Promise<void> {
  const end = performance.now() + 25
  const isSettled = () =>
    callsNow.sent === done.reduce((sum, count) => sum + count, 0) && callsNow.asleep === INSTANCES * AT_ONCE
  while (!isSettled() && performance.now() < end) await new Promise((resolve) => setImmediate(resolve))
}

/** Lets virtual time pass until the work is done; tells how much of it passed. */
async function timed<T>(work: Promise<T>, wait = async () => {}): Promise<{ result: T; tookMs: number }> {
  const began = clock.monotonic()
  let endedAt: number | undefined
  const watched = work.finally(() => {
    endedAt = clock.monotonic()
  })
  watched.catch(() => {})
  while (endedAt === undefined) {
    await wait()
    await clock.advance(STEP_MS)
  }
  return { result: await watched, tookMs: endedAt - began }
}

const first = open()
let next = 0
const load = async () => {
  while (next < USERS) {
    const { id: userId, accessToken } = discord.users[next++]!
    await first.memberships({ userId, accessToken })
  }
}
await timed(Promise.all(Array.from({ length: 50 }, load)))
await first.close()
await clock.advance(2 * HOUR_MS)

const tokens = new Map(discord.users.map(({ id, accessToken }) => [id, accessToken]))
const from = discord.calls.length
const instances = Array.from({ length: INSTANCES }, () => open())
const { result, tookMs } = await timed(
  Promise.all(
    instances.map(({ ledger }, index) =>
      ledger.refreshDue({
        olderThanMs: HOUR_MS,
        limit: USERS,
        atOnce: AT_ONCE,
        // The latency of a call: the simulator's own would also be that of the first loads.
        token: async (userId) => {
          callsNow.asleep++
          await clock.sleep(LATENCY_MS)
          callsNow.asleep--
          callsNow.sent++
          return tokens.get(userId) ?? null
        },
        onProgress: (now) => {
          done[index] = now
        },
      }),
    ),
  ),
  settled,
)
for (const holdfast of instances) await holdfast.close()
const calls = discord.calls.slice(from)
await discord.close()
stop()

const refreshed = result.reduce((sum, counts) => sum + counts.refreshed, 0)
const boundMs = (USERS * LATENCY_MS) / (INSTANCES * AT_ONCE)
const twice = calls.length - new Set(calls.map(({ userId }) => userId)).size
const limited = calls.filter(({ status }) => status === 429).length
table(
  [`${USERS} users, ${INSTANCES} instances, ${AT_ONCE} calls at once each`, ''],
  [
    ['refreshed', refreshed],
    ['by each instance', result.map((counts) => counts.refreshed).join(', ')],
    ['virtual seconds', tookMs / 1000],
    ['users × latency ÷ calls at once, s', boundMs / 1000],
  ],
)
judge([
  { name: 'users refreshed', value: refreshed, unit: 'users', target: USERS, atLeast: true },
  { name: 'time', value: tookMs / boundMs, unit: '× users × latency ÷ calls at once', target: 1.05 },
  { name: 'answers 429', value: limited, unit: 'answers', target: 0 },
  { name: 'users twice', value: twice, unit: 'users', target: 0 },
])
