/** Calls `giveUp` with the reason once a caller waits no longer; the returned function ends that. */
export type OnGivingUp = (giveUp: (reason: unknown) => void) => () => void

/** Callers that wait for something to happen. */
export class Waiters {
  /** In order of arrival. */
  readonly #waiting = new Set<() => void>()

  /** Resolves when it happens next; rejects with the reason that `onGivingUp` gives. */
  wait(onGivingUp: OnGivingUp): Promise<void> {
    return new Promise((resolve, reject) => {
      const wake = () => {
        this.#waiting.delete(wake)
        end()
        resolve()
      }
      const end = onGivingUp((reason) => {
        this.#waiting.delete(wake)
        reject(reason)
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
