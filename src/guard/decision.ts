import { type RefusalCode, writeRefusal } from '../http/refusal.ts'
import type { RequestClass } from '../http/request-class.ts'
import type { Clock, Milliseconds } from '../time/clock.ts'
import { classOf } from './classify.ts'
import type { CallerKind, Count, Refusable, Taken } from './counters.ts'
import type { GuardRequest } from './guard-request.ts'
import { type HeaderChoice, type LimitState, limitHeaders, limitStates, refusalHeaders } from './limit-headers.ts'
import { type Route, ruleFor } from './routes.ts'
import type { Quota, Rule } from './rules.ts'

type Headers = ReadonlyArray<readonly [name: string, value: string]>

/** The request may go on. */
export interface PassDecision {
  readonly action: 'pass'
  readonly requestClass: RequestClass
  /** Where the caller stands in each limit; empty where none holds. */
  readonly limits: readonly LimitState[]
  /** To be put on the answer. */
  readonly headers: Headers
  /** To be called once, when the answer is done, with its status: gives the places back for a status of `refundOn`. */
  settle(status: number): void | Promise<void>
  /** For a handler that knows the work was not done. Whoever comes first, this or `settle`, gives back; once. */
  refund(): void | Promise<void>
}

/** The request is answered with this, and goes no further. */
export interface RefuseDecision {
  readonly action: 'refuse'
  readonly requestClass: RequestClass
  readonly limits: readonly LimitState[]
  readonly status: 429 | 503
  readonly retryAfterSeconds: number
  readonly headers: Headers
  readonly body: string
}

export type GuardDecision = PassDecision | RefuseDecision

/** What decisions need of the guard that makes them. */
export interface DecisionNeeds {
  readonly clock: Clock
  readonly apiPrefixes: readonly string[]
  readonly refundOn: ReadonlySet<number>
  readonly headers: HeaderChoice
  readonly onRefunded: (asked: Asked, limits: readonly string[]) => void
}

const NOTHING: readonly never[] = Object.freeze([])
const READING_METHODS = new Set(['GET', 'HEAD'])

/** A request under way among those that are counted. */
export interface Place {
  leave(): void
}

/**
 * A request that is being decided about, and then the decision that lets it pass: one object, because most requests
 * pass and nobody looks at more than `action`. What is costly is found out when somebody asks for it.
 */
export class Asked implements PassDecision, Refusable {
  readonly action = 'pass'
  readonly request: GuardRequest
  readonly route: Route
  readonly rule: Rule
  place: Place | undefined
  readonly #needs: DecisionNeeds
  #quotas: readonly Quota[] = NOTHING
  #taken: Taken | undefined
  #class: RequestClass | undefined
  #settled = false
  #refunded = false

  constructor(needs: DecisionNeeds, request: GuardRequest, route: Route) {
    this.#needs = needs
    this.request = request
    this.route = route
    this.rule = ruleFor(route, request.method)
  }

  /** Its places were taken. */
  charge(quotas: readonly Quota[], taken: Taken): this {
    this.#quotas = quotas
    this.#taken = taken
    return this
  }

  get requestClass(): RequestClass {
    this.#class ??= classOf(this.request, this.route.path, this.#needs.apiPrefixes)
    return this.#class
  }

  /** Pages and APIs; whatever changes something; and paths that somebody wrote a rule for, whatever the headers claim. */
  mayRefuse(): boolean {
    if (this.rule.own || !READING_METHODS.has(this.request.method)) return true
    const requestClass = this.requestClass
    return requestClass === 'document' || requestClass === 'api'
  }

  get limits(): readonly LimitState[] {
    return this.#taken ? limitStates(this.#quotas, this.#taken.counts, this.#needs.clock.now()) : NOTHING
  }

  get headers(): Headers {
    if (!this.#taken) return NOTHING
    return limitHeaders(this.#quotas, this.#taken.counts, this.#needs.clock.now(), this.#needs.headers)
  }

  settle(status: number): void | Promise<void> {
    if (this.#settled) return
    this.#settled = true
    this.place?.leave()
    if (this.#needs.refundOn.has(status)) return this.refund()
  }

  refund(): void | Promise<void> {
    if (this.#refunded || !this.#taken) return
    this.#refunded = true
    const outcome = this.#taken.refund()
    if (typeof outcome !== 'boolean') return outcome.then((refunded) => this.#tell(refunded))
    this.#tell(outcome)
  }

  #tell(refunded: boolean): void {
    if (!refunded) return
    this.#needs.onRefunded(
      this,
      this.#quotas.map(({ name }) => name),
    )
  }
}

/** Why and until when a request is turned away. */
export interface RefusalReason {
  readonly code: Extract<RefusalCode, 'RATE_LIMITED' | 'SERVICE_UNAVAILABLE'>
  readonly retryAfterSeconds: number
  readonly now: Milliseconds
  /** Empty where no limit refuses. */
  readonly quotas: readonly Quota[]
  readonly counts: readonly Count[]
  readonly kind: CallerKind
}

/** A request that is turned away. One source for status, headers and body; written when somebody reads it. */
export class Refused implements RefuseDecision {
  readonly action = 'refuse'
  readonly requestClass: RequestClass
  readonly status: 429 | 503
  readonly retryAfterSeconds: number
  readonly #needs: DecisionNeeds
  readonly #asked: Asked
  readonly #reason: RefusalReason
  #written: ReturnType<typeof writeRefusal> | undefined

  constructor(needs: DecisionNeeds, asked: Asked, reason: RefusalReason) {
    this.#needs = needs
    this.#asked = asked
    this.#reason = reason
    this.requestClass = asked.requestClass
    this.status = reason.code === 'RATE_LIMITED' ? 429 : 503
    this.retryAfterSeconds = reason.retryAfterSeconds
  }

  get limits(): readonly LimitState[] {
    const { quotas, counts, now } = this.#reason
    return limitStates(quotas, counts, now)
  }

  get headers(): Headers {
    const { quotas, counts, now, kind } = this.#reason
    const choice = this.#needs.headers
    return [
      ...this.#write().headers,
      ...limitHeaders(quotas, counts, now, choice),
      ...refusalHeaders(quotas, counts, kind, choice),
    ]
  }

  get body(): string {
    return this.#write().body
  }

  #write() {
    const { code, retryAfterSeconds, now } = this.#reason
    this.#written ??= writeRefusal(code, { retryAfterSeconds, now, asPage: this.#isNavigation() })
    return this.#written
  }

  /** A form that was sent shows its answer as a page, too. */
  #isNavigation(): boolean {
    if (this.requestClass === 'document') return true
    if (this.requestClass === 'api') return false
    const { request } = this.#asked
    return request.header('sec-fetch-mode') === 'navigate' && request.header('sec-fetch-dest') === 'document'
  }
}
