import { vi } from 'vitest'

/** A call as the wire saw it. */
export interface Call {
  readonly atMs: number
  readonly method: string
  readonly path: string
  readonly request: Request
}

export type Answer = (call: Call) => Response | Promise<Response>

/** A server on the other end of `fetch`: answers after `latencyMs` of virtual time, and remembers what it saw. */
export function startApiServer(answer: Answer = () => Response.json({ ok: true }), latencyMs = 10) {
  const calls: Call[] = []
  const server = {
    calls,
    answer,
    /** How many are under way, and the most that ever were. */
    open: 0,
    mostOpen: 0,
    paths: () => calls.map(({ path }) => path),
    fetch: vi.fn((input: string | URL | Request, init?: RequestInit): Promise<Response> => {
      const request = new Request(typeof input === 'string' ? new URL(input, 'http://app.example') : input, init)
      const url = new URL(request.url)
      const call = { atMs: performance.now(), method: request.method, path: url.pathname + url.search, request }
      const { signal } = init ?? {}
      calls.push(call)
      server.mostOpen = Math.max(server.mostOpen, ++server.open)
      return new Promise((resolve, reject) => {
        const end = () => server.open--
        const abort = () => {
          end()
          clearTimeout(timer)
          reject(request.signal.reason)
        }
        const timer = setTimeout(() => {
          request.signal.removeEventListener('abort', abort)
          end()
          new Promise<Response>((start) => start(server.answer(call))).then(resolve, reject)
        }, latencyMs)
        if (signal?.aborted || request.signal.aborted) return abort()
        request.signal.addEventListener('abort', abort, { once: true })
      })
    }),
  }
  return server
}

/** The guard's own refusal, as src/http/refusal.ts writes it. */
export function refusal(seconds: number, status: 429 | 503 = 429): Response {
  const code = status === 429 ? 'RATE_LIMITED' : 'SERVICE_UNAVAILABLE'
  return Response.json(
    {
      code,
      message: "You've reached a rate limit. Please wait a few minutes and try again.",
      retryAfterSeconds: seconds,
      retryAfterAt: new Date(Date.now() + seconds * 1000).toISOString(),
      status,
    },
    { status, headers: { 'retry-after': String(seconds), 'cache-control': 'no-store' } },
  )
}

/** An answer of somebody else's. */
export const foreign = (status: number, headers: Record<string, string> = {}, body = '') =>
  new Response(body, { status, headers })
