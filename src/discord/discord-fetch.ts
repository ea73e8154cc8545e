import type { APIUser, RESTAPIPartialCurrentUserGuild } from 'discord-api-types/v10'
import type { Answer, Call, Method, Priority } from '../call.ts'
import { alarm, type Clock, type Milliseconds } from '../clock.ts'
import {
  DiscordAPIError,
  DiscordRateLimitError,
  DiscordUnavailableError,
  HoldfastError,
  type RateLimitScope,
} from '../errors.ts'
import type { Events } from '../events.ts'
import { fingerprint } from '../key-ring.ts'
import { SingleFlight } from '../single-flight.ts'
import { BucketMap } from './bucket-map.ts'
import { Egress } from './egress.ts'
import { InvalidBudget } from './invalid-budget.ts'
import type { KnownGet } from './known-routes.ts'
import type { Permit, Principal } from './principal.ts'
import { ResourceHolds } from './resource-holds.ts'
import { backoffMs, bucketNews, classify, isIdempotent, isTransient, type RateLimited } from './retry.ts'
import { checkPath, routeOf } from './route.ts'
import { TokenMemory } from './token-memory.ts'
import { Transport } from './transport.ts'
import { WaitAllowance } from './wait-allowance.ts'

/** How a call to Discord is made. Every default is the instance's setting. */
export interface DiscordFetchOptions {
  /** Default GET. */
  method?: Method
  /** Appended to the path; undefined values are left out. */
  query?: Record<string, string | number | boolean | undefined>
  /** Sent as JSON. */
  body?: unknown
  /** Tries after the first. */
  maxRetries?: number
  /** First backoff where Discord names no wait, in milliseconds; then doubling. */
  retryDelay?: Milliseconds
  /** All waits of this call together: a wait that would pass it fails at once with `retryAfterMs`. Infinity waits for ever. */
  maxWaitMs?: Milliseconds
  /** The whole call, waits and attempts. Default: none beyond `maxWaitMs` and each attempt's time-out. */
  deadlineMs?: Milliseconds
  /** `'transient'` also tries again after network errors and 500, 502, 503 and 504, for GET, PUT and DELETE. */
  retryOn?: 'rate-limit' | 'transient'
  /** Default `'Bearer'`. */
  tokenType?: 'Bearer' | 'Bot'
  /** Whose limits this call spends: the user's id where it is known, so that they survive a new token. Default: a hash of the token. */
  principal?: string
  /** Default `'page'`. When Discord is about to ban this address, background work stops first and logins last. */
  priority?: Priority
  /** Ends this caller's wait at once; the request itself goes on while somebody else waits for the same one. */
  signal?: AbortSignal
}

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
}

/** What a call has to keep to while it waits and retries. */
interface Rules {
  readonly maxRetries: number
  readonly retryDelayMs: Milliseconds
  readonly maxWaitMs: Milliseconds
  readonly retryOn: 'rate-limit' | 'transient'
}

/** Discord's API, one call at a time: permit → transport → classify → retry. */
export class DiscordClient {
  readonly #options: DiscordClientOptions
  readonly #clock: Clock
  readonly #events: Events
  readonly #transport: Transport
  readonly #buckets: BucketMap
  readonly #egress: Egress
  readonly #budget: InvalidBudget
  readonly #tokens = new TokenMemory()
  readonly #resourceHolds: ResourceHolds
  readonly #flights = new SingleFlight<unknown>('cancel')
  readonly #closing = new AbortController()
  readonly #counts = { calls: 0, rateLimited: 0, retries: 0 }

