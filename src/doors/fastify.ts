import '../config/runtime.ts'

import type {
  FastifyInstance,
  FastifyPluginAsync,
  FastifyReply,
  FastifyRequest,
  preHandlerAsyncHookHandler,
} from 'fastify'
import type { Auth } from '../auth/auth.ts'
import { anObject, anyOf, yesOrNo } from '../config/accepted.ts'
import { BASE_PATH } from '../config/login.ts'
import { optionsOf } from '../config/options.ts'
import type { PassDecision } from '../guard/decision.ts'
import type { Guard } from '../guard/guard.ts'
import type { GuardRequest } from '../guard/guard-request.ts'
import type { GuardOptions } from '../instance/guard-options.ts'
import type { Holdfast } from '../instance/holdfast.ts'
import { AUTH_DOOR_TABLE, authenticate, type DoorAuthOptions } from './authenticate.ts'
import { guardOfDoor } from './guard-option.ts'
import { answerLogin, type LoginDoorOptions } from './login-options.ts'
import { headersOf, webRequestOf } from './node-exchange.ts'
import { isOver } from './node-guard.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** Behind `app.requireAuth()`: who asks, and what they may see. With `guilds: false` only `user` is there. */
    auth: Auth
    /** With `guard`: the decision that let the request pass. */
    guard: PassDecision
  }
  interface FastifyInstance {
    /** A preHandler: `app.get('/', { preHandler: app.requireAuth() }, …)`. `guild` gets Fastify's request. */
    // biome-ignore lint/suspicious/noExplicitAny: the request that `guild` gets has the types of its route
    requireAuth(options?: DoorAuthOptions<any>): preHandlerAsyncHookHandler
  }
}

export interface FastifyHoldfastOptions {
  /** Default: the default instance. */
  holdfast?: Holdfast
  /** Rate limits and load shedding for every route of the app; a guard that is there already, or how to make one. */
  guard?: Guard | Omit<GuardOptions, 'holdfast'>
  /** The login's routes. Default none. */
  login?: boolean | Pick<LoginDoorOptions, 'basePath'>
}

export const FASTIFY_AUTH_OPTIONS = optionsOf('fastify.requireAuth', AUTH_DOOR_TABLE)
export const FASTIFY_OPTIONS = optionsOf('fastify.holdfast', {
  holdfast: {
    means: 'whose sessions',
    accepts: anObject('what createHoldfast() returned'),
    preset: 'the default instance',
  },
  guard: { means: 'limits and shedding for every route', accepts: anObject('a guard, or its options'), preset: 'none' },
  login: {
    means: "the login's routes",
    accepts: anyOf(yesOrNo, anObject('an object with basePath')),
    preset: 'none',
    within: {
      basePath: { means: "what the login's paths begin with", accepts: BASE_PATH, preset: 'login.basePath' },
    },
  },
})

const plugin: FastifyPluginAsync<FastifyHoldfastOptions> = async (app, options) => {
  // Fastify adds its own to what the plugin is given.
  const { holdfast, guard, login } = options
  FASTIFY_OPTIONS.check({
    ...(holdfast && { holdfast }),
    ...(guard && { guard }),
    ...(login !== undefined && { login }),
  })
  const own = holdfast === undefined ? {} : { holdfast }
  app.decorateRequest('auth')
  app.decorateRequest('guard')
  app.decorate('requireAuth', (asked: DoorAuthOptions<FastifyRequest> = {}): preHandlerAsyncHookHandler => {
    FASTIFY_AUTH_OPTIONS.check(asked)
    return async (request, reply) => {
      const outcome = await authenticate({ ...own, ...asked }, authRequest(request), request)
      if (outcome instanceof Response) return send(outcome, reply)
      request.auth = outcome
    }
  })
  if (guard) guardAll(app, 'check' in guard ? guard : guardOfDoor(undefined, { ...guard, ...own }), !('check' in guard))
  if (login) loginRoutes(app, { ...own, ...(typeof login === 'object' ? login : {}) })
}

