import { getHeapStatistics } from 'node:v8'
import { ConfigError } from '../errors/errors.ts'
import type { Logger } from '../events/events.ts'
import type { SessionResolver } from '../sessions/session.ts'
import { type Clock, type Milliseconds, systemClock } from '../time/clock.ts'

/** How an instance is made. Options beat environment variables, which beat defaults. Times are milliseconds. */
export interface HoldfastOptions {
  discord?: {
    /** Where to call. Default Discord's v10 API. */
    baseUrl?: string
    /** Tries after the first, 0 to 10. Default 3. */
    maxRetries?: number
    /** First backoff where Discord names no wait; then doubling. Default 1000. */
    retryDelayMs?: Milliseconds
    /** All waits of one call together; a longer wait fails at once. Default 10 000. */
    maxWaitMs?: Milliseconds
    /** One attempt, connect to last byte. Default 10 000. */
    timeoutMs?: Milliseconds
    /** What is tried again. Default `'rate-limit'`. */
    retryOn?: 'rate-limit' | 'transient'
    clientId?: string
    clientSecret?: string
    publicKey?: string
    /** Lets `requireAuth({ live: true })` ask as the bot where the user's own list cannot be fetched. */
    botToken?: string
  }
  cache?: {
    /** Answered without asking Discord. Default 60 min. */
    freshMs?: Milliseconds
    /** How old an answer may be when Discord cannot be asked, counted from its fetch. Default 24 h. */
    staleMs?: Milliseconds
    /** How long the caller that starts a refresh waits for it. Default 500. */
    patienceMs?: Milliseconds
    /** After this a load is given up. Default 30 000. */
    loadTimeoutMs?: Milliseconds
    /** Default 100 000. */
    maxEntries?: number
    /** Default: a quarter of the heap limit. */
    maxBytes?: number
  }
  /** A `redis://` or `rediss://` URL, or more. Shares the cache, holds and budgets between processes. Needs `secret`. */
  redis?: string | RedisOptions
  /** `sqlite:PATH`, `sqlite::memory:` or `postgres://…`: where key vaults made with this instance keep their keys. Needs `secret`. */
  database?: string
  /** At least 32 bytes each, the newest first. Seals and names what is kept outside the process. */
  secret?: string | readonly string[]
  /** Who is signed in. Default: `Authorization: Bearer` with a token issued to `clientId`. */
  session?: SessionResolver
  /** Where users reach this app, for example `https://dash.example`. Also tells Discord whom to write to. */
  publicUrl?: string
  logger?: Logger
  clock?: Clock
  /** From 0 to below 1. Default Math.random; used for jitter only. */
  random?: () => number
}

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

/** A checked `database`. */
export type DatabaseConfig =
  | { readonly kind: 'sqlite' /** A file, or `:memory:`. */; readonly path: string }
  | { readonly kind: 'postgres'; readonly url: string }

/** The checked configuration of an instance. */
export interface Config {
  readonly baseUrl: URL
  readonly maxRetries: number
  readonly retryDelayMs: Milliseconds
  readonly maxWaitMs: Milliseconds
  readonly timeoutMs: Milliseconds
  readonly retryOn: 'rate-limit' | 'transient'
  readonly clientId: string | undefined
  readonly botToken: string | undefined
  readonly freshMs: Milliseconds
  readonly staleMs: Milliseconds
  readonly patienceMs: Milliseconds
  readonly loadTimeoutMs: Milliseconds
  readonly maxEntries: number
  readonly maxBytes: number
  readonly redis: RedisConfig | undefined
  readonly database: DatabaseConfig | undefined
  /** The newest first; empty where nothing needs one. */
  readonly secrets: readonly string[]
  readonly publicUrl: string | undefined
  readonly session: SessionResolver | undefined
  readonly logger: Logger | undefined
  readonly clock: Clock
  readonly random: () => number
}

