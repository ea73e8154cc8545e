/** Who is signed in, and the token that asks Discord in their name. */
export interface Session {
  userId: string
  accessToken: string
  /** The scopes the token has, where they are known. A session known to lack `guilds` is refused where guilds are needed. */
  scopes?: readonly string[]
}

/** What is read of a request; a server component passes its headers. */
export type AuthRequest = Request | { readonly headers: Headers; readonly method?: string; readonly url?: string }

/** Finds the session of a request: Auth.js, better-auth, a cookie of your own. Null where nobody is signed in. */
export type SessionResolver = (request: Request) => Promise<Session | null> | Session | null
