import { anAbortSignal, milliseconds, yesOrNo } from '../config/accepted.ts'
import { type OptionTable, optionsOf } from '../config/options.ts'
import type { Milliseconds } from '../time/clock.ts'
import type { GuildMemberships } from './memberships.ts'

/** How a user's guilds are asked for. */
export interface MembershipOptions {
  /**
   * Asks Discord now, however young what is held is, and waits for it; where Discord cannot be asked, what is held is
   * given all the same, with `stale` and `reason`. For a "refresh" button.
   */
  refresh?: boolean
  /** The oldest memberships accepted, in milliseconds from their fetch. Default: the stale time. */
  maxAgeMs?: Milliseconds
  /** How long the caller that starts a refresh waits for it, in milliseconds. Default: the cache's. */
  patienceMs?: Milliseconds
  /** Only memberships fetched in the last 5 s. */
  live?: boolean
  /** False: nothing out of the ledger, however young. Default true, except with `live`. */
  ledger?: boolean
  /** Ends this caller's wait with `signal.reason`; the load goes on for the others, and for the cache. */
  signal?: AbortSignal
}

/** The options of `memberships`. */
export const MEMBERSHIP_OPTIONS = optionsOf(
  'memberships',
  {
    refresh: { means: 'ask Discord now, and fall back to what is held', accepts: yesOrNo, preset: 'false' },
    maxAgeMs: {
      means: 'oldest memberships accepted, from their fetch',
      accepts: milliseconds(),
      preset: 'the stale time',
      refuseUndefined: true,
    },
    patienceMs: {
      means: 'how long the caller that starts a refresh waits for it',
      accepts: milliseconds(),
      preset: "the cache's",
    },
    live: { means: 'fetched in the last 5 s', accepts: yesOrNo, preset: 'false', refuseUndefined: true },
    ledger: { means: 'false: nothing out of the ledger', accepts: yesOrNo, preset: 'true' },
    signal: { means: "ends this caller's wait", accepts: anAbortSignal },
  } satisfies OptionTable<keyof MembershipOptions>,
  'call',
)

/** A user's guilds, with how old they are and why. */
export interface MembershipResult {
  readonly guilds: GuildMemberships
  /** Whether they are older than their fresh time because they could not be fetched anew. */
  readonly stale: boolean
  /** When the fetch that brought them began; every age counts from it. */
  readonly fetchedAt: Date
  /** Where they were found; `load` is Discord itself. */
  readonly source: 'memory' | 'redis' | 'store' | 'ledger' | 'load'
  /** Why they are stale. */
  readonly reason?: 'throttled' | 'unavailable' | 'slow'
  /** When Discord will be asked again, where that is known. */
  readonly retryAt?: Date
}
