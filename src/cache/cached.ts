import type { Milliseconds } from '../time/clock.ts'
import type { Entry } from './entry.ts'
import type { SharedTier } from './shared-tier.ts'

/** Where a value was held: in this process, in Redis, or in a store that was handed in (`cache.store`). */
export type HeldSource = 'memory' | SharedTier['source']

/** A value with where it came from and how old it is. */
export interface Cached<T> {
  /** Shared between callers; never to be changed by them. */
  readonly value: T
  readonly state: 'fresh' | 'stale' | 'loaded'
  readonly fetchedAt: Date
  readonly ageMs: Milliseconds
  readonly source: HeldSource | 'ledger' | 'load'
  /** Why a stale value was given: Discord throttles us, cannot be used, or has not answered yet. */
  readonly reason?: 'throttled' | 'unavailable' | 'slow'
  /** When the next refresh may begin, where that is known. */
  readonly retryAt?: Date
}

/** An entry as callers see it. */
export function asCached<T>(
  entry: Entry,
  state: Cached<T>['state'],
  source: Cached<T>['source'],
  ageMs: Milliseconds,
): Cached<T> {
  return {
    value: entry.value as T,
    state,
    source,
    fetchedAt: entry.fetchedAt,
    ageMs,
  }
}
