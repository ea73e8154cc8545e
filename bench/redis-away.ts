// Redis stands still (SIGSTOP), or is gone: how long does somebody wait who asks for what memory holds, and for what it
// does not?
import { setTimeout as sleep } from 'node:timers/promises'
import { createHoldfast } from 'holdfast'
import { startRedisServer } from '../test/support/redis-server.ts'
import { startDiscord } from './discord.ts'
import { judge, median, table } from './figures.ts'
import { SECRET } from './fleet.ts'

const ROUNDS = 15
const MISSES = 5
const LATENCY_MS = 50

const discord = await startDiscord({
  users: 1 + (ROUNDS + 1) * 2 * (MISSES + 2),
  guildsPerUser: 100,
  latencyMs: LATENCY_MS,
})
let nextUser = 1
const held = discord.users[0]!

interface Waits {
  readonly hit: number[]
  /** Of each miss in its order, over the load's own time. */
  readonly misses: number[][]
}

/** Asks for what is held while Redis is in trouble, and for one user after another that is not. */
async function measure(trouble: 'frozen' | 'killed'): Promise<Waits> {
  const waits: Waits = { hit: [], misses: [] }
  const server = await startRedisServer()
  for (let round = 0; round <= ROUNDS; round++) {
    const holdfast = createHoldfast({ discord: { baseUrl: discord.url }, redis: server.url, secret: SECRET })
    await holdfast.ready()
    const timed = async ({ id, accessToken }: typeof held) => {
      const began = performance.now()
      await holdfast.memberships({ userId: id, accessToken })
      return performance.now() - began
    }
    const load = async () => {
      const { id: principal, accessToken } = discord.users[nextUser++]!
      const began = performance.now()
      await holdfast.getUserGuilds(accessToken, { principal })
      return performance.now() - began
    }
    await timed(held)
    // The write is behind the answer. The load's own time is measured with Redis out of the way.
    await sleep(50)
    await load()
    const loadMs = await load()
    if (trouble === 'frozen') server.freeze()
    else await server.kill()
    await timed(held)
    const hit = await timed(held)
    const misses: number[] = []
    for (let miss = 0; miss < MISSES; miss++) misses.push((await timed(discord.users[nextUser++]!)) - loadMs)
    await holdfast.close({ deadlineMs: 0 })
    if (trouble === 'frozen') server.thaw()
    else await server.start()
    // The first round warms up.
    if (round === 0) continue
    waits.hit.push(hit)
    waits.misses.push(misses)
  }
  await server.stop()
  return waits
}

const frozen = await measure('frozen')
const killed = await measure('killed')
await discord.stop()

const nth = (waits: Waits, miss: number) => median(waits.misses.map((misses) => misses[miss]!))
const later = (waits: Waits) => median(waits.misses.flatMap((misses) => misses.slice(2)))
const slowestOfRound = (waits: Waits) => median(waits.misses.map((misses) => Math.max(...misses)))
table(
  ['medians, ms; misses over the load itself', 'memory hit', 'first miss', 'second miss', 'later misses'],
  Object.entries({ frozen, killed }).map(([name, waits]) => [
    `Redis ${name}`,
    median(waits.hit),
    nth(waits, 0),
    nth(waits, 1),
    later(waits),
  ]),
)
judge([
  { name: 'frozen: memory hit', value: median(frozen.hit), unit: 'ms', target: 0.3 },
  { name: 'frozen: first miss, over the load', value: nth(frozen, 0), unit: 'ms', target: 110 },
  { name: 'frozen: second miss, over the load', value: nth(frozen, 1), unit: 'ms', target: 5 },
  { name: 'killed: memory hit', value: median(killed.hit), unit: 'ms', target: 0.3 },
  { name: 'killed: the slowest miss of a round, over the load', value: slowestOfRound(killed), unit: 'ms', target: 10 },
])
