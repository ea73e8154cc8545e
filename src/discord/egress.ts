import { Breaker, type BreakerState } from '../concurrency/breaker.ts'
import type { Clock, Milliseconds } from '../time/clock.ts'
import { Bell } from './waiters.ts'

const FIRST_BAN_MS: Milliseconds = 60_000
const LONGEST_BAN_MS: Milliseconds = 60 * 60 * 1000

/**
 * The way out of this process. Discord bans addresses, not users: an answer in the shape of a ban stops everything, and
 * one probe after the named time (else 60 s, doubling to an hour) finds out whether it is over.
 */
export class Egress {
  readonly #clock: Clock
  readonly #breaker: Breaker
  #bans = 0
  #bannedAt = Number.NEGATIVE_INFINITY
  readonly #changed = new Bell()

  constructor(clock: Clock, onChange: (state: BreakerState) => void) {
    this.#clock = clock
    this.#breaker = new Breaker(clock, (state) => {
      this.#changed.ring()
      onChange(state)
    })
  }

  get state(): BreakerState {
    return this.#breaker.state
  }

  /** How long nothing may be sent; 0 where something may, or where a probe is finding out. */
  get closedForMs(): Milliseconds {
    return this.#breaker.closedForMs
  }

  pass(): 'pass' | 'probe' | 'wait' {
    return this.#breaker.pass()
  }

  /** An answer in the shape of a ban; returns how long everything pauses. Answers that were under way when the first one came do not double the time. */
  banned(namedMs: Milliseconds | undefined): Milliseconds {
    if (this.#breaker.state !== 'open') this.#bans++
    this.#bannedAt = this.#clock.monotonic()
    const waitMs = namedMs || Math.min(FIRST_BAN_MS * 2 ** (this.#bans - 1), LONGEST_BAN_MS)
    this.#breaker.open(waitMs)
    return waitMs
  }

  /** A request that was sent at `sentAt` was answered, by whatever is not a ban. False where a ban came later: that one still stands. */
  free(sentAt: Milliseconds): boolean {
    if (this.#bannedAt > sentAt) return false
    this.#bans = 0
    this.#breaker.close()
    return true
  }

  /** The probe ended without an answer: the next caller probes. */
  probeLost(): void {
    this.#breaker.abandonProbe()
  }

  /** Resolves when the breaker changes; rejects with `signal.reason`. */
  nextChange(signal: AbortSignal): Promise<void> {
    return this.#changed.next(signal)
  }
}
