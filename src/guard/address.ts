import { ConfigError } from '../errors/errors.ts'

/** An address as its eight groups of 16 bits; IPv4 in the mapped range (RFC 4291, section 2.5.5.2). */
export type Groups = readonly number[]

/** What all addresses count as that cannot be read: a Unix socket, a runtime that does not tell. */
export const UNKNOWN_ADDRESS = 'unknown'

const MAPPED = [0, 0, 0, 0, 0, 0xffff]
/** How a network that speaks IPv6 only writes clients that speak IPv4 (RFC 6052); /64 would put all of them together. */
const NAT64 = [0x64, 0xff9b, 0, 0, 0, 0]

const DECIMAL = /^(?:0|[1-9]\d{0,2})$/
const HEXADECIMAL = /^[0-9a-f]{1,4}$/i
/** `1.2.3.4:80`, `[::1]:80`, `[::1]`. */
const WITH_PORT = /^(?:\[([^\]]+)\](?::\d{1,5})?|(\d+\.\d+\.\d+\.\d+):\d{1,5})$/

/**
 * What requests from an address are counted under: an IPv4 address as it is, an IPv6 address by its first 64 bits, which
 * is the least that one customer is given. What is IPv4 is decided by range and not by notation: `::ffff:102:304`,
 * `::ffff:1.2.3.4` and `1.2.3.4` are one. Ports, brackets and zones are left out. Undefined for what is no address.
 */
export function addressBucket(text: string): string | undefined {
  const groups = parseAddress(text)
  return groups && bucketOf(groups)
}

export function bucketOf(groups: Groups): string {
  if (startsWith(groups, MAPPED) || startsWith(groups, NAT64)) {
    const [high, low] = [groups[6]!, groups[7]!]
    return `${high >> 8}.${high & 255}.${low >> 8}.${low & 255}`
  }
  return `${groups.slice(0, 4).map(hexadecimal).join(':')}::/64`
}

function startsWith(groups: Groups, prefix: readonly number[]): boolean {
  return prefix.every((group, index) => groups[index] === group)
}

const hexadecimal = (group: number) => group.toString(16)

/** The address in any of its notations; undefined for everything else, names and octal parts included. */
export function parseAddress(text: string): Groups | undefined {
  let address = text.trim()
  const withPort = WITH_PORT.exec(address)
  if (withPort) address = withPort[1] ?? withPort[2]!
  const zone = address.indexOf('%')
  if (zone !== -1) {
    if (!address.includes(':')) return undefined
    address = address.slice(0, zone)
  }
  if (!address.includes(':')) {
    const pair = parseIPv4(address)
    return pair && [...MAPPED, ...pair]
  }
  return parseIPv6(address)
}

function parseIPv4(text: string): readonly [high: number, low: number] | undefined {
  const parts = text.split('.')
  // A leading zero is octal to some readers: 010.0.0.1 is two addresses, so it is none.
  if (parts.length !== 4 || !parts.every((part) => DECIMAL.test(part) && Number(part) <= 255)) return undefined
  const [a, b, c, d] = parts.map(Number) as [number, number, number, number]
  return [(a << 8) | b, (c << 8) | d]
}

function parseIPv6(text: string): Groups | undefined {
  let hex = text
  const tail: number[] = []
  const lastColon = text.lastIndexOf(':')
  if (text.includes('.')) {
    const pair = parseIPv4(text.slice(lastColon + 1))
    if (!pair) return undefined
    tail.push(...pair)
    // `::1.2.3.4` keeps both its colons.
    hex = text[lastColon - 1] === ':' ? text.slice(0, lastColon + 1) : text.slice(0, lastColon)
  }
  const halves = hex.split('::')
  if (halves.length > 2) return undefined
  const [left, right] = halves.map((half) => (half === '' ? [] : half.split(':')))
  const groups = [...(left ?? []), ...(right ?? [])]
  if (!groups.every((group) => HEXADECIMAL.test(group))) return undefined
  const missing = 8 - groups.length - tail.length
  // `::` stands for one group or more; without it none may be missing.
  if (right === undefined ? missing !== 0 : missing < 1) return undefined
  const zeros = new Array<number>(right === undefined ? 0 : missing).fill(0)
  const numbers = (half: readonly string[] | undefined) => (half ?? []).map((group) => Number.parseInt(group, 16))
  return [...numbers(left), ...zeros, ...numbers(right), ...tail]
}

/** A network: the first `bits` of `groups`. */
export interface Network {
  readonly groups: Groups
  readonly bits: number
}

/** An address or a network, such as `10.0.0.0/8` or `fd00::/8`. Throws ConfigError for the option named. */
export function readNetwork(entry: unknown, option: string): Network {
  const [address, length, ...more] = typeof entry === 'string' ? entry.split('/') : []
  const groups = address === undefined ? undefined : parseAddress(address)
  const widest = address?.includes(':') ? 128 : 32
  const bits = length === undefined ? widest : DECIMAL.test(length) ? Number(length) : Number.NaN
  if (!groups || more.length > 0 || !(bits >= 0 && bits <= widest))
    throw new ConfigError(
      option,
      `${option}: ${JSON.stringify(entry)} is neither an address nor a network such as "10.0.0.0/8" or "fd00::/8"`,
    )
  return { groups, bits: bits + (128 - widest) }
}

export function isIn(groups: Groups, { groups: network, bits }: Network): boolean {
  for (let index = 0, left = bits; left > 0; index++, left -= 16) {
    const ignored = Math.max(0, 16 - left)
    if (groups[index]! >> ignored !== network[index]! >> ignored) return false
  }
  return true
}

export function isInAny(groups: Groups, networks: readonly Network[]): boolean {
  for (const network of networks) if (isIn(groups, network)) return true
  return false
}

/** The network of so many bits that an IPv6 address is in, by name; undefined for what is counted as IPv4. */
export function networkOf(groups: Groups, bits: 48 | 56): string | undefined {
  if (startsWith(groups, MAPPED) || startsWith(groups, NAT64)) return undefined
  const fourth = bits === 56 ? `:${hexadecimal(groups[3]! & 0xff00)}` : ''
  return `${groups.slice(0, 3).map(hexadecimal).join(':')}${fourth}::/${bits}`
}
