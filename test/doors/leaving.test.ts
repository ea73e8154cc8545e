import { createServer, type Server } from 'node:http'
import { connect as connectHttp2, constants, createServer as createHttp2Server } from 'node:http2'
import { connect, type Socket } from 'node:net'
import { Readable } from 'node:stream'
import { serve } from '@hono/node-server'
import express from 'express'
import createFastify from 'fastify'
import { createGuard, type Guard } from 'holdfast'
import { guard as expressGuard, type NodeRequest, type NodeResponse } from 'holdfast/express'
import { holdfast as fastifyHoldfast } from 'holdfast/fastify'
import { guard as honoGuard } from 'holdfast/hono'
import { Hono } from 'hono'
import { afterEach, describe, expect, test } from 'vitest'

const open: Array<() => unknown> = []
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close()
})

/** An app that waits in front of its guard (a session that is looked up) for whoever sends `x-slow`. */
interface App {
  readonly guard: Guard
  front(slow: boolean): Promise<void>
  /** Its handler has begun; for `x-slow` it never answers. */
  ran(): void
}

interface Served {
  readonly port: number
  readonly server: Server
}

const listening = async (server: Server): Promise<Served> => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return served(server)
}

function served(server: Server): Served {
  open.push(() => {
    server.closeAllConnections()
    return new Promise((resolve) => server.close(resolve))
  })
  return { port: (server.address() as { port: number }).port, server }
}

const FRAMEWORKS: Record<string, (app: App) => Promise<Served>> = {
  async Express({ guard, front, ran }) {
    const app = express()
    app.use((request, _response, next) => void front('x-slow' in request.headers).then(() => next()))
    app.use(expressGuard({ guard }))
    app.use((request, response) => {
      ran()
      if (!('x-slow' in request.headers)) response.end('in')
    })
    return listening(createServer(app))
  },
  async Fastify({ guard, front, ran }) {
    const app = createFastify({ forceCloseConnections: true })
    app.addHook('onRequest', (request) => front('x-slow' in request.headers))
    await app.register(fastifyHoldfast, { guard })
    app.post('/x', (request) => {
      ran()
      return 'x-slow' in request.headers ? new Promise(() => {}) : 'in'
    })
    await app.ready()
    return listening(app.server)
  },
  async Hono({ guard, front, ran }) {
    const app = new Hono()
    app.use(async ({ req }, next) => {
      await front(req.header('x-slow') !== undefined)
      await next()
    })
    app.use(honoGuard({ guard }))
    app.post('/x', async (context) => {
      ran()
      if (context.req.header('x-slow') !== undefined) await new Promise(() => {})
      return context.text('in')
    })
    return new Promise((resolve) => {
      const server = serve({ fetch: app.fetch, port: 0, hostname: '127.0.0.1' }, () =>
        resolve(served(server as Server)),
      )
    })
  },
}

const GUARD = { rules: { '*': '1000/minute' }, shedding: { maxInFlight: 3 } } as const

/** A door that whoever sends `x-slow` stands in front of until it is opened. */
function gate() {
  let waiting = 0
  let pass = () => {}
  const opened = new Promise<void>((resolve) => {
    pass = resolve
  })
  return {
    waiting: () => waiting,
    pass: () => pass(),
    async front(slow: boolean) {
      if (!slow) return
      waiting++
      await opened
    },
  }
}

const post = async (port: number) => (await fetch(`http://127.0.0.1:${port}/x`, { method: 'POST' })).status

function slowly(port: number): Socket {
  const socket = connect(port, '127.0.0.1')
  socket.write('POST /x HTTP/1.1\r\nhost: x\r\nx-slow: 1\r\ncontent-length: 0\r\n\r\n')
  return socket
}

const connections = (server: Server) =>
  new Promise<number>((resolve) => server.getConnections((_error, count) => resolve(count)))

describe.each(Object.entries(FRAMEWORKS))('in %s a client that leaves', (_name, serveIn) => {
  test.each([
    ['before the guard is asked', false],
    ['while the guard finds out who it is', true],
  ])('%s leaves no place behind, and no handler runs for it', async (_when, inGuard) => {
    const { waiting, pass, front } = gate()
    let handlers = 0
    const guard = createGuard({
      ...GUARD,
      ...(inGuard && { identify: (request) => front(request.header('x-slow') !== null).then(() => undefined) }),
    })
    open.push(() => guard.close())
    const { port, server } = await serveIn({
      guard,
      front: inGuard ? async () => {} : front,
      ran: () => {
        handlers++
      },
    })
    const sockets = Array.from({ length: 2 }, () => slowly(port))
    await expect.poll(waiting).toBe(2)
    for (const socket of sockets) socket.destroy()
    await expect.poll(() => connections(server)).toBe(0)
    pass()
    expect([await post(port), await post(port), await post(port)]).toEqual([200, 200, 200])
    expect(handlers).toBe(3)
  })

  test('while its handler runs gives its place back, once', async () => {
    let handlers = 0
    const guard = createGuard(GUARD)
    open.push(() => guard.close())
    const { port, server } = await serveIn({
      guard,
      front: async () => {},
      ran: () => {
        handlers++
      },
    })
    for (let round = 1; round <= 2; round++) {
      const sockets = Array.from({ length: 3 }, () => slowly(port))
      await expect.poll(() => handlers).toBe(3 * round)
      for (const socket of sockets) socket.destroy()
      await expect.poll(() => connections(server)).toBe(0)
    }
    const held = Array.from({ length: 3 }, () => slowly(port))
    await expect.poll(() => handlers).toBe(9)
    // Three are under way, and no more than three: nothing was given back twice.
    expect(await post(port)).toBe(503)
    for (const socket of held) socket.destroy()
  })
})

