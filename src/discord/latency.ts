import type { Milliseconds } from '../time/clock.ts'

/** How long a shortest round trip is believed: a path that became faster is noticed within two of these. */
const GENERATION_MS = 30_000
/** On how many occasions round trips must have been seen before the shortest says anything. */
const ENOUGH_OCCASIONS = 3
/** Round trips that begin closer together belong to one occasion. */
const OCCASION_MS = 500

/**
 * The shortest round trip seen lately. It says how much earlier than its answer a request may be repeated: the server
 * made the answer at most (round trip − shortest way back) after we sent it, and a new request needs at least the
 * shortest way there. So *received + reset − shortest round trip* is a time at which sending is safe, however the two
 * ways differ and however much they jitter; counting from the time of receipt would waste a round trip per window.
 *
 * It is safe only where the shortest seen is near the shortest there is. All round trips of one burst are lengthened by
 * the burst itself, most of all those of a cold process, so a burst is one occasion however many answers it brings, and
 * several occasions are needed. A round trip that had the process to itself counts for two.
 */
export class Latency {
  #current = Number.POSITIVE_INFINITY
  #previous = Number.POSITIVE_INFINITY
  #generationEndsAt = 0
  #occasions = 0
  #occasionEndsAt = Number.NEGATIVE_INFINITY
  #underWay = 0
  /** When somebody else last was under way. */
  #crowdedAt = Number.NEGATIVE_INFINITY

  /** A request goes out. */
  sent(now: Milliseconds): void {
    if (++this.#underWay > 1) this.#crowdedAt = now
  }

  /** A request that went out has ended, with or without an answer. */
  ended(now: Milliseconds): void {
    if (this.#underWay > 1) this.#crowdedAt = now
    this.#underWay--
  }

  /** A request was answered; `ended` is called beside it. */
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
    if (sentAt < this.#occasionEndsAt) return
    const alone = this.#crowdedAt < sentAt
    this.#occasions += alone ? 2 : 1
    this.#occasionEndsAt = alone ? receivedAt : receivedAt + OCCASION_MS
  }

  /** The round trip that may be taken off a wait counted from an answer's receipt; 0 until enough was seen. */
  get creditMs(): Milliseconds {
    if (this.#occasions < ENOUGH_OCCASIONS) return 0
    return Math.max(0, Math.min(this.#current, this.#previous) * 0.95 - MARGIN_MS)
  }

  /** A request came too early after all: nothing is taken off until enough has been seen anew. */
  distrust(): void {
    this.#current = Number.POSITIVE_INFINITY
    this.#previous = Number.POSITIVE_INFINITY
    this.#occasions = 0
    this.#generationEndsAt = 0
  }
}

/** Headers are rounded to a millisecond, and so are timers. */
export const MARGIN_MS: Milliseconds = 2
