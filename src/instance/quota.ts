import type { RedisOptions } from '../config/redis.ts'
import { Events, type HoldfastEvent } from '../events/events.ts'
import { MemoryPools } from '../quota/memory-pools.ts'
import { type OwnerQuota, PooledQuota, readQuotaSettings } from '../quota/owner-quota.ts'
import { OwnerPools } from '../redis/owner-pools.ts'
import type { Names } from '../secrets/key-ring.ts'
import type { Clock, Milliseconds } from '../time/clock.ts'
import { Beside } from './beside.ts'
import type { Holdfast } from './holdfast.ts'

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
  const beside = new Beside(options ?? {})
  const { clock } = beside
  const own = beside.parts ? new Events(clock) : beside.events
  if (options?.on) own.on(options.on)
  const events = beside.parts ? [own, beside.events] : [own]
  const redis = beside.redis(options?.redis)
  const settings = readQuotaSettings(options, redis ? marginInRedis : () => 0)
  if (!redis) {
    let names: Names | undefined
    const store = new MemoryPools({ ...settings, clock })
    return new PooledQuota({ store, clock, events, names: () => (names ??= beside.names()) })
  }
  const names = () => redis.naming.names
  const store = new OwnerPools({ ...settings, connection: redis.connection, names, clock })
  return new PooledQuota({ store, clock, events, names, onClose: async () => redis.close() })
}

/** Calls of different processes travel differently. */
function marginInRedis(windowMs: Milliseconds): Milliseconds {
  return Math.min(windowMs / 20, 250)
}
