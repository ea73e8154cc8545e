// Three limits in Redis, 64 decisions in flight, beside rate-limiter-flexible's union of three.
import { setTimeout as sleep } from 'node:timers/promises'
import { createGuard } from 'holdfast'
import { Redis } from 'ioredis'
import { RateLimiterRedis, RateLimiterUnion } from 'rate-limiter-flexible'
import { startRedisServer } from '../test/support/redis-server.ts'
import { judge, median, table } from './figures.ts'

const MANY = 1_000_000_000
const IN_FLIGHT = 64
const CALLS = 20_000
const ROUNDS = 10
/** A machine with no processor left for Redis is no figure. */
const SPOILT_ROUNDS = 20

const asking = (path: string, userId: string) => ({ method: 'POST', path, header: () => null, userId })

const server = await startRedisServer()
const guard = createGuard({
  redis: server.url,
  secret: 'a secret of this bench, and of nothing else',
  rules: {
    '/api/chat': [`${MANY}/minute`, `${MANY}/hour`, `${MANY}/month`],
    '/there': { limit: MANY, windowMs: 60_000, onStoreError: 'closed' },
  },
  shedding: false,
  // What is decided while Redis counts as away is decided without it, and too fast.
  on: (event) => {
    if (event.type === 'breaker' && event.state === 'open') wasAway = true
  },
})
let wasAway = false
/** Until Redis was reached the guard decides alone; this rule refuses then. */
const there = async () => {
  const passes = async () => (await guard.check(asking('/there', 'nobody'))).action === 'pass'
  while (!(await passes())) await sleep(20)
  wasAway = false
}
const client = new Redis(server.url)
const limiter = (keyPrefix: string, duration: number) =>
  new RateLimiterRedis({ storeClient: client, keyPrefix, points: MANY, duration })
const union = new RateLimiterUnion(limiter('minute', 60), limiter('hour', 3_600), limiter('day', 86_400))

const contestants: Record<string, (user: string) => Promise<unknown> | unknown> = {
  'holdfast, three limits, all or nothing': async (userId) => {
    const decision = await guard.check(asking('/api/chat', userId))
    if (decision.action !== 'pass') throw new Error('refused')
  },
  'rate-limiter-flexible, union of three': (user) => union.consume(user),
}
const names = Object.keys(contestants)
const rates = names.map((): number[] => [])
const ratios: number[] = []
let spoilt = 0
await there()
for (let round = -2; round < ROUNDS; ) {
  const measured: number[] = []
  for (const name of names) {
    let left = CALLS
    const began = performance.now()
    await Promise.all(
      Array.from({ length: IN_FLIGHT }, async () => {
        while (left-- > 0) await contestants[name]!(`user ${left % 1_000}`)
      }),
    )
    measured.push(CALLS / ((performance.now() - began) / 1000))
  }
  if (wasAway) {
    if (++spoilt > SPOILT_ROUNDS) throw new Error(`in ${spoilt} rounds Redis was given no processor for 100 ms`)
    await there()
    continue
  }
  if (round++ < 0) continue
  for (const [index, rate] of measured.entries()) rates[index]!.push(rate)
  ratios.push(measured[0]! / measured[1]!)
}
table(
  ['64 in flight', 'decisions a second', '× the union'],
  names.map((name, index) => [name, Math.round(median(rates[index]!)), index === 0 ? median(ratios) : 1]),
)
console.log(
  `\n${ROUNDS} rounds, ${Math.min(...ratios).toFixed(2)} to ${Math.max(...ratios).toFixed(2)}; ${spoilt} made again, because Redis was silent for 100 ms`,
)
judge([
  { name: 'three limits in Redis', value: median(ratios), unit: '× the union of three', target: 2, atLeast: true },
])
client.disconnect()
await guard.close()
await server.stop()
