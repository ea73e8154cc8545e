import { DiscordRateLimitError, type RateLimitScope } from '../errors/errors.ts'
import type { Events } from '../events/events.ts'
import type { Clock, Milliseconds } from '../time/clock.ts'
import { withDeadline } from '../time/deadline.ts'
import type { Call } from './call.ts'
import type { Permit, Principal } from './principal.ts'

/** Said where nobody can know how long it would have taken. */
const UNKNOWN_WAIT_MS: Milliseconds = 1000

/** How long one call may still wait, all its waits together. A wait that is known not to fit is refused before it begins. */
export class WaitAllowance {
  /** How often the call was sent so far; errors tell. */
  attempts = 0
  leftMs: Milliseconds
  readonly #clock: Clock
  readonly #events: Events
  readonly #call: Call

  constructor(maxWaitMs: Milliseconds, clock: Clock, events: Events, call: Call) {
    this.leftMs = maxWaitMs
    this.#clock = clock
    this.#events = events
    this.#call = call
  }

  /** Sleeps, or rejects at once with DiscordRateLimitError (`local`) where that is longer than what is left. */
  async sleep(ms: Milliseconds, scope: RateLimitScope, signal: AbortSignal): Promise<void> {
    this.#admit(ms, scope)
    const began = this.#clock.monotonic()
    await this.#clock.sleep(ms, signal)
    this.leftMs -= this.#clock.monotonic() - began
  }

  /** Waits in the principal's line for a place. */
  async queue(principal: Principal, signal: AbortSignal): Promise<Permit> {
    const estimateMs = principal.estimateMs(this.#call)
    this.#admit(estimateMs, 'user')
    return this.until((signal) => principal.take(this.#call, signal), 'user', signal)
  }

  /** Waits for something that has no known time, until what is left has passed. */
  async until<T>(wait: (signal: AbortSignal) => Promise<T>, scope: RateLimitScope, signal: AbortSignal): Promise<T> {
    const began = this.#clock.monotonic()
    try {
      return await withDeadline(this.#clock, this.leftMs, [signal], () => this.#tooLong(UNKNOWN_WAIT_MS, scope), wait)
    } finally {
      this.leftMs -= this.#clock.monotonic() - began
    }
  }

  #admit(ms: Milliseconds, scope: RateLimitScope): void {
    if (ms > this.leftMs) throw this.#tooLong(ms, scope)
    this.#events.emit({ type: 'discord.wait', route: this.#call.route.name, attempt: this.attempts + 1, waitMs: ms })
  }

  #tooLong(ms: Milliseconds, scope: RateLimitScope): DiscordRateLimitError {
    return new DiscordRateLimitError(
      `${this.#call.route.name}: not sent, because it would have to wait ${Math.ceil(ms / 1000)} s or more; try again then, or raise maxWaitMs`,
      { scope, local: true, route: this.#call.route.name, attempts: this.attempts, retryAfterMs: ms },
    )
  }
}
