import { afterInput, alarm, type Clock, type Milliseconds } from '../time/clock.ts'

/** A question that has to be answered in time. */
export interface Deadline {
  readonly dueAt: Milliseconds
  late: () => void
}

/** Stands in for what was to happen to a question that is answered. */
const ANSWERED = () => {}

/** One alarm for all deadlines: setting one for each question would cost as much as the question. */
export class Deadlines {
  readonly #clock: Clock
  readonly #pending = new Set<Deadline>()
  #cancelAlarm: () => void = () => {}
  #alarmAt = Number.POSITIVE_INFINITY

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Calls `late` after `ms`, unless `met` comes first, or had already arrived at the socket by then. */
  set(ms: Milliseconds, late: () => void): Deadline {
    const deadline = { dueAt: this.#clock.monotonic() + ms, late }
    this.#pending.add(deadline)
    if (deadline.dueAt < this.#alarmAt) this.#setAlarm(deadline.dueAt)
    return deadline
  }

  met(deadline: Deadline): void {
    this.#pending.delete(deadline)
    // A Set that is resized leaves its old table behind, which keeps what was in it for a while. The answer must not
    // be among that.
    deadline.late = ANSWERED
    if (this.#pending.size > 0) return
    this.#cancelAlarm()
    this.#alarmAt = Number.POSITIVE_INFINITY
  }

  #setAlarm(at: Milliseconds): void {
    this.#cancelAlarm()
    this.#alarmAt = at
    this.#cancelAlarm = alarm(this.#clock, at - this.#clock.monotonic(), () => {
      this.#alarmAt = Number.POSITIVE_INFINITY
      afterInput(() => this.#judge())
    })
  }

  #judge(): void {
    const now = this.#clock.monotonic()
    let nextAt = Number.POSITIVE_INFINITY
    for (const deadline of this.#pending) {
      if (deadline.dueAt > now) {
        nextAt = Math.min(nextAt, deadline.dueAt)
        continue
      }
      this.#pending.delete(deadline)
      deadline.late()
    }
    if (nextAt < this.#alarmAt) this.#setAlarm(nextAt)
  }
}
