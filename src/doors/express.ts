import type { Auth } from '../auth/auth.ts'
import { optionsOf } from '../config/options.ts'
import type { GuardDecision, PassDecision } from '../guard/decision.ts'
import type { Guard } from '../guard/guard.ts'
import type { GuardRequest } from '../guard/guard-request.ts'
import { defaultHoldfast } from '../instance/default-instance.ts'
import { createGuard } from '../instance/guard.ts'
import type { GuardOptions } from '../instance/guard-options.ts'
import type { AuthRequest } from '../sessions/session.ts'
import { AUTH_DOOR_TABLE, authenticate, type DoorAuthOptions } from './authenticate.ts'
import { headersOf, writeAnswer } from './node-exchange.ts'

export type { DoorAuthOptions as RequireAuthMiddlewareOptions } from './authenticate.ts'
export type { LoginDoorOptions } from './login-options.ts'
export { login } from './node-login.ts'

declare global {
  namespace Express {
    /** What Express's request has behind this package's middleware. */
    interface Request {
      /** Behind `requireAuth()`: who asks, and what they may see. With `guilds: false` only `user` is there. */
      auth: Auth
      /** Behind `guard()`: the decision that let the request pass. */
      guard: PassDecision
    }
  }
}

/** What is used of a request of Express, Connect or node:http. */
export interface NodeRequest {
  readonly method?: string | undefined
  readonly url?: string | undefined
  /** The target before a router cut off what it is mounted at. */
  readonly originalUrl?: string | undefined
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly socket: { readonly remoteAddress?: string | undefined }
  /** Put there by `requireAuth`. */
  auth?: Auth | Pick<Auth, 'user'>
  /** Put there by `guard`: where the caller stands, and how a handler gives back what it did not do. */
  guard?: PassDecision
}

/** What is used of its answer. */
export interface NodeResponse {
  statusCode: number
  readonly writableEnded: boolean
  setHeader(name: string, value: string): unknown
  end(body?: string): unknown
  once(event: 'finish' | 'close' | 'error', listener: () => void): unknown
}

export type Next = (error?: unknown) => void
export type Middleware = (request: NodeRequest, response: NodeResponse, next: Next) => void

export interface GuardMiddlewareOptions extends GuardOptions {
  /** A guard that is there already; the other options are then not read. */
  guard?: Guard
}

/** Middleware that runs the guard. */
export interface GuardMiddleware extends Middleware {
  /** The first pass alone, for in front of everything that costs: load shedding, and the ceiling per address. */
  readonly arrive: Middleware
  close(): Promise<void>
}

/**
 * Rate limits and load shedding as middleware: `app.use(guard({ rules }))`. Whoever `requireAuth` found before counts as
 * that user; else the sessions of `holdfast` (the default instance) are asked, or `identify`. Refusals are answered;
 * everything else goes on, with `request.guard`. What the guard throws goes to `next`. Works with node:http, too.
 */
export function guard(options: GuardMiddlewareOptions = {}): GuardMiddleware {
  const { guard: given, ...own } = options
  const made =
    given ?? createGuard(own.enabled === false ? own : { ...own, holdfast: own.holdfast ?? defaultHoldfast() })
  const check: Middleware = (request, response, next) =>
    decide(made.check(guardRequest(request)), request, response, next)
  const arrive: Middleware = (request, response, next) =>
    decide(made.arrive(guardRequest(request)), request, response, next)
  return Object.assign(check, { arrive, close: () => made.close() })
}

function decide(
  decision: GuardDecision | Promise<GuardDecision>,
  request: NodeRequest,
  response: NodeResponse,
  next: Next,
): void {
  // No promise where none is needed: it would cost more than the decision.
  if (!(decision instanceof Promise)) return carryOut(decision, request, response, next)
  decision.then((decided) => carryOut(decided, request, response, next)).catch(next)
}

function carryOut(decision: GuardDecision, request: NodeRequest, response: NodeResponse, next: Next): void {
  for (const [name, value] of decision.headers) response.setHeader(name, value)
  if (decision.action === 'refuse') {
    response.statusCode = decision.status
    response.end(decision.body)
    return
  }
  request.guard = decision
  // An answer that was cut off was not the one it says: its status gives nothing back.
  const settle = () => void decision.settle(response.writableEnded ? response.statusCode : 0)
  response.once('finish', settle)
  response.once('close', settle)
  response.once('error', settle)
  next()
}

const MADE = Symbol('holdfast.guard-request')

/** One object for both passes. */
function guardRequest(request: NodeRequest & { [MADE]?: GuardRequest }): GuardRequest {
  request[MADE] ??= new RequestOfNode(request)
  return request[MADE]
}

class RequestOfNode implements GuardRequest {
  readonly #request: NodeRequest

  constructor(request: NodeRequest) {
    this.#request = request
  }

  get method(): string {
    return this.#request.method ?? 'GET'
  }

  get path(): string {
    return this.#request.originalUrl ?? this.#request.url ?? '/'
  }

  get remoteAddress(): string | undefined {
    return this.#request.socket.remoteAddress
  }

  get userId(): string | undefined {
    const id: unknown = this.#request.auth?.user?.id
    return typeof id === 'string' ? id : undefined
  }

  header(name: string): string | null {
    const value = this.#request.headers[name]
    return typeof value === 'string' ? value : value === undefined ? null : value.join(', ')
  }
}

export const EXPRESS_AUTH_OPTIONS = optionsOf('express.requireAuth', AUTH_DOOR_TABLE)

/**
 * `requireAuth` as middleware: `request.auth` is there for whatever comes after. Refusals are answered; other errors go
 * to `next`. `guild` gets Express's request: `(_, request) => request.params.guildId`. Throws ConfigError for options
 * that cannot be used.
 */
// biome-ignore lint/suspicious/noExplicitAny: the request that `guild` gets has the type of the route
export function requireAuth(options: DoorAuthOptions<any> = {}): Middleware {
  EXPRESS_AUTH_OPTIONS.check(options)
  return (request, response, next) => {
    authenticate(options, authRequest(request), request)
      .then(async (outcome) => {
        if (!(outcome instanceof Response)) {
          request.auth = outcome
          return true
        }
        await writeAnswer(outcome, response)
        return false
      })
      // In a turn of its own: what the next handler throws is not an error of this one.
      .then((goOn) => goOn && next(), next)
  }
}

function authRequest(request: NodeRequest): AuthRequest {
  const headers = headersOf(request.headers)
  const target = request.originalUrl ?? request.url ?? '/'
  const url = URL.canParse(target) ? target : `http://${headers.get('host') ?? 'localhost'}${target}`
  return { headers, method: request.method ?? 'GET', url }
}
