import type { PoolState } from '../quota/owner-pool.ts'
import type { LimitedWindow, QuotaWindows, Taken } from '../quota/pool-store.ts'
import type { HeardAnswer } from '../quota/quota-answer.ts'
import type { Milliseconds } from '../time/clock.ts'
import { TOLD_BY_WINDOW, TOLD_FIRST } from './pool-scripts.ts'

/** A lease, and a refusal, is asked about again after this: how soon a process notices what others changed. */
export const LEASE_MS: Milliseconds = 250
/** Leases of one owner that follow each other faster than this grow, slower ones shrink. */
const BUSY_MS: Milliseconds = 50
const LARGEST_LEASE = 10_000
/** By how much the ends of one window that two answers tell may differ without being news. */
const SAME_END_MS: Milliseconds = 100

/** What a process knows of one of the windows. */
interface HeldWindow {
  readonly window: LimitedWindow
  /** Which one it is: when it began, on Redis's clock; 0 for none. */
  began: number
  endsAt: Milliseconds
  /** Its end as seen from here, late by the way from Redis: what a refusal waits for. */
  freeAt: Milliseconds
  /** What its end is known by, as the scripts say it: 0 the first call, 2 what an answer told. */
  endBy: number
  /** Until when what is leased of it may be spent: a call that is sent later may arrive after its end. */
  spendUntil: Milliseconds
  /** The most that was seen given out of it, and given back. */
  given: number
  back: number
  /** What Redis had left for everybody when it was last asked. */
  rest: number
  limit: number
}

/** An answer that is told later, which window it is about, and when it came. */
export interface Untold {
  readonly answer: HeardAnswer
  readonly place: number | undefined
  readonly at: Milliseconds
}

/**
 * What a process holds of one owner's pool in Redis, and what it decides without asking. Times are monotonic, and early by
 * the way from Redis: the safe side.
 */
export class HeldPool {
  /** Whoever asks Redis about this owner; the others wait for it. */
  asking: Promise<void> | undefined
  /** An answer that Redis has not been told, because it was away. */
  untold: Untold | undefined
  readonly #windows: readonly HeldWindow[]
  /** Calls leased and not made. */
  #left = 0
  /** When all that is known was last forgotten, on Redis's clock. */
  #epoch = 0
  /** Until when leased calls are spent without asking, and refusals are sure. */
  #leasedUntil: Milliseconds = 0
  #refusedUntil: Milliseconds = 0
  #closedUntil: Milliseconds = 0
  /** How many calls the next lease asks for. */
  #want = 1
  /** When the last lease came: a Redis that is far away makes nobody less busy. */
  #leasedAt = Number.NEGATIVE_INFINITY

  constructor(windows: QuotaWindows['windows'], own: number | undefined) {
    const held = (window: LimitedWindow, limit = window.limit): HeldWindow => ({
      window,
      began: 0,
      endsAt: 0,
      freeAt: 0,
      endBy: 0,
      spendUntil: 0,
      given: 0,
      back: 0,
      rest: 0,
      limit,
    })
    this.#windows = windows.map((window, place) => held(window, place === 0 ? own : undefined))
  }

  /** What Redis had left for everybody, of the window that had least. */
  get #rest(): number {
    return Math.min(...this.#windows.map(({ rest }) => rest))
  }

  get limits(): readonly number[] {
    return this.#windows.map(({ limit }) => limit)
  }

