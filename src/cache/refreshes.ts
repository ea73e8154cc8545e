import { type Clock, type Milliseconds, sleepIdly } from '../time/clock.ts'

/** Those that come within this of each other come together. */
const TOGETHER_MS: Milliseconds = 100
/** Over which time those that come together are spread, by chance. */
const SPREAD_MS: Milliseconds = 4_000
/** Of attempts after a failure that somebody would wait for, so many go at once in `TOGETHER_MS`. */
const AT_ONCE = 10
/** Waiting for their turn; of more, those that come last are asked for again by the next hit. */
const MOST_WAITING = 20_000

export interface RefreshesOptions {
  readonly clock: Clock
  /** From 0 to below 1. */
  readonly random: () => number
  /** Under way at once. */
  readonly most: number
}

/**
 * Refreshes that nobody waits for. One that comes alone begins at once; lists that were fetched together become due
 * together, and are spread over some seconds. Never more than `most` at once: what finds no place is dropped, because the
 * next hit asks again.
 */
export class Refreshes {
  readonly #options: RefreshesOptions
  /** By id, so that none waits twice. */
  readonly #waiting = new Set<string>()
  readonly #ended = new AbortController()
  #underWay = 0
  #lastMs = Number.NEGATIVE_INFINITY
  #since = Number.NEGATIVE_INFINITY
  #atOnce = 0

  /** How long one waits for its turn at most. */
  readonly longestWaitMs = SPREAD_MS

  constructor(options: RefreshesOptions) {
    this.#options = options
  }

  /** Whether one is already waiting for its turn. */
  isWaiting(id: string): boolean {
    return this.#waiting.has(id)
  }

  /**
   * Begins `load` now or a little later. `load` returns what ends with it, or undefined where it is not wanted any more.
   * Resolves when it has ended or was dropped; never rejects.
   */
  begin(id: string, load: () => Promise<unknown> | undefined): Promise<void> {
    const { clock } = this.#options
    if (this.#waiting.has(id)) return Promise.resolve()
    const now = clock.monotonic()
    const isAlone = now - this.#lastMs >= TOGETHER_MS
    this.#lastMs = now
    if (isAlone) return this.#run(load)
    if (this.#waiting.size >= MOST_WAITING) return Promise.resolve()
    return this.#later(id, load)
  }

  /** Whether an attempt after a failure may go at once; else it is one of too many, and goes with `begin`. */
  mayGo(): boolean {
    const now = this.#options.clock.monotonic()
    if (now - this.#since >= TOGETHER_MS) {
      this.#since = now
      this.#atOnce = 0
    }
    return ++this.#atOnce <= AT_ONCE
  }

  /** Drops those that wait. */
  close(): void {
    this.#ended.abort()
  }

  async #later(id: string, load: () => Promise<unknown> | undefined): Promise<void> {
    const { clock, random } = this.#options
    this.#waiting.add(id)
    try {
      await sleepIdly(clock, random() * SPREAD_MS, this.#ended.signal)
    } catch {
      return
    } finally {
      this.#waiting.delete(id)
    }
    await this.#run(load)
  }

  async #run(load: () => Promise<unknown> | undefined): Promise<void> {
    if (this.#underWay >= this.#options.most) return
    this.#underWay++
    try {
      await load()
    } catch {
      // What failed is noted where it failed.
    } finally {
      this.#underWay--
    }
  }
}
