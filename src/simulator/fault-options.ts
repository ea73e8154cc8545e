import type { Milliseconds } from '../time/clock.ts'
import type { RateLimitScope } from './answer.ts'

/**
 * What can be made to go wrong.
 *
 * - `rate-limit`: 429 as Discord sends it (JSON with `retry_after`, headers), whatever the buckets say.
 * - `sub-limit`: 429 of a limit that the headers do not show: X-RateLimit-Remaining is above 0.
 * - `ban`: Cloudflare's block, 429 `error code: 1015`, without X-RateLimit headers; `shape` picks another form.
 * - `block-page`: 403 with an HTML page, as a proxy or Cloudflare's bot protection answers; `shape` picks another form.
 * - `server-error`: 502 as an HTML page, or another `status`.
 * - `answer`: any `status`, `body` and `headers`.
 * - `hang`: the request is read and never answered, until the client goes away or the simulator closes.
 * - `slow`: the answer comes `ms` later than it would.
 * - `trickle`: the head comes at once, the body one byte every `ms`.
 * - `truncate`: Content-Length promises all, half is sent, then the connection is destroyed.
 * - `malformed`: what would have been a 2xx answer is 200 with JSON that breaks off.
 * - `short-page`: a list in an answer has one entry less than it should (discord-api-docs#5886: 199 of 200).
 * - `reset`: the connection is destroyed without an answer.
 * - `no-headers`: the answer has no X-RateLimit headers (discord-api-docs#4010); the limits go on behind it.
 * - `bucket-change`: each answer shows another X-RateLimit-Bucket; the limit behind it stays the same.
 * - `clock-skew`: the Date header and X-RateLimit-Reset are ahead by `ms`; X-RateLimit-Reset-After stays right.
 *
 * `rate-limit`, `sub-limit`, `ban`, `block-page`, `server-error`, `answer`, `hang` and `reset` answer in Discord's
 * place: no bucket is charged. The others change an answer that Discord gave. When several apply, the one switched on
 * last decides; `slow`, `trickle`, `no-headers`, `bucket-change` and `clock-skew` go together with any other.
 *
 * `rate-limit`, `sub-limit` and `ban` hold what they say: who was told to wait and comes again earlier is refused with
 * what is left of that wait, also when `times` is used up. Ending the fault ends its waits.
 */
export type FaultKind = (typeof FAULT_KINDS)[number]

export const FAULT_KINDS = [
  'rate-limit',
  'ban',
  'server-error',
  'hang',
  'slow',
  'truncate',
  'malformed',
  'reset',
  'clock-skew',
  'block-page',
  'no-headers',
  'bucket-change',
  'sub-limit',
  'trickle',
  'answer',
  'short-page',
] as const

/**
 * How a block looks. `discord`: 403 with JSON code 40333, which Discord sends for what Cloudflare blocked
 * (discord-api-docs#6473). Cloudflare's own: `text` (`error code: 1015`), `page` (HTML), `json` (RFC 9457, with
 * `cloudflare_error`, `error_code` 1015 and `retry_after`). `notice`: JSON code 0 with a sentence and no `retry_after`
 * (discord-api-docs#5682). `html` is another word for `page`.
 */
export type BlockShape = 'discord' | 'text' | 'page' | 'json' | 'notice' | 'html'

const SHAPES: readonly BlockShape[] = ['discord', 'text', 'page', 'json', 'notice', 'html']

/** Which calls a fault meets, for how long, and its details. */
export interface FaultOptions {
  /**
   * A template such as `/users/@me/guilds` or `/guilds/:id`, a path with real ids, or a prefix ending in `*`;
   * a method before it narrows it further: `POST /oauth2/token`. Default: every route.
   */
  route?: string
  /** Only calls made with this user's (or the bot's) tokens. Default: everybody's. */
  userId?: string
  /** Ends by itself after this long on the simulator's clock. Default: when the returned function is called. */
  forMs?: Milliseconds
  /** Ends by itself after it has met this many calls. Default: no limit. */
  times?: number
  /** The chance, from 0 to 1, that a matching call is met; drawn from the seed. Default 1. */
  probability?: number
  /**
   * `rate-limit`, `sub-limit`: the wait asked for, the same for each call it meets; default 1000. `ban` and
   * `block-page`: default 3 600 000 for the shapes `text` and `json`, no Retry-After for the others (they have been
   * seen without). `server-error`: sends Retry-After; default none.
   */
  retryAfterMs?: Milliseconds
  /** `rate-limit`: default `user`. `shared` is not counted as an invalid request. */
  scope?: RateLimitScope
  /** `rate-limit`, `sub-limit`: the JSON error code in the body, such as 20028 or 40062. Default: none. */
  code?: number
  /** `answer`: 200 to 599, default 200. `server-error`: 500 to 599, default 502. */
  status?: number
  /** `answer`: text is sent as it is, anything else as JSON. Default: no body. */
  body?: unknown
  /** `answer`: more response headers; a `content-type` here replaces ours. */
  headers?: Readonly<Record<string, string>>
  /** `ban`: default `text`. `block-page`: default `page`. `server-error`: `page` (default for 502) or `json`. */
  shape?: BlockShape
  /** `slow`: how much later, default 1000. `trickle`: per byte, default 1000. `clock-skew`: how far ahead (negative: behind), default 3 600 000. */
  ms?: Milliseconds
}

