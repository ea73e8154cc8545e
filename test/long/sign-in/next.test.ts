import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Simulator, startSimulator } from 'holdfast/simulator'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Browser } from '../../sign-in/browser.ts'
import { freePort, untilOpen } from '../../support/redis-server.ts'

const ROOT = fileURLToPath(new URL('../../../', import.meta.url))
const ORIGIN = 'http://localhost:3000'

describe('examples/next, built and started by Next', () => {
  let folder = ''
  let discord: Simulator
  let server: ChildProcess
  let url = ''
  let said = ''
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'holdfast-next-'))
    cpSync(join(ROOT, 'examples/next'), folder, {
      recursive: true,
      filter: (path) => !/node_modules|\.next/.test(path),
    })
    const npm = (...words: string[]) =>
      execFileSync('npm', words, { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'], timeout: 240_000 })
    const [{ filename }] = JSON.parse(
      String(
        execFileSync('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', folder], {
          cwd: ROOT,
          stdio: ['ignore', 'pipe', 'ignore'],
        }),
      ),
    )
    npm('install', '--no-audit', '--no-fund', '--no-save', `./${filename}`, 'next', 'react', 'react-dom')
    discord = await startSimulator({ users: 3 })
    const env = {
      PATH: process.env.PATH,
      HOME: process.env.HOME,
      NEXT_TELEMETRY_DISABLED: '1',
      HOLDFAST_PUBLIC_URL: ORIGIN,
      DISCORD_API_BASE_URL: discord.url,
      DISCORD_CLIENT_ID: discord.clientId,
      DISCORD_CLIENT_SECRET: discord.clientSecret,
    } as unknown as NodeJS.ProcessEnv
    const next = join(folder, 'node_modules/next/dist/bin/next')
    execFileSync(process.execPath, [next, 'build'], {
      cwd: folder,
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: 240_000,
    })
    const port = await freePort()
    url = `http://127.0.0.1:${port}`
    server = spawn(process.execPath, [next, 'start', '-p', String(port), '-H', '127.0.0.1'], {
      cwd: folder,
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    for (const stream of [server.stdout!, server.stderr!]) stream.on('data', (chunk) => (said += chunk))
    await untilOpen(port)
  }, 600_000)
  afterAll(async () => {
    if (server && server.exitCode === null) {
      server.kill('SIGTERM')
      await once(server, 'exit')
    }
    await discord?.close()
    if (folder) rmSync(folder, { recursive: true, force: true })
  })

  test('a page, a route and the login share one instance: sign in, be known, sign out', async () => {
    const browser = new Browser((request) => {
      const { pathname, search } = new URL(request.url)
      return fetch(`${url}${pathname}${search}`, {
        method: request.method,
        headers: request.headers,
        redirect: 'manual',
      })
    }, ORIGIN)
    expect(await (await browser.send('/')).text()).toContain('Sign in with Discord')
    expect((await browser.send('/api/guilds')).status).toBe(401)
    const back = await browser.signIn('/')
    expect([back.status, back.headers.get('location')]).toEqual([303, '/'])
    const user = discord.users[0]!
    const before = discord.calls.length
    const [page, list] = await Promise.all([browser.send('/'), browser.send('/api/guilds')])
    expect(await page.text()).toContain(user.username)
    expect(((await list.json()) as { guilds: unknown[] }).guilds.length).toBe(user.guilds.length)
    // Two bundles, one instance: one call for both.
    expect(discord.calls.slice(before).filter(({ route }) => route === '/users/@me/guilds').length).toBe(1)
    expect((await browser.send('/auth/logout', { method: 'POST' })).status).toBe(303)
    expect((await browser.send('/api/guilds')).status).toBe(401)
    expect(said).not.toContain('second Holdfast instance')
  })
})
