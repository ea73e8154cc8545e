import { type Clock, type Milliseconds, systemClock } from './clock.ts'
import { Events, type HoldfastEvent } from './events.ts'
import type { Holdfast } from './holdfast.ts'
import { partsOf } from './instance-parts.ts'
import { KeyRing, Names } from './key-ring.ts'
import { MemoryPools } from './quota/memory-pools.ts'
import { type OwnerQuota, PooledQuota, readQuotaSettings } from './quota/owner-quota.ts'

/** How an owner quota is made. */
export interface OwnerQuotaOptions {
  /** Calls a window may have, for owners without a limit of their own. A guess, until an answer tells better (`learn`). */
  limit: number
  /** How long a window is; it begins with its first call. */
  windowMs: Milliseconds
  /** Limits of single owners: ceilings, which answers can only lower. */
  limits?: Record<string, number>
  /** Shares its clock, secret and events. */
  holdfast?: Holdfast
  /** Hears of every decision: `quota.taken`, `quota.refused`. */
  on?: (event: HoldfastEvent) => void
  /**
   * How much later than `windowMs` a window ends that no answer has told the end of: calls do not all travel equally
   * fast, and the first of a window may arrive later than the first of the next. Default 0.
   */
  marginMs?: Milliseconds
  /** Owners with a window open at a time; beyond it new ones are refused until one ends. Default 100 000. */
  maxOwners?: number
  clock?: Clock
}

/**
 * Counts calls per owner, as an upstream does that counts per user and not per key. In this process's memory.
 * Throws ConfigError for an option that cannot be used.
 */
export function createOwnerQuota(options: OwnerQuotaOptions): OwnerQuota {
  const settings = readQuotaSettings(options, () => 0)
  const parts = partsOf(options.holdfast)
  const clock = options.clock ?? parts?.clock ?? systemClock
  const own = new Events(clock)
  if (options.on) own.on(options.on)
  let names: Names | undefined
  return new PooledQuota({
    store: new MemoryPools({ ...settings, clock }),
    clock,
    events: parts ? [own, parts.events] : [own],
    names: () => (names ??= new Names(ringOf(parts?.secrets).namingKey())),
  })
}

function ringOf(secrets: readonly string[] = []): KeyRing {
  return secrets.length > 0 ? new KeyRing(secrets) : KeyRing.ephemeral()
}
