import type { Milliseconds } from '../time/clock.ts'

/** How long a shortest round trip is believed: a path that became faster is noticed within two of these. */
const GENERATION_MS = 30_000
/** How many answers must have been seen before their shortest says anything. */
const ENOUGH_ANSWERS = 5

/**
 * The shortest round trip seen lately. It says how much earlier than its answer a request may be repeated: the server
 * made the answer at most (round trip − shortest way back) after we sent it, and a new request needs at least the
 * shortest way there. So *received + reset − shortest round trip* is a time at which sending is safe, however the two
 * ways differ and however much they jitter; counting from the time of receipt would waste a round trip per window.
 */
export class Latency {
  #current = Number.POSITIVE_INFINITY
  #previous = Number.POSITIVE_INFINITY
  #answers = 0
  #generationEndsAt = 0

  observe(sentAt: Milliseconds, receivedAt: Milliseconds): void {
    const roundTripMs = receivedAt - sentAt
    if (!(roundTripMs >= 0)) return
    if (receivedAt >= this.#generationEndsAt) {
      this.#previous = this.#current
      this.#current = roundTripMs
      this.#generationEndsAt = receivedAt + GENERATION_MS
    } else if (roundTripMs < this.#current) {
      this.#current = roundTripMs
    }
    this.#answers++
  }

  /** The round trip that may be taken off a wait counted from an answer's receipt; 0 until enough was seen. */
  get creditMs(): Milliseconds {
    if (this.#answers < ENOUGH_ANSWERS) return 0
    return Math.max(0, Math.min(this.#current, this.#previous) * 0.95 - MARGIN_MS)
  }

  /** A request came too early after all: nothing is taken off until enough has been seen anew. */
  distrust(): void {
    this.#current = Number.POSITIVE_INFINITY
    this.#previous = Number.POSITIVE_INFINITY
    this.#answers = 0
    this.#generationEndsAt = 0
  }
}

/** Headers are rounded to a millisecond, and so are timers. */
export const MARGIN_MS: Milliseconds = 2
