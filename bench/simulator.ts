// How soon is a simulator there, and how many calls a second does it answer on one core?
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { Agent, request } from 'node:http'
import { fileURLToPath } from 'node:url'
import { startSimulator } from 'holdfast/simulator'
import { judge, median, table } from './figures.ts'

const CALLS = 20_000
const ROUNDS = 5

if (process.send) {
  // The server alone, so that the clients' work is not counted: CPU time, not the clock, says what one core can do.
  const simulator = await startSimulator({ users: 1000, userGlobalPerSecond: Infinity, botGlobalPerSecond: Infinity })
  const tokens = simulator.users.map(({ accessToken }) => accessToken)
  // So many that no channel's own limit of 5 a second is reached.
  const channels = simulator.guilds.flatMap((guild) =>
    guild.channels.filter(({ type }) => type === 0).map(({ id }) => id),
  )
  process.send({ url: simulator.url, tokens, botToken: simulator.botToken, channels })
  process.on('message', () => process.send!(process.cpuUsage()))
} else {
  const starts: number[] = []
  for (let nth = 0; nth < 20; nth++) {
    const before = performance.now()
    const simulator = await startSimulator()
    starts.push(performance.now() - before)
    await simulator.close()
  }
  const together = performance.now()
  const fifty = await Promise.all(Array.from({ length: 50 }, (_, seed) => startSimulator({ seed })))
  const fiftyMs = performance.now() - together
  await Promise.all(fifty.map((simulator) => simulator.close()))

  const child = fork(fileURLToPath(import.meta.url), { stdio: 'inherit' })
  const { url, tokens, botToken, channels } = (await once(child, 'message'))[0]
  const agent = new Agent({ keepAlive: true, maxSockets: 20 })
  const { hostname, port } = new URL(url)
  const cpuMs = async () => {
    child.send('cpu')
    const [{ user, system }] = await once(child, 'message')
    return (user + system) / 1000
  }
  const ask = (path: string, authorization: string, body?: string) =>
    new Promise<void>((resolve, reject) => {
      const headers = { authorization, 'user-agent': 'bench', ...(body && { 'content-type': 'application/json' }) }
      const sent = request(
        { hostname, port, path: `/api/v10${path}`, agent, headers, method: body ? 'POST' : 'GET' },
        (response) => response.resume().on('end', resolve),
      )
      sent.on('error', reject).end(body)
    })
  const kinds: Record<string, (nth: number) => Promise<void>> = {
    'GET /users/@me': (nth) => ask('/users/@me', `Bearer ${tokens[nth % tokens.length]}`),
    'GET /users/@me/guilds (20 guilds, 429s among them)': (nth) =>
      ask('/users/@me/guilds', `Bearer ${tokens[nth % tokens.length]}`),
    'POST a message': (nth) =>
      ask(`/channels/${channels[nth % channels.length]}/messages`, `Bot ${botToken}`, '{"content":"hello"}'),
  }
  const perSecond: Record<string, number[]> = {}
  for (let round = 0; round < ROUNDS + 1; round++) {
    for (const [name, call] of Object.entries(kinds)) {
      const before = await cpuMs()
      let next = 0
      const worker = async () => {
        while (next < CALLS) await call(next++)
      }
      await Promise.all(Array.from({ length: 20 }, worker))
      // The first round only warms up.
      if (round > 0) (perSecond[name] ??= []).push((CALLS * 1000) / ((await cpuMs()) - before))
    }
  }
  child.kill()
  table(
    ['calls', 'a second of one core'],
    Object.entries(perSecond).map(([name, rates]) => [name, Math.round(median(rates))]),
  )
  judge([
    { name: 'start, median of 20', value: median(starts), unit: 'ms', target: 10 },
    { name: 'fifty started together', value: fiftyMs, unit: 'ms', target: 500 },
    ...Object.entries(perSecond).map(([name, rates]) => ({
      name,
      value: median(rates),
      unit: 'calls a CPU second',
      target: 10_000,
      atLeast: true,
    })),
  ])
}
