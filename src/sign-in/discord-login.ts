import type { AuthRequest, Session } from '../sessions/session.ts'

/**
 * Sign-in with Discord: authorization code with state and PKCE, sessions in a cookie, tokens kept alive on the server.
 * Every call rejects with ConfigError without `publicUrl`, `discord.clientId` and `discord.clientSecret`; what the
 * browser or Discord did wrong is a Response, never an error.
 */
export interface DiscordLogin {
  /**
   * Redirects to Discord, with state, PKCE and the cookie that ties the answer to this browser. `returnTo` (else the
   * query's `returnTo`, else `/`) is where `callback` goes afterwards: on this site, or it counts as `/`. `scopes` are
   * asked for instead of the configured ones, `redirectUri` is given instead of the login's own.
   */
  begin(
    request: Request,
    options?: { scopes?: readonly string[]; returnTo?: string; redirectUri?: string },
  ): Promise<Response>
  /**
   * Discord's redirect back: exchanges the code, opens a session under a new id, redirects to `returnTo`. Whatever does
   * not fit (state, code, cookie, Discord's answer) is refused with 4xx and no session; 503 where Discord or the store
   * cannot be used.
   */
  callback(request: Request): Promise<Response>
  /** Ends this session only; the user's other devices stay signed in. POST from this site, else 405 or 403. 303 to `?returnTo=`, or 204 for scripts. */
  logout(request: Request): Promise<Response>
  /** Revokes the authorization at Discord: ends every session of the user and forgets what is kept about them. As `logout`; 503 where Discord cannot be asked, and nothing is ended. */
  disconnect(request: Request): Promise<Response>
  /** Who the cookie says is signed in, with a token that lives. Null for nobody, and for an unsafe method (or none) without this site's Origin. Rejects where the store cannot be used. */
  session(request: AuthRequest): Promise<Session | null>
  /** Ends all sessions of a user, and forgets their tokens. Nothing is revoked at Discord. */
  endAllSessions(userId: string): Promise<void>
  /** Discord's webhook events (Ed25519; needs `discord.publicKey`): 204, or 401 for what Discord did not sign. */
  webhook(request: Request): Promise<Response>
  /**
   * All of these by path: `/auth/discord`, `/auth/discord/callback`, POST `/auth/logout`, POST `/auth/disconnect`, POST
   * `/auth/discord/webhook`; undefined for any other path. `basePath` stands in for `/auth`, also in the redirect URI.
   */
  handle(request: Request, options?: { basePath?: string }): Promise<Response | undefined>
  /** A live access token for work in the background; null where that user has none. Rejects where it has expired and cannot be refreshed now (`retryAfterMs`). */
  accessToken(userId: string): Promise<string | null>
}
