import { LRUCache } from 'lru-cache'
import { alarm, type Clock, type Milliseconds, systemClock } from '../time/clock.ts'
import { Lane } from './lane.ts'
import type { Taken } from './owner-pool.ts'
import { type OwnerChange, type OwnerQuota, PooledQuota } from './owner-quota.ts'

/** Owners of whom something is remembered while no batch uses them. */
const REMEMBERED_OWNERS = 10_000

/** A batch, as the dispatcher sees it. */
export interface Contender {
  /** The pools that it may spend. */
  readonly lanes: readonly Lane[]
  /** Whether it has a request that could go now. */
  readonly wants: boolean
  /** Sends one request. `opensMs` as in `Taken`. */
  go(lane: Lane, opensMs: Milliseconds | undefined): void
  /** Nothing can go before `until` (monotonic); undefined: it waits for an answer, or not at all. */
  waits(until: Milliseconds | undefined): void
  /** Nothing will ever go: no owner may make a call. */
  givesUp(): void
  /** The quota itself failed. */
  fails(error: unknown): void
}

/**
 * Shares one quota among the batches of this process: each in its turn takes one call from the fullest of its pools
 * that are open. Reserving comes before sending, so no call goes that the quota did not give.
 */
export class Dispatcher {
  static readonly #ofQuota = new WeakMap<OwnerQuota, Dispatcher>()
  readonly clock: Clock
  readonly quota: OwnerQuota
  readonly #take: (owner: string) => Promise<Taken>
  /** Who was served least lately comes first. */
  readonly #contenders = new Set<Contender>()
  readonly #lanes = new Map<string, Lane>()
  readonly #remembered = new LRUCache<string, Lane>({ max: REMEMBERED_OWNERS })
  #serving = false
  #again = false
  #cancelAlarm: () => void = () => {}

  private constructor(quota: OwnerQuota) {
    this.quota = quota
    const pooled = quota instanceof PooledQuota ? quota : undefined
    // A quota of somebody's own keeps the machine's time.
    this.clock = pooled?.clock ?? systemClock
    this.#take = pooled ? (owner) => pooled.reserve(owner) : (owner) => quota.take(owner)
    pooled?.onChange((owner, change) => this.#reopen(owner, change))
  }

  static of(quota: OwnerQuota): Dispatcher {
    let dispatcher = Dispatcher.#ofQuota.get(quota)
    if (!dispatcher) {
      dispatcher = new Dispatcher(quota)
      Dispatcher.#ofQuota.set(quota, dispatcher)
    }
    return dispatcher
  }

  /** The lane of an owner, with what the quota says of it. Kept until whoever asked has joined and left. */
  lane(owner: string, { limit, remaining }: { readonly limit: number; readonly remaining: number }): Lane {
    const lane = this.#lanes.get(owner) ?? this.#remembered.get(owner) ?? new Lane(owner)
    this.#lanes.set(owner, lane)
    lane.limit = limit
    lane.remaining = remaining
    // Somebody may have given more since it was closed.
    if (lane.closedUntil === Number.POSITIVE_INFINITY) lane.reopen()
    return lane
  }

  join(contender: Contender): void {
    this.#contenders.add(contender)
    this.serve()
  }

  leave(contender: Contender): void {
    this.#contenders.delete(contender)
    for (const lane of contender.lanes) {
      if ([...this.#contenders].some((other) => other.lanes.includes(lane))) continue
      this.#lanes.delete(lane.owner)
      this.#remembered.set(lane.owner, lane)
    }
    if (this.#contenders.size === 0) this.#cancelAlarm()
    else this.serve()
  }

  /** Sends whatever can go. To be called whenever that may have changed. */
  serve(): void {
    this.#again = true
    if (!this.#serving) void this.#serveAll()
  }

  async #serveAll(): Promise<void> {
    this.#serving = true
    while (this.#again) {
      this.#again = false
      for (const contender of [...this.#contenders]) {
        if (!contender.wants) continue
        if (!(await this.#serveOne(contender))) continue
        this.#again = true
        if (this.#contenders.delete(contender)) this.#contenders.add(contender)
      }
    }
    this.#serving = false
    this.#rest()
  }

  /** Whether a call of this batch went. */
  async #serveOne(contender: Contender): Promise<boolean> {
    for (;;) {
      const lane = fullest(contender.lanes, this.clock.monotonic())
      if (!lane) return false
      try {
        const taken = await this.#take(lane.owner)
        if (!taken.ok) {
          // Never at once again: a quota that says 0 would be asked for ever.
          lane.closedUntil = this.clock.monotonic() + Math.max(1, taken.retryAfterMs)
          lane.remaining = lane.limit
          continue
        }
        lane.remaining = taken.remaining
        if (taken.opensMs !== undefined) await this.#charge(lane, taken.remaining)
        // It may have ended while the quota was asked. The call that was taken then stays unused.
        if (contender.wants) contender.go(lane, taken.opensMs)
        return true
      } catch (error) {
        contender.fails(error)
        return false
      }
    }
  }

  async #charge(lane: Lane, remaining: number): Promise<void> {
    const late = Math.min(lane.began(this.clock.monotonic()), remaining)
    if (late === 0) return
    const taken = await this.quota.take(lane.owner, late)
    lane.remaining = taken.remaining
  }

  /** Says what everybody waits for, and wakes at the earliest of it. */
  #rest(): void {
    this.#cancelAlarm()
    const now = this.clock.monotonic()
    let earliest = Number.POSITIVE_INFINITY
    for (const contender of [...this.#contenders]) {
      if (!contender.wants) {
        contender.waits(undefined)
        continue
      }
      const readyAt = Math.min(...contender.lanes.map((lane) => lane.readyAt(now)))
      if (readyAt !== Number.POSITIVE_INFINITY) contender.waits(readyAt)
      else if (contender.lanes.every((lane) => lane.closedUntil === Number.POSITIVE_INFINITY)) contender.givesUp()
      else contender.waits(undefined)
      earliest = Math.min(earliest, readyAt)
    }
    if (earliest === Number.POSITIVE_INFINITY) return
    this.#cancelAlarm = alarm(this.clock, earliest - now, () => this.serve())
  }

  #reopen(owner: string, change: OwnerChange): void {
    if (change === 'reset') this.#remembered.delete(owner)
    const lane = this.#lanes.get(owner)
    if (!lane) return
    if (change === 'reset') lane.forget()
    else lane.reopen()
    this.serve()
  }
}

/** The lane with most left of those that are open; one that nothing is known of first, so that its window begins early. */
function fullest(lanes: readonly Lane[], now: Milliseconds): Lane | undefined {
  let best: Lane | undefined
  let bestLeft = Number.NEGATIVE_INFINITY
  for (const lane of lanes) {
    if (lane.readyAt(now) > now) continue
    const left = lane.isKnown(now) ? lane.remaining : Number.POSITIVE_INFINITY
    if (left > bestLeft) {
      best = lane
      bestLeft = left
    }
  }
  return best
}
