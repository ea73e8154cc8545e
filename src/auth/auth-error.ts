import { brand } from '../errors/brand.ts'
import { HoldfastError } from '../errors/errors.ts'
import { REFUSAL_STATUS, type RefusalCode, wantsPage, writeRefusal } from '../http/refusal.ts'
import type { AuthRequest } from '../sessions/session.ts'
import type { Milliseconds } from '../time/clock.ts'

/**
 * Why a request may not go on. `code` and `status` go together: UNAUTHENTICATED 401 (no session, or a dead token),
 * FORBIDDEN 403 (not in the guild, or not permitted), RATE_LIMITED 429 (Discord throttles and nothing usable is held),
 * SERVICE_UNAVAILABLE 503 (Discord cannot be used and nothing usable is held). The message is for developers; users get
 * the text of `toResponse()`.
 */
export class AuthError extends HoldfastError {
  static {
    brand(AuthError, 'AuthError')
  }

  declare readonly code: RefusalCode
  readonly status: 401 | 403 | 429 | 503
  declare private readonly now: () => Milliseconds

  constructor(
    code: RefusalCode,
    message: string,
    details: {
      readonly retryAfterMs?: Milliseconds | undefined
      readonly cause?: unknown
      readonly now: () => Milliseconds
    },
  ) {
    super(code, message, details)
    this.status = REFUSAL_STATUS[code]
    // No private field: an error that is thrown again with the wait that is left of it is a copy (withRetryAfter).
    Object.defineProperty(this, 'now', { value: details.now, enumerable: false })
  }

  /**
   * The answer to send: JSON `{ code, message, retryAfterSeconds, retryAfterAt, status }`, or a small page where
   * `request` is a browser's navigation. With `Cache-Control: no-store`, and `Retry-After` where waiting helps.
   */
  toResponse(request?: AuthRequest): Response {
    const asPage = request !== undefined && wantsPage(request.method ?? 'GET', (name) => request.headers.get(name))
    const refusal = writeRefusal(this.code, { retryAfterMs: this.retryAfterMs, now: this.now(), asPage })
    return new Response(refusal.body, {
      status: refusal.status,
      headers: refusal.headers.map(([name, value]): [string, string] => [name, value]),
    })
  }
}

/**
 * Whether an error is a refusal of `requireAuth`, of this copy of the package or of another one in the process. The same
 * as `error instanceof AuthError`.
 */
export function isAuthError(error: unknown): error is AuthError {
  return error instanceof AuthError
}
