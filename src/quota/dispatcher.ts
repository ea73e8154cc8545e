import { RecentlyUsed } from '../collections/recently-used.ts'
import { closedError, HoldfastError } from '../errors/errors.ts'
import { alarm, type Clock, type Milliseconds, systemClock } from '../time/clock.ts'
import type { Contender } from './contender.ts'
import { Lane } from './lane.ts'
import { type LaneChoice, laneChoice } from './lane-choice.ts'
import { OwnerPool, type Window } from './owner-pool.ts'
import { type OwnerChange, type OwnerQuota, PooledQuota } from './owner-quota.ts'
import type { Taken } from './pool-store.ts'
import type { KnownOfCall, QuotaAnswer } from './quota-answer.ts'

/** Owners of whom something is remembered while no batch uses them. */
const REMEMBERED_OWNERS = 10_000
/** Keys with a limit of their own whose calls are remembered. */
const REMEMBERED_KEYS = 100_000
/** How often owners that everybody waits for are asked about, where other processes may have changed them. */
const LOOK_EVERY_MS: Milliseconds = 150
/** So many of them, in turn. */
const LOOKED_AT = 64

/** What has to be there of a quota for its calls to be spent. */
export type SpendableQuota = Pick<OwnerQuota, 'take' | 'state' | 'learn'>

/**
 * Shares one quota among the batches of this process: each in its turn takes one call from the fullest of its pools
 * that are open. Reserving comes before sending, so no call goes that the quota did not give.
 */
export class Dispatcher {
  static readonly #ofQuota = new WeakMap<SpendableQuota, Dispatcher>()
  readonly clock: Clock
  readonly quota: SpendableQuota
  /** The quota's window; undefined for a quota of somebody's own. */
  readonly window: Window | undefined
  /** The quota, where it is one of ours. */
  readonly #pooled: PooledQuota | undefined
  readonly #take: (owner: string, cost: number) => Promise<Taken>
  /** Who was served least lately comes first. */
  readonly #contenders = new Set<Contender>()
  readonly #entries = new Map<Contender, { readonly choice: LaneChoice; readonly lanes: readonly Lane[] }>()
  readonly #lanes = new Map<string, Lane>()
  readonly #remembered = new RecentlyUsed<string, Lane>(REMEMBERED_OWNERS)
  readonly #keyPools = new RecentlyUsed<string, OwnerPool>(REMEMBERED_KEYS)
  #serving = false
  #again = false
  #cancelAlarm: () => void = () => {}

