import { getHeapStatistics } from 'node:v8'
import { ConfigError } from '../errors/errors.ts'
import type { Logger } from '../events/events.ts'
import type { SessionResolver } from '../sessions/session.ts'
import { type Clock, type Milliseconds, systemClock } from '../time/clock.ts'
import { type DatabaseConfig, readDatabase } from './database.ts'
import { HOLDFAST_OPTIONS, type HoldfastOptions } from './holdfast-options.ts'
import type { LoginOptions } from './login.ts'
import { readRateLimit } from './rate-limit.ts'
import { type RedisConfig, readRedis } from './redis.ts'
import { readSecrets, secretNeeded } from './secrets.ts'
import { DISCORD_API, type Environment, httpUrl, readNumber, readText } from './settings.ts'

/** What is asked of a store that is handed in; its methods may return promises. */
export interface KeyvStoreShape {
  get(key: string): unknown
  set(key: string, value: string, lasts?: number): unknown
  delete(key: string): unknown
  readonly capabilities?: { readonly expires?: boolean }
  readonly store?: unknown
}

/** The checked configuration of an instance. */
export interface Config {
  readonly baseUrl: URL
  readonly maxRetries: number
  readonly retryDelayMs: Milliseconds
  readonly maxWaitMs: Milliseconds
  readonly timeoutMs: Milliseconds
  readonly retryOn: 'rate-limit' | 'transient'
  readonly globalPerSecond: number
  readonly dispatcher: object | undefined
  readonly clientId: string | undefined
  readonly clientSecret: string | undefined
  readonly publicKey: string | undefined
  readonly botToken: string | undefined
  readonly freshMs: Milliseconds
  readonly staleMs: Milliseconds
  readonly patienceMs: Milliseconds
  readonly loadTimeoutMs: Milliseconds
  readonly maxEntries: number
  readonly maxBytes: number
  /** A Keyv store that was handed in. */
  readonly store: KeyvStoreShape | undefined
  readonly maxBackgroundLoads: number
  readonly redis: RedisConfig | undefined
  readonly database: DatabaseConfig | undefined
  readonly ledgerMaxAgeMs: Milliseconds
  /** The newest first; empty where nothing needs one. */
  readonly secrets: readonly string[]
  readonly publicUrl: string | undefined
  readonly session: SessionResolver | undefined
  readonly login: LoginOptions
  readonly refusal: HoldfastOptions['refusal']
  readonly waitUntil: HoldfastOptions['waitUntil']
  readonly logger: Logger | undefined
  readonly clock: Clock
  readonly random: () => number
}

/** Checks options and environment. Throws ConfigError for the first value that cannot be used, naming it and what is accepted. */
export function readConfig(options: HoldfastOptions = {}, environment: Environment = process.env): Config {
  HOLDFAST_OPTIONS.check(options)
  const { discord = {}, cache = {} } = options
  const freshMs = readNumber('cache.freshMs', cache.freshMs, environment)
  const staleMs = readNumber('cache.staleMs', cache.staleMs, environment)
  if (staleMs < freshMs)
    throw new ConfigError(
      'cache.staleMs',
      `the stale time (${staleMs} ms; cache.staleMs or DISCORD_GUILD_CACHE_STALE_HOURS) must not be shorter than the fresh time (${freshMs} ms; cache.freshMs or DISCORD_GUILD_CACHE_FRESH_MINUTES): both count from the fetch`,
    )
  readRateLimit(environment)
  const publicUrl = readText('publicUrl', options.publicUrl, environment)
  const redis = readRedis(options.redis, environment)
  const database = readDatabase(options.database, environment)
  const secrets = readSecrets(options.secret, environment)
  const store = (cache.store ?? undefined) as KeyvStoreShape | undefined
  if (store && redis)
    throw new ConfigError(
      'cache.store',
      'option cache.store is for a fleet without Redis, and Redis is configured (redis, REDIS_URL); leave one of them out',
    )
  if (store && secrets.length === 0) throw secretNeeded('a store (cache.store)')
  if (redis && secrets.length === 0) throw secretNeeded('Redis (REDIS_URL)')
  if (database && secrets.length === 0) throw secretNeeded('a database (DATABASE_URL)')
  return {
    baseUrl: httpUrl('discord.baseUrl', readText('discord.baseUrl', discord.baseUrl, environment) ?? DISCORD_API),
    maxRetries: readNumber('discord.maxRetries', discord.maxRetries, environment),
    retryDelayMs: readNumber('discord.retryDelayMs', discord.retryDelayMs, environment),
    maxWaitMs: readNumber('discord.maxWaitMs', discord.maxWaitMs, environment),
    timeoutMs: readNumber('discord.timeoutMs', discord.timeoutMs, environment),
    retryOn: discord.retryOn ?? 'rate-limit',
    globalPerSecond: readNumber('discord.globalPerSecond', discord.globalPerSecond, environment),
    dispatcher: discord.dispatcher,
    clientId: readText('discord.clientId', discord.clientId, environment),
    clientSecret: readText('discord.clientSecret', discord.clientSecret, environment),
    publicKey: readText('discord.publicKey', discord.publicKey, environment),
    botToken: readText('discord.botToken', discord.botToken, environment),
    freshMs,
    staleMs,
    patienceMs: readNumber('cache.patienceMs', cache.patienceMs, environment),
    loadTimeoutMs: readNumber('cache.loadTimeoutMs', cache.loadTimeoutMs, environment),
    maxBackgroundLoads: readNumber('cache.maxBackgroundLoads', cache.maxBackgroundLoads, environment),
    maxEntries: readNumber('cache.maxEntries', cache.maxEntries, environment),
    maxBytes:
      readNumber('cache.maxBytes', cache.maxBytes, environment) || Math.floor(getHeapStatistics().heap_size_limit / 4),
    store,
    redis,
    database,
    ledgerMaxAgeMs: readNumber('ledgerMaxAgeMs', options.ledgerMaxAgeMs, environment),
    secrets,
    // As the URL parser writes it: what was given may hold characters that no header can.
    publicUrl: publicUrl === undefined ? undefined : httpUrl('publicUrl', publicUrl).href.replace(/\/$/, ''),
    session: options.session,
    login: options.login ?? {},
    refusal: options.refusal,
    waitUntil: options.waitUntil,
    logger: options.logger,
    clock: options.clock ?? systemClock,
    random: options.random ?? Math.random,
  }
}
