import { ApiError } from './api-error.ts'
import { type Milliseconds, timeLimit, wallNow } from './clock.ts'

/** What an answer that is no success says. */
export interface Refusal {
  /** How long to wait; undefined where it does not say, or not in a way that can be used. */
  readonly waitMs: Milliseconds | undefined
  /** `code` and `message` of a JSON body. */
  readonly code: string | undefined
  readonly message: string | undefined
  /** Whether the body is the guard's own: it refused before any handler ran, so any method may be sent again. */
  readonly isOurs: boolean
}

/** More of a body is not read, and not for longer: a refusal is a few hundred bytes, and what comes here may be anything. */
const LONGEST_BODY = 65_536
const BODY_DEADLINE_MS: Milliseconds = 2_000

/** The latest point in time that a Date can be. */
const END_OF_TIME: Milliseconds = 8.64e15

/** A point in time `ms` from now, never later than there are Dates. */
export function dateIn(ms: Milliseconds): Date {
  return new Date(Math.min(wallNow() + ms, END_OF_TIME))
}

/** What a request rejects with that would have to wait for too long, or too often. */
export function waitError(waitMs: Milliseconds, status: number, code: string | undefined, message?: string): ApiError {
  return new ApiError(message ?? `refused with ${status} until retryAt`, code, status, dateIn(waitMs))
}

/**
 * Reads what an answer that is no success says. How long to wait, in this order: Retry-After (RFC 9110, section 10.2.3:
 * seconds, decimals are tolerated, or a date); the body's `retryAfterSeconds`, `retryAfterAt`, `retryAfter` (seconds); the
 * longest `t` of the items of `RateLimit` with `r=0` (draft-ietf-httpapi-ratelimit-headers). What is
 * malformed, negative, 0, endless or past is passed over: to come straight back is no help. Dates are measured against the
 * answer's own `Date`. The body is read, up to 64 KiB and for 2 s. Never rejects.
 */
export async function readRefusal(response: Response): Promise<Refusal> {
  const { headers, status } = response
  const body = await readJson(response)
  // A device whose clock is wrong still waits for as long as the server meant.
  const untilDate = (date: string) => Date.parse(date) - (Date.parse(headers.get('date')!) || wallNow())
  const retryAfter = headers.get('retry-after') ?? ''
  const spent = (headers.get('ratelimit') ?? '').matchAll(/\br=0\s*;\s*t=(\d+)/g)
  const waits = [
    +retryAfter > 0 ? +retryAfter * 1000 : /^[a-z]/i.test(retryAfter) && untilDate(retryAfter),
    seconds(body.retryAfterSeconds),
    untilDate(body.retryAfterAt as string),
    seconds(body.retryAfter),
    Math.max(...[...spent].map(([, seconds]) => +seconds!)) * 1000,
  ] as const
  const waitMs = waits.find((wait) => wait && wait > 0 && wait < Infinity) as number | undefined
  return {
    waitMs,
    code: text(body.code),
    message: text(body.message),
    isOurs: body.status === status && body.code === (status === 429 ? 'RATE_LIMITED' : 'SERVICE_UNAVAILABLE'),
  }
}

const seconds = (value: unknown) => typeof value === 'number' && value * 1000

const text = (value: unknown) => (typeof value === 'string' && value ? value : undefined)

/** The start of a body as JSON; an empty object where it is none, cannot be read, or not in time. */
async function readJson(response: Response): Promise<Record<string, unknown>> {
  let start = ''
  const sink = new WritableStream<string>({
    write(chunk) {
      start += chunk
      if (start.length > LONGEST_BODY) throw start
    },
  })
  try {
    // The types of the platform do not agree on which buffers a decoder takes.
    const bytes = response.body as ReadableStream<BufferSource> | null
    await bytes!.pipeThrough(new TextDecoderStream()).pipeTo(sink, { signal: timeLimit(BODY_DEADLINE_MS) })
  } catch {
    // It broke off, or never ends: what came may do.
  }
  try {
    return Object(JSON.parse(start))
  } catch {
    return {}
  }
}
