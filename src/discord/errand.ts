import { DiscordRateLimitError, type RateLimitScope } from '../errors/errors.ts'
import type { Events } from '../events/events.ts'
import type { Alarms } from '../time/alarms.ts'
import type { Clock, Milliseconds } from '../time/clock.ts'
import { onAbort } from '../time/on-abort.ts'
import type { Call } from './call.ts'
import type { OnGivingUp } from './waiters.ts'

/** What a call has to keep to while it waits and retries. */
export interface RetryPolicy {
  readonly maxRetries: number
  readonly retryDelayMs: Milliseconds
  readonly maxWaitMs: Milliseconds
  readonly retryOn: 'rate-limit' | 'transient'
  /** Trouble is tried again once where that is done within this of the call's beginning, whatever `retryOn` says. */
  readonly onceMoreWithinMs?: Milliseconds | undefined
}

/** Said where nobody can know how long it would have taken. */
const UNKNOWN_WAIT_MS: Milliseconds = 1000

/** What an errand needs of its client. */
export interface ErrandNeeds {
  readonly clock: Clock
  /** For all calls that wait. */
  readonly alarms: Alarms
  readonly events: Events
}

/** One call on its way to an answer: how often it was sent, and how long it may still wait. A wait that is known not to fit is refused before it begins. */
export class Errand {
  readonly call: Call
  readonly policy: RetryPolicy
  readonly signal: AbortSignal
  readonly beganAt: Milliseconds
  /** How often the call was sent so far. */
  attempts = 0
  /** When the last attempt that was answered was sent; monotonic. */
  sentAt: Milliseconds | undefined
  /** How long it may still wait, all its waits together. */
  leftMs: Milliseconds
  readonly #clock: Clock
  readonly #alarms: Alarms
  readonly #events: Events

  constructor(call: Call, policy: RetryPolicy, signal: AbortSignal, { clock, alarms, events }: ErrandNeeds) {
    this.call = call
    this.policy = policy
    this.signal = signal
    this.beganAt = clock.monotonic()
    this.leftMs = policy.maxWaitMs
    this.#clock = clock
    this.#alarms = alarms
    this.#events = events
  }

  /** Sleeps, or rejects at once with DiscordRateLimitError (`local`) where that is longer than what is left. */
  async sleep(ms: Milliseconds, scope: RateLimitScope): Promise<void> {
    this.mayWait(ms, scope)
    const began = this.#clock.monotonic()
    await new Promise<void>((resolve, reject) => {
      if (this.signal.aborted) return reject(this.signal.reason)
      const cancelAlarm = this.#alarms.after(ms, () => {
        unlisten()
        resolve()
      })
      const unlisten = onAbort(this.signal, () => {
        cancelAlarm()
        reject(this.signal.reason)
      })
    })
    this.leftMs -= this.#clock.monotonic() - began
  }

  /** Waits for something that has no known time, until what is left has passed. */
  async until<T>(wait: (onGivingUp: OnGivingUp) => Promise<T>, scope: RateLimitScope): Promise<T> {
    if (this.signal.aborted) throw this.signal.reason
    const began = this.#clock.monotonic()
    try {
      return await wait((giveUp) => {
        const unlisten = onAbort(this.signal, () => {
          cancelAlarm()
          giveUp(this.signal.reason)
        })
        const cancelAlarm = this.#alarms.after(this.leftMs, () => {
          unlisten()
          giveUp(this.#tooLong(UNKNOWN_WAIT_MS, scope))
        })
        return () => {
          unlisten()
          cancelAlarm()
        }
      })
    } finally {
      this.leftMs -= this.#clock.monotonic() - began
    }
  }

  /** Throws DiscordRateLimitError (`local`) where a wait does not fit into what is left. */
  mayWait(ms: Milliseconds, scope: RateLimitScope): void {
    if (ms > this.leftMs) throw this.#tooLong(ms, scope)
    this.#events.emit({ type: 'discord.wait', route: this.call.route.name, attempt: this.attempts + 1, waitMs: ms })
  }

  #tooLong(ms: Milliseconds, scope: RateLimitScope): DiscordRateLimitError {
    const { name } = this.call.route
    return new DiscordRateLimitError(
      `${name}: not sent, because it would have to wait ${Math.ceil(ms / 1000)} s or more; try again then, or raise maxWaitMs`,
      { scope, local: true, route: name, attempts: this.attempts, retryAfterMs: ms },
    )
  }
}
