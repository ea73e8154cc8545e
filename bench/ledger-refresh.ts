// 100 000 users (USERS=… for fewer) are due: four instances refresh them together, on the simulator's virtual clock, one
// PostgreSQL and 100 ms of latency, and show pages meanwhile.
import { createHoldfast } from 'holdfast'
import { createVirtualClock, startSimulator } from 'holdfast/simulator'
import pg from 'pg'
import setUpPostgres from '../test/support/postgres.ts'
import { judge, table } from './figures.ts'

const USERS = Number(process.env.USERS ?? 100_000)
const INSTANCES = 4
const AT_ONCE = 10
const LATENCY_MS = 100
const HOUR_MS = 3_600_000
const STEP_MS = 10
/** Users of pages, who are not due; one is shown a page every so often. */
const VISITORS = 1_000
const PAGE_EVERY_MS = 500

let database = ''
const stop = await setUpPostgres({
  provide: (_: string, url: string) => {
    database = url
  },
} as never)
const clock = createVirtualClock()
/** Calls that are in their latency. */
let asleep = 0
const discord = await startSimulator({
  users: USERS + VISITORS,
  guildsPerUser: 3,
  latencyMs: LATENCY_MS,
  clock: {
    ...clock,
    async sleep(ms: number, signal?: AbortSignal) {
      asleep++
      try {
        await clock.sleep(ms, signal)
      } finally {
        asleep--
      }
    },
  },
})
const instances = Array.from({ length: INSTANCES }, () =>
  createHoldfast({
    discord: { baseUrl: discord.url },
    database,
    secret: 'a-secret-of-at-least-32-bytes-for-benches',
    clock,
    cache: { maxEntries: 1_000 },
  }),
)
const due = discord.users.slice(0, USERS)
const visitors = discord.users.slice(USERS)

/** As if each of them had been fetched two hours ago. */
async function fill(): Promise<void> {
  await instances[0]!.ledger.summary()
  const client = new pg.Client({ connectionString: database })
  await client.connect()
  await client.query(
    `insert into holdfast_user (user_id, sent_at, saved_at, turn, list_hash)
      select n, $2 + row_number() over (), $2, 1, 1 from unnest($1::bigint[]) n`,
    [due.map(({ id }) => id), clock.now() - 2 * HOUR_MS],
  )
  await client.query(
    `insert into holdfast_membership (user_no, guild_id, standing)
      select u.no, n.guild, 0 from unnest($1::bigint[], $2::bigint[]) n (id, guild) join holdfast_user u on u.user_id = n.id`,
    [due.flatMap(({ id, guilds }) => guilds.map(() => id)), due.flatMap(({ guilds }) => guilds.map(({ id }) => id))],
  )
  await client.query('analyze')
  await client.end()
}
await fill()

/** Waits until all calls are in their latency: what HTTP and PostgreSQL take on this machine is no virtual time. */
async function settled(): Promise<void> {
  const end = performance.now() + 25
  while (asleep < INSTANCES * AT_ONCE && performance.now() < end) await new Promise((resolve) => setImmediate(resolve))
}

const pages: number[] = []
let shown = 0
async function showPage(): Promise<void> {
  const { id: userId, accessToken } = visitors[shown % VISITORS]!
  const holdfast = instances[shown++ % INSTANCES]!
  const began = clock.monotonic()
  await holdfast.memberships({ userId, accessToken }, { maxAgeMs: 0 })
  pages.push(clock.monotonic() - began)
}

const tokens = new Map(due.map(({ id, accessToken }) => [id, accessToken]))
const beganAt = clock.monotonic()
let endedAt: number | undefined
const work = Promise.all(
  instances.map(({ ledger }) =>
    ledger.refreshDue({
      olderThanMs: HOUR_MS,
      limit: USERS,
      atOnce: AT_ONCE,
      token: async (userId) => tokens.get(userId) ?? null,
    }),
  ),
).finally(() => {
  endedAt = clock.monotonic()
})
const showing: Promise<void>[] = []
for (let nth = 0; endedAt === undefined; nth++) {
  await settled()
  if (nth % (PAGE_EVERY_MS / STEP_MS) === 0) showing.push(showPage())
  await clock.advance(STEP_MS)
}
const tookMs = endedAt - beganAt
const result = await work
await clock.advance(10 * LATENCY_MS)
await Promise.all(showing)
const idsDue = new Set(due.map(({ id }) => id))
const calls = discord.calls.filter(({ userId }) => userId !== null && idsDue.has(userId))
const limited = discord.calls.filter(({ status }) => status === 429).length
for (const holdfast of instances) await holdfast.close()
await discord.close()
stop()

const refreshed = result.reduce((sum, counts) => sum + counts.refreshed, 0)
const boundMs = (USERS * LATENCY_MS) / (INSTANCES * AT_ONCE)
const twice = calls.length - new Set(calls.map(({ userId }) => userId)).size
table(
  [`${USERS} users, ${INSTANCES} instances, ${AT_ONCE} calls at once each`, ''],
  [
    ['refreshed', refreshed],
    ['by each instance', result.map((counts) => counts.refreshed).join(', ')],
    ['virtual seconds', tookMs / 1000],
    ['users × latency ÷ calls at once, s', boundMs / 1000],
    ['pages shown meanwhile', pages.length],
  ],
)
judge([
  { name: 'users refreshed', value: refreshed, unit: 'users', target: USERS, atLeast: true },
  { name: 'time', value: tookMs / boundMs, unit: '× users × latency ÷ calls at once', target: 1.05 },
  { name: 'answers 429', value: limited, unit: 'answers', target: 0 },
  { name: 'users twice', value: twice, unit: 'users', target: 0 },
  { name: 'the slowest page meanwhile', value: Math.max(...pages), unit: 'ms', target: LATENCY_MS + STEP_MS },
])
