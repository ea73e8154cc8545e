import type { Milliseconds } from '../time/clock.ts'
import { BELIEVED_WINDOWS, type HeardAnswer } from './quota-answer.ts'

/** How many calls an owner may make in a window. `own` where the limit was set for this owner, and is not the default. */
export interface Allowance {
  readonly limit: number
  readonly own: boolean
}

/** Why calls cannot be taken now. */
export interface Refusal {
  readonly remaining: number
  /** Until they could be; Infinity where more was asked for than the limit is. */
  readonly retryAfterMs: Milliseconds
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
/** Many upstreams tell ends in whole seconds, rounded in whichever direction. */
const SECOND_MS: Milliseconds = 1_000

/**
 * What the upstream counts for one owner in windows of one length, as far as we know: they begin with their first call.
 * Nothing goes that would pass the limit, and what an answer says can only take away from this window, never add to it.
 * Between the earliest moment at which a call that is sent may arrive in the next window, and the latest at which this
 * one may end, nothing is given: nobody could say which of them it would be counted in. All times are monotonic, so that
 * a clock that steps moves nothing. `src/redis/pool-scripts.ts` does the same in Redis.
 */
export class OwnerPool {
  #used = 0
  /** Undefined: no window is open, and the next call begins one. */
  #endsAt: Milliseconds | undefined
  /** From here on a call may arrive after its end. */
  #sureUntil: Milliseconds = 0
  /** What its end is known by: our first call of it, the answer to that, or what an answer told. */
  #endBy: 'call' | 'answer' | 'word' = 'call'
  /** When our own call began it. */
  #beganAt: Milliseconds | undefined
  /** When the window before this one ended. */
  #endedAt = Number.NEGATIVE_INFINITY
  #toldLimit: number | undefined
  /** Whether ends are told in whole seconds, as far as they could show it. */
  #inSeconds: boolean | undefined
  #closedUntil: Milliseconds = Number.NEGATIVE_INFINITY

