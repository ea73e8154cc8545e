// Four processes under traffic are restarted one after another, as a deployment does it: what do a thousand users, whom
// they all know, and Discord notice?
import { setTimeout as sleep } from 'node:timers/promises'
import { createHoldfast } from 'holdfast'
import { startRedisServer } from '../test/support/redis-server.ts'
import { type Discord, startDiscord } from './discord.ts'
import { judge, percentile, table } from './figures.ts'
import { type Member, memberArgs, SECRET, serve, startMember } from './fleet.ts'

const PROCESSES = 4
const USERS = 1_000
const PER_SECOND = 200
const BETWEEN_RESTARTS_MS = 1_500
const LATENCY_MS = 100

type User = Discord['users'][number]
interface Answered {
  readonly source?: string
  readonly stale?: boolean
  readonly guilds?: number
  readonly ms: number
  readonly error?: string
}

const args = memberArgs<[baseUrl: string, redis: string]>()
if (args) {
  const [baseUrl, redis] = args
  const holdfast = createHoldfast({ discord: { baseUrl }, redis, secret: SECRET })
  // As in the guide: begin with the fleet's memory.
  await holdfast.ready()
  serve(
    {
      request({ id: userId, accessToken }: User): Promise<Answered> {
        const began = performance.now()
        return holdfast.memberships({ userId, accessToken }).then(
          ({ source, stale, guilds }) => ({ source, stale, guilds: guilds.size, ms: performance.now() - began }),
          (error) => ({ error: String(error), ms: performance.now() - began }),
        )
      },
    },
    () => holdfast.close(),
  )
} else {
  const server = await startRedisServer()
  const discord = await startDiscord({ users: USERS, guildsPerUser: 100, latencyMs: LATENCY_MS })
  const start = () => startMember(import.meta.filename, discord.url, server.url)
  // The balancer: processes that take requests.
  const members: Member[] = await Promise.all(Array.from({ length: PROCESSES }, start))
  const request = (nth: number) => members[nth % members.length]!.ask<Answered>('request', discord.users[nth % USERS]!)
  for (let first = 0; first < USERS; first += 50)
    await Promise.all(Array.from({ length: 50 }, (_, offset) => request(first + offset)))
  await discord.tally()

  const answers: Answered[] = []
  const open: Promise<void>[] = []
  let restarting = true
  const began = performance.now()
  const traffic = (async () => {
    // Not in step with the number of processes: every user comes by every process.
    for (let nth = 0; restarting; nth++) {
      const dueMs = (nth * 1000) / PER_SECOND - (performance.now() - began)
      if (dueMs > 0) await sleep(dueMs)
      open.push(request(nth * 7 + Math.floor(nth / USERS)).then((answered) => void answers.push(answered)))
    }
  })()
  for (let restart = 0; restart < PROCESSES; restart++) {
    await sleep(BETWEEN_RESTARTS_MS)
    const old = members.shift()!
    await old.stop()
    members.push(await start())
  }
  await sleep(BETWEEN_RESTARTS_MS)
  restarting = false
  await traffic
  await Promise.all(open)
  const { calls } = await discord.tally()
  await Promise.all(members.map((member) => member.stop()))
  await discord.stop()
  await server.stop()

  const errors = answers.filter(({ error, guilds }) => error !== undefined || guilds !== 100)
  const from = (source: string) => answers.filter((answered) => answered.source === source).length
  const waits = answers.map(({ ms }) => ms)
  table(
    [`${PROCESSES} restarts, ${PER_SECOND} requests a second of ${USERS} users`, ''],
    [
      ['requests', answers.length],
      ['answered from memory', from('memory')],
      ['answered from Redis', from('redis')],
      ['median, ms', percentile(waits, 0.5)],
      ['p99, ms', percentile(waits, 0.99)],
      ['the longest, ms', Math.max(...waits)],
    ],
  )
  if (errors.length > 0) console.log(errors.slice(0, 5))
  judge([
    { name: 'calls to Discord', value: calls, unit: 'calls', target: 0 },
    { name: 'errors', value: errors.length, unit: 'errors', target: 0 },
    { name: 'answers from Redis', value: from('redis'), unit: 'answers', target: USERS, atLeast: true },
  ])
}
