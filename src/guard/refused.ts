import { REFUSAL_STATUS, type RefusalCode, writeRefusal } from '../http/refusal.ts'
import type { RequestClass } from '../http/request-class.ts'
import type { Milliseconds } from '../time/clock.ts'
import type { AppliedLimit } from './applied-limit.ts'
import type { CallerKind, Count } from './counters.ts'
import type { Asked, RefuseDecision } from './decision.ts'
import type { GuardRequest } from './guard-request.ts'
import { type HeaderChoice, type LimitState, limitHeaders, limitStates, refusalHeaders } from './limit-headers.ts'

/** What a refusal of the app's own is told. */
export interface RefusedRequest {
  readonly status: 403 | 429 | 503
  /** 0 with 403. */
  readonly retryAfterSeconds: number
  readonly requestClass: RequestClass
}

/** A refusal in the app's own words, page or language; undefined keeps ours. Status and headers stay. */
export type OwnRefusal = (
  refused: RefusedRequest,
  request: GuardRequest,
) => { readonly body: string; readonly contentType: string } | undefined

/** Why and until when a request is turned away. */
export interface RefusalReason {
  readonly code: Exclude<RefusalCode, 'UNAUTHENTICATED'>
  /** 0 where waiting does not help. */
  readonly retryAfterSeconds: number
  /** Empty where no limit refuses. */
  readonly limits: readonly AppliedLimit[]
  readonly counts: readonly Count[]
  readonly kind: CallerKind
}

/** What refusals need of the guard that makes them. */
export interface RefusalNeeds {
  readonly headers: HeaderChoice
  readonly refusal: OwnRefusal | undefined
  /** Origins whose pages may read refusals. */
  readonly corsOrigins: ReadonlySet<string>
  readonly onRefusalFailed: (error: unknown) => void
}

const EXPOSED = 'Retry-After, RateLimit, RateLimit-Policy, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset'

/** A request that is turned away. One source for status, headers and body; written when somebody reads it. */
export class Refused implements RefuseDecision {
  readonly action = 'refuse'
  readonly requestClass: RequestClass
  readonly status: 403 | 429 | 503
  readonly retryAfterSeconds: number
  readonly #needs: RefusalNeeds
  readonly #asked: Asked
  readonly #reason: RefusalReason
  readonly #now: Milliseconds
  #written: ReturnType<typeof writeRefusal> | undefined

  constructor(needs: RefusalNeeds, asked: Asked, reason: RefusalReason, now: Milliseconds) {
    this.#needs = needs
    this.#asked = asked
    this.#reason = reason
    this.#now = now
    this.requestClass = asked.requestClass
    this.status = REFUSAL_STATUS[reason.code]
    this.retryAfterSeconds = reason.retryAfterSeconds
  }

  get limits(): readonly LimitState[] {
    const { limits, counts } = this.#reason
    return limitStates(limits, counts, this.#now)
  }

  get headers(): ReadonlyArray<readonly [name: string, value: string]> {
    const { limits, counts, kind } = this.#reason
    const choice = this.#needs.headers
    return [
      ...this.#write().headers,
      ...limitHeaders(limits, counts, this.#now, choice),
      ...refusalHeaders(limits, counts, kind, choice),
      ...this.#corsHeaders(),
    ]
  }

  get body(): string {
    return this.#write().body
  }

  #write() {
    this.#written ??= this.#inOwnWords(
      writeRefusal(this.#reason.code, {
        ...(this.retryAfterSeconds > 0 && { retryAfterSeconds: this.retryAfterSeconds }),
        now: this.#now,
        asPage: this.#isNavigation(),
      }),
    )
    return this.#written
  }

  #inOwnWords(ours: ReturnType<typeof writeRefusal>): ReturnType<typeof writeRefusal> {
    const { refusal, onRefusalFailed } = this.#needs
    if (!refusal) return ours
    const { status, retryAfterSeconds, requestClass } = this
    try {
      const own = refusal({ status, retryAfterSeconds, requestClass }, this.#asked.request)
      if (own === undefined) return ours
      if (typeof own?.body !== 'string' || typeof own.contentType !== 'string')
        throw new TypeError('refusal must return { body, contentType }, both texts, or undefined')
      const headers = ours.headers.map(([name, value]) =>
        name === 'content-type' ? ([name, own.contentType] as const) : ([name, value] as const),
      )
      return { ...ours, headers, body: own.body }
    } catch (error) {
      // Words that cannot be found are no reason to let somebody in, or to answer 500.
      onRefusalFailed(error)
      return ours
    }
  }

  /** A refusal in front of the app's own CORS headers could not be read by the page that is to wait. */
  #corsHeaders(): Array<readonly [string, string]> {
    const { corsOrigins } = this.#needs
    if (corsOrigins.size === 0) return []
    const origin = this.#asked.request.header('origin')
    const readable = origin !== null && corsOrigins.has(origin)
    return [
      ['vary', 'Origin'],
      ...(readable
        ? ([
            ['access-control-allow-origin', origin],
            ['access-control-allow-credentials', 'true'],
            ['access-control-expose-headers', EXPOSED],
          ] as const)
        : []),
    ]
  }

  /** A form that was sent shows its answer as a page, too. */
  #isNavigation(): boolean {
    if (this.requestClass === 'document') return true
    if (this.requestClass === 'api') return false
    const { request } = this.#asked
    return request.header('sec-fetch-mode') === 'navigate' && request.header('sec-fetch-dest') === 'document'
  }
}
