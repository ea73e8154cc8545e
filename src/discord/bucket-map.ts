import { LRUCache } from 'lru-cache'
import type { Clock } from '../time/clock.ts'
import { Latency } from './latency.ts'
import { Principal, type Shared } from './principal.ts'

/** How many principals at rest are remembered; each takes about a kilobyte. One that is forgotten only has to ask once more. */
const PRINCIPALS_AT_REST = 20_000
const ROUTES = 2_000

/** Every principal's limits, bounded: those with something under way are always kept, those at rest by last use. */
export class BucketMap {
  readonly latency = new Latency()
  readonly #shared: Shared
  readonly #busy = new Map<string, { principal: Principal; calls: number }>()
  readonly #resting = new LRUCache<string, Principal>({ max: PRINCIPALS_AT_REST })

  constructor(clock: Clock) {
    const hashes = new LRUCache<string, string>({ max: ROUTES })
    this.#shared = { clock, hashes, latency: this.latency }
  }

  /** The principal of a call that is about to be made; `leave` must follow, once. */
  enter(id: string): Principal {
    const busy = this.#busy.get(id)
    if (busy) {
      busy.calls++
      return busy.principal
    }
    const principal = this.#resting.get(id) ?? new Principal(this.#shared)
    this.#resting.delete(id)
    this.#busy.set(id, { principal, calls: 1 })
    return principal
  }

  leave(id: string): void {
    const busy = this.#busy.get(id)
    if (!busy || --busy.calls > 0) return
    this.#busy.delete(id)
    this.#resting.set(id, busy.principal)
  }

  /** Looks without entering; undefined where nothing is known. */
  find(id: string): Principal | undefined {
    return this.#busy.get(id)?.principal ?? this.#resting.peek(id)
  }

  get size(): number {
    return this.#busy.size + this.#resting.size
  }
}
