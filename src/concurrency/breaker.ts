import type { Clock, Milliseconds } from '../time/clock.ts'

export type BreakerState = 'closed' | 'open' | 'half-open'

/**
 * Closed: everything passes. Open: nothing passes until a time. Half-open: one probe passes, and its outcome decides.
 * Holds no timer: it moves from open to half-open when somebody asks.
 */
export class Breaker {
  readonly #clock: Clock
  readonly #onChange: (state: BreakerState) => void
  #openUntil = 0
  #state: BreakerState = 'closed'

  constructor(clock: Clock, onChange: (state: BreakerState) => void) {
    this.#clock = clock
    this.#onChange = onChange
  }

  get state(): BreakerState {
    return this.#state
  }

  /** How long nothing may pass yet; 0 where a call may go, or where the answer depends on the probe under way. */
  get closedForMs(): Milliseconds {
    return this.#state === 'open' ? Math.max(0, this.#openUntil - this.#clock.monotonic()) : 0
  }

  /**
   * Asks to pass. `probe` is a pass whose outcome must be reported with `close()` or `open()`, or given back with
   * `abandonProbe()`; `wait` means that another probe is under way or the time has not come.
   */
  pass(): 'pass' | 'probe' | 'wait' {
    if (this.#state === 'closed') return 'pass'
    if (this.#state === 'half-open' || this.closedForMs > 0) return 'wait'
    this.#change('half-open')
    return 'probe'
  }

  /** Lets the caller be the probe, although the time has not come; its outcome must be reported like any probe's. */
  probeNow(): void {
    this.#change('half-open')
  }

  /** Lets nothing pass for `forMs`; never shortens a time that is already set. */
  open(forMs: Milliseconds): void {
    const until = this.#clock.monotonic() + forMs
    this.#openUntil = this.#state === 'open' ? Math.max(this.#openUntil, until) : until
    this.#change('open')
  }

  close(): void {
    this.#change('closed')
  }

  /** The probe ended without telling anything: the next caller becomes the probe. */
  abandonProbe(): void {
    if (this.#state !== 'half-open') return
    this.#openUntil = this.#clock.monotonic()
    this.#change('open')
  }

  #change(state: BreakerState): void {
    if (state === this.#state) return
    this.#state = state
    this.#onChange(state)
  }
}
