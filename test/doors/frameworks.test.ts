import createFastify from 'fastify'
import type { Holdfast } from 'holdfast'
import * as expressDoor from 'holdfast/express'
import * as fastifyDoor from 'holdfast/fastify'
import * as honoDoor from 'holdfast/hono'
import * as nextDoor from 'holdfast/next'
import { describe, expect, test } from 'vitest'
import { Browser } from '../sign-in/browser.ts'
import { type House, openHouse } from '../sign-in/house.ts'
import { type AppOptions, FRAMEWORKS, type ServeApp } from './frameworks.ts'

/** A served app with a login on this machine, and a browser in front of it. */
async function openApp(serve: ServeApp, options: AppOptions = {}) {
  const house: House = await openHouse({ publicUrl: 'http://localhost:3000' })
  const app = await serve(house.holdfast as Holdfast, options)
  const site = (request: Request) => {
    const { pathname, search } = new URL(request.url)
    return fetch(`${app.url}${pathname}${search}`, {
      method: request.method,
      headers: request.headers,
      redirect: 'manual',
      ...(request.body && { body: request.body, duplex: 'half' }),
    } as RequestInit)
  }
  return {
    house,
    app,
    browser: () => new Browser(site, 'http://localhost:3000'),
    [Symbol.asyncDispose]: async () => {
      await app.close()
      await house[Symbol.asyncDispose]()
    },
  }
}

/** Of an answer, what a client sees and a framework may not change. */
async function seen(answer: Response) {
  const own = ['date', 'connection', 'keep-alive', 'transfer-encoding', 'content-length', 'server', 'vary']
  const headers = [...answer.headers].filter(([name]) => !own.includes(name))
  return { status: answer.status, headers: Object.fromEntries(headers), body: await answer.text() }
}

describe.each(FRAMEWORKS)('in %s', (name, serve) => {
  test('a user signs in, is known, is let into the right guilds, and signs out', async () => {
    await using app = await openApp(serve)
    const browser = app.browser()
    const user = app.house.discord.users[0]!
    expect((await browser.send('/me')).status).toBe(401)
    const back = await browser.signIn('/guilds')
    expect([back.status, back.headers.get('location')]).toEqual([303, '/guilds'])
    expect(await (await browser.send('/me')).json()).toEqual({
      user: expect.objectContaining({ id: user.id, username: user.username }),
    })
    for (const guild of user.guilds) {
      const may = guild.owner || (BigInt(guild.permissions) & 0x28n) !== 0n
      const answer = await browser.send(`/guilds/${guild.id}`)
      expect([guild.id, answer.status]).toEqual([guild.id, may ? 200 : 403])
      if (may) expect(await answer.json()).toEqual({ guild: guild.id })
    }
    expect((await browser.send('/guilds/1')).status).toBe(403)
    expect((await browser.send('/auth/logout', { method: 'POST' })).status).toBe(303)
    expect((await browser.send('/me')).status).toBe(401)
  })

  test('the login takes nothing from other routes: their bodies are theirs', async () => {
    await using app = await openApp(serve)
    const answer = await fetch(`${app.app.url}/echo`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{"kept":[1,2,3]}',
    })
    expect(await answer.json()).toEqual({ kept: [1, 2, 3] })
    expect((await fetch(`${app.app.url}/auth/nothing-here`)).status).toBe(404)
    expect((await fetch(`${app.app.url}/auth/logout`)).status).toBe(405)
  })

  test('webhook events arrive with the bytes that Discord signed', async () => {
    for (const parserInFront of [false, true]) {
      await using app = await openApp(serve, { parserInFront })
      const { discord, holdfast } = app.house
      const user = discord.users[0]!
      await app.browser().signIn()
      await app.house.clock.advance(1_000)
      const hook = `${app.app.url}/auth/discord/webhook`
      expect([parserInFront, await discord.ping(hook)]).toEqual([parserInFront, 204])
      expect(await discord.deauthorize(user.id, hook)).toBe(204)
      expect(await holdfast.login.accessToken(user.id)).toBeNull()
      if (name !== 'Express' || !parserInFront) expect(await discord.ping(hook, { forged: true })).toBe(401)
    }
  })
})

