import { createServer, type Server } from 'node:http'
import { connect } from 'node:net'
import express, { type Express } from 'express'
import { createHoldfast, type Holdfast, type HoldfastEvent, setDefaultHoldfast } from 'holdfast'
import {
  type GuardMiddlewareOptions,
  guard,
  type Middleware,
  type NodeRequest,
  type NodeResponse,
  requireAuth,
} from 'holdfast/express'
import { createVirtualClock, startSimulator } from 'holdfast/simulator'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'

const open: Array<() => Promise<unknown> | unknown> = []
beforeEach(() => {
  const holdfast = createHoldfast({
    clock: createVirtualClock(),
    session: (request) => {
      const id = request.headers.get('x-user')
      return id === null ? null : { userId: id, accessToken: 'a-token' }
    },
  })
  setDefaultHoldfast(holdfast)
  open.push(() => holdfast.close())
})
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close()
  setDefaultHoldfast(undefined)
})

async function serve(app: Express | ((request: NodeRequest, response: NodeResponse) => void)): Promise<string> {
  const server: Server = createServer(app as never)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  open.push(() => {
    server.closeAllConnections()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as { port: number }).port}`
}

function guardedApp(
  options: GuardMiddlewareOptions,
  answer: (request: NodeRequest, response: express.Response) => void,
) {
  const app = express()
  const middleware = guard({ shedding: false, ...options })
  open.push(() => middleware.close())
  app.use(middleware as never)
  app.use((request, response) => answer(request as unknown as NodeRequest, response))
  return serve(app)
}

describe('guard()', () => {
  test('lets in what the rules allow, with headers, and answers the rest with the contract', async () => {
    const url = await guardedApp({ rules: { '/api/*': '2/minute' } }, (_, response) => response.json({ ok: true }))
    const first = await fetch(`${url}/api/x`)
    expect([first.status, first.headers.get('ratelimit')]).toEqual([
      200,
      '"2/minute";r=1;t=60;limit=2;remaining=1;reset=60',
    ])
    await fetch(`${url}/api/x`)
    const refused = await fetch(`${url}/api/x`)
    expect(refused.status).toBe(429)
    expect(Object.fromEntries(refused.headers)).toMatchObject({
      'retry-after': '60',
      'cache-control': 'no-store',
      'content-type': 'application/json; charset=utf-8',
      'x-ratelimit-scope': 'ip',
    })
    expect(await refused.json()).toMatchObject({ code: 'RATE_LIMITED', status: 429, retryAfterSeconds: 60 })
  })

  test('users are those of the default instance’s sessions', async () => {
    const url = await guardedApp({ rules: { '/api/*': '1/minute' } }, (_, response) => response.end())
    const as = async (user: string) => (await fetch(`${url}/api/x`, { headers: { 'x-user': user } })).status
    expect([await as('1'), await as('1'), await as('2')]).toEqual([200, 429, 200])
  })

  test('a rule for a router that is mounted somewhere means the whole path', async () => {
    const app = express()
    const middleware = guard({ shedding: false, rules: { '/api/chat': '1/minute' } })
    open.push(() => middleware.close())
    const router = express.Router()
    router.use(middleware as never)
    router.post('/chat', (_, response) => void response.end())
    app.use('/api', router)
    const url = await serve(app)
    const post = async () => (await fetch(`${url}/api/chat`, { method: 'POST' })).status
    expect([await post(), await post()]).toEqual([200, 429])
  })

  test('a 409 is given back before the next request, and the handler sees its limits', async () => {
    const seen: unknown[] = []
    const events: HoldfastEvent[] = []
    const url = await guardedApp(
      { rules: { '/generate': '1/month' }, on: (event) => events.push(event) },
      (request, response) => {
        seen.push(request.guard?.limits[0]?.remaining)
        response.status(409).end()
      },
    )
    for (let time = 0; time < 5; time++) expect((await fetch(`${url}/generate`, { method: 'POST' })).status).toBe(409)
    expect(seen).toEqual([0, 0, 0, 0, 0])
    await expect.poll(() => events.filter(({ type }) => type === 'guard.refunded').length).toBe(5)
  })

  test('a handler may give back itself', async () => {
    const url = await guardedApp({ rules: { '/generate': '1/month' } }, (request, response) => {
      void request.guard?.refund()
      response.end()
    })
    for (let time = 0; time < 3; time++) expect((await fetch(`${url}/generate`)).status).toBe(200)
  })

  test('each request settles once, whether it is answered, cut off or fails', async () => {
    const answers: Array<express.Response> = []
    const url = await guardedApp({ shedding: { maxInFlight: 2 } }, (request, response) => {
      if (request.url === '/hang') answers.push(response)
      else if (request.url === '/throw') throw Object.assign(new Error('a bug'), { expose: false })
      else response.end('done')
    })
    for (let time = 0; time < 5; time++) {
      // Cut off by the client.
      const socket = connect(Number(new URL(url).port), '127.0.0.1')
      socket.write('GET /hang HTTP/1.1\r\nhost: x\r\n\r\n')
      await expect.poll(() => answers.length).toBe(time + 1)
      socket.destroy()
      await expect.poll(async () => (await fetch(`${url}/ok`, { headers: { 'x-user': '1' } })).status).toBe(200)
    }
    const [one, two] = [fetch(`${url}/hang`), fetch(`${url}/hang`)]
    await expect.poll(() => answers.length).toBe(7)
    expect((await fetch(`${url}/ok`)).status).toBe(503)
    for (const answer of answers) answer.end()
    await Promise.all([one, two])
    await expect.poll(async () => (await fetch(`${url}/ok`)).status).toBe(200)
  })

  test('arrive() in front, check() behind requireAuth: one request object, one place', async () => {
    const app = express()
    const middleware = guard({
      shedding: false,
      rules: { '/api/*': '2/minute' },
      addressPerMinute: 3,
      identify: () => undefined,
    })
    open.push(() => middleware.close())
    app.use(middleware.arrive as never)
    app.use(((request, _response, next) => {
      // Whoever authenticates in between.
      const id = request.headers['x-user']
      if (typeof id === 'string') request.auth = { user: { id } }
      next()
    }) satisfies Middleware as never)
    app.use(middleware as never)
    app.use((_, response) => void response.end())
    const url = await serve(app)
    const as = async (headers: Record<string, string>) => (await fetch(`${url}/api/x`, { headers })).status
    for (let user = 0; user < 10; user++) expect(await as({ 'x-user': `${user}`, cookie: 'x' })).toBe(200)
    expect([await as({}), await as({}), await as({}), await as({})]).toEqual([200, 200, 429, 429])
  })

  test('without Express, on node:http', async () => {
    const middleware = guard({ shedding: false, rules: { '*': '1/minute' } })
    open.push(() => middleware.close())
    const url = await serve((request: NodeRequest, response: NodeResponse) =>
      middleware(request, response, () => void response.end('in')),
    )
    expect((await fetch(url, { method: 'POST' })).status).toBe(200)
    const page = await fetch(url, { headers: { accept: 'text/html' } })
    expect([page.status, page.headers.get('content-type')]).toEqual([429, 'text/html; charset=utf-8'])
  })

  test('ten times the limit at once: exactly the limit gets in', async () => {
    const url = await guardedApp({ rules: { '/api/*': '50/hour' } }, (_, response) => response.end())
    const statuses = await Promise.all(
      Array.from({ length: 500 }, async () => {
        const response = await fetch(`${url}/api/x`)
        const body = await response.text()
        if (response.status === 429) expect(JSON.parse(body)).toMatchObject({ code: 'RATE_LIMITED', status: 429 })
        return response.status
      }),
    )
    expect(statuses.filter((status) => status === 200).length).toBe(50)
    expect(statuses.filter((status) => status === 429).length).toBe(450)
  })
})

describe('requireAuth()', () => {
  test('puts auth on the request, answers refusals, and asks for the guild of the route', async () => {
    await using discord = await startSimulator()
    const [user] = discord.users
    await using holdfast: Holdfast = createHoldfast({
      discord: { baseUrl: discord.url, clientId: discord.clientId },
    })
    const app = express()
    app.get('/me', requireAuth({ holdfast, guilds: false }) as never, (request, response) => {
      response.json((request as unknown as NodeRequest).auth)
    })
    app.get(
      '/guilds/:guildId',
      requireAuth({ holdfast, guild: (_, request) => request.params.guildId }) as never,
      (request, response) =>
        void response.json((request as unknown as { auth: { guild: { id: string } } }).auth.guild.id),
    )
    const url = await serve(app)
    const headers = { authorization: `Bearer ${user!.accessToken}` }
    expect(await (await fetch(`${url}/me`, { headers })).json()).toMatchObject({ user: { id: user!.id } })
    const guildId = user!.guilds[0]!.id
    expect(await (await fetch(`${url}/guilds/${guildId}`, { headers })).json()).toBe(guildId)
    expect((await fetch(`${url}/guilds/1`, { headers })).status).toBe(403)
    const refused = await fetch(`${url}/me`)
    expect([refused.status, ((await refused.json()) as { code: string }).code]).toEqual([401, 'UNAUTHENTICATED'])
  })

  test('other errors go to next', async () => {
    const app = express()
    app.get('/', requireAuth({ permissions: 'ManageGuild' }) as never, (_, response) => void response.end())
    app.use(
      ((error: { code: string }, _q: unknown, response: express.Response, _n: unknown) =>
        void response.status(500).end(error.code)) as never,
    )
    const url = await serve(app)
    expect(await (await fetch(url)).text()).toBe('CONFIG_INVALID')
  })
})
