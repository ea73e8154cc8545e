import type { APIUser, RESTAPIPartialCurrentUserGuild } from 'discord-api-types/v10'
import { type Flight, SingleFlight } from '../concurrency/single-flight.ts'
import {
  closedError,
  DiscordAPIError,
  DiscordRateLimitError,
  DiscordUnavailableError,
  type RateLimitScope,
} from '../errors/errors.ts'
import type { Events } from '../events/events.ts'
import { traced } from '../events/trace.ts'
import { fingerprint } from '../secrets/key-ring.ts'
import type { Clock, Milliseconds } from '../time/clock.ts'
import { withDeadline } from '../time/deadline.ts'
import { Admission } from './admission.ts'
import type { Answer, AnswerHeaders, Call } from './call.ts'
import { type DiscordFetchOptions, type Rules, toCall, toRules } from './call-options.ts'
import type { Fleet } from './fleet.ts'
import type { KnownGet } from './known-routes.ts'
import { OAUTH_RULES, type OAuthPath, oauthCall } from './oauth-call.ts'
import type { Principal } from './principal.ts'
import { readAnswer } from './read-answer.ts'
import { backoffMs, classify, isIdempotent, isTransient } from './retry.ts'
import { TokenMemory } from './token-memory.ts'
import { Transport } from './transport.ts'
import { WaitAllowance } from './wait-allowance.ts'

export interface DiscordClientOptions {
  readonly baseUrl: URL
  readonly userAgent: string
  readonly maxRetries: number
  readonly retryDelayMs: Milliseconds
  readonly maxWaitMs: Milliseconds
  readonly timeoutMs: Milliseconds
  readonly retryOn: 'rate-limit' | 'transient'
  readonly clock: Clock
  readonly random: () => number
  readonly events: Events
  /** The other processes, where there are any. */
  readonly fleet?: Fleet | undefined
}

/** How often a call was sent so far; a caller that does not wait for its end wants to say so. */
interface Progress {
  attempts: number
}

/** Discord's API, one call at a time: permit → transport → classify → retry. */
export class DiscordClient {
  readonly #options: DiscordClientOptions
  readonly #clock: Clock
  readonly #events: Events
  readonly #transport: Transport
  readonly #admission: Admission
  readonly #tokens = new TokenMemory()
  readonly #flights = new SingleFlight<unknown>('cancel')
  /** Of the flights that can be joined. */
  readonly #progress = new Map<string, Progress>()
  readonly #closing = new AbortController()
  readonly #counts = { calls: 0, rateLimited: 0, retries: 0 }

  constructor(options: DiscordClientOptions) {
    this.#options = options
    this.#clock = options.clock
    this.#events = options.events
    this.#transport = new Transport(options)
    this.#admission = new Admission({ ...options, tokens: this.#tokens })
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
  ): Promise<KnownGet[Path]>
  fetch<T = unknown>(path: string, accessToken: string, options?: DiscordFetchOptions): Promise<T>
  async fetch(path: string, accessToken: string, options: DiscordFetchOptions = {}): Promise<unknown> {
    return this.#fetch(path, accessToken, options, true)
  }

  /** `GET /users/@me/guilds` as `getUserGuilds`, for who must not be given an answer to an earlier question: it is always sent. */
  getUserGuildsAnew(accessToken: string, options: DiscordFetchOptions): Promise<RESTAPIPartialCurrentUserGuild[]> {
    const guilds = this.#fetch('/users/@me/guilds', accessToken, { ...options, method: 'GET' }, false)
    return guilds as Promise<RESTAPIPartialCurrentUserGuild[]>
  }

