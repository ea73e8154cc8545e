import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as realDelay } from 'node:timers/promises'
import { AuthError, createHoldfast, type Holdfast, type HoldfastOptions, type RequireAuthOptions } from 'holdfast'
import {
  createVirtualClock,
  type SimulatedUser,
  type Simulator,
  type SimulatorOptions,
  startSimulator,
  type VirtualClock,
} from 'holdfast/simulator'

export const SECOND = 1_000
export const MINUTE = 60 * SECOND
export const HOUR = 60 * MINUTE
export const GUILDS = '/users/@me/guilds'

/** What a visitor of the app sees. */
export interface Page {
  readonly status: number
  readonly code?: string
  readonly retryAfter: string | null
  readonly userId?: string
  readonly guildIds?: readonly string[]
  readonly stale?: boolean
  readonly reason?: string
  readonly retryAt?: Date
  readonly fetchedAt?: Date
}

/** A simulated Discord, an instance in front of it, and a clock that both go by. */
export interface World {
  readonly clock: VirtualClock
  readonly discord: Simulator
  readonly holdfast: Holdfast
  readonly user: SimulatedUser
  /**
   * Resolves with the promise, moving virtual time on whenever nothing else happens any more: by `stepMs`, else in
   * steps that begin small and grow.
   */
  drive<T>(promise: Promise<T>, stepMs?: number): Promise<T>
  /** Lets everything run that needs no time to pass. */
  settle(): Promise<void>
  /** The calls that reached Discord from now until the returned function is called. */
  watch(): () => Simulator['calls']
  asked(
    user: { accessToken: string },
    options?: RequireAuthOptions,
    method?: string,
  ): ReturnType<Holdfast['requireAuth']>
  [Symbol.asyncDispose](): Promise<void>
}

export async function openWorld(
  options: { simulator?: SimulatorOptions; holdfast?: HoldfastOptions } = {},
): Promise<World> {
  const clock = createVirtualClock()
  const discord = await startSimulator({ clock, ...options.simulator })
  const holdfast = createHoldfast({
    clock,
    random: () => 0.5,
    ...options.holdfast,
    discord: { baseUrl: discord.url, clientId: discord.clientId, ...options.holdfast?.discord },
  })
  let events = 0
  holdfast.on(() => {
    events++
  })
  const settle = async () => {
    // Quiet is when nothing was heard of Discord, of Holdfast or of an app for some turns of the event loop.
    for (let quiet = 0, heard = -1; quiet < 3; ) {
      for (let immediate = 0; immediate < 5; immediate++) await new Promise((resolve) => setImmediate(resolve))
      await realDelay(1)
      const now = discord.calls.length + events + pages
      quiet = now === heard ? quiet + 1 : 0
      heard = now
    }
  }
  return {
    clock,
    discord,
    holdfast,
    user: discord.users[0]!,
    settle,
    drive: (promise, stepMs) => drive(clock, promise, settle, stepMs),
    watch() {
      const before = discord.calls.length
      return () => discord.calls.slice(before)
    },
    asked: ({ accessToken }, required, method = 'GET') =>
      holdfast.requireAuth({ method, headers: new Headers({ authorization: `Bearer ${accessToken}` }) }, required),
    async [Symbol.asyncDispose]() {
      // Also a deadline of 0 is over only when the clock moves.
      await drive(clock, holdfast.close({ deadlineMs: 0 }), settle)
      await discord.close()
    },
  }
}

async function drive<T>(
  clock: VirtualClock,
  promise: Promise<T>,
  settle: () => Promise<void>,
  stepMs?: number,
): Promise<T> {
  let settled = false
  const done = promise.finally(() => {
    settled = true
  })
  done.catch(() => {})
  for (let steps = 0; ; steps++) {
    await settle()
    if (settled) return done
    await clock.advance(stepMs ?? (steps < 10 ? 100 : 1_000))
  }
}

/** What a request was answered with: the page, or the code of the refusal. */
export async function outcome(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => 'let in',
    (error: unknown) => {
      if (error instanceof AuthError) return error.code
      throw error
    },
  )
}

/** How many requests apps have received and answered. */
let pages = 0

/** An app of somebody's, on node:http, whose only page shows the guilds of whoever asks. */
export async function openApp(holdfast: Holdfast) {
  const server = createServer(async (request, response) => {
    pages++
    response.once('close', () => {
      pages++
    })
    const headers = new Headers({ authorization: request.headers.authorization ?? '' })
    const asked = { headers, method: request.method ?? 'GET' }
    try {
      const auth = await holdfast.requireAuth(asked)
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(auth))
    } catch (error) {
      if (!(error instanceof AuthError)) return response.writeHead(500).end('{}')
      const refusal = error.toResponse(asked)
      response.writeHead(refusal.status, Object.fromEntries(refusal.headers)).end(await refusal.text())
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
  return {
    url,
    async visit(accessToken: string, method = 'GET'): Promise<Page> {
      const response = await fetch(url, { method, headers: { authorization: `Bearer ${accessToken}` } })
      const body = (await response.json()) as Record<string, string> & {
        user?: { id: string }
        guilds?: Array<{ id: string }>
        stale?: boolean
      }
      return {
        status: response.status,
        retryAfter: response.headers.get('retry-after'),
        ...(body.code && { code: body.code }),
        ...(body.user && { userId: body.user.id }),
        ...(body.guilds && { guildIds: body.guilds.map(({ id }) => id) }),
        ...(body.stale !== undefined && { stale: body.stale }),
        ...(body.reason && { reason: body.reason }),
        ...(body.retryAt && { retryAt: new Date(body.retryAt) }),
        ...(body.guildsFetchedAt && { fetchedAt: new Date(body.guildsFetchedAt) }),
      }
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}
