import { HoldfastError } from '../errors/errors.ts'
import { fingerprint } from '../secrets/key-ring.ts'
import { tokenProblem } from '../secrets/token.ts'
import type { Milliseconds } from '../time/clock.ts'
import type { Call, Method, Priority } from './call.ts'
import { checkPath, routeOf } from './route.ts'

/** How a call to Discord is made. Every default is the instance's setting. */
export interface DiscordFetchOptions {
  /** Default GET. */
  method?: Method
  /** Appended to the path; undefined values are left out. */
  query?: Record<string, string | number | boolean | undefined>
  /** Sent as JSON. */
  body?: unknown
  /** Tries after the first. */
  maxRetries?: number
  /** First backoff where Discord names no wait, in milliseconds; then doubling. */
  retryDelay?: Milliseconds
  /** All waits of this call together: a wait that would pass it fails at once with `retryAfterMs`. Infinity waits for ever. */
  maxWaitMs?: Milliseconds
  /** The whole call, waits and attempts. Default: none beyond `maxWaitMs` and each attempt's time-out. */
  deadlineMs?: Milliseconds
  /** `'transient'` also tries again after network errors and 500, 502, 503 and 504, for GET, PUT and DELETE. */
  retryOn?: 'rate-limit' | 'transient'
  /** Default `'Bearer'`. */
  tokenType?: 'Bearer' | 'Bot'
  /** Whose limits this call spends: the user's id where it is known, so that they survive a new token. Default: a hash of the token. */
  principal?: string
  /** Default `'page'`. When Discord is about to ban this address, background work stops first and logins last. */
  priority?: Priority
  /** Ends this caller's wait at once; the request itself goes on while somebody else waits for the same one. */
  signal?: AbortSignal
}

/** What a call has to keep to while it waits and retries. */
export interface Rules {
  readonly maxRetries: number
  readonly retryDelayMs: Milliseconds
  readonly maxWaitMs: Milliseconds
  readonly retryOn: 'rate-limit' | 'transient'
}

/** The call that the arguments ask for. Throws HoldfastError INVALID_PATH, INVALID_TOKEN or INVALID_OPTION. */
export function toCall(path: unknown, token: unknown, options: DiscordFetchOptions): Call {
  if (typeof options !== 'object' || options === null) throw invalidOption('options', 'an object')
  checkPath(path)
  checkToken(token)
  const { method = 'GET', tokenType = 'Bearer', principal, priority = 'page', query, body, signal } = options
  oneOf('method', method, ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'])
  oneOf('tokenType', tokenType, ['Bearer', 'Bot'])
  oneOf('priority', priority, ['login', 'page', 'background'])
  if (principal !== undefined && (typeof principal !== 'string' || principal === ''))
    throw invalidOption('principal', 'a string that is not empty')
  if (query !== undefined && (typeof query !== 'object' || query === null))
    throw invalidOption('query', 'an object of strings, numbers and booleans')
  if (signal !== undefined && !(signal instanceof AbortSignal)) throw invalidOption('signal', 'an AbortSignal')
  if (body !== undefined && method === 'GET') throw invalidOption('body', 'left out of a GET')
  const tokenId = fingerprint(token)
  return {
    method,
    path: query ? withQuery(path, query) : path,
    route: routeOf(method, path),
    token,
    tokenType,
    tokenId,
    principal: principal ?? `token:${tokenId}`,
    priority,
    body: body === undefined ? undefined : toJson(body),
  }
}

/** What the call has to keep to: its own options, else the instance's. Throws HoldfastError INVALID_OPTION. */
export function toRules(options: DiscordFetchOptions, defaults: Rules): Rules {
  const {
    maxRetries = defaults.maxRetries,
    retryDelay: retryDelayMs = defaults.retryDelayMs,
    maxWaitMs = defaults.maxWaitMs,
    retryOn = defaults.retryOn,
    deadlineMs = Number.POSITIVE_INFINITY,
  } = options
  if (!Number.isInteger(maxRetries) || maxRetries < 0) throw invalidOption('maxRetries', 'a whole number from 0')
  if (!isMilliseconds(retryDelayMs) || retryDelayMs === Number.POSITIVE_INFINITY)
    throw invalidOption('retryDelay', 'milliseconds, finite and not negative')
  if (!isMilliseconds(maxWaitMs)) throw invalidOption('maxWaitMs', 'milliseconds, not negative')
  if (!isMilliseconds(deadlineMs) || deadlineMs === 0) throw invalidOption('deadlineMs', 'milliseconds, more than 0')
  oneOf('retryOn', retryOn, ['rate-limit', 'transient'])
  return { maxRetries, retryDelayMs, maxWaitMs: Math.min(maxWaitMs, deadlineMs), retryOn }
}

function checkToken(token: unknown): asserts token is string {
  const problem = tokenProblem(token)
  if (problem)
    throw new HoldfastError(
      'INVALID_TOKEN',
      `the token given to discordFetch was refused: ${problem}; give the bare token, without "Bearer"`,
    )
}

function withQuery(path: string, query: NonNullable<DiscordFetchOptions['query']>): string {
  const parameters = new URLSearchParams()
  for (const [name, value] of Object.entries(query)) if (value !== undefined) parameters.append(name, String(value))
  const text = parameters.toString()
  return text === '' ? path : `${path}${path.includes('?') ? '&' : '?'}${text}`
}

function toJson(body: unknown): string {
  try {
    const text = JSON.stringify(body)
    if (text !== undefined) return text
  } catch {}
  throw invalidOption('body', 'a value that JSON can carry')
}

const isMilliseconds = (value: unknown) => typeof value === 'number' && value >= 0

function oneOf(option: string, value: unknown, accepted: readonly string[]): void {
  if (!accepted.includes(value as string)) throw invalidOption(option, accepted.map((name) => `'${name}'`).join(' or '))
}

function invalidOption(option: string, accepted: string): HoldfastError {
  return new HoldfastError('INVALID_OPTION', `discordFetch: option ${option} must be ${accepted}`)
}
