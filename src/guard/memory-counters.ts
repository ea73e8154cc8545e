import type { Clock, Milliseconds } from '../time/clock.ts'
import { turnTime } from '../time/clock.ts'
import { type Month, monthOf } from '../time/month.ts'
import type { CallerKind, Count, Refusable, Taken } from './counters.ts'
import type { Quota } from './rules.ts'

/** A caller's count under one limit. */
interface Window {
  readonly slot: number
  /** Whether its times are of the wall clock; else they are monotonic. */
  readonly month: boolean
  /** Counts the windows there were, so that a refund finds its own. */
  turn: number
  /** When it ends; 0 where none has begun. */
  end: Milliseconds
  /** Charged, and not given back. */
  used: number
  /** Admitted, given back or not. */
  admitted: number
}

interface Caller {
  readonly windows: Window[]
}

/** A month is remembered so much longer, in case the wall clock steps back into it. */
const LARGEST_STEP_MS: Milliseconds = 24 * 60 * 60 * 1000

/** How many callers a newcomer looks at in search of one that can be forgotten. */
const LOOKED_AT = 4

/** Callers of one kind, up to a number of them. */
class Callers {
  readonly #most: number
  readonly #held = new Map<string, Caller>()
  /** Who comes when all places are taken counts here, with everybody else of whom that is true. */
  readonly #overflow: Caller = { windows: [] }
  #hand: IterableIterator<[string, Caller]> = this.#held.entries()
  /** How often somebody came when all places were taken. */
  overflowed = 0

  constructor(most: number) {
    this.#most = most
  }

  get size(): number {
    return this.#held.size
  }

  find(id: string, idle: (caller: Caller) => boolean): Caller {
    const held = this.#held.get(id)
    if (held) return held
    for (let looks = 0; looks < LOOKED_AT && this.#held.size > 0; looks++) {
      const next = this.#hand.next()
      if (next.done) this.#hand = this.#held.entries()
      else if (idle(next.value[1])) this.#held.delete(next.value[0])
    }
    if (this.#held.size >= this.#most) {
      this.overflowed++
      return this.#overflow
    }
    const caller: Caller = { windows: [] }
    this.#held.set(id, caller)
    return caller
  }
}

/**
 * Counts in this process. Windows end by being looked at, with no timer, so a month is as exact as a second. Bounded: at
 * most `maxCallers` of each kind are held; who comes beyond that shares one counter with all others who do, so that a
 * flood of new addresses never makes it forget an address that is being limited. Users, sessions and addresses do not
 * take each other's places.
 */
export class MemoryCounters {
  readonly #clock: Clock
  readonly #now: () => Milliseconds
  readonly #users: Callers
  readonly #sessions: Callers
  readonly #addresses: Callers
  #month: Month = { start: 0, end: 0 }

  constructor(options: { readonly clock: Clock; readonly maxCallers: number }) {
    this.#clock = options.clock
    this.#now = turnTime(options.clock)
    this.#users = new Callers(options.maxCallers)
    this.#sessions = new Callers(options.maxCallers)
    this.#addresses = new Callers(options.maxCallers)
  }

