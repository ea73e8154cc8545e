// How near the optimum of the server's own windows are calls sent, and how many 429s does that cost?
import { type RawFile, REST } from '@discordjs/rest'
import { createHoldfast } from 'holdfast'
import { type Discord, startDiscord } from './discord.ts'
import { type Figure, judge, table } from './figures.ts'

/** A channel's messages: one fixed bucket of 5 a second. */
const channelPath = (discord: Discord, nth: number) => `/channels/${discord.channels[nth]!}/messages` as const
const message: { body: { content: string }; files?: RawFile[] } = { body: { content: 'hello' } }

interface Scenario {
  readonly name: string
  readonly latencyMs: number
  readonly calls: number
  readonly buckets: number
  /** What the windows alone take: the last one begins then. */
  readonly optimumMs: number
  readonly target: number
}

const SCENARIOS: readonly Scenario[] = [
  { name: '200 calls on 5/s, 0 ms', latencyMs: 0, calls: 200, buckets: 1, optimumMs: 39_000, target: 1.02 },
  { name: '200 calls on 5/s, 80 ms', latencyMs: 80, calls: 200, buckets: 1, optimumMs: 39_000, target: 1.05 },
  { name: '200 calls on 5/s, 300 ms', latencyMs: 300, calls: 200, buckets: 1, optimumMs: 39_000, target: 1.1 },
  { name: '500 over 20 buckets, 50/s global', latencyMs: 0, calls: 500, buckets: 20, optimumMs: 9_000, target: 1.03 },
]

const CLIENTS = {
  async holdfast(discord: Discord, scenario: Scenario) {
    const holdfast = createHoldfast({ discord: { baseUrl: discord.url, maxWaitMs: 600_000 } })
    await Promise.all(
      Array.from({ length: scenario.calls }, (_, index) =>
        holdfast.discordFetch(channelPath(discord, index % scenario.buckets), discord.botToken, {
          ...message,
          method: 'POST',
          tokenType: 'Bot',
          maxRetries: 10,
        }),
      ),
    )
    await holdfast.close()
  },
  async '@discordjs/rest'(discord: Discord, scenario: Scenario) {
    const rest = new REST({ api: discord.url.replace(/\/v\d+$/, ''), version: '10' }).setToken(discord.botToken)
    await Promise.all(
      Array.from({ length: scenario.calls }, (_, index) =>
        rest.post(channelPath(discord, index % scenario.buckets), message),
      ),
    )
    rest.clearHashSweeper()
    rest.clearHandlerSweeper()
  },
}

async function run(name: keyof typeof CLIENTS, scenario: Scenario) {
  const discord = await startDiscord({ users: 1, latencyMs: scenario.latencyMs })
  const began = performance.now()
  await CLIENTS[name](discord, scenario)
  const ratio = (performance.now() - began) / scenario.optimumMs
  const { rateLimited } = await discord.tally()
  await discord.stop()
  return { ratio, rateLimited }
}

// Both clients wait nearly all of the time, so they run side by side, each against a Discord of its own; the scenario
// with bursts has the machine to itself.
async function both(scenario: Scenario) {
  return { scenario, ours: await run('holdfast', scenario), theirs: await run('@discordjs/rest', scenario) }
}
console.log('about three minutes: the windows are real seconds\n')
const slow = await Promise.all(SCENARIOS.slice(0, 3).map(both))
const results = [...slow, await both(SCENARIOS[3]!)]
const cell = ({ ratio, rateLimited }: { ratio: number; rateLimited: number }) => `${ratio.toFixed(3)} (${rateLimited})`
table(
  ['× the optimum (429s)', 'holdfast', '@discordjs/rest'],
  results.map(({ scenario, ours, theirs }) => [scenario.name, cell(ours), cell(theirs)]),
)
judge(
  results.flatMap(({ scenario, ours }): Figure[] => [
    { name: scenario.name, value: ours.ratio, unit: '× the optimum', target: scenario.target },
    { name: `${scenario.name}, 429s`, value: ours.rateLimited, unit: '', target: 0 },
  ]),
)
