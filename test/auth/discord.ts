import nock from 'nock'
import type { AuthError } from '../../src/auth/auth-error.ts'
import type { HoldfastOptions } from '../../src/config/holdfast-options.ts'
import type { HoldfastEvent } from '../../src/events/events.ts'
import { createHoldfast } from '../../src/instance/holdfast.ts'
import type { Session } from '../../src/sessions/session.ts'
import { createVirtualClock } from '../../src/simulator/virtual-clock.ts'

/** The bits that the tests name, written out, so that they do not agree with a mistake in the table they check. */
export const MANAGE_GUILD = '32'
export const MANAGE_ROLES = '268435456'
export const ADMINISTRATOR = '8'

const ORIGIN = 'https://discord.test'
export const CLIENT_ID = '1234567890'

export const guild = (id: string, permissions = '0', owner = false) => ({
  id,
  name: `Guild ${id}`,
  icon: null,
  owner,
  permissions,
  features: [],
})

/** Discord's own refusals, as JSON. */
export const UNAUTHORIZED = { message: '401: Unauthorized', code: 0 }
export const FORBIDDEN = { message: 'Missing Access', code: 50001 }
export const BLOCK_PAGE = '<!doctype html><title>Access denied</title>'
export const throttled = (seconds: number) => ({
  message: 'You are being rate limited.',
  retry_after: seconds,
  global: false,
})
const LIMIT_HEADERS = { 'x-ratelimit-limit': '1', 'x-ratelimit-remaining': '0', 'x-ratelimit-reset-after': '1' }

type Answer = { status: number; body: unknown; headers?: Record<string, string> }
export const ok = (body: unknown): Answer => ({ status: 200, body })
export const refused401: Answer = { status: 401, body: UNAUTHORIZED }
export const refused403: Answer = { status: 403, body: FORBIDDEN }
export const blocked403: Answer = { status: 403, body: BLOCK_PAGE, headers: { 'content-type': 'text/html' } }
export const down: Answer = { status: 503, body: 'upstream connect error', headers: { 'content-type': 'text/plain' } }
export const limited = (seconds: number): Answer => ({
  status: 429,
  body: throttled(seconds),
  headers: { ...LIMIT_HEADERS, 'retry-after': String(Math.ceil(seconds)), 'x-ratelimit-scope': 'user' },
})

/** An instance in virtual time, in front of a Discord whose answers are put in by path. Every call is kept. */
export function setUp(options: HoldfastOptions & { sessions?: Record<string, Session> } = {}) {
  const { sessions, ...rest } = options
  const clock = createVirtualClock()
  const calls: Array<{ path: string; authorization: string }> = []
  const answers: Record<string, Answer | ((authorization: string) => Answer)> = {}
  nock(ORIGIN)
    .persist()
    .get(/.*/)
    .reply((request: Request) => {
      const path = new URL(request.url).pathname.replace(/^\/api/, '')
      const authorization = request.headers.get('authorization') ?? ''
      calls.push({ path, authorization })
      const answer = answers[path] ?? { status: 404, body: { message: '404: Not Found', code: 0 } }
      const { status, body, headers } = typeof answer === 'function' ? answer(authorization) : answer
      return [status, body as string, { 'content-type': 'application/json', ...headers }]
    })
  const holdfast = createHoldfast({
    clock,
    random: () => 0.5,
    ...rest,
    discord: { baseUrl: `${ORIGIN}/api`, clientId: CLIENT_ID, maxRetries: 0, ...rest.discord },
    ...(sessions && { session: (request) => sessions[request.headers.get('cookie') ?? ''] ?? null }),
  })
  const events: HoldfastEvent[] = []
  holdfast.on((event) => events.push(event))
  return { clock, holdfast, answers, calls, events, to: (path: string) => calls.filter((call) => call.path === path) }
}

export const GUILDS = '/users/@me/guilds'

/** A request with a session cookie. */
export const request = (cookie = 'ann', init: RequestInit = {}) =>
  new Request('https://app.test/page', { ...init, headers: { cookie, ...(init.headers as Record<string, string>) } })

export const SESSIONS: Record<string, Session> = {
  ann: { userId: '1001', accessToken: 'secret-token-of-ann' },
  'other-ann': { userId: '1001', accessToken: 'second-token-of-ann' },
  bob: { userId: '1002', accessToken: 'secret-token-of-bob' },
}

export const refusal = (promise: Promise<unknown>) =>
  promise.then(
    (value) => {
      throw new Error(`let in, with ${JSON.stringify(value)}`)
    },
    (error: unknown) => error as AuthError,
  )
