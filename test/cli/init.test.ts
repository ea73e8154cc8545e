import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { startSimulator } from 'holdfast/simulator'
import { afterEach, describe, expect, test } from 'vitest'
import { MAIN, run } from './command.ts'

// Copies of the layouts that each framework's starter makes, with this package linked in.

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const folders: string[] = []
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true })
})

function projectWith(files: Readonly<Record<string, string>>): string {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-init-'))
  folders.push(folder)
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true })
    writeFileSync(join(folder, path), text)
  }
  mkdirSync(join(folder, 'node_modules/@hono'), { recursive: true })
  symlinkSync(ROOT, join(folder, 'node_modules/holdfast'))
  for (const name of ['express', 'fastify', 'hono', '@hono/node-server', '@types'])
    symlinkSync(join(ROOT, 'node_modules', name), join(folder, 'node_modules', name))
  return folder
}

const manifest = (framework: string, more = {}) =>
  JSON.stringify({ name: 'app', type: 'module', dependencies: { [framework]: '*' }, ...more })

/** Express, Fastify and Hono as their starters begin, with the line that `init` says to add. */
const APPS: Readonly<Record<string, string>> = {
  express: `import express from 'express'
import { discord } from './discord.js'
const app = express()
app.use(discord)
app.use(express.json())
const server = app.listen(0, '127.0.0.1', () => console.log('port', server.address().port))`,
  fastify: `import Fastify from 'fastify'
import { discord } from './discord.js'
const app = Fastify()
await discord(app)
console.log('port', new URL(await app.listen({ port: 0, host: '127.0.0.1' })).port)`,
  hono: `import { serve } from '@hono/node-server'
import { Hono } from 'hono'
import { discord } from './discord.js'
const app = new Hono()
app.route('/', discord)
serve({ fetch: app.fetch, port: 0, hostname: '127.0.0.1' }, ({ port }) => console.log('port', port))`,
}

describe.each(Object.entries(APPS))('init in a project with %s', (framework, app) => {
  test('writes an app that signs in and answers who is signed in', async () => {
    const folder = projectWith({ 'package.json': manifest(framework), 'app.js': app })
    const { code, out } = await run(['init', '--yes'], {}, folder)
    expect(code).toBe(0)
    expect(out).toContain(`For ${framework}: 2 new files`)

    await using discord = await startSimulator({ users: 1 })
    const server = spawn(process.execPath, ['app.js'], {
      cwd: folder,
      env: {
        PATH: process.env.PATH,
        DISCORD_API_BASE_URL: discord.url,
        DISCORD_CLIENT_ID: discord.clientId,
        DISCORD_CLIENT_SECRET: discord.clientSecret,
        HOLDFAST_PUBLIC_URL: 'http://localhost:3000',
      },
    })
    try {
      let said = ''
      server.stderr.on('data', (chunk) => (said += chunk))
      const port = await new Promise<string>((resolve, reject) => {
        server.stdout.on('data', (chunk) => {
          said += chunk
          const found = /port (\d+)/.exec(said)?.[1]
          if (found) resolve(found)
        })
        server.once('exit', () => reject(new Error(said)))
      })
      const url = `http://127.0.0.1:${port}`
      const asked = await fetch(`${url}/api/guilds`)
      expect(asked.status).toBe(401)
      const headers = { authorization: `Bearer ${discord.users[0]!.accessToken}` }
      const answered = await fetch(`${url}/api/guilds`, { headers })
      expect(answered.status).toBe(200)
      expect(((await answered.json()) as { guilds: unknown[] }).guilds).toHaveLength(discord.users[0]!.guilds.length)
      expect(answered.headers.get('ratelimit')).not.toBeNull()
      const begun = await fetch(`${url}/auth/discord?returnTo=/`, { redirect: 'manual' })
      expect([begun.status, begun.headers.get('location')]).toEqual([302, expect.stringContaining(discord.clientId)])
    } finally {
      const ended = once(server, 'exit')
      server.kill('SIGKILL')
      await ended
    }
  })

  test('writes TypeScript that a strict compiler takes', async () => {
    const compilerOptions = {
      strict: true,
      noEmit: true,
      module: 'nodenext',
      target: 'es2023',
      types: ['node'],
      skipLibCheck: true,
      allowImportingTsExtensions: true,
    }
    const folder = projectWith({
      'package.json': manifest(framework),
      'tsconfig.json': JSON.stringify({ compilerOptions, include: ['src'] }),
      'src/keep.ts': 'export {}\n',
    })
    expect((await run(['init', '--yes'], {}, folder)).code).toBe(0)
    expect(existsSync(join(folder, 'src/discord.ts'))).toBe(true)
    const compiler = spawn(process.execPath, [join(ROOT, 'node_modules/typescript/bin/tsc'), '-p', folder])
    let said = ''
    compiler.stdout.on('data', (chunk) => (said += chunk))
    const [code] = await once(compiler, 'exit')
    expect({ code, said }).toEqual({ code: 0, said: '' })
  })
})