describe('options', () => {
  test.each<[string, () => unknown]>([
    ['express.requireAuth', () => expressDoor.requireAuth({ permision: 'ManageGuild' } as object)],
    ['express.requireAuth', () => expressDoor.requireAuth({ guild: undefined } as object)],
    ['express.requireAuth', () => expressDoor.requireAuth({ guild: '' } as object)],
    ['express.login', () => expressDoor.login({ basepath: '/auth' } as object)],
    ['hono.requireAuth', () => honoDoor.requireAuth({ guild: undefined } as object)],
    ['hono.login', () => honoDoor.login({ basePath: 'auth' })],
    ['next.login', () => nextDoor.login({ base: '/auth' } as object)],
  ])('%s refuses what cannot be used, when the app is made', (of, make) => {
    expect(make).toThrow(new RegExp(`^${of}: `))
  })

  test('Fastify refuses them when the plugin is registered, and at requireAuth', async () => {
    const app = createFastify()
    await app.register(fastifyDoor.holdfast, {})
    expect(() => app.requireAuth({ gild: '1' } as object)).toThrow(/^fastify.requireAuth: .* did you mean guild\?/)
    await app.close()
    const wrong = createFastify()
    wrong.register(fastifyDoor.holdfast, { login: 'yes' as never })
    await expect(wrong.ready()).rejects.toThrow(/^fastify.holdfast: option login/)
  })

  test('a guild that was to be named and was not lets nobody in, in any framework', async () => {
    for (const [name, serve] of FRAMEWORKS) {
      await using app = await openApp(serve)
      const browser = app.browser()
      await browser.signIn()
      expect([name, (await browser.send('/guilds/%20')).status]).toEqual([name, 403])
    }
  })
})

test('headers and bodies are the same in every framework, byte for byte', async () => {
  const answers: Array<Record<string, unknown>> = []
  for (const [, serve] of FRAMEWORKS) {
    await using app = await openApp(serve)
    const get = async (path: string, init: RequestInit = {}) =>
      seen(await fetch(`${app.app.url}${path}`, { redirect: 'manual', ...init }))
    const page = { headers: { accept: 'text/html' } }
    const begun = await get('/auth/discord')
    // Random, and so different each time.
    begun.headers.location = new URL(begun.headers.location!).pathname
    begun.headers['set-cookie'] = begun.headers['set-cookie']!.replace(/=.*?;/, '=…;').replace(/-in-[\w-]+=/, '-in-…=')
    answers.push({
      refused: await get('/me'),
      refusedPage: await get('/me', page),
      begun,
      wrong: await get('/auth/discord/callback?code=x&state=y', page),
      method: await get('/auth/logout'),
      forged: await get('/auth/discord/webhook', { method: 'POST', body: '{}' }),
      origin: await get('/auth/logout', { method: 'POST' }),
    })
    const limits = [await get('/limited'), await get('/limited'), await get('/limited')]
    answers.at(-1)!.limits = limits.map(({ status, headers, body }) => [
      status,
      headers.ratelimit,
      headers['x-ratelimit-remaining'],
      headers['retry-after'],
      status === 200 ? '' : body.replace(/"retryAfterAt":"[^"]+"/, ''),
    ])
  }
  const [first, ...others] = answers
  for (const [index, other] of others.entries()) {
    // In Next the guard stands around single routes: the others carry no limits.
    const bare = (all: Record<string, unknown>) =>
      JSON.parse(JSON.stringify(all), (key, value) => (/ratelimit/i.test(key) ? undefined : value))
    if (FRAMEWORKS[index + 1]![0] === 'Next') expect(bare(other)).toEqual(bare(first!))
    else expect([FRAMEWORKS[index + 1]![0], other]).toEqual([FRAMEWORKS[index + 1]![0], first])
  }
})
