/** Lets callers wait for something to happen, and stop waiting when their signal aborts. */
export class Bell {
  /** In order of arrival. */
  readonly #waiting = new Set<() => void>()

  /** Resolves at the next ring; rejects with `signal.reason`. */
  next(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason)
      const leave = () => {
        this.#waiting.delete(wake)
        reject(signal.reason)
      }
      const wake = () => {
        this.#waiting.delete(wake)
        signal.removeEventListener('abort', leave)
        resolve()
      }
      this.#waiting.add(wake)
      signal.addEventListener('abort', leave, { once: true })
    })
  }

  ring(): void {
    for (const wake of [...this.#waiting]) wake()
  }

  /** Wakes only who has waited longest. */
  ringOne(): void {
    for (const wake of this.#waiting) return wake()
  }
}
