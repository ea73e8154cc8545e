import type { Auth } from '../auth/auth.ts'
import { AuthError } from '../auth/auth-error.ts'
import type { RequireAuthOptions } from '../auth/require-auth-options.ts'
import type { GuardDecision, PassDecision } from '../guard/decision.ts'
import type { Guard } from '../guard/guard.ts'
import type { GuardRequest } from '../guard/guard-request.ts'
import { defaultHoldfast } from '../instance/default-instance.ts'
import { createGuard } from '../instance/guard.ts'
import type { GuardOptions } from '../instance/guard-options.ts'
import type { Holdfast } from '../instance/holdfast.ts'
import type { AuthRequest } from '../sessions/session.ts'

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

type GuildOfRoute =
  | string
  // biome-ignore lint/suspicious/noExplicitAny: the request has the framework's type
  | ((asked: AuthRequest, request: any) => string | null | undefined | Promise<string | null | undefined>)

export interface RequireAuthMiddlewareOptions extends Omit<RequireAuthOptions, 'guild'> {
  /** Default: the default instance. */
  holdfast?: Holdfast
  /** A guild the user must be in: its id, or how to find it, for example `(_, request) => request.params.guildId`. */
  guild?: GuildOfRoute
}

/**
 * `requireAuth` as middleware: `request.auth` is there for whatever comes after. Refusals are answered; other errors go
 * to `next`.
 */
export function requireAuth(options: RequireAuthMiddlewareOptions = {}): Middleware {
  const { holdfast, guild, ...rest } = options
  return (request, response, next) => {
    const asked = authRequest(request)
    const wanted: RequireAuthOptions = { ...rest }
    if (typeof guild === 'function') wanted.guild = () => guild(asked, request)
    else if ('guild' in options) Object.assign(wanted, { guild })
    authenticate(holdfast ?? defaultHoldfast(), asked, wanted)
      .then(async (outcome) => {
        if (!(outcome instanceof Response)) {
          request.auth = outcome
          return true
        }
        response.statusCode = outcome.status
        for (const [name, value] of outcome.headers) response.setHeader(name, value)
        response.end(await outcome.text())
        return false
      })
      // In a turn of its own: what the next handler throws is not an error of this one.
      .then((goOn) => goOn && next(), next)
  }
}

async function authenticate(
  holdfast: Holdfast,
  asked: AuthRequest,
  options: RequireAuthOptions,
): Promise<Auth | Response> {
  try {
    return await holdfast.requireAuth(asked, options)
  } catch (error) {
    if (error instanceof AuthError) return error.toResponse(asked)
    throw error
  }
}

function authRequest(request: NodeRequest): AuthRequest {
  const headers = new Headers()
  for (const [name, value] of Object.entries(request.headers)) {
    // HTTP/2's own, such as `:path`.
    if (value === undefined || name.startsWith(':')) continue
    for (const line of typeof value === 'string' ? [value] : value) headers.append(name, line)
  }
  const target = request.originalUrl ?? request.url ?? '/'
  const url = URL.canParse(target) ? target : `http://${headers.get('host') ?? 'localhost'}${target}`
  return { headers, method: request.method ?? 'GET', url }
}
