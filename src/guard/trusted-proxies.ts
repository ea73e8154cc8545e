import { ConfigError } from '../errors/errors.ts'
import { type Network, readNetwork } from './address.ts'

/** Who stands in front of the app: nobody, the machine itself, a platform, so many hops, or these networks. */
export type TrustProxy =
  | false
  | 'loopback'
  | 'nginx'
  | 'cloudflare'
  | 'vercel'
  | 'fly'
  | 'render'
  | 'heroku'
  | number
  | readonly string[]

/** Whose word about a caller's address is taken, and where it stands. */
export interface TrustedProxies {
  /** Their X-Forwarded-For is read from the right, up to the first hop that is not one of them. */
  readonly networks: readonly Network[]
  /** So many hops are ours, wherever they are; then `networks` is empty. */
  readonly hops?: number
  /** Headers that a platform writes anew for each request, the best first, and from whom they are believed. */
  readonly named?: { readonly headers: readonly string[]; readonly from: readonly Network[] }
  /** Whether a peer that has no address (a Unix socket, a platform's own runtime) is one of them. */
  readonly addressless: boolean
}

const LOOPBACK = ['127.0.0.0/8', '::1/128']
/** What a load balancer, container network or platform speaks to its apps from. Nobody outside has such an address. */
const PRIVATE = [
  ...LOOPBACK,
  '10.0.0.0/8',
  '172.16.0.0/12',
  '192.168.0.0/16',
  '100.64.0.0/10',
  '169.254.0.0/16',
  'fc00::/7',
  'fe80::/10',
]
/** https://www.cloudflare.com/ips, as of 2026. */
const CLOUDFLARE = [
  '173.245.48.0/20',
  '103.21.244.0/22',
  '103.22.200.0/22',
  '103.31.4.0/22',
  '141.101.64.0/18',
  '108.162.192.0/18',
  '190.93.240.0/20',
  '188.114.96.0/20',
  '197.234.240.0/22',
  '198.41.128.0/17',
  '162.158.0.0/15',
  '104.16.0.0/13',
  '104.24.0.0/14',
  '172.64.0.0/13',
  '131.0.72.0/22',
  '2400:cb00::/32',
  '2606:4700::/32',
  '2803:f800::/32',
  '2405:b500::/32',
  '2405:8100::/32',
  '2a06:98c0::/29',
  '2c0f:f248::/32',
]

/**
 * What each name trusts, and why:
 * - `loopback`: a proxy on this machine, by its X-Forwarded-For.
 * - `nginx`: a proxy on this machine or in its private network that appends to X-Forwarded-For.
 * - `cloudflare`: Cloudflare's published networks, by CF-Connecting-IP, which it writes anew; also behind a proxy or
 *   tunnel of one's own in a private network. Who reaches the app past Cloudflare is not believed.
 * - `vercel`, `fly`: the platform's own network, by the header that it writes anew.
 * - `render`: its network and Cloudflare, which stands in front of it, by X-Forwarded-For.
 * - `heroku`: its network, by X-Forwarded-For, which its router appends to.
 */
const PRESETS: Readonly<
  Record<
    string,
    { trusts: readonly string[]; headers?: readonly string[]; from?: readonly string[]; addressless?: true }
  >
> = {
  loopback: { trusts: LOOPBACK },
  nginx: { trusts: PRIVATE, addressless: true },
  cloudflare: {
    trusts: [...PRIVATE, ...CLOUDFLARE],
    headers: ['cf-connecting-ip'],
    from: CLOUDFLARE,
    addressless: true,
  },
  vercel: { trusts: PRIVATE, headers: ['x-vercel-forwarded-for', 'x-real-ip'], from: PRIVATE, addressless: true },
  fly: { trusts: PRIVATE, headers: ['fly-client-ip'], from: PRIVATE, addressless: true },
  render: { trusts: [...PRIVATE, ...CLOUDFLARE], addressless: true },
  heroku: { trusts: PRIVATE, addressless: true },
}

export const TRUST_PROXY_WORDS = `false, ${Object.keys(PRESETS)
  .map((name) => `'${name}'`)
  .join(', ')}, how many proxies stand in front (1 to 32), or a list of their addresses and networks`

const NOBODY: TrustedProxies = { networks: [], addressless: false }
const MOST_HOPS = 32

/** Throws ConfigError for what is none of these, and for a network that is everybody. */
export function readTrustedProxies(trustProxy: unknown): TrustedProxies {
  if (trustProxy === undefined || trustProxy === false) return NOBODY
  const networks = (entries: readonly unknown[]) => entries.map((entry) => readNetwork(entry, 'trustProxy'))
  if (typeof trustProxy === 'number' && Number.isInteger(trustProxy) && trustProxy >= 1 && trustProxy <= MOST_HOPS)
    return { networks: [], hops: trustProxy, addressless: true }
  if (typeof trustProxy === 'string' && Object.hasOwn(PRESETS, trustProxy)) {
    const { trusts, headers, from, addressless = false } = PRESETS[trustProxy]!
    return {
      networks: networks(trusts),
      ...(headers && { named: { headers, from: networks(from ?? trusts) } }),
      addressless,
    }
  }
  if (!Array.isArray(trustProxy))
    throw new ConfigError(
      'trustProxy',
      `trustProxy cannot be ${JSON.stringify(trustProxy)}: give ${TRUST_PROXY_WORDS}. To trust everybody is to let everybody choose their address`,
    )
  return {
    networks: networks(trustProxy.flatMap((entry: unknown) => (entry === 'loopback' ? LOOPBACK : [entry]))),
    addressless: false,
  }
}
