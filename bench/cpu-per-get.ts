// How much of our CPU does one GET of a 20 kB guild list take, at concurrency 16? Each client runs in a process of its
// own, so that one's garbage is not collected on the other's time; their rounds are interleaved.
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { REST } from '@discordjs/rest'
import { createHoldfast } from 'holdfast'
import { startDiscord } from './discord.ts'
import { judge, median, table } from './figures.ts'

const CONCURRENCY = 16
const CALLS = 4_000
const ROUNDS = 9
/** So many that none of them comes near the 50 calls a second that each may make. */
const USERS = 1_000

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
  const theirs = medians['@discordjs/rest']!
  table(
    [`GET of 100 guilds, 20 kB, at concurrency ${CONCURRENCY}`, 'CPU µs', '× holdfast'],
    Object.entries(medians).map(([name, us]) => [name, us, us / ours]),
  )
  judge([{ name: 'CPU per GET', value: ours / theirs, unit: '× @discordjs/rest', target: 0.6 }])
}
