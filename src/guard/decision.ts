import type { RequestClass } from '../http/request-class.ts'
import type { Clock } from '../time/clock.ts'
import type { AppliedLimit } from './applied-limit.ts'
import { classOf } from './classify.ts'
import type { Count, Refusable, Taken } from './counters.ts'
import type { GuardRequest } from './guard-request.ts'
import { type HeaderChoice, type LimitState, limitHeaders, limitStates } from './limit-headers.ts'
import type { Route } from './routes.ts'
import type { Rule } from './rules.ts'

type Headers = ReadonlyArray<readonly [name: string, value: string]>

/** The request may go on. In a dry run also where it would have been refused: then nothing was charged. */
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
  /** Lets go of the request, so that a decision that waits to be settled keeps nothing alive but itself. */
  release?(): PassDecision
}

/** The request is answered with this, and goes no further. */
export interface RefuseDecision {
  readonly action: 'refuse'
  readonly requestClass: RequestClass
  readonly limits: readonly LimitState[]
  /** 429 for a spent limit, 503 under load, 403 on a deny list. */
  readonly status: 403 | 429 | 503
  /** 0 with 403: waiting does not help. */
  readonly retryAfterSeconds: number
  readonly headers: Headers
  readonly body: string
}

export type GuardDecision = PassDecision | RefuseDecision

/** What decisions need of the guard that makes them. */
export interface DecisionNeeds {
  readonly clock: Clock
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
  readonly route: Route
  readonly rule: Rule
  place: Place | undefined
  /** Asked by `arrive`: nobody settles it, so it may hold nothing. */
  readonly arriving: boolean
  readonly #needs: DecisionNeeds
  #request: GuardRequest
  #limits: readonly AppliedLimit[] = NOTHING
  #taken: (Pick<Taken, 'counts'> & Partial<Pick<Taken, 'refund'>>) | undefined
  #class: RequestClass | undefined
  #settled = false
  #refunded = false

  constructor(needs: DecisionNeeds, request: GuardRequest, route: Route, arriving: boolean) {
    this.#needs = needs
    this.#request = request
    this.route = route
    this.arriving = arriving
    this.rule = route.ruleFor(request.method)
  }

  get request(): GuardRequest {
    return this.#request
  }

  /** Its places were taken. */
  charge(limits: readonly AppliedLimit[], taken: Taken): this {
    this.#limits = limits
    this.#taken = taken
    return this
  }

  /** It would have been refused, and passes because nothing is. */
  spare(limits: readonly AppliedLimit[], counts: readonly Count[]): this {
    this.#limits = limits
    this.#taken = { counts }
    return this
  }

  /** Lets go of the request, so that a decision that waits to be settled keeps nothing alive but itself. */
  release(): this {
    const { method, path } = this.#request
    void this.requestClass
    this.#request = { method, path, header: () => null }
    return this
  }

  get requestClass(): RequestClass {
    this.#class ??= classOf(this.#request, this.route.path, this.route.isApi)
    return this.#class
  }

  /** Pages and APIs; whatever changes something; and what somebody wrote a rule for, whatever the headers claim. */
  mayRefuse(): boolean {
    if (this.rule.own || !READING_METHODS.has(this.#request.method)) return true
    const requestClass = this.requestClass
    return requestClass === 'document' || requestClass === 'api'
  }

  get limits(): readonly LimitState[] {
    return this.#taken ? limitStates(this.#limits, this.#taken.counts, this.#needs.clock.now()) : NOTHING
  }

  get headers(): Headers {
    if (!this.#taken) return NOTHING
    return limitHeaders(this.#limits, this.#taken.counts, this.#needs.clock.now(), this.#needs.headers)
  }

  settle(status: number): void | Promise<void> {
    if (this.#settled) return
    this.#settled = true
    this.place?.leave()
    if (this.#needs.refundOn.has(status)) return this.refund()
  }

  refund(): void | Promise<void> {
    if (this.#refunded || !this.#taken?.refund) return
    this.#refunded = true
    const outcome = this.#taken.refund()
    if (typeof outcome !== 'boolean') return outcome.then((refunded) => this.#tell(refunded))
    this.#tell(outcome)
  }

  #tell(refunded: boolean): void {
    if (!refunded) return
    this.#needs.onRefunded(
      this,
      this.#limits.map(({ name }) => name),
    )
  }
}