const OPTIONS: Readonly<Record<keyof FaultOptions, true>> = {
  route: true,
  userId: true,
  forMs: true,
  times: true,
  probability: true,
  retryAfterMs: true,
  scope: true,
  code: true,
  status: true,
  body: true,
  headers: true,
  shape: true,
  ms: true,
}

/** Throws a TypeError or RangeError for a kind or option that could never have an effect. */
export function checkFault(kind: FaultKind, options: FaultOptions): void {
  if (!FAULT_KINDS.includes(kind))
    throw new TypeError(`unknown fault ${JSON.stringify(kind)}; use one of ${FAULT_KINDS.join(', ')}`)
  if (options === null || typeof options !== 'object' || Array.isArray(options))
    throw new TypeError('the options of a fault must be an object')
  const unknown = Object.keys(options).find((name) => !Object.hasOwn(OPTIONS, name))
  if (unknown !== undefined)
    throw new TypeError(`unknown fault option ${unknown}; there are ${Object.keys(OPTIONS).join(', ')}`)
  const { route, userId, forMs, times, probability, retryAfterMs, scope, code, status, headers, shape, ms } = options
  const isNumber = (value: unknown, least: number, most: number) =>
    value === undefined || (typeof value === 'number' && value >= least && value <= most)
  const reject = (name: string, rule: string, value: unknown) => {
    throw new RangeError(`fault option ${name} must be ${rule}, not ${show(value)}`)
  }
  if (route !== undefined && typeof route !== 'string') reject('route', 'a path', route)
  if (userId !== undefined && typeof userId !== 'string') reject('userId', "a user's id", userId)
  if (!isNumber(forMs, 0, Infinity)) reject('forMs', '0 or more milliseconds', forMs)
  if (!isNumber(retryAfterMs, 0, Number.MAX_SAFE_INTEGER))
    reject('retryAfterMs', '0 or more milliseconds', retryAfterMs)
  if (!isNumber(times, 0, Infinity)) reject('times', '0 or more calls', times)
  if (!isNumber(probability, 0, 1)) reject('probability', 'from 0 to 1', probability)
  if (scope !== undefined && !['user', 'global', 'shared'].includes(scope))
    reject('scope', "'user', 'global' or 'shared'", scope)
  if (code !== undefined && !Number.isInteger(code)) reject('code', 'a whole number', code)
  const [least, most] = kind === 'answer' ? [200, 599] : [500, 599]
  if (status !== undefined && !(Number.isInteger(status) && status >= least && status <= most))
    reject('status', `a whole number from ${least} to ${most}`, status)
  if (headers !== undefined) checkHeaders(headers)
  if (shape !== undefined && !SHAPES.includes(shape))
    reject('shape', SHAPES.map((name) => `'${name}'`).join(', '), shape)
  if (kind === 'server-error' && shape !== undefined && !['page', 'html', 'json'].includes(shape))
    reject('shape', "'page' or 'json' for server-error", shape)
  if (ms !== undefined && !(Number.isFinite(ms) && (kind === 'clock-skew' || ms >= 0)))
    reject('ms', 'a finite number of milliseconds (negative only for clock-skew)', ms)
}

/** The characters that Node would refuse when the answer is written, which is too late to say so. */
function checkHeaders(headers: unknown): void {
  if (headers === null || typeof headers !== 'object') throw new TypeError('fault option headers must be an object')
  for (const [name, value] of Object.entries(headers)) {
    if (!/^[!#$%&'*+\-.^_`|~\w]+$/.test(name) || typeof value !== 'string' || !/^[\t\x20-\x7e\x80-\xff]*$/.test(value))
      throw new TypeError(`fault option headers: ${JSON.stringify(name)} is no header with a text of one line`)
  }
}

function show(value: unknown): string {
  return typeof value === 'number' ? String(value) : String(JSON.stringify(value))
}
