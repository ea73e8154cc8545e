/** Loopback, this host, private, shared and link-local networks (RFC 1122, 1918, 6598, 3927), as the URL parser writes addresses. */
const PRIVATE_IPV4 =
  /^(0\.0\.0\.0$|127\.|10\.|192\.168\.|169\.254\.|172\.(1[6-9]|2\d|3[01])\.|100\.(6[4-9]|[7-9]\d|1[01]\d|12[0-7])\.)/
/** Loopback, unspecified, unique local and link-local (RFC 4291, 4193). */
const PRIVATE_IPV6 = /^\[(::1|::|f[cd][0-9a-f]{2}:.*|fe[89ab][0-9a-f]:.*)\]$/
const MAPPED_IPV4 = /^\[::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})\]$/
const IPV4 = /^\d+\.\d+\.\d+\.\d+$/

/**
 * Whether the host of a parsed URL is this machine or on a network of its own: by address, or by a name that only a local
 * resolver knows (without a dot, or below `localhost`, RFC 6761).
 */
export function isPrivateHost(hostname: string): boolean {
  const mapped = MAPPED_IPV4.exec(hostname)
  if (mapped) {
    const [high, low] = [Number.parseInt(mapped[1]!, 16), Number.parseInt(mapped[2]!, 16)]
    return PRIVATE_IPV4.test(`${high >> 8}.${high & 255}.${low >> 8}.${low & 255}`)
  }
  if (hostname.startsWith('[')) return PRIVATE_IPV6.test(hostname)
  if (IPV4.test(hostname)) return PRIVATE_IPV4.test(hostname)
  return !hostname.includes('.') || /\.localhost\.?$/i.test(hostname)
}
