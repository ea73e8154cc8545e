import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { parseSetCookie } from 'cookie'
import { createHoldfast } from 'holdfast'
import { describe, expect, test } from 'vitest'
import { Browser } from './browser.ts'
import { ORIGIN, openHouse, SECRET, siteOf } from './house.ts'

const DAY = 24 * 60 * 60 * 1000

describe('signing in', () => {
  test('leads through Discord back to the page one came from, with a session', async () => {
    await using house = await openHouse()
    const browser = house.browser()
    const begun = await browser.send('/auth/discord?returnTo=/guilds%3Fsort%3Dname')
    expect([begun.status, begun.headers.get('cache-control')]).toEqual([302, 'no-store'])
    const asked = new URL(begun.headers.get('location')!).searchParams
    expect(Object.fromEntries(asked)).toMatchObject({
      response_type: 'code',
      client_id: house.discord.clientId,
      scope: 'identify guilds',
      redirect_uri: `${ORIGIN}/auth/discord/callback`,
      code_challenge_method: 'S256',
    })
    house.discord.nextLogin(house.discord.users[2]!.id)
    const back = await browser.send(await browser.consent(begun))
    expect([back.status, back.headers.get('location')]).toEqual([303, '/guilds?sort=name'])
    expect([...browser.cookies.keys()]).toEqual(['__Host-holdfast-session'])
    const me = await browser.send('/me')
    expect(await me.json()).toMatchObject({ id: house.discord.users[2]!.id, stale: false })
    expect((await new Browser(house.site, ORIGIN).send('/me')).status).toBe(401)
    expect(house.events.map(({ type }) => type)).toContain('login.signed-in')
  })

  test('anew with a token that was refused before works: Discord may issue the same one again', async () => {
    let refuses = true
    const server = createServer((request, response) => {
      const refused = request.url!.endsWith('/users/@me') && refuses
      const body = refused
        ? { message: '401: Unauthorized', code: 0 }
        : request.method === 'POST'
          ? { access_token: 'the-same', token_type: 'Bearer', expires_in: 604_800, scope: 'identify guilds' }
          : { id: '1', username: 'ann', global_name: null, avatar: null }
      response.writeHead(refused ? 401 : 200, { 'content-type': 'application/json' }).end(JSON.stringify(body))
    }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    await using holdfast = createHoldfast({
      publicUrl: ORIGIN,
      secret: SECRET,
      logger: { debug() {}, info() {}, warn() {}, error() {} },
      discord: {
        baseUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
        clientId: '1',
        clientSecret: 'secret',
      },
    })
    const browser = new Browser(siteOf(holdfast), ORIGIN)
    const signIn = async () => {
      const begun = await browser.send('/auth/discord')
      const state = new URL(begun.headers.get('location')!).searchParams.get('state')
      return browser.send(`/auth/discord/callback?code=${randomUUID()}&state=${state}`)
    }
    const refused = await signIn()
    expect(refused.headers.getSetCookie().join()).not.toContain('holdfast-session')
    await expect(holdfast.getCurrentUser('the-same')).rejects.toMatchObject({ status: 401, attempts: 0 })
    refuses = false
    expect((await signIn()).headers.getSetCookie().join()).toContain('holdfast-session')
    expect(await holdfast.getCurrentUser('the-same')).toMatchObject({ id: '1' })
    server.closeAllConnections()
    server.close()
  })

  test('cookies are for this host, HttpOnly, Secure and Lax; plain on this machine', async () => {
    for (const [publicUrl, prefix, secure] of [
      [ORIGIN, '__Host-', true],
      ['http://localhost:3000', '', undefined],
      ['http://127.0.0.1:3000', '', undefined],
    ] as const) {
      await using house = await openHouse({ publicUrl })
      const browser = house.browser()
      const begun = await browser.send('/auth/discord')
      const back = await browser.send(await browser.consent(begun))
      for (const line of [...begun.headers.getSetCookie(), ...back.headers.getSetCookie()]) {
        const cookie = parseSetCookie(line)
        expect(cookie).toMatchObject({ path: '/', httpOnly: true, sameSite: 'lax' })
        expect([cookie.secure, cookie.domain, cookie.name.startsWith(`${prefix}holdfast-`)]).toEqual([
          secure,
          undefined,
          true,
        ])
      }
      expect((await browser.send('/me')).status).toBe(200)
    }
  })

  test('two tabs at once both come home', async () => {
    await using house = await openHouse()
    const browser = house.browser()
    const one = await browser.send('/auth/discord?returnTo=/one')
    const two = await browser.send('/auth/discord?returnTo=/two')
    const backs = [await browser.consent(two), await browser.consent(one)]
    const places = [await browser.send(backs[0]!), await browser.send(backs[1]!)].map(({ headers }) =>
      headers.get('location'),
    )
    expect(places).toEqual(['/two', '/one'])
    expect((await browser.send('/me')).status).toBe(200)
  })

  test('a browser that begins again and again keeps five attempts', async () => {
    await using house = await openHouse()
    const browser = house.browser()
    for (let time = 0; time < 20; time++) await browser.send('/auth/discord')
    expect(browser.cookies.size).toBe(5)
    expect((await browser.signIn('/here')).headers.get('location')).toBe('/here')
  })

  test('a callback that comes twice exchanges its code once, and each answer alone signs the browser in', async () => {
    await using house = await openHouse()
    for (const order of ['at once', 'one after the other', 'in another process']) {
      const browser = house.browser()
      const back = await browser.consent(await browser.send('/auth/discord?returnTo=/here'))
      const cookie = [...browser.cookies].map(([name, value]) => `${name}=${value}`).join('; ')
      const spent = () => house.discord.calls.filter(({ route }) => route.endsWith('/oauth2/token')).length
      const before = spent()
      const come = (site = house.site) => site(new Request(back, { headers: { cookie } }))
      const answers = order === 'at once' ? await Promise.all([come(), come(), come()]) : [await come()]
      if (order === 'one after the other') answers.push(await come())
      // A second click that the browser sends to another process cannot know what the memory of the first one holds.
      if (order !== 'in another process') expect(spent() - before).toBe(1)
      for (const answer of answers) {
        expect([answer.status, answer.headers.get('location')]).toEqual([303, '/here'])
        const alone = house.browser()
        alone.keep(answer)
        expect((await alone.send('/me')).status).toBe(200)
      }
    }
  })

  test('an earlier session of the browser ends', async () => {
    await using house = await openHouse()
    const browser = house.browser()
    await browser.signIn()
    const earlier = new Browser(house.site, ORIGIN)
    for (const [name, value] of browser.cookies) earlier.cookies.set(name, value)
    await browser.signIn()
    expect([(await browser.send('/me')).status, (await earlier.send('/me')).status]).toEqual([200, 401])
  })

  test('basePath and the path of publicUrl stand in the routes and the redirect URI', async () => {
    await using house = await openHouse({ publicUrl: `${ORIGIN}/app`, login: { basePath: '/account' } })
    const browser = house.browser()
    for (const path of ['/app/account/discord', '/account/discord', '/account/discord/']) {
      const begun = await browser.send(path)
      expect(new URL(begun.headers.get('location')!).searchParams.get('redirect_uri')).toBe(
        `${ORIGIN}/app/account/discord/callback`,
      )
    }
    expect((await browser.signIn('/app/x', '/app/account')).headers.get('location')).toBe('/app/x')
    expect(await house.holdfast.login.handle(new Request(`${ORIGIN}/auth/discord`))).toBeUndefined()
    const other = await house.holdfast.login.handle(new Request(`${ORIGIN}/login/discord`), { basePath: '/login' })
    expect(new URL(other!.headers.get('location')!).searchParams.get('redirect_uri')).toBe(
      `${ORIGIN}/app/login/discord/callback`,
    )
    await expect(house.holdfast.login.handle(new Request(ORIGIN), { basePath: 'login/' })).rejects.toMatchObject({
      option: 'basePath',
    })
  })

  test('begin() asks for what it is told, and returns to this site only', async () => {
    await using house = await openHouse()
    const begun = await house.holdfast.login.begin(new Request(`${ORIGIN}/x?returnTo=/query`), {
      scopes: ['guilds', 'email'],
      returnTo: '/option',
      redirectUri: 'https://other.example/back',
    })
    const asked = new URL(begun.headers.get('location')!).searchParams
    expect([asked.get('scope'), asked.get('redirect_uri')]).toEqual([
      'identify guilds email',
      'https://other.example/back',
    ])
    const misspelt = { scope: ['guilds'] } as object
    await expect(house.holdfast.login.begin(new Request(ORIGIN), misspelt)).rejects.toMatchObject({ option: 'scope' })
  })
})

describe('a session', () => {
  test('ends when it is not used, and when it is old, whatever happens', async () => {
    await using house = await openHouse(
      { login: { idleMs: 7 * DAY, absoluteMs: 20 * DAY } },
      { tokenLifetimeMs: 60 * DAY },
    )
    const [used, idle] = [house.browser(), house.browser()]
    await used.signIn()
    house.discord.nextLogin(house.discord.users[1]!.id)
    await idle.signIn()
    const lasts = async (browser: Browser) => (await browser.send('/me')).status === 200
    for (let day = 6; day <= 18; day += 6) {
      await house.clock.advance(6 * DAY)
      expect([day, await lasts(used)]).toEqual([day, true])
    }
    expect(await lasts(idle)).toBe(false)
    await house.clock.advance(2 * DAY)
    expect(await lasts(used)).toBe(false)
  })

  test('does nothing for a request that another site made', async () => {
    await using house = await openHouse()
    const browser = house.browser()
    await browser.signIn()
    const post = async (origin: string | undefined, method = 'POST') => {
      const headers: Record<string, string> = { cookie: [...browser.cookies].map((pair) => pair.join('=')).join('; ') }
      if (origin !== undefined) headers.origin = origin
      return (await house.site(new Request(`${ORIGIN}/me`, { method, headers }))).status
    }
    expect(await post(ORIGIN)).toBe(200)
    for (const origin of [
      undefined,
      'null',
      'https://evil.example',
      'http://dash.example',
      `${ORIGIN}:444`,
      `${ORIGIN}.evil.example`,
    ])
      expect([origin, await post(origin), await post(origin, 'DELETE')]).toEqual([origin, 401, 401])
    expect(
      await house.holdfast.login.session({
        headers: new Headers({ cookie: [...browser.cookies].map((pair) => pair.join('=')).join('; ') }),
      }),
    ).toBeNull()
  })

  test('ends by logout, here only; the cookie goes too', async () => {
    await using house = await openHouse()
    const [desk, phone] = [house.browser(), house.browser()]
    await desk.signIn()
    await phone.signIn()
    expect((await desk.send('/auth/logout')).status).toBe(405)
    expect(
      (await desk.send('/auth/logout', { method: 'POST', headers: { origin: 'https://evil.example' } })).status,
    ).toBe(403)
    const cookies = new Map(desk.cookies)
    const out = await desk.send('/auth/logout?returnTo=/bye', { method: 'POST' })
    expect([out.status, out.headers.get('location'), desk.cookies.size]).toEqual([303, '/bye', 0])
    for (const [name, value] of cookies) desk.cookies.set(name, value)
    expect([(await desk.send('/me')).status, (await phone.send('/me')).status]).toEqual([401, 200])
    expect(house.discord.calls.some(({ route }) => route.includes('revoke'))).toBe(false)
    const script = await phone.send('/auth/logout', { method: 'POST', headers: { accept: '*/*' } })
    expect(script.status).toBe(204)
    expect(await house.holdfast.login.accessToken(house.discord.users[0]!.id)).toBeNull()
  })

  test('ends everywhere by disconnect, which revokes; where Discord cannot be asked nothing ends', async () => {
    await using house = await openHouse()
    const [desk, phone] = [house.browser(), house.browser()]
    await desk.signIn()
    await phone.signIn()
    const { id } = house.discord.users[0]!
    const token = await house.holdfast.login.accessToken(id)
    const calm = house.discord.fault('server-error', { route: '/oauth2/token/revoke' })
    const failed = await desk.send('/auth/disconnect', { method: 'POST' })
    expect([failed.status, failed.headers.get('retry-after')]).toEqual([503, '5'])
    expect((await desk.send('/me')).status).toBe(200)
    calm()
    expect((await desk.send('/auth/disconnect', { method: 'POST' })).status).toBe(303)
    expect([(await phone.send('/me')).status, await house.holdfast.login.accessToken(id)]).toEqual([401, null])
    await expect(house.holdfast.getCurrentUser(token!)).rejects.toMatchObject({ status: 401 })
    expect((await desk.send('/auth/disconnect', { method: 'POST' })).status).toBe(401)
  })

  test('endAllSessions ends them all', async () => {
    await using house = await openHouse()
    const [desk, phone] = [house.browser(), house.browser()]
    await desk.signIn()
    await phone.signIn()
    await house.holdfast.login.endAllSessions(house.discord.users[0]!.id)
    expect([(await desk.send('/me')).status, (await phone.send('/me')).status]).toEqual([401, 401])
  })
})

describe('the configuration', () => {
  test.each([
    ['publicUrl', { publicUrl: undefined }],
    ['discord.clientId', { discord: { clientId: undefined } }],
    ['discord.clientSecret', { discord: { clientSecret: undefined } }],
    ['publicUrl', { publicUrl: 'http://dash.example' }],
  ])('without %s every call is a ConfigError that names it', async (option, change) => {
    const full = { publicUrl: ORIGIN, discord: { clientId: '1', clientSecret: 'x' } }
    const options = { ...full, ...change, discord: { ...full.discord, ...('discord' in change ? change.discord : {}) } }
    await using holdfast = createHoldfast(JSON.parse(JSON.stringify(options)))
    const { login } = holdfast
    const request = new Request(`${ORIGIN}/auth/discord`)
    for (const call of [
      () => login.begin(request),
      () => login.callback(request),
      () => login.logout(request),
      () => login.disconnect(request),
      () => login.session(request),
      () => login.endAllSessions('1'),
      () => login.webhook(request),
      () => login.handle(request),
      () => login.accessToken('1'),
    ])
      await expect(call()).rejects.toMatchObject({ code: 'CONFIG_INVALID', option })
  })

  test('without a public key the webhook is a ConfigError', async () => {
    await using holdfast = createHoldfast({ publicUrl: ORIGIN, discord: { clientId: '1', clientSecret: 'x' } })
    await expect(holdfast.login.webhook(new Request(ORIGIN, { method: 'POST' }))).rejects.toMatchObject({
      option: 'discord.publicKey',
    })
  })

  test('misspelt login options are refused with the right name', () => {
    expect(() => createHoldfast({ login: { idelMs: 1 } as object })).toThrow(/did you mean idleMs/)
    expect(() => createHoldfast({ login: { basePath: '/auth/' } })).toThrow(/basePath/)
  })
})

test('siteOf answers what is no path of the login', async () => {
  await using house = await openHouse()
  expect((await siteOf(house.holdfast)(new Request(`${ORIGIN}/authority/discord`))).status).toBe(401)
})
