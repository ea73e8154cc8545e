import { type Clock, type Milliseconds, sleepIdly } from './clock.ts'

interface Waiting {
  readonly dueMs: Milliseconds
  late(): void
}

/**
 * One deadline for many pieces of work that begin all the time and nearly always end at once: they share a timer, which
 * runs only while one of them is under way, so that a piece of work costs no timer of its own. Keeps no process alive.
 */
export class SharedDeadline {
  readonly #clock: Clock
  readonly #ms: Milliseconds
  /** In the order in which they are due: all have the same time. */
  readonly #waiting = new Set<Waiting>()
  #isWatching = false

  constructor(clock: Clock, ms: Milliseconds) {
    this.#clock = clock
    this.#ms = ms
  }

  /** Settles as `work` does, or rejects with what `late` makes when the time is over. */
  race<T>(work: PromiseLike<T>, late: () => unknown): Promise<T> {
    return new Promise((resolve, reject) => {
      const waiting: Waiting = { dueMs: this.#clock.monotonic() + this.#ms, late: () => reject(late()) }
      this.#waiting.add(waiting)
      if (!this.#isWatching) void this.#watch()
      work.then(
        (value) => {
          this.#waiting.delete(waiting)
          resolve(value)
        },
        (error: unknown) => {
          this.#waiting.delete(waiting)
          reject(error)
        },
      )
    })
  }

  async #watch(): Promise<void> {
    this.#isWatching = true
    const never = new AbortController().signal
    for (;;) {
      // Most have ended by the time the timer fires; none that is left is due before the first.
      const first = this.#waiting.values().next().value
      if (!first) break
      const leftMs = first.dueMs - this.#clock.monotonic()
      if (leftMs > 0) {
        await sleepIdly(this.#clock, leftMs, never)
        continue
      }
      this.#waiting.delete(first)
      first.late()
    }
    this.#isWatching = false
  }
}
