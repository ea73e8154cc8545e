import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { startSimulator } from 'holdfast/simulator'
import { describe, expect, test } from 'vitest'
import { Browser } from '../sign-in/browser.ts'

const ORIGIN = 'http://localhost:3000'

describe.each(['express', 'fastify', 'hono'])('examples/%s', (name) => {
  const app = fileURLToPath(new URL(`../../examples/${name}/app.js`, import.meta.url))

  test('is at most 60 lines, signs in, shows guilds, and lets managers change theirs', {
    timeout: 30_000,
  }, async () => {
    expect(readFileSync(app, 'utf8').trim().split('\n').length).toBeLessThanOrEqual(60)
    await using discord = await startSimulator({ users: 3 })
    const child = spawn(process.execPath, [app], {
      env: {
        PATH: process.env.PATH,
        PORT: '0',
        HOLDFAST_PUBLIC_URL: ORIGIN,
        DISCORD_API_BASE_URL: discord.url,
        DISCORD_CLIENT_ID: discord.clientId,
        DISCORD_CLIENT_SECRET: discord.clientSecret,
      },
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    try {
      const [line] = await Promise.race([
        once(child.stdout, 'data'),
        once(child, 'exit').then(([code]) => Promise.reject(new Error(`the app ended with ${code}`))),
      ])
      const url = /listening on (\S+)/.exec(String(line))![1]!
      const browser = new Browser((request) => {
        const { pathname, search } = new URL(request.url)
        const init = { method: request.method, headers: request.headers, redirect: 'manual', duplex: 'half' } as const
        return fetch(`${url}${pathname}${search}`, {
          ...init,
          ...(request.body && { body: request.body }),
        } as RequestInit)
      }, ORIGIN)
      expect(await (await browser.send('/')).text()).toContain('/auth/discord?returnTo=/api/guilds')
      expect((await browser.send('/api/guilds')).status).toBe(401)
      expect((await browser.signIn('/api/guilds')).headers.get('location')).toBe('/api/guilds')
      const user = discord.users[0]!
      const list = await browser.send('/api/guilds')
      expect(list.headers.get('ratelimit')).toContain('r=')
      const told = (await list.json()) as { user: { id: string; username: string }; guilds: Array<{ id: string }> }
      expect([told.user.id, told.user.username]).toEqual([user.id, user.username])
      expect(told.guilds.map(({ id }) => id).sort()).toEqual(user.guilds.map(({ id }) => id).sort())
      const rename = async (id: string) =>
        (
          await browser.send(`/api/guilds/${id}/name`, {
            method: 'POST',
            body: '{"name":"new"}',
            headers: { 'content-type': 'application/json' },
          })
        ).status
      for (const guild of user.guilds) {
        const may = guild.owner || (BigInt(guild.permissions) & 0x28n) !== 0n
        expect([guild.id, await rename(guild.id)]).toEqual([guild.id, may ? 200 : 403])
      }
    } finally {
      if (child.exitCode === null) {
        child.kill('SIGTERM')
        await once(child, 'exit')
      }
    }
  })
})
