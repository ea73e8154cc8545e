import {
  type Accepted,
  anAbortSignal,
  anObject,
  checkedLater,
  milliseconds,
  oneOf,
  text,
  wholeNumber,
} from '../config/accepted.ts'
import { type OptionTable, optionsOf } from '../config/options.ts'
import { HoldfastError } from '../errors/errors.ts'
import { tokenProblem } from '../secrets/token.ts'
import type { Milliseconds } from '../time/clock.ts'
import type { Call, Method, Priority, TokenType } from './call.ts'
import type { RetryPolicy } from './errand.ts'
import { encodeBody } from './request-body.ts'
import { encodeHeaders } from './request-headers.ts'
import { checkPath, routeOf } from './route.ts'
import { tokenIdOf } from './token-memory.ts'

/** What can stand in a query; a list is the same name repeated. */
export type QueryValue = string | number | boolean | readonly (string | number)[] | undefined

/** How a call to Discord is made. Every default is the instance's setting. */
export interface DiscordFetchOptions {
  /** Default GET. */
  method?: Method
  /** Appended to the path; undefined values are left out, and a list is the name repeated. */
  query?: URLSearchParams | Record<string, QueryValue>
  /**
   * Plain values are sent as JSON; FormData (files), URLSearchParams, Uint8Array and text as they are, each with its own
   * content type. Anything else is INVALID_OPTION: it is never sent as something else. Not for GET.
   */
  body?: unknown
  /** Why, for the guild's audit log (X-Audit-Log-Reason, encoded): 1 to 512 characters. */
  reason?: string
  /** More request headers; never those that are ours, such as Authorization. Content-Type only with a text or bytes as body. */
  headers?: Record<string, string>
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
  /** Default `'Bearer'`. With `'none'` no Authorization is sent, whatever the token: webhooks, answers to interactions. */
  tokenType?: TokenType
  /**
   * Whose limits this call spends: the user's id where it is known, so that they survive a new token. Default: whom this
   * token was seen to belong to, else a hash of it.
   */
  principal?: string
  /**
   * Default `'page'`. Who goes first where calls wait for one limit, and, when Discord is about to ban this address,
   * whose work stops first: background work, and logins last.
   */
  priority?: Priority
  /** Ends this caller's wait at once; the request itself goes on while somebody else waits for the same one. */
  signal?: AbortSignal
}

/** What a caller puts in the wrong place may be a token. */
const UNSHOWN = { secret: true } as const

const CALL_TABLE = {
  method: {
    means: 'of the request',
    accepts: oneOf('GET', 'POST', 'PUT', 'PATCH', 'DELETE'),
    preset: 'GET',
    ...UNSHOWN,
  },
  query: {
    means: 'appended to the path; a list is its name repeated, undefined values are left out',
    accepts: anObject('a URLSearchParams, or an object of texts, numbers, booleans and lists of texts and numbers'),
  },
  body: {
    means: 'sent as JSON, or as it is, with its own content type; not for GET',
    accepts: checkedLater('plain values, FormData, URLSearchParams, a Uint8Array or a text'),
  },
  reason: { means: "for the guild's audit log", accepts: text('a text of 1 to 512 characters'), ...UNSHOWN },
  headers: {
    means: 'more request headers; those that are ours are refused',
    accepts: plainObject('an object of texts (of a Headers: Object.fromEntries(headers))'),
    ...UNSHOWN,
  },
  maxRetries: { means: 'tries after the first', accepts: wholeNumber(0), preset: "the instance's" },
  retryDelay: {
    means: 'first backoff where Discord names no wait; then doubling',
    accepts: milliseconds(0, Number.MAX_SAFE_INTEGER),
    preset: "the instance's",
  },
  maxWaitMs: {
    means: 'all waits of the call together; a longer wait fails at once',
    accepts: milliseconds(),
    preset: "the instance's",
  },
  deadlineMs: { means: 'the whole call, waits and attempts', accepts: milliseconds(Number.MIN_VALUE), preset: 'none' },
  retryOn: {
    means: 'what is tried again',
    accepts: oneOf('rate-limit', 'transient'),
    preset: "the instance's",
    ...UNSHOWN,
  },
  tokenType: { means: 'how the token is sent', accepts: oneOf('Bearer', 'Bot', 'none'), preset: 'Bearer', ...UNSHOWN },
  principal: {
    means: "whose limits the call spends: the user's id where it is known",
    accepts: text(),
    preset: 'whom the token was seen to belong to, else a hash of it',
    ...UNSHOWN,
  },
  priority: { means: 'who goes first', accepts: oneOf('login', 'page', 'background'), preset: 'page', ...UNSHOWN },
  signal: { means: "ends this caller's wait", accepts: anAbortSignal },
} satisfies OptionTable<keyof DiscordFetchOptions>

