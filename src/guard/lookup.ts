import { HoldfastError } from '../errors/errors.ts'
import { fingerprint } from '../secrets/key-ring.ts'
import type { Clock } from '../time/clock.ts'
import type { ClientAddress, ClientAddresses } from './client-address.ts'
import type { CallerKind, CounterStore } from './counters.ts'
import { isText, shortened } from './identification.ts'
import { type LimitState, limitStates } from './limit-headers.ts'
import type { MemoryCounters } from './memory-counters.ts'
import type { NetworkLimits } from './network-limits.ts'
import type { Routes } from './routes.ts'
import { limitsFor } from './rules.ts'

/** A caller by name. */
export interface Whom {
  readonly userId?: string
  readonly sessionId?: string
  readonly address?: string
}

interface Named {
  readonly kind: CallerKind
  readonly id: string
  readonly address?: ClientAddress
}

const METHOD_AND_PATH = /^(?:([A-Z]+)\s+)?(\/.*)$/s

/** Where a caller stands, and a caller set free. */
export class Lookup {
  readonly #clock: Clock
  readonly #routes: Routes
  readonly #counters: MemoryCounters
  readonly #store: CounterStore | undefined
  readonly #networks: NetworkLimits | undefined
  readonly #addresses: ClientAddresses

  constructor(options: {
    readonly clock: Clock
    readonly routes: Routes
    readonly counters: MemoryCounters
    readonly store: CounterStore | undefined
    readonly networks: NetworkLimits | undefined
    readonly addresses: ClientAddresses
  }) {
    this.#clock = options.clock
    this.#routes = options.routes
    this.#counters = options.counters
    this.#store = options.store
    this.#networks = options.networks
    this.#addresses = options.addresses
  }

  async peek(caller: Whom & { readonly plan?: string }, path: string): Promise<readonly LimitState[]> {
    const [named] = this.#names(caller, 'peek')
    const [, method, target] = (typeof path === 'string' && METHOD_AND_PATH.exec(path)) || []
    if (!named || target === undefined)
      throw new HoldfastError(
        'INVALID_OPTION',
        `guard.peek: ${JSON.stringify(path)} is no path; give '/api/chat' or 'POST /api/chat'`,
      )
    const route = this.#routes.of(target)
    if (route.isPublic || route.isHealth || method === 'OPTIONS') return []
    const { kind, id } = named
    const limits = limitsFor(route.ruleFor(method), caller, kind !== 'ip')
    const counts = this.#store ? await this.#store.look(kind, id, limits) : this.#counters.look(kind, id, limits)
    return limitStates(limits, counts, this.#clock.now())
  }

  async reset(caller: Whom): Promise<void> {
    for (const { kind, id, address } of this.#names(caller, 'reset')) {
      this.#counters.forget(kind, id)
      if (address) {
        this.#networks?.forget(address)
        for (const arrived of [id, `${id} with credentials`]) this.#counters.forget('arrival', arrived)
      }
      await this.#store?.forget(kind, id)
    }
  }

  /** The user first, then the session, then the address: the first is whom requests are counted for. */
  #names({ userId, sessionId, address }: Whom, what: string): readonly Named[] {
    const named: Named[] = []
    if (isText(userId)) named.push({ kind: 'user', id: shortened(userId) })
    if (isText(sessionId)) named.push({ kind: 'session', id: fingerprint(sessionId) })
    if (isText(address)) {
      const read = this.#addresses.read(address)
      if (!read) throw new HoldfastError('INVALID_OPTION', `guard.${what}: address is no IP address`)
      named.push({ kind: 'ip', id: read.bucket, address: read })
    }
    if (named.length === 0)
      throw new HoldfastError('INVALID_OPTION', `guard.${what}: give a userId, a sessionId or an address`)
    return named
  }
}
