import { codeOf } from '../errors/code-of.ts'
import { ConfigError, DiscordAPIError, DiscordRateLimitError, HoldfastError } from '../errors/errors.ts'
import type { Events, Logger } from '../events/events.ts'
import type { KeyRing } from '../secrets/key-ring.ts'
import { Signatures } from '../secrets/signature.ts'
import type { AuthRequest, Session } from '../sessions/session.ts'
import type { Clock, Milliseconds } from '../time/clock.ts'
import { abandonable, withDeadline } from '../time/deadline.ts'
import { type LoginRefusal, nothing, redirect, refuse } from './answers.ts'
import { ATTEMPT_MS, attemptName, openAttempt, sealAttempt } from './attempt.ts'
import { Callback, type Identify } from './callback.ts'
import { LoginCookies, readCookies } from './cookies.ts'
import type { DiscordLogin } from './discord-login.ts'
import { challengeOf, DiscordOAuth, newState, newVerifier, type PostForm } from './discord-oauth.ts'
import { BEGIN_OPTIONS, HANDLE_OPTIONS } from './login-options.ts'
import { hasMethod, LOGIN_ROUTES, loginRouteOf } from './login-routes.ts'
import { type LoginSettings, withIdentify } from './login-settings.ts'
import { safeReturnTo } from './return-to.ts'
import { Sessions } from './sessions.ts'
import type { SignInStore } from './sign-in-store.ts'
import { TokenBox } from './token-box.ts'
import { TokenKeeper } from './token-keeper.ts'
import { readBody, readWebhook } from './webhook.ts'

export interface LoginNeeds {
  readonly settings: LoginSettings
  readonly store: SignInStore
  readonly ring: KeyRing
  readonly post: PostForm
  readonly identify: Identify
  /** Lets go of everything else that is kept about a user: memberships, identities. */
  readonly forget: (userId: string) => Promise<void>
  readonly clock: Clock
  readonly random: () => number
  readonly events: Events
  readonly logger: Logger | undefined
}

/** Cookies of attempts that never came back; a browser with more of them loses the oldest. */
const MOST_ATTEMPTS = 5
/** Discord gives a webhook 3 s. */
const WEBHOOK_MS: Milliseconds = 2_500
const REVOKE_MS: Milliseconds = 10_000

/** Sign-in with Discord, for an instance that has all it needs for it. */
export class Login implements DiscordLogin {
  readonly #needs: LoginNeeds
  readonly #settings: LoginSettings
  readonly #cookies: LoginCookies
  readonly #oauth: DiscordOAuth
  readonly #keeper: TokenKeeper
  readonly #sessions: Sessions
  readonly #callback: Callback
  readonly #signatures: Signatures | undefined

  constructor(needs: LoginNeeds) {
    const { settings, ring, post } = needs
    this.#needs = needs
    this.#settings = settings
    this.#cookies = new LoginCookies(settings.secure)
    this.#oauth = new DiscordOAuth(settings, post)
    const box = new TokenBox(ring)
    this.#keeper = new TokenKeeper({ ...needs, box, oauth: this.#oauth })
    this.#sessions = new Sessions({ ...needs, box, keeper: this.#keeper, cookies: this.#cookies })
    this.#callback = new Callback({ ...needs, box, oauth: this.#oauth })
    this.#signatures = settings.publicKey === undefined ? undefined : new Signatures(settings.publicKey)
  }

  async begin(request: Request, options: Parameters<DiscordLogin['begin']>[1] = {}): Promise<Response> {
    BEGIN_OPTIONS.check(options)
    return this.#begin(request, options, this.#settings.basePath)
  }

  async callback(request: Request): Promise<Response> {
    return this.#answerOf(request, this.#settings.basePath)
  }

  async logout(request: Request): Promise<Response> {
    const refusal = this.#notOurPost(request)
    if (refusal) return this.#refuse(refusal, request)
    const session = await this.#orStore(() => this.#sessions.keptOf(request))
    if (session === 'store') return this.#refuse('store', request)
    if (session) {
      const ended = await this.#orStore(() => this.#needs.store.end(session))
      if (ended === 'store') return this.#refuse('store', request)
      this.#needs.events.emit({ type: 'login.signed-out' })
    }
    return this.#signedOut(request)
  }

  async disconnect(request: Request): Promise<Response> {
    const refusal = this.#notOurPost(request)
    if (refusal) return this.#refuse(refusal, request)
    const { clock, store, events } = this.#needs
    const found = await this.#orStore(() => this.#sessions.find(request))
    if (found === 'store') return this.#refuse('store', request)
    if (!found) return this.#refuse('session', request)
    const { session, tokens } = found
    try {
      const late = () => new HoldfastError('SERVICE_UNAVAILABLE', 'Discord did not answer in time')
      // Of a token that Discord does not know any more, the authorization has ended already.
      if (tokens)
        await withDeadline(clock, REVOKE_MS, [], late, (signal) =>
          this.#oauth.revoke(tokens.refreshToken ?? tokens.accessToken, signal),
        )
      await store.endAll(session.userId)
      await this.#needs.forget(session.userId)
    } catch (error) {
      return this.#refuse(troubleOf(error), request, error)
    }
    events.emit({ type: 'login.signed-out', everywhere: true })
    return this.#signedOut(request)
  }

