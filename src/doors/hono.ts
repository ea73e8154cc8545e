import '../config/runtime.ts'

import type { Context, MiddlewareHandler } from 'hono'
import type { Auth } from '../auth/auth.ts'
import { aFunction } from '../config/accepted.ts'
import { optionsOf } from '../config/options.ts'
import { ConfigError } from '../errors/errors.ts'
import type { PassDecision } from '../guard/decision.ts'
import type { Guard } from '../guard/guard.ts'
import type { GuardRequest } from '../guard/guard-request.ts'
import { GUARD_TABLE, type GuardOptions } from '../instance/guard-options.ts'
import { AUTH_DOOR_TABLE, authenticate, type DoorAuthOptions } from './authenticate.ts'
import { GUARD_OPTION, guardOfDoor } from './guard-option.ts'
import { answerLogin, LOGIN_DOOR_TABLE, type LoginDoorOptions } from './login-options.ts'
import { answerOf, nobodyWaits, targetOf } from './web-guard.ts'

declare module 'hono' {
  /** What a context has behind this package's middleware. */
  interface ContextVariableMap {
    /** Behind `requireAuth()`: who asks, and what they may see. With `guilds: false` only `user` is there. */
    auth: Auth
    /** Behind `guard()`: the decision that let the request pass. */
    guard: PassDecision
  }
}

export type { LoginDoorOptions } from './login-options.ts'

export interface HonoGuardOptions extends Omit<GuardOptions, 'remoteAddress'> {
  /** A guard that is there already; of the other options only `remoteAddress` is then read. */
  guard?: Guard
  /** Who is at the other end of the connection. Default: what `@hono/node-server` knows; anywhere else it is required. */
  // biome-ignore lint/suspicious/noExplicitAny: a context has the types of its app
  remoteAddress?: (context: Context<any>) => string | undefined
}

/** Middleware that runs the guard. */
export type HonoGuard = MiddlewareHandler & { close(): Promise<void> }

export const HONO_AUTH_OPTIONS = optionsOf('hono.requireAuth', AUTH_DOOR_TABLE)
export const HONO_GUARD_OPTIONS = optionsOf('hono.guard', {
  ...GUARD_TABLE,
  guard: GUARD_OPTION,
  remoteAddress: {
    means: 'who is at the other end of the connection',
    accepts: aFunction('a function of the context'),
    preset: 'what @hono/node-server knows',
  },
})
export const HONO_LOGIN_OPTIONS = optionsOf('hono.login', LOGIN_DOOR_TABLE)

/**
 * `requireAuth` as middleware: `c.get('auth')` is there for whatever comes after; refusals are answered, other errors go
 * to `app.onError`. `guild` gets the context: `(_, c) => c.req.param('guildId')`. Throws ConfigError for options that
 * cannot be used.
 */
// biome-ignore lint/suspicious/noExplicitAny: the context that `guild` gets has the types of its route
export function requireAuth(options: DoorAuthOptions<Context<any>> = {}): MiddlewareHandler {
  HONO_AUTH_OPTIONS.check(options)
  return async (context, next) => {
    const outcome = await authenticate(options, context.req.raw, context)
    if (outcome instanceof Response) return outcome
    context.set('auth', outcome)
    return next()
  }
}

/**
 * The guard as middleware: `app.use(guard({ rules }))`. Callers are the sessions of `holdfast` (the default instance), or
 * what `identify` says. Refusals are answered; the answer of what comes after settles, and carries the limits.
 */
export function guard(options: HonoGuardOptions = {}): HonoGuard {
  HONO_GUARD_OPTIONS.check(options)
  const { guard: given, remoteAddress = addressOfNode, ...own } = options
  const made = guardOfDoor(given, own)
  const middleware: MiddlewareHandler = async (context, next) => {
    const decision = await made.check(guardRequest(context, remoteAddress))
    if (decision.action === 'refuse') return answerOf(decision)
    context.set('guard', decision)
    // A client that leaves ends its place among those under way.
    const { signal } = context.req.raw
    const leave = () => void decision.settle(0)
    if (signal.aborted) {
      leave()
      return nobodyWaits()
    }
    signal.addEventListener('abort', leave, { once: true })
    try {
      // What a handler throws is an answer by then, of `app.onError`.
      await next()
    } catch (error) {
      await decision.settle(500)
      throw error
    } finally {
      signal.removeEventListener('abort', leave)
    }
    // Before the answer goes out, so that whoever reads it finds the places given back.
    await decision.settle(context.res.status)
    for (const [name, value] of decision.headers) context.header(name, value)
    return undefined
  }
  return Object.assign(middleware, { close: () => made.close() })
}

/** The login's routes: `app.use(login({ holdfast }))`. */
export function login(options: LoginDoorOptions = {}): MiddlewareHandler {
  HONO_LOGIN_OPTIONS.check(options)
  return async (context, next) => (await answerLogin(options, await rawRequest(context))) ?? next()
}

/** The request with its body, also where something in front has read that: Hono keeps the bytes. */
async function rawRequest({ req }: Context): Promise<Request> {
  if (!req.raw.bodyUsed) return req.raw
  const { method, headers, url } = req.raw
  return new Request(url, { method, headers, body: await req.arrayBuffer() })
}

function guardRequest(context: Context, remoteAddress: (context: Context) => string | undefined): GuardRequest {
  const { raw } = context.req
  // Whoever `requireAuth` found before.
  const auth: Auth | undefined = context.get('auth')
  return {
    method: raw.method,
    path: targetOf(raw.url),
    header: (name) => raw.headers.get(name),
    allHeaders: () => new Headers(raw.headers),
    remoteAddress: remoteAddress(context),
    ...(auth && { userId: auth.user.id }),
  }
}

function addressOfNode(context: Context): string | undefined {
  const { incoming } = (context.env ?? {}) as { incoming?: { socket?: { remoteAddress?: string } } }
  if (!incoming?.socket)
    throw new ConfigError(
      'remoteAddress',
      'hono.guard: this runtime does not say where a request comes from, and without that all strangers would share one limit: give remoteAddress, a function of the context',
    )
  return incoming.socket.remoteAddress
}
