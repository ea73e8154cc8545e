import { aFunction, anObject, checkedLater, text, yesOrNo } from '../config/accepted.ts'
import { CLOCK_OPTION } from '../config/holdfast-options.ts'
import { type OptionTable, optionsOf } from '../config/options.ts'
import { REDIS_OPTION, type RedisOptions } from '../config/redis.ts'
import { ConfigError } from '../errors/errors.ts'
import { Events, type HoldfastEvent } from '../events/events.ts'
import { MemoryPools } from '../quota/memory-pools.ts'
import { type OwnerQuota, PooledQuota, type QuotaSettings, readQuotaSettings } from '../quota/owner-quota.ts'
import { Runs } from '../quota/runs.ts'
import { OwnerPools } from '../redis/owner-pools.ts'
import type { Names } from '../secrets/key-ring.ts'
import type { Clock, Milliseconds } from '../time/clock.ts'
import { Beside } from './beside.ts'
import type { Holdfast } from './holdfast.ts'

/** A limit, and how long its window is. */
export interface OwnerQuotaWindow {
  /** Calls a window may have, for owners without a limit of their own. A guess, until an answer tells better (`learn`). */
  limit: number
  /** How long a window is; it begins with its first call. */
  windowMs: Milliseconds
}

/** How an owner quota is made. */
export type OwnerQuotaOptions = OwnerQuotaSettings &
  (
    | (OwnerQuotaWindow & { windows?: undefined })
    | {
        /**
         * Several windows at once, such as a second and a day: 1 to 8 of different lengths. Every call is taken from all
         * of them, or from none. `limits`, `setLimit` and a key's own `limit` hold in the first.
         */
        windows: readonly OwnerQuotaWindow[]
        limit?: undefined
        windowMs?: undefined
      }
  )

interface OwnerQuotaSettings {
  /**
   * Which quota this is: 1 to 64 letters, digits, `_`, `.` and `-`. Required in Redis, where quotas of one name are one
   * quota, in every process; those of different names never meet.
   */
  name?: string
  /**
   * Counts, and tells by `quota.refused` what it would refuse, but answers every `take` with `ok: true`, also where Redis
   * is away: to see beside what you have today what limits would do. Default false.
   */
  dryRun?: boolean
  /** Limits of single owners, in the first window: ceilings, which answers can only lower. */
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
  OWNER_QUOTA_OPTIONS.check(options)
  if (options?.limit === undefined && options?.windows === undefined)
    throw new ConfigError(
      'limit',
      'createOwnerQuota: option limit is missing; accepted: a whole number of calls, with windowMs; or windows',
    )
  const beside = new Beside(options)
  const { clock } = beside
  const own = beside.parts ? new Events(clock) : beside.events
  if (options.on) own.on(options.on)
  const events = beside.parts ? [own, beside.events] : [own]
  const redis = beside.redis(options.redis)
  const settings = readQuotaSettings(options, redis ? marginInRedis : () => 0)
  const { windows } = settings
  const { dryRun = false } = options
  const runs = (quota: OwnerQuota) => new Runs(quota)
  if (!redis) {
    let names: Names | undefined
    const store = new MemoryPools({ ...settings, clock })
    return new PooledQuota({
      store,
      windows,
      isShared: false,
      runs,
      dryRun,
      clock,
      events,
      names: () => (names ??= beside.names()),
    })
  }
  const { name } = options
  if (name === undefined)
    throw new ConfigError(
      'name',
      'createOwnerQuota: option name is missing; in Redis it tells this quota from the others, for example name: "openai-minute"',
    )
  oneOfAName(redis.connection, name, settings)
  const names = () => redis.naming.names
  const store = new OwnerPools({ ...settings, name, connection: redis.connection, names, clock })
  return new PooledQuota({
    store,
    windows,
    isShared: true,
    runs,
    dryRun,
    clock,
    events,
    names,
    onClose: async () => redis.close(),
  })
}

/** What the quotas of each name on a connection were made with. */
const made = new WeakMap<object, Map<string, string>>()

/** Throws ConfigError where a quota of this name was made with other limits or windows: both would spend one pool. */
function oneOfAName(connection: object, name: string, { windows }: QuotaSettings): void {
  const settings = windows.map(({ limit, windowMs }) => `${limit} calls in ${windowMs} ms`).join(' and ')
  const known = made.get(connection) ?? new Map<string, string>()
  made.set(connection, known)
  const before = known.get(name)
  if (before !== undefined && before !== settings)
    throw new ConfigError(
      'name',
      `createOwnerQuota: a quota named ${name} was made with ${before}, and now with ${settings}; give each quota a name of its own`,
    )
  known.set(name, settings)
}

/** Calls of different processes travel differently. */
function marginInRedis(windowMs: Milliseconds): Milliseconds {
  return Math.min(windowMs / 20, 250)
}

/** The options of `createOwnerQuota`. Numbers are checked together, where they are read. */
export const OWNER_QUOTA_OPTIONS = optionsOf('createOwnerQuota', {
  limit: {
    means: 'calls a window may have',
    accepts: checkedLater('a whole number of calls, not negative'),
    preset: 'required, or `windows`',
  },
  windowMs: {
    means: 'how long a window is',
    accepts: checkedLater('milliseconds, from 1 to a year'),
    preset: 'required, or `windows`',
  },
  windows: {
    means: 'several limits at once, instead of `limit` and `windowMs`',
    accepts: checkedLater('a list of 1 to 8 of { limit, windowMs }, of different lengths'),
    preset: 'none',
  },
  name: {
    means: 'which quota this is; required in Redis',
    accepts: text('1 to 64 letters, digits, "_", "." and "-"', /^[\w.-]{1,64}$/),
  },
  dryRun: { means: 'counts and tells, but refuses nothing', accepts: yesOrNo, preset: 'false' },
  limits: { means: 'limits of single owners', accepts: checkedLater('an object of owner and limit'), preset: 'none' },
  holdfast: { means: 'shares its Redis, clock, secret and events', accepts: anObject('an instance') },
  redis: REDIS_OPTION,
  on: { means: 'hears of every decision', accepts: aFunction() },
  marginMs: {
    means: 'how much later a window ends that no answer told the end of',
    accepts: checkedLater('milliseconds, not negative'),
    preset: '0; in Redis 5 % of the window, at most 250 ms',
  },
  maxOwners: { means: 'owners with a window open', accepts: checkedLater('a whole number'), preset: '100000' },
  clock: CLOCK_OPTION,
} satisfies OptionTable<keyof OwnerQuotaOptions>)
