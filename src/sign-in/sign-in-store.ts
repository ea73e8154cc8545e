import type { Milliseconds } from '../time/clock.ts'

/** A session as it is kept: its id only as a hash, so that whoever reads the store can sign in as nobody. */
export interface KeptSession {
  /** SHA-256 of the id in the cookie. */
  readonly idHash: string
  readonly userId: string
  /** Wall clock. */
  readonly createdAt: Milliseconds
  /** When it was last used, as of the last `touch`. */
  readonly seenAt: Milliseconds
}

/** A user's tokens as they are kept. All their sessions share them: Discord may give two sign-ins the same ones. */
export interface KeptTokens {
  readonly userId: string
  /** Of the sign-in that they began with; refreshed tokens keep it. */
  readonly rowId: string
  /** Grows with each refresh: whoever read an older one must not write over a newer one. */
  readonly version: number
  /** Sealed for this user, row and version (`TokenBox`). */
  readonly sealed: Uint8Array
  /** Wall clock. */
  readonly signedInAt: Milliseconds
}

/** What became of an attempt whose code somebody has begun to exchange. */
export type Claim =
  /** Nobody had: the caller exchanges it now. */
  | { readonly kind: 'mine' }
  /** Somebody is at it. */
  | { readonly kind: 'pending' }
  /** It was exchanged; for who brings the same code again. */
  | { readonly kind: 'done'; readonly sealed: Uint8Array }
  /** It failed, or the code is another one. */
  | { readonly kind: 'spent' }

/**
 * Where sessions and tokens are kept: in memory, Redis or SQL. Everything is atomic, and every method rejects (with
 * HoldfastError) where the store cannot be used: nobody is signed in by a store that did not answer.
 */
export interface SignInStore {
  /** Opens a session and replaces the user's tokens. */
  open(session: KeptSession, tokens: KeptTokens): Promise<void>
  /** A session and its user's tokens; undefined where it has ended. */
  find(idHash: string): Promise<{ readonly session: KeptSession; readonly tokens: KeptTokens | undefined } | undefined>
  /** Notes that a session was used. One that has ended stays ended. */
  touch(session: KeptSession, seenAt: Milliseconds): Promise<void>
  /** Ends one session; with the user's last one go their tokens. */
  end(session: KeptSession): Promise<void>
  /** Ends all of a user's sessions that began before `before`, and their tokens if no session is left. Default: all. */
  endAll(userId: string, before?: Milliseconds): Promise<void>
  tokensOf(userId: string): Promise<KeptTokens | undefined>
  /** Replaces tokens if they are still of this row and version. */
  replace(tokens: KeptTokens, from: { readonly rowId: string; readonly version: number }): Promise<boolean>
  /** Leave to refresh a user's tokens, for so long; false while somebody else has it. The holder renews it with the same call. */
  lease(userId: string, holder: string, forMs: Milliseconds): Promise<boolean>
  /** Gives the leave back; one that somebody else has meanwhile is left alone. */
  release(userId: string, holder: string): Promise<void>
  /** Begins to exchange an attempt's code, once in all processes. Names are hashes. Forgotten after `forMs`. */
  claim(attempt: string, code: string, forMs: Milliseconds): Promise<Claim>
  /** What became of a claimed attempt; null where it failed. */
  settle(attempt: string, code: string, outcome: Uint8Array | null, forMs: Milliseconds): Promise<void>
}