/** The options of `discordFetch`, and of what is built on it. */
export const DISCORD_FETCH_OPTIONS = optionsOf('discordFetch', CALL_TABLE, 'call')

/** No Headers, Map or URLSearchParams: what they hold cannot be seen as names of theirs. */
function plainObject(words: string): Accepted {
  return {
    words,
    fits: (value) => typeof value === 'object' && Object.prototype.toString.call(value) === '[object Object]',
  }
}

/** What a call's arguments mean beside themselves. */
export interface CallContext {
  /** The wall clock. */
  readonly now: Milliseconds
  /** Whom a token was seen to belong to, by its name. */
  readonly principalOf: (tokenId: string) => string
}

/** The call that the arguments ask for; a promise only where files have to be read first. Throws HoldfastError INVALID_PATH, INVALID_TOKEN or INVALID_OPTION. */
export function toCall(
  path: unknown,
  token: unknown,
  options: DiscordFetchOptions,
  context: CallContext,
): Call | Promise<Call> {
  DISCORD_FETCH_OPTIONS.check(options)
  checkPath(path)
  const { method = 'GET', tokenType = 'Bearer', priority = 'page', query, body } = options
  if (tokenType !== 'none') checkToken(token)
  if (body !== undefined && method === 'GET') throw refused('body', 'left out of a GET')
  const { headers, contentType } = encodeHeaders(options.headers, options.reason)
  if (contentType !== undefined && body === undefined)
    throw refused('headers', 'without content-type: there is no body')
  const route = routeOf(method, path, context.now)
  // Without a token of its own a call is known by the webhook or interaction that its path names.
  const tokenId = tokenIdOf(tokenType, tokenType === 'none' ? route.resource : (token as string))
  const call = {
    method,
    path: query ? withQuery(path, query) : path,
    route,
    token: tokenType === 'none' ? '' : (token as string),
    tokenType,
    tokenId,
    principal: options.principal ?? (tokenType === 'none' ? ADDRESS : context.principalOf(tokenId)),
    priority,
    headers,
    body: undefined,
  }
  if (body === undefined) return call
  const encoded = encodeBody(body, contentType)
  return encoded instanceof Promise ? encoded.then((body) => ({ ...call, body })) : { ...call, body: encoded }
}

/** Calls without a token are counted by our address (docs, topic Rate Limits). */
const ADDRESS = 'address'

/** What the call has to keep to: its own options, which `toCall` has checked, else the instance's. */
export function toPolicy(options: DiscordFetchOptions, defaults: RetryPolicy): RetryPolicy {
  const {
    maxRetries = defaults.maxRetries,
    retryDelay: retryDelayMs = defaults.retryDelayMs,
    maxWaitMs = defaults.maxWaitMs,
    retryOn = defaults.retryOn,
    deadlineMs = Number.POSITIVE_INFINITY,
  } = options
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
  // Of any realm; iterating an object of names would see none of its own.
  const tag = Object.prototype.toString.call(query)
  if (tag === '[object URLSearchParams]') {
    for (const [name, value] of query as URLSearchParams) parameters.append(name, value)
  } else if (tag === '[object Object]') {
    for (const [name, value] of Object.entries(query as Record<string, unknown>)) appendValue(parameters, name, value)
  } else throw refused('query', `a URLSearchParams or a plain object, not a ${tag.slice(8, -1)}`)
  const text = parameters.toString()
  return text === '' ? path : `${path}${path.includes('?') ? '&' : '?'}${text}`
}

function appendValue(parameters: URLSearchParams, name: string, value: unknown): void {
  if (value === undefined) return
  if (!Array.isArray(value)) parameters.append(name, queryText(name, value))
  else
    for (const one of value) {
      if (typeof one === 'boolean') throw queryRefused(name)
      parameters.append(name, queryText(name, one))
    }
}

function queryText(name: string, value: unknown): string {
  if (typeof value === 'string' || typeof value === 'boolean') return String(value)
  if (typeof value === 'number' && Number.isFinite(value)) return String(value)
  throw queryRefused(name)
}

function queryRefused(name: string): HoldfastError {
  return refused(
    `query.${name.slice(0, 40)}`,
    'a text, a finite number, a boolean, a list of texts and numbers, or undefined (ids and dates as text)',
  )
}

function refused(option: string, accepted: string): HoldfastError {
  return new HoldfastError('INVALID_OPTION', `discordFetch: option ${option} must be ${accepted}`)
}