  /** Why `n` calls cannot be taken now; undefined where they can. */
  refusal(n: number, allowance: Allowance, window: Window, now: Milliseconds): Refusal | undefined {
    this.#roll(now)
    const limit = this.limit(allowance)
    const remaining = this.#remaining(limit, window, now)
    if (n > limit) return { remaining, retryAfterMs: Number.POSITIVE_INFINITY }
    if (n <= remaining) return undefined
    const endsAt = this.#used + n > limit || this.#isDoubtful(window, now) ? this.#endsAt! : now
    return { remaining, retryAfterMs: Math.max(this.#closedUntil, endsAt) - now }
  }

  /** Counts `n` calls. Says whether they begin a window. */
  count(n: number, { windowMs, marginMs }: Window, now: Milliseconds): boolean {
    this.#roll(now)
    this.#used += n
    if (this.#endsAt !== undefined) return false
    this.#beganAt = now
    this.#endsAt = now + windowMs + marginMs
    this.#sureUntil = marginMs > 0 ? now + windowMs - marginMs : this.#endsAt
    return true
  }

  state(allowance: Allowance, window: Window, now: Milliseconds): PoolState {
    this.#roll(now)
    const limit = this.limit(allowance)
    const fullAt = Math.max(this.#closedUntil, this.#endsAt ?? now, now)
    return { limit, remaining: this.#remaining(limit, window, now), resetAfterMs: fullAt - now }
  }

  /** A 429: nothing goes before this has passed. */
  close(ms: Milliseconds, now: Milliseconds): void {
    this.#closedUntil = Math.max(this.#closedUntil, now + ms)
  }

  /** Takes in an answer that came at `now`, as far as it is believed. */
  learn(answer: HeardAnswer, allowance: Allowance, window: Window, now: Milliseconds): void {
    this.#roll(now)
    const { limit, remaining, resetAfterMs } = answer
    if (limit !== undefined) this.#toldLimit = limit
    if (resetAfterMs !== undefined && !this.#hearEnd(resetAfterMs, answer, window, now)) return
    if (remaining === undefined) return
    const used = this.limit(allowance) - remaining
    if (used <= this.#used) return
    this.#used = used
    if (this.#endsAt !== undefined) return
    // The upstream's window began before now, so it ends before this.
    this.#endsAt = now + window.windowMs
    this.#sureUntil = this.#endsAt
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
  limit({ limit, own }: Allowance): number {
    if (this.#toldLimit === undefined) return limit
    return own ? Math.min(limit, this.#toldLimit) : this.#toldLimit
  }

  #remaining(limit: number, window: Window, now: Milliseconds): number {
    return now < this.#closedUntil || this.#isDoubtful(window, now) ? 0 : Math.max(0, limit - this.#used)
  }

  #isDoubtful(window: Window, now: Milliseconds): boolean {
    if (this.#endsAt === undefined) return false
    const roundedMs = this.#endBy === 'word' && this.#inSeconds ? roundingMs(window) : 0
    return now >= this.#sureUntil - roundedMs
  }

  /** Takes in when an answer says that the window ends; false where that is the end of the window before. */
  #hearEnd(resetAfterMs: Milliseconds, answer: HeardAnswer, window: Window, now: Milliseconds): boolean {
    const { windowMs } = window
    const { isReckoned = false, isOfThisWindow = false } = answer
    const doubtMs = Math.min(answer.doubtMs ?? 0, windowMs / 2)
    let toldEnd = now + Math.min(resetAfterMs, BELIEVED_WINDOWS * windowMs)
    if (isReckoned) {
      // Only where nothing better is known.
      if (this.#endsAt === undefined || this.#endBy !== 'call') return true
      this.#endBy = 'answer'
      this.#endsAt = toldEnd
      this.#sureUntil = toldEnd - doubtMs
      return true
    }
    const slackMs = Math.min(windowMs / 2, SLOWEST_ANSWER_MS)
    const isTold = this.#endsAt !== undefined && this.#endBy === 'word'
    // An answer to a call of the window before may arrive when the next has begun, and tells the end of its own.
    const isOfEarlier = isTold
      ? toldEnd < Math.min(this.#endsAt! - slackMs, this.#sureUntil)
      : toldEnd - (answer.doubtMs ?? 0) < this.#endedAt + slackMs
    if (isOfEarlier && !isOfThisWindow) return false
    this.#hearPrecision(resetAfterMs, windowMs)
    const sureUntil = toldEnd - doubtMs
    if (this.#mayBeOurs(resetAfterMs, toldEnd, window)) toldEnd = this.#beganAt! + windowMs + doubtMs / 2
    this.#sureUntil = isTold ? Math.max(this.#sureUntil, sureUntil) : sureUntil
    // Every answer's reset is late by its way back: the earliest is the truest, but where some may be rounded down.
    if (!isTold) this.#endsAt = toldEnd
    else if (this.#inSeconds === false) this.#endsAt = Math.max(this.#sureUntil, Math.min(this.#endsAt!, toldEnd))
    else this.#endsAt = Math.max(this.#endsAt!, toldEnd)
    this.#endBy = 'word'
    return true
  }

  /** An end in whole seconds that, rounded down, could be that of a window which our own call began: it ends no sooner than that. */
  #mayBeOurs(resetAfterMs: Milliseconds, toldEnd: Milliseconds, window: Window): boolean {
    if (this.#beganAt === undefined || this.#inSeconds === false || resetAfterMs % SECOND_MS !== 0) return false
    const endsAt = this.#beganAt + window.windowMs
    return resetAfterMs < window.windowMs && toldEnd < endsAt && toldEnd + roundingMs(window) >= endsAt
  }

  #hearPrecision(resetAfterMs: Milliseconds, windowMs: Milliseconds): void {
    if (resetAfterMs % SECOND_MS !== 0) this.#inSeconds = false
    // A whole window is a whole window in any precision.
    else if (resetAfterMs !== windowMs) this.#inSeconds ??= true
  }

  #roll(now: Milliseconds): void {
    if (this.#endsAt === undefined || now < this.#endsAt) return
    this.#endedAt = this.#endsAt
    this.#endsAt = undefined
    this.#beganAt = undefined
    this.#endBy = 'call'
    this.#used = 0
  }
}

/** By how much an end told in whole seconds may be early or late. Of windows of seconds they say too little to give up more for. */
function roundingMs({ windowMs }: Window): Milliseconds {
  return Math.min(SECOND_MS, windowMs / 4)
}
