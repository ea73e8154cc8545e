import type { Milliseconds } from '../time/clock.ts'
import type { Contender, Gate } from './contender.ts'
import type { Lane, LaneWatcher } from './lane.ts'
import { type Ranked, RankHeap } from './rank-heap.ts'

/** So many lanes are looked at one after the other faster than they are kept in order. */
const FEW_LANES = 32
/** How late it may be noticed that nothing is known of an owner any more, which then goes first. */
const SWEEP_MS: Milliseconds = 5_000

/** Which lane a batch's next call goes to. */
export interface LaneChoice {
  /** The lane with most left of those that are open; one that nothing is known of first, so that its window begins early. */
  fullest(now: Milliseconds): Lane | undefined
  /** When the first of its owners could make a call; Infinity where an answer has to come first, or never. */
  soonest(now: Milliseconds): Milliseconds
  /** The batch has ended. */
  end(): void
}

export function laneChoice(contender: Contender): LaneChoice {
  return contender.lanes.length <= FEW_LANES ? new LookingChoice(contender) : new KeptChoice(contender)
}

/** Looks at all lanes for every call. */
class LookingChoice implements LaneChoice {
  readonly #contender: Contender

  constructor(contender: Contender) {
    this.#contender = contender
  }

  fullest(now: Milliseconds): Lane | undefined {
    const { lanes, cost } = this.#contender
    let best: Lane | undefined
    let bestLeft = Number.NEGATIVE_INFINITY
    for (const lane of lanes) {
      if (lane.readyAt(now) > now || isTooSmall(lane, cost)) continue
      const left = leftOf(lane, now)
      if (left <= bestLeft || this.#contender.gate(lane).readyAt(cost, now) > now) continue
      best = lane
      bestLeft = left
    }
    return best
  }

  soonest(now: Milliseconds): Milliseconds {
    let earliest = Number.POSITIVE_INFINITY
    const { lanes, cost } = this.#contender
    for (const lane of lanes)
      if (!isTooSmall(lane, cost))
        earliest = Math.min(earliest, Math.max(lane.readyAt(now), this.#contender.gate(lane).readyAt(cost, now)))
    return earliest
  }

  end(): void {}
}

/** A lane, and where it stands. */
class Kept implements Ranked, LaneWatcher {
  readonly lane: Lane
  readonly gate: Gate
  readonly order: number
  rank = 0
  place = 0
  /** The one it is in; undefined for neither. */
  heap: RankHeap<Kept> | undefined
  isStale = false
  readonly #stale: Kept[]

  constructor(lane: Lane, gate: Gate, order: number, stale: Kept[]) {
    this.lane = lane
    this.gate = gate
    this.order = order
    this.#stale = stale
  }

  /** It is placed anew before the next choice. */
  laneChanged(): void {
    if (this.isStale) return
    this.isStale = true
    this.#stale.push(this)
  }

  /** Puts it where its rank says; out, where it is in no heap any more. */
  put(heap: RankHeap<Kept> | undefined, rank: number): void {
    if (this.heap === heap && this.rank === rank) return
    this.heap?.remove(this)
    this.heap = heap
    this.rank = rank
    heap?.add(this)
  }
}

/**
 * Keeps the lanes in order, so that a call costs about as much with many owners as with few. Only lanes that have changed,
 * and those whose time has come, are looked at.
 */
class KeptChoice implements LaneChoice {
  readonly #contender: Contender
  /** What it is placed for; a request that costs something else looks at all lanes. */
  readonly #cost: number
  readonly #looking: LookingChoice
  readonly #kept: Kept[]
  readonly #stale: Kept[] = []
  /** Those that could go, the fullest first. */
  readonly #open = new RankHeap<Kept>()
  /** Those that could go later, the soonest first: ranked by when, less than nothing. */
  readonly #shut = new RankHeap<Kept>()
  /** When all are placed anew. */
  #sweepAt: Milliseconds = Number.NEGATIVE_INFINITY

  constructor(contender: Contender) {
    this.#contender = contender
    this.#cost = contender.cost
    this.#looking = new LookingChoice(contender)
    this.#kept = contender.lanes.map((lane, order) => new Kept(lane, contender.gate(lane), order, this.#stale))
    for (const kept of this.#kept) kept.lane.watch(kept)
  }

  fullest(now: Milliseconds): Lane | undefined {
    if (this.#contender.cost !== this.#cost) return this.#looking.fullest(now)
    this.#refresh(now)
    for (;;) {
      const kept = this.#open.first
      // Another batch may have used its keys meanwhile.
      if (!kept || this.#readyAt(kept, now) <= now) return kept?.lane
      this.#place(kept, now)
    }
  }

  soonest(now: Milliseconds): Milliseconds {
    if (this.#contender.cost !== this.#cost) return this.#looking.soonest(now)
    this.#refresh(now)
    if (this.#open.first) return now
    return this.#shut.first ? -this.#shut.first.rank : Number.POSITIVE_INFINITY
  }

  end(): void {
    for (const kept of this.#kept) kept.lane.unwatch(kept)
  }

  #refresh(now: Milliseconds): void {
    if (now >= this.#sweepAt) {
      // What was known is unknown some day, without anything that happens.
      for (const kept of this.#kept) kept.laneChanged()
      this.#sweepAt = now + SWEEP_MS
    }
    for (let kept = this.#stale.pop(); kept; kept = this.#stale.pop()) {
      kept.isStale = false
      this.#place(kept, now)
    }
    for (let kept = this.#shut.first; kept && -kept.rank <= now; kept = this.#shut.first) this.#place(kept, now)
  }

  #place(kept: Kept, now: Milliseconds): void {
    const readyAt = this.#readyAt(kept, now)
    if (readyAt <= now) kept.put(this.#open, roughly(kept.lane, leftOf(kept.lane, now)))
    else kept.put(readyAt === Number.POSITIVE_INFINITY ? undefined : this.#shut, -readyAt)
  }

  #readyAt({ lane, gate }: Kept, now: Milliseconds): Milliseconds {
    if (isTooSmall(lane, this.#cost)) return Number.POSITIVE_INFINITY
    return Math.max(lane.readyAt(now), gate.readyAt(this.#cost, now))
  }
}

/** Within a 32nd of the most that was ever left, so that not every call moves a lane behind thousands that are as full. */
function roughly({ largest }: Lane, left: number): number {
  const step = Math.floor(largest / 32)
  return step > 1 && left !== Number.POSITIVE_INFINITY ? left - (left % step) : left
}

function isTooSmall(lane: Lane, cost: number): boolean {
  return cost > 1 && lane.limit < cost
}

function leftOf(lane: Lane, now: Milliseconds): number {
  return lane.isKnown(now) ? lane.remaining : Number.POSITIVE_INFINITY
}
