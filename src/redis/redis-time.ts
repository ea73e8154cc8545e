import type { Clock, Milliseconds } from '../time/clock.ts'

/** An estimate is replaced after this, so that a drift between two clocks does not add up. */
const ESTIMATE_LASTS_MS: Milliseconds = 60_000
/** No answer in time is so much later than another: Redis's clock was set. */
const STEP_MS: Milliseconds = 1_000

/**
 * What time it is on Redis's clock. Every answer that carries Redis's time was written after its request was sent, so
 * each estimate is late by the way there at most, and the earliest is the best. Being late makes ages look older than
 * they are, and that is the safe side.
 */
export class RedisTime {
  readonly #clock: Clock
  #offsetMs: Milliseconds | undefined
  #estimatedAt = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Epoch milliseconds with decimals; undefined while Redis has never been reached. */
  now(): Milliseconds | undefined {
    return this.#offsetMs === undefined ? undefined : this.#clock.monotonic() + this.#offsetMs
  }

  /** Takes in an answer to a request that was sent at `sentAt` (monotonic). What is no time is left out: nothing would ever be too old. */
  observe(sentAt: Milliseconds, redisNow: Milliseconds): void {
    if (!Number.isFinite(redisNow)) return
    const offsetMs = redisNow - sentAt
    const old = sentAt - this.#estimatedAt > ESTIMATE_LASTS_MS
    const late = this.#offsetMs !== undefined && offsetMs >= this.#offsetMs && offsetMs < this.#offsetMs + STEP_MS
    if (late && !old) return
    this.#offsetMs = offsetMs
    this.#estimatedAt = sentAt
  }

  /** As `observe`, at the beginning of a connection: Redis may be another machine now. */
  begin(sentAt: Milliseconds, redisNow: Milliseconds): void {
    if (!Number.isFinite(redisNow)) return
    this.#offsetMs = redisNow - sentAt
    this.#estimatedAt = sentAt
  }
}