/** `app.register(holdfast, { holdfast, guard: { rules }, login: true })`: for the whole app, not only for this plugin. */
export const holdfast: FastifyPluginAsync<FastifyHoldfastOptions> = Object.assign(plugin, {
  // What the package fastify-plugin does: hooks and decorators are the app's.
  [Symbol.for('skip-override')]: true,
  [Symbol.for('fastify.display-name')]: 'holdfast',
  [Symbol.for('plugin-meta')]: { fastify: '5.x', name: 'holdfast' },
})

function guardAll(app: FastifyInstance, guard: Guard, isOwn: boolean): void {
  app.addHook('onRequest', async (request, reply) => {
    // Its client left while a hook in front was waiting: no end of it will be told, so nothing may begin.
    if (isOver(reply.raw)) return reply.hijack()
    let gone = false
    const leave = () => {
      gone = true
    }
    reply.raw.once('close', leave)
    const decision = await guard.check(guardRequest(request))
    if (gone || reply.sent) {
      if (decision.action === 'pass') void decision.settle(0)
      // Else Fastify would go on to the handler.
      return reply.hijack()
    }
    for (const [name, value] of decision.headers) reply.header(name, value)
    if (decision.action === 'refuse') return reply.code(decision.status).send(decision.body)
    request.guard = decision
    // An answer that was cut off was not the one it says: its status gives nothing back.
    reply.raw.once('close', () => {
      const settled = decision.settle(reply.raw.writableFinished ? reply.raw.statusCode : 0)
      // What a store says of a refund is nobody's to hear here; a misuse of the store is told by the next decision.
      if (settled) settled.catch(() => {})
    })
    return undefined
  })
  // Before the answer goes out, so that whoever reads it finds the places given back.
  app.addHook('onSend', async (request, reply, payload) => {
    // A stream is under way until it ends.
    if (isStream(payload)) return
    await (request.guard as PassDecision | undefined)?.settle(reply.statusCode)
  })
  if (isOwn) app.addHook('onClose', () => guard.close())
}

/** What Fastify sends bit by bit: streams of Node and of the web, and a Response, whose body is one. */
const isStream = (payload: unknown) =>
  payload instanceof Response ||
  payload instanceof ReadableStream ||
  typeof (payload as { pipe?: unknown } | null | undefined)?.pipe === 'function'

/** Before Fastify parses: the login reads bytes, and what is for somebody else still has all of its own. */
function loginRoutes(app: FastifyInstance, options: LoginDoorOptions): void {
  app.addHook('onRequest', async (request, reply) => {
    const made = webRequestOf(request.raw)
    const answer = made && (await answerLogin(options, made.request))
    return answer && send(answer, reply)
  })
}

async function send(answer: Response, reply: FastifyReply): Promise<FastifyReply> {
  const cookies = answer.headers.getSetCookie()
  for (const [name, value] of answer.headers) if (name !== 'set-cookie') reply.header(name, value)
  if (cookies.length > 0) reply.header('set-cookie', cookies)
  const body = await answer.text()
  reply.code(answer.status)
  // Fastify would give an empty text a type.
  return body === '' ? reply.send() : reply.send(body)
}

function authRequest(request: FastifyRequest) {
  const { method, headers } = request
  return { method, headers: headersOf(headers), url: `http://${headers.host ?? 'localhost'}${request.url}` }
}

function guardRequest(request: FastifyRequest): GuardRequest {
  const { raw, ip } = request
  return {
    method: request.method,
    path: raw.url ?? '/',
    header: (name) => {
      const value = request.headers[name]
      return typeof value === 'string' ? value : value === undefined ? null : value.join(', ')
    },
    allHeaders: () => headersOf(request.headers),
    remoteAddress: raw.socket.remoteAddress,
    // With Fastify's own `trustProxy` this is who it found.
    ...(ip !== raw.socket.remoteAddress && { address: ip }),
  }
}
