import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createHoldfast, type Holdfast } from 'holdfast'
import { type Simulator, startSimulator } from 'holdfast/simulator'
import { describe, expect, inject, test } from 'vitest'
import { run } from './command.ts'

const SECRET = 'a-secret-that-nobody-may-see'
const FLEET_SECRET = 'a-secret-of-thirty-two-bytes-or-more-for-tests'

/** Resolves once what an instance has said so far is in Redis: commands of one connection are answered in their order. */
async function told(holdfast: Holdfast): Promise<void> {
  await holdfast.cache.set('told', 1)
}

/** A port on which nobody listens. */
async function closedPort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

/** Something that is not Discord, on the way to it. */
async function stranger(answer: RequestListener) {
  const server = createServer(answer).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
    },
  }
}

describe.concurrent('holdfast doctor', () => {
  test('finds nothing to change in a good environment', async () => {
    await using discord = await startSimulator()
    const { code, out, err } = await run(['doctor'], {
      DISCORD_API_BASE_URL: discord.url,
      DISCORD_CLIENT_ID: discord.clientId,
      DISCORD_CLIENT_SECRET: discord.clientSecret,
      DISCORD_PUBLIC_KEY: discord.publicKey,
      DISCORD_BOT_TOKEN: discord.botToken,
      HOLDFAST_PUBLIC_URL: 'https://dash.example',
      DISCORD_GUILD_CACHE_FRESH_MINUTES: '30',
    })
    expect([code, err]).toEqual([0, ''])
    expect(out).toContain('Nothing has to change.')
    expect(out).toContain(`${discord.url} is reached`)
    expect(out).toContain(discord.clientId)
    expect(out).toContain('https://dash.example')
    expect(out).toContain('the bot token belongs to')
    expect(out).not.toContain('✗')
    expect(out).not.toContain(discord.botToken)
    expect(out).not.toContain(discord.clientSecret)
  })

  test('says what an environment lacks, without calling it wrong', async () => {
    await using discord = await startSimulator()
    const { code, out } = await run(['doctor'], { DISCORD_API_BASE_URL: discord.url })
    expect(code).toBe(0)
    expect(out).toMatch(/DISCORD_CLIENT_ID is not set[^\n]*\n {2}→ /)
    expect(out).toMatch(/HOLDFAST_PUBLIC_URL is not set[^\n]*\n {2}→ /)
  })

  test.each<[string, string]>([
    ['DISCORD_API_MAX_RETRIES', 'many'],
    ['DISCORD_API_MAX_RETRIES', ''],
    ['DISCORD_API_MAX_RETRIES', '-1'],
    ['DISCORD_API_RETRY_DELAY_MS', '1s'],
    ['DISCORD_API_MAX_WAIT_MS', 'Infinity'],
    ['DISCORD_GUILD_CACHE_FRESH_MINUTES', ' '],
    ['DISCORD_GUILD_CACHE_STALE_HOURS', '0x10'],
    ['DISCORD_API_BASE_URL', ''],
    ['DISCORD_API_BASE_URL', 'discord.com/api'],
    ['DISCORD_CLIENT_ID', 'my-app'],
    ['DISCORD_CLIENT_ID', ''],
    ['DISCORD_PUBLIC_KEY', 'abc'],
    ['HOLDFAST_PUBLIC_URL', 'dash.example'],
    ['REDIS_URL', 'localhost:6379'],
    ['HOLDFAST_SECRET', 'too short'],
    ['DATABASE_URL', 'mysql://localhost/app'],
  ])('%s=%j is exit code 1, named, with what is accepted or what to do', async (variable, value) => {
    await using discord = await startSimulator()
    const { code, out, err } = await run(['doctor'], { DISCORD_API_BASE_URL: discord.url, [variable]: value })
    expect([code, err]).toEqual([1, ''])
    const finding = out.split('\n').find((line) => line.startsWith('✗'))
    expect(finding).toContain(variable)
    expect(finding).toMatch(/accepted: |unset it/)
    expect(out).toMatch(new RegExp(`→ correct or unset .*${variable}`))
    expect(out).toContain('1 thing has to change.')
  })

  test('a stale time shorter than the fresh time is named with both variables', async () => {
    await using discord = await startSimulator()
    const { code, out } = await run(['doctor'], {
      DISCORD_API_BASE_URL: discord.url,
      DISCORD_GUILD_CACHE_FRESH_MINUTES: '120',
      DISCORD_GUILD_CACHE_STALE_HOURS: '1',
    })
    expect(code).toBe(1)
    expect(out).toContain('DISCORD_GUILD_CACHE_FRESH_MINUTES')
    expect(out).toContain('DISCORD_GUILD_CACHE_STALE_HOURS')
  })

  test.each<[string, Record<string, string>]>([
    ['a bot token with "Bot" before it', { DISCORD_BOT_TOKEN: `Bot ${SECRET}` }],
    ['a bot token of two lines', { DISCORD_BOT_TOKEN: `${SECRET}\n${SECRET}` }],
    ['a password in the base URL', { DISCORD_API_BASE_URL: `http://user:${SECRET}@127.0.0.1:1/` }],
    ['a bot token that nobody could check', { DISCORD_BOT_TOKEN: SECRET, DISCORD_API_BASE_URL: 'http://127.0.0.1:1' }],
    ['a client secret, where something else is wrong', { DISCORD_CLIENT_SECRET: SECRET, DISCORD_CLIENT_ID: 'x' }],
  ])('never prints a secret: %s', async (_name, environment) => {
    const { code, out, err } = await run(['doctor'], environment)
    expect(code).toBe(1)
    expect(out + err).not.toContain(SECRET)
    expect(out).toMatch(/✗/)
  })

  test('a bot token that Discord refuses has to be copied anew, and is not shown', async () => {
    await using discord = await startSimulator()
    const { code, out } = await run(['doctor'], { DISCORD_API_BASE_URL: discord.url, DISCORD_BOT_TOKEN: SECRET })
    expect(code).toBe(1)
    expect(out).toContain('✗ Discord does not accept DISCORD_BOT_TOKEN')
    expect(out).toContain('→ copy it anew')
    expect(out).not.toContain(SECRET)
  })

  test('a bot token that cannot be checked now is a note, because it may be right', async () => {
    await using discord = await startSimulator()
    discord.fault('server-error', { route: '/users/@me' })
    const { code, out } = await run(['doctor'], {
      DISCORD_API_BASE_URL: discord.url,
      DISCORD_BOT_TOKEN: discord.botToken,
    })
    expect(code).toBe(0)
    expect(out).toContain('· the bot token could not be checked')
  })

  test('a port on which nobody listens is not reached, and the address is named', async () => {
    const url = `http://127.0.0.1:${await closedPort()}/api/v10`
    const { code, out, err } = await run(['doctor'], { DISCORD_API_BASE_URL: url })
    expect([code, err]).toEqual([1, ''])
    expect(out).toContain(`✗ ${url} is not reached`)
    expect(out).toContain('ECONNREFUSED')
    expect(out).toMatch(/→ check .*DISCORD_API_BASE_URL/)
  })

  test('a ban is found, with how long to wait', async () => {
    await using discord = await startSimulator()
    discord.fault('ban', { retryAfterMs: 600_000 })
    const { code, out } = await run(['doctor'], { DISCORD_API_BASE_URL: discord.url })
    expect(code).toBe(1)
    expect(out).toMatch(/✗ .* answers 429 to this address\n {2}→ wait 600 s/)
  })

  test('a clock that is off is found', async () => {
    await using discord = await startSimulator()
    discord.fault('clock-skew', { ms: 60_000 })
    const { code, out } = await run(['doctor'], { DISCORD_API_BASE_URL: discord.url })
    expect(code).toBe(1)
    expect(out).toMatch(/differs from this machine's by (59|60|61) s\n {2}→ set this machine/)
  })

  test.each<[string, RequestListener]>([
    ['an error page', (_request, response) => response.writeHead(502, { 'content-type': 'text/html' }).end('<html>')],
    ['a redirect', (_request, response) => response.writeHead(302, { location: 'http://login.invalid/' }).end()],
    ['a block page', (_request, response) => response.writeHead(403, { 'content-type': 'text/html' }).end('<html>')],
  ])('does not call it reached when all that answers is %s', async (_name, answer) => {
    await using proxy = await stranger(answer)
    const { code, out } = await run(['doctor'], { DISCORD_API_BASE_URL: proxy.url })
    expect(out).not.toContain(`✓ ${proxy.url} is reached`)
    expect(code).toBe(1)
  })

  test('finds everything that is wrong in one go, and looks at the rest all the same', async () => {
    await using discord = await startSimulator()
    const { code, out } = await run(['doctor'], {
      DISCORD_API_BASE_URL: discord.url,
      DISCORD_API_MAX_RETRIES: 'three',
      DISCORD_PUBLIC_KEY: 'short',
      DISCORD_GUILD_CACHE_FRESH_MINUTES: '60',
      DISCORD_GUILD_CACHE_STALE_HOURS: '0.5',
      REDIS_URL: 'redis://127.0.0.1:1',
    })
    expect(code).toBe(1)
    for (const wrong of ['DISCORD_API_MAX_RETRIES', 'DISCORD_PUBLIC_KEY', 'the stale time', 'a secret is needed'])
      expect(out).toContain(wrong)
    expect(out).toContain('openssl rand')
    expect(out).toContain(`${discord.url} is reached`)
    expect(out).toContain('4 things have to change.')
  })

  test('reads .env, or the file it is told, and the environment beats it', async () => {
    await using discord = await startSimulator()
    const folder = mkdtempSync(join(tmpdir(), 'holdfast-doctor-'))
    const variables = `DISCORD_API_BASE_URL=${discord.url}\nDISCORD_CLIENT_ID=${discord.clientId}\n`
    writeFileSync(join(folder, '.env'), variables)
    writeFileSync(join(folder, 'other.env'), variables)
    try {
      const { code, out } = await run(['doctor'], { DISCORD_CLIENT_ID: '77' }, folder)
      expect(code).toBe(0)
      expect(out).toContain('.env sets 1 variables')
      expect(out).toContain('application 77')
      expect((await run(['doctor', '--env', 'other.env'], {}, folder)).out).toContain(discord.clientId)
      const missing = await run(['doctor', '--env', 'none.env'], { DISCORD_API_BASE_URL: discord.url }, folder)
      expect([missing.code, missing.out.includes('there is no file none.env')]).toEqual([1, true])
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  test('says all of it as JSON', async () => {
    await using discord = await startSimulator()
    const { code, out } = await run(['doctor', '--json'], {
      DISCORD_API_BASE_URL: discord.url,
      DISCORD_API_MAX_RETRIES: 'x',
    })
    const said = JSON.parse(out)
    expect([code, said.ok]).toEqual([1, false])
    expect(said.findings).toContainEqual(
      expect.objectContaining({
        name: 'settings',
        grade: 'change',
        what: expect.stringContaining('DISCORD_API_MAX_RETRIES'),
      }),
    )
  })

  test('without Redis it says that what running processes refuse cannot be seen, and where to ask', async () => {
    await using discord = await startSimulator()
    const { code, out } = await run(['doctor'], { DISCORD_API_BASE_URL: discord.url })
    expect(code).toBe(0)
    expect(out.replaceAll(/\s+/g, ' ')).toContain('ask a process itself: holdfast.holds()')
  })

  const REDIS_URL = inject('redisUrl')
  const ofFleet = (discord: Simulator) => ({
    DISCORD_API_BASE_URL: discord.url,
    DISCORD_CLIENT_ID: discord.clientId,
    DISCORD_BOT_TOKEN: discord.botToken,
    REDIS_URL: REDIS_URL!,
    HOLDFAST_SECRET: FLEET_SECRET,
  })
  /** A process of the same application, which meets trouble and tells it. */
  const processOf = (discord: Simulator) =>
    createHoldfast({
      discord: { baseUrl: discord.url, clientId: discord.clientId, botToken: discord.botToken, maxRetries: 0 },
      redis: REDIS_URL!,
      secret: FLEET_SECRET,
    })

  test.skipIf(!REDIS_URL)('finds that no process has told of trouble', async () => {
    await using discord = await startSimulator()
    const { code, out } = await run(['doctor'], ofFleet(discord))
    expect([code, out]).toEqual([
      0,
      expect.stringContaining('✓ no process has told of a block, a hold or a dead token'),
    ])
  })

  test.skipIf(!REDIS_URL)(
    'tells what a running process refuses: a block, with how long, though it is reached itself',
    async () => {
      await using discord = await startSimulator()
      await using met = processOf(discord)
      await met.ready({ deadlineMs: 10_000 })
      const ban = discord.fault('ban', { retryAfterMs: 600_000 })
      await met.getCurrentUser(discord.users[0]!.accessToken).catch(() => {})
      ban()
      await told(met)
      const { code, out } = await run(['doctor', '--json'], ofFleet(discord))
      const said = JSON.parse(out)
      expect([code, said.ok]).toEqual([1, false])
      expect(said.findings).toContainEqual({
        name: 'held-address',
        grade: 'change',
        what: expect.stringMatching(/^Discord blocks this address: nothing is sent for (59\d|600) s/),
        change: expect.stringContaining('liftBlock()'),
      })
    },
  )

  test.skipIf(!REDIS_URL)('tells of holds and of a dead bot token, sends that no more, and names nobody', async () => {
    await using discord = await startSimulator()
    await using met = processOf(discord)
    await met.ready({ deadlineMs: 10_000 })
    const [user] = discord.users
    discord.fault('rate-limit', { route: '/users/@me/guilds', retryAfterMs: 300_000 })
    await met.getUserGuilds(user!.accessToken).catch(() => {})
    for (let time = 0; time < 2; time++)
      await met.getCurrentUser('a-bot-token-that-was-reset', { tokenType: 'Bot' }).catch(() => {})
    await told(met)
    const calls = discord.calls.length
    const { code, out } = await run(['doctor'], {
      ...ofFleet(discord),
      DISCORD_BOT_TOKEN: 'a-bot-token-that-was-reset',
    })
    const words = out.replaceAll(/\s+/g, ' ')
    expect(code).toBe(1)
    expect(words).toMatch(/· 1 users or bots are held by a 429 of Discord, for up to (29\d|300) s/)
    expect(words).toMatch(/· Discord does not accept 1 tokens/)
    expect(words).toContain(
      '✗ Discord does not accept DISCORD_BOT_TOKEN; a running process has met that, and nothing was sent',
    )
    expect(discord.calls.slice(calls).map(({ path }) => path)).not.toContain('/users/@me')
    for (const hidden of [user!.id, user!.accessToken, 'a-bot-token-that-was-reset']) expect(out).not.toContain(hidden)
  })

  test('tries whether id and secret of the application belong together', async () => {
    await using discord = await startSimulator()
    const good = {
      DISCORD_API_BASE_URL: discord.url,
      DISCORD_CLIENT_ID: discord.clientId,
      DISCORD_CLIENT_SECRET: discord.clientSecret,
      HOLDFAST_PUBLIC_URL: 'https://dash.example',
    }
    const right = await run(['doctor'], good)
    expect(right.code).toBe(0)
    expect(right.out).toContain('https://dash.example/auth/discord/callback')
    const wrong = await run(['doctor'], { ...good, DISCORD_CLIENT_SECRET: SECRET })
    expect(wrong.code).toBe(1)
    expect(wrong.out).toContain('does not accept DISCORD_CLIENT_SECRET')
    expect(wrong.out).not.toContain(SECRET)
  })
})
