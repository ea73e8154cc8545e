import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Simulator, startSimulator } from 'holdfast/simulator'
import { Browser } from '../../sign-in/browser.ts'
import { freePort, untilOpen } from '../../support/redis-server.ts'

const ROOT = fileURLToPath(new URL('../../../', import.meta.url))

/** A folder with examples/next, the packed package and Next in it; outside the repository, as somebody's project. */
export interface NextProject {
  readonly folder: string
  /** Builds it; the words are Next's own. */
  build(...words: string[]): void
  /** Starts what was built, for users who reach it below this path. */
  start(basePath?: string, environment?: Record<string, string>): Promise<RunningNext>
  remove(): void
}

export interface RunningNext extends AsyncDisposable {
  readonly port: number
  /** Its origin. */
  readonly url: string
  readonly discord: Simulator
  /** What it has printed. */
  said(): string
  /** A browser of somebody at an address of their own. */
  browser(address?: string): Browser
}

export function newNextProject(): NextProject {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-next-'))
  cpSync(join(ROOT, 'examples/next'), folder, {
    recursive: true,
    filter: (path) => !/node_modules|\.next/.test(path),
  })
  const [{ filename }] = JSON.parse(
    String(
      execFileSync('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', folder], {
        cwd: ROOT,
        stdio: ['ignore', 'pipe', 'ignore'],
      }),
    ),
  )
  execFileSync(
    'npm',
    ['install', '--no-audit', '--no-fund', '--no-save', `./${filename}`, 'next', 'react', 'react-dom'],
    { cwd: folder, stdio: ['ignore', 'ignore', 'pipe'], timeout: 240_000 },
  )
  const next = join(folder, 'node_modules/next/dist/bin/next')
  const environment = { PATH: process.env.PATH, HOME: process.env.HOME, NEXT_TELEMETRY_DISABLED: '1' }
  return {
    folder,
    build: (...words) => {
      execFileSync(process.execPath, [next, 'build', ...words], {
        cwd: folder,
        env: environment as unknown as NodeJS.ProcessEnv,
        stdio: ['ignore', 'pipe', 'pipe'],
        timeout: 240_000,
      })
    },
    start: (basePath = '', given = {}) => start(folder, next, basePath, { ...environment, ...given }),
    remove: () => rmSync(folder, { recursive: true, force: true }),
  }
}

async function start(
  folder: string,
  next: string,
  basePath: string,
  environment: Record<string, string | undefined>,
): Promise<RunningNext> {
  const discord = await startSimulator({ users: 3 })
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  const server = spawn(process.execPath, ['--expose-gc', next, 'start', '-p', String(port), '-H', '127.0.0.1'], {
    cwd: folder,
    env: {
      HOLDFAST_PUBLIC_URL: `${url}${basePath}`,
      DISCORD_API_BASE_URL: discord.url,
      DISCORD_CLIENT_ID: discord.clientId,
      DISCORD_CLIENT_SECRET: discord.clientSecret,
      ...environment,
    } as unknown as NodeJS.ProcessEnv,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let said = ''
  for (const stream of [server.stdout, server.stderr]) stream.on('data', (chunk) => (said += chunk))
  const end = async () => {
    await stop(server)
    await discord.close()
  }
  await untilOpen(port).catch(async (error) => {
    await end()
    throw new Error(`next start did not listen: ${said}`, { cause: error })
  })
  return {
    port,
    url,
    discord,
    said: () => said,
    browser: (address = '198.51.100.1') =>
      new Browser((request) => {
        const headers = new Headers(request.headers)
        headers.set('x-forwarded-for', address)
        const init = { method: request.method, headers, redirect: 'manual', duplex: 'half' } as const
        return fetch(request.url, { ...init, ...(request.body && { body: request.body }) } as RequestInit)
      }, url),
    [Symbol.asyncDispose]: end,
  }
}

async function stop(server: ChildProcess): Promise<void> {
  if (server.exitCode !== null || server.signalCode !== null) return
  server.kill('SIGTERM')
  await once(server, 'exit')
}
