// The simulator in a process of its own, so that its work is not counted as ours. Started with `startDiscord()`.
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { type SimulatorOptions, startSimulator } from 'holdfast/simulator'

export interface Discord {
  readonly url: string
  readonly clientId: string
  readonly botToken: string
  readonly users: ReadonlyArray<{ id: string; accessToken: string }>
  /** Ids of text channels, those of all guilds. */
  readonly channels: readonly string[]
  /** What the server saw since the last question. */
  tally(): Promise<{ calls: number; rateLimited: number; byStatus: Record<string, number> }>
  /** Switches trouble on, for good. */
  fault(...parameters: unknown[]): Promise<void>
  stop(): Promise<void>
}

export async function startDiscord(options: SimulatorOptions): Promise<Discord> {
  const child = fork(fileURLToPath(import.meta.url), [JSON.stringify(options)], { stdio: 'inherit' })
  const answer = async () => (await once(child, 'message'))[0]
  const details = await answer()
  process.once('exit', () => child.kill('SIGKILL'))
  return {
    ...details,
    tally() {
      child.send({ ask: 'tally' })
      return answer()
    },
    async fault(...parameters) {
      child.send({ ask: 'fault', parameters })
      await answer()
    },
    async stop() {
      child.kill('SIGTERM')
      await once(child, 'exit')
    },
  }
}

if (process.send && process.argv[1] === fileURLToPath(import.meta.url)) {
  const simulator = await startSimulator(JSON.parse(process.argv[2]!))
  const { url, clientId, botToken, users } = simulator
  const channels = simulator.guilds.flatMap((guild) =>
    guild.channels.filter(({ type }) => type === 0).map(({ id }) => id),
  )
  process.send({ url, clientId, botToken, channels, users: users.map(({ id, accessToken }) => ({ id, accessToken })) })
  let seen = 0
  process.on('message', (message: { ask: string; parameters?: [never, never] }) => {
    if (message.ask === 'fault') {
      simulator.fault(...message.parameters!)
      process.send!({})
      return
    }
    const calls = simulator.calls.slice(seen)
    seen = simulator.calls.length
    const byStatus: Record<string, number> = {}
    for (const call of calls) byStatus[call.status] = (byStatus[call.status] ?? 0) + 1
    process.send!({ calls: calls.length, rateLimited: byStatus[429] ?? 0, byStatus })
  })
}