  /** How many callers are held, and how often one had to share the overflow counter. */
  stats(): { readonly callers: number; readonly overflowed: number } {
    const all = [this.#users, this.#sessions, this.#addresses]
    return {
      callers: all.reduce((sum, { size }) => sum + size, 0),
      overflowed: all.reduce((sum, { overflowed }) => sum + overflowed, 0),
    }
  }

  take(kind: CallerKind, id: string, quotas: readonly Quota[], request: Refusable): Taken {
    const now = this.#now()
    const callers = kind === 'user' ? this.#users : kind === 'ip' ? this.#addresses : this.#sessions
    const { windows } = callers.find(id, this.#isIdle)
    const count = quotas.length
    const taken = new TakenInMemory(this, quotas, now)
    let spent = false
    let exhausted = false
    for (let index = 0; index < count; index++) {
      const quota = quotas[index]!
      const window = windowOf(windows, quota)
      if (window.month) this.#lookAtMonth(window, taken)
      else if (now >= window.end) expire(window)
      taken.windows[index] = window
      if (window.used >= quota.limit) spent = true
      if (window.admitted >= quota.ceiling) exhausted = true
    }
    const refused = spent && request.mayRefuse()
    if (refused || exhausted) {
      taken.refuse(refused)
      return taken
    }
    for (let index = 0; index < count; index++) {
      const window = taken.windows[index]!
      if (window.end === 0) {
        const { windowMs } = quotas[index]!
        window.end = windowMs === 'month' ? this.#month.end : now + windowMs
        window.turn++
      }
      window.admitted++
      taken.marks[2 * index] = window.turn
      taken.marks[2 * index + 1] = ++window.used
    }
    return taken
  }

  /** A month that has begun is not left backwards when the wall clock steps: that would be a second January. */
  #lookAtMonth(window: Window, taken: TakenInMemory): void {
    if (taken.wall === 0) {
      taken.wall = this.#clock.now()
      if (taken.wall < this.#month.start || taken.wall >= this.#month.end) this.#month = monthOf(taken.wall)
    }
    if (taken.wall >= window.end) expire(window)
  }

  isOver(window: Window): boolean {
    return window.end <= (window.month ? this.#clock.now() : this.#now())
  }

  readonly #isIdle = ({ windows }: Caller): boolean =>
    windows.every(({ month, end }) => (month ? end + LARGEST_STEP_MS <= this.#clock.now() : end <= this.#now()))
}

function windowOf(windows: Window[], { slot, windowMs }: Quota): Window {
  for (let index = 0; index < windows.length; index++) {
    const window = windows[index]!
    if (window.slot === slot) return window
  }
  const window: Window = { slot, month: windowMs === 'month', turn: 0, end: 0, used: 0, admitted: 0 }
  windows.push(window)
  return window
}

function expire(window: Window): void {
  window.end = 0
  window.used = 0
  window.admitted = 0
}

/** Says what happened only when it is asked: most requests never look. */
class TakenInMemory implements Taken {
  /** Of the length they will have: arrays that grow make room for many. */
  readonly windows: Window[]
  /** For each limit that was charged: which turn of its window, and the count after that. */
  readonly marks: number[]
  admitted = true
  /** The wall clock, where a limit goes by it. */
  wall: Milliseconds = 0
  readonly #counters: MemoryCounters
  readonly #quotas: readonly Quota[]
  readonly #now: Milliseconds
  #bySpentLimit = false
  #counts: readonly Count[] | undefined

  constructor(counters: MemoryCounters, quotas: readonly Quota[], now: Milliseconds) {
    this.#counters = counters
    this.#quotas = quotas
    this.#now = now
    this.windows = new Array(quotas.length)
    this.marks = new Array(2 * quotas.length)
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
    let refunded = false
    for (let index = 0; index < this.windows.length; index++) {
      const window = this.windows[index]!
      if (window.turn !== this.marks[2 * index] || this.#counters.isOver(window)) continue
      window.used--
      refunded = true
    }
    return refunded
  }

  #count(): readonly Count[] {
    return this.#quotas.map(({ limit, ceiling, windowMs }, index) => {
      const window = this.windows[index]!
      const used = this.admitted ? this.marks[2 * index + 1]! : window.used
      const spent = this.#bySpentLimit && used >= limit
      const refuses = !this.admitted && (spent || window.admitted >= ceiling)
      // Asked for after the window has ended, the answer is that it has.
      const over = this.admitted && window.turn !== this.marks[2 * index]
      const begun = window.end !== 0 && !over
      if (windowMs !== 'month')
        return { used, resetInMs: begun ? window.end - this.#now : over ? 0 : windowMs, windowMs, refuses }
      const month = monthOf(begun ? window.end - 1 : this.wall)
      return { used, resetInMs: over ? 0 : month.end - this.wall, windowMs: month.end - month.start, refuses }
    })
  }
}
