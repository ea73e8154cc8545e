import type {
  APIUser,
  RESTAPIPartialCurrentUserGuild,
  RESTGetAPIOAuth2CurrentAuthorizationResult,
} from 'discord-api-types/v10'
import { TransientMap } from '../collections/transient-map.ts'
import { type Flight, SingleFlight } from '../concurrency/single-flight.ts'
import { closedError, DiscordRateLimitError, DiscordUnavailableError } from '../errors/errors.ts'
import type { Events } from '../events/events.ts'
import { traced } from '../events/trace.ts'
import { Alarms } from '../time/alarms.ts'
import { atTurnsEnd, type Clock, type Milliseconds } from '../time/clock.ts'
import { withDeadline } from '../time/deadline.ts'
import { Admission, principalOfToken } from './admission.ts'
import { Attempts } from './attempts.ts'
import type { Answer, AnswerHeaders, Call } from './call.ts'
import { type CallContext, type DiscordFetchOptions, toCall, toPolicy } from './call-options.ts'
import { Errand, type ErrandNeeds, type RetryPolicy } from './errand.ts'
import type { Fleet } from './fleet.ts'
import type { DiscordHold } from './holds.ts'
import type { GetResult, KnownGet } from './known-routes.ts'
import { formsHeld, OAUTH_POLICY, type OAuthPath, oauthCall } from './oauth-call.ts'
import { readAnswer } from './read-answer.ts'
import { tokenIdOf } from './token-memory.ts'
import { Transport, type TransportOptions } from './transport.ts'

export interface DiscordClientOptions extends TransportOptions, RetryPolicy {
  /** Calls a second of one bot, over all its routes. Default 50. */
  readonly globalPerSecond?: number | undefined
  readonly random: () => number
  /** How long a page waits: within it, trouble of the house's own two GETs is tried again once. Default 0, which is never. */
  readonly patienceMs?: Milliseconds | undefined
  readonly events: Events
  /** The other processes, where there are any. */
  readonly fleet?: Fleet | undefined
  /** Hears that Discord answered a call as it should: whatever kept it from that is over. */
  readonly onSuccess?: () => void
}

/** What a caller that asked for it is told of a call. */
export interface Sending {
  /** When the last attempt that was answered was sent; monotonic. */
  sentAt?: Milliseconds
}

/** How often a call was sent so far; a caller that does not wait for its end wants to say so. */
interface Progress {
  errand: Errand | undefined
}

/** How many calls are ended in one turn of the event loop when an instance is closed. */
const ENDED_AT_ONCE = 200

/** Discord's API: calls checked, identical GETs sent once, each caller's own deadline, signal and copy of the answer. */
export class DiscordClient {
  readonly #options: DiscordClientOptions
  readonly #clock: Clock
  readonly #events: Events
  readonly #needs: ErrandNeeds
  readonly #transport: Transport
  readonly #admission: Admission
  readonly #attempts: Attempts
  readonly #flights = new SingleFlight<Answer>('cancel')
  /** Of the flights that can be joined. */
  readonly #progress = new TransientMap<string, Progress>()
  #formsHeldUntil: Milliseconds = 0
  readonly #closing = new AbortController()

