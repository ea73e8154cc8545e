import { ConfigError } from '../errors/errors.ts'
import type { Milliseconds } from '../time/clock.ts'
import { anObject, anyOf, checkedLater, text } from './accepted.ts'
import { type Option, type OptionTable, optionsOf } from './options.ts'
import { type Environment, numberOption, readNumber, refused } from './settings.ts'

/** Where Redis (or Valkey) is, and how long it may take. */
export type RedisOptions = (
  | { /** `redis://` or `rediss://`, with user and password where it has them. */ url: string }
  | { /** URLs of some nodes of a cluster; the others are found through them. */ cluster: readonly string[] }
) & {
  /** Keeps applications that share a Redis apart: letters, digits, `_`, `.` and `-`. Default `main`. */
  namespace?: string
  /** How long a read may take before Redis counts as away. Default 100. */
  readTimeoutMs?: Milliseconds
  /** The same for writes, none of which anybody waits for. Default 500. */
  writeTimeoutMs?: Milliseconds
}

/** Checked `RedisOptions`. */
export interface RedisConfig {
  readonly urls: readonly string[]
  readonly cluster: boolean
  readonly namespace: string
  readonly readTimeoutMs: Milliseconds
  readonly writeTimeoutMs: Milliseconds
}

/** `RedisOptions`, with the choice that its type makes still open. */
interface RedisSettings {
  readonly url?: unknown
  readonly cluster?: unknown
  readonly namespace?: string
  readonly readTimeoutMs?: Milliseconds
  readonly writeTimeoutMs?: Milliseconds
}

type Names = RedisOptions extends infer Each ? (Each extends unknown ? keyof Each : never) : never

/** Option `redis` of every function that takes one. Its URLs are checked where they are read: they are never shown. */
export const REDIS_OPTION = {
  means: 'shares what is known between processes',
  accepts: anyOf(text('a redis:// or rediss:// URL', /(?:)/), anObject('an object with url or cluster')),
  variable: 'REDIS_URL',
  secret: true,
  within: {
    url: { means: 'where Redis is', accepts: checkedLater('a redis:// or rediss:// URL'), secret: true },
    cluster: {
      means: 'some nodes of a cluster; the others are found through them',
      accepts: checkedLater('a list of redis:// or rediss:// URLs'),
      secret: true,
    },
    namespace: {
      means: 'keeps applications that share a Redis apart',
      accepts: text('1 to 64 letters, digits, "_", "." and "-"', /^[\w.-]{1,64}$/),
      preset: 'main',
    },
    readTimeoutMs: numberOption('redis.readTimeoutMs', 'how long a read may take'),
    writeTimeoutMs: numberOption('redis.writeTimeoutMs', 'how long a write may take; nobody waits for one'),
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
  const urls = cluster ? options.cluster : [options.url]
  if (!Array.isArray(urls) || urls.length === 0 || !urls.every(isRedisUrl))
    throw refused(
      cluster ? 'redis.cluster' : source === 'redis' && typeof given !== 'string' ? 'redis.url' : source,
      urls,
      cluster ? 'a list of redis:// or rediss:// URLs' : 'a redis:// or rediss:// URL',
      true,
    )
  const { namespace = 'main' } = options
  return {
    urls: urls.map((url: string) => url.trim()),
    cluster,
    namespace,
    readTimeoutMs: readNumber('redis.readTimeoutMs', options.readTimeoutMs, environment),
    writeTimeoutMs: readNumber('redis.writeTimeoutMs', options.writeTimeoutMs, environment),
  }
}

function isRedisUrl(url: unknown): boolean {
  if (typeof url !== 'string' || !URL.canParse(url.trim())) return false
  const { protocol, hostname } = new URL(url.trim())
  return /^rediss?:$/.test(protocol) && hostname !== ''
}
