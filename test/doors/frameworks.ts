import { createServer, type Server } from 'node:http'
import { serve as serveHono } from '@hono/node-server'
import express from 'express'
import createFastify from 'fastify'
import type { Holdfast } from 'holdfast'
import { setDefaultHoldfast } from 'holdfast'
import { requireAuth as expressAuth, guard as expressGuard, login as expressLogin } from 'holdfast/express'
import { holdfast as fastifyHoldfast } from 'holdfast/fastify'
import { requireAuth as honoAuth, guard as honoGuard, login as honoLogin } from 'holdfast/hono'
import { withGuard as nextGuard, login as nextLogin, withAuth as nextWithAuth } from 'holdfast/next'
import { Hono } from 'hono'

/** The same small app in every framework. */
export interface ServedApp {
  readonly url: string
  close(): Promise<void>
}

export interface AppOptions {
  /** A JSON parser in front of everything, the login too. */
  readonly parserInFront?: boolean
  readonly rules?: Record<string, `${number}/minute`>
}

export type ServeApp = (holdfast: Holdfast, options?: AppOptions) => Promise<ServedApp>

const RULES = { '/limited': '2/minute' } as const

async function listen(handler: Parameters<typeof createServer>[1]): Promise<{ url: string; server: Server }> {
  const server = createServer(handler)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return { url: `http://127.0.0.1:${(server.address() as { port: number }).port}`, server }
}

const closing = (server: Server) =>
  new Promise<void>((resolve) => {
    server.close(() => resolve())
    server.closeAllConnections()
  })

const inExpress: ServeApp = async (holdfast, { parserInFront, rules = RULES } = {}) => {
  const app = express()
  app.disable('x-powered-by')
  app.disable('etag')
  if (parserInFront) app.use(express.json())
  const guarding = expressGuard({ holdfast, rules, shedding: false })
  app.use(guarding)
  app.use(expressLogin({ holdfast }))
  app.use(express.json())
  app.get('/me', expressAuth({ holdfast, guilds: false }), (request, response) => void response.json(request.auth))
  app.get(
    '/guilds/:guildId',
    expressAuth({ holdfast, guild: (_, request) => request.params.guildId, permissions: 'ManageGuild' }),
    (request, response) => void response.json({ guild: request.auth.guild?.id }),
  )
  app.get('/limited', (request, response) => void response.json({ remaining: request.guard.limits[0]?.remaining }))
  app.post('/echo', (request, response) => void response.json(request.body))
  const { url, server } = await listen(app)
  return {
    url,
    close: async () => {
      await closing(server)
      await guarding.close()
    },
  }
}

const inFastify: ServeApp = async (holdfast, { rules = RULES } = {}) => {
  const app = createFastify()
  await app.register(fastifyHoldfast, { holdfast, guard: { rules, shedding: false }, login: true })
  app.get('/me', { preHandler: app.requireAuth({ guilds: false }) }, async (request) => request.auth)
  app.get<{ Params: { guildId: string } }>(
    '/guilds/:guildId',
    { preHandler: app.requireAuth({ guild: (_, request) => request.params.guildId, permissions: 'ManageGuild' }) },
    async (request) => ({ guild: request.auth.guild?.id }),
  )
  app.get('/limited', async (request) => ({ remaining: request.guard.limits[0]?.remaining }))
  app.post('/echo', async (request) => request.body)
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  return { url, close: () => app.close() }
}

const inHono: ServeApp = async (holdfast, { parserInFront, rules = RULES } = {}) => {
  const app = new Hono()
  const guarding = honoGuard({ holdfast, rules, shedding: false })
  if (parserInFront)
    app.use(async (c, next) => {
      if (c.req.method === 'POST') await c.req.json().catch(() => undefined)
      return next()
    })
  app.use(guarding)
  app.use(honoLogin({ holdfast }))
  app.get('/me', honoAuth({ holdfast, guilds: false }), (c) => c.json(c.get('auth')))
  app.get(
    '/guilds/:guildId',
    honoAuth({ holdfast, guild: (_, c) => c.req.param('guildId'), permissions: 'ManageGuild' }),
    (c) => c.json({ guild: c.var.auth.guild?.id }),
  )
  app.get('/limited', (c) => c.json({ remaining: c.get('guard').limits[0]?.remaining }))
  app.post('/echo', async (c) => c.json(await c.req.json()))
  const server = serveHono({ fetch: app.fetch, port: 0, hostname: '127.0.0.1' }) as Server
  await new Promise<void>((resolve) => (server.listening ? resolve() : server.once('listening', () => resolve())))
  return {
    url: `http://127.0.0.1:${(server.address() as { port: number }).port}`,
    close: async () => {
      await closing(server)
      await guarding.close()
    },
  }
}

/** Route handlers as Next calls them; Next itself runs in test/long. */
const inNext: ServeApp = async (holdfast, { rules = RULES } = {}) => {
  setDefaultHoldfast(holdfast)
  const remoteAddress = () => '127.0.0.1'
  const shared = { holdfast, remoteAddress, rules, shedding: false } as const
  const limited = nextGuard(() => Response.json({ remaining: 'seen' }), shared)
  const { GET, POST } = nextLogin({ holdfast })
  const me = nextWithAuth((_request: Request, auth) => Response.json(auth), { guilds: false })
  const guild = nextWithAuth((_request: Request, auth) => Response.json({ guild: auth.guild?.id }), {
    guild: (request) => new URL(request.url ?? '').pathname.split('/')[2],
    permissions: 'ManageGuild',
  })
  const app = new Hono()
  app.all('/auth/*', (c) => (c.req.method === 'POST' ? POST(c.req.raw) : GET(c.req.raw)))
  app.get('/me', (c) => me(c.req.raw))
  app.get('/guilds/:guildId', (c) => guild(c.req.raw))
  app.get('/limited', (c) => limited(c.req.raw))
  app.post('/echo', async (c) => Response.json(await c.req.raw.json()))
  const server = serveHono({ fetch: app.fetch, port: 0, hostname: '127.0.0.1', overrideGlobalObjects: false }) as Server
  await new Promise<void>((resolve) => (server.listening ? resolve() : server.once('listening', () => resolve())))
  return {
    url: `http://127.0.0.1:${(server.address() as { port: number }).port}`,
    close: async () => {
      await closing(server)
      await limited.close()
      setDefaultHoldfast(undefined)
    },
  }
}

export const FRAMEWORKS: ReadonlyArray<readonly [string, ServeApp]> = [
  ['Express', inExpress],
  ['Fastify', inFastify],
  ['Hono', inHono],
  ['Next', inNext],
]
