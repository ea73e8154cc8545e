import { bucketOf, type Groups, isInAny, networkOf, parseAddress } from './address.ts'
import type { GuardRequest } from './guard-request.ts'
import type { TrustedProxies } from './trusted-proxies.ts'

/** What a request is counted under where nobody is known. */
export interface ClientAddress {
  /** An IPv4 address as it is, an IPv6 address by its first 64 bits. */
  readonly bucket: string
  /** The /56 and the /48 that an IPv6 address is in. */
  readonly networks: readonly string[]
  /** Undefined where there is no address. */
  readonly groups: Groups | undefined
}

/** All addresses that cannot be read count as this: a Unix socket, a runtime that does not tell. */
export const UNKNOWN_ADDRESS = 'unknown'
const UNKNOWN: ClientAddress = { bucket: UNKNOWN_ADDRESS, networks: [], groups: undefined }

/** What a request said about the proxies in front, for whoever warns. */
export type ProxySign =
  /** Nobody is trusted, and a proxy's header arrived. */
  | 'untrusted header'
  /** Somebody is trusted, and the header came from somebody else. */
  | 'other peer'
  /** A trusted peer named nobody. */
  | 'no header'
  /** A trusted peer named somebody: as it should be. */
  | 'named'

/** A list longer than this was not written by our proxies. */
const MOST_HOPS = 32
const ADDRESSES_REMEMBERED = 1_000
const LONGEST_REMEMBERED = 64

/** Finds the address that a request is counted under. */
export class ClientAddresses {
  readonly #proxies: TrustedProxies
  /** Whether nobody said who stands in front, so that a framework's own answer counts. */
  readonly #believesFramework: boolean
  readonly #own: ((request: GuardRequest) => string | undefined) | undefined
  readonly #onSign: (sign: ProxySign) => void
  readonly #remembered = new Map<string, ClientAddress | undefined>()
  #last: GuardRequest | undefined
  #address: ClientAddress = UNKNOWN

  constructor(options: {
    readonly proxies: TrustedProxies
    readonly believesFramework: boolean
    /** Where the framework or platform knows better: its answer is taken as it is. */
    readonly own?: ((request: GuardRequest) => string | undefined) | undefined
    readonly onSign?: (sign: ProxySign) => void
  }) {
    this.#proxies = options.proxies
    this.#believesFramework = options.believesFramework
    this.#own = options.own
    this.#onSign = options.onSign ?? (() => {})
  }

  /** Asked several times for each request, and found once: of the last one it is remembered. */
  of(request: GuardRequest): ClientAddress {
    if (request !== this.#last) {
      this.#address = this.#find(request)
      this.#last = request
    }
    return this.#address
  }

  #find(request: GuardRequest): ClientAddress {
    const own = this.#own?.(request)
    if (typeof own === 'string') return this.read(own) ?? UNKNOWN
    if (this.#believesFramework && request.address !== undefined) {
      const address = this.read(request.address)
      if (address) return address
    }
    return this.#behindProxies(request)
  }

  /** The address in any of its notations; undefined for what is none. */
  read(text: string): ClientAddress | undefined {
    if (this.#remembered.has(text)) return this.#remembered.get(text)
    const groups = parseAddress(text)
    const address = groups && {
      bucket: bucketOf(groups),
      networks: ([56, 48] as const).map((bits) => networkOf(groups, bits)).filter((name) => name !== undefined),
      groups,
    }
    if (this.#remembered.size >= ADDRESSES_REMEMBERED) this.#remembered.clear()
    if (text.length <= LONGEST_REMEMBERED) this.#remembered.set(text, address)
    return address
  }

  /**
   * Whom a header names is believed only where the peer is trusted. X-Forwarded-For is read from the right: the first
   * hop that is not one of ours. A hop that cannot be read, and a list that is too long, falls back to the peer:
   * further left stands only what the client wrote.
   */
  #behindProxies(request: GuardRequest): ClientAddress {
    const { networks, hops, addressless } = this.#proxies
    const peer = request.remoteAddress === undefined ? undefined : this.read(request.remoteAddress)
    if (networks.length === 0 && hops === undefined) {
      this.#note(request, 'untrusted header')
      return peer ?? UNKNOWN
    }
    if (hops === undefined && (peer?.groups ? !isInAny(peer.groups, networks) : !addressless)) {
      this.#note(request, 'other peer')
      return peer ?? UNKNOWN
    }
    const client = hops === undefined ? this.#walk(request, peer) : this.#hop(request, hops)
    this.#onSign(client === undefined ? 'no header' : 'named')
    return client ?? peer ?? UNKNOWN
  }

  /** The hop that the outermost of our proxies added; a list that is shorter was not written by all of them. */
  #hop(request: GuardRequest, count: number): ClientAddress | undefined {
    const list = hopsOf(request)
    const hop = list?.at(-count)
    return hop === undefined ? undefined : this.read(hop)
  }

  #walk(request: GuardRequest, peer: ClientAddress | undefined): ClientAddress | undefined {
    const { networks, named } = this.#proxies
    let list = hopsOf(request)
    let here = peer
    let found: ClientAddress | undefined
    for (;;) {
      if (named && (here?.groups ? isInAny(here.groups, named.from) : true)) {
        const byName = this.#named(request, named.headers)
        if (byName) return byName
      }
      if (here !== peer && here?.groups && !isInAny(here.groups, networks)) return here
      if (!list || list.length === 0) return found
      here = this.read(list.at(-1)!)
      if (!here) return undefined
      found = here
      list = list.slice(0, -1)
    }
  }

  #named(request: GuardRequest, headers: readonly string[]): ClientAddress | undefined {
    for (const name of headers) {
      const value = request.header(name)
      const address = value === null ? undefined : this.read(value)
      if (address) return address
    }
    return undefined
  }

  #note(request: GuardRequest, sign: ProxySign): void {
    if (request.header('x-forwarded-for') !== null) this.#onSign(sign)
  }
}

function hopsOf(request: GuardRequest): readonly string[] | undefined {
  const forwarded = request.header('x-forwarded-for')
  if (forwarded === null) return undefined
  const hops = forwarded.split(',', MOST_HOPS + 1)
  // As if nothing had been sent: who wrote it wanted it to be read by its wrong end.
  return hops.length > MOST_HOPS ? undefined : hops
}
