import '../config/runtime.ts'

import type { Auth } from '../auth/auth.ts'
import { optionsOf } from '../config/options.ts'
import type { PassDecision } from '../guard/decision.ts'
import type { Guard } from '../guard/guard.ts'
import { GUARD_TABLE, type GuardOptions } from '../instance/guard-options.ts'
import type { AuthRequest } from '../sessions/session.ts'
import { AUTH_DOOR_TABLE, authenticate, type DoorAuthOptions } from './authenticate.ts'
import { GUARD_OPTION, guardOfDoor } from './guard-option.ts'
import { headersOf, writeAnswer } from './node-exchange.ts'
import { arrivedAt, checkedBy, type Middleware, type NodeRequest } from './node-guard.ts'

export type { DoorAuthOptions as RequireAuthMiddlewareOptions } from './authenticate.ts'
export type { LoginDoorOptions } from './login-options.ts'
export type { Middleware, Next, NodeRequest, NodeResponse } from './node-guard.ts'
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

export const EXPRESS_GUARD_OPTIONS = optionsOf('express.guard', { ...GUARD_TABLE, guard: GUARD_OPTION })

/**
 * Rate limits and load shedding as middleware: `app.use(guard({ rules }))`. Whoever `requireAuth` found before counts as
 * that user; else the sessions of `holdfast` (the default instance) are asked, or `identify`. Where `trustProxy` is not
 * given, Express's own setting `trust proxy` says who a request comes from. Refusals are answered; everything else goes
 * on, with `request.guard`. What the guard throws goes to `next`. Works with node:http, too. Throws ConfigError for
 * options that cannot be used.
 */
export function guard(options: GuardMiddlewareOptions = {}): GuardMiddleware {
  EXPRESS_GUARD_OPTIONS.check(options)
  const { guard: given, ...own } = options
  const made = guardOfDoor(given, own)
  return Object.assign(checkedBy(made), { arrive: arrivedAt(made), close: () => made.close() })
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
