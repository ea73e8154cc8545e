import type { Milliseconds } from '../time/clock.ts'

/** A value and when it was fetched. Both its times count from then; nothing that happens later moves them. */
export interface Entry {
  readonly value: unknown
  readonly bytes: number
  /** Monotonic: what ages are measured with. */
  readonly fetchedAtMs: Milliseconds
  /** Wall clock: what people are shown. */
  readonly fetchedAt: Date
  /** The times it was stored with, for `peek`, which is given none. */
  readonly freshMs: Milliseconds
  readonly staleMs: Milliseconds
  /** Whose it is, where it belongs to a user. */
  readonly user: string | undefined
  /** When its use was last noted; monotonic. */
  usedAtMs: Milliseconds
  /** When its load began, on the clock of the shared tier; 0 without one. */
  readonly begunAt: number
  /** The life of the shared tier in which it was last known to stand. */
  life: number
}

/** The life of entries that have to be looked up in the shared tier before they are used. */
export const NO_LIFE = -1

/** From this share of the fresh time on, a value is refreshed in the background while it is still fresh. */
export const EAGER_SHARE = 0.8

/** What an age means: `eager` is fresh, and worth refreshing already. */
export function ageState(
  ageMs: Milliseconds,
  freshMs: Milliseconds,
  staleMs: Milliseconds,
): 'fresh' | 'eager' | 'stale' | 'expired' {
  if (ageMs < freshMs) return ageMs < freshMs * EAGER_SHARE ? 'fresh' : 'eager'
  return ageMs < staleMs ? 'stale' : 'expired'
}
