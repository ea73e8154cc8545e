import { HoldfastError } from '../errors/errors.ts'
import type { Clock, Milliseconds } from '../time/clock.ts'

const FIRST_MS: Milliseconds = 1_000
const LONGEST_MS: Milliseconds = 60_000

/** The token endpoint in trouble is not asked for every user: after a failure nobody asks for a while, doubling to a minute. */
export class RefreshHold {
  readonly #clock: Clock
  #error: HoldfastError | undefined
  #until: Milliseconds = 0
  #nextMs = FIRST_MS
  #alarmed = false

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Why nobody asks now. */
  error(): HoldfastError | undefined {
    return this.#clock.monotonic() < this.#until ? this.#error : undefined
  }

  failed(error: unknown): void {
    if (!(error instanceof HoldfastError)) return
    this.#holdFor(Math.max(this.#nextMs, error.retryAfterMs ?? 0), error)
    this.#nextMs = Math.min(LONGEST_MS, this.#nextMs * 2)
  }

  /** Our own id or secret is refused. True the first time, until something succeeds: it wants to be said once. */
  refused(error: HoldfastError): boolean {
    this.#holdFor(LONGEST_MS, error)
    const first = !this.#alarmed
    this.#alarmed = true
    return first
  }

  succeeded(): void {
    this.#error = undefined
    this.#until = 0
    this.#nextMs = FIRST_MS
    this.#alarmed = false
  }

  #holdFor(ms: Milliseconds, error: HoldfastError): void {
    this.#error = error
    this.#until = this.#clock.monotonic() + ms
  }
}
