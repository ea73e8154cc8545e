// 10 000 callers ask for one cold key at once: how many calls reach Discord, and what does waiting together cost?
import { createHoldfast } from 'holdfast'
import { startDiscord } from './discord.ts'
import { judge, median, table } from './figures.ts'

const CALLERS = 10_000
const ROUNDS = 9
const LATENCY_MS = 100

const discord = await startDiscord({ users: ROUNDS + 2, guildsPerUser: 100, latencyMs: LATENCY_MS })
const over: number[] = []
const calls: number[] = []
for (let round = 0; round < ROUNDS + 2; round++) {
  const holdfast = createHoldfast({ discord: { baseUrl: discord.url } })
  const { id: userId, accessToken } = discord.users[round]!
  // The connection is not part of the question.
  await holdfast.getCurrentUser(accessToken, { principal: userId })
  const alone = performance.now()
  await holdfast.getCurrentUser(accessToken, { principal: userId })
  const upstreamMs = performance.now() - alone
  await discord.tally()
  const began = performance.now()
  const results = await Promise.all(
    Array.from({ length: CALLERS }, () => holdfast.memberships({ userId, accessToken })),
  )
  const tookMs = performance.now() - began
  if (results.some((result) => result.guilds !== results[0]!.guilds)) throw new Error('callers got different lists')
  const tally = await discord.tally()
  // The first two rounds warm up.
  if (round >= 2) {
    over.push(tookMs - upstreamMs)
    calls.push(tally.calls)
  }
  await holdfast.close()
}
await discord.stop()
table(
  ['10 000 callers, one cold key', 'calls to Discord', `ms over the upstream's own`],
  over.map((ms, round) => [`round ${round + 1}`, calls[round]!, ms]),
)
judge([
  { name: 'calls to Discord, at most in any round', value: Math.max(...calls), unit: 'calls', target: 1 },
  { name: 'over the upstream’s own latency, median', value: median(over), unit: 'ms', target: 10 },
])
