import '../config/runtime.ts'

import { optionsOf } from '../config/options.ts'
import type { PassDecision } from '../guard/decision.ts'
import { defaultHoldfast } from '../instance/default-instance.ts'
import type { Holdfast } from '../instance/holdfast.ts'
import { handOn, takeOver } from './guard-handover.ts'
import { InnerImages } from './inner-images.ts'
import type { Guarded, WebHandler } from './web.ts'
import {
  answerOf,
  entries,
  openDoor,
  settled,
  WEB_GUARD_TABLE,
  type WebGuardOptions,
  withHeaders,
} from './web-guard.ts'

export { actionAuth, type LoginHandlers, login, oneHoldfast, type PageAuthOptions, pageAuth } from './next-auth.ts'
export { guardOf, type WebGuardOptions } from './web-guard.ts'

/** `Holdfast.withAuth` of the default instance, for route handlers. It is looked up at each request. */
export const withAuth: Holdfast['withAuth'] =
  (handler, options) =>
  async (request, ...rest) =>
    defaultHoldfast().withAuth(handler, options)(request, ...rest)

export const NEXT_PROXY_OPTIONS = optionsOf('next.guardProxy', WEB_GUARD_TABLE)
export const NEXT_GUARD_OPTIONS = optionsOf('next.withGuard', WEB_GUARD_TABLE)

/** Hands a proxy's decision to the route behind it. The proxy always writes it, so what clients send under it is gone. */
const HANDED_ON = 'x-holdfast-decision'

/** A proxy of the app's own, behind the guard: what it answers is merged with what the guard says. */
export type NextProxy = (
  request: Request,
  // biome-ignore lint/suspicious/noExplicitAny: Next's event, and whatever it hands over beside it
  ...rest: any[]
) => Response | Promise<Response | undefined> | undefined

/** `guardProxy` as `proxy.ts` exports it. */
export interface GuardProxy {
  // biome-ignore lint/suspicious/noExplicitAny: the same
  (request: Request, ...rest: any[]): Promise<Response>
  close(): Promise<void>
}

/**
 * The guard as Next's `proxy.ts`: `export const proxy = guardProxy({ remoteAddress, rules }, next)`. It answers refusals;
 * then `next`, a proxy of the app's own, may rewrite, set headers or answer itself; and everything goes on with the
 * caller's limits on the answer. It never sees the status of what a route answers, so nothing is given back and no
 * request under way is counted here: a route wrapped in `withGuard` does that, with the decision that was made here. A
 * decision is good for one request, within 10 s. What Next's image optimizer fetches for itself counts for nobody. Give
 * Next `skipProxyUrlNormalize: true`, or it hides its router's headers from the proxy. Node.js only, as `proxy.ts` is.
 */
export function guardProxy(options: WebGuardOptions, next?: NextProxy): GuardProxy {
  NEXT_PROXY_OPTIONS.check(options)
  const door = openDoor(options)
  const images = new InnerImages()
  const proxy = async (request: Request, ...rest: unknown[]): Promise<Response> => {
    if (images.has(request)) return (await next?.(request, ...rest)) ?? goOn(request, [], [])
    const decision = await door.guard.check(door.read(request, rest, true))
    if (decision.action === 'refuse') return answerOf(decision)
    images.expect(request)
    let answer: Response | undefined
    try {
      answer = await next?.(request, ...rest)
    } catch (error) {
      await decision.settle(statusInNext(error))
      throw error
    }
    const limits = entries(decision.headers)
    if (!answer) return goOn(request, [[HANDED_ON, handOn(decision)]], limits)
    if (goesOn(answer)) return withRequestHeader(request, withHeaders(answer, limits), HANDED_ON, handOn(decision))
    // The proxy answered: no route will.
    await decision.settle(answer.status)
    return withHeaders(answer, limits)
  }
  return Object.assign(proxy, { close: () => door.guard.close() })
}

/** What `NextResponse.next` and `NextResponse.rewrite` are known by. */
const goesOn = (answer: Response) =>
  answer.headers.get('x-middleware-next') === '1' || answer.headers.has('x-middleware-rewrite')

const OVERRIDDEN = 'x-middleware-override-headers'
const overriding = (name: string) => `x-middleware-request-${name}`

/**
 * What `NextResponse.next({ request: { headers }, headers })` answers with: Next reads the request's new headers off the
 * answer. Written out, because this package does not depend on Next.
 */
function goOn(
  request: Request,
  added: ReadonlyArray<readonly [string, string]>,
  headers: ReadonlyArray<readonly [string, string]>,
): Response {
  let answer = new Response(null, {
    headers: [['x-middleware-next', '1'], ...headers.map(([n, v]): [string, string] => [n, v])],
  })
  for (const [name, value] of added) answer = withRequestHeader(request, answer, name, value)
  return answer
}

/** One more header for the request as the route behind sees it; those that the answer changes already stay changed. */
function withRequestHeader(request: Request, answer: Response, name: string, value: string): Response {
  const listed = answer.headers.get(OVERRIDDEN)
  // The list is of all headers that the route sees: what it does not name is gone.
  const names = new Set(listed === null ? [] : listed.split(',').map((one) => one.trim()))
  if (listed === null)
    for (const [known, held] of request.headers) {
      names.add(known)
      answer.headers.set(overriding(known), held)
    }
  names.add(name)
  answer.headers.set(OVERRIDDEN, [...names].filter((one) => one !== '').join(','))
  answer.headers.set(overriding(name), value)
  return answer
}

/**
 * Puts the guard around a route handler. Behind `guardProxy` the request was counted there, and this settles with the
 * answer's status; without it, it is `withGuard` of `holdfast/web`. `notFound()` and `redirect()` settle with their status.
 */
export function withGuard<R extends Request, Rest extends unknown[]>(
  handler: WebHandler<R, Rest>,
  options: WebGuardOptions,
): Guarded<R, Rest> {
  NEXT_GUARD_OPTIONS.check(options)
  const door = openDoor(options)
  const decide = async (request: R, rest: Rest) => {
    const id = request.headers.get(HANDED_ON)
    const handed: PassDecision | undefined = id === null ? undefined : takeOver(id)
    return handed ?? door.guard.check(door.read(request, rest))
  }
  const guarded = async (request: R, ...rest: Rest) => {
    const decision = await decide(request, rest)
    if (decision.action === 'refuse') return answerOf(decision)
    return settled(decision, request, () => handler(request, ...rest), statusInNext)
  }
  return Object.assign(guarded, { close: () => door.guard.close() })
}

/** The status that Next answers with where a route throws: `notFound()`, `redirect()` and the like throw what they mean. */
function statusInNext(thrown: unknown): number {
  if (thrown instanceof Response) return thrown.status
  const digest: unknown = (thrown as { digest?: unknown } | null | undefined)?.digest
  if (typeof digest !== 'string') return 500
  const [kind, ...parts] = digest.split(';')
  const status = Number(kind === 'NEXT_HTTP_ERROR_FALLBACK' ? parts[0] : kind === 'NEXT_REDIRECT' ? parts.at(-2) : 500)
  return Number.isInteger(status) && status >= 100 && status <= 599 ? status : 500
}
