import { ConfigError } from '../errors/errors.ts'
import { isInAny, type Network, readNetwork } from './address.ts'
import type { ClientAddress } from './client-address.ts'

/** Addresses, networks (`10.0.0.0/8`) and users. */
export interface CallerList {
  readonly addresses?: readonly string[]
  readonly users?: readonly string[]
}

/** A list of callers who are never limited, or always refused. */
export class Listed {
  readonly users: ReadonlySet<string>
  readonly #networks: readonly Network[]

  /** Throws ConfigError for what is neither an address nor a network. */
  constructor(list: CallerList | undefined, option: string) {
    this.users = new Set(list?.users ?? [])
    if (this.users.has('')) throw new ConfigError(`${option}.users`, `${option}.users: an empty id is nobody's`)
    this.#networks = (list?.addresses ?? []).map((entry) => readNetwork(entry, `${option}.addresses`))
  }

  get isEmpty(): boolean {
    return this.users.size === 0 && this.#networks.length === 0
  }

  hasAddress({ groups }: ClientAddress): boolean {
    return groups !== undefined && this.#networks.length > 0 && isInAny(groups, this.#networks)
  }

  hasUser(userId: string | undefined): boolean {
    return userId !== undefined && this.users.has(userId)
  }
}
