// How much of our CPU does one GET of a 20 kB guild list take, at concurrency 16, each call another of 800 users? Beside
// @discordjs/rest with one REST for all and with one for each user, and undici's bare dispatch. Each client runs in a process of its
// own, so that one's garbage is not collected on the other's time; their rounds are interleaved.
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { REST } from '@discordjs/rest'
import { createHoldfast } from 'holdfast'
// Ours, not the one that peers brought.
import { Pool } from '../node_modules/undici/index.js'
import { startDiscord } from './discord.ts'
import { judge, median, table } from './figures.ts'

const CONCURRENCY = 16
const CALLS = 3_200
const ROUNDS = 7
/** So many that none of them comes near the 50 calls a second that each may make. */
const USERS = 800
const USER_AGENT = 'DiscordBot (https://bench.invalid, 1.0.0)'

type Users = ReadonlyArray<{ id: string; accessToken: string }>

const CLIENTS: Record<string, (url: string, users: Users) => (user: number) => Promise<unknown>> = {
  holdfast(url, users) {
    const holdfast = createHoldfast({ discord: { baseUrl: url } })
    return (user) => holdfast.getUserGuilds(users[user]!.accessToken, { principal: users[user]!.id })
  },
  '@discordjs/rest'(url, users) {
    const rest = new REST({
      api: url.replace(/\/v\d+$/, ''),
      version: '10',
      authPrefix: 'Bearer',
      globalRequestsPerSecond: 1_000_000,
    })
    return (user) =>
      rest.get('/users/@me/guilds', {
        auth: false,
        headers: { authorization: `Bearer ${users[user]!.accessToken}` },
      })
  },
  '@discordjs/rest, one a user'(url, users) {
    const rests = users.map(({ accessToken }) =>
      new REST({
        api: url.replace(/\/v\d+$/, ''),
        version: '10',
        authPrefix: 'Bearer',
        globalRequestsPerSecond: 1_000_000,
      }).setToken(accessToken),
    )
    return (user) => rests[user]!.get('/users/@me/guilds')
  },
  'undici dispatch, JSON.parse'(url, users) {
    const { origin, pathname } = new URL(url)
    const pool = new Pool(origin, { allowH2: false, headersTimeout: 0, bodyTimeout: 0 })
    return (user) =>
      new Promise((resolve, reject) => {
        const chunks: Buffer[] = []
        const headers = { authorization: `Bearer ${users[user]!.accessToken}`, 'user-agent': USER_AGENT }
        pool.dispatch(
          { method: 'GET', path: `${pathname}/users/@me/guilds`, headers },
          {
            onRequestStart() {},
            onResponseStart() {},
            onResponseData: (_controller, chunk) => void chunks.push(chunk),
            onResponseEnd: () => resolve(JSON.parse(Buffer.concat(chunks).toString())),
            onResponseError: (_controller, error) => reject(error),
          },
        )
      })
  },
}

if (process.send) {
  const [, , name, url, users] = process.argv
  const call = CLIENTS[name!]!(url!, JSON.parse(users!))
  process.on('message', async () => {
    const before = process.cpuUsage()
    let left = CALLS
    await Promise.all(
      Array.from({ length: CONCURRENCY }, async () => {
        while (left-- > 0) await call(left % USERS)
      }),
    )
    const { user, system } = process.cpuUsage(before)
    process.send!({ us: (user + system) / CALLS })
  })
} else {
  const discord = await startDiscord({
    users: USERS,
    guildsPerUser: 100,
    userGuildsLimit: { limit: 1_000_000, windowMs: 3_600_000, kind: 'fixed' },
  })
  const names = Object.keys(CLIENTS)
  const children = names.map((name) => fork(import.meta.filename, [name, discord.url, JSON.stringify(discord.users)]))
  const times: Record<string, number[]> = {}
  for (let round = -2; round < ROUNDS; round++) {
    for (const [index, child] of children.entries()) {
      child.send('measure')
      const [{ us }] = await once(child, 'message')
      if (round >= 0) (times[names[index]!] ??= []).push(us)
    }
  }
  for (const child of children) child.kill('SIGKILL')
  await discord.stop()
  const medians = Object.fromEntries(Object.entries(times).map(([name, values]) => [name, median(values)]))
  const ours = medians.holdfast!
  table(
    [`GET of 100 guilds, 20 kB, at concurrency ${CONCURRENCY}`, 'CPU µs', '× holdfast'],
    Object.entries(medians).map(([name, us]) => [name, us, us / ours]),
  )
  judge([
    { name: 'CPU per GET', value: ours / medians['@discordjs/rest']!, unit: '× @discordjs/rest', target: 0.6 },
    {
      name: 'CPU per GET',
      value: ours / medians['@discordjs/rest, one a user']!,
      unit: '× @discordjs/rest with one REST a user',
      target: 0.6,
    },
    {
      name: 'CPU per GET',
      value: ours / medians['undici dispatch, JSON.parse']!,
      unit: "× undici's dispatch with JSON.parse",
      target: 1.5,
    },
  ])
}
