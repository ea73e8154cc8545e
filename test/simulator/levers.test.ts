import { request } from 'node:http'
import { describe, expect, it } from 'vitest'
import { createVirtualClock, type Simulator, startSimulator } from '../../src/simulator/simulator.ts'
import { bearer, visit } from './visitor.ts'

const lever = (simulator: Simulator, method: string, path: string, body?: unknown) =>
  visit(simulator, new URL(`/_simulator${path}`, simulator.url).href, {
    method,
    ...(body === undefined ? {} : { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
  })

describe('the levers over HTTP', () => {
  it('tell what a program needs, and the calls since it last asked', async () => {
    await using simulator = await startSimulator({ users: 2 })
    const { json } = await lever(simulator, 'GET', '')
    expect(json).toMatchObject({ url: simulator.url, botToken: simulator.botToken, faults: [], calls: 0 })
    expect(json.users.map(({ accessToken }: { accessToken: string }) => accessToken)).toEqual(
      simulator.users.map(({ accessToken }) => accessToken),
    )
    await visit(simulator, '/users/@me', { as: bearer(simulator) })
    await visit(simulator, '/users/@me/guilds', { as: bearer(simulator) })
    const first = (await lever(simulator, 'GET', '/calls')).json
    expect([first.total, first.calls.length]).toEqual([2, 2])
    await visit(simulator, '/users/@me', { as: bearer(simulator, 1) })
    const next = (await lever(simulator, 'GET', `/calls?since=${first.total}`)).json
    expect(next.calls.map(({ userId }: { userId: string }) => userId)).toEqual([simulator.users[1]!.id])
    expect((await lever(simulator, 'GET', '/limits')).json).toMatchObject([
      { route: '/users/@me/guilds', userId: simulator.users[0]!.id, limit: 1, remaining: 0 },
    ])
    expect((await lever(simulator, 'DELETE', '/calls')).status).toBe(204)
    expect((await lever(simulator, 'GET', '/calls')).json).toEqual({ total: 3, calls: [] })
    expect((await lever(simulator, 'GET', '/guilds')).json).toEqual(simulator.guilds)
    expect((await lever(simulator, 'GET', '/world')).json).toEqual(JSON.parse(JSON.stringify(simulator.save())))
    expect(simulator.calls).toEqual([])
  })

  it('switch faults on and off, one by one and all at once', async () => {
    await using simulator = await startSimulator()
    const me = async () => (await visit(simulator, '/users/@me', { as: bearer(simulator) })).status
    const { json } = await lever(simulator, 'POST', '/faults', {
      fault: 'server-error',
      status: 503,
      route: '/users/@me',
    })
    expect(await me()).toBe(503)
    expect((await lever(simulator, 'GET', '/faults')).json).toEqual([
      { id: json.id, fault: 'server-error', status: 503, route: '/users/@me' },
    ])
    expect((await lever(simulator, 'DELETE', `/faults/${json.id}`)).status).toBe(204)
    expect(await me()).toBe(200)
    expect((await lever(simulator, 'DELETE', `/faults/${json.id}`)).status).toBe(404)
    await lever(simulator, 'POST', '/faults', { fault: 'ban' })
    await lever(simulator, 'POST', '/faults', { fault: 'hang', route: '/users/@me/guilds' })
    await lever(simulator, 'DELETE', '/faults')
    expect(await me()).toBe(200)
  })

  it('move people, tokens and logins', async () => {
    await using simulator = await startSimulator()
    const user = simulator.users[0]!
    const given = await lever(simulator, 'POST', '/tokens', { userId: user.id, scopes: ['identify'] })
    expect((await visit(simulator, '/users/@me', { as: `Bearer ${given.json.accessToken}` })).status).toBe(200)
    const guild = { id: '42', name: 'New' }
    expect((await lever(simulator, 'POST', '/join', { userId: user.id, guild })).status).toBe(204)
    expect(user.guilds.some(({ id }) => id === '42')).toBe(true)
    await lever(simulator, 'POST', '/leave', { userId: user.id, guildId: '42' })
    expect(user.guilds.some(({ id }) => id === '42')).toBe(false)
    await lever(simulator, 'POST', '/next-login', { user: 'deny' })
    const query = `client_id=${simulator.clientId}&redirect_uri=http://x/&response_type=code&scope=identify`
    const denied = await visit(simulator, `/oauth2/authorize?${query}`)
    expect(denied.headers.get('location')).toContain('access_denied')
    expect((await lever(simulator, 'POST', '/deauthorize', { userId: user.id })).json).toEqual({ status: 0 })
    expect((await visit(simulator, '/users/@me', { as: bearer(simulator) })).status).toBe(401)
    await lever(simulator, 'POST', '/revoke', { userId: simulator.users[1]!.id })
    expect((await visit(simulator, '/users/@me', { as: bearer(simulator, 1) })).status).toBe(401)
  })

  it.each<[string, string, unknown, number, RegExp]>([
    ['POST', '/faults', {}, 400, /unknown fault undefined; use one of/],
    ['POST', '/faults', { fault: 'slow', userId: '1' }, 400, /no user "1"/],
    ['POST', '/faults', { fault: 'slow', often: 2 }, 400, /unknown fault option often/],
    ['POST', '/faults', { fault: 'slow', probability: '1' }, 400, /probability must be from 0 to 1, not "1"/],
    ['POST', '/faults', { fault: 'slow', route: 5 }, 400, /route must be a path/],
    ['POST', '/faults', [], 400, /must be a JSON object/],
    ['POST', '/revoke', {}, 400, /userId must be a text, not missing/],
    ['POST', '/join', { userId: '1' }, 400, /no user "1"/],
    ['POST', '/tokens', { userId: '1' }, 400, /no user "1"/],
    ['POST', '/next-login', { user: 'nobody' }, 400, /no user "nobody"/],
    ['POST', '/deauthorize', { userId: '1' }, 400, /no user/],
    ['POST', '/interact', { url: 'nonsense', interaction: {} }, 400, /^url must be an http or https URL/],
    ['POST', '/interact', { url: 'http://127.0.0.1:1/' }, 400, /interaction must be an object/],
    ['GET', '/calls?since=x', undefined, 400, /since must be a whole number/],
    ['GET', '/nothing', undefined, 404, /no lever GET \/nothing; there are GET \//],
    ['GET', '/constructor', undefined, 404, /no lever/],
    ['PATCH', '/faults', {}, 404, /no lever PATCH \/faults/],
  ])('%s %s %j is a clear error', async (method, path, body, status, message) => {
    await using simulator = await startSimulator()
    const answer = await lever(simulator, method, path, body)
    expect(answer.status).toBe(status)
    expect(answer.json.message).toMatch(message)
    expect(simulator.calls).toEqual([])
  })

  it('say that the body was not JSON, or of a user without a guild', async () => {
    await using simulator = await startSimulator()
    const url = new URL('/_simulator/faults', simulator.url).href
    expect((await visit(simulator, url, { method: 'POST', body: '{' })).json.message).toMatch(/must be JSON/)
    const missing = await lever(simulator, 'POST', '/join', { userId: simulator.users[0]!.id })
    expect([missing.status, missing.json.message]).toEqual([400, expect.stringMatching(/guild/)])
  })

  it('are not for the pages of others', async () => {
    await using simulator = await startSimulator()
    const { port, host } = new URL(simulator.url)
    const ask = (method: string, headers: Record<string, string>) =>
      new Promise<number>((resolve, reject) => {
        const sent = request({ host: '127.0.0.1', port, method, path: '/_simulator/faults', headers }, (response) => {
          response.resume()
          resolve(response.statusCode!)
        })
        sent.on('error', reject).end()
      })
    expect(await ask('GET', { origin: 'https://evil.example' })).toBe(403)
    expect(await ask('GET', { 'sec-fetch-site': 'cross-site' })).toBe(403)
    expect(await ask('OPTIONS', { origin: 'https://evil.example', 'access-control-request-method': 'POST' })).toBe(403)
    expect(await ask('GET', { origin: `http://${host}`, 'sec-fetch-site': 'same-origin' })).toBe(200)
    expect(await ask('GET', {})).toBe(200)
  })

  it('come with a page that has the people, their tokens and a button for each fault', async () => {
    await using simulator = await startSimulator({ users: [{ username: '<b>ann</b>' }, {}] })
    const { status, text, headers } = await visit(simulator, new URL('/', simulator.url).href)
    expect([status, headers.get('content-type')]).toEqual([200, 'text/html; charset=utf-8'])
    for (const kind of ['rate-limit', 'ban', 'hang', 'trickle']) expect(text).toContain(`data-fault="${kind}"`)
    for (const { accessToken } of simulator.users) expect(text).toContain(accessToken)
    expect(text).not.toContain('<b>ann')
    expect(simulator.calls).toEqual([])
  })

  it('work while a virtual clock stands still', async () => {
    await using simulator = await startSimulator({ clock: createVirtualClock(), latencyMs: 1000 })
    expect((await lever(simulator, 'POST', '/faults', { fault: 'ban' })).status).toBe(200)
  })
})
