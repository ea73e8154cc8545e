/** Who is signed in, and the token that asks Discord in their name. */
export interface Session {
  userId: string
  accessToken: string
  /** The scopes the token has, where they are known. A session known to lack `guilds` is refused where guilds are needed. */
  scopes?: readonly string[]
  /** How Discord names the user, where the session knows it: what `auth.user` tells. */
  username?: string
  globalName?: string | null
  /** The hash of the user's avatar; null where they have none. */
  avatar?: string | null
}

/** What is read of a request; a server component passes its headers. */
export type AuthRequest =
  | Request
  | {
      readonly headers: Headers
      /** None counts as a change, not as a look. */
      readonly method?: string
      readonly url?: string
    }

/** Why and for how long a session is looked for. */
export interface SessionContext {
  /** The resolver is asked a second time because Discord does not accept this access token any more; it may return another, refreshed one. */
  readonly diedToken?: string
  /** Aborts when the resolver's time is over: 10 s in all. */
  readonly signal: AbortSignal
}

/**
 * Finds the session of a request: Auth.js, better-auth, a cookie of your own. Null where nobody is signed in. What it
 * throws refuses the request with 503; a Response and a framework's own control flow (a redirect) are passed on as they are.
 */
export type SessionResolver = (
  request: AuthRequest,
  context: SessionContext,
) => Promise<Session | null> | Session | null
