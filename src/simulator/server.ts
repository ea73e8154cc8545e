import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Duplex } from 'node:stream'
import { alarm, type Clock, type Milliseconds } from '../time/clock.ts'
import type { Incoming, Ruling } from './exchange.ts'
import type { Random } from './world/random.ts'

/** A listening server. */
export interface Server {
  readonly port: number
  /** Ends every connection, also those that hang, and every pending delay. */
  close(): Promise<void>
}

const MAX_BODY_BYTES = 1024 * 1024
/** Files come in multipart bodies: Discord takes 10 MiB each, and 25 MiB in all. */
const MAX_MULTIPART_BYTES = 26 * 1024 * 1024
const EMPTY = Buffer.alloc(0)

/** Carries requests to the referee and its rulings back; the latency and the damage on the wire happen here. */
export async function startServer(
  port: number,
  host: string,
  clock: Clock,
  latencyMs: readonly [Milliseconds, Milliseconds],
  random: Random,
  judge: (incoming: Incoming) => Ruling,
  front: (incoming: Incoming) => Ruling | Promise<Ruling> | undefined,
  upgrade: (request: IncomingMessage, socket: Duplex, head: Buffer) => void,
): Promise<Server> {
  const pending = new Set<() => void>()
  // Counts up with everything that happens at the sockets, so that a virtual clock can wait until nothing does.
  let activity = 0
  const unwatch = watchedBy(clock, () => activity)
  let closing: Promise<void> | undefined
  const [least, most] = latencyMs

  const after = (ms: Milliseconds, act: () => void): (() => void) => {
    const cancel = alarm(clock, ms, () => {
      pending.delete(cancel)
      act()
    })
    pending.add(cancel)
    return cancel
  }

  /** Forgotten when the client goes away. */
  const whileOpen = (response: ServerResponse, ms: Milliseconds, act: () => void) => {
    const forget = () => {
      pending.delete(cancel)
      cancel()
    }
    const cancel = after(ms, () => {
      response.off('close', forget)
      act()
    })
    response.once('close', forget)
  }

  const leave = (ruling: Ruling, response: ServerResponse) => {
    if (ruling.paceMs > 0 && ruling.delivery === 'whole') trickle(ruling, response)
    else deliver(ruling, response)
  }

  const trickle = ({ status, headers, body, paceMs }: Ruling, response: ServerResponse) => {
    if (response.destroyed) return
    const bytes = Buffer.from(body)
    response.writeHead(status, headers)
    response.flushHeaders()
    const next = (at: number) => {
      if (at >= bytes.length) return response.end()
      whileOpen(response, paceMs, () => {
        response.write(bytes.subarray(at, at + 1))
        next(at + 1)
      })
    }
    next(0)
  }

  const handle = (request: IncomingMessage, response: ServerResponse, body: Buffer | null) => {
    if (closing) return
    const incoming = incomingOf(request, body)
    const own = front(incoming)
    if (own instanceof Promise) {
      void own.then((ruling) => deliver(ruling, response))
      return
    }
    if (own) return deliver(own, response)
    const halfMs = (least === most ? least : least + (most - least) * random.next()) / 2
    const arrive = () => {
      const ruling = judge(incoming)
      const leaveMs = halfMs + ruling.delayMs
      if (leaveMs <= 0) leave(ruling, response)
      else whileOpen(response, leaveMs, () => leave(ruling, response))
    }
    if (halfMs > 0) after(halfMs, arrive)
    else arrive()
  }

  const server = createServer((request, response) => {
    activity++
    // A client that goes away is its own affair.
    request.on('error', () => {})
    response.on('error', () => {})
    response.on('close', () => activity++)
    const { headers } = request
    if (headers['content-length'] === undefined && headers['transfer-encoding'] === undefined) {
      handle(request, response, EMPTY)
      return
    }
    readBody(request, (body) => handle(request, response, body))
  })
  server.on('connection', () => activity++)
  server.on('upgrade', (request, socket, head) => {
    // As for requests: a client that goes away is its own affair.
    socket.on('error', () => {})
    upgrade(request, socket, head)
  })
  // An idle connection that the server ends while a client reuses it would look like a fault nobody asked for.
  server.keepAliveTimeout = 0

  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, () => {
      server.off('error', reject)
      resolve()
    })
  })

  return {
    port: (server.address() as AddressInfo).port,
    close() {
      closing ??= new Promise((resolve) => {
        unwatch()
        for (const cancel of pending) cancel()
        pending.clear()
        server.close(() => resolve())
        server.closeAllConnections()
      })
      return closing
    },
  }
}

function readBody(request: IncomingMessage, done: (body: Buffer | null) => void): void {
  const chunks: Buffer[] = []
  let size = 0
  const isMultipart = /^multipart\//i.test(request.headers['content-type'] ?? '')
  const most = isMultipart ? MAX_MULTIPART_BYTES : MAX_BODY_BYTES
  request.on('data', (chunk: Buffer) => {
    if (size > most) return
    size += chunk.length
    if (size <= most) chunks.push(chunk)
    else done(null)
  })
  request.on('end', () => {
    if (size <= most) done(chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks))
  })
}

function incomingOf(request: IncomingMessage, body: Buffer | null): Incoming {
  const url = request.url ?? '/'
  const queryAt = url.indexOf('?')
  return {
    method: request.method ?? 'GET',
    path: queryAt < 0 ? url : url.slice(0, queryAt),
    query: queryAt < 0 ? '' : url.slice(queryAt + 1),
    headers: request.headers,
    // Bodies mean something only where a route writes; a GET's is read and ignored.
    body: body !== null && (request.method === 'GET' || request.method === 'HEAD') ? EMPTY : body,
    address: request.socket.remoteAddress ?? '',
  }
}

function deliver({ status, headers, body, delivery }: Ruling, response: ServerResponse): void {
  if (response.destroyed || delivery === 'hang') return
  const bytes = Buffer.byteLength(body)
  if (delivery === 'reset' || (delivery === 'truncate' && bytes === 0)) {
    // RST, not FIN: the client shall see ECONNRESET.
    response.socket?.resetAndDestroy()
    return
  }
  response.writeHead(status, headers)
  if (delivery === 'whole') {
    response.end(body)
    return
  }
  response.write(Buffer.from(body).subarray(0, bytes >> 1), () => response.destroy())
}

function watchedBy(clock: Clock, count: () => number): () => void {
  return 'watch' in clock && typeof clock.watch === 'function' ? clock.watch(count) : () => {}
}