  /** Without a word to Redis; undefined where it has to be asked. */
  take(n: number, now: Milliseconds): Taken | undefined {
    if (now < this.#closedUntil) {
      // Asked about again, because somebody may have reset it meanwhile.
      return now < this.#refusedUntil ? { ok: false, remaining: 0, retryAfterMs: this.#closedUntil - now } : undefined
    }
    if (n <= this.#left && now < this.#leasedUntil) return this.#spend(n)
    return now < this.#refusedUntil && n > this.#left + this.#rest ? this.#refusal(n, now) : undefined
  }

  /** What was just leased, or a refusal. `opens` are the windows that it began. */
  takeLeased(n: number, opens: readonly Milliseconds[], now: Milliseconds): Taken {
    this.#leasedAt = now
    if (n > this.#left) return this.#refusal(n, now)
    return { ...this.#spend(n), ...(opens.length > 0 && { opens }) }
  }

  /** Leased calls are ours until their window ends, whether their lease could be renewed or not. */
  takeAway(n: number, now: Milliseconds): Taken | undefined {
    if (n > this.#left || now < this.#closedUntil || now >= this.#spendUntil) return undefined
    this.#left -= n
    return { ok: true, remaining: this.#left }
  }

  /** How many calls a lease for `n` asks for: twice as much as the last where that was gone at once, half where it was not. */
  wanted(n: number, now: Milliseconds): number {
    const isBusy = now - this.#leasedAt < BUSY_MS
    this.#want = isBusy ? Math.min(this.#want * 2, LARGEST_LEASE) : Math.max(1, Math.ceil(this.#want / 2))
    return Math.max(n, this.#want)
  }

  states(now: Milliseconds): readonly PoolState[] {
    return this.#windows.map(({ limit, rest, endsAt }) => ({
      limit,
      remaining: now < this.#closedUntil ? 0 : rest + this.#left,
      resetAfterMs: Math.max(now, endsAt, this.#closedUntil) - now,
    }))
  }

  /** A 429 closes it for this process at once. */
  close(ms: Milliseconds, now: Milliseconds): void {
    this.#closedUntil = Math.max(this.#closedUntil, now + ms)
  }

  closedMs(now: Milliseconds): Milliseconds {
    return this.#closedUntil - now
  }

  /** Whether an answer about the window at that place says more than is known: most do not, and cost no round trip. */
  isNews(answer: HeardAnswer, place: number | undefined, now: Milliseconds): boolean {
    const { limit, remaining, resetAfterMs, retryAfterMs, isReckoned } = answer
    if (retryAfterMs !== undefined) return true
    if (place === undefined) return false
    const held = this.#windows[place]!
    if (isReckoned) return held.endBy === 0 && now < held.endsAt
    if (limit !== undefined && limit !== held.limit) return true
    // Nothing is known of what a window that has not begun here has left.
    const left = now < held.endsAt ? held.rest + this.#left : held.limit
    if (remaining !== undefined && remaining < left) return true
    if (resetAfterMs === undefined) return false
    return held.endBy !== 2 || Math.abs(now + resetAfterMs - held.endsAt) > SAME_END_MS
  }

  /** Whether there is anything to give back by now, or will be: of windows that have not ended. */
  holdsUnused(now: Milliseconds): boolean {
    return this.#left > 0 && this.#windows.some(({ endsAt }) => now < endsAt)
  }

  isLeased(now: Milliseconds): boolean {
    return now < this.#leasedUntil
  }

  /**
   * What a script is told first; `own` is what the quota was made with for this owner. What is leased is given back with
   * it. Where no answer comes, nobody knows whether it was: it is not spent again.
   */
  words(own: number | undefined, now: Milliseconds): Array<string | number> {
    const words = [this.#windows.length, this.#epoch, own ?? '', this.#left]
    for (const { window, began, endsAt, given, back } of this.#windows) {
      const knownMs = Math.max(0, Math.floor(endsAt - now))
      words.push(window.windowMs, Math.ceil(window.marginMs), window.limit, began, knownMs, given, back)
    }
    this.#left = 0
    return words
  }

  /** Takes in what a script answered to a question that was sent at `sentAt`. Says which windows it opened, and whether a limit is set. */
  hear(
    reply: readonly unknown[],
    sentAt: Milliseconds,
    now: Milliseconds,
  ): { readonly opens: readonly Milliseconds[]; readonly isSet: boolean } {
    const numbers = reply.map(Number)
    const [granted = 0, closedMs = 0, isSet, epoch = 0] = numbers
    const opens: Milliseconds[] = []
    for (const [place, held] of this.#windows.entries()) {
      const at = TOLD_FIRST + place * TOLD_BY_WINDOW
      const [began = 0, rest = 0, limit = 0, endsInMs = 0, endBy = 0, given = 0, back = 0, spendMs = 0, opened] =
        numbers.slice(at, at + TOLD_BY_WINDOW)
      const endsAt = endsInMs > 0 ? sentAt + endsInMs : 0
      const freeAt = now + endsInMs
      Object.assign(held, { began, rest, limit, endsAt, freeAt, endBy, given, back, spendUntil: sentAt + spendMs })
      if (opened === 1) opens.push(held.window.windowMs)
    }
    const closedUntil = closedMs > 0 ? now + closedMs : 0
    this.#closedUntil = epoch === this.#epoch ? Math.max(this.#closedUntil, closedUntil) : closedUntil
    this.#epoch = epoch
    this.#left = granted
    this.#refusedUntil = Math.min(sentAt + LEASE_MS, ...this.#open.map(({ endsAt }) => endsAt))
    this.#leasedUntil = Math.min(this.#refusedUntil, this.#spendUntil)
    return { opens, isSet: isSet === 1 }
  }

  get #open(): readonly HeldWindow[] {
    return this.#windows.filter(({ endsAt }) => endsAt > 0)
  }

  get #spendUntil(): Milliseconds {
    return Math.min(...this.#open.map(({ spendUntil }) => spendUntil))
  }

  #spend(n: number): Taken & { readonly ok: true } {
    this.#left -= n
    return { ok: true, remaining: this.#left + this.#rest }
  }

  #refusal(n: number, now: Milliseconds): Taken {
    const remaining = now < this.#closedUntil ? 0 : this.#left + this.#rest
    if (this.#windows.some(({ limit }) => n > limit))
      return { ok: false, remaining, retryAfterMs: Number.POSITIVE_INFINITY }
    let freeAt = Math.max(now, this.#closedUntil)
    for (const held of this.#windows) if (n > this.#left + held.rest) freeAt = Math.max(freeAt, held.freeAt)
    return { ok: false, remaining, retryAfterMs: Math.max(1, freeAt - now) }
  }
}