  private constructor(quota: SpendableQuota) {
    this.quota = quota
    const pooled = quota instanceof PooledQuota ? quota : undefined
    this.#pooled = pooled
    // A quota of somebody's own keeps the machine's time.
    this.clock = pooled?.clock ?? systemClock
    this.#take = pooled ? (owner, cost) => pooled.reserve(owner, cost) : (owner, cost) => quota.take(owner, cost)
    this.window = pooled?.window
    pooled?.onChange((owner, change) => this.#hear(owner, change))
  }

  static of(quota: SpendableQuota): Dispatcher {
    let dispatcher = Dispatcher.#ofQuota.get(quota)
    if (!dispatcher) {
      dispatcher = new Dispatcher(quota)
      Dispatcher.#ofQuota.set(quota, dispatcher)
    }
    return dispatcher
  }

  /** The lane of an owner. Kept until whoever asked has joined and left. */
  lane(owner: string): Lane {
    const lane = this.#lanes.get(owner) ?? this.#remembered.get(owner) ?? new Lane(owner, this.window?.windowMs ?? 0)
    this.#lanes.set(owner, lane)
    // Somebody may have given more since it was closed.
    if (lane.closedUntil === Number.POSITIVE_INFINITY) lane.reopen()
    return lane
  }

  /** What calls with this key are counted by, whichever batch makes them. */
  keyPool(key: string): OwnerPool {
    let pool = this.#keyPools.get(key)
    if (!pool) {
      pool = new OwnerPool()
      this.#keyPools.set(key, pool)
    }
    return pool
  }

  /** Teaches the quota what is known from an answer. Never throws: a quota that does, or was closed, is for the next take to tell of. */
  learn({ owner }: Lane, answer: QuotaAnswer, known: KnownOfCall): void {
    const { quota } = this
    const pooled = this.#pooled
    new Promise<void>((resolve) =>
      resolve(pooled ? pooled.hear(owner, answer, known) : quota.learn(owner, answer)),
    ).catch(() => {})
  }

  join(contender: Contender): void {
    const { lanes } = contender
    for (const lane of lanes) lane.users++
    this.#entries.set(contender, { choice: laneChoice(contender), lanes })
    this.#contenders.add(contender)
    this.serve()
  }

  leave(contender: Contender): void {
    this.#contenders.delete(contender)
    const { choice, lanes } = this.#entries.get(contender)!
    this.#entries.delete(contender)
    choice.end()
    for (const lane of lanes) {
      if (--lane.users > 0) continue
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
      if (contender.wants && contender.lanes.every((lane) => contender.neverGoes(lane))) {
        contender.skips()
        if (!contender.wants) return false
        continue
      }
      const { cost } = contender
      const lane = this.#entries.get(contender)?.choice.fullest(this.clock.monotonic())
      if (!lane) return false
      try {
        const taken = await this.#take(lane.owner, cost)
        if (!taken.ok) {
          if (cost > 1 && taken.retryAfterMs === Number.POSITIVE_INFINITY) {
            // More than a window has: others may cost less. Redis may be away by now, and need not tell how much less.
            const known = await this.quota.state(lane.owner).catch(() => undefined)
            lane.limited(Math.min(known?.limit ?? cost, cost - 1))
            if (lane.limit > 0) continue
          }
          // Never at once again: a quota that says 0 would be asked for ever.
          lane.close(this.clock.monotonic() + Math.max(1, taken.retryAfterMs), taken.remaining)
          continue
        }
        lane.given(cost, taken.remaining)
        if (taken.opens) await this.#charge(lane, taken.opens)
        // It may have ended while the quota was asked. The call that was taken then stays unused.
        if (contender.wants && contender.cost <= cost) contender.go(lane, taken.opens)
        return true
      } catch (error) {
        contender.fails(error)
        return false
      }
    }
  }

  /** Windows begin: what is under way may arrive in them. */
  async #charge(lane: Lane, opens: readonly Milliseconds[]): Promise<void> {
    const late = lane.began(this.clock.monotonic())
    if (late === 0) return
    await this.#pooled?.charge(lane.owner, late, opens)
    lane.given(0, Math.max(0, lane.remaining - late))
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
      // Whoever watches a batch may have ended another one.
      const readyAt = this.#entries.get(contender)?.choice.soonest(now) ?? Number.POSITIVE_INFINITY
      const isShut = ({ closedUntil }: Lane) => closedUntil === Number.POSITIVE_INFINITY
      if (contender.lanes.every((lane) => isShut(lane) || contender.neverGoes(lane))) contender.givesUp()
      else {
        // A probe's answer is no wait that anybody could put a time to.
        const isOpen = (lane: Lane) =>
          now >= lane.closedUntil &&
          contender.gate(lane).readyAt(contender.cost, now) <= now &&
          !contender.neverGoes(lane)
        contender.waits(contender.lanes.some(isOpen) || readyAt === Number.POSITIVE_INFINITY ? undefined : readyAt)
      }
      earliest = Math.min(earliest, readyAt)
    }
    if (this.#pooled?.isShared && earliest - now > LOOK_EVERY_MS && [...this.#contenders].some(({ wants }) => wants))
      this.#cancelAlarm = alarm(this.clock, LOOK_EVERY_MS, () => void this.#look())
    else if (earliest !== Number.POSITIVE_INFINITY)
      this.#cancelAlarm = alarm(this.clock, earliest - now, () => this.serve())
  }

  /** Asks about owners that are waited for: another process may have raised their limit, or reset them. */
  async #look(): Promise<void> {
    const now = this.clock.monotonic()
    const waited: Lane[] = []
    for (const [owner, lane] of this.#lanes) {
      if (waited.length >= LOOKED_AT) break
      if (lane.closedUntil <= now) continue
      waited.push(lane)
      // To the back, so that all have their turn.
      this.#lanes.delete(owner)
      this.#lanes.set(owner, lane)
    }
    await Promise.all(
      waited.map(async (lane) => {
        const left = await this.quota.state(lane.owner).then(
          ({ remaining }) => remaining,
          // Redis is away, or the quota closed: the next take tells.
          () => 0,
        )
        if (left > lane.leftWhenClosed) lane.reset()
      }),
    )
    this.serve()
  }

  #hear(owner: string, change: OwnerChange): void {
    if (change === 'close') {
      for (const contender of [...this.#contenders]) contender.fails(closedError())
      return
    }
    if (change === 'reset') this.#remembered.delete(owner)
    const lane = this.#lanes.get(owner)
    if (!lane) return
    if (change === 'reset') lane.reset()
    else lane.reopen()
    this.serve()
  }
}

/** The reason of a request that no window could ever take. */
export function tooDear(cost: number): HoldfastError {
  return new HoldfastError(
    'QUOTA_NEVER',
    `this request costs ${cost} calls, and no owner of these keys may make so many in a window; split it, or raise a limit`,
  )
}
