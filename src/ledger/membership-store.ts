import type { Milliseconds } from '../time/clock.ts'
import type { laterFetch } from './later-fetch.ts'

/** A guild as the ledger keeps it for a user. */
export interface KeptGuild {
  readonly id: string
  readonly name: string
  readonly icon: string | null
  /** The permissions doubled, plus 1 for the owner, in decimal. */
  readonly standing: string
}

/** What was known of the ledger at a moment, so that what was saved later can be told from it. */
export interface Look {
  /** The newest write that was seen. */
  readonly turn: number
  /**
   * The ledger's clock minus this process's monotonic one: when that was seen (or the process began), when it was asked,
   * and later when it was answered. They differ where the clock was set.
   */
  readonly offsetsMs: readonly Milliseconds[]
}

/** An answered fetch, or (guilds null) that the user is to be forgotten as of a moment. */
export interface AnsweredFetch {
  readonly userId: string
  readonly guilds: readonly KeptGuild[] | null
  /** When it was sent; monotonic. */
  readonly sentMs: Milliseconds
  /** What had been seen of the ledger before it was sent. */
  readonly look: Look
}

/** A user's memberships as they stand. */
export interface Recalled {
  readonly sentAt: Milliseconds
  /** Now, on the clock that `sentAt` is of. */
  readonly now: Milliseconds
  readonly guilds: readonly KeptGuild[]
}

/** How many users were last verified so many whole days ago. */
export interface AgeOfUsers {
  readonly days: number
  readonly users: number
}

export interface LedgerSummary {
  readonly users: number
  readonly memberships: number
  readonly guilds: number
  readonly ages: readonly AgeOfUsers[]
}

/** Which users a count of guilds covers. */
export interface GuildCount {
  readonly limit: number
  readonly verifiedWithinMs: Milliseconds
}

/**
 * The ledger's rows. Every method rejects with DATABASE_UNAVAILABLE, DATABASE_FAILED or what the database could not be
 * opened for; what was rejected has written nothing, or (where only the answer was lost) all of it.
 */
export interface MembershipStore {
  look(): Look
  open(): Promise<void>
  /** Saves fetches of different users, whole users at a time. Of two fetches of a user the one stands that `judge` says was sent last; where it cannot tell, the user is forgotten. */
  save(fetches: readonly AnsweredFetch[], judge: typeof laterFetch): Promise<void>
  recall(userId: string, timeoutMs?: Milliseconds): Promise<Recalled | undefined>
  usersPerGuild(count: GuildCount): Promise<Array<{ guildId: string; name: string; users: number }>>
  summary(): Promise<LedgerSummary>
  /** Users that were verified longer ago than this and are nobody's to refresh now. */
  countDue(olderThanMs: Milliseconds): Promise<number>
  /** Takes up to `limit` due users, the oldest first; no other process is given them for `forMs`. */
  claimDue(olderThanMs: Milliseconds, limit: number, forMs: Milliseconds): Promise<string[]>
  /** Leaves users alone for so long from now on; 0 gives them back. */
  putOff(userIds: readonly string[], forMs: Milliseconds): Promise<void>
  /** Deletes what was forgotten over an hour ago, and users that were not verified for `keepMs`. Bounded; resolves to the number of users. */
  prune(keepMs: Milliseconds): Promise<number>
}

/** Whether a text can be one of Discord's ids: a number that fits 63 bits. */
export function isSnowflake(id: unknown): id is string {
  return typeof id === 'string' && /^[1-9]\d{0,18}$/.test(id) && (id.length < 19 || id <= '9223372036854775807')
}