  constructor(options: DiscordClientOptions) {
    this.#options = options
    this.#clock = options.clock
    this.#events = options.events
    this.#transport = new Transport(options)
    this.#buckets = new BucketMap(options.clock)
    this.#egress = new Egress(options.clock, (state) => this.#events.emit({ type: 'breaker', name: 'discord', state }))
    this.#budget = new InvalidBudget(options.clock)
    this.#resourceHolds = new ResourceHolds(options.clock)
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
    const call = this.#call(path, accessToken, options)
    const rules = this.#rules(options)
    const { signal, deadlineMs } = options
    if (signal?.aborted) throw signal.reason
    if (this.#closing.signal.aborted) throw closed()
    if (call.method !== 'GET') return this.#within(deadlineMs, signal, call, (signal) => this.#run(call, rules, signal))
    const key = `${call.tokenType} ${call.tokenId} ${call.path}\n${call.principal}\n${call.priority} ${rules.maxRetries} ${rules.retryDelayMs} ${rules.maxWaitMs} ${rules.retryOn}`
    const flight = this.#flights.get(key) ?? this.#flights.start(key, (signal) => this.#run(call, rules, signal))
    if (deadlineMs === undefined) return flight.wait(signal)
    return this.#within(deadlineMs, signal, call, (signal) => flight.wait(signal))
  }

  /** `GET /users/@me`: the user the token belongs to. Scope `identify`. Errors as `fetch`. */
  getCurrentUser(accessToken: string, options?: DiscordFetchOptions): Promise<APIUser> {
    return this.fetch('/users/@me', accessToken, { ...options, method: 'GET' })
  }

  /** `GET /users/@me/guilds`: all guilds of the token's user, at most 200, so never paged. Scope `guilds`. Errors as `fetch`. */
  getUserGuilds(accessToken: string, options?: DiscordFetchOptions): Promise<RESTAPIPartialCurrentUserGuild[]> {
    return this.fetch('/users/@me/guilds', accessToken, { ...options, method: 'GET' })
  }

  /** How long a GET of this principal is already known to be refused, or undefined. Sends nothing. */
  refusedForMs(path: string, principal: string): Milliseconds | undefined {
    const closedForMs = this.#egress.closedForMs
    if (closedForMs > 0) return closedForMs
    const call = { route: routeOf('GET', path) } as Call
    return this.#resourceHolds.heldForMs(call.route) || this.#buckets.find(principal)?.heldFor(call)?.ms
  }

  /** Whether Discord has answered 401 to this token. */
  isDeadToken(accessToken: string): boolean {
    return this.#tokens.isDead(fingerprint(accessToken))
  }

  stats() {
    return { ...this.#counts, invalidBudgetUsed: this.#budget.used, breaker: this.#egress.state }
  }

  /** Ends what is under way with HoldfastError CLOSED, and the connections. Idempotent. */
  async close(): Promise<void> {
    if (this.#closing.signal.aborted) return
    const reason = closed()
    this.#closing.abort(reason)
    for (const flight of this.#flights.values()) flight.cancel(reason)
    await this.#transport.close()
  }

  #call(path: string, token: string, options: DiscordFetchOptions): Call {
    checkPath(path)
    checkToken(token)
    const { method = 'GET', tokenType = 'Bearer', principal, priority = 'page', query, body } = options
    oneOf('method', method, ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'])
    oneOf('tokenType', tokenType, ['Bearer', 'Bot'])
    oneOf('priority', priority, ['login', 'page', 'background'])
    if (principal !== undefined && (typeof principal !== 'string' || principal === ''))
      throw invalidOption('principal', 'a string that is not empty')
    const tokenId = fingerprint(token)
    return {
      method,
      path: query ? withQuery(path, query) : path,
      route: routeOf(method, path),
      token,
      tokenType,
      tokenId,
      principal: principal ?? `token:${tokenId}`,
      priority,
      body: body === undefined ? undefined : toJson(body),
    }
  }

  #rules(options: DiscordFetchOptions): Rules {
    const {
      maxRetries = this.#options.maxRetries,
      retryDelay: retryDelayMs = this.#options.retryDelayMs,
      maxWaitMs = this.#options.maxWaitMs,
      retryOn = this.#options.retryOn,
      deadlineMs = Number.POSITIVE_INFINITY,
    } = options
    if (!Number.isInteger(maxRetries) || maxRetries < 0) throw invalidOption('maxRetries', 'a whole number from 0')
    if (!Number.isFinite(retryDelayMs) || retryDelayMs < 0)
      throw invalidOption('retryDelay', 'milliseconds, finite and not negative')
    if (!(maxWaitMs >= 0)) throw invalidOption('maxWaitMs', 'milliseconds, not negative')
    if (!(deadlineMs > 0)) throw invalidOption('deadlineMs', 'milliseconds, more than 0')
    oneOf('retryOn', retryOn, ['rate-limit', 'transient'])
    return { maxRetries, retryDelayMs, maxWaitMs: Math.min(maxWaitMs, deadlineMs), retryOn }
  }

  /** Runs `work` with a signal that also aborts at the deadline. */
  async #within<T>(
    deadlineMs: Milliseconds | undefined,
    callers: AbortSignal | undefined,
    call: Call,
    work: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const controller = new AbortController()
    const abort = () => controller.abort(callers?.reason ?? this.#closing.signal.reason)
    const late = () =>
      controller.abort(
        new DiscordUnavailableError(
          'DISCORD_TIMEOUT',
          `${call.route.name}: no answer within the ${deadlineMs} ms given`,
          {
            route: call.route.name,
            attempts: 1,
          },
        ),
      )
    callers?.addEventListener('abort', abort, { once: true })
    this.#closing.signal.addEventListener('abort', abort, { once: true })
    const cancelAlarm = deadlineMs === undefined ? undefined : alarm(this.#clock, deadlineMs, late)
    try {
      return await work(controller.signal)
    } finally {
      cancelAlarm?.()
      callers?.removeEventListener('abort', abort)
      this.#closing.signal.removeEventListener('abort', abort)
    }
  }

  async #run(call: Call, rules: Rules, signal: AbortSignal): Promise<unknown> {
    const allowance = new WaitAllowance(rules.maxWaitMs, this.#clock, this.#events, call)
    const principal = this.#buckets.enter(call.principal)
    try {
      for (let attempt = 1; ; attempt++) {
        allowance.attempts = attempt - 1
        const outcome = await this.#attempt(call, rules, principal, allowance, attempt, signal)
        if ('value' in outcome) return outcome.value
        if (outcome.waitMs > allowance.leftMs || attempt > rules.maxRetries) throw outcome.error
        this.#counts.retries++
        this.#events.emit({ type: 'discord.retry', route: call.route.name, attempt, waitMs: outcome.waitMs })
        // After a 429 the hold that it set makes the next attempt wait; other trouble sets none.
        if (!outcome.held) await allowance.sleep(outcome.waitMs, 'user', signal)
      }
    } finally {
      this.#buckets.leave(call.principal)
    }
  }

  async #attempt(
    call: Call,
    rules: Rules,
    principal: Principal,
    allowance: WaitAllowance,
    attempt: number,
    signal: AbortSignal,
  ): Promise<{ value: unknown } | { error: unknown; waitMs: Milliseconds; held: boolean }> {
    this.#refuseDeadToken(call)
    const stranger = !this.#tokens.isValid(call.tokenId)
    if (stranger) await this.#strangersTurn(allowance, signal)
    // From here on the stranger's place has to be given back, whatever happens.
    let invalid = false
    try {
      const { permit, probe } = await this.#permit(call, principal, allowance, signal)
      let answer: Answer
      try {
        // Another call may have learned it while this one waited.
        this.#refuseDeadToken(call)
      } catch (error) {
        permit.giveBack()
        if (probe) this.#egress.probeLost()
        throw error
      }
      this.#counts.calls++
      try {
        answer = await this.#transport.send(call, attempt, signal)
      } catch (error) {
        permit.failed()
        if (probe) this.#egress.probeLost()
        this.#observe(call, 0, Number.NaN, attempt)
        if (signal.aborted || !(error instanceof DiscordUnavailableError) || !this.#mayRepeat(call, rules)) throw error
        return { error, waitMs: backoffMs(attempt, rules.retryDelayMs, this.#options.random), held: false }
      }
      this.#buckets.latency.observe(answer.sentAt, answer.receivedAt)
      this.#observe(call, answer.status, answer.sentAt, attempt)
      permit.answered(bucketNews(answer), answer.headers['x-ratelimit-bucket'], answer.receivedAt)
      const verdict = classify(answer, call.route, this.#clock.now())
      const banned = verdict.kind === 'rate-limited' && verdict.pause === 'egress'
      if (probe && !banned) this.#egress.probeAnswered()
      invalid = answer.status === 401 || answer.status === 403 || (verdict.kind === 'rate-limited' && verdict.invalid)
      if (invalid) this.#budget.spend()
      const { status } = answer
      const details = { status, route: call.route.name, attempts: attempt }
      switch (verdict.kind) {
        case 'success':
          this.#tokens.proved(call.tokenId)
          return { value: read(answer, call, attempt) }
        case 'refused':
          if (status === 401) this.#tokens.died(call.tokenId)
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
          if (!isTransient(status) || !this.#mayRepeat(call, rules)) throw error
          return { error, waitMs, held: false }
        }
        default: {
          const waitMs = this.#hold(call, principal, verdict, rules, attempt)
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
      if (stranger) this.#budget.strangerAnswered(invalid)
    }
  }

  /** Waits until nothing forbids the call, and takes a place. */
  async #permit(
    call: Call,
    principal: Principal,
    allowance: WaitAllowance,
    signal: AbortSignal,
  ): Promise<{ permit: Permit; probe: boolean }> {
    for (;;) {
      const stoppedMs = this.#budget.stoppedForMs(call.priority)
      if (stoppedMs > 0) await allowance.sleep(stoppedMs, 'egress', signal)
      const held = this.#heldFor(call, principal)
      if (held) {
        await allowance.sleep(held.ms, held.scope, signal)
        continue
      }
      const permit = principal.tryTake(call) ?? (await allowance.queue(principal, signal))
      // While the call waited for its place, everything may have changed.
      if (this.#heldFor(call, principal)) {
        permit.giveBack()
        continue
      }
      const pass = this.#egress.pass()
      if (pass !== 'wait') return { permit, probe: pass === 'probe' }
      permit.giveBack()
      await allowance.until((signal) => this.#egress.nextChange(signal), 'egress', signal)
    }
  }

  #heldFor(call: Call, principal: Principal): { ms: Milliseconds; scope: RateLimitScope } | undefined {
    const closedForMs = this.#egress.closedForMs
    if (closedForMs > 0) return { ms: closedForMs, scope: 'egress' }
    const resourceMs = this.#resourceHolds.heldForMs(call.route)
    if (resourceMs > 0) return { ms: resourceMs, scope: 'shared' }
    return principal.heldFor(call)
  }

  /** Applies what a 429 asks for, and returns how long that is. */
  #hold(call: Call, principal: Principal, verdict: RateLimited, rules: Rules, attempt: number): Milliseconds {
    if (verdict.pause === 'egress') return this.#egress.banned(verdict.waitMs)
    const waitMs = verdict.waitMs ?? backoffMs(attempt, rules.retryDelayMs, this.#options.random)
    if (verdict.pause === 'principal') principal.holdAll(waitMs)
    else if (verdict.pause === 'resource') this.#resourceHolds.hold(call.route, waitMs)
    else if (verdict.pause === 'route') principal.holdRoute(call, waitMs)
    else {
      principal.holdBucket(call, waitMs)
      // It came although we thought there was room: perhaps too early.
      this.#buckets.latency.distrust()
    }
    return waitMs
  }

  /** Tokens that nobody has seen valid take turns, within a budget of their own. */
  async #strangersTurn(allowance: WaitAllowance, signal: AbortSignal): Promise<void> {
    for (;;) {
      const stoppedMs = this.#budget.strangersStoppedForMs()
      if (stoppedMs === 0) break
      if (stoppedMs === 'soon')
        await allowance.until((signal) => this.#budget.nextStrangerAnswered(signal), 'egress', signal)
      else await allowance.sleep(stoppedMs, 'egress', signal)
    }
    this.#budget.strangerSent()
  }

  #refuseDeadToken(call: Call): void {
    if (!this.#tokens.isDead(call.tokenId)) return
    throw new DiscordAPIError(
      `${call.route.name}: Discord has answered 401 to this token before, so it was not sent again; sign the user in anew`,
      { status: 401, route: call.route.name, attempts: 0 },
    )
  }

  #mayRepeat(call: Call, rules: Rules): boolean {
    return rules.retryOn === 'transient' && isIdempotent(call.method)
  }

  #observe(call: Call, status: number, sentAt: Milliseconds, attempt: number): void {
    if (!this.#events.active) return
    const durationMs = Number.isNaN(sentAt) ? 0 : this.#clock.monotonic() - sentAt
    this.#events.emit({ type: 'discord.call', route: call.route.name, status, durationMs, attempt })
  }
}

/** The JSON of a successful answer; undefined where there is none to have (204, or an empty body of a write). */
function read(answer: Answer, call: Call, attempts: number): unknown {
  const details = { route: call.route.name, attempts }
  if (answer.status === 204 || (answer.body === '' && call.method !== 'GET')) return undefined
  const type = answer.headers['content-type']
  if (type !== undefined && !/\bjson\b/i.test(type))
    throw new DiscordUnavailableError(
      'DISCORD_NOT_JSON',
      `${call.route.name}: the answer is ${type.slice(0, 60)}, not JSON; look for a proxy on the way to Discord`,
      details,
    )
  let value: unknown
  try {
    value = JSON.parse(answer.body)
  } catch {
    // Without the parser's message as cause: it quotes the body.
    throw new DiscordUnavailableError('DISCORD_NOT_JSON', `${call.route.name}: the answer is not JSON`, details)
  }
  const expected = call.route.answer
  const actual = Array.isArray(value) ? 'array' : value === null ? 'null' : typeof value
  if (expected !== undefined && actual !== expected)
    throw new DiscordUnavailableError(
      'DISCORD_WRONG_SHAPE',
      `${call.route.name}: the answer is ${actual === 'null' ? 'null' : `an ${actual}`} where an ${expected} is due`,
      details,
    )
  return value
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

const VISIBLE_ASCII = /^[\x21-\x7e]+$/
const LONGEST_TOKEN = 2048

function checkToken(token: unknown): asserts token is string {
  const why =
    typeof token !== 'string'
      ? 'it is not a string'
      : token === ''
        ? 'it is empty'
        : token.length > LONGEST_TOKEN
          ? `it is longer than ${LONGEST_TOKEN} characters`
          : VISIBLE_ASCII.test(token)
            ? undefined
            : 'it holds a space, a control character or text that is not ASCII'
  if (why)
    throw new HoldfastError(
      'INVALID_TOKEN',
      `the token given to discordFetch was refused: ${why}; give the bare token, without "Bearer"`,
    )
}

function withQuery(path: string, query: NonNullable<DiscordFetchOptions['query']>): string {
  const parameters = new URLSearchParams()
  for (const [name, value] of Object.entries(query)) if (value !== undefined) parameters.append(name, String(value))
  const text = parameters.toString()
  return text === '' ? path : `${path}${path.includes('?') ? '&' : '?'}${text}`
}

function toJson(body: unknown): string {
  try {
    const text = JSON.stringify(body)
    if (text !== undefined) return text
  } catch {}
  throw invalidOption('body', 'a value that JSON can carry')
}

function oneOf(option: string, value: unknown, accepted: readonly string[]): void {
  if (!accepted.includes(value as string)) throw invalidOption(option, accepted.map((name) => `'${name}'`).join(' or '))
}

function invalidOption(option: string, accepted: string): HoldfastError {
  return new HoldfastError('INVALID_OPTION', `discordFetch: option ${option} must be ${accepted}`)
}

const closed = () => new HoldfastError('CLOSED', 'this Holdfast instance was closed; make a new one')
