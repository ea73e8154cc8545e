// Ten thousand writes at once, all aborted by one signal, or ended by close(): for how long does any of it hold the event
// loop? The caller's own loop, which makes the calls, is told apart.
import { createHoldfast } from 'holdfast'
import { startDiscord } from './discord.ts'
import { type Figure, judge, median, table } from './figures.ts'

const CALLS = 10_000
const ROUNDS = 5

const discord = await startDiscord({ users: 1, latencyMs: 50 })

/** The longest time between two turns of the event loop while `work` runs. */
async function longestHold(work: () => Promise<unknown>): Promise<number> {
  let last = performance.now()
  let longest = 0
  let running = true
  const look = () => {
    const now = performance.now()
    longest = Math.max(longest, now - last)
    last = now
    if (running) setImmediate(look)
  }
  setImmediate(look)
  await work()
  await new Promise((resolve) => setTimeout(resolve, 20))
  running = false
  return longest
}

const endings = {
  async 'abort()'(round: number) {
    const holdfast = createHoldfast({ discord: { baseUrl: discord.url, maxWaitMs: 600_000 } })
    const controller = new AbortController()
    const figures = await measured(holdfast, round, () => controller.abort(), controller.signal)
    await holdfast.close()
    return figures
  },
  async 'close()'(round: number) {
    const holdfast = createHoldfast({ discord: { baseUrl: discord.url, maxWaitMs: 600_000 } })
    return measured(holdfast, round, () => holdfast.close())
  },
}

async function measured(
  holdfast: ReturnType<typeof createHoldfast>,
  round: number,
  end: () => unknown,
  signal?: AbortSignal,
) {
  const calls: Array<Promise<unknown>> = []
  let made = 0
  const begun = await longestHold(async () => {
    const began = performance.now()
    for (let call = 0; call < CALLS; call++)
      calls.push(
        holdfast
          .discordFetch(`/channels/${10n ** 17n + BigInt(round * 100 + (call % 100))}/messages`, discord.botToken, {
            method: 'POST',
            tokenType: 'Bot',
            body: { content: 'hello' },
            ...(signal && { signal }),
          })
          .catch(() => {}),
      )
    made = performance.now() - began
  })
  await new Promise((resolve) => setTimeout(resolve, 300))
  const ended = await longestHold(async () => {
    end()
    await Promise.all(calls)
  })
  return { made, begun, ended }
}

const figures: Figure[] = []
const rows: Array<Array<string | number>> = []
for (const [name, run] of Object.entries(endings)) {
  const rounds = []
  for (let round = 0; round <= ROUNDS; round++) rounds.push(await run(round))
  rounds.shift()
  const of = (key: 'made' | 'begun' | 'ended') => median(rounds.map((round) => round[key]))
  rows.push([`${CALLS} POSTs, then ${name}`, of('made'), of('begun'), of('ended')])
  figures.push(
    { name: `${name}: the caller's loop and what follows at once`, value: of('begun'), unit: 'ms', target: 300 },
    { name: `${name}: longest hold`, value: of('ended'), unit: 'ms', target: 50 },
  )
}
await discord.stop()
table(['median of the longest holds, ms', "caller's loop", 'with it', 'ending'], rows)
judge(figures)