  constructor(options: DiscordClientOptions) {
    this.#options = options
    this.#clock = options.clock
    this.#events = options.events
    this.#needs = { clock: options.clock, alarms: new Alarms(options.clock), events: options.events }
    this.#transport = new Transport(options)
    this.#admission = new Admission(options)
    this.#attempts = new Attempts({
      ...options,
      admission: this.#admission,
      transport: this.#transport,
      onDoubt: (call) => this.#askWhoBotIs(call),
    })
  }

  /**
   * Calls Discord's API below the base URL and resolves to the JSON it answers with (`undefined` for an empty answer).
   * Identical GETs with one token that are under way at the same time are sent once.
   *
   * Waits before sending whenever a limit is known to be spent, and after a 429 for as long as Discord asks. A wait
   * that would not fit into `maxWaitMs` or `deadlineMs` rejects at once.
   *
   * Throws `DiscordAPIError` (Discord refused), `DiscordRateLimitError` (a 429, or a wait that does not fit),
   * `DiscordUnavailableError` (no usable answer), `HoldfastError` INVALID_PATH, INVALID_TOKEN or INVALID_OPTION, or
   * `signal.reason`.
   *
   * Source: Discord's docs, topics "Rate Limits" and "API Reference".
   */
  fetch<Path extends keyof KnownGet>(
    path: Path,
    accessToken: string,
    options?: DiscordFetchOptions & { method?: 'GET' },
  ): Promise<GetResult<Path>>
  fetch<T = unknown>(path: string, accessToken: string, options?: DiscordFetchOptions): Promise<T>
  async fetch(path: string, accessToken: string, options: DiscordFetchOptions = {}): Promise<unknown> {
    return this.#fetch(path, accessToken, options, { joins: true })
  }

  /**
   * `GET /users/@me/guilds` as `getUserGuilds`, for who must not be given an answer to an earlier question: it is always
   * sent. With `onceMore`, trouble (network errors, 500, 502, 503, 504) is tried again once, where that is done within
   * the patience.
   */
  getUserGuildsAnew(
    accessToken: string,
    { onceMore = false, ...options }: DiscordFetchOptions & { onceMore?: boolean },
    sending?: Sending,
  ): Promise<RESTAPIPartialCurrentUserGuild[]> {
    const asked = { joins: false, onceMoreWithinMs: onceMore ? this.#options.patienceMs : undefined, sending }
    return this.#fetch('/users/@me/guilds', accessToken, options, asked) as Promise<RESTAPIPartialCurrentUserGuild[]>
  }

  /** `GET /oauth2/@me`: whom the token belongs to, and what it may do. `onceMore` as in `getUserGuildsAnew`. */
  getAuthorization(
    accessToken: string,
    { onceMore = false, ...options }: DiscordFetchOptions & { onceMore?: boolean } = {},
  ): Promise<RESTGetAPIOAuth2CurrentAuthorizationResult> {
    const asked = { joins: true, onceMoreWithinMs: onceMore ? this.#options.patienceMs : undefined }
    const answer = this.#fetch('/oauth2/@me', accessToken, options, asked)
    return answer as Promise<RESTGetAPIOAuth2CurrentAuthorizationResult>
  }

  async #fetch(
    path: string,
    accessToken: string,
    options: DiscordFetchOptions,
    {
      joins,
      onceMoreWithinMs,
      sending,
    }: {
      readonly joins: boolean
      readonly onceMoreWithinMs?: Milliseconds | undefined
      readonly sending?: Sending | undefined
    },
  ): Promise<unknown> {
    const made = toCall(path, accessToken, options, this.#callContext())
    const { signal, principal } = options
    if (signal?.aborted) throw signal.reason
    if (this.#closing.signal.aborted) throw closedError()
    // Only a form with files has to be read first.
    const call = made instanceof Promise ? await this.#within(options, undefined, () => made) : made
    const policy = { ...toPolicy(options, this.#options), onceMoreWithinMs }
    if (principal !== undefined && call.tokenType !== 'none')
      this.#admission.tokenBelongsTo(call.tokenId, call.principal)
    const context = () => ({
      instance: this.#events,
      attributes: { 'http.request.method': call.method, 'http.route': call.route.name },
    })
    return traced('discord-fetch', context, () => this.#ask(call, policy, options, joins, sending))
  }

  async #ask(
    call: Call,
    policy: RetryPolicy,
    options: DiscordFetchOptions,
    joins: boolean,
    sending: Sending | undefined,
  ): Promise<unknown> {
    const { signal, deadlineMs } = options
    // Headers can change what is answered, and their values may be secrets that belong into no key.
    if (call.method !== 'GET' || !joins || call.headers) {
      const progress: Progress = { errand: undefined }
      const running = this.#within({ deadlineMs, signal }, { call, progress }, (signal) =>
        this.#attempts.run(this.#errand(call, policy, progress, signal)),
      )
      const answer = await running.finally(() => {
        const sentAt = progress.errand?.sentAt
        if (sending && sentAt !== undefined) sending.sentAt = sentAt
      })
      return this.#read(answer, call, progress.errand!.attempts)
    }
    const key = `${call.tokenId} ${call.path}\n${call.principal}\n${call.priority} ${policy.maxRetries} ${policy.retryDelayMs} ${policy.maxWaitMs} ${policy.retryOn} ${policy.onceMoreWithinMs}`
    const flight = this.#flights.get(key) ?? this.#takeOff(key, call, policy)
    const progress = this.#progress.get(key)
    const answer = await (deadlineMs === undefined
      ? flight.wait(signal)
      : this.#within({ deadlineMs, signal }, { call, progress }, (signal) => flight.wait(signal)))
    // Read by each caller anew: what one of them does to its object is no concern of the others.
    return this.#read(answer, call, progress?.errand?.attempts ?? 1)
  }

  /** Only an answer that can be read says that whatever kept Discord from answering is over. */
  #read(answer: Answer, call: Call, attempts: number): unknown {
    const value = readAnswer(answer, call, attempts)
    this.#options.onSuccess?.()
    return value
  }

  /** `GET /users/@me`: the user the token belongs to. Scope `identify`. Errors as `fetch`. */
  getCurrentUser(accessToken: string, options?: DiscordFetchOptions): Promise<APIUser> {
    return this.fetch('/users/@me', accessToken, { ...options, method: 'GET' })
  }

  /** `GET /users/@me/guilds`: all guilds of the token's user, at most 200, so never paged. Scope `guilds`. Errors as `fetch`. */
  getUserGuilds(accessToken: string, options?: DiscordFetchOptions): Promise<RESTAPIPartialCurrentUserGuild[]> {
    return this.fetch('/users/@me/guilds', accessToken, { ...options, method: 'GET' })
  }

  /**
   * Posts a form to one of Discord's OAuth2 endpoints, once, and resolves to what it answered: 200, or a 4xx in
   * OAuth2's own JSON (RFC 6749, section 5.2). Errors as `fetch` for everything else: 429 and 5xx, no answer, and what is
   * known beforehand to be refused. The form is the application's, so nobody's token dies of it.
   */
  async postForm(
    path: OAuthPath,
    form: URLSearchParams,
    signal?: AbortSignal,
  ): Promise<{ status: number; headers: AnswerHeaders; body: string }> {
    const call = oauthCall(path, form, this.#clock.now())
    if (signal?.aborted) throw signal.reason
    if (this.#closing.signal.aborted) throw closedError()
    const heldForMs = this.#formsHeldUntil - this.#clock.monotonic()
    if (heldForMs > 0) throw formsHeld(call.route.name, heldForMs)
    this.#admission.tokens.proved(call.tokenId)
    const policy = { ...OAUTH_POLICY, retryDelayMs: this.#options.retryDelayMs }
    const progress: Progress = { errand: undefined }
    try {
      return await this.#within({ signal }, { call, progress }, (signal) =>
        this.#attempts.run(this.#errand(call, policy, progress, signal), true),
      )
    } catch (error) {
      // Counted by address and application: what one is refused, all are.
      if (error instanceof DiscordRateLimitError && !error.local)
        this.#formsHeldUntil = Math.max(this.#formsHeldUntil, this.#clock.monotonic() + error.retryAfterMs)
      throw error
    }
  }

  /** How long a GET of this principal is already known to be refused, or undefined. Sends nothing. */
  refusedForMs(path: string, principal: string): Milliseconds | undefined {
    return this.#admission.refusedForMs(path, principal)
  }

  /**
   * Whether Discord has refused this token, and nothing has shown since that it lives. A promise where it is time to try
   * it again: then one call asks, and everybody else is told that it is dead.
   */
  isDeadToken(accessToken: string): boolean | Promise<boolean> {
    const { tokens } = this.#admission
    if (!tokens.anyDead) return false
    const tokenId = tokenIdOf('Bearer', accessToken)
    if (!tokens.isDead(tokenId)) return false
    if (!tokens.trialDue(tokenId)) return true
    return this.fetch('/users/@me', accessToken).then(
      () => false,
      () => tokens.isDead(tokenId),
    )
  }

  /** Discord has issued this access token just now: that it was refused earlier says nothing any more. */
  tokenIssued(accessToken: string): void {
    this.#admission.tokenIssued(tokenIdOf('Bearer', accessToken))
  }

  /** An operator knows that a block of our address is over: everything goes on at once, in every process. */
  liftBlock(): void {
    this.#admission.liftBlock()
  }

  holds(): DiscordHold[] {
    return this.#admission.holds()
  }

  stats() {
    return {
      ...this.#attempts.counts,
      invalidBudgetUsed: this.#admission.invalidBudgetUsed,
      breaker: this.#admission.breakerState,
    }
  }

  /** Ends what is under way with HoldfastError CLOSED, and the connections. Idempotent. */
  async close(): Promise<void> {
    if (this.#closing.signal.aborted) return
    const reason = closedError()
    this.#closing.abort(reason)
    this.#admission.close()
    let ended = 0
    for (const flight of [...this.#flights.values()]) {
      flight.cancel(reason)
      if (++ended % ENDED_AT_ONCE === 0) await new Promise<void>((resolve) => atTurnsEnd(resolve))
    }
    await this.#transport.close()
  }

  /** `/users/@me` tells whether a bot's token still lives: where it does not, the 401 to this ends it. */
  #askWhoBotIs({ tokenId, token, principal }: Call): void {
    if (this.#closing.signal.aborted || !this.#admission.tokens.checkIsDue(tokenId)) return
    const options: DiscordFetchOptions = { tokenType: 'Bot', principal, priority: 'background', maxRetries: 0 }
    // Whatever it meets, its caller has an error of its own already.
    this.fetch('/users/@me', token, options).catch(() => {})
  }

  #callContext(): CallContext {
    return {
      now: this.#clock.now(),
      principalOf: (tokenId) => this.#admission.tokens.principalOf(tokenId) ?? principalOfToken(tokenId),
    }
  }

  #takeOff(key: string, call: Call, policy: RetryPolicy): Flight<Answer> {
    const progress: Progress = { errand: undefined }
    this.#progress.set(key, progress)
    return this.#flights.start(key, (signal) =>
      this.#attempts.run(this.#errand(call, policy, progress, signal)).finally(() => {
        if (this.#progress.get(key) === progress) this.#progress.delete(key)
      }),
    )
  }

  #errand(call: Call, policy: RetryPolicy, progress: Progress, signal: AbortSignal): Errand {
    const errand = new Errand(call, policy, signal, this.#needs)
    progress.errand = errand
    return errand
  }

  /** Waits as this caller wants to: until its deadline, its signal, or the end of the instance. */
  #within<T>(
    {
      deadlineMs = Number.POSITIVE_INFINITY,
      signal,
    }: { deadlineMs?: Milliseconds | undefined; signal?: AbortSignal | undefined },
    of: { readonly call: Call; readonly progress: Progress | undefined } | undefined,
    work: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const route = of?.call.route.name ?? 'a form'
    const late = () =>
      new DiscordUnavailableError('DISCORD_TIMEOUT', `${route}: no answer within the ${deadlineMs} ms given`, {
        route,
        attempts: of?.progress?.errand?.attempts ?? 0,
      })
    return withDeadline(this.#clock, deadlineMs, [signal, this.#closing.signal], late, work)
  }
}
