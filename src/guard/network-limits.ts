import type { AppliedLimit } from './applied-limit.ts'
import type { ClientAddress } from './client-address.ts'
import type { Costs, Refusable, Taken } from './counters.ts'
import type { MemoryCounters } from './memory-counters.ts'
import type { TakenInMemory } from './taken-in-memory.ts'

/** How many times a limit all addresses of one IPv6 /56, and of one /48, may use together. */
export interface NetworkTimes {
  readonly per56: number
  readonly per48: number
}

/**
 * What the addresses of one IPv6 network may do together, counted in this process. A /64 is what one customer has at
 * least; who has a /56 or a /48 has 256 or 65 536 of them, and could spend a limit that often.
 */
export class NetworkLimits {
  readonly #counters: MemoryCounters
  readonly #times: readonly [per56: number, per48: number]
  readonly #scaled: readonly [WeakMap<object, readonly AppliedLimit[]>, WeakMap<object, readonly AppliedLimit[]>]

  constructor(counters: MemoryCounters, { per56, per48 }: NetworkTimes) {
    this.#counters = counters
    this.#times = [per56, per48]
    this.#scaled = [new WeakMap(), new WeakMap()]
  }

  /** Takes a place in the networks of an address, in all or in none. */
  take({ networks }: ClientAddress, limits: readonly AppliedLimit[], request: Refusable, costs: Costs): InNetworks {
    const places: TakenInMemory[] = []
    for (const [index, name] of networks.entries()) {
      const scaled = this.#limitsOf(index as 0 | 1, limits)
      const taken = this.#counters.take('network', name, scaled, request, costs)
      if (!taken.admitted) {
        for (const place of places) place.undo()
        return { refused: { limits: scaled, taken } }
      }
      places.push(taken)
    }
    return { places }
  }

  forget({ networks }: ClientAddress): void {
    for (const name of networks) this.#counters.forget('network', name)
  }

  #limitsOf(index: 0 | 1, limits: readonly AppliedLimit[]): readonly AppliedLimit[] {
    let scaled = this.#scaled[index].get(limits)
    if (!scaled) {
      const times = this.#times[index]
      scaled = limits.map((limit) => ({ ...limit, limit: limit.limit * times, ceiling: limit.ceiling * times }))
      this.#scaled[index].set(limits, scaled)
    }
    return scaled
  }
}

export type InNetworks =
  | { readonly places: readonly TakenInMemory[]; readonly refused?: undefined }
  | {
      readonly places?: undefined
      readonly refused: { readonly limits: readonly AppliedLimit[]; readonly taken: TakenInMemory }
    }

/** A caller's places together with those in its networks. */
export class TakenWithNetworks implements Taken {
  readonly admitted = true
  readonly #taken: Taken
  readonly #places: readonly TakenInMemory[]

  constructor(taken: Taken, places: readonly TakenInMemory[]) {
    this.#taken = taken
    this.#places = places
  }

  get counts() {
    return this.#taken.counts
  }

  get retryAfterMs() {
    return this.#taken.retryAfterMs
  }

  refund(): boolean | Promise<boolean> {
    for (const place of this.#places) place.refund()
    return this.#taken.refund()
  }
}
