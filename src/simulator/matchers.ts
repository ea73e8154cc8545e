import '../config/runtime.ts'

import { isDeepStrictEqual } from 'node:util'

/** What a matcher reads of a call; `simulator.calls` and what the levers give over HTTP both have it. */
interface Received {
  readonly method: string
  readonly route: string
  readonly path: string
  readonly query: string
  readonly status: number
  readonly body?: unknown
}

interface Outcome {
  readonly pass: boolean
  readonly message: () => string
}

/** Whatever has a ledger: a simulator, or a list of its calls. */
type Ledger = { readonly calls: readonly Received[] } | readonly Received[]

/**
 * Matchers for Vitest and Jest. Once, in a set-up file: `expect.extend(matchers)`.
 *
 * - `expect(discord).toHaveReceived('POST', '/channels/:id/messages', { content: 'hi' })`: some call had this method,
 *   this route (parameters by any name, real ids, or a query after `?`), and a body with at least these fields;
 *   asymmetric matchers may stand for values.
 * - `expect(discord).toHaveReceivedTimes(2, 'GET', '/users/@me')`: exactly so many calls.
 * - `expect(discord).toHaveStayedWithinLimits()`: no call was answered with 429 or counted towards a ban.
 */
export const matchers = {
  toHaveReceived(ledger: Ledger, method: string, route: string, body?: unknown): Outcome {
    const found = callsOf(ledger).filter(
      (call) => isCall(call, method, route) && (body === undefined || fits(call.body, body)),
    )
    return outcome(found.length > 0, ledger, `${method} ${route}${body === undefined ? '' : ` with ${shown(body)}`}`)
  },
  toHaveReceivedTimes(ledger: Ledger, times: number, method: string, route: string, body?: unknown): Outcome {
    const found = callsOf(ledger).filter(
      (call) => isCall(call, method, route) && (body === undefined || fits(call.body, body)),
    )
    return outcome(found.length === times, ledger, `${method} ${route} ${times} times (it did ${found.length} times)`)
  },
  toHaveStayedWithinLimits(ledger: Ledger): Outcome {
    const over = callsOf(ledger).filter(({ status }) => status === 429)
    return {
      pass: over.length === 0,
      message: () =>
        over.length === 0
          ? 'expected some call to be answered with 429, and none was'
          : `expected no 429, and there were ${over.length}:\n${list(over)}`,
    }
  },
}

/**
 * For TypeScript: `declare module 'vitest' { interface Matchers<R, T> extends DiscordMatchers<R> {} }`, with the type
 * parameters as your version of Vitest has them.
 */
export interface DiscordMatchers<Result = unknown> {
  toHaveReceived(method: string, route: string, body?: unknown): Result
  toHaveReceivedTimes(times: number, method: string, route: string, body?: unknown): Result
  toHaveStayedWithinLimits(): Result
}

function callsOf(ledger: Ledger): readonly Received[] {
  const calls = Array.isArray(ledger) ? ledger : (ledger as { calls?: unknown } | null)?.calls
  if (!Array.isArray(calls)) throw new TypeError('this matcher is for a simulator, or a list of its calls')
  return calls
}

function isCall(call: Received, method: string, route: string): boolean {
  if (typeof route !== 'string' || !route.startsWith('/'))
    throw new TypeError(`a route begins with /, such as '/users/@me'; not ${shown(route)}`)
  if (call.method !== method.toUpperCase()) return false
  const [path = '', query] = route.replace(/^\/api(\/v\d+)?(?=\/)/, '').split('?', 2)
  if (query !== undefined && !isQueryIn(query, call.query)) return false
  const generic = (text: string) => text.replace(/:[^/]+|\{[^/]+\}/g, ':')
  if (generic(call.route) === generic(path)) return true
  const wanted = path.split('/')
  const asked = call.path.split('/')
  return (
    wanted.length === asked.length &&
    wanted.every((segment, nth) => /^[:{]/.test(segment) || segment === asked[nth] || segment === decoded(asked[nth]!))
  )
}

function isQueryIn(wanted: string, query: string): boolean {
  const given = new URLSearchParams(query)
  return [...new URLSearchParams(wanted)].every(([name, value]) => given.getAll(name).includes(value))
}

/** Whether `given` has at least what `wanted` says: objects by their fields, lists whole and in order. */
function fits(given: unknown, wanted: unknown): boolean {
  if (wanted instanceof RegExp) return typeof given === 'string' && wanted.test(given)
  if (wanted !== null && typeof wanted === 'object') {
    if ('asymmetricMatch' in wanted && typeof wanted.asymmetricMatch === 'function')
      return Boolean(wanted.asymmetricMatch(given))
    if (Array.isArray(wanted))
      return Array.isArray(given) && given.length === wanted.length && wanted.every((one, nth) => fits(given[nth], one))
    if (given === null || typeof given !== 'object') return false
    return Object.entries(wanted).every(([name, value]) => fits(Reflect.get(given, name), value))
  }
  return isDeepStrictEqual(given, wanted)
}

function outcome(pass: boolean, ledger: Ledger, what: string): Outcome {
  return {
    pass,
    message: () =>
      `expected Discord ${pass ? 'not ' : ''}to have received ${what}; it received:\n${list(callsOf(ledger))}`,
  }
}

/** The last calls, a line each. */
function list(calls: readonly Received[]): string {
  if (calls.length === 0) return '  nothing'
  const lines = calls.slice(-20).map(({ method, path, query, status, body }) => {
    const asked = query === '' ? path : `${path}?${query}`
    return `  ${method} ${asked} → ${status}${body === undefined ? '' : ` ${shown(body).slice(0, 200)}`}`
  })
  return (calls.length > 20 ? [`  … ${calls.length - 20} before`, ...lines] : lines).join('\n')
}

function shown(value: unknown): string {
  return JSON.stringify(value) ?? String(value)
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
