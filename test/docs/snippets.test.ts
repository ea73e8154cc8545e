import { spawn } from 'node:child_process'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { type Simulator, startSimulator } from 'holdfast/simulator'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'

// Every ts block of these documents is run as it stands, as a program of its own against the simulator and the built
// package. What it exports is used as a reader would use it: GET and PATCH are asked, `server` is listened on.
const DOCUMENTS = [
  'README.md',
  'docs/guides/sessions.md',
  'docs/guides/refusals.md',
  'docs/guides/testing.md',
  'docs/guides/outages.md',
  'docs/guides/quotas.md',
  'docs/guides/rate-limits.md',
  'docs/guides/fleet.md',
  'docs/guides/browser.md',
  'docs/guides/sign-in.md',
  'docs/guides/discord.md',
  'docs/guides/ledger.md',
  'docs/guides/operate.md',
  'docs/guides/migrate.md',
  'docs/guides/migrate-rate-limits.md',
]
const root = new URL('../../', import.meta.url)
const folder = new URL('.snippets/', root)

const DRIVER = `
import { connect } from 'node:net'
const [, , path, token, guildId] = process.argv
const snippet = await import(path)
const headers = { authorization: 'Bearer ' + token, cookie: 'token=' + token }
if (snippet.GET) {
  const response = await snippet.GET(new Request('http://app.example/api/guilds', { headers }))
  console.log('GET', response.status)
  const refused = await snippet.GET(new Request('http://app.example/api/guilds'))
  console.log('GET without session', refused.status)
  for (const bad of [{ authorization: 'Bearer' }, { authorization: 'Bearer \\u00ff', cookie: '%;==;' }, { authorization: 'Basic Og==' }]) {
    const answer = await snippet.GET(new Request('http://app.example/%ff?%', { headers: bad }))
    console.log('GET of a bad request', answer.status >= 400 && answer.status < 500)
  }
}
if (snippet.PATCH) {
  const response = await snippet.PATCH(new Request('http://app.example/api/guilds/' + guildId, { method: 'PATCH', headers }))
  console.log('PATCH', response.status)
}
if (snippet.me) console.log('me', typeof (await snippet.me(token)).id)
if (snippet.server) {
  await new Promise((resolve) => snippet.server.listen(0, '127.0.0.1', resolve))
  const url = 'http://127.0.0.1:' + snippet.server.address().port
  console.log('server', (await fetch(url, { headers })).status)
  console.log('server without session', (await fetch(url)).status)
  const bad = (bytes) => new Promise((resolve) => {
    const socket = connect(snippet.server.address().port, '127.0.0.1', () => socket.end(bytes))
    socket.on('error', resolve).on('close', resolve).resume()
  })
  await bad('GET //%ff?% HTTP/1.1\\r\\nhost: [\\r\\nauthorization: Bearer \\r\\nconnection: close\\r\\n\\r\\n')
  await bad('POST * HTTP/1.1\\r\\nhost: a\\r\\ncontent-length: 9\\r\\n\\r\\n{')
  await bad('not http at all\\r\\n\\r\\n')
  console.log('server after bad requests', (await fetch(url, { headers })).status)
  snippet.server.closeAllConnections()
  snippet.server.close()
}
`

interface Snippet {
  readonly name: string
  readonly code: string
}

const snippets = DOCUMENTS.flatMap((file): Snippet[] =>
  [...readFileSync(new URL(file, root), 'utf8').matchAll(/```ts\n([\s\S]*?)```/g)].map(([, code], index) => ({
    name: `${file} ${index + 1}`,
    code: code!,
  })),
)

describe('every snippet of the documents', () => {
  let discord: Simulator
  beforeAll(async () => {
    rmSync(folder, { recursive: true, force: true })
    mkdirSync(folder)
    writeFileSync(new URL('driver.mjs', folder), DRIVER)
    discord = await startSimulator({ userGuildsLimit: { limit: 50, windowMs: 1000, kind: 'fixed' } })
  })
  afterAll(async () => {
    await discord.close()
    rmSync(folder, { recursive: true, force: true })
  })

  it('was found', () => {
    expect(snippets.length).toBeGreaterThanOrEqual(8)
  })

  it.each(snippets)('$name runs as it stands, and refuses who has no session', async ({ name, code }) => {
    const file = new URL(`${name.replace(/\W+/g, '-')}.ts`, folder)
    writeFileSync(file, code)
    const [user] = discord.users
    const guild = user!.guilds.find((guild) => guild.owner) ?? user!.guilds[0]!
    // Only where it is told of; without a Redis at hand this guide's snippets run without one too.
    const stores = {
      ...(name.startsWith('docs/guides/fleet.md') && { REDIS_URL: inject('redisUrl') }),
      ...(name.startsWith('docs/guides/ledger.md') && { DATABASE_URL: inject('postgresUrl') ?? 'sqlite::memory:' }),
    }
    const { exitCode, output } = await run([file.href, user!.accessToken, guild.id], discord, stores)
    expect(output).not.toMatch(/Error/)
    expect(exitCode).toBe(0)
    if (/export const GET/.test(code))
      expect(output).toMatch(/GET 200\nGET without session 401\n(GET of a bad request true\n){3}/)
    if (/export const PATCH/.test(code)) expect(output).toMatch(/PATCH (200|403)/)
    for (const [, printed] of code.matchAll(/console\.log\('([\w ]+)',/g)) expect(output).toContain(printed!)
    if (code.includes("'own session'")) expect(output).toMatch(/own session 200\nno session 401/)
    if (/export const me/.test(code)) expect(output).toMatch(/me string/)
    if (/export const server/.test(code))
      expect(output).toMatch(/server 200\nserver without session 401\nserver after bad requests 200/)
  })
})

function run(
  words: readonly string[],
  discord: Simulator,
  stores: Readonly<Record<string, string | undefined>>,
): Promise<{ exitCode: number | null; output: string }> {
  return new Promise((resolve, reject) => {
    const { REDIS_URL: _, DATABASE_URL: __, ...environment } = process.env
    const given = Object.fromEntries(Object.entries(stores).filter(([, url]) => url !== undefined))
    const child = spawn(process.execPath, [fileURLToPath(new URL('driver.mjs', folder)), ...words], {
      env: {
        ...environment,
        ...given,
        ...(Object.keys(given).length > 0 && { HOLDFAST_SECRET: 'a secret for the snippets, long enough' }),
        DISCORD_API_BASE_URL: discord.url,
        DISCORD_CLIENT_ID: discord.clientId,
        TOKEN: words[1],
      },
    })
    let output = ''
    const hear = (chunk: Buffer) => {
      output += chunk
    }
    child.stdout.on('data', hear)
    child.stderr.on('data', hear)
    child.on('error', reject)
    // It ends by itself: nothing idle keeps a process alive.
    child.on('close', (exitCode) => resolve({ exitCode, output }))
  })
}
