import type { Clock, Milliseconds } from '../time/clock.ts'
import { turnTime } from '../time/clock.ts'
import { type Month, monthOf } from '../time/month.ts'
import { exceeds } from '../time/sliding-window.ts'
import type { AppliedLimit } from './applied-limit.ts'
import { Callers, type Window } from './callers.ts'
import type { CallerKind, Costs, Count, Refusable } from './counters.ts'
import { countOf, TakenInMemory } from './taken-in-memory.ts'

/** A month is remembered so much longer, in case the wall clock steps back into it. */
const LARGEST_STEP_MS: Milliseconds = 24 * 60 * 60 * 1000

/**
 * Counts in this process. Windows end by being looked at, with no timer, so a month is as exact as a second. Bounded: at
 * most `maxCallers` of each kind are held (`callers.ts` says who is forgotten and who shares beyond that). Users,
 * sessions and addresses do not take each other's places.
 */
export class MemoryCounters {
  readonly #clock: Clock
  readonly #now: () => Milliseconds
  readonly #callers: Readonly<Record<CallerKind, Callers>>
  #month: Month = { start: 0, end: 0 }

  constructor(options: {
    readonly clock: Clock
    readonly maxCallers: number
    /** Callers of a kind begin to share counters, because all places are taken, or do so no more. */
    readonly onOverflow?: (kind: CallerKind, overflowing: boolean) => void
  }) {
    this.#clock = options.clock
    this.#now = turnTime(options.clock)
    const callers = (kind: CallerKind) =>
      new Callers(options.maxCallers, this.#isIdle, (overflowing) => options.onOverflow?.(kind, overflowing))
    this.#callers = {
      user: callers('user'),
      session: callers('session'),
      key: callers('key'),
      ip: callers('ip'),
      network: callers('network'),
      arrival: callers('arrival'),
    }
  }

  /** How many callers are held, and whether newcomers have to share. */
  stats(): { readonly callers: number; readonly overflowing: boolean } {
    const { user, session, key, ip, network, arrival } = this.#callers
    const all = [user, session, key, ip, network, arrival]
    return {
      callers: user.size + session.size + key.size + ip.size,
      overflowing: all.some(({ overflowing }) => overflowing),
    }
  }

  take(
    kind: CallerKind,
    id: string,
    limits: readonly AppliedLimit[],
    request: Refusable,
    costs?: Costs,
  ): TakenInMemory {
    const now = this.#now()
    const { windows } = this.#callers[kind].find(id)
    const count = limits.length
    const taken = new TakenInMemory(this, limits, costs, now)
    let spent = false
    let exhausted = false
    for (let index = 0; index < count; index++) {
      const limit = limits[index]!
      const window = windowOf(windows, limit)
      if (window.month) {
        if (taken.wall === 0) taken.wall = this.#wall()
        if (taken.wall >= window.end) expire(window)
      } else if (now >= window.end && window.end !== 0) roll(window, now)
      taken.windows[index] = window
      const cost = costs === undefined ? 1 : costs[index]!
      if (isSpent(window, cost, limit.limit, now)) spent = true
      if (window.admitted + cost > limit.ceiling) exhausted = true
    }
    const refused = spent && request.mayRefuse()
    if (refused || exhausted) {
      taken.refuse(refused)
      return taken
    }
    for (let index = 0; index < count; index++) {
      const window = taken.windows[index]!
      const cost = costs === undefined ? 1 : costs[index]!
      if (window.end === 0) {
        const { windowMs } = limits[index]!
        window.end = windowMs === 'month' ? this.#month.end : now + windowMs
        window.turn++
      }
      window.limit = limits[index]!.limit
      window.admitted += cost
      window.used += cost
      taken.marks[2 * index] = window.turn
      taken.marks[2 * index + 1] = window.used
    }
    return taken
  }

  /** Where a caller stands; nothing is counted. */
  look(kind: CallerKind, id: string, limits: readonly AppliedLimit[]): readonly Count[] {
    const now = this.#now()
    const windows = this.#callers[kind].peek(id)?.windows ?? []
    return limits.map((limit) => {
      const found = windows.find(({ slot }) => slot === limit.slot)
      const window: Window = found ? { ...found } : newWindow(limit)
      const wall = window.month ? this.#wall() : 0
      if (window.month ? wall >= window.end : now >= window.end && window.end !== 0)
        if (window.month) expire(window)
        else roll(window, now)
      return countOf(window, limit, { now, wall, cost: 1, refuses: false, exhausted: false })
    })
  }

  /** Forgets all that was counted for a caller. */
  forget(kind: CallerKind, id: string): void {
    this.#callers[kind].forget(id)
  }

  /** Whether what was charged in a window's turn does not count any more. */
  isOver(window: Window): boolean {
    return window.end + window.slidingMs <= (window.month ? this.#clock.now() : this.#now())
  }

  /** Brings a window that slides up to now, so that what is given back leaves the right one of its two counts. */
  bringUp(window: Window): void {
    const now = this.#now()
    if (window.slidingMs > 0 && window.end !== 0 && now >= window.end) roll(window, now)
  }

  /** A month that has begun is not left backwards when the wall clock steps: that would be a second January. */
  #wall(): Milliseconds {
    const now = this.#clock.now()
    if (now < this.#month.start || now >= this.#month.end) this.#month = monthOf(now)
    return now
  }

  readonly #isIdle = (window: Window): boolean =>
    window.month ? window.end + LARGEST_STEP_MS <= this.#clock.now() : window.end + window.slidingMs <= this.#now()
}

function isSpent(window: Window, cost: number, limit: number, now: Milliseconds): boolean {
  if (window.slidingMs === 0 || window.previous === 0) return window.used + cost > limit
  const { used, previous, end, slidingMs } = window
  return exceeds({ used, previous, leftMs: end - now, windowMs: slidingMs }, cost, limit)
}

function windowOf(windows: Window[], limit: AppliedLimit): Window {
  for (let index = 0; index < windows.length; index++) {
    const window = windows[index]!
    if (window.slot === limit.slot) return window
  }
  const window = newWindow(limit)
  windows.push(window)
  return window
}

function newWindow({ slot, windowMs, sliding, limit }: AppliedLimit): Window {
  return {
    slot,
    month: windowMs === 'month',
    slidingMs: sliding && windowMs !== 'month' ? windowMs : 0,
    turn: 0,
    end: 0,
    used: 0,
    admitted: 0,
    previous: 0,
    limit,
  }
}

function expire(window: Window): void {
  window.end = 0
  window.used = 0
  window.admitted = 0
  window.previous = 0
}

/** A window has ended. One that slides goes on as the next, unless that has passed too. */
function roll(window: Window, now: Milliseconds): void {
  const { slidingMs, end, used } = window
  if (slidingMs === 0 || now >= end + slidingMs) {
    expire(window)
    return
  }
  window.end = end + slidingMs
  window.previous = used
  window.used = 0
  window.admitted = 0
  window.turn++
}
