import { onAbort } from '../time/on-abort.ts'

/** Callers that wait for something to happen, and stop waiting when their signal aborts. */
export class Waiters {
  /** In order of arrival. */
  readonly #waiting = new Set<() => void>()

  /** Resolves when it happens next; rejects with `signal.reason`. */
  wait(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason)
      const wake = () => {
        this.#waiting.delete(wake)
        unlisten()
        resolve()
      }
      const unlisten = onAbort(signal, () => {
        this.#waiting.delete(wake)
        reject(signal.reason)
      })
      this.#waiting.add(wake)
    })
  }

  wakeAll(): void {
    for (const wake of [...this.#waiting]) wake()
  }

  /** Wakes only who has waited longest. */
  wakeOne(): void {
    for (const wake of this.#waiting) return wake()
  }
}
