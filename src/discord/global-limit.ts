import type { Milliseconds } from '../time/clock.ts'

/** Requests a second for each user, and for each bot that was not given more (docs, topic Rate Limits, Global Rate Limit). */
export const GLOBAL_PER_SECOND = 50
const WINDOW_MS: Milliseconds = 1000

/**
 * The limit on all requests of one principal together. Discord counts it in windows of a second whose beginning
 * nobody is told, so no second of ours, wherever it begins, may hold more than the limit: a place that was taken is
 * free again one second after its answer was made.
 */
export class GlobalLimit {
  readonly #perSecond: number
  #inFlight = 0
  /** When the places of answered requests are free again, earliest first. */
  #freeAt: Milliseconds[] = []
  #heldUntil = 0

  constructor(perSecond = GLOBAL_PER_SECOND) {
    this.#perSecond = perSecond
  }

  /** Until when nothing may be sent, whatever is free: a global 429 said so. */
  get heldUntil(): Milliseconds {
    return this.#heldUntil
  }

  hold(until: Milliseconds): void {
    this.#heldUntil = Math.max(this.#heldUntil, until)
  }

  /** When a place is free: `now` or earlier if there is one, later if one is known to come, Infinity if an answer has to come first. */
  nextAt(now: Milliseconds): Milliseconds {
    if (now < this.#heldUntil) return this.#heldUntil
    let freed = 0
    while (freed < this.#freeAt.length && this.#freeAt[freed]! <= now) freed++
    if (freed > 0) this.#freeAt.splice(0, freed)
    const taken = this.#inFlight + this.#freeAt.length
    if (taken < this.#perSecond) return now
    // Two names of one principal may have had more under way together than one may have: that many have to end first.
    return this.#freeAt[taken - this.#perSecond] ?? Number.POSITIVE_INFINITY
  }

  take(): void {
    this.#inFlight++
  }

  /** The request was answered, and the answer made at `madeAt` at the latest (see Latency). */
  answered(madeAt: Milliseconds): void {
    this.#inFlight--
    const freeAt = madeAt + WINDOW_MS
    // Answers nearly always come in order; keep the list sorted where they do not.
    let index = this.#freeAt.length
    while (index > 0 && this.#freeAt[index - 1]! > freeAt) index--
    this.#freeAt.splice(index, 0, freeAt)
  }

  /** The request was never sent. */
  giveBack(): void {
    this.#inFlight--
  }

  /** Whether every place is free. */
  idle(now: Milliseconds): boolean {
    return this.#inFlight === 0 && now >= this.#heldUntil && (this.#freeAt.at(-1) ?? 0) <= now
  }

  /** Two names turned out to be one principal: what both used was used of one limit. */
  join(other: GlobalLimit): void {
    this.#inFlight += other.#inFlight
    this.#freeAt = [...this.#freeAt, ...other.#freeAt].sort((one, another) => one - another)
    this.hold(other.#heldUntil)
  }
}
