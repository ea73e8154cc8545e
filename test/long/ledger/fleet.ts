import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { type Simulator, startSimulator } from 'holdfast/simulator'
import { afterEach } from 'vitest'
import type { Answer, Order } from './worker.ts'

const WORKER = fileURLToPath(new URL('./worker.ts', import.meta.url))
const SECRET = 'a-secret-of-at-least-32-bytes-for-tests'

/** What a test started ends with it, the last first. */
export const ends: Array<() => unknown> = []
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end()
})

export interface Worker {
  readonly child: ChildProcess
  tell(order: Order): Promise<Answer>
}

/** A Discord whose limits are in nobody's way. */
export async function someDiscord(users: number): Promise<Simulator> {
  const discord = await startSimulator({
    users,
    guildsPerUser: 8,
    userGuildsLimit: { limit: 100_000, windowMs: 1_000, kind: 'fixed' },
  })
  ends.push(() => discord.close())
  return discord
}

/** A process of an app that uses this Discord and this database. `uid`: as another user of the machine. */
export async function startWorker(discord: Simulator, database: string, uid?: number): Promise<Worker> {
  const child = fork(WORKER, [], {
    execArgv: ['--disable-warning=ExperimentalWarning'],
    ...(uid !== undefined && { uid, gid: uid }),
  })
  ends.push(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGKILL')
    await once(child, 'exit')
  })
  const gone = once(child, 'exit').then(([code, signal]) => {
    throw new Error(`a worker ended with ${code ?? signal} instead of an answer`)
  })
  // Of one that ends while nobody waits for its answer, the test says itself what it expects.
  gone.catch(() => {})
  const tell = async (order: Order): Promise<Answer> => {
    const answered = once(child, 'message')
    answered.catch(() => {})
    child.send(order)
    const [answer] = (await Promise.race([answered, gone])) as [Answer]
    return answer
  }
  await tell({ do: 'open', baseUrl: discord.url, database, secret: SECRET })
  return { child, tell }
}

export const pairsOf = (discord: Simulator) =>
  discord.users.map(({ id, accessToken }) => [id, accessToken] as [string, string])

/** Waits until something holds; says what did not. */
export async function until(what: string, holds: () => boolean | Promise<boolean>, forMs: number): Promise<void> {
  const end = performance.now() + forMs
  while (!(await holds())) {
    if (performance.now() > end) throw new Error(`not within ${forMs} ms: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}
