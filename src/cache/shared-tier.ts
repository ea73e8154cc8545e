import type { Milliseconds } from '../time/clock.ts'

/** What a key is to a tier that several processes share. */
export interface SharedKey {
  /** The one string that the key is kept under (`cacheId`). */
  readonly id: string
  /** Whose it is, where it belongs to a user: all of a user's keys are invalidated together. */
  readonly user: string | undefined
  /** The key's first word, where it can be shown; for people who look into the store. */
  readonly label: string
  /** Of the codec. What another version wrote is not there. */
  readonly version: string
}

/** A point on the clock that all processes share; its unit is the tier's own affair. Later is greater. */
export type Moment = number

/** What is known about a key. */
export interface Found {
  /** A value that still stands, with its age since the load of it began. */
  readonly value?: { readonly text: string; readonly ageMs: Milliseconds; readonly begunAt: Moment }
  /** Loads that began before this were invalidated. */
  readonly invalidBefore: Moment
}

/** Leave to load a key for all processes. */
export interface Ticket {
  readonly begunAt: Moment
  readonly epoch: string
  readonly token: string
  /** Until when the tier has to remember that something under this key was invalidated. */
  readonly rememberUntil?: Moment
}

/**
 * `load`: it is for this process to load. `newer`: another process has just done so, read again. `wait`: another process
 * is at it; ask again when it is done, or after `forMs`. `failed`: another process failed, and nobody tries for `forMs`.
 */
export type Begun =
  | { readonly kind: 'load'; readonly ticket: Ticket }
  | { readonly kind: 'newer' }
  /** `heldSince`: when the load of what is stored now began; who waits, waits for something newer. */
  | { readonly kind: 'wait'; readonly forMs: Milliseconds; readonly heldSince: Moment }
  | { readonly kind: 'failed'; readonly forMs: Milliseconds }

/** What a tier tells the processes that share it. `at`: what began before it is concerned. */
export interface SharedNews {
  invalidated(id: string, at: Moment): void
  userInvalidated(user: string, at: Moment): void
  everythingInvalidated(): void
  /** Another process has stored a newer value. */
  superseded(id: string, at: Moment): void
  /** The tier was away, and what was said meanwhile was not heard. */
  returned(): void
}

/**
 * The memory that processes share. It may be away at any time: then it answers undefined, at once, and nobody notices
 * but Discord, which is asked a little more often. No method ever rejects.
 */
export interface SharedTier {
  /** What answers from here are marked with. */
  readonly source: 'redis' | 'store'
  /** Whether asking is worth it. */
  readonly isUsable: boolean
  /** A moment that has certainly passed, for loads that begin without a ticket; 0 where the tier was never reached. */
  lately(): Moment
  listen(news: SharedNews): void
  read(key: SharedKey): Promise<Found | undefined>
  /** Asks to load. `freshMs`: how old a value may be that makes loading needless; `staleMs`: how long a value will last. */
  begin(key: SharedKey, freshMs: Milliseconds, staleMs: Milliseconds): Promise<Begun | undefined>
  /** Leave to store a value that was not loaded: whatever is being loaded now is older. */
  take(key: SharedKey, staleMs: Milliseconds): Promise<Ticket | undefined>
  /** Keeps the lease while loading, if called every `renewEveryMs`. */
  renew(key: SharedKey, ticket: Ticket): Promise<void>
  readonly renewEveryMs: Milliseconds
  /** Stores what was loaded, and ends the lease. False where it was invalidated, or something newer was there; undefined where nobody can tell. */
  write(key: SharedKey, ticket: Ticket, text: string, staleMs: Milliseconds): Promise<boolean | undefined>
  /** Ends the lease without a value; the others do not try for `failedForMs`. */
  giveUp(key: SharedKey, ticket: Ticket, failedForMs: Milliseconds): Promise<void>
  /** Resolves when another process has ended its load of the key, or after `ms`, or when the signal aborts. */
  done(key: SharedKey, ms: Milliseconds, signal: AbortSignal): Promise<void>
  /** Makes all processes forget. Where the tier is away, as soon as it is back, before it is used again. */
  invalidate(key: SharedKey): Promise<void>
  invalidateUser(user: string): Promise<void>
}
