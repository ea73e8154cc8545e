import { HoldfastError } from '../errors/errors.ts'
import type { AppliedLimit } from './applied-limit.ts'
import type { ClientAddresses } from './client-address.ts'
import type { CallerKind, Costs, Taken } from './counters.ts'
import type { Asked } from './decision.ts'
import type { GuardRequest, Identity } from './guard-request.ts'
import type { Counted } from './identification.ts'
import { MOST_POINTS } from './limit.ts'
import type { MemoryCounters } from './memory-counters.ts'
import { type NetworkLimits, TakenWithNetworks } from './network-limits.ts'
import { limitsFor } from './rules.ts'
import type { StoreCounting } from './store-counting.ts'

/** What was asked of a request's limits, and what came of it. */
export interface Charge {
  /** Whose limits: where they refuse, those of the caller or of the network. */
  readonly kind: CallerKind
  readonly limits: readonly AppliedLimit[]
  readonly taken: Taken
}

/** Takes a request's places in the limits of its rule, and of the networks its address is in: all or none. */
export class Charging {
  readonly #counters: MemoryCounters
  readonly #shared: StoreCounting | undefined
  readonly #networks: NetworkLimits | undefined
  readonly #addresses: ClientAddresses

  constructor(options: {
    readonly counters: MemoryCounters
    /** Where processes share their counters; undefined where they do not. */
    readonly shared: StoreCounting | undefined
    /** What IPv6 networks may do together; undefined for no such limit. */
    readonly networks: NetworkLimits | undefined
    readonly addresses: ClientAddresses
  }) {
    this.#counters = options.counters
    this.#shared = options.shared
    this.#networks = options.networks
    this.#addresses = options.addresses
  }

  /**
   * Undefined where a limit is `closed` and the store is away. Throws or rejects with what a rule or a cost of the app's
   * own throws, and with REDIS_MISUSE; nothing is charged then.
   */
  take(
    asked: Asked,
    { kind, id, signedIn }: Counted,
    identity: Identity | undefined,
  ): Charge | Promise<Charge | undefined> {
    const limits = limitsFor(asked.rule, identity, signedIn)
    const costs = costsOf(limits, asked.request)
    let places: Places = NO_PLACES
    if (kind === 'ip' && this.#networks) {
      const within = this.#networks.take(this.#addresses.of(asked.request), limits, asked, costs)
      if (within.refused) return { kind: 'network', ...within.refused }
      places = within.places
    }
    if (!this.#shared) {
      const taken = withPlaces(this.#counters.take(kind, id, limits, asked, costs), places)
      return { kind, limits, taken }
    }
    return this.#shared.take(kind, id, limits, asked, costs).then(
      ({ limits, taken }) => {
        if (taken) return { kind, limits, taken: withPlaces(taken, places) }
        for (const place of places) place.undo()
        return undefined
      },
      (error: unknown) => {
        for (const place of places) place.undo()
        throw error
      },
    )
  }
}

type Places = ConstructorParameters<typeof TakenWithNetworks>[1]
const NO_PLACES: Places = []

/** The places in networks follow the caller's own: gone where those were refused, given back with them. */
function withPlaces(taken: Taken, places: Places): Taken {
  if (places.length === 0) return taken
  if (taken.admitted) return new TakenWithNetworks(taken, places)
  for (const place of places) place.undo()
  return taken
}

/** What a request costs in each of its limits; undefined where it is one point in each, as nearly always. */
function costsOf(limits: readonly AppliedLimit[], request: GuardRequest): Costs {
  for (let index = 0; index < limits.length; index++)
    if (limits[index]!.cost !== 1) return limits.map(({ cost, name }) => costOf(cost, name, request))
  return undefined
}

function costOf(cost: AppliedLimit['cost'], name: string, request: GuardRequest): number {
  if (typeof cost === 'number') return cost
  const points: unknown = cost(request)
  if (isPoints(points)) return points
  // A promise is nobody's from here on, and what it rejects with must not end the process.
  if (points instanceof Promise) points.catch(() => {})
  throw new HoldfastError(
    'INVALID_OPTION',
    `the cost function of the limit ${JSON.stringify(name)} returned ${String(points)}; it must return a whole number from 0 to ${MOST_POINTS}`,
  )
}

const isPoints = (value: unknown): value is number =>
  typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= MOST_POINTS