const MINUTE: Milliseconds = 60_000
const HOUR: Milliseconds = 60 * MINUTE
const YEAR: Milliseconds = 365 * 24 * HOUR

/** A number among the settings. `unit` is what one step of the variable is, in the option's own unit. */
interface NumberSetting {
  readonly variable?: string
  readonly unit?: number
  readonly unitName: string
  readonly min: number
  readonly max: number
  readonly whole?: boolean
  readonly fallback: number
}

/** Every number, with its variable, unit, bounds and default: the one table that docs/reference/configuration.md is made from. */
export const NUMBERS = {
  'discord.maxRetries': {
    variable: 'DISCORD_API_MAX_RETRIES',
    unitName: 'tries after the first',
    min: 0,
    max: 10,
    whole: true,
    fallback: 3,
  },
  'discord.retryDelayMs': {
    variable: 'DISCORD_API_RETRY_DELAY_MS',
    unitName: 'milliseconds',
    min: 0,
    max: HOUR,
    fallback: 1000,
  },
  'discord.maxWaitMs': {
    variable: 'DISCORD_API_MAX_WAIT_MS',
    unitName: 'milliseconds',
    min: 0,
    max: YEAR,
    fallback: 10_000,
  },
  'discord.timeoutMs': { unitName: 'milliseconds', min: 1, max: HOUR, fallback: 10_000 },
  'cache.freshMs': {
    variable: 'DISCORD_GUILD_CACHE_FRESH_MINUTES',
    unit: MINUTE,
    unitName: 'minutes',
    min: 0,
    max: YEAR,
    fallback: 60 * MINUTE,
  },
  'cache.staleMs': {
    variable: 'DISCORD_GUILD_CACHE_STALE_HOURS',
    unit: HOUR,
    unitName: 'hours',
    min: 0,
    max: YEAR,
    fallback: 24 * HOUR,
  },
  'cache.patienceMs': { unitName: 'milliseconds', min: 0, max: HOUR, fallback: 500 },
  'cache.loadTimeoutMs': { unitName: 'milliseconds', min: 1, max: HOUR, fallback: 30_000 },
  'redis.readTimeoutMs': { unitName: 'milliseconds', min: 1, max: MINUTE, fallback: 100 },
  'redis.writeTimeoutMs': { unitName: 'milliseconds', min: 1, max: MINUTE, fallback: 500 },
  'cache.maxEntries': { unitName: 'entries', min: 1, max: 10_000_000, whole: true, fallback: 100_000 },
  'cache.maxBytes': { unitName: 'bytes', min: 1, max: Number.MAX_SAFE_INTEGER, whole: true, fallback: 0 },
} as const satisfies Record<string, NumberSetting>

/** The guard's default rule, which options give in another way: as the rule for `*`. */
export const RATE_LIMIT_NUMBERS = {
  windowMs: {
    variable: 'RATE_LIMIT_WINDOW',
    unitName: 'milliseconds',
    min: 1,
    max: YEAR,
    fallback: 15 * MINUTE,
  },
  max: {
    variable: 'RATE_LIMIT_MAX',
    unitName: 'requests a window',
    min: 1,
    max: 1_000_000_000,
    whole: true,
    fallback: 100,
  },
  maxAuth: {
    variable: 'RATE_LIMIT_MAX_AUTH',
    unitName: 'requests a window, signed in',
    min: 1,
    max: 1_000_000_000,
    whole: true,
    fallback: 300,
  },
  maxAnon: {
    variable: 'RATE_LIMIT_MAX_ANON',
    unitName: 'requests a window, anonymous',
    min: 1,
    max: 1_000_000_000,
    whole: true,
    fallback: 0,
  },
} as const satisfies Record<string, NumberSetting>

/** A text among the settings. A `secret` value is never shown, not even in the error that refuses it. */
interface TextSetting {
  readonly variable: string
  readonly secret: boolean
  readonly pattern?: RegExp
  /** What `pattern` accepts, in words. */
  readonly accepted: string
}

