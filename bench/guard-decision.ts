// What does a decision over three limits cost in memory, beside rate-limiter-flexible's over one?
import { createGuard } from 'holdfast'
import { RateLimiterMemory, RateLimiterUnion } from 'rate-limiter-flexible'
import { judge, median, table } from './figures.ts'

const MANY = 1_000_000_000
const USERS = 1_000
// Identity given, headers not read. No shedding: a bench that never gives the event loop a turn is what it would shed.
const guard = createGuard({
  rules: { '/api/chat': [`${MANY}/minute`, `${MANY}/hour`, `${MANY}/month`] },
  shedding: false,
})
const requests = Array.from({ length: USERS }, (_, user) => ({
  method: 'POST',
  path: '/api/chat',
  header: () => null,
  userId: `80351110224${user}`,
}))
let turn = 0
const next = () => {
  turn = (turn + 1) % USERS
  return turn
}

const one = new RateLimiterMemory({ points: MANY, duration: 3_600 })
const union = new RateLimiterUnion(
  new RateLimiterMemory({ keyPrefix: 'minute', points: MANY, duration: 60 }),
  new RateLimiterMemory({ keyPrefix: 'hour', points: MANY, duration: 3_600 }),
  new RateLimiterMemory({ keyPrefix: 'day', points: MANY, duration: 86_400 }),
)

/** CPU of one call, ns, the median of interleaved rounds: on shared cores the time is mostly somebody else's. */
async function cpu(contestants: Readonly<Record<string, (calls: number) => unknown>>): Promise<Record<string, number>> {
  const calls = 200_000
  const found: Record<string, number[]> = {}
  for (let round = -3; round < 15; round++) {
    for (const [name, run] of Object.entries(contestants)) {
      const before = process.cpuUsage()
      await run(calls)
      const { user, system } = process.cpuUsage(before)
      if (round >= 0) (found[name] ??= []).push(((user + system) * 1000) / calls)
    }
  }
  return Object.fromEntries(Object.entries(found).map(([name, values]) => [name, median(values)]))
}

const times = await cpu({
  'holdfast, three limits': (calls) => {
    for (let call = 0; call < calls; call++) guard.check(requests[next()]!)
  },
  'rate-limiter-flexible, one limit': async (calls) => {
    for (let call = 0; call < calls; call++) await one.consume(requests[next()]!.userId)
  },
  'rate-limiter-flexible, union of three': async (calls) => {
    for (let call = 0; call < calls; call++) await union.consume(requests[next()]!.userId)
  },
})
const ns = times['holdfast, three limits']!
table(
  ['a decision in memory', 'ns of CPU', '× holdfast'],
  Object.entries(times).map(([name, took]) => [name, took, took / ns]),
)
judge([
  { name: 'three limits in memory', value: ns / 1000, unit: 'µs', target: 0.25 },
  {
    name: 'rate-limiter-flexible with one',
    // Its answer is always a promise; ours, in memory, never is.
    value: times['rate-limiter-flexible, one limit']! / ns,
    unit: '× ours',
    target: 1,
    atLeast: true,
  },
])
await guard.close()
