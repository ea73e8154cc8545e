import type { Milliseconds } from '../time/clock.ts'
import type { QuotaAnswer } from './quota-answer.ts'

/** What `take` answers. */
export type Taken =
  | {
      readonly ok: true
      /** What is left of the window after this. */
      readonly remaining: number
      /** Set where this call begins a window: how long that will be. */
      readonly opensMs?: Milliseconds
    }
  | {
      readonly ok: false
      readonly remaining: number
      /** Until it could be taken; Infinity where more was asked for than the limit is. */
      readonly retryAfterMs: Milliseconds
    }

/** How many calls an owner may make in a window. `own` where the limit was set for this owner, and is not the default. */
export interface Allowance {
  readonly limit: number
  readonly own: boolean
}

export interface PoolState {
  readonly limit: number
  readonly remaining: number
  /** Until the whole limit is there again; 0 where it is. */
  readonly resetAfterMs: Milliseconds
}

/** How long windows are, and how much later one ends whose end no answer has told; as much before that length nothing is given. */
export interface Window {
  readonly windowMs: Milliseconds
  readonly marginMs: Milliseconds
}

/** By how much the ends that two answers of one window tell may differ, because one came back slower. */
const SLOWEST_ANSWER_MS: Milliseconds = 1_000

/**
 * What the upstream counts for one owner, as far as we know: windows that begin with their first call. Nothing goes
 * that would pass the limit, and what an answer says can only take away from this window, never add to it. All times
 * are monotonic, so that a clock that steps moves nothing.
 */
export class OwnerPool {
  #used = 0
  /** Undefined: no window is open, and the next call begins one. */
  #endsAt: Milliseconds | undefined
  /** Whether an answer told when this window ends. Else it is reckoned from our first call of it. */
  #isTold = false
  /** From here on it may have ended upstream, and nothing is given of it; undefined where that is known. */
  #doubtfulAt: Milliseconds | undefined
  /** When the window before this one ended. */
  #endedAt = Number.NEGATIVE_INFINITY
  #toldLimit: number | undefined
  #closedUntil: Milliseconds = Number.NEGATIVE_INFINITY

  /** Takes `n` calls now, or says how long until it could. */
  take(n: number, allowance: Allowance, window: Window, now: Milliseconds): Taken {
    this.#roll(now)
    const limit = this.#limit(allowance)
    const remaining = this.#remaining(limit, now)
    if (n > limit) return { ok: false, remaining, retryAfterMs: Number.POSITIVE_INFINITY }
    if (n > remaining) return { ok: false, remaining, retryAfterMs: this.#freeAt(n, limit, now) - now }
    this.#used += n
    if (this.#endsAt !== undefined) return { ok: true, remaining: remaining - n }
    this.#endsAt = now + window.windowMs + window.marginMs
    this.#doubtfulAt = window.marginMs > 0 ? this.#endsAt - 2 * window.marginMs : undefined
    return { ok: true, remaining: remaining - n, opensMs: window.windowMs }
  }

  state(allowance: Allowance, now: Milliseconds): PoolState {
    this.#roll(now)
    const limit = this.#limit(allowance)
    const fullAt = Math.max(this.#closedUntil, this.#endsAt ?? now, now)
    return { limit, remaining: this.#remaining(limit, now), resetAfterMs: fullAt - now }
  }

  /** Takes in an answer that came at `now`, as far as it is believed. */
  learn(answer: QuotaAnswer, allowance: Allowance, window: Window, now: Milliseconds): void {
    this.#roll(now)
    const { limit, remaining, resetAfterMs, retryAfterMs } = answer
    if (limit !== undefined) this.#toldLimit = limit
    if (retryAfterMs !== undefined) this.#closedUntil = Math.max(this.#closedUntil, now + retryAfterMs)
    if (resetAfterMs !== undefined) {
      if (this.#isOfAnEarlierWindow(now + resetAfterMs, window)) return
      // Every answer's reset is late by its way back. The latest is the safe one.
      this.#endsAt = this.#isTold ? Math.max(this.#endsAt!, now + resetAfterMs) : now + resetAfterMs
      this.#isTold = true
      this.#doubtfulAt = undefined
    }
    if (remaining === undefined) return
    const used = this.#limit(allowance) - remaining
    if (used <= this.#used) return
    this.#used = used
    // The upstream's window began before now, so it ends before this.
    this.#endsAt ??= now + window.windowMs
  }

  /** A limit that somebody sets is newer than what answers told before. */
  forgetToldLimit(): void {
    this.#toldLimit = undefined
  }

  /** Whether nothing would be lost if it were forgotten, but what answers told of the limit. */
  idle(now: Milliseconds): boolean {
    return now >= this.#closedUntil && (this.#endsAt === undefined || now >= this.#endsAt)
  }

  /**
   * What was set for this owner is a ceiling: answers only lower it. A default is a guess until an answer tells better.
   */
  #limit({ limit, own }: Allowance): number {
    if (this.#toldLimit === undefined) return limit
    return own ? Math.min(limit, this.#toldLimit) : this.#toldLimit
  }

  #remaining(limit: number, now: Milliseconds): number {
    return now < this.#closedUntil || this.#isDoubtful(now) ? 0 : Math.max(0, limit - this.#used)
  }

  #isDoubtful(now: Milliseconds): boolean {
    return this.#doubtfulAt !== undefined && now >= this.#doubtfulAt
  }

  #freeAt(n: number, limit: number, now: Milliseconds): Milliseconds {
    const endsAt = this.#used + n > limit || this.#isDoubtful(now) ? this.#endsAt! : now
    return Math.max(this.#closedUntil, endsAt)
  }

  /** An answer to a call of the window before may arrive when the next has begun, and tells the end of its own. */
  #isOfAnEarlierWindow(toldEnd: Milliseconds, { windowMs }: Window): boolean {
    const slackMs = Math.min(windowMs / 2, SLOWEST_ANSWER_MS)
    if (this.#isTold) return toldEnd < this.#endsAt! - slackMs
    return toldEnd < this.#endedAt + slackMs
  }

  #roll(now: Milliseconds): void {
    if (this.#endsAt === undefined || now < this.#endsAt) return
    this.#endedAt = this.#endsAt
    this.#endsAt = undefined
    this.#isTold = false
    this.#doubtfulAt = undefined
    this.#used = 0
  }
}