const URL_ACCEPTED = 'an http or https URL without user, password, query or fragment'

/** Every text, with its variable and what it may be. */
export const TEXTS = {
  'discord.baseUrl': { variable: 'DISCORD_API_BASE_URL', secret: false, accepted: URL_ACCEPTED },
  'discord.clientId': {
    variable: 'DISCORD_CLIENT_ID',
    secret: false,
    pattern: /^\d{1,20}$/,
    accepted: 'the digits of the application id',
  },
  'discord.clientSecret': { variable: 'DISCORD_CLIENT_SECRET', secret: true, accepted: 'the client secret' },
  'discord.publicKey': {
    variable: 'DISCORD_PUBLIC_KEY',
    secret: false,
    pattern: /^[0-9a-f]{64}$/i,
    accepted: '64 hexadecimal digits, from the application page',
  },
  'discord.botToken': {
    variable: 'DISCORD_BOT_TOKEN',
    secret: true,
    pattern: /^[\x21-\x7e]+$/,
    accepted: 'the bare token, without "Bot" and without spaces',
  },
  publicUrl: { variable: 'HOLDFAST_PUBLIC_URL', secret: false, accepted: URL_ACCEPTED },
} as const satisfies Record<string, TextSetting>

/** Fewer bytes than a key of AES-256 has could be guessed. */
const SECRET_BYTES = 32
const SECRET_ACCEPTED = `at least ${SECRET_BYTES} bytes, for example of \`openssl rand -base64 32\``

export const DISCORD_API = 'https://discord.com/api/v10'

type Environment = Readonly<Record<string, string | undefined>>

/** Checks options and environment. Throws ConfigError for the first value that cannot be used, naming it and what is accepted. */
export function readConfig(options: HoldfastOptions = {}, environment: Environment = process.env): Config {
  if (typeof options !== 'object' || options === null)
    throw new ConfigError('options', 'createHoldfast takes an object of options')
  const number = (name: keyof typeof NUMBERS) => readNumber(name, given(options, name), environment)
  const text = (name: keyof typeof TEXTS) => readText(name, given(options, name), environment)
  const freshMs = number('cache.freshMs')
  const staleMs = number('cache.staleMs')
  if (staleMs < freshMs)
    throw new ConfigError(
      'cache.staleMs',
      `the stale time (${staleMs} ms; cache.staleMs or DISCORD_GUILD_CACHE_STALE_HOURS) must not be shorter than the fresh time (${freshMs} ms; cache.freshMs or DISCORD_GUILD_CACHE_FRESH_MINUTES): both count from the fetch`,
    )
  // Read by nobody yet, and still no place for a value that cannot be one.
  text('discord.clientSecret')
  text('discord.publicKey')
  readRateLimit(environment)
  const publicUrl = text('publicUrl')
  const redis = readRedis(options.redis, environment)
  const database = readDatabase(options.database, environment)
  const secrets = readSecrets(options.secret, environment)
  if (redis && secrets.length === 0) throw secretNeeded('Redis (REDIS_URL)')
  if (database && secrets.length === 0) throw secretNeeded('a database (DATABASE_URL)')
  return {
    baseUrl: httpUrl('discord.baseUrl', text('discord.baseUrl') ?? DISCORD_API),
    maxRetries: number('discord.maxRetries'),
    retryDelayMs: number('discord.retryDelayMs'),
    maxWaitMs: number('discord.maxWaitMs'),
    timeoutMs: number('discord.timeoutMs'),
    retryOn: oneOf('discord.retryOn', options.discord?.retryOn ?? 'rate-limit', ['rate-limit', 'transient']),
    clientId: text('discord.clientId'),
    botToken: text('discord.botToken'),
    freshMs,
    staleMs,
    patienceMs: number('cache.patienceMs'),
    loadTimeoutMs: number('cache.loadTimeoutMs'),
    maxEntries: number('cache.maxEntries'),
    maxBytes: number('cache.maxBytes') || Math.floor(getHeapStatistics().heap_size_limit / 4),
    redis,
    database,
    secrets,
    // As the URL parser writes it: what was given may hold characters that no header can.
    publicUrl: publicUrl === undefined ? undefined : httpUrl('publicUrl', publicUrl).href.replace(/\/$/, ''),
    session: functionOr('session', options.session),
    logger: options.logger,
    clock: options.clock ?? systemClock,
    random: functionOr('random', options.random) ?? Math.random,
  }
}

