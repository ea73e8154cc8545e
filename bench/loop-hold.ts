// Ten thousand writes at once, all aborted by one signal, or ended by close(): for how long does any of it hold the event
// loop? The caller's own loop, which makes the calls, is told apart.
import { createHoldfast } from 'holdfast'
import { startDiscord } from './discord.ts'
import { type Figure, judge, median, table } from './figures.ts'

const CALLS = 10_000
const ROUNDS = 5

const discord = await startDiscord({ users: 1, latencyMs: 50 })

interface Hold {
  /** The longest time between two turns of the event loop. */
  readonly ms: number
  /** And the most that one turn computed: the same on a quiet machine, and less where others want its cores. */
  readonly cpuMs: number
}

async function longestHold(work: () => Promise<unknown>): Promise<Hold> {
  let last = performance.now()
  let lastCpu = cpuMs()
  let longest = { ms: 0, cpuMs: 0 }
  let running = true
  const look = () => {
    const now = performance.now()
    const nowCpu = cpuMs()
    longest = { ms: Math.max(longest.ms, now - last), cpuMs: Math.max(longest.cpuMs, nowCpu - lastCpu) }
    last = now
    lastCpu = nowCpu
    if (running) setImmediate(look)
  }
  setImmediate(look)
  await work()
  await new Promise((resolve) => setTimeout(resolve, 20))
  running = false
  return longest
}

/** What this thread has computed so far. */
function cpuMs(): number {
  const { user, system } = process.threadCpuUsage()
  return (user + system) / 1000
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
  let made = { ms: 0, cpuMs: 0 }
  const begun = await longestHold(async () => {
    const began = performance.now()
    const beganCpu = cpuMs()
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
    made = { ms: performance.now() - began, cpuMs: cpuMs() - beganCpu }
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
  const of = (key: 'made' | 'begun' | 'ended', unit: keyof Hold = 'ms') =>
    median(rounds.map((round) => round[key][unit]))
  rows.push([`${CALLS} POSTs, then ${name}`, of('made'), of('begun'), of('ended')])
  rows.push(['  of it, computing', of('made', 'cpuMs'), of('begun', 'cpuMs'), of('ended', 'cpuMs')])
  figures.push(
    { name: `${name}: the caller's loop and what follows at once`, value: of('begun'), unit: 'ms', target: 300 },
    { name: `${name}: longest hold`, value: of('ended'), unit: 'ms', target: 50 },
  )
}
await discord.stop()
table(['median of the longest holds, ms', "caller's loop", 'with it', 'ending'], rows)
judge(figures)
