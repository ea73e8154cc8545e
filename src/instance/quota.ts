import { type DatabaseConfig, readDatabase } from '../config/database.ts'
import { type RedisConfig, type RedisOptions, readRedis } from '../config/redis.ts'
import { readSecrets, secretNeeded } from '../config/secrets.ts'
import { ConfigError } from '../errors/errors.ts'
import { Events, type HoldfastEvent } from '../events/events.ts'
import { type KeyVault, openVault } from '../quota/key-vault.ts'
import { MemoryPools } from '../quota/memory-pools.ts'
import { type OwnerQuota, PooledQuota, readQuotaSettings } from '../quota/owner-quota.ts'
import { OwnerPools } from '../redis/owner-pools.ts'
import { openRedisNames, type RedisRoom } from '../redis/redis.ts'
import { KeyRing, Names } from '../secrets/key-ring.ts'
import { type Clock, type Milliseconds, systemClock } from '../time/clock.ts'
import type { Holdfast } from './holdfast.ts'
import { partsOf } from './parts.ts'

/** How an owner quota is made. */
export interface OwnerQuotaOptions {
  /** Calls a window may have, for owners without a limit of their own. A guess, until an answer tells better (`learn`). */
  limit: number
  /** How long a window is; it begins with its first call. */
  windowMs: Milliseconds
  /** Limits of single owners: ceilings, which answers can only lower. */
  limits?: Record<string, number>
  /** Shares its Redis, clock, secret and events. */
  holdfast?: Holdfast
  /** Counts in Redis, for all processes that do. Needs HOLDFAST_SECRET, or an instance with a secret. Default: the instance's, else REDIS_URL, else this process's memory. */
  redis?: string | RedisOptions
  /** Hears of every decision: `quota.taken`, `quota.refused`. */
  on?: (event: HoldfastEvent) => void
  /**
   * How much later than `windowMs` a window ends that no answer has told the end of: calls do not all travel equally
   * fast, and the first of a window may arrive later than the first of the next. Default 0; in Redis 5 % of the window, at
   * most 250.
   */
  marginMs?: Milliseconds
  /** Owners with a window open at a time; beyond it new ones are refused until one ends. Default 100 000. */
  maxOwners?: number
  clock?: Clock
}

/**
 * Counts calls per owner, as an upstream does that counts per user and not per key. In this process's memory, or in Redis
 * for many processes. Throws ConfigError for an option that cannot be used.
 *
 * In Redis most takes ask nobody: calls are leased in chunks. While it is away nothing is given beyond what was leased:
 * `take` answers `{ ok: false, retryAfterMs: 1000 }`, `state` and `setLimit` reject with REDIS_UNAVAILABLE, and what was
 * learned is told once it is back. Changes reach the other processes within a quarter of a second.
 */
export function createOwnerQuota(options: OwnerQuotaOptions): OwnerQuota {
  const parts = partsOf(options?.holdfast)
  const clock = options?.clock ?? parts?.clock ?? systemClock
  const own = new Events(clock)
  const shared = options?.redis === undefined ? (parts?.redis as RedisRoom | undefined) : undefined
  const config = shared || parts ? readRedis(options?.redis, {}) : readRedis(options?.redis)
  const settings = readQuotaSettings(options, shared || config ? marginInRedis : () => 0)
  if (options.on) own.on(options.on)
  const events = parts ? [own, parts.events] : [own]
  if (!shared && !config) {
    let names: Names | undefined
    const store = new MemoryPools({ ...settings, clock })
    return new PooledQuota({ store, clock, events, names: () => (names ??= namesUnder(parts?.secrets)) })
  }
  const opened = shared ?? openOwn(config!, parts?.secrets ?? [], clock, own)
  const names = () => opened.naming.names
  const store = new OwnerPools({ ...settings, connection: opened.connection, names, clock })
  const onClose = async () => {
    if (!shared) opened.connection.close()
  }
  return new PooledQuota({ store, clock, events, names, onClose })
}

/** Calls of different processes travel differently. */
function marginInRedis(windowMs: Milliseconds): Milliseconds {
  return Math.min(windowMs / 20, 250)
}

function openOwn(config: RedisConfig, shared: readonly string[], clock: Clock, events: Events) {
  const secrets = shared.length > 0 ? shared : readSecrets(undefined)
  if (secrets.length === 0) throw secretNeeded('Redis (REDIS_URL)')
  const opened = openRedisNames({ config, secrets, clock, random: Math.random, events })
  opened.connection.start()
  return opened
}

function namesUnder(secrets: readonly string[] = []): Names {
  return new Names((secrets.length > 0 ? new KeyRing(secrets) : KeyRing.ephemeral()).namingKey())
}

/** How a key vault is made. */
export interface KeyVaultOptions {
  /** `sqlite:PATH`, `sqlite::memory:` or `postgres://…`. Default: the instance's, else DATABASE_URL, else memory, which ends with the process. */
  database?: string
  /** At least 32 bytes each, the newest first: the others are only read with, until `rotate()` has sealed all anew. Default: the instance's, else HOLDFAST_SECRET. */
  secret?: string | readonly string[]
  /** Asks the upstream whose a key is: once for each key that is added without an owner. May take 30 s. */
  ownerOf?: (key: string) => Promise<string>
  /** Shares its clock, secret and database. */
  holdfast?: Holdfast
  clock?: Clock
}

/**
 * Opens a vault, and brings its tables up to date; any number of processes may do so at once. PostgreSQL needs the
 * packages `kysely` and `pg`, SQLite `kysely`. Rejects with ConfigError for options that cannot be used,
 * VAULT_WRONG_SECRET, DATABASE_UNAVAILABLE and DATABASE_FAILED.
 */
export async function createKeyVault(options: KeyVaultOptions): Promise<KeyVault> {
  if (typeof options !== 'object' || options === null)
    throw new ConfigError('options', 'createKeyVault takes an object with secret and database')
  const { ownerOf } = options
  if (ownerOf !== undefined && typeof ownerOf !== 'function')
    throw new ConfigError('ownerOf', 'ownerOf cannot be used; accepted: a function that resolves to the owner of a key')
  const parts = partsOf(options.holdfast)
  const clock = options.clock ?? parts?.clock ?? systemClock
  const secrets = options.secret === undefined && parts?.secrets.length ? parts.secrets : readSecrets(options.secret)
  if (secrets.length === 0) throw secretNeeded('a key vault')
  const config = options.database === undefined ? parts?.database : undefined
  const { DatabaseConnection } = await import('../database/connection.ts')
  const { KeyRows } = await import('../database/key-rows.ts')
  const database = await DatabaseConnection.open(config ?? readDatabase(options.database) ?? MEMORY, clock)
  try {
    return await openVault({ store: new KeyRows(database), ring: new KeyRing(secrets), clock, ownerOf })
  } catch (error) {
    await database.close()
    throw error
  }
}

const MEMORY: DatabaseConfig = { kind: 'sqlite', path: ':memory:' }