describe('init', () => {
  test.each(['', 'src/'])('finds the app folder of Next in %j, and writes its three files beside', async (base) => {
    const folder = projectWith({
      'package.json': manifest('next', { type: undefined }),
      'tsconfig.json': '{}',
      [`${base}app/page.tsx`]: 'export default function Page() { return null }',
    })
    expect((await run(['init', '--yes'], {}, folder)).code).toBe(0)
    for (const path of ['lib/holdfast.ts', 'app/auth/[...holdfast]/route.ts', 'app/api/guilds/route.ts']) {
      const file = join(folder, base, path)
      for (const [, target] of readFileSync(file, 'utf8').matchAll(/from '(\.[^']+)'/g))
        expect(existsSync(fileURLToPath(new URL(`${target}.ts`, pathToFileURL(file))))).toBe(true)
    }
  })

  test('overwrites nothing, and says what is there', async () => {
    const mine = { 'discord.js': '// mine\n', '.env.example': 'MINE=1\n' }
    const folder = projectWith({ 'package.json': manifest('hono'), ...mine })
    const { code, out } = await run(['init', '--yes'], {}, folder)
    expect(code).toBe(0)
    expect(out).toContain('discord.js is there, and is left as it is')
    for (const [path, text] of Object.entries(mine)) expect(readFileSync(join(folder, path), 'utf8')).toBe(text)
  })

  test.each([
    ['y\n', 0, true],
    ['yes\n', 0, true],
    ['n\n', 1, false],
    ['\n', 1, false],
    ['', 1, false],
  ])('asks, and takes %j as an answer', async (answer, exitCode, written) => {
    const folder = projectWith({ 'package.json': manifest('hono') })
    const child = spawn(process.execPath, [MAIN, 'init'], { cwd: folder, env: { PATH: process.env.PATH } })
    let out = ''
    child.stdout.on('data', (chunk) => (out += chunk))
    child.stdin.end(answer)
    const [code] = await once(child, 'close')
    expect([code, existsSync(join(folder, 'discord.js'))]).toEqual([exitCode, written])
    expect(out).toContain("import { Hono } from 'hono'")
    expect(out).toContain('Write them? [y/N]')
  })

  test.each<[string, Readonly<Record<string, string>>, string[], string]>([
    ['no package.json', {}, [], 'no package.json'],
    ['a broken one', { 'package.json': '{' }, [], 'no package.json that can be read'],
    ['no framework', { 'package.json': '{}' }, [], 'names none of next, express, fastify, hono'],
    [
      'two frameworks',
      { 'package.json': JSON.stringify({ dependencies: { hono: '4', express: '5' } }) },
      [],
      '--framework express',
    ],
    ['one that there is not', { 'package.json': '{}' }, ['--framework', 'koa'], 'takes next, express, fastify, hono'],
  ])('with %s says one sentence, and writes nothing', async (_name, files, words, said) => {
    const folder = projectWith(files)
    const { code, out, err } = await run(['init', '--yes', ...words], {}, folder)
    expect([code, out]).toEqual([1, ''])
    expect(err).toContain(said)
    expect(err.trim().split('\n')).toHaveLength(1)
    expect(existsSync(join(folder, '.env.example'))).toBe(false)
  })
})
