// 20 users, each allowed one call a second, three rounds: does one user's limit slow another down?
import { REST } from '@discordjs/rest'
import { createHoldfast } from 'holdfast'
import { type Discord, startDiscord } from './discord.ts'
import { judge, table } from './figures.ts'

const USERS = 20
const ROUNDS = 3
const LATENCY_MS = 100

const clients: Record<string, (discord: Discord) => (user: Discord['users'][number]) => Promise<unknown>> = {
  holdfast(discord) {
    const holdfast = createHoldfast({ discord: { baseUrl: discord.url } })
    return ({ id, accessToken }) => holdfast.getUserGuilds(accessToken, { principal: id })
  },
  '@discordjs/rest'(discord) {
    const rest = new REST({ api: discord.url.replace(/\/v\d+$/, ''), version: '10', authPrefix: 'Bearer' })
    return ({ accessToken }) =>
      rest.get('/users/@me/guilds', { auth: false, headers: { authorization: `Bearer ${accessToken}` } })
  },
}

const results: Record<string, { rounds: number[]; rateLimited: number }> = {}
for (const [name, connect] of Object.entries(clients)) {
  const discord = await startDiscord({ users: USERS, guildsPerUser: 20, latencyMs: LATENCY_MS })
  const call = connect(discord)
  const rounds: number[] = []
  for (let round = 0; round < ROUNDS; round++) {
    const began = performance.now()
    await Promise.all(discord.users.map(call))
    rounds.push(performance.now() - began)
  }
  const { rateLimited } = await discord.tally()
  results[name] = { rounds, rateLimited }
  await discord.stop()
}
table(
  ['20 users, one call a second each', 'round 1, ms', 'round 2, ms', 'round 3, ms', '429s'],
  Object.entries(results).map(([name, { rounds, rateLimited }]) => [name, ...rounds, rateLimited]),
)
const ours = results.holdfast!
judge([
  { name: 'the slowest round', value: Math.max(...ours.rounds), unit: 'ms', target: 1100 + LATENCY_MS },
  { name: '429s', value: ours.rateLimited, unit: '', target: 0 },
])
// The clients keep timers of their own.
process.exit()
