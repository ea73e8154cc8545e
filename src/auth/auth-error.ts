import { brand } from '../errors/brand.ts'
import { HoldfastError } from '../errors/errors.ts'
import { REFUSAL_STATUS, type Refusal, type RefusalCode, wantsPage, writeRefusal } from '../http/refusal.ts'
import { retryAfterSeconds } from '../http/retry-after.ts'
import type { AuthRequest } from '../sessions/session.ts'
import type { Milliseconds } from '../time/clock.ts'
import { meaningOf, type RefusalReason } from './refusal-reasons.ts'

/** What the option `refusal` is told of a refusal. */
export interface Refused {
  readonly status: 401 | 403 | 429 | 503
  readonly code: string
  /** Why, from the closed list in docs/reference/events.md. For the developer: users need not know all of it. */
  readonly reason: string
  /** How long to wait, in whole seconds; only where waiting helps. */
  readonly retryAfterSeconds?: number
}

/** A refusal in the app's own words, page or language, or as a redirect to its sign-in; undefined keeps ours. */
export type RefusalWriter = (
  refused: Refused,
  request: AuthRequest,
) => { body: string; contentType: string } | { redirect: string } | undefined

/** How a refusal is made into an answer. */
export interface AuthErrorDetails {
  readonly reason?: RefusalReason
  readonly retryAfterMs?: Milliseconds | undefined
  readonly cause?: unknown
  /** The wall clock. */
  readonly now: () => Milliseconds
  /** The request that was refused, for whoever answers without naming one. */
  readonly request?: AuthRequest
  readonly write?: RefusalWriter | undefined
}

/**
 * Why a request may not go on. `code` and `status` go together: UNAUTHENTICATED 401 (no session, or a dead token),
 * FORBIDDEN 403 (not in the guild, or not permitted), RATE_LIMITED 429 (Discord throttles and nothing usable is held),
 * SERVICE_UNAVAILABLE 503 (Discord, or the app's session store, cannot be used and nothing usable is held). `reason` says
 * why, from the closed list in docs/reference/events.md. Message and reason are for developers; users get the text of
 * `toResponse()`.
 */
export class AuthError extends HoldfastError {
  static {
    brand(AuthError, 'AuthError')
  }

  declare readonly code: RefusalCode
  readonly status: 401 | 403 | 429 | 503
  readonly reason: RefusalReason
  declare private readonly details: AuthErrorDetails

  constructor(code: RefusalCode, message: string, details: AuthErrorDetails) {
    super(code, message, details)
    this.status = REFUSAL_STATUS[code]
    this.reason = details.reason ?? REASON_OF[code]
    // No private field: an error that is thrown again with the wait that is left of it is a copy (withRetryAfter).
    Object.defineProperty(this, 'details', { value: details, enumerable: false })
  }

  /**
   * The answer to send: what the instance's option `refusal` returns for it, else JSON `{ code, message,
   * retryAfterSeconds, retryAfterAt, status }`, or a small page where `request` is a browser's navigation (default: the
   * request that was refused, if it named its method). With `Cache-Control: no-store`, and `Retry-After` where waiting helps.
   */
  toResponse(request?: AuthRequest): Response {
    const { details } = this
    const asked = request ?? details.request
    const asPage = request !== undefined && wantsPage(request.method ?? 'GET', (name) => request.headers.get(name))
    const words = meaningOf(this.reason)
    const ours = writeRefusal(this.code, { retryAfterMs: this.retryAfterMs, now: details.now(), asPage, words })
    return (asked && inOwnWords(this, details.write, asked, ours)) ?? answer(ours.status, ours.headers, ours.body)
  }
}

/** Why, where whoever made the error did not say. */
const REASON_OF = {
  UNAUTHENTICATED: 'no-session',
  FORBIDDEN: 'not-in-guild',
  RATE_LIMITED: 'discord-throttles',
  SERVICE_UNAVAILABLE: 'discord-unavailable',
} as const satisfies Record<RefusalCode, RefusalReason>

/** What the app makes of a refusal. An app that fails here must not turn a refusal into something else: then it is ours. */
function inOwnWords(
  { status, code, reason, retryAfterMs }: AuthError,
  write: RefusalWriter | undefined,
  request: AuthRequest,
  ours: Refusal,
): Response | undefined {
  if (!write) return undefined
  try {
    const wait = retryAfterMs === undefined ? {} : { retryAfterSeconds: retryAfterSeconds(retryAfterMs) }
    const own = write({ status, code, reason, ...wait }, request)
    if (!own) return undefined
    // See Other: a form that was refused is not sent again to the sign-in.
    if ('redirect' in own) return answer(303, [['cache-control', 'no-store']], null, ['location', own.redirect])
    return answer(status, ours.headers, own.body, ['content-type', own.contentType])
  } catch {
    return undefined
  }
}

function answer(
  status: number,
  headers: Refusal['headers'],
  body: string | null,
  instead?: readonly [name: string, value: string],
): Response {
  if (body !== null && typeof body !== 'string') throw new TypeError('a body is a string')
  const all = new Headers(headers.map(([name, value]): [string, string] => [name, value]))
  if (instead) all.set(...instead)
  return new Response(body, { status, headers: all })
}

/**
 * Whether an error is a refusal of `requireAuth`, of this copy of the package or of another one in the process. The same
 * as `error instanceof AuthError`.
 */
export function isAuthError(error: unknown): error is AuthError {
  return error instanceof AuthError
}