describe('HTTP/2 through the door for node:http', () => {
  test.each([
    ['before the guard is asked', true],
    ['while it streams', false],
  ])('refuses as in HTTP/1, and whoever resets a stream %s leaves no place behind', async (_when, inFront) => {
    const { waiting, pass, front } = gate()
    const guarded = expressGuard({
      guard: createGuard({ ...GUARD, rules: { '*': '1000/minute', '/two': '2/minute' } }),
    })
    open.push(() => guarded.close())
    let streaming = 0
    const server = createHttp2Server((request, response) => {
      void front(inFront && 'x-slow' in request.headers).then(() =>
        guarded(request as unknown as NodeRequest, response as unknown as NodeResponse, () => {
          if (!('x-slow' in request.headers)) return void response.end('in')
          response.writeHead(200, { 'content-type': 'text/event-stream' })
          response.write('data: 1\n\n')
          streaming++
        }),
      )
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const client = connectHttp2(`http://127.0.0.1:${(server.address() as { port: number }).port}`)
    open.push(() => new Promise<void>((resolve) => void server.close(() => resolve())))
    open.push(() => client.destroy())
    const get = (path: string) =>
      new Promise<unknown>((resolve, reject) => {
        const stream = client.request({ ':path': path, ':method': 'POST' })
        stream.on('response', (headers) => resolve(headers[':status']))
        stream.on('error', reject)
        stream.resume()
      })
    const slow = Array.from({ length: 2 }, () => {
      const stream = client.request({ ':path': '/x', ':method': 'POST', 'x-slow': '1' })
      stream.on('error', () => {})
      return stream
    })
    await expect.poll(inFront ? waiting : () => streaming).toBe(2)
    await Promise.all(
      slow.map(
        (stream) =>
          new Promise<void>((resolve) => {
            stream.once('close', resolve)
            stream.close(constants.NGHTTP2_CANCEL)
          }),
      ),
    )
    // The server has seen the resets once it answers what was sent after them.
    await new Promise<void>((resolve) => client.ping(() => resolve()))
    pass()
    expect([await get('/two'), await get('/two'), await get('/two')]).toEqual([200, 200, 429])
    expect(streaming).toBe(inFront ? 0 : 2)
  })
})

test.each(['Express', 'Fastify'] as const)(
  'in %s a stream is under way until it ends or its client leaves, and not a moment longer',
  async (framework) => {
    const guard = createGuard({ ...GUARD, shedding: { maxInFlight: 1 } })
    open.push(() => guard.close())
    const streams: Readable[] = []
    const endless = () => {
      const stream = new Readable({ read() {} })
      stream.push('data: 1\n\n')
      streams.push(stream)
      return stream
    }
    let server: Server
    if (framework === 'Express') {
      const app = express()
      app.use(expressGuard({ guard }))
      app.use((_request, response) => void endless().pipe(response))
      server = createServer(app)
    } else {
      const app = createFastify({ forceCloseConnections: true })
      await app.register(fastifyHoldfast, { guard })
      app.post('/x', (_request, reply) => reply.type('text/event-stream').send(endless()))
      await app.ready()
      server = app.server
    }
    const { port } = await listening(server)
    const first = await fetch(`http://127.0.0.1:${port}/x`, { method: 'POST' })
    expect([first.status, await post(port)]).toEqual([200, 503])
    streams[0]!.push(null)
    await first.text()
    const second = await fetch(`http://127.0.0.1:${port}/x`, { method: 'POST' })
    expect([second.status, await post(port)]).toEqual([200, 503])
    await second.body?.cancel()
    await expect.poll(() => post(port)).toBe(200)
  },
)

test.each(['Express', 'Fastify'] as const)(
  'in %s an answer that was cut off gives nothing back, whatever its status said',
  async (framework) => {
    const guard = createGuard({ rules: { '/x': '9/minute' }, shedding: false })
    open.push(() => guard.close())
    const begun = () => {
      const stream = new Readable({ read() {} })
      stream.push('taken')
      return stream
    }
    let server: Server
    if (framework === 'Express') {
      const app = express()
      app.use(expressGuard({ guard }))
      app.post('/x', (request, response) => {
        if ('x-slow' in request.headers) begun().pipe(response.status(409))
        else response.end('in')
      })
      server = createServer(app)
    } else {
      const app = createFastify({ forceCloseConnections: true })
      await app.register(fastifyHoldfast, { guard })
      app.post('/x', (request, reply) => ('x-slow' in request.headers ? reply.code(409).send(begun()) : 'in'))
      await app.ready()
      server = app.server
    }
    const { port } = await listening(server)
    const socket = slowly(port)
    await new Promise((resolve) => socket.once('data', resolve))
    socket.destroy()
    await expect.poll(() => connections(server)).toBe(0)
    const next = await fetch(`http://127.0.0.1:${port}/x`, { method: 'POST' })
    expect(next.headers.get('x-ratelimit-remaining')).toBe('7')
    await next.text()
  },
)
