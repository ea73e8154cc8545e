import { ConfigError } from '../errors/errors.ts'
import type { GuardDecision, PassDecision, RefuseDecision } from '../guard/decision.ts'
import type { Guard } from '../guard/guard.ts'
import type { GuardRequest } from '../guard/guard-request.ts'
import { defaultHoldfast } from '../instance/default-instance.ts'
import { createGuard } from '../instance/guard.ts'
import type { GuardOptions } from '../instance/guard-options.ts'

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

/** A handler as web-standard runtimes and frameworks call it. */
export type WebHandler<R extends Request, Rest extends unknown[]> = (
  request: R,
  ...rest: Rest
) => Response | Promise<Response>

/** A guarded handler. */
export type Guarded<R extends Request, Rest extends unknown[]> = ((request: R, ...rest: Rest) => Promise<Response>) & {
  close(): Promise<void>
}

/** Where a guarded handler finds the decision that let its request pass. */
const decisions = new WeakMap<Request, PassDecision>()

/** The decision that let this request pass: `limits`, and `refund()` for work that was not done. */
export function guardOf(request: Request): PassDecision | undefined {
  return decisions.get(request)
}

/**
 * Puts a guard in front of a handler: Bun, Deno, Hono's `c.req.raw`, a route. Refusals are answered without calling it.
 * The answer's status settles as soon as the handler returns; a handler that throws settles with 500.
 */
export function withGuard<R extends Request, Rest extends unknown[]>(
  handler: WebHandler<R, Rest>,
  options: WebGuardOptions,
): Guarded<R, Rest> {
  const door = openDoor(options)
  const guarded = async (request: R, ...rest: Rest) => {
    const decision = await door.guard.check(door.read(request, rest))
    if (decision.action === 'refuse') return answerOf(decision)
    return settled(decision, request, () => handler(request, ...rest))
  }
  return Object.assign(guarded, { close: () => door.guard.close() })
}

/** Runs a handler that was let in, settles with its status, and puts the limits on its answer. */
export async function settled(
  decision: PassDecision,
  request: Request,
  run: () => Response | Promise<Response>,
): Promise<Response> {
  decisions.set(request, decision)
  let response: Response
  try {
    response = await run()
  } catch (error) {
    await decision.settle(500)
    throw error
  }
  // Before the answer goes out, so that whoever reads it finds the places given back.
  await decision.settle(response.status)
  return withHeaders(response, decision.headers)
}

/** A guard, and how it reads requests. */
export interface Door {
  readonly guard: Guard
  read(request: Request, rest: readonly unknown[], unsettled?: boolean): GuardRequest
}

export function openDoor(options: WebGuardOptions): Door {
  const { guard, remoteAddress, userId, ...own } = options ?? {}
  if (typeof remoteAddress !== 'function')
    throw new ConfigError(
      'remoteAddress',
      'a web-standard request does not say where it comes from, and without that all strangers would share one limit: give remoteAddress, a function of the request',
    )
  return {
    guard: guard ?? createGuard(own.enabled === false ? own : { ...own, holdfast: own.holdfast ?? defaultHoldfast() }),
    read: (request, rest, unsettled = false) => ({
      method: request.method,
      path: targetOf(request.url),
      header: (name) => request.headers.get(name),
      remoteAddress: remoteAddress(request, ...rest),
      userId: userId?.(request, ...rest),
      unsettled,
    }),
  }
}

/** Path and query of a URL, without parsing it. */
function targetOf(url: string): string {
  const host = url.indexOf('://')
  const path = host === -1 ? 0 : url.indexOf('/', host + 3)
  return path === -1 ? '/' : url.slice(path)
}

export function answerOf(decision: RefuseDecision): Response {
  return new Response(decision.body, { status: decision.status, headers: entries(decision.headers) })
}

function withHeaders(response: Response, headers: GuardDecision['headers']): Response {
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

export const entries = (headers: GuardDecision['headers']) =>
  headers.map(([name, value]): [string, string] => [name, value])
