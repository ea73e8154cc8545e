import { LRUCache } from 'lru-cache'
import type { Clock, Milliseconds } from '../time/clock.ts'

const FIRST_BACKOFF_MS: Milliseconds = 5_000
const LONGEST_BACKOFF_MS: Milliseconds = 5 * 60 * 1000
/** An outage can fail every key; forgetting one means that it is tried once more. */
const FAILURES = 10_000

export interface Failure {
  readonly error: unknown
  /** Failures in a row. */
  readonly count: number
  /** The key is not tried again before this; monotonic. */
  readonly notBeforeMs: Milliseconds
}

/** Which keys failed lately, and when each may be tried again. */
export class Failures {
  readonly #clock: Clock
  readonly #byId = new LRUCache<string, Failure>({ max: FAILURES })

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** The failure that forbids trying now, or undefined. */
  holding(id: string): Failure | undefined {
    if (this.#byId.size === 0) return undefined
    const failure = this.#byId.get(id)
    return failure && this.#clock.monotonic() < failure.notBeforeMs ? failure : undefined
  }

  /** Notes a failure: not again before the wait that the error names, else 5 s, doubling to 5 min. */
  note(id: string, error: unknown): Failure {
    const count = (this.#byId.get(id)?.count ?? 0) + 1
    const failure = { error, count, notBeforeMs: this.#clock.monotonic() + (namedWait(error) ?? backoffMs(count)) }
    this.#byId.set(id, failure)
    return failure
  }

  forget(id: string): void {
    this.#byId.delete(id)
  }

  forgetAll(which: (id: string) => boolean): void {
    for (const id of [...this.#byId.keys()]) if (which(id)) this.#byId.delete(id)
  }
}

function backoffMs(count: number): Milliseconds {
  return Math.min(FIRST_BACKOFF_MS * 2 ** (count - 1), LONGEST_BACKOFF_MS)
}

function namedWait(error: unknown): Milliseconds | undefined {
  const ms = (error as { retryAfterMs?: unknown } | null | undefined)?.retryAfterMs
  return typeof ms === 'number' && Number.isFinite(ms) && ms > 0 ? ms : undefined
}

/** Whether a stale value may hide this error: any but a 4xx other than 429, which is an answer and not trouble. */
export function isTrouble(error: unknown): boolean {
  const status = (error as { status?: unknown } | null | undefined)?.status
  return !(typeof status === 'number' && status >= 400 && status < 500 && status !== 429)
}

/** The word for trouble that a stale value carries. */
export function reasonOf(error: unknown): 'throttled' | 'unavailable' {
  return (error as { status?: unknown } | null | undefined)?.status === 429 ? 'throttled' : 'unavailable'
}
