import type { Clock, Milliseconds } from '../time/clock.ts'
import type { Moment } from './shared-tier.ts'

/** A value and when it was fetched. Both its times count from then; nothing that happens later moves them. */
export interface Entry {
  readonly value: unknown
  /** What the value holds on the heap; 0 where its keeper counts that. */
  readonly bytes: number
  /** Whether the value has a keeper, which is told when it is stored and when it goes. */
  readonly kept: boolean
  /** Monotonic: what ages are measured with. */
  readonly fetchedAtMs: Milliseconds
  /** Wall clock: what people are shown. */
  readonly fetchedAt: Date
  /** The times it was stored with, for `peek`, which is given none. */
  readonly freshMs: Milliseconds
  readonly staleMs: Milliseconds
  /** What the loader said of them, which every caller keeps to. */
  readonly told: ToldTimes | undefined
  /** Whose it is, where it belongs to a user. */
  readonly user: string | undefined
  /** When its use was last noted; monotonic. */
  usedAtMs: Milliseconds
  /** When its load began, on the clock of the shared tier; 0 without one. */
  readonly begunAt: Moment
  /** The life of the shared tier in which it was last known to stand. */
  life: number
}

/** The life of entries that were invalidated: whoever still has one must not give it. */
export const GONE = -2

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

/** How long a value may be kept, where its loader knew better than whoever asked. */
export interface ToldTimes {
  readonly freshMs?: Milliseconds
  readonly staleMs?: Milliseconds
}

/** Whose a value is, and how long it is kept. */
interface Keeping {
  readonly kept?: boolean
  readonly user: string | undefined
  readonly freshMs: Milliseconds
  readonly keepMs: Milliseconds
}

/** What is kept of a value of a certain age: 0 where it was just loaded, more where another process did that. */
export function newEntry(
  { user, freshMs, keepMs, kept = false }: Keeping,
  value: unknown,
  origin: {
    readonly bytes: number
    readonly ageMs: Milliseconds
    readonly begunAt: Moment
    readonly life: number
    readonly told?: ToldTimes | undefined
  },
  clock: Clock,
): Entry {
  // V8 keeps whole numbers in the object itself, and others beside it.
  const now = Math.floor(clock.monotonic())
  return {
    value,
    bytes: kept ? 0 : origin.bytes,
    kept,
    fetchedAtMs: Math.floor(now - origin.ageMs),
    fetchedAt: new Date(clock.now() - origin.ageMs),
    freshMs: origin.told?.freshMs ?? freshMs,
    staleMs: origin.told?.staleMs ?? keepMs,
    told: origin.told,
    user,
    usedAtMs: now,
    begunAt: origin.begunAt,
    life: origin.life,
  }
}
