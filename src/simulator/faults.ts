import type { Milliseconds } from '../time/clock.ts'
import type { RateLimitScope } from './answer.ts'
import type { Random } from './random.ts'
import { routeFilter } from './routes.ts'

/**
 * What can be made to go wrong.
 *
 * - `rate-limit`: 429 as Discord sends it (JSON with `retry_after`, headers), whatever the buckets say.
 * - `ban`: Cloudflare's block, 429 `error code: 1015`, without X-RateLimit headers; `shape` picks another form.
 * - `block-page`: 403 with an HTML page, as a proxy or Cloudflare's bot protection answers.
 * - `server-error`: 502 as an HTML page, or another `status`.
 * - `hang`: the request is read and never answered, until the client goes away or the simulator closes.
 * - `slow`: the answer comes `ms` later than it would.
 * - `truncate`: Content-Length promises all, half is sent, then the connection is destroyed.
 * - `malformed`: what would have been a 2xx answer is 200 with JSON that breaks off.
 * - `reset`: the connection is destroyed without an answer.
 * - `clock-skew`: the Date header and X-RateLimit-Reset are ahead by `ms`; X-RateLimit-Reset-After stays right.
 *
 * `rate-limit`, `ban`, `block-page`, `server-error`, `hang` and `reset` answer in Discord's place: no bucket is
 * charged. The others change an answer that Discord gave. When several apply, the one switched on last decides;
 * `slow` and `clock-skew` go together with any other.
 */
export type FaultKind =
  | 'rate-limit'
  | 'ban'
  | 'block-page'
  | 'server-error'
  | 'hang'
  | 'slow'
  | 'truncate'
  | 'malformed'
  | 'reset'
  | 'clock-skew'

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
   * `rate-limit`: the wait asked for, the same for each call; default 1000. `ban`: default 3 600 000 for the text
   * shape, no Retry-After for the others (they have been seen without). `server-error`: sends Retry-After; default none.
   */
  retryAfterMs?: Milliseconds
  /** `rate-limit`: default `user`. `shared` is not counted as an invalid request. */
  scope?: RateLimitScope
  /** `server-error`: 500 to 599, default 502. */
  status?: number
  /** `ban`: default `text`. `server-error`: `html` (default for 502) or `json` (default for the others). */
  shape?: 'text' | 'html' | 'json'
  /** `slow`: how much later, default 1000. `clock-skew`: how far ahead (negative: behind), default 3 600 000. */
  ms?: Milliseconds
}

/** A fault that meets one call. */
export interface ActiveFault {
  readonly kind: FaultKind
  readonly options: FaultOptions
}

/** What meets one call, taken together. */
export interface Trouble {
  readonly fault: ActiveFault | undefined
  readonly slowMs: Milliseconds
  readonly skewMs: Milliseconds
}

/** All faults that are switched on. Time comes in as an argument. */
export interface Faults {
  start(kind: FaultKind, options: FaultOptions, nowMs: Milliseconds): () => void
  meet(method: string, template: string, path: string, userId: string | null, nowMs: Milliseconds): Trouble
}

interface Entry extends ActiveFault {
  readonly matches: ((method: string, template: string, path: string) => boolean) | undefined
  readonly endsAt: Milliseconds
  left: number
}

const KINDS: Readonly<Record<FaultKind, true>> = {
  'rate-limit': true,
  ban: true,
  'block-page': true,
  'server-error': true,
  hang: true,
  slow: true,
  truncate: true,
  malformed: true,
  reset: true,
  'clock-skew': true,
}
export const NO_TROUBLE: Trouble = { fault: undefined, slowMs: 0, skewMs: 0 }

export function createFaults(random: Random): Faults {
  // The one switched on last stands first.
  let entries: readonly Entry[] = []

  return {
    start(kind, options, nowMs) {
      check(kind, options)
      const { route, forMs = Infinity, times = Infinity } = options
      const matches = route === undefined ? undefined : routeFilter(route)
      const entry: Entry = { kind, options: { ...options }, matches, endsAt: nowMs + forMs, left: times }
      entries = [entry, ...entries]
      return () => {
        entries = entries.filter((other) => other !== entry)
      }
    },
    meet(method, template, path, userId, nowMs) {
      if (entries.length === 0) return NO_TROUBLE
      let fault: Entry | undefined
      let slow: Entry | undefined
      let skew: Entry | undefined
      let over = false
      for (const entry of entries) {
        const { kind, options } = entry
        if (entry.endsAt <= nowMs || entry.left <= 0) {
          over = true
          continue
        }
        if (kind === 'slow' ? slow : kind === 'clock-skew' ? skew : fault) continue
        if (options.userId !== undefined && options.userId !== userId) continue
        if (entry.matches && !entry.matches(method, template, path)) continue
        if (options.probability !== undefined && random.next() >= options.probability) continue
        entry.left--
        if (kind === 'slow') slow = entry
        else if (kind === 'clock-skew') skew = entry
        else fault = entry
      }
      if (over) entries = entries.filter((entry) => entry.endsAt > nowMs && entry.left > 0)
      return {
        fault,
        slowMs: slow ? (slow.options.ms ?? 1000) : 0,
        skewMs: skew ? (skew.options.ms ?? 3_600_000) : 0,
      }
    },
  }
}

const OPTIONS: Readonly<Record<keyof FaultOptions, true>> = {
  route: true,
  userId: true,
  forMs: true,
  times: true,
  probability: true,
  retryAfterMs: true,
  scope: true,
  status: true,
  shape: true,
  ms: true,
}

function check(kind: FaultKind, options: FaultOptions): void {
  if (!Object.hasOwn(KINDS, kind)) {
    throw new TypeError(`unknown fault ${JSON.stringify(kind)}; use one of ${Object.keys(KINDS).join(', ')}`)
  }
  const unknown = Object.keys(options).find((name) => !Object.hasOwn(OPTIONS, name))
  if (unknown !== undefined) {
    throw new TypeError(`unknown fault option ${unknown}; there are ${Object.keys(OPTIONS).join(', ')}`)
  }
  const { forMs, times, probability, retryAfterMs, scope, status, shape, ms } = options
  const notNegative = (value: number | undefined) => value === undefined || value >= 0
  const reject = (name: string, rule: string, value: unknown) => {
    throw new RangeError(`fault option ${name} must be ${rule}, not ${String(value)}`)
  }
  if (!notNegative(forMs)) reject('forMs', '0 or more milliseconds', forMs)
  if (!notNegative(retryAfterMs)) reject('retryAfterMs', '0 or more milliseconds', retryAfterMs)
  if (!notNegative(times)) reject('times', '0 or more calls', times)
  if (probability !== undefined && !(probability >= 0 && probability <= 1))
    reject('probability', 'from 0 to 1', probability)
  if (scope !== undefined && !['user', 'global', 'shared'].includes(scope))
    reject('scope', "'user', 'global' or 'shared'", scope)
  if (status !== undefined && !(Number.isInteger(status) && status >= 500 && status <= 599))
    reject('status', 'a whole number from 500 to 599', status)
  if (shape !== undefined && !['text', 'html', 'json'].includes(shape))
    reject('shape', "'text', 'html' or 'json'", shape)
  if (ms !== undefined && !(Number.isFinite(ms) && (kind === 'clock-skew' || ms >= 0)))
    reject('ms', 'a finite number of milliseconds (negative only for clock-skew)', ms)
}
