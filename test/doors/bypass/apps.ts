import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { serve as serveHono } from '@hono/node-server'
import createFastify from 'fastify'
import { createGuard, type PassDecision } from 'holdfast'
import { guard as expressGuard, type NodeRequest, type NodeResponse } from 'holdfast/express'
import { holdfast as fastifyHoldfast } from 'holdfast/fastify'
import { guard as honoGuard } from 'holdfast/hono'
import { Hono } from 'hono'
import { CHARGED, RAN, RULES } from './targets.ts'

/** An app that says of each request which handler ran and which limits were charged. */
export interface App {
  readonly port: number
  close(): Promise<unknown> | unknown
}

const newGuard = () => createGuard({ rules: RULES, publicPaths: ['/open/*'], shedding: false })
const charged = (decision: PassDecision | undefined) => decision?.limits.map(({ name }) => name).join(',') || 'none'

async function listening(server: Server): Promise<App> {
  if (!server.listening) await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    port: (server.address() as { port: number }).port,
    close: () => {
      server.closeAllConnections()
      return new Promise((resolve) => server.close(resolve))
    },
  }
}

/** What is used of Express, of whichever version. */
// biome-ignore lint/suspicious/noExplicitAny: two versions of Express, one of them without types here
type Express = any

/** Routes, and a file server at the root, which resolves what routes do not. */
export async function inExpress(express: Express): Promise<App> {
  const root = mkdtempSync(join(tmpdir(), 'holdfast-bypass-'))
  mkdirSync(join(root, 'dl'))
  writeFileSync(join(root, 'dl', 'big.bin'), 'big')
  const app = express()
  app.use(expressGuard({ guard: newGuard() }))
  app.use((request: NodeRequest, response: NodeResponse, next: () => void) => {
    response.setHeader(CHARGED, charged(request.guard))
    next()
  })
  const say = (name: string) => (_request: unknown, response: NodeResponse) => {
    response.setHeader(RAN, name)
    response.end()
  }
  app.all('/api/chat', say('chat'))
  app.post('/api/only-post', say('only-post'))
  app.use(express.static(root, { setHeaders: (response: NodeResponse) => response.setHeader(RAN, 'dl') }))
  const { port, close } = await listening(createServer(app))
  return {
    port,
    close: async () => {
      await close()
      rmSync(root, { recursive: true })
    },
  }
}

/** A server without a framework, that routes by `new URL`. */
export function onNode(): Promise<App> {
  const guard = expressGuard({ guard: newGuard() })
  return listening(
    createServer((request, response) =>
      guard(request, response, () => {
        const url = request.url ?? '/'
        const path = URL.canParse(url, 'http://localhost') ? new URL(url, 'http://localhost').pathname : url
        const ran = { '/api/chat': 'chat', '/dl/big.bin': 'dl' }[decodeURI(/%(?![0-9a-f]{2})/i.test(path) ? '' : path)]
        response.setHeader(CHARGED, charged((request as NodeRequest).guard))
        if (ran) response.setHeader(RAN, ran)
        response.end()
      }),
    ),
  )
}

/** With every leniency that Fastify's router has. */
export async function inFastify(routerOptions: object): Promise<App> {
  const app = createFastify({ routerOptions })
  await app.register(fastifyHoldfast, { guard: newGuard() })
  const say =
    (name: string) => async (request: { guard: PassDecision }, reply: { header(n: string, v: string): unknown }) => {
      reply.header(RAN, name)
      reply.header(CHARGED, charged(request.guard))
      return ''
    }
  app.all('/api/chat', say('chat') as never)
  app.all('/dl/*', say('dl') as never)
  app.post('/api/only-post', say('only-post') as never)
  await app.listen({ port: 0, host: '127.0.0.1' })
  return { port: (app.server.address() as { port: number }).port, close: () => app.close() }
}

export async function inHono(): Promise<App> {
  const app = new Hono({ strict: false })
  app.use(honoGuard({ guard: newGuard() }))
  const say = (name: string) => (c: { get(name: 'guard'): PassDecision }) =>
    new Response(null, { headers: { [RAN]: name, [CHARGED]: charged(c.get('guard')) } })
  app.all('/api/chat', say('chat'))
  app.all('/dl/*', say('dl'))
  app.post('/api/only-post', say('only-post'))
  const server = serveHono({ fetch: app.fetch, port: 0, hostname: '127.0.0.1', overrideGlobalObjects: false }) as Server
  await new Promise<void>((resolve) => (server.listening ? resolve() : server.once('listening', () => resolve())))
  return listening(server)
}
