// Four processes, 2 500 callers in each, one cold key: how many calls reach Discord, and how long does the last caller wait?
import { setTimeout as sleep } from 'node:timers/promises'
import { createHoldfast } from 'holdfast'
import { startRedisServer } from '../test/support/redis-server.ts'
import { type Discord, startDiscord } from './discord.ts'
import { judge, median, table } from './figures.ts'
import { machineTime, memberArgs, SECRET, serve, startMember } from './fleet.ts'

const PROCESSES = 4
const CALLERS = 2_500
const ROUNDS = 15
const WARM_UP = 5
const LATENCY_MS = 100

type User = Discord['users'][number]
interface Stampede {
  readonly beganAt: number
  readonly endedAt: number
  readonly guildIds: string
}

const args = memberArgs<[baseUrl: string, redis: string]>()
if (args) {
  const [baseUrl, redis] = args
  const holdfast = createHoldfast({ discord: { baseUrl }, redis, secret: SECRET })
  await holdfast.ready()
  serve(
    {
      /** How long Discord takes without us in between. */
      async upstream({ id, accessToken }: User) {
        // The connection is not part of the question.
        await holdfast.getCurrentUser(accessToken, { principal: id })
        const began = machineTime()
        await holdfast.getCurrentUser(accessToken, { principal: id })
        return machineTime() - began
      },
      async stampede({ id: userId, accessToken }: User, at: number): Promise<Stampede> {
        await sleep(Math.max(0, at - machineTime()))
        const beganAt = machineTime()
        const results = await Promise.all(
          Array.from({ length: CALLERS }, () => holdfast.memberships({ userId, accessToken })),
        )
        const endedAt = machineTime()
        if (results.some((result) => result.guilds !== results[0]!.guilds))
          throw new Error('callers got different lists')
        return { beganAt, endedAt, guildIds: [...results[0]!.guilds].map((guild) => guild.id).join() }
      },
    },
    () => holdfast.close(),
  )
} else {
  const server = await startRedisServer()
  const discord = await startDiscord({ users: ROUNDS + WARM_UP, guildsPerUser: 100, latencyMs: LATENCY_MS })
  const members = await Promise.all(
    Array.from({ length: PROCESSES }, () => startMember(import.meta.filename, discord.url, server.url)),
  )
  const rounds: Array<{ over: number; calls: number }> = []
  for (const [round, user] of discord.users.entries()) {
    const upstream = await Promise.all(members.map((member) => member.ask<number>('upstream', user)))
    // What that was is counted by then.
    await sleep(50)
    await discord.tally()
    const at = machineTime() + 100
    const stampedes = await Promise.all(members.map((member) => member.ask<Stampede>('stampede', user, at)))
    if (new Set(stampedes.map(({ guildIds }) => guildIds)).size > 1) throw new Error('processes got different lists')
    const { calls } = await discord.tally()
    const tookMs =
      Math.max(...stampedes.map(({ endedAt }) => endedAt)) - Math.min(...stampedes.map(({ beganAt }) => beganAt))
    if (round >= WARM_UP) rounds.push({ over: tookMs - median(upstream), calls })
  }
  await Promise.all(members.map((member) => member.stop()))
  await discord.stop()
  await server.stop()
  table(
    [`${PROCESSES} processes, ${CALLERS} callers each, one cold key`, 'calls to Discord', "ms over the upstream's own"],
    rounds.map(({ over, calls }, round) => [`round ${round + 1}`, calls, over]),
  )
  judge([
    {
      name: 'calls to Discord, at most in any round',
      value: Math.max(...rounds.map(({ calls }) => calls)),
      unit: 'calls',
      target: 1,
    },
    {
      name: 'the last caller’s wait over the upstream’s own latency, median',
      value: median(rounds.map(({ over }) => over)),
      unit: 'ms',
      target: 20,
    },
  ])
}
