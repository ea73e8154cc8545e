import { ConfigError } from '../errors/errors.ts'
import type { Milliseconds } from '../time/clock.ts'
import { aFunction, anObject, anyOf, checkedLater, text, yesOrNo } from './accepted.ts'
import { type Option, type OptionTable, optionsOf } from './options.ts'
import { type Environment, numberOption, readNumber, refused } from './settings.ts'

/** How to log in to Redis. */
export interface RedisCredentials {
  readonly username?: string
  readonly password: string
}

/** Where Redis (or Valkey) is, and how long it may take. */
export type RedisOptions = (
  | {
      /** `redis://`, `rediss://` (TLS), `valkey://`, `valkeys://` or `unix:///path`, with user and password where it has them. */
      url: string
    }
  | { /** URLs of some nodes of a cluster; the others are found through them. */ cluster: readonly string[] }
) & {
  /** Keeps applications that share a Redis apart: letters, digits, `_`, `.` and `-`. Default `main`. */
  namespace?: string
  /** How long Redis may be silent while a read waits for it, before it counts as away. Default 100. */
  readTimeoutMs?: Milliseconds
  /** The same for writes, none of which anybody waits for. Default 500. */
  writeTimeoutMs?: Milliseconds
  /** How TLS is spoken: options of Node's `tls.connect`, such as `ca`, `cert`, `key` and `servername`. Given, TLS is spoken whatever the URL says. */
  tls?: object
  /** Asked at each connection, where the password rotates. May take 1.5 s with the connection. */
  credentials?: () => RedisCredentials | Promise<RedisCredentials>
  /** Whether values of 4 kB and more are compressed. Costs a write 90 µs and a read 35 µs for 100 guilds, and saves two thirds of the memory. Default true. */
  compress?: boolean
}

/** Checked `RedisOptions`. */
export interface RedisConfig {
  /** As the client reads them: `redis://`, `rediss://` or `unix://`. */
  readonly urls: readonly string[]
  readonly cluster: boolean
  readonly namespace: string
  readonly readTimeoutMs: Milliseconds
  readonly writeTimeoutMs: Milliseconds
  readonly tls: object | undefined
  readonly credentials: (() => Promise<RedisCredentials>) | undefined
  /** Undefined: yes. */
  readonly compress: boolean | undefined
}

/** `RedisOptions`, with the choice that its type makes still open. */
interface RedisSettings {
  readonly url?: unknown
  readonly cluster?: unknown
  readonly namespace?: string
  readonly readTimeoutMs?: Milliseconds
  readonly writeTimeoutMs?: Milliseconds
  readonly tls?: object
  readonly credentials?: () => unknown
  readonly compress?: boolean
}

type Names = RedisOptions extends infer Each ? (Each extends unknown ? keyof Each : never) : never

const URL_ACCEPTED = 'a redis://, rediss://, valkey:// or unix:// URL'
const CLUSTER_ACCEPTED = 'a list of redis://, rediss:// or valkey:// URLs'

/** Option `redis` of every function that takes one. Its URLs are checked where they are read: they are never shown. */
export const REDIS_OPTION = {
  means: 'shares what is known between processes',
  accepts: anyOf(text(URL_ACCEPTED, /(?:)/), anObject('an object with url or cluster')),
  variable: 'REDIS_URL',
  secret: true,
  within: {
    url: { means: 'where Redis is', accepts: checkedLater(URL_ACCEPTED), secret: true },
    cluster: {
      means: 'some nodes of a cluster; the others are found through them',
      accepts: checkedLater(CLUSTER_ACCEPTED),
      secret: true,
    },
    namespace: {
      means: 'keeps applications that share a Redis apart',
      accepts: text('1 to 64 letters, digits, "_", "." and "-"', /^[\w.-]{1,64}$/),
      preset: 'main',
    },
    readTimeoutMs: numberOption('redis.readTimeoutMs', 'how long a read may take'),
    writeTimeoutMs: numberOption('redis.writeTimeoutMs', 'how long a write may take; nobody waits for one'),
    tls: {
      means: "how TLS is spoken: options of Node's `tls.connect`, such as `ca`, `cert`, `key` and `servername`",
      accepts: anObject("an object of tls.connect's options"),
      secret: true,
    },
    credentials: {
      means: 'asked for user and password at each connection, where they rotate',
      accepts: aFunction('a function that returns { username, password }, or a promise of it'),
    },
    compress: { means: 'whether values of 4 kB and more are compressed', accepts: yesOrNo, preset: 'true' },
  } satisfies OptionTable<Names>,
} satisfies Option

const REDIS = optionsOf('redis', { redis: REDIS_OPTION })

/** Checks option `redis` or REDIS_URL; undefined where neither is given. Throws ConfigError; never shows a URL, which may hold a password. */
export function readRedis(
  option: string | RedisOptions | undefined,
  environment: Environment = process.env,
): RedisConfig | undefined {
  REDIS.check({ redis: option ?? undefined })
  const given = option ?? environment.REDIS_URL
  if (given === undefined) return undefined
  const source = option === undefined ? 'REDIS_URL' : 'redis'
  const options: RedisSettings = typeof given === 'string' ? { url: given } : given
  const cluster = options.cluster !== undefined
  if (cluster && options.url !== undefined)
    throw new ConfigError('redis', 'option redis has both url and cluster; give one of them')
  const located = cluster ? options.cluster : [options.url]
  const urls = Array.isArray(located) && located.length > 0 ? located.map((url) => asClientUrl(url, cluster)) : []
  if (urls.length === 0 || urls.includes(undefined))
    throw refused(
      cluster ? 'redis.cluster' : source === 'redis' && typeof given !== 'string' ? 'redis.url' : source,
      located,
      cluster ? CLUSTER_ACCEPTED : URL_ACCEPTED,
      true,
    )
  const { namespace = 'main', tls, credentials, compress } = options
  if (tls && urls[0]!.startsWith('unix:'))
    throw new ConfigError('redis.tls', 'option redis.tls cannot be used with a Unix socket: nothing travels there')
  return {
    urls: urls as string[],
    cluster,
    namespace,
    readTimeoutMs: readNumber('redis.readTimeoutMs', options.readTimeoutMs, environment),
    writeTimeoutMs: readNumber('redis.writeTimeoutMs', options.writeTimeoutMs, environment),
    tls,
    credentials: credentials && (() => askedCredentials(credentials)),
    compress,
  }
}

/** What the client reads: it knows Redis's own schemes, and Valkey speaks the same. Undefined for what is no URL of a Redis. */
function asClientUrl(given: unknown, cluster: boolean): string | undefined {
  const url = typeof given === 'string' ? given.trim().replace(/^valkey(s?):/i, 'redis$1:') : ''
  if (!URL.canParse(url)) return undefined
  const { protocol, hostname, pathname } = new URL(url)
  if (protocol === 'unix:') return !cluster && hostname === '' && /^\/./.test(pathname) ? url : undefined
  return /^rediss?:$/.test(protocol) && hostname !== '' ? url : undefined
}

/** What the function gave, checked; its own error is the caller's, and is shown by its class only. */
async function askedCredentials(ask: () => unknown): Promise<RedisCredentials> {
  const given = (await ask()) as Partial<RedisCredentials> | null | undefined
  const { username, password } = given ?? {}
  if (typeof password !== 'string' || (username !== undefined && typeof username !== 'string'))
    throw new ConfigError('redis.credentials', 'redis.credentials gave no password; accepted: { username?, password }')
  return { password, ...(username !== undefined && { username }) }
}