  async session(
    request: AuthRequest,
    context: { diedToken?: string; signal?: AbortSignal } = {},
  ): Promise<Session | null> {
    return this.#sessions.of(request, context)
  }

  async endAllSessions(userId: string): Promise<void> {
    if (typeof userId !== 'string' || userId === '')
      throw new HoldfastError('INVALID_OPTION', 'login.endAllSessions: give the id of a user')
    await this.#needs.store.endAll(userId)
    this.#needs.events.emit({ type: 'login.signed-out', everywhere: true })
  }

  async webhook(request: Request): Promise<Response> {
    if (!this.#signatures)
      throw new ConfigError(
        'discord.publicKey',
        "login.webhook needs DISCORD_PUBLIC_KEY, which Discord's events are signed with: set it, or option discord.publicKey",
      )
    if (request.method !== 'POST') return this.#refuse('method', request, undefined, 'POST')
    const { clock, events, logger } = this.#needs
    const body = await readBody(request)
    if (!body) return this.#refuse('size', request)
    const expected = { signatures: this.#signatures, clientId: this.#settings.clientId, now: clock.now() }
    const event = readWebhook(body, request.headers, expected)
    if (event.kind === 'refused') return this.#refuse(event.reason, request)
    if (event.kind === 'nothing') return nothing()
    try {
      const late = () => new HoldfastError('SERVICE_UNAVAILABLE', 'the event was not dealt with in time')
      await withDeadline(clock, WEBHOOK_MS, [], late, (signal) => abandonable(() => this.#deauthorized(event), signal))
    } catch (error) {
      // Discord delivers it again.
      logger?.error({ code: codeOf(error) }, 'a deauthorization could not be carried out; Discord delivers it again')
      return this.#refuse('store', request)
    }
    events.emit({ type: 'login.signed-out', everywhere: true })
    return nothing()
  }

  async handle(request: Request, options: { basePath?: string } = {}): Promise<Response | undefined> {
    if (options.basePath !== undefined) HANDLE_OPTIONS.check(options)
    const { basePath = this.#settings.basePath } = options
    const route = loginRouteOf(new URL(request.url).pathname, basePath, this.#settings.publicPath)
    if (!route) return undefined
    if (!hasMethod(route, request.method)) return this.#refuse('method', request, undefined, LOGIN_ROUTES[route][1])
    if (route === 'begin') return this.#begin(request, {}, basePath)
    if (route === 'callback') return this.#answerOf(request, basePath)
    return this[route](request)
  }

  async accessToken(userId: string): Promise<string | null> {
    const kept = await this.#needs.store.tokensOf(userId)
    if (!kept) return null
    const tokens = await this.#sessions.liveTokens(kept, {})
    if (!tokens) return null
    const overdue = this.#keeper.overdue(tokens.accessToken)
    if (overdue) throw overdue
    return tokens.accessToken
  }

  /** Why a token of ours is not worth sending: it has expired, and cannot be refreshed now. */
  overdue(accessToken: string): HoldfastError | undefined {
    return this.#keeper.overdue(accessToken)
  }

  /** Ends what goes on in the background, and waits for it. */
  async close(deadlineMs: Milliseconds): Promise<void> {
    await Promise.all([this.#keeper.close(deadlineMs), this.#sessions.close(deadlineMs)])
  }

  async #begin(
    request: Request,
    options: { scopes?: readonly string[]; returnTo?: string; redirectUri?: string },
    basePath: string,
  ): Promise<Response> {
    const { settings, ring, clock } = { ...this.#needs, settings: this.#settings }
    const state = newState()
    const verifier = newVerifier()
    const redirectUri = options.redirectUri ?? `${settings.publicUrl}${basePath}${LOGIN_ROUTES.callback[0]}`
    const asked = options.returnTo ?? new URL(request.url).searchParams.get('returnTo')
    const returnTo = safeReturnTo(asked, settings.origin, settings.publicPath + basePath)
    const cookie = this.#cookies.attempt(attemptName(state))
    const sealed = sealAttempt({ state, verifier, returnTo, redirectUri, begunAt: clock.now() }, cookie, ring)
    const target = new URL(settings.authorizeUrl)
    target.search = new URLSearchParams({
      client_id: settings.clientId,
      response_type: 'code',
      redirect_uri: redirectUri,
      scope: withIdentify(options.scopes ?? settings.scopes).join(' '),
      state,
      code_challenge: await challengeOf(verifier),
      code_challenge_method: 'S256',
    }).toString()
    return redirect(302, target.href, [...this.#tooMany(request), this.#cookies.set(cookie, sealed, ATTEMPT_MS)])
  }

  async #answerOf(request: Request, basePath: string): Promise<Response> {
    const { clock, events, ring } = this.#needs
    const parameters = new URL(request.url).searchParams
    const cookies = readCookies(request.headers)
    const states = parameters.getAll('state')
    const state = states.length === 1 ? states[0]! : ''
    const name = this.#cookies.attempt(attemptName(state))
    const attempt = openAttempt(cookies[name], name, ring, clock.now())
    if (!attempt || attempt.state !== state) return this.#refuse('state', request, undefined, undefined, [], basePath)
    const came = await this.#callback.receive(attempt, parameters)
    if ('refused' in came) {
      // An attempt is good for one answer, whatever it was; but trouble is not the browser's.
      return this.#refuse(came.refused, request, came.error, undefined, [this.#cookies.clear(name)], basePath)
    }
    // The browser's earlier session: it is not the new one's, and nobody could end it any more.
    const earlier = cookies[this.#cookies.session]
    if (earlier !== undefined && earlier !== came.sessionId) await this.#sessions.endQuietly(earlier)
    if (came.opened) events.emit({ type: 'login.signed-in' })
    return redirect(303, attempt.returnTo, [
      this.#cookies.set(this.#cookies.session, came.sessionId, this.#settings.absoluteMs),
      this.#cookies.clear(name),
    ])
  }

  async #deauthorized({ userId, at }: { readonly userId: string; readonly at: Milliseconds }): Promise<void> {
    await this.#needs.store.endAll(userId, at)
    await this.#needs.forget(userId)
  }

  /** Cookies that end the oldest attempts of a browser that has begun many. */
  #tooMany(request: Request): string[] {
    const cookies = readCookies(request.headers)
    const names = this.#cookies.attemptsIn(cookies)
    if (names.length < MOST_ATTEMPTS) return []
    const { ring, clock } = this.#needs
    return names
      .map((name) => ({ name, begunAt: openAttempt(cookies[name], name, ring, clock.now())?.begunAt ?? 0 }))
      .sort((one, other) => other.begunAt - one.begunAt)
      .slice(MOST_ATTEMPTS - 1)
      .map(({ name }) => this.#cookies.clear(name))
  }

  #notOurPost(request: Request): LoginRefusal | undefined {
    if (request.method !== 'POST') return 'method'
    return request.headers.get('origin') === this.#settings.origin ? undefined : 'origin'
  }

  #signedOut(request: Request): Response {
    const cookies = [this.#cookies.clear(this.#cookies.session)]
    // A form's answer is a page; a script's is read by nobody.
    if (!/\btext\/html\b/.test(request.headers.get('accept') ?? '')) return nothing(cookies)
    const asked = new URL(request.url).searchParams.get('returnTo')
    const loginPath = this.#settings.publicPath + this.#settings.basePath
    return redirect(303, safeReturnTo(asked, this.#settings.origin, loginPath), cookies)
  }

  async #orStore<T>(work: () => Promise<T>): Promise<T | 'store'> {
    try {
      return await work()
    } catch (error) {
      if (error instanceof HoldfastError) return 'store'
      throw error
    }
  }

  #refuse(
    reason: LoginRefusal,
    request: Request,
    error?: unknown,
    allow = 'POST',
    cookies: readonly string[] = [],
    basePath = this.#settings.basePath,
  ): Response {
    const { events, logger } = this.#needs
    events.emit({ type: 'login.refused', reason })
    if (reason === 'client' || reason === 'answer')
      logger?.error(
        { reason, code: codeOf(error) },
        'Discord refused this application; check DISCORD_CLIENT_ID, DISCORD_CLIENT_SECRET and the redirect URIs of the application page',
      )
    const waitMs = error instanceof HoldfastError ? (error.retryAfterMs ?? 5_000) : 5_000
    const waits = reason === 'throttled' || reason === 'unavailable' || reason === 'store'
    return refuse(reason, request, {
      cookies,
      again: `${this.#settings.publicPath}${basePath}${LOGIN_ROUTES.begin[0]}`,
      ...(waits && { retryAfterSeconds: Math.max(1, Math.ceil(waitMs / 1000)) }),
      ...(reason === 'method' && { allow }),
    })
  }
}

/** What a browser is told where Discord or the store cannot be used. */
export function troubleOf(error: unknown): LoginRefusal {
  if (error instanceof DiscordRateLimitError) return 'throttled'
  if (error instanceof HoldfastError && /^(DATABASE|REDIS)_/.test(error.code)) return 'store'
  if (error instanceof DiscordAPIError && error.status < 500) return 'answer'
  if (error instanceof HoldfastError) return 'unavailable'
  throw error
}
