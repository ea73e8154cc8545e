// What does a decision over three limits cost in memory, beside rate-limiter-flexible's over one?
import { createGuard } from 'holdfast'
import { RateLimiterMemory, RateLimiterUnion } from 'rate-limiter-flexible'
import { judge, race, table } from './figures.ts'

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

/** Without the await of the others: our decision in memory is no promise, and needs none. */
function sync(rounds: number, calls: number): number {
  const times: number[] = []
  for (let round = -3; round < rounds; round++) {
    const began = process.hrtime.bigint()
    for (let call = 0; call < calls; call++) guard.check(requests[next()]!)
    if (round >= 0) times.push(Number(process.hrtime.bigint() - began) / calls)
  }
  return times.sort((a, b) => a - b)[times.length >> 1]!
}

const times = await race(
  {
    'holdfast, three limits': () => guard.check(requests[next()]!),
    'rate-limiter-flexible, one limit': () => one.consume(requests[next()]!.userId),
    'rate-limiter-flexible, union of three': () => union.consume(requests[next()]!.userId),
  },
  { calls: () => 50_000 },
)
const ns = sync(15, 200_000)
table(
  ['a decision in memory', 'ns', '× holdfast'],
  [
    ['holdfast, three limits, no await', ns, 1],
    ...Object.entries(times).map(([name, took]): [string, number, number] => [`${name}, awaited`, took, took / ns]),
  ],
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
