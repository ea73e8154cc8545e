// One process of a fleet: somebody's backend with Holdfast in front of Discord. Started by `fleet.ts`, configured by the
// environment as any other program; FLEET_OPTIONS has what no variable is for. It says over IPC where it listens and
// when Redis came and went, and prints nothing: what it prints is a finding.
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { AuthError, createHoldfast, type HoldfastOptions } from 'holdfast'
import { type Standstill, watchLateness } from './lateness.ts'

/** What a process tells whoever started it. */
export type Said =
  | { readonly kind: 'listening'; readonly port: number; readonly redis: 'none' | 'up' | 'away' }
  /** Redis came or went, as this process sees it; wall clock. */
  | { readonly kind: 'redis'; readonly up: boolean; readonly at: number }
  /** Its event loop stood still. */
  | { readonly kind: 'late'; readonly stretches: readonly Standstill[] }

const say = (said: Said) => void process.send?.(said)
// Whoever started us may be gone; that is no reason to stay, nor one to die.
process.channel?.unref()
process.on('disconnect', () => {})

if (process.env.FLEET_TELLS_LATENESS) {
  let stretches: Standstill[] = []
  watchLateness((standstill) => stretches.push(standstill))
  setInterval(() => {
    if (stretches.length > 0) say({ kind: 'late', stretches })
    stretches = []
  }, 200).unref()
}

const options: HoldfastOptions = JSON.parse(process.env.FLEET_OPTIONS ?? '{}')
const holdfast = createHoldfast({
  ...options,
  session: (request) => {
    const [userId, accessToken] = (request.headers.get('authorization') ?? '').replace(/^Bearer /, '').split(' ')
    return userId && accessToken ? { userId, accessToken } : null
  },
})
holdfast.on((event) => {
  if (event.type !== 'breaker' || event.name !== 'redis') return
  if (event.state === 'half-open') return
  say({ kind: 'redis', up: event.state === 'closed', at: event.at })
})

await holdfast.ready({ deadlineMs: Number(process.env.FLEET_READY_MS ?? 1_000) })

const server = createServer((request, response) => {
  answer(request, response).catch((error) => send(response, 500, { code: 'BUG', message: String(error?.stack) }))
})
server.keepAliveTimeout = 60_000
server.listen(0, '127.0.0.1')
await once(server, 'listening')
const { redis } = holdfast.stats()
if (redis === 'up') say({ kind: 'redis', up: true, at: Date.now() })
say({ kind: 'listening', port: (server.address() as AddressInfo).port, redis })

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = new URL(request.url ?? '/', 'http://app.example')
  switch (url.pathname) {
    case '/guilds': {
      const asked = {
        method: 'GET',
        headers: new Headers({ authorization: request.headers.authorization ?? '' }),
      }
      const maxAgeMs = url.searchParams.get('maxAgeMs')
      try {
        const auth = await holdfast.requireAuth(asked, maxAgeMs === null ? {} : { maxAgeMs: Number(maxAgeMs) })
        const ids = url.searchParams.has('brief') ? [] : [...auth.guilds].map(({ id }) => id)
        return send(response, 200, {
          userId: auth.user.id,
          guildIds: ids,
          stale: auth.stale,
          source: auth.source,
          fetchedAt: auth.guildsFetchedAt.getTime(),
          ...(auth.reason && { reason: auth.reason }),
        })
      } catch (error) {
        if (!(error instanceof AuthError)) throw error
        return send(response, error.status, {
          code: error.code,
          message: `${error.message} | ${String((error.cause as Error | undefined)?.message ?? '')}`,
          retryAfterMs: error.retryAfterMs ?? null,
        })
      }
    }
    case '/many': {
      // As many callers at once as a busy second has, without as many connections.
      const [userId = '', accessToken = ''] = url.searchParams.getAll('as')
      const callers = Array.from({ length: Number(url.searchParams.get('callers')) }, () =>
        holdfast.memberships({ userId, accessToken }),
      )
      const ends = await Promise.allSettled(callers)
      const sizes = ends.map((end) => (end.status === 'fulfilled' ? end.value.guilds.size : -1))
      return send(response, 200, { answered: sizes.filter((size) => size >= 0).length, sizes: [...new Set(sizes)] })
    }
    case '/invalidate':
      await holdfast.cache.invalidateUser(url.searchParams.get('user') ?? '')
      return send(response, 200, {})
    case '/stats': {
      globalThis.gc?.()
      return send(response, 200, {
        ...holdfast.stats(),
        heapBytes: process.memoryUsage().heapUsed,
        rssBytes: process.memoryUsage().rss,
      })
    }
    case '/close':
      // What is under way is answered, then nothing is left to do, and the process ends by itself.
      server.close()
      send(response, 200, {}, { connection: 'close' })
      server.closeIdleConnections()
      await holdfast.close({ deadlineMs: Number(url.searchParams.get('deadlineMs') ?? 1_000) })
      server.closeAllConnections()
      return
    default:
      return send(response, 404, { code: 'NO_SUCH_PAGE' })
  }
}

function send(response: ServerResponse, status: number, body: unknown, headers: Record<string, string> = {}): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body))
}
