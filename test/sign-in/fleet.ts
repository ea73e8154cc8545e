import { type ChildProcess, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { type Simulator, startSimulator } from 'holdfast/simulator'
import { afterEach, expect, inject } from 'vitest'
import { DATABASES } from '../database/databases.ts'
import { Browser } from './browser.ts'
import { SECRET } from './house.ts'

const WORKER = fileURLToPath(new URL('./fleet-worker.ts', import.meta.url))
export const ORIGIN = 'http://localhost:3000'
export const LIFETIME_MS = 2_000

interface Worker {
  readonly url: string
  readonly child: ChildProcess
  said(): string
}

/** What a test started ends with it. */
const ends: Array<() => Promise<unknown>> = []
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end()
})

async function startWorker(environment: Record<string, string>): Promise<Worker> {
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', WORKER], {
    env: { PATH: process.env.PATH, ...environment },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  ends.push(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGTERM')
    await once(child, 'exit')
  })
  let out = ''
  const url = await new Promise<string>((resolve, reject) => {
    child.stdout!.on('data', (chunk) => {
      out += chunk
      const listening = /listening on (\S+)/.exec(out)?.[1]
      if (listening) resolve(listening)
    })
    child.once('exit', (code) => reject(new Error(`a worker ended with ${code}: ${out}`)))
  })
  return { url, child, said: () => out }
}

/** Four processes of one app, on one Discord and one store; a user signed in at the first. */
export async function startFleet(store: Record<string, string>) {
  const discord = await startSimulator({ users: 3, tokenLifetimeMs: LIFETIME_MS })
  ends.push(() => discord.close())
  const environment = {
    DISCORD_API_BASE_URL: discord.url,
    DISCORD_CLIENT_ID: discord.clientId,
    DISCORD_CLIENT_SECRET: discord.clientSecret,
    HOLDFAST_PUBLIC_URL: ORIGIN,
    HOLDFAST_SECRET: SECRET,
    ...store,
  }
  const workers = await Promise.all(Array.from({ length: 4 }, () => startWorker(environment)))
  const at = (worker: Worker) => (request: Request) => {
    const { pathname, search } = new URL(request.url)
    return fetch(`${worker.url}${pathname}${search}`, {
      method: request.method,
      headers: request.headers,
      redirect: 'manual',
    })
  }
  const browser = new Browser(at(workers[0]!), ORIGIN)
  expect((await browser.signIn()).status).toBe(303)
  const cookie = [...browser.cookies].map((pair) => pair.join('=')).join('; ')
  const ask = async (worker: Worker) => {
    const answer = await fetch(`${worker.url}/me`, { headers: { cookie } })
    await answer.text()
    return answer.status
  }
  return { discord, workers, browser, ask, at }
}

export const refreshes = (discord: Simulator) =>
  discord.calls.filter(({ body }) => (body as { grant_type?: string } | undefined)?.grant_type === 'refresh_token')
    .length

export const STORES: Array<readonly [string, () => Promise<Record<string, string>>]> = [
  ...(inject('redisUrl')
    ? [['Redis', async () => ({ REDIS_URL: inject('redisUrl')!, NAMESPACE: `t-${randomUUID()}` })] as const]
    : []),
  ...DATABASES.map(
    ([name, make]) =>
      [
        name,
        async () => {
          const database = await make()
          ends.push(() => database.drop())
          return { DATABASE_URL: database.url }
        },
      ] as const,
  ),
]

/** A hundred requests at once find one token expired, in four processes. */
export async function hundredAtOnce(store: Record<string, string>): Promise<void> {
  const { discord, workers, ask } = await startFleet(store)
  for (const worker of workers) expect(await ask(worker)).toBe(200)
  await sleep(LIFETIME_MS + 100)
  // Those asked before may have begun one early.
  const before = refreshes(discord)
  const statuses = await Promise.all(Array.from({ length: 100 }, (_, index) => ask(workers[index % 4]!)))
  expect(statuses.filter((status) => status !== 200)).toEqual([])
  expect(refreshes(discord) - before).toBe(1)
}