  async #fetch(path: string, accessToken: string, options: DiscordFetchOptions, joins: boolean): Promise<unknown> {
    const call = toCall(path, accessToken, options)
    const rules = toRules(options, this.#options)
    if (options.signal?.aborted) throw options.signal.reason
    if (this.#closing.signal.aborted) throw closedError()
    const context = () => ({
      instance: this.#events,
      attributes: { 'http.request.method': call.method, 'http.route': call.route.name },
    })
    return traced('discord-fetch', context, () => this.#ask(call, rules, options, joins))
  }

  async #ask(call: Call, rules: Rules, options: DiscordFetchOptions, joins: boolean): Promise<unknown> {
    const { signal, deadlineMs } = options
    if (call.method !== 'GET' || !joins) {
      const progress = { attempts: 0 }
      return this.#within(options, call, progress, (signal) => this.#run(call, rules, progress, signal))
    }
    const key = `${call.tokenType} ${call.tokenId} ${call.path}\n${call.principal}\n${call.priority} ${rules.maxRetries} ${rules.retryDelayMs} ${rules.maxWaitMs} ${rules.retryOn}`
    const flight = this.#flights.get(key) ?? this.#takeOff(key, call, rules)
    if (deadlineMs === undefined) return flight.wait(signal)
    return this.#within(options, call, this.#progress.get(key), (signal) => flight.wait(signal))
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
    const call = oauthCall(path, form)
    if (signal?.aborted) throw signal.reason
    if (this.#closing.signal.aborted) throw closedError()
    this.#tokens.proved(call.tokenId)
    const rules = { ...OAUTH_RULES, retryDelayMs: this.#options.retryDelayMs }
    const progress = { attempts: 0 }
    const answer = await this.#within(signal ? { signal } : {}, call, progress, (signal) =>
      this.#run(call, rules, progress, signal),
    )
    return answer as Answer
  }

  /** How long a GET of this principal is already known to be refused, or undefined. Sends nothing. */
  refusedForMs(path: string, principal: string): Milliseconds | undefined {
    return this.#admission.refusedForMs(path, principal)
  }

  /** Whether Discord has answered 401 to this token. */
  isDeadToken(accessToken: string): boolean {
    return this.#tokens.isDead(fingerprint(accessToken))
  }

  stats() {
    return {
      ...this.#counts,
      invalidBudgetUsed: this.#admission.invalidBudgetUsed,
      breaker: this.#admission.breakerState,
    }
  }

  /** Ends what is under way with HoldfastError CLOSED, and the connections. Idempotent. */
  async close(): Promise<void> {
    if (this.#closing.signal.aborted) return
    const reason = closedError()
    this.#closing.abort(reason)
    for (const flight of this.#flights.values()) flight.cancel(reason)
    await this.#transport.close()
  }

  #takeOff(key: string, call: Call, rules: Rules): Flight<unknown> {
    const progress = { attempts: 0 }
    this.#progress.set(key, progress)
    return this.#flights.start(key, (signal) =>
      this.#run(call, rules, progress, signal).finally(() => {
        if (this.#progress.get(key) === progress) this.#progress.delete(key)
      }),
    )
  }

  /** Waits as this caller wants to: until its deadline, its signal, or the end of the instance. */
  #within<T>(
    { deadlineMs = Number.POSITIVE_INFINITY, signal }: DiscordFetchOptions,
    call: Call,
    progress: Progress | undefined,
    work: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const route = call.route.name
    const late = () =>
      new DiscordUnavailableError('DISCORD_TIMEOUT', `${route}: no answer within the ${deadlineMs} ms given`, {
        route,
        attempts: progress?.attempts ?? 0,
      })
    return withDeadline(this.#clock, deadlineMs, [signal, this.#closing.signal], late, work)
  }

  async #run(call: Call, rules: Rules, progress: Progress, signal: AbortSignal): Promise<unknown> {
    const allowance = new WaitAllowance(rules.maxWaitMs, this.#clock, this.#events, call)
    const principal = this.#admission.enter(call.principal)
    try {
      for (let attempt = 1; ; attempt++) {
        allowance.attempts = attempt - 1
        const outcome = await this.#attempt(call, rules, principal, allowance, progress, attempt, signal)
        if ('value' in outcome) return outcome.value
        if (outcome.waitMs > allowance.leftMs || attempt > rules.maxRetries) throw outcome.error
        this.#counts.retries++
        this.#events.emit({ type: 'discord.retry', route: call.route.name, attempt, waitMs: outcome.waitMs })
        // After a 429 the hold that it set makes the next attempt wait; other trouble sets none.
        if (!outcome.held) await allowance.sleep(outcome.waitMs, 'user', signal)
      }
    } finally {
      this.#admission.leave(call.principal)
    }
  }

  async #attempt(
    call: Call,
    rules: Rules,
    principal: Principal,
    allowance: WaitAllowance,
    progress: Progress,
    attempt: number,
    signal: AbortSignal,
  ): Promise<{ value: unknown } | { error: unknown; waitMs: Milliseconds; held: boolean }> {
    this.#refuseDeadToken(call)
    const pass =
      this.#admission.tryAdmit(call, principal) ?? (await this.#admission.admit(call, principal, allowance, signal))
    let invalid = false
    try {
      // Another call may have learned it while this one waited.
      this.#refuseDeadToken(call)
      this.#counts.calls++
      progress.attempts = attempt
      let answer: Answer
      try {
        answer = await this.#transport.send(call, attempt, signal)
      } catch (error) {
        pass.failed()
        this.#observe(call, 0, Number.NaN, attempt)
        if (signal.aborted || !(error instanceof DiscordUnavailableError) || !mayRepeat(call, rules)) throw error
        return { error, waitMs: backoffMs(attempt, rules.retryDelayMs, this.#options.random), held: false }
      }
      this.#observe(call, answer.status, answer.sentAt, attempt)
      const verdict = classify(answer, call.route, this.#clock.now())
      invalid = answer.status === 401 || answer.status === 403 || (verdict.kind === 'rate-limited' && verdict.invalid)
      pass.answered(answer, verdict)
      const { status } = answer
      const details = { status, route: call.route.name, attempts: attempt }
      switch (verdict.kind) {
        case 'success':
          this.#tokens.proved(call.tokenId)
          return { value: call.isForm ? answer : readAnswer(answer, call, attempt) }
        case 'refused':
          if (call.isForm) return { value: answer }
          if (status === 401) this.#admission.tokenDied(call.tokenId)
          else this.#tokens.proved(call.tokenId)
          throw new DiscordAPIError(refusal(call, status, verdict.discordCode), {
            ...details,
            discordCode: verdict.discordCode,
          })
        case 'foreign':
          throw new DiscordUnavailableError(
            'DISCORD_FOREIGN_ANSWER',
            `${call.route.name}: a ${status} that is not Discord's own came back; look for a proxy or a block page on the way to Discord`,
            details,
          )
        case 'trouble': {
          const waitMs = verdict.waitMs ?? backoffMs(attempt, rules.retryDelayMs, this.#options.random)
          const error = new DiscordAPIError(`${call.route.name}: Discord answered ${status}; it is having trouble`, {
            ...details,
            retryAfterMs: verdict.waitMs,
          })
          if (!isTransient(status) || !mayRepeat(call, rules)) throw error
          return { error, waitMs, held: false }
        }
        default: {
          const computedMs = backoffMs(attempt, rules.retryDelayMs, this.#options.random)
          const waitMs = this.#admission.hold(call, verdict, computedMs)
          this.#counts.rateLimited++
          this.#events.emit({
            type: 'discord.rate-limited',
            route: call.route.name,
            scope: verdict.scope,
            retryAfterMs: waitMs,
          })
          const error = new DiscordRateLimitError(rateLimitMessage(call, verdict.scope, waitMs), {
            ...details,
            scope: verdict.scope,
            local: false,
            retryAfterMs: waitMs,
            discordCode: verdict.discordCode,
          })
          return { error, waitMs, held: true }
        }
      }
    } finally {
      pass.end(invalid)
    }
  }

  #refuseDeadToken(call: Call): void {
    if (!this.#tokens.isDead(call.tokenId)) return
    throw new DiscordAPIError(
      `${call.route.name}: Discord has answered 401 to this token before, so it was not sent again; sign the user in anew`,
      { status: 401, route: call.route.name, attempts: 0 },
    )
  }

  #observe(call: Call, status: number, sentAt: Milliseconds, attempt: number): void {
    if (!this.#events.active) return
    const durationMs = Number.isNaN(sentAt) ? 0 : this.#clock.monotonic() - sentAt
    this.#events.emit({ type: 'discord.call', route: call.route.name, status, durationMs, attempt })
  }
}

function mayRepeat(call: Call, rules: Rules): boolean {
  return rules.retryOn === 'transient' && isIdempotent(call.method)
}

function refusal(call: Call, status: number, discordCode: number | undefined): string {
  const code = discordCode ? `, code ${discordCode}` : ''
  if (status === 401)
    return `${call.route.name}: Discord does not accept this token (401${code}); sign the user in anew`
  if (status === 403)
    return `${call.route.name}: Discord refused (403${code}); check the token's scopes or the bot's permissions`
  return `${call.route.name}: Discord refused (${status}${code})`
}

function rateLimitMessage(call: Call, scope: RateLimitScope, waitMs: Milliseconds): string {
  const about = {
    user: 'this user',
    global: 'all calls of this user',
    shared: 'a shared resource',
    egress: 'our address',
  }[scope]
  return `${call.route.name}: Discord rate-limits ${about}; try again in ${Math.ceil(waitMs / 1000)} s`
}
