import type { Milliseconds } from '../time/clock.ts'
import { monthOf } from '../time/month.ts'
import { heldPoints, untilItFits } from '../time/sliding-window.ts'
import type { AppliedLimit } from './applied-limit.ts'
import type { Window } from './callers.ts'
import type { Costs, Count, Taken } from './counters.ts'

/** What is asked of the counters after a request was decided about. */
interface Counters {
  isOver(window: Window): boolean
  bringUp(window: Window): void
}

/** Says what happened only when it is asked: most requests never look. */
export class TakenInMemory implements Taken {
  /** Of the length they will have: arrays that grow make room for many. */
  readonly windows: Window[]
  /** For each limit that was charged: which turn of its window, and the count after that. */
  readonly marks: number[]
  admitted = true
  /** The wall clock, where a limit goes by it. */
  wall: Milliseconds = 0
  readonly #counters: Counters
  readonly #limits: readonly AppliedLimit[]
  readonly #costs: Costs
  readonly #now: Milliseconds
  #bySpentLimit = false
  #counts: readonly Count[] | undefined

  constructor(counters: Counters, limits: readonly AppliedLimit[], costs: Costs, now: Milliseconds) {
    this.#counters = counters
    this.#limits = limits
    this.#costs = costs
    this.#now = now
    this.windows = new Array(limits.length)
    this.marks = new Array(2 * limits.length)
  }

  refuse(bySpentLimit: boolean): void {
    this.admitted = false
    this.#bySpentLimit = bySpentLimit
    // The windows go on after this request: what refused it is told as it was.
    this.#counts = this.#count()
  }

  get counts(): readonly Count[] {
    this.#counts ??= this.#count()
    return this.#counts
  }

  get retryAfterMs(): Milliseconds {
    return this.counts.reduce((ms, count) => (count.refuses ? Math.max(ms, count.resetInMs) : ms), 0)
  }

  refund(): boolean {
    return this.#giveBack(false)
  }

  /** As if it had never been taken, for whoever was refused elsewhere: the ceiling is not held against it either. */
  undo(): void {
    if (this.admitted) this.#giveBack(true)
  }

  #giveBack(fromCeilingToo: boolean): boolean {
    let refunded = false
    for (let index = 0; index < this.windows.length; index++) {
      const window = this.windows[index]!
      this.#counters.bringUp(window)
      const ago = window.turn - this.marks[2 * index]!
      const cost = this.#costs === undefined ? 1 : this.#costs[index]!
      if (this.#counters.isOver(window)) continue
      if (ago === 0) {
        window.used -= cost
        if (fromCeilingToo) window.admitted -= cost
      } else if (ago === 1 && window.slidingMs > 0) window.previous -= cost
      else continue
      refunded ||= cost > 0
    }
    return refunded
  }

  #count(): readonly Count[] {
    return this.#limits.map((limit, index) => {
      const window = this.windows[index]!
      const cost = this.#costs === undefined ? 1 : this.#costs[index]!
      const [now, wall] = [this.#now, this.wall]
      if (!this.admitted) {
        const used = window.slidingMs > 0 ? heldIn(window, now) : window.used
        const exhausted = window.admitted + cost > limit.ceiling
        const refuses = exhausted || (this.#bySpentLimit && used + cost > limit.limit)
        return countOf(window, limit, { now, wall, cost, refuses, exhausted })
      }
      // Asked for after the window has ended, the answer is that it has.
      if (window.turn !== this.marks[2 * index])
        return {
          used: this.marks[2 * index + 1]!,
          resetInMs: 0,
          windowMs: lengthOf(limit, wall),
          refuses: false,
          exhausted: false,
        }
      return countOf({ ...window, used: this.marks[2 * index + 1]! }, limit, {
        now,
        wall,
        cost,
        refuses: false,
        exhausted: false,
      })
    })
  }
}

/** What a window says of a limit. `cost` is what was asked for. */
export function countOf(
  window: Window,
  limit: AppliedLimit,
  asked: {
    readonly now: Milliseconds
    readonly wall: Milliseconds
    readonly cost: number
    readonly refuses: boolean
    /** Whether it refuses because of all that was admitted, given back or not. */
    readonly exhausted: boolean
  },
): Count {
  const { now, wall, refuses, exhausted } = asked
  const windowMs = lengthOf(limit, window.month && window.end !== 0 ? window.end - 1 : wall)
  if (window.end === 0) {
    const resetInMs = window.month ? monthOf(wall).end - wall : windowMs
    return { used: 0, resetInMs, windowMs, refuses, exhausted }
  }
  if (window.slidingMs === 0)
    return {
      used: window.used,
      resetInMs: window.end - (window.month ? wall : now),
      windowMs,
      refuses,
      exhausted,
    }
  const { used, previous, slidingMs } = window
  const leftMs = window.end - now
  const count = { used, previous, leftMs, windowMs: slidingMs }
  // Until more fits; what was held against the ceiling ends with the window.
  const waitMs = untilItFits(count, refuses ? asked.cost : 1, limit.limit)
  const resetInMs = waitMs === 0 || exhausted ? Math.max(waitMs, leftMs) : waitMs
  return { used: heldPoints(count), resetInMs, windowMs, refuses, exhausted }
}

function heldIn({ used, previous, end, slidingMs }: Window, now: Milliseconds): number {
  return end === 0 ? 0 : heldPoints({ used, previous, leftMs: end - now, windowMs: slidingMs })
}

function lengthOf({ windowMs }: AppliedLimit, wall: Milliseconds): Milliseconds {
  if (windowMs !== 'month') return windowMs
  const month = monthOf(wall)
  return month.end - month.start
}
