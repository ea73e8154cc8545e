import type { Milliseconds } from '../time/clock.ts'

/**
 * One rate limit: `limit` requests per `windowMs`.
 *
 * `fixed`: a window begins with the first request that arrives after the previous one ended; all of it comes back at
 * once. `leaky`: one request comes back every `windowMs / limit`, and the time until all are back moves with each
 * request. Discord has both, and its headers do not tell them apart (discord-api-docs#7680).
 */
export interface Limit {
  readonly limit: number
  readonly windowMs: Milliseconds
  readonly kind: 'fixed' | 'leaky'
}

/** What the rule book says to one request. */
export interface Verdict {
  readonly allowed: boolean
  readonly limit: number
  /** How many more would be allowed right now. */
  readonly remaining: number
  /** Until the whole limit is available again. */
  readonly resetAfterMs: Milliseconds
  /** Until one request is available; 0 if this one was allowed. */
  readonly retryAfterMs: Milliseconds
}

/** The counters behind all limits of one kind, by key. Pure but for its own memory: time comes in as an argument. */
export interface Limiter {
  /** Charges one request to `key` if `limit` allows it. A refused request is not charged. */
  take(key: string, limit: Limit, nowMs: Milliseconds): Verdict
  /** How many counters are kept. */
  readonly size: number
}

interface Counter {
  /** fixed: when the window ends. leaky: when the bucket will be empty. */
  endsAt: Milliseconds
  used: number
}

/** Sums of fractional milliseconds drift; a request that waited exactly as long as it was told must pass. */
const TOLERANCE_MS = 1e-6
const SWEEP_FROM = 10_000

export function createLimiter(): Limiter {
  const counters = new Map<string, Counter>()
  let sweepAt = SWEEP_FROM

  // A counter whose time has passed is as good as none: dropped when many have gathered.
  const sweep = (nowMs: Milliseconds) => {
    for (const [key, counter] of counters) if (counter.endsAt <= nowMs) counters.delete(key)
    sweepAt = Math.max(SWEEP_FROM, counters.size * 2)
  }

  return {
    take(key, limit, nowMs) {
      let counter = counters.get(key)
      if (!counter) {
        if (counters.size >= sweepAt) sweep(nowMs)
        counter = { endsAt: nowMs, used: 0 }
        counters.set(key, counter)
      }
      return limit.kind === 'fixed' ? takeFixed(counter, limit, nowMs) : takeLeaky(counter, limit, nowMs)
    },
    get size() {
      return counters.size
    },
  }
}

function takeFixed(window: Counter, { limit, windowMs }: Limit, nowMs: Milliseconds): Verdict {
  if (nowMs >= window.endsAt - TOLERANCE_MS) {
    window.endsAt = nowMs + windowMs
    window.used = 0
  }
  const resetAfterMs = window.endsAt - nowMs
  if (window.used >= limit) return { allowed: false, limit, remaining: 0, resetAfterMs, retryAfterMs: resetAfterMs }
  window.used++
  return { allowed: true, limit, remaining: limit - window.used, resetAfterMs, retryAfterMs: 0 }
}

function takeLeaky(bucket: Counter, { limit, windowMs }: Limit, nowMs: Milliseconds): Verdict {
  const dripMs = windowMs / limit
  const emptyAt = Math.max(bucket.endsAt, nowMs)
  const retryAfterMs = emptyAt + dripMs - windowMs - nowMs
  if (retryAfterMs > TOLERANCE_MS) {
    return { allowed: false, limit, remaining: 0, resetAfterMs: emptyAt - nowMs, retryAfterMs }
  }
  bucket.endsAt = emptyAt + dripMs
  const resetAfterMs = bucket.endsAt - nowMs
  const remaining = Math.max(0, Math.floor((windowMs - resetAfterMs) / dripMs + TOLERANCE_MS))
  return { allowed: true, limit, remaining, resetAfterMs, retryAfterMs: 0 }
}
