// How many calls a second can a process take of a quota: in memory, and in Redis beside one EVAL for each?
import { createClient } from '@keyv/redis'
import { createOwnerQuota } from 'holdfast'
import { startRedisServer } from '../test/support/redis-server.ts'
import { judge, median, table } from './figures.ts'

const IN_FLIGHT = 64
const ROUNDS = 7
process.env.HOLDFAST_SECRET ??= 'a-secret-of-at-least-thirty-two-bytes'

async function perSecond(calls: number, call: () => Promise<unknown>): Promise<number> {
  let left = calls
  const began = performance.now()
  await Promise.all(
    Array.from({ length: IN_FLIGHT }, async () => {
      while (left-- > 0) await call()
    }),
  )
  return calls / ((performance.now() - began) / 1000)
}

const server = await startRedisServer()
const client = createClient({ url: server.url })
await client.connect()
const settings = { limit: 1_000_000_000, windowMs: 60_000 }
const memory = createOwnerQuota(settings)
const redis = createOwnerQuota({ ...settings, name: 'takes', redis: server.url })
// What every limiter on Redis does at least: count, and let the count end with its window.
const SCRIPT = `local n = redis.call('INCR', KEYS[1])
if n == 1 then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
return { n, redis.call('PTTL', KEYS[1]) }`
const sha = await client.scriptLoad(SCRIPT)
let user = 0
const contestants: Record<string, [number, () => Promise<unknown>]> = {
  'memory, one owner': [200_000, () => memory.take('one')],
  'memory, 10 000 owners': [200_000, () => memory.take(`owner ${user++ % 10_000}`)],
  'Redis, leased': [200_000, () => redis.take('one')],
  'Redis, one EVALSHA a take': [20_000, () => client.evalSha(sha, { keys: ['one'], arguments: ['60000'] })],
}
const figures: Record<string, number[]> = {}
for (let round = -1; round < ROUNDS; round++)
  for (const [name, [calls, call]] of Object.entries(contestants)) {
    const rate = await perSecond(calls, call)
    if (round >= 0) (figures[name] ??= []).push(rate)
  }
const rates = Object.fromEntries(Object.entries(figures).map(([name, values]) => [name, median(values)]))
table(
  ['64 in flight', 'takes a second'],
  Object.entries(rates).map(([name, rate]) => [name, rate]),
)
await memory.close()
await redis.close()
client.destroy()
await server.stop()
judge([
  { name: 'in memory', value: rates['memory, 10 000 owners']!, unit: 'takes a second', target: 100_000, atLeast: true },
  {
    name: 'in Redis',
    value: rates['Redis, leased']! / rates['Redis, one EVALSHA a take']!,
    unit: '× one EVAL a take',
    target: 5,
    atLeast: true,
  },
])
