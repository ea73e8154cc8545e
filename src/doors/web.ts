import '../config/runtime.ts'

import { optionsOf } from '../config/options.ts'
import { answerOf, openDoor, settled, WEB_GUARD_TABLE, type WebGuardOptions } from './web-guard.ts'

export { guardOf, type WebGuardOptions } from './web-guard.ts'

/** A handler as web-standard runtimes and frameworks call it. */
export type WebHandler<R extends Request, Rest extends unknown[]> = (
  request: R,
  ...rest: Rest
) => Response | Promise<Response>

/** A guarded handler. */
export type Guarded<R extends Request, Rest extends unknown[]> = ((request: R, ...rest: Rest) => Promise<Response>) & {
  close(): Promise<void>
}

export const WEB_GUARD_OPTIONS = optionsOf('web.withGuard', WEB_GUARD_TABLE)

/**
 * Puts a guard in front of a handler: Bun, Deno, Hono's `c.req.raw`, a route. Refusals are answered without calling it.
 * The answer's status settles as soon as the handler returns; a handler that throws settles with 500, or with the status
 * of the Response it throws. Throws ConfigError for options that cannot be used.
 */
export function withGuard<R extends Request, Rest extends unknown[]>(
  handler: WebHandler<R, Rest>,
  options: WebGuardOptions,
): Guarded<R, Rest> {
  WEB_GUARD_OPTIONS.check(options)
  const door = openDoor(options)
  const guarded = async (request: R, ...rest: Rest) => {
    const decision = await door.guard.check(door.read(request, rest))
    if (decision.action === 'refuse') return answerOf(decision)
    return settled(decision, request, () => handler(request, ...rest))
  }
  return Object.assign(guarded, { close: () => door.guard.close() })
}
