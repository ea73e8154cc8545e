/** What is read of a request of node:http, Express or Connect to make it a web-standard one. */
export interface IncomingRequest {
  readonly method?: string | undefined
  readonly url?: string | undefined
  /** The target before a router cut off what it is mounted at. */
  readonly originalUrl?: string | undefined
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  /** What a parser in front left of the body. */
  readonly body?: unknown
  readonly rawBody?: unknown
  readonly readableEnded?: boolean
  [Symbol.asyncIterator]?(): AsyncIterator<unknown>
}

/** What is used of its answer. */
export interface OutgoingResponse {
  statusCode: number
  setHeader(name: string, value: string | string[]): unknown
  end(body?: string): unknown
}

/** How the raw body was had: as it came, or (a parser had read it) written anew from what the parser made of it. */
export type BodySource = 'raw' | 'rewritten' | 'gone'

/**
 * A request of node:http as a web-standard one; undefined where its target is no path. Its body is read only when
 * somebody asks for it, so a request that turns out to be for somebody else still has it.
 */
export function webRequestOf(incoming: IncomingRequest): { request: Request; body: BodySource } | undefined {
  const target = incoming.originalUrl ?? incoming.url ?? '/'
  // Whatever Host says: the origin is publicUrl's.
  const url = target.startsWith('/') ? `http://localhost${target}` : target
  if (!URL.canParse(url)) return undefined
  const headers = headersOf(incoming.headers)
  const method = incoming.method ?? 'GET'
  if (method === 'GET' || method === 'HEAD') return { request: new Request(url, { method, headers }), body: 'raw' }
  const [source, body] = bodyOf(incoming)
  // What a chunk's length was does not hold for a body that was written anew.
  if (source !== 'raw') headers.delete('content-length')
  const init: RequestInit & { duplex: 'half' } = {
    method,
    headers,
    duplex: 'half',
    ...(body !== undefined && { body }),
  }
  return { request: new Request(url, init), body: source }
}

/** Headers as web standards have them; HTTP/2's own (`:path`) left out. */
export function headersOf(incoming: IncomingRequest['headers']): Headers {
  const headers = new Headers()
  for (const [name, value] of Object.entries(incoming)) {
    if (value === undefined || name.startsWith(':')) continue
    for (const line of typeof value === 'string' ? [value] : value) headers.append(name, line)
  }
  return headers
}

/** Writes a web-standard answer. */
export async function writeAnswer(response: Response, outgoing: OutgoingResponse): Promise<void> {
  outgoing.statusCode = response.status
  const cookies = response.headers.getSetCookie()
  for (const [name, value] of response.headers) if (name !== 'set-cookie') outgoing.setHeader(name, value)
  if (cookies.length > 0) outgoing.setHeader('set-cookie', cookies)
  outgoing.end(await response.text())
}

function bodyOf(incoming: IncomingRequest): [BodySource, (Uint8Array<ArrayBuffer> | string | ReadableStream)?] {
  for (const kept of [incoming.rawBody, incoming.body]) {
    if (typeof kept === 'string') return ['raw', kept]
    if (kept instanceof Uint8Array) return ['raw', new Uint8Array(kept)]
  }
  if (typeof incoming.body === 'object' && incoming.body !== null && incoming.readableEnded)
    // A signature over these bytes proves that they are what was sent; any other is refused.
    return ['rewritten', JSON.stringify(incoming.body)]
  if (incoming.readableEnded) return ['gone']
  return ['raw', lazily(incoming)]
}

/** Attached to the request only when it is read. */
function lazily(incoming: IncomingRequest): ReadableStream {
  let chunks: AsyncIterator<unknown> | undefined
  return new ReadableStream(
    {
      async pull(controller) {
        chunks ??= incoming[Symbol.asyncIterator]?.()
        const next = await chunks?.next()
        if (!next || next.done) controller.close()
        else controller.enqueue(next.value)
      },
      async cancel() {
        await chunks?.return?.()
      },
    },
    { highWaterMark: 0 },
  )
}
