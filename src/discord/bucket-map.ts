import { RecentlyUsed } from '../collections/recently-used.ts'
import { TransientMap } from '../collections/transient-map.ts'
import { type Clock, type Milliseconds, sleepIdly } from '../time/clock.ts'
import { Latency } from './latency.ts'
import { type KnownToAll, Principal } from './principal.ts'

/** How many principals at rest are remembered; each takes about a kilobyte. One that is forgotten only has to ask once more. */
const PRINCIPALS_AT_REST = 20_000
/** So many are remembered whatever they know; of more, only those that know of a limit that is still running. */
const KEPT_IDLE = 100
/** How long after a call the others are let go: a second is the longest limit of everybody. */
const LOOKED_THROUGH_AFTER_MS: Milliseconds = 2_000
const ROUTES = 2_000

/** Every principal's limits, bounded: those with something under way are always kept, those at rest by last use. */
export class BucketMap {
  readonly latency = new Latency()
  readonly #clock: Clock
  readonly #known: KnownToAll
  readonly #busy = new TransientMap<string, { principal: Principal; calls: number }>()
  /** By last use, the busy ones among them as long as there is room. */
  readonly #resting = new RecentlyUsed<string, Principal>(PRINCIPALS_AT_REST)
  readonly #closing = new AbortController()
  #willLookThrough = false

  constructor(clock: Clock) {
    const hashes = new RecentlyUsed<string, string>(ROUTES)
    this.#clock = clock
    this.#known = { clock, hashes, latency: this.latency }
  }

  /** The principal of a call that is about to be made; `leave` must follow, once. `globalPerSecond` counts where it is new. */
  enter(id: string, globalPerSecond?: number): Principal {
    const busy = this.#busy.get(id)
    if (busy) {
      busy.calls++
      return busy.principal
    }
    let principal = this.#resting.get(id)
    if (!principal) {
      principal = new Principal(this.#known, globalPerSecond)
      // Also while it is busy, so that nothing has to be moved when a call begins or ends; one that is dropped comes back.
      this.#resting.set(id, principal)
    }
    this.#busy.set(id, { principal, calls: 1 })
    return principal
  }

  leave(id: string): void {
    const busy = this.#busy.get(id)
    if (!busy || --busy.calls > 0) return
    this.#busy.delete(id)
    if (this.#resting.peek(id) !== busy.principal) this.#resting.set(id, busy.principal)
    if (this.#resting.size > KEPT_IDLE && !this.#willLookThrough) void this.#lookThroughLater()
  }

  /** Looks without entering; undefined where nothing is known. */
  find(id: string): Principal | undefined {
    return this.#busy.get(id)?.principal ?? this.#resting.peek(id)
  }

  /** How long each principal is held by a 429. */
  *heldMs(): Generator<Milliseconds> {
    const principals = new Set(this.#resting.values())
    for (const { principal } of this.#busy.values()) principals.add(principal)
    for (const principal of principals) yield principal.heldMs()
  }

  /** Two names turned out to be one principal: what either did binds both, also what is under way. */
  same(name: string, alias: string): void {
    const principal = this.find(name)
    const other = this.find(alias)
    if (!other || other === principal) return
    if (principal) principal.join(other)
    const one = principal ?? other
    const busy = this.#busy.get(alias)
    this.#resting.delete(alias)
    // Calls under way under the alias leave under the alias; it stands for the same object until then.
    if (busy) busy.principal = one
    if (!principal) this.#resting.set(name, one)
  }

  /** Ends what it does in the background. */
  close(): void {
    this.#closing.abort()
  }

  /** Lets those go that hold nobody back: a hundred thousand users come by, and most do not come again soon. */
  async #lookThroughLater(): Promise<void> {
    this.#willLookThrough = true
    try {
      do {
        await sleepIdly(this.#clock, LOOKED_THROUGH_AFTER_MS, this.#closing.signal)
        for (const id of [...this.#resting.rkeys()]) {
          if (this.#resting.size <= KEPT_IDLE) break
          if (!this.#busy.has(id) && this.#resting.peek(id)?.isIdle()) this.#resting.delete(id)
        }
      } while (this.#resting.size > KEPT_IDLE)
    } catch {
      // Closed.
    } finally {
      this.#willLookThrough = false
    }
  }

  get size(): number {
    let size = this.#resting.size
    for (const id of this.#busy.keys()) if (!this.#resting.has(id)) size++
    return size
  }
}
