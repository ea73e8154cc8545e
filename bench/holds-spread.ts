// One process of four meets a refusal of Discord: how long does it take until the other three refuse by themselves?
import { once } from 'node:events'
import { createServer } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { createHoldfast, DiscordAPIError, DiscordRateLimitError } from 'holdfast'
import { startRedisServer } from '../test/support/redis-server.ts'
import { judge, median, table } from './figures.ts'
import { machineTime, memberArgs, SECRET, serve, startMember } from './fleet.ts'

const ROUNDS = 10
const OTHERS = 3
/** Fewer than the 50 calls a second that one user may make: what stops them must be what another process has met. */
const POLLS = 40
const POLL_EVERY_MS = 2
const OFFENDER = 'https://offender.example'

interface Refusal {
  readonly path: string
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

const LIMITED = { 'x-ratelimit-limit': '1', 'x-ratelimit-remaining': '0', 'x-ratelimit-reset-after': '30' }
const REFUSALS: Readonly<Record<string, Refusal>> = {
  'a 429 of one user’s bucket': {
    path: '/users/@me/guilds',
    status: 429,
    headers: { ...LIMITED, 'x-ratelimit-scope': 'user' },
    body: '{"message":"You are being rate limited.","retry_after":30,"global":false}',
  },
  'a global 429 of one user': {
    path: '/users/@me/guilds',
    status: 429,
    headers: { 'x-ratelimit-global': 'true' },
    body: '{"message":"You are being rate limited.","retry_after":30,"global":true}',
  },
  'a shared 429 of a guild': {
    path: '/guilds/:round',
    status: 429,
    headers: { ...LIMITED, 'x-ratelimit-scope': 'shared' },
    body: '{"message":"The resource is being rate limited.","retry_after":30,"global":false}',
  },
  'a dead token': {
    path: '/users/@me/guilds',
    status: 401,
    headers: {},
    body: '{"message":"401: Unauthorized","code":0}',
  },
  // The last: it stops everybody.
  'a ban of the address': {
    path: '/users/@me/guilds',
    status: 429,
    headers: { 'retry-after': '1' },
    body: 'error code: 1015',
  },
}
const BAN_MS = 1_000

const args = memberArgs<[baseUrl: string, redis: string, publicUrl: string]>()
if (args) {
  const [baseUrl, redis, publicUrl] = args
  const holdfast = createHoldfast({
    discord: { baseUrl, maxWaitMs: 0, maxRetries: 0 },
    redis,
    publicUrl,
    secret: SECRET,
  })
  await holdfast.ready()
  let answeredAt = 0
  holdfast.on((event) => {
    if (event.type === 'discord.call') answeredAt = machineTime()
  })
  const call = (path: string, user: string) => holdfast.discordFetch(path, `token-${user}`, { principal: user })
  serve(
    {
      /** Meets the refusal; when it arrived. */
      async offend(path: string, user: string) {
        const error = await call(path, user).catch((error) => error)
        if (!(error instanceof Error)) throw new Error('the refusal did not come')
        return answeredAt
      },
      /** Calls again and again; when that was first refused without asking Discord. */
      async follow(path: string, user: string, polls = POLLS) {
        for (let poll = 0; poll < polls; poll++) {
          try {
            await call(path, user)
          } catch (error) {
            const local =
              error instanceof DiscordRateLimitError
                ? error.local
                : error instanceof DiscordAPIError && error.attempts === 0
            if (!local) throw error
            return machineTime()
          }
          await sleep(POLL_EVERY_MS)
        }
        return Number.POSITIVE_INFINITY
      },
    },
    () => holdfast.close(),
  )
} else {
  let refusal: Refusal | undefined
  // A Discord that refuses one of the processes, and nobody else.
  const discord = createServer((request, response) => {
    const refused = refusal && request.headers['user-agent']?.includes(OFFENDER)
    response.writeHead(refused ? refusal!.status : 200, {
      'content-type': 'application/json',
      ...(refused && refusal!.headers),
    })
    response.end(refused ? refusal!.body : '[]')
  }).listen(0, '127.0.0.1')
  await once(discord, 'listening')
  const { port } = discord.address() as { port: number }
  const server = await startRedisServer()
  const start = (publicUrl: string) =>
    startMember(import.meta.filename, `http://127.0.0.1:${port}`, server.url, publicUrl)
  const offender = await start(OFFENDER)
  const others = await Promise.all(Array.from({ length: OTHERS }, () => start('https://others.example')))

  const spread: Record<string, number[]> = {}
  let user = 0
  for (const [name, { path, ...rest }] of Object.entries(REFUSALS)) {
    for (let round = 0; round <= ROUNDS; round++) {
      user++
      const where = path.replace(':round', String(user))
      const following = others.map((other) => other.ask<number>('follow', where, String(user)))
      await sleep(10)
      refusal = { path, ...rest }
      const metAt = await offender.ask<number>('offend', where, String(user))
      refusal = undefined
      const heard = await Promise.all(following)
      // The first round warms up.
      if (round > 0)
        (spread[name] ??= []).push(Math.max(...heard.map((at) => (at ?? Number.POSITIVE_INFINITY) - metAt)))
      if (!rest.body.includes('1015')) continue
      await sleep(BAN_MS + 200)
      // Everybody finds out that it is over, before there is another.
      for (const member of [offender, ...others]) await member.ask('follow', where, `${user}-after`, 1)
      await sleep(50)
    }
  }
  await Promise.all([offender, ...others].map((member) => member.stop()))
  discord.close()
  await server.stop()
  table(
    ['until the last of the other three refuses', 'median, ms', 'slowest round, ms'],
    Object.entries(spread).map(([name, times]) => [name, median(times), Math.max(...times)]),
  )
  judge(
    Object.entries(spread).map(([name, times]) => ({
      name: `${name}, median`,
      value: median(times),
      unit: 'ms',
      target: 50,
    })),
  )
}
