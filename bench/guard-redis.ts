// Three limits in Redis, 64 decisions in flight, beside rate-limiter-flexible's union of three.
import { createGuard } from 'holdfast'
import { Redis } from 'ioredis'
import { RateLimiterRedis, RateLimiterUnion } from 'rate-limiter-flexible'
import { startRedisServer } from '../test/support/redis-server.ts'
import { judge, median, table } from './figures.ts'

const MANY = 1_000_000_000
const IN_FLIGHT = 64
const CALLS = 20_000
const ROUNDS = 7

const server = await startRedisServer()
const guard = createGuard({
  redis: server.url,
  secret: 'a secret of this bench, and of nothing else',
  rules: { '/api/chat': [`${MANY}/minute`, `${MANY}/hour`, `${MANY}/month`] },
  shedding: false,
  // What is decided without Redis is decided too fast.
  on: (event) => {
    if (event.type === 'breaker' && event.state === 'open')
      throw new Error('Redis was too slow for a round; run it again')
  },
  logger: {
    debug() {},
    info() {},
    warn() {},
    error: ({ error }: { error?: unknown }) => process.exit(void console.error(error) ?? 1),
  },
})
const client = new Redis(server.url)
const limiter = (keyPrefix: string, duration: number) =>
  new RateLimiterRedis({ storeClient: client, keyPrefix, points: MANY, duration })
const union = new RateLimiterUnion(limiter('minute', 60), limiter('hour', 3_600), limiter('day', 86_400))

const contestants: Record<string, (user: string) => Promise<unknown> | unknown> = {
  'holdfast, three limits': async (userId) => {
    const request = { method: 'POST', path: '/api/chat', header: () => null, userId }
    const decision = await guard.check(request)
    if (decision.action !== 'pass') throw new Error('refused')
  },
  'rate-limiter-flexible, union of three': (user) => union.consume(user),
}
const rates: Record<string, number[]> = {}
for (let round = -2; round < ROUNDS; round++) {
  for (const [name, decide] of Object.entries(contestants)) {
    let left = CALLS
    const began = performance.now()
    await Promise.all(
      Array.from({ length: IN_FLIGHT }, async () => {
        while (left-- > 0) await decide(`user ${left % 1_000}`)
      }),
    )
    const rate = CALLS / ((performance.now() - began) / 1000)
    if (round >= 0) (rates[name] ??= []).push(rate)
  }
}
const [ours, theirs] = Object.values(rates).map(median) as [number, number]
table(
  ['64 in flight', 'decisions a second', '× the union'],
  [
    ['holdfast, three limits, all or nothing', Math.round(ours), ours / theirs],
    ['rate-limiter-flexible, union of three', Math.round(theirs), 1],
  ],
)
judge([{ name: 'three limits in Redis', value: ours / theirs, unit: '× the union of three', target: 2, atLeast: true }])
client.disconnect()
await guard.close()
await server.stop()
