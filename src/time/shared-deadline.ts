import { atTurnsEnd, type Clock, type Milliseconds, sleepIdly } from './clock.ts'

interface Waiting {
  readonly dueMs: Milliseconds
  late(): void
}

/** Why the timer ended early. One object, because making an error costs microseconds. */
const NOBODY_WAITS = new Error('nobody waits')

/**
 * One deadline for many pieces of work that begin all the time and nearly always end at once: they share a timer, which
 * is set by the first of them and ends with the turn of the event loop in which the last has ended, so that what
 * follows upon each other costs no timer of its own. Keeps no process alive.
 */
export class SharedDeadline {
  readonly #clock: Clock
  readonly #ms: Milliseconds
  /** In the order in which they are due: all have the same time. */
  readonly #waiting = new Set<Waiting>()
  #timer: AbortController | undefined
  #looksAtTurnsEnd = false

  constructor(clock: Clock, ms: Milliseconds) {
    this.#clock = clock
    this.#ms = ms
  }

  /** Settles as `work` does, or rejects with what `late` makes when the time is over. */
  race<T>(work: PromiseLike<T>, late: () => unknown): Promise<T> {
    return new Promise((resolve, reject) => {
      const waiting: Waiting = { dueMs: this.#clock.monotonic() + this.#ms, late: () => reject(late()) }
      this.#waiting.add(waiting)
      if (!this.#timer) this.#watch(this.#ms)
      work.then(
        (value) => {
          this.#ended(waiting)
          resolve(value)
        },
        (error: unknown) => {
          this.#ended(waiting)
          reject(error)
        },
      )
    })
  }

  #ended(waiting: Waiting): void {
    this.#waiting.delete(waiting)
    if (this.#waiting.size > 0 || this.#looksAtTurnsEnd) return
    this.#looksAtTurnsEnd = true
    atTurnsEnd(() => {
      this.#looksAtTurnsEnd = false
      if (this.#waiting.size > 0) return
      this.#timer?.abort(NOBODY_WAITS)
      this.#timer = undefined
    })
  }

  #watch(forMs: Milliseconds): void {
    const timer = new AbortController()
    this.#timer = timer
    sleepIdly(this.#clock, forMs, timer.signal).then(
      () => {
        if (this.#timer === timer) this.#ring()
      },
      () => {},
    )
  }

  #ring(): void {
    this.#timer = undefined
    // Most have ended by the time the timer fires; none that is left is due before the first.
    for (const first of this.#waiting) {
      const leftMs = first.dueMs - this.#clock.monotonic()
      if (leftMs > 0) return this.#watch(leftMs)
      this.#waiting.delete(first)
      first.late()
    }
  }
}
