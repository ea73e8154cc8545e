import { aFunction } from '../config/accepted.ts'
import type { OptionTable } from '../config/options.ts'
import type { GuardDecision, PassDecision, RefuseDecision } from '../guard/decision.ts'
import type { Guard } from '../guard/guard.ts'
import type { GuardRequest } from '../guard/guard-request.ts'
import { GUARD_TABLE, type GuardOptions } from '../instance/guard-options.ts'
import { GUARD_OPTION, guardOfDoor } from './guard-option.ts'

export interface WebGuardOptions extends Omit<GuardOptions, 'remoteAddress'> {
  /** A guard that is there already; of the other options only `remoteAddress` and `userId` are then read. */
  guard?: Guard
  /**
   * Who is at the other end of the connection. A web-standard request does not say, so this is required: without it all
   * strangers would share one limit. For a server behind a proxy of its own machine: `() => '127.0.0.1'` with
   * `trustProxy: 'loopback'`.
   */
  // biome-ignore lint/suspicious/noExplicitAny: what runtimes hand over beside the request has their types
  remoteAddress: (request: Request, ...rest: any[]) => string | undefined
  /** The user, where something in front has verified who it is. */
  // biome-ignore lint/suspicious/noExplicitAny: the same
  userId?: (request: Request, ...rest: any[]) => string | undefined
}

/** The options of a door for web-standard requests. */
export const WEB_GUARD_TABLE = {
  ...GUARD_TABLE,
  guard: GUARD_OPTION,
  remoteAddress: {
    means: 'who is at the other end of the connection; a web-standard request does not say',
    accepts: aFunction('a function of the request'),
    required: true,
  },
  userId: {
    means: 'the user, where something in front verified who it is',
    accepts: aFunction('a function of the request'),
  },
} satisfies OptionTable<keyof WebGuardOptions>

/** A guard, and how it reads requests. */
export interface Door {
  readonly guard: Guard
  read(request: Request, rest: readonly unknown[], unsettled?: boolean): GuardRequest
}

export function openDoor(options: WebGuardOptions): Door {
  const { guard, remoteAddress, userId, ...own } = options
  return {
    guard: guardOfDoor(guard, own),
    read: (request, rest, unsettled = false) => ({
      method: request.method,
      path: targetOf(request.url),
      header: (name) => request.headers.get(name),
      allHeaders: () => new Headers(request.headers),
      remoteAddress: remoteAddress(request, ...rest),
      userId: userId?.(request, ...rest),
      basePath: basePathOf(request),
      unsettled,
    }),
  }
}

/** Where Next mounts the app; its requests say so. */
function basePathOf(request: Request): string | undefined {
  const { basePath } = (request as { nextUrl?: { basePath?: unknown } }).nextUrl ?? {}
  return typeof basePath === 'string' && basePath !== '' ? basePath : undefined
}

/** Path and query of a URL, without parsing it. */
export function targetOf(url: string): string {
  const host = url.indexOf('://')
  const path = host === -1 ? 0 : url.indexOf('/', host + 3)
  return path === -1 ? '/' : url.slice(path)
}

export function answerOf(decision: RefuseDecision): Response {
  return new Response(decision.body, { status: decision.status, headers: entries(decision.headers) })
}

export const entries = (headers: GuardDecision['headers']) =>
  headers.map(([name, value]): [string, string] => [name, value])

/** What a handler threw, as the status that its framework answers with: a Response is one, and so is what the caller knows. */
export type StatusOfThrown = (thrown: unknown) => number

const statusOfThrown: StatusOfThrown = (thrown) => (thrown instanceof Response ? thrown.status : 500)

/** Where a guarded handler finds the decision that let its request pass. */
const decisions = new WeakMap<Request, PassDecision>()

/** The decision that let this request pass: `limits`, and `refund()` for work that was not done. */
export function guardOf(request: Request): PassDecision | undefined {
  return decisions.get(request)
}

/**
 * Runs a handler that was let in, settles with its status, and puts the limits on its answer. A client that leaves ends
 * the request's place among those under way; its status then gives nothing back.
 */
export async function settled(
  decision: PassDecision,
  request: Request,
  run: () => Response | Promise<Response>,
  status: StatusOfThrown = statusOfThrown,
): Promise<Response> {
  decisions.set(request, decision)
  const { signal } = request
  const leave = () => void decision.settle(0)
  if (signal.aborted) {
    leave()
    return nobodyWaits()
  }
  signal.addEventListener('abort', leave, { once: true })
  try {
    // A handler that returns nothing is an error of its own, which its framework tells of.
    const response: Response | undefined = await run()
    // Before the answer goes out, so that whoever reads it finds the places given back.
    await decision.settle(response?.status ?? 500)
    return response === undefined ? (response as never) : withHeaders(response, decision.headers)
  } catch (thrown) {
    await decision.settle(status(thrown))
    throw thrown instanceof Response ? withHeaders(thrown, decision.headers) : thrown
  } finally {
    signal.removeEventListener('abort', leave)
  }
}

/** Of a request whose client left before its handler began, which then does not run. Nobody reads it. */
export const nobodyWaits = () => new Response(null, { status: 499 })

export function withHeaders(response: Response, headers: GuardDecision['headers']): Response {
  try {
    for (const [name, value] of headers) response.headers.set(name, value)
    return response
  } catch {
    // Answers of fetch and redirects cannot be written to.
    const { status, statusText } = response
    const changed = new Headers(response.headers)
    for (const [name, value] of headers) changed.set(name, value)
    return new Response(response.body, { status, statusText, headers: changed })
  }
}
