import type { Clock, Milliseconds } from '../time/clock.ts'
import type { Priority } from './call.ts'
import type { InvalidRequests } from './fleet.ts'
import { type OnGivingUp, Waiters } from './waiters.ts'

/** Discord bans an address after this many 401, 403 and 429 (not `shared`) within ten minutes (docs, topic Rate Limits, Invalid Request Limit). */
export const INVALID_LIMIT = 10_000
const WINDOW_MS: Milliseconds = 10 * 60 * 1000
const SLOTS = 60
const SLOT_MS = WINDOW_MS / SLOTS

/** Up to which share of the limit each kind of work may go on. Logins stop just before the ban, when all else is lost. */
const SHARES: Readonly<Record<Priority, number>> = { background: 0.8, page: 0.95, login: 0.99 }
/** Tokens never seen valid may use this share in all, so that strangers with made-up tokens cannot spend the rest. */
const STRANGERS_SHARE = 0.05

/** For how long a stranger's request counts that was sent and that trouble on the way left without an answer. */
const UNANSWERED_MS: Milliseconds = 60_000

/** A count over the last ten minutes, exact to ten seconds on the safe side. */
class SlidingCount {
  readonly #slots = new Uint32Array(SLOTS + 1)
  #newest = 0
  #total = 0

  add(now: Milliseconds, count = 1, agoMs: Milliseconds = 0): void {
    this.#moveTo(now)
    const slot = slotOf(now - agoMs)
    if (slot < this.#newest - SLOTS) return
    this.#slots[slot % this.#slots.length]! += count
    this.#total += count
  }

  clear(): void {
    this.#slots.fill(0)
    this.#total = 0
  }

  total(now: Milliseconds): number {
    this.#moveTo(now)
    return this.#total
  }

  /** When the count will have gone down to `target`, if nothing is added. */
  msUntil(target: number, now: Milliseconds): Milliseconds {
    this.#moveTo(now)
    let left = this.#total
    for (let age = SLOTS; age >= 0; age--) {
      if (left <= target) return Math.max(0, (this.#newest - age) * SLOT_MS - now)
      const slot = this.#newest - age
      if (slot >= 0) left -= this.#slots[slot % this.#slots.length]!
    }
    return (this.#newest + 1) * SLOT_MS - now
  }

  #moveTo(now: Milliseconds): void {
    const slot = slotOf(now)
    if (slot <= this.#newest) return
    for (let passed = Math.max(this.#newest + 1, slot - SLOTS); passed <= slot; passed++) {
      const index = passed % this.#slots.length
      this.#total -= this.#slots[index]!
      this.#slots[index] = 0
    }
    this.#newest = slot
  }
}

/** Counted from ten minutes before the clock's beginning, which is that of the process: what others sent before it has a slot too. */
const slotOf = (at: Milliseconds) => Math.max(0, Math.floor(at / SLOT_MS) + SLOTS)

/** How near this process is to Discord's ban for invalid requests, and who has to stop because of it. */
export class InvalidBudget {
  readonly #clock: Clock
  readonly #all = new SlidingCount()
  readonly #strangers = new SlidingCount()
  #strangersInFlight = 0
  readonly #strangerAnswered = new Waiters()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** The share of the limit that is used, from 0 to 1. */
  get used(): number {
    return this.#all.total(this.#clock.monotonic()) / INVALID_LIMIT
  }

  /** How long work of this priority has to stop; 0 while it may go on. */
  stoppedForMs(priority: Priority): Milliseconds {
    const now = this.#clock.monotonic()
    const allowed = SHARES[priority] * INVALID_LIMIT
    return this.#all.total(now) < allowed ? 0 : this.#all.msUntil(allowed - 1, now)
  }

  /** How long tokens never seen valid have to stop; 0 while one may go, `'soon'` while those under way could still spend what is left. */
  strangersStoppedForMs(): Milliseconds | 'soon' {
    const now = this.#clock.monotonic()
    const allowed = STRANGERS_SHARE * INVALID_LIMIT
    const spent = this.#strangers.total(now)
    if (spent >= allowed) return this.#strangers.msUntil(allowed - 1, now)
    return spent + this.#strangersInFlight >= allowed ? 'soon' : 0
  }

  strangerSent(): void {
    this.#strangersInFlight++
  }

  /**
   * A stranger's request has ended. `invalid` if Discord counts its answer; without an answer nobody knows, and then its
   * place stays spent: for the whole window where the caller gave it up, or made-up tokens could be tried without end by
   * giving up; for a minute where Discord did not answer, so that an outage does not shut out who signs in after it.
   */
  strangerAnswered(outcome: 'invalid' | 'valid' | 'given up' | 'unanswered'): void {
    this.#strangersInFlight--
    if (outcome === 'valid') return this.#strangerAnswered.wakeOne()
    const now = this.#clock.monotonic()
    if (outcome === 'unanswered') this.#strangers.add(now, 1, WINDOW_MS - UNANSWERED_MS)
    else this.#strangers.add(now)
    // Its place is spent. Those who wait are woken only when nothing is left to wait for.
    if (typeof this.strangersStoppedForMs() === 'number') this.#strangerAnswered.wakeAll()
  }

  /** A stranger's request ended before it was sent. */
  strangerGaveBack(): void {
    this.#strangersInFlight--
    this.#strangerAnswered.wakeOne()
  }

  /** Lets the next one in line ask, where somebody was woken for a place and does not use it yet. */
  wakeNextStranger(): void {
    if (this.strangersStoppedForMs() === 0) this.#strangerAnswered.wakeOne()
  }

  /** Resolves when it is worth asking again whether a stranger may go; rejects with the reason that `onGivingUp` gives. */
  nextStrangerAnswered(onGivingUp: OnGivingUp): Promise<void> {
    return this.#strangerAnswered.wait(onGivingUp)
  }

  /** An answer that Discord counts as invalid: 401, 403, or 429 that is not `shared`. */
  spend(): void {
    this.#all.add(this.#clock.monotonic())
  }

  /** What other processes sent spends the same budget: Discord counts by address. */
  sentElsewhere(requests: readonly InvalidRequests[]): void {
    const now = this.#clock.monotonic()
    for (const { agoMs, count, strangers } of requests) {
      // More than the limit is no worse than the limit.
      this.#all.add(now, Math.min(count, INVALID_LIMIT), agoMs)
      this.#strangers.add(now, Math.min(strangers, INVALID_LIMIT), agoMs)
    }
    if (typeof this.strangersStoppedForMs() === 'number') this.#strangerAnswered.wakeAll()
  }

  /** Takes over the count of all processes, unless this one has counted more itself. */
  adopt(totals: readonly InvalidRequests[]): void {
    const total = totals.reduce((sum, { count }) => sum + count, 0)
    if (total < this.#all.total(this.#clock.monotonic())) return
    this.#all.clear()
    this.#strangers.clear()
    this.sentElsewhere(totals)
  }
}
