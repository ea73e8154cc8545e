// How much of our CPU does one GET of a 20 kB guild list take, at concurrency 16?
import { REST } from '@discordjs/rest'
import { createHoldfast } from 'holdfast'
import { startDiscord } from './discord.ts'
import { judge, median, table } from './figures.ts'

const CONCURRENCY = 16
const CALLS = 4_000
const ROUNDS = 7
/** So many that none of them comes near the 50 calls a second that each may make. */
const USERS = 1_000

const discord = await startDiscord({
  users: USERS,
  guildsPerUser: 80,
  userGuildsLimit: { limit: 1_000_000, windowMs: 3_600_000, kind: 'fixed' },
  botGlobalPerSecond: 1_000_000,
})
const holdfast = createHoldfast({ discord: { baseUrl: discord.url } })
const rest = new REST({
  api: discord.url.replace(/\/v\d+$/, ''),
  version: '10',
  authPrefix: 'Bearer',
  globalRequestsPerSecond: 1_000_000,
})
const clients: Record<string, (user: number) => Promise<unknown>> = {
  holdfast: (user) => {
    const { id, accessToken } = discord.users[user]!
    return holdfast.getUserGuilds(accessToken, { principal: id })
  },
  '@discordjs/rest': (user) =>
    rest.get('/users/@me/guilds', {
      auth: false,
      headers: { authorization: `Bearer ${discord.users[user]!.accessToken}` },
    }),
}

async function measure(call: (user: number) => Promise<unknown>): Promise<number> {
  const before = process.cpuUsage()
  let left = CALLS
  await Promise.all(
    Array.from({ length: CONCURRENCY }, async () => {
      while (left-- > 0) await call(left % USERS)
    }),
  )
  const { user, system } = process.cpuUsage(before)
  return (user + system) / CALLS
}

const times: Record<string, number[]> = {}
for (let round = -1; round < ROUNDS; round++) {
  for (const [name, call] of Object.entries(clients)) {
    const microseconds = await measure(call)
    if (round >= 0) (times[name] ??= []).push(microseconds)
  }
}
const bytes = JSON.stringify(await clients.holdfast!(0)).length
const medians = Object.fromEntries(Object.entries(times).map(([name, values]) => [name, median(values)]))
const ours = medians.holdfast!
const theirs = medians['@discordjs/rest']!
table(
  [`GET of ${Math.round(bytes / 1000)} kB at concurrency ${CONCURRENCY}`, 'CPU µs', '× holdfast'],
  Object.entries(medians).map(([name, us]) => [name, us, us / ours]),
)
judge([{ name: 'CPU per GET', value: ours / theirs, unit: '× @discordjs/rest', target: 0.6 }])
await holdfast.close()
await discord.stop()
process.exit()
