import { codeOf } from '../errors/code-of.ts'
import type { Events, Logger } from '../events/events.ts'
import { fingerprint } from '../secrets/key-ring.ts'
import type { AuthRequest, Session } from '../sessions/session.ts'
import type { Clock, Milliseconds } from '../time/clock.ts'
import { abandonable, withDeadline } from '../time/deadline.ts'
import { type LoginCookies, readCookies } from './cookies.ts'
import type { LoginSettings } from './login-settings.ts'
import type { KeptSession, KeptTokens, SignInStore } from './sign-in-store.ts'
import type { TokenBox, Tokens } from './token-box.ts'
import type { TokenKeeper } from './token-keeper.ts'

export interface SessionsNeeds {
  readonly settings: LoginSettings
  readonly cookies: LoginCookies
  readonly store: SignInStore
  readonly box: TokenBox
  readonly keeper: TokenKeeper
  readonly clock: Clock
  readonly events: Events
  readonly logger: Logger | undefined
}

/** 32 random bytes, base64url. */
const SESSION_ID = /^[\w-]{43}$/
/** A session's use is noted this often, as a share of the idle time: every request would be a write. */
const NOTED_SHARE = 1 / 20
const NOTED_AT_MOST_EVERY_MS: Milliseconds = 5 * 60 * 1000

/** Which session a request has, and whether it still lasts. */
export class Sessions {
  readonly #needs: SessionsNeeds
  readonly #noteEveryMs: Milliseconds
  /** Being noted or ended, by session: owned, and waited for at the end. */
  readonly #background = new Map<string, Promise<unknown>>()

  constructor(needs: SessionsNeeds) {
    this.#needs = needs
    this.#noteEveryMs = Math.min(needs.settings.idleMs * NOTED_SHARE, NOTED_AT_MOST_EVERY_MS)
  }

  /** As `DiscordLogin.session`. With `diedToken` the tokens are refreshed, unless that has happened since. */
  async of(request: AuthRequest, context: { diedToken?: string; signal?: AbortSignal }): Promise<Session | null> {
    if (!this.#idOf(request)) return null
    if (!this.#mayAct(request)) {
      this.#needs.events.emit({ type: 'login.refused', reason: 'origin' })
      return null
    }
    const found = await this.#lasting(request)
    if (!found?.tokens) return null
    const tokens = await this.liveTokens(found.tokens, context)
    if (!tokens) return null
    const { userId } = found.session
    return { userId, accessToken: tokens.accessToken, scopes: tokens.scopes, ...tokens.profile }
  }

  /** A request's session, for who is about to end it. */
  async keptOf(request: AuthRequest): Promise<KeptSession | undefined> {
    return (await this.#lasting(request))?.session
  }

  /** … with the user's tokens. */
  async find(request: AuthRequest): Promise<{ session: KeptSession; tokens: Tokens | undefined } | undefined> {
    const found = await this.#lasting(request)
    return found && { session: found.session, tokens: found.tokens && this.#needs.box.open(found.tokens) }
  }

  async liveTokens(kept: KeptTokens, context: { diedToken?: string; signal?: AbortSignal }): Promise<Tokens | null> {
    const { box, keeper, logger } = this.#needs
    const tokens = box.open(kept)
    if (!tokens) {
      logger?.warn(
        {},
        'tokens could not be opened: they were sealed under a secret that is no longer given, or changed',
      )
      return null
    }
    return keeper.live(kept, tokens, context.diedToken, context.signal)
  }

  /** Ends the session of an id, if there is one; whether that worked changes nothing for the caller. */
  async endQuietly(id: string): Promise<void> {
    if (!SESSION_ID.test(id)) return
    const { store } = this.#needs
    try {
      const found = await store.find(fingerprint(id))
      if (found) await store.end(found.session)
    } catch (error) {
      this.#needs.logger?.warn({ code: codeOf(error) }, 'an earlier session could not be ended; it ends by itself')
    }
  }

  async close(deadlineMs: Milliseconds): Promise<void> {
    const all = () => Promise.allSettled(this.#background.values())
    const late = () => new Error('it took too long')
    await withDeadline(this.#needs.clock, deadlineMs, [], late, (signal) => abandonable(all, signal)).catch(() => {})
  }

  #idOf(request: AuthRequest): string | undefined {
    const id = readCookies(request.headers)[this.#needs.cookies.session]
    return id !== undefined && SESSION_ID.test(id) ? id : undefined
  }

  /** A browser sends the cookie whoever made it send the request; a look changes nothing, everything else says where it comes from. */
  #mayAct({ method, headers }: AuthRequest): boolean {
    return method === 'GET' || method === 'HEAD' || headers.get('origin') === this.#needs.settings.origin
  }

  async #lasting(request: AuthRequest): Promise<{ session: KeptSession; tokens: KeptTokens | undefined } | undefined> {
    const id = this.#idOf(request)
    if (id === undefined) return undefined
    const { store, clock, settings } = this.#needs
    const found = await store.find(fingerprint(id))
    if (!found) return undefined
    const { session } = found
    const now = clock.now()
    if (now - session.createdAt >= settings.absoluteMs || now - session.seenAt >= settings.idleMs) {
      this.#inBackground(session.idHash, () => store.end(session))
      return undefined
    }
    if (now - session.seenAt >= this.#noteEveryMs) this.#inBackground(session.idHash, () => store.touch(session, now))
    return found
  }

  /** One at a time for each session. */
  #inBackground(name: string, work: () => Promise<void>): void {
    if (this.#background.has(name)) return
    const done = work()
      .catch((error: unknown) => {
        this.#needs.logger?.warn({ code: codeOf(error) }, 'a session could not be noted as used, or ended')
      })
      .finally(() => this.#background.delete(name))
    this.#background.set(name, done)
  }
}
