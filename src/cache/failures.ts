import { RecentlyUsed } from '../collections/recently-used.ts'
import { DiscordAPIError, DiscordUnavailableError } from '../errors/errors.ts'
import type { Clock, Milliseconds } from '../time/clock.ts'
import { isOwn } from './cache-key.ts'

const FIRST_BACKOFF_MS: Milliseconds = 5_000
const LONGEST_BACKOFF_MS: Milliseconds = 5 * 60 * 1000
/** A loader that names a longer wait than this is not believed: a mistake in a unit would hold a key for years. */
const LONGEST_NAMED_MS: Milliseconds = 24 * 60 * 60 * 1000
/** How much longer a wait may be, by chance: those that failed together come back apart. A 429 says when, of one user. */
const JITTER = 0.5
const LONGEST_JITTER_MS: Milliseconds = 30_000
/** When Discord answers again, what failed before is tried again within so long, by chance. */
const RECOVERY_SPREAD_MS: Milliseconds = 30_000
/** Recoveries are told apart by no less than this: in half an outage every other answer is one. */
const RECOVERY_EVERY_MS: Milliseconds = 1_000
/** An outage can fail every key; forgetting one means that it is tried once more. */
const FAILURES = 10_000

export interface Failure {
  readonly error: unknown
  /** Failures in a row. */
  readonly count: number
  /** The key is not tried again before this, unless Discord is seen to answer; monotonic. */
  readonly notBeforeMs: Milliseconds
  /** From 0 to 1: where among the others it comes when all may go again. */
  readonly chance: number
  /** How many recoveries had been seen when it was noted. */
  readonly recoveries: number
}

/** Which keys failed lately, and when each may be tried again. */
export class Failures {
  readonly #clock: Clock
  readonly #random: () => number
  /** The house's own keys and the app's apart: a thousand one-time keys that fail make nobody's guild list try again. */
  readonly #own = new RecentlyUsed<string, Failure>(FAILURES)
  readonly #others = new RecentlyUsed<string, Failure>(FAILURES)
  /** When Discord was seen to answer after failures, by how many recoveries there were before; those that still matter. */
  readonly #recoveredAt = new Map<number, Milliseconds>()
  #recoveries = 0
  #hasOutage = false

  constructor(clock: Clock, random: () => number = () => 0.5) {
    this.#clock = clock
    this.#random = random
  }

  /** What is known of a key that failed last, whether it may be tried again or not. */
  last(id: string): Failure | undefined {
    const failures = this.#of(id)
    return failures.size === 0 ? undefined : failures.get(id)
  }

  /** The failure that forbids trying now, or undefined. */
  holding(id: string): Failure | undefined {
    const failure = this.last(id)
    return failure && this.waitMs(failure) > 0 ? failure : undefined
  }

  /** How long it is until the key may be tried again; 0 or less where it may. */
  waitMs({ notBeforeMs, error, recoveries, chance }: Failure): Milliseconds {
    const recoveredAt = isOutage(error) ? this.#recoveredAt.get(recoveries) : undefined
    const untilMs =
      recoveredAt === undefined ? notBeforeMs : Math.min(notBeforeMs, recoveredAt + chance * RECOVERY_SPREAD_MS)
    return untilMs - this.#clock.monotonic()
  }

  /** Notes a failure: not again before the wait that the error names, else 5 s, doubling to 5 min, and a little more by chance. */
  note(id: string, error: unknown): Failure {
    const count = (this.last(id)?.count ?? 0) + 1
    // As even as the random it is made of, and nothing for a random that is always in the middle, as tests have it.
    const chance = Math.abs(2 * this.#random() - 1)
    const waitMs = namedWait(error) ?? backoffMs(count)
    const longerMs = reasonOf(error) === 'throttled' ? 0 : Math.min(waitMs * JITTER, LONGEST_JITTER_MS) * chance
    const notBeforeMs = this.#clock.monotonic() + waitMs + longerMs
    const failure = { error, count, notBeforeMs, chance, recoveries: this.#recoveries }
    this.#of(id).set(id, failure)
    if (isOutage(error)) this.#hasOutage = true
    return failure
  }

  /** Discord answered: what failed because it did not may be tried again soon. */
  recovered(): void {
    if (!this.#hasOutage) return
    const now = this.#clock.monotonic()
    if (now < (this.#recoveredAt.get(this.#recoveries - 1) ?? Number.NEGATIVE_INFINITY) + RECOVERY_EVERY_MS) return
    this.#recoveredAt.set(this.#recoveries++, now)
    this.#hasOutage = false
    for (const [recovery, at] of this.#recoveredAt) {
      if (now - at < 2 * LONGEST_BACKOFF_MS) break
      this.#recoveredAt.delete(recovery)
    }
  }

  forget(id: string): void {
    this.#of(id).delete(id)
  }

  forgetAll(which: (id: string) => boolean): void {
    for (const failures of [this.#own, this.#others])
      for (const id of [...failures.keys()]) if (which(id)) failures.delete(id)
  }

  #of(id: string): RecentlyUsed<string, Failure> {
    return isOwn(id) ? this.#own : this.#others
  }
}

function backoffMs(count: number): Milliseconds {
  return Math.min(FIRST_BACKOFF_MS * 2 ** (count - 1), LONGEST_BACKOFF_MS)
}

function namedWait(error: unknown): Milliseconds | undefined {
  const ms = (error as { retryAfterMs?: unknown } | null | undefined)?.retryAfterMs
  return typeof ms === 'number' && Number.isFinite(ms) && ms > 0 ? Math.min(ms, LONGEST_NAMED_MS) : undefined
}

/** Whether Discord could not be used, without saying for how long: the first answer ends that. */
function isOutage(error: unknown): boolean {
  if (namedWait(error) !== undefined) return false
  return error instanceof DiscordUnavailableError || (error instanceof DiscordAPIError && error.status >= 500)
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