/** The guard's default rule: at most so many requests a window. */
export interface DefaultRateLimit {
  readonly windowMs: Milliseconds
  /** For callers whom nobody has identified. */
  readonly anon: number
  /** For users and sessions. */
  readonly auth: number
}

/** Checks the RATE_LIMIT_* variables. Throws ConfigError. */
export function readRateLimit(environment: Environment = process.env): DefaultRateLimit {
  const number = (setting: NumberSetting) => readSetting(setting, environment)
  const { windowMs, max, maxAuth, maxAnon } = RATE_LIMIT_NUMBERS
  return { windowMs: number(windowMs), anon: number(maxAnon) || number(max), auth: number(maxAuth) }
}

/** Checks option `redis` or REDIS_URL; undefined where neither is given. Throws ConfigError; never shows a URL, which may hold a password. */
export function readRedis(
  option: string | RedisOptions | undefined,
  environment: Environment = process.env,
): RedisConfig | undefined {
  const given = option ?? environment.REDIS_URL
  if (given === undefined) return undefined
  const source = option === undefined ? 'REDIS_URL' : 'redis'
  const options: Record<string, unknown> = typeof given === 'string' ? { url: given } : { ...given }
  if (typeof given !== 'string' && (typeof given !== 'object' || given === null))
    throw refused('redis', given, 'a URL, or an object with url or cluster', false)
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
  if (typeof namespace !== 'string' || !/^[\w.-]{1,64}$/.test(namespace))
    throw refused('redis.namespace', namespace, '1 to 64 letters, digits, "_", "." and "-"', false)
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

/** Checks option `database` or DATABASE_URL; undefined where neither is given. Throws ConfigError; never shows a URL, which may hold a password. */
export function readDatabase(
  option: string | undefined,
  environment: Environment = process.env,
): DatabaseConfig | undefined {
  const given: unknown = option ?? environment.DATABASE_URL
  if (given === undefined) return undefined
  const text = typeof given === 'string' ? given.trim() : ''
  const [, path] = /^sqlite:(.+)$/.exec(text) ?? []
  if (path !== undefined) return { kind: 'sqlite', path }
  if (/^postgres(ql)?:/.test(text) && URL.canParse(text)) return { kind: 'postgres', url: text }
  throw refused(
    option === undefined ? 'DATABASE_URL' : 'database',
    given,
    'sqlite:PATH, sqlite::memory: or a postgres:// URL',
    true,
  )
}

/** What a store needs that others can read. */
export function secretNeeded(what: string): ConfigError {
  return new ConfigError(
    'secret',
    `with ${what} a secret is needed, which seals what is kept there: set HOLDFAST_SECRET or option secret; accepted: ${SECRET_ACCEPTED}`,
  )
}

/** Checks option `secret`, or HOLDFAST_SECRET and HOLDFAST_SECRET_PREVIOUS; empty where none is given. Throws ConfigError; never shows one. */
export function readSecrets(
  option: string | readonly string[] | undefined,
  environment: Environment = process.env,
): readonly string[] {
  const { HOLDFAST_SECRET: current, HOLDFAST_SECRET_PREVIOUS: previous } = environment
  if (option === undefined && previous !== undefined && current === undefined)
    throw new ConfigError(
      'HOLDFAST_SECRET',
      'HOLDFAST_SECRET_PREVIOUS is set and HOLDFAST_SECRET is not; the newest secret goes there',
    )
  const named: Array<readonly [name: string, secret: unknown]> =
    option === undefined
      ? [
          ['HOLDFAST_SECRET', current],
          ['HOLDFAST_SECRET_PREVIOUS', previous],
        ]
      : (Array.isArray(option) ? option : [option]).map((secret) => ['secret', secret])
  if (option !== undefined && named.length === 0) throw refused('secret', option, SECRET_ACCEPTED, true)
  const secrets: string[] = []
  for (const [name, secret] of named) {
    if (secret === undefined && option === undefined) continue
    if (typeof secret !== 'string' || Buffer.byteLength(secret.trim()) < SECRET_BYTES)
      throw refused(name, secret, SECRET_ACCEPTED, true)
    secrets.push(secret.trim())
  }
  return secrets
}

function given(options: HoldfastOptions, name: string): unknown {
  let value: unknown = options
  for (const part of name.split('.')) {
    if (value === undefined) return undefined
    if (typeof value !== 'object' || value === null) throw new ConfigError(name, `option ${name} is not in an object`)
    value = (value as Record<string, unknown>)[part]
  }
  return value
}

function readNumber(name: keyof typeof NUMBERS, option: unknown, environment: Environment): number {
  const setting: NumberSetting = NUMBERS[name]
  const { min, max, whole = false } = setting
  if (option !== undefined) {
    if (typeof option !== 'number' || !(option >= min && option <= max) || (whole && !Number.isInteger(option)))
      throw refused(name, option, `${whole ? 'a whole number' : 'a number'} from ${min} to ${max}`, false)
    return option
  }
  return readSetting(setting, environment)
}

function readSetting(setting: NumberSetting, environment: Environment): number {
  const { variable, unit = 1, min, max, whole = false, fallback } = setting
  const text = variable === undefined ? undefined : environment[variable]
  if (variable === undefined || text === undefined) return fallback
  const value = /^\d+(\.\d+)?$/.test(text.trim()) ? Number(text) * unit : Number.NaN
  if (!(value >= min && value <= max) || (whole && !Number.isInteger(value))) {
    const accepted = `${whole ? 'a whole number' : 'a number'} of ${setting.unitName} from ${min / unit} to ${max / unit}`
    throw refused(variable, text, accepted, false)
  }
  return value
}

function readText(name: keyof typeof TEXTS, option: unknown, environment: Environment): string | undefined {
  const { variable, secret, pattern, accepted }: TextSetting = TEXTS[name]
  const value = option ?? environment[variable]
  if (value === undefined) return undefined
  const source = option === undefined ? variable : name
  if (typeof value !== 'string' || value.trim() === '')
    throw refused(source, value, `${accepted}; leave it unset to do without`, secret)
  const text = value.trim()
  if (pattern && !pattern.test(text)) throw refused(source, text, accepted, secret)
  return text
}

function httpUrl(name: 'discord.baseUrl' | 'publicUrl', text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (!url || !/^https?:$/.test(url.protocol) || url.username || url.password || url.search || url.hash)
    // A URL with a password in it is not shown.
    throw refused(`${name} (${TEXTS[name].variable})`, text, URL_ACCEPTED, text.includes('@'))
  return url
}

function oneOf<T extends string>(name: string, value: unknown, accepted: readonly T[]): T {
  if (!accepted.includes(value as T)) throw refused(name, value, accepted.join(' or '), false)
  return value as T
}

// biome-ignore lint/suspicious/noExplicitAny: any function will do here
function functionOr<F extends (...args: any[]) => unknown>(name: string, value: F | undefined): F | undefined {
  if (value !== undefined && typeof value !== 'function') throw refused(name, value, 'a function', false)
  return value
}

function refused(name: string, value: unknown, accepted: string, secret: boolean): ConfigError {
  const shown = secret ? 'its value' : value === '' ? 'empty' : JSON.stringify(String(value).slice(0, 80))
  return new ConfigError(name, `${name} cannot be used: ${shown}; accepted: ${accepted}`)
}
