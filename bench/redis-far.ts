// Redis is 20 ms away: how long is a fresh process not up, and what does a hit from Redis cost? And what do 100 guilds take
// of Redis's memory, compressed?
import { createClient } from '@keyv/redis'
import { createHoldfast } from 'holdfast'
import { startProxy } from '../test/redis/proxy.ts'
import { startRedisServer } from '../test/support/redis-server.ts'
import { startDiscord } from './discord.ts'
import { judge, median, table } from './figures.ts'
import { SECRET } from './fleet.ts'

const ROUND_TRIP_MS = 20
const ROUNDS = 9
/** A machine with no processor left for Redis is no figure. */
const SPOILT_ROUNDS = 20

const discord = await startDiscord({ users: ROUNDS + 3, guildsPerUser: 100, latencyMs: 1 })
const server = await startRedisServer()
await using proxy = await startProxy(server.port)
const open = (url: string) => createHoldfast({ discord: { baseUrl: discord.url }, redis: url, secret: SECRET })
const writer = open(server.url)
await writer.ready()
const users = discord.users.map(({ id, accessToken }) => ({ userId: id, accessToken }))
for (const user of users) await writer.memberships(user)
await writer.close()
const raw = await createClient({ url: server.url }).connect()
const entries = await raw.keys('holdfast:*:entry:guilds:*')
const bytes = await Promise.all(entries.map((key) => raw.strLen(key)))
raw.destroy()

proxy.set({ answers: 'delay', ms: ROUND_TRIP_MS })
const up: number[] = []
const hits: number[] = []
let spoilt = 0
for (let round = -2; round < ROUNDS; ) {
  const began = performance.now()
  const holdfast = open(proxy.url)
  await holdfast.ready()
  const upMs = performance.now() - began
  const asked = performance.now()
  const { source } = await holdfast.memberships(users[round + 2]!)
  const hitMs = performance.now() - asked
  await holdfast.close()
  if (source !== 'redis') {
    if (++spoilt > SPOILT_ROUNDS) throw new Error(`in ${spoilt} rounds Redis was given no processor in time`)
    continue
  }
  if (round++ < 0) continue
  up.push(upMs)
  hits.push(hitMs)
}
await server.stop()
await discord.stop()
table(
  ['Redis 20 ms away', 'ms'],
  [
    ['up', median(up)],
    ['a hit from Redis', median(hits)],
  ],
)
console.log(
  `\n${ROUNDS} rounds, up after ${Math.min(...up).toFixed(0)} to ${Math.max(...up).toFixed(0)} ms; ${spoilt} made again, because Redis was late`,
)
judge([
  { name: 'up', value: median(up), unit: 'ms', target: 150 },
  { name: 'a hit from Redis', value: median(hits) / ROUND_TRIP_MS, unit: 'round trips', target: 1.5 },
  { name: '100 guilds in Redis', value: median(bytes), unit: 'bytes', target: 6_000 },
])
