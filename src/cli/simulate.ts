import { type FaultKind, startSimulator } from 'holdfast/simulator'
import { table } from './terminal.ts'
import { readWords } from './words.ts'

/** `holdfast simulate`: a Discord to test against, until it is interrupted. */
export async function simulate(words: readonly string[]): Promise<number> {
  const options = readWords(
    words,
    {
      port: { min: 0, max: 65_535, fallback: 0 },
      users: { min: 1, max: 100_000, fallback: 10 },
      guilds: { min: 0, max: 200, fallback: 20 },
      latency: { min: 0, max: 60_000, fallback: 0 },
      seed: { min: 0, max: 2 ** 31, fallback: 1 },
    },
    [],
    ['host'],
    ['fault'],
  )
  const faults = options.fault.map(faultIn)
  const simulator = await startSimulator({
    port: options.port,
    users: options.users,
    guildsPerUser: options.guilds,
    latencyMs: options.latency,
    seed: options.seed,
    ...(options.host === undefined ? {} : { host: options.host }),
  })
  try {
    for (const { name, probability } of faults) simulator.fault(name, { probability })
  } catch (error) {
    await simulator.close()
    throw error
  }
  const shown = simulator.users.slice(0, 10)
  process.stdout.write(`A Discord to test against, seed ${options.seed}. Ctrl+C ends it.

  DISCORD_API_BASE_URL=${simulator.url}
  DISCORD_CLIENT_ID=${simulator.clientId}
  DISCORD_CLIENT_SECRET=${simulator.clientSecret}
  DISCORD_PUBLIC_KEY=${simulator.publicKey}
  DISCORD_BOT_TOKEN=${simulator.botToken}

People, faults and what comes in: ${new URL('/', simulator.url)}
Levers for programs, in JSON: ${new URL('/_simulator', simulator.url)}

${table(
  ['user', 'guilds', 'access token'],
  shown.map((user) => [user.id, String(user.guilds.length), user.accessToken]),
)}
${simulator.users.length > shown.length ? `… and ${simulator.users.length - shown.length} more\n` : ''}`)
  await new Promise<void>((resolve) => {
    process.once('SIGINT', () => resolve())
    process.once('SIGTERM', () => resolve())
  })
  await simulator.close()
  process.stdout.write(`${simulator.calls.length} calls were made.\n`)
  return 0
}

/** `NAME` or `NAME:P`: a fault, and the chance that a call meets it; `429` is another word for `rate-limit`. */
function faultIn(text: string): { name: FaultKind; probability: number } {
  const [, name, chance = '1'] = /^([^:]+)(?::(.*))?$/.exec(text) ?? []
  const probability = /^(0|1|0?\.\d+|[01]\.\d+)$/.test(chance) ? Number(chance) : Number.NaN
  if (name === undefined || !(probability >= 0 && probability <= 1))
    throw new Error(`--fault takes 429:P or a fault's name, with :P from 0 to 1 behind it if you like, not ${text}`)
  // The simulator refuses a name it does not know, and lists those that there are.
  return { name: (name === '429' ? 'rate-limit' : name) as FaultKind, probability }
}
