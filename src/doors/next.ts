import type { PassDecision } from '../guard/decision.ts'
import { defaultHoldfast } from '../instance/default-instance.ts'
import type { Holdfast } from '../instance/holdfast.ts'
import { randomId } from '../secrets/key-ring.ts'
import {
  answerOf,
  entries,
  type Guarded,
  openDoor,
  settled,
  type WebGuardOptions,
  type WebHandler,
  withGuard as withGuardAlone,
} from './web.ts'

export { actionAuth, type LoginHandlers, login, oneHoldfast, type PageAuthOptions, pageAuth } from './next-auth.ts'
export { guardOf, type WebGuardOptions } from './web.ts'

/** `Holdfast.withAuth` of the default instance, for route handlers. It is looked up at each request. */
export const withAuth: Holdfast['withAuth'] =
  (handler, options) =>
  async (request, ...rest) =>
    defaultHoldfast().withAuth(handler, options)(request, ...rest)

/** Hands a proxy's decision to the route behind it. The proxy always writes it, so what clients send under it is gone. */
const HANDED_ON = 'x-holdfast-decision'
/** Decisions that no route has taken yet; of more, the oldest are forgotten and keep what they charged. */
const MOST_HANDED_ON = 10_000

/** Under a global symbol: Next bundles the proxy and the routes apart, into one process. */
const DECISIONS = Symbol.for('holdfast.next-decisions')
const processWide = globalThis as { [DECISIONS]?: Map<string, PassDecision> }

function handedOn(): Map<string, PassDecision> {
  processWide[DECISIONS] ??= new Map()
  return processWide[DECISIONS]
}

/**
 * The guard as Next's `proxy.ts`: `export const proxy = guardProxy({ remoteAddress, rules })`. It answers refusals, and
 * lets everything else go on with the caller's limits on the answer. It never sees the answer's status, so nothing is
 * given back and no request under way is counted here: a route wrapped in `withGuard` does that, with the decision that
 * was made here. Give the proxy `skipProxyUrlNormalize: true`, or Next hides its router's headers from it.
 */
export function guardProxy(
  options: WebGuardOptions,
): ((request: Request) => Promise<Response>) & { close(): Promise<void> } {
  const door = openDoor(options)
  const proxy = async (request: Request) => {
    const decision = await door.guard.check(door.read(request, [], true))
    if (decision.action === 'refuse') return answerOf(decision)
    const id = randomId()
    const waiting = handedOn()
    waiting.set(id, decision)
    if (waiting.size > MOST_HANDED_ON) waiting.delete(waiting.keys().next().value!)
    return goOn(request, [[HANDED_ON, id]], entries(decision.headers))
  }
  return Object.assign(proxy, { close: () => door.guard.close() })
}

/**
 * What `NextResponse.next({ request: { headers }, headers })` answers with: Next reads the request's new headers off the
 * answer. Written out, because this package does not depend on Next.
 */
function goOn(
  request: Request,
  added: ReadonlyArray<readonly [string, string]>,
  headers: ReadonlyArray<readonly [string, string]>,
): Response {
  const names = new Map([...request.headers])
  for (const [name, value] of added) names.set(name, value)
  const answer = new Headers([
    ['x-middleware-next', '1'],
    ['x-middleware-override-headers', [...names.keys()].join(',')],
  ])
  for (const [name, value] of names) answer.set(`x-middleware-request-${name}`, value)
  for (const [name, value] of headers) answer.set(name, value)
  return new Response(null, { headers: answer })
}

/**
 * Puts the guard around a route handler. Behind `guardProxy` the request was counted there, and this settles with the
 * answer's status; without it, it is `withGuard` of `holdfast/web`.
 */
export function withGuard<R extends Request, Rest extends unknown[]>(
  handler: WebHandler<R, Rest>,
  options: WebGuardOptions,
): Guarded<R, Rest> {
  const alone = withGuardAlone(handler, options)
  const guarded = async (request: R, ...rest: Rest) => {
    const id = request.headers.get(HANDED_ON)
    const decision = id === null ? undefined : handedOn().get(id)
    if (id === null || !decision) return alone(request, ...rest)
    handedOn().delete(id)
    return settled(decision, request, () => handler(request, ...rest))
  }
  return Object.assign(guarded, { close: alone.close })
}
