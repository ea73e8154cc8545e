import { parseHttpDate, parseRetryAfter } from '../http/retry-after.ts'
import { type Milliseconds, systemClock } from '../time/clock.ts'
import type { QuotaAnswer } from './quota-answer.ts'

/** Numbers from here on are seconds since 1970, and not a wait; from there on, milliseconds since then. */
const EPOCH_SECONDS = 1_000_000_000
const EPOCH_MS = 100_000_000_000

/**
 * What the headers of an answer say about its owner's quota, for `learn`: `RateLimit` and `RateLimit-Policy` (IETF draft
 * "RateLimit header fields for HTTP"), `RateLimit-*` and `X-RateLimit-*` of its older forms, `X-RateLimit-Reset-After`,
 * and `Retry-After` (RFC 9110, section 10.2.3), in seconds. A reset that can only be an epoch is measured from the
 * answer's own `Date`, else from this machine's clock. A policy's `w` says which window it is. A header that is missing or
 * senseless says nothing. Never throws.
 */
export function readQuotaHeaders(headers: Headers | Readonly<Record<string, string | undefined>>): QuotaAnswer {
  const header = reader(headers)
  const now = parseHttpDate(header('date') ?? '') ?? systemClock.now()
  const item = firstItem(header('ratelimit'))
  const policy = firstItem(policyOf(header('ratelimit'), header('ratelimit-policy')))
  const window = policy.get('w')
  const limit =
    policy.get('q') ?? item.get('limit') ?? numberIn(header('ratelimit-limit')) ?? numberIn(header('x-ratelimit-limit'))
  const remaining =
    item.get('r') ??
    item.get('remaining') ??
    numberIn(header('ratelimit-remaining')) ??
    numberIn(header('x-ratelimit-remaining'))
  const seconds =
    item.get('t') ??
    item.get('reset') ??
    numberIn(header('x-ratelimit-reset-after')) ??
    numberIn(header('ratelimit-reset')) ??
    numberIn(header('x-ratelimit-reset'))
  const resetAfterMs = seconds === undefined ? undefined : waitOf(seconds, now)
  const retryAfterMs = parseRetryAfter(header('retry-after'), now)
  return {
    ...(limit !== undefined && limit > 0 && { limit }),
    ...(remaining !== undefined && { remaining }),
    ...(resetAfterMs !== undefined && resetAfterMs > 0 && { resetAfterMs }),
    ...(retryAfterMs !== undefined && { retryAfterMs }),
    ...(window !== undefined && window > 0 && { windowMs: window * 1000 }),
  }
}

function reader(headers: Headers | Readonly<Record<string, string | undefined>>): (name: string) => string | undefined {
  if (typeof (headers as Headers | undefined)?.get === 'function')
    return (name) => (headers as Headers).get(name) ?? undefined
  const byName = new Map(Object.entries(headers ?? {}).map(([name, value]) => [name.toLowerCase(), value]))
  return (name) => {
    const value: unknown = byName.get(name)
    return typeof value === 'string' ? value : undefined
  }
}

/** The parameters of the first member that are numbers: `"day";r=5;t=30`, or `limit=10, remaining=5, reset=30`. */
function firstItem(text: string | undefined): ReadonlyMap<string, number> {
  const found = new Map<string, number>()
  // Older drafts wrote a dictionary; newer ones a list of items with parameters, the scarcest first.
  const part = text !== undefined && /^\s*"/.test(text) ? text.split(',', 1)[0]! : (text ?? '')
  for (const [, name, value] of part.matchAll(/(?:^|[;,\s])\s*([a-z]+)\s*=\s*(\d+(?:\.\d+)?)(?=\s*(?:[;,]|$))/g))
    if (!found.has(name!)) found.set(name!, Number(value))
  return found
}

/** Of several policies the one that has the name of the first item, which is the one that is told of. */
function policyOf(items: string | undefined, policies: string | undefined): string | undefined {
  const name = /^\s*("[^"]*")/.exec(items ?? '')?.[1]
  const named = policies?.split(',').find((policy) => name !== undefined && policy.trim().startsWith(name))
  return named ?? policies
}

/** A number that is all of a header, or its first member: `100, 100;w=60` is 100. */
function numberIn(text: string | undefined): number | undefined {
  const digits = /^\s*(\d+(?:\.\d+)?)\s*(?:[,;]|$)/.exec(text ?? '')?.[1]
  return digits === undefined ? undefined : Number(digits)
}

function waitOf(seconds: number, now: Milliseconds): Milliseconds {
  if (seconds >= EPOCH_MS) return Math.max(0, seconds - now)
  if (seconds >= EPOCH_SECONDS) return Math.max(0, seconds * 1000 - now)
  return seconds * 1000
}
