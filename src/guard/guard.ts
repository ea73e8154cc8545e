import type { Milliseconds } from '../time/clock.ts'
import type { AppliedLimit } from './applied-limit.ts'
import type { Listed } from './caller-lists.ts'
import type { Charge, Charging } from './charging.ts'
import type { ClientAddress, ClientAddresses } from './client-address.ts'
import type { Refusable, Taken } from './counters.ts'
import { Asked, type DecisionNeeds, type GuardDecision, type PassDecision } from './decision.ts'
import type { GuardRequest, Identity } from './guard-request.ts'
import type { GuardTelling, GuardTold } from './guard-telling.ts'
import { type Counted, type Identification, isText } from './identification.ts'
import type { LimitState } from './limit-headers.ts'
import type { LoadLevel } from './load-level.ts'
import type { LoadShedding } from './load-shedding.ts'
import type { Lookup, Whom } from './lookup.ts'
import type { MemoryCounters } from './memory-counters.ts'
import { type RefusalNeeds, type RefusalReason, Refused } from './refused.ts'
import type { Routes } from './routes.ts'

/** Decides about each request: may it come in now? */
export interface Guard {
  /**
   * Before anyone is known: load shedding, denied addresses, and a ceiling per address, so that a flood is stopped
   * before it costs an authentication. Costs no limit, and its decision needs no settling. Give the same request object
   * to `check` afterwards: a request that turns out to be a user's then does not count against its address.
   */
  arrive(request: GuardRequest): GuardDecision | Promise<GuardDecision>
  /**
   * The rules, for whoever it is. Used alone it does the work of both. Answers synchronously where nothing has to be
   * asked of anybody. Throws or rejects with REDIS_MISUSE where the store was misused, and with what a rule, a cost or
   * `remoteAddress` of the app's own throws: those are bugs, and no outage.
   */
  check(request: GuardRequest): GuardDecision | Promise<GuardDecision>
  /**
   * Where a caller stands in the limits of a path, nothing being counted: the user's, else the session's, else the
   * address's. `path` may begin with a method (`POST /api/chat`); without one it is the most specific rule of any.
   * Rejects with REDIS_UNAVAILABLE while a shared store cannot be asked, and with INVALID_OPTION for nobody.
   */
  peek(caller: Whom & { plan?: string }, path: string): Promise<readonly LimitState[]>
  /** Forgets all that was counted for a caller, by each name that is given; an address with its networks. Rejects as `peek`. */
  reset(caller: Whom): Promise<void>
  /** Counted since the guard was made, in this process. */
  stats(): GuardStats
  /** Ends sampling, and the connection if it is the guard's own. Idempotent. */
  close(): Promise<void>
}

export interface GuardStats {
  /** Requests that `check` let in. */
  readonly passed: number
  /** Turned away for a spent limit or a deny list; in a dry run, what would have been. */
  readonly refused: number
  /** Turned away under load. */
  readonly shed: number
  /** Given back. */
  readonly refunded: number
  /** Users, sessions, keys and addresses held in memory now. */
  readonly callers: number
  /** Whether a table of callers is full, so that newcomers share counters. */
  readonly overflowing: boolean
}

/** What a guard is made of. */
export interface GuardNeeds extends RefusalNeeds, Omit<DecisionNeeds, 'onRefunded'> {
  readonly routes: Routes
  readonly counters: MemoryCounters
  readonly charging: Charging
  readonly shedding: LoadShedding | undefined
  readonly addresses: ClientAddresses
  readonly identification: Identification
  /** Whether a user who is known already is identified too, for the plan that the app's own `identify` tells. */
  readonly identifiesKnown: boolean
  readonly allow: Listed
  readonly deny: Listed
  readonly dryRun: boolean
  /** The ceiling per address, as a list of its own; empty where there is none. */
  readonly ceilings: readonly AppliedLimit[]
  readonly telling: GuardTelling
  readonly lookup: Lookup
  /** What ends with the guard. */
  readonly onClose: () => void | Promise<void>
}

/** What a request brought with it from `arrive`. */
interface Arrival {
  /** Its place under the ceiling of its address. */
  ceiling: Taken | undefined
  /** A dry run has told that it would have been turned away there: once is enough. */
  readonly turnedAway: boolean
}

/** Said while the store of a limit that is `closed` cannot be asked. */
const STORE_AWAY_SECONDS = 5
const SHORTEST_SHED_SECONDS = 2
const LONGEST_SHED_SECONDS = 10

export class RequestGuard implements Guard {
  readonly #needs: GuardNeeds
  readonly #decisions: DecisionNeeds
  /** What `arrive` noted about requests that have not been checked yet. */
  readonly #arrivals = new WeakMap<GuardRequest, Arrival>()
  #anyArrived = false
  readonly #hasLists: boolean
  #closing: Promise<void> | undefined

  constructor(needs: GuardNeeds) {
    this.#needs = needs
    const { clock, refundOn, headers, telling } = needs
    this.#decisions = { clock, refundOn, headers, onRefunded: (asked, limits) => telling.refunded(asked, limits) }
    this.#hasLists = !needs.allow.isEmpty || !needs.deny.isEmpty
  }

  arrive(request: GuardRequest): GuardDecision {
    const asked = this.#ask(request, true)
    if (this.#isDeniedAddress(request)) return this.#forbid(asked)
    if (asked.route.isHealth) return asked
    return this.#arrive(asked) ?? asked
  }

  check(request: GuardRequest): GuardDecision | Promise<GuardDecision> {
    const asked = this.#ask(request, false)
    const arrival = this.#anyArrived ? this.#arrivals.get(request) : undefined
    if (arrival?.turnedAway) {
      this.#enter(asked)
      return this.#admit(asked)
    }
    if (this.#isDeniedAddress(request)) return this.#forbid(asked)
    if (asked.route.isHealth) return this.#admit(asked)
    const { shedding, identification, identifiesKnown } = this.#needs
    const level = shedding?.level() ?? 0
    if (level === 3) return this.#shed(asked)
    // Before anything is awaited: else any number would come in while they wait.
    this.#enter(asked)
    try {
      const known = isKnown(request)
      if (known ? !identifiesKnown : !identification.asks) return this.#checkAs(asked, request, arrival, level)
      if (!known && !arrival) {
        const refusal = this.#arrive(asked)
        if (refusal) return refusal
      }
      if (isFree(asked) && this.#needs.deny.users.size === 0) return this.#admit(asked)
      const arrived = arrival ?? this.#arrivals.get(request)
      const identity = identification.identify(request)
      const asWhom = (identity: Identity | undefined) =>
        this.#checkAs(asked, known ? { ...identity, ...whoIs(request) } : identity, arrived, level)
      if (!(identity instanceof Promise)) return asWhom(identity)
      return identity.then(asWhom).catch((error: unknown) => this.#leave(asked, error))
    } catch (error) {
      return this.#leave(asked, error)
    }
  }

  peek(caller: Whom & { plan?: string }, path: string): Promise<readonly LimitState[]> {
    return this.#needs.lookup.peek(caller, path)
  }

  reset(caller: Whom): Promise<void> {
    return this.#needs.lookup.reset(caller)
  }

  stats(): GuardStats {
    return { ...this.#needs.telling.counted(), ...this.#needs.counters.stats() }
  }

  close(): Promise<void> {
    this.#closing ??= (async () => {
      this.#needs.shedding?.close()
      await this.#needs.onClose()
    })()
    return this.#closing
  }

  #ask(request: GuardRequest, arriving: boolean): Asked {
    return new Asked(this.#decisions, request, this.#needs.routes.of(request.path, request.basePath), arriving)
  }

  #enter(asked: Asked): void {
    if (!asked.request.unsettled) asked.place ??= this.#needs.shedding?.enter()
  }

  #leave(asked: Asked, error: unknown): never {
    asked.place?.leave()
    throw error
  }

  #admit(asked: Asked): PassDecision {
    this.#needs.telling.passed(asked)
    return asked
  }

  /** What can be said before anyone is known: the refusal, or undefined once the request was noted. */
  #arrive(asked: Asked): GuardDecision | undefined {
    const { request } = asked
    const { shedding, identification, ceilings, counters } = this.#needs
    const level = shedding?.level(asked.place ? 1 : 0) ?? 0
    const known = isKnown(request)
    const strange = !known && (!identification.asks || !bringsCredentials(request))
    if (level === 3 || (level > 0 && strange && isShedAt(level, asked))) return this.#shed(asked)
    let ceiling: Taken | undefined
    if (!known && ceilings.length > 0 && !isFree(asked) && !this.#isAllowedAddress(request)) {
      // Those who bring credentials are counted apart, so that a crowd without any cannot shut them out; and they get
      // their place back as soon as somebody vouches for them.
      const { bucket } = this.#addressOf(request)
      const id = strange ? bucket : `${bucket} with credentials`
      ceiling = counters.take('arrival', id, ceilings, ALWAYS)
      if (!ceiling.admitted) return this.#refuse(asked, { kind: 'ip', limits: ceilings, taken: ceiling })
    }
    // It is not under way yet: whoever arrives is counted by `check`, so that a decision nobody settles costs nothing.
    this.#note(request, { ceiling, turnedAway: false })
    return undefined
  }

  #note(request: GuardRequest, arrival: Arrival): void {
    this.#anyArrived = true
    this.#arrivals.set(request, arrival)
  }

  #checkAs(
    asked: Asked,
    identity: Identity | undefined,
    arrival: Arrival | undefined,
    level: LoadLevel,
  ): GuardDecision | Promise<GuardDecision> {
    const { identification, allow, deny, shedding } = this.#needs
    const { request } = asked
    if (this.#hasLists) {
      if (deny.hasUser(identity?.userId)) return this.#forbid(asked)
      if (allow.hasUser(identity?.userId) || this.#isAllowedAddress(request)) return this.#admit(asked)
    }
    if (isFree(asked)) return this.#admit(asked)
    const counted = identification.countedFor(request, identity, () => this.#addressOf(request).bucket)
    if (counted.signedIn) {
      if (arrival?.ceiling) {
        void arrival.ceiling.refund()
        arrival.ceiling = undefined
      }
    } else if (shedding) {
      const now = Math.max(level, shedding.sampled) as LoadLevel
      if (now > 0 && isShedAt(now, asked)) return this.#shed(asked)
    }
    if (!identification.skips) return this.#count(asked, counted, identity)
    return identification
      .isSkipped(request, identity ?? {})
      .then((skipped) => (skipped ? this.#admit(asked) : this.#count(asked, counted, identity)))
      .catch((error: unknown) => this.#leave(asked, error))
  }

  #count(asked: Asked, counted: Counted, identity: Identity | undefined): GuardDecision | Promise<GuardDecision> {
    const charge = this.#needs.charging.take(asked, counted, identity)
    if (!(charge instanceof Promise)) return this.#decide(asked, charge)
    return charge.then(
      (charge) => this.#decide(asked, charge),
      (error: unknown) => this.#leave(asked, error),
    )
  }

  #decide(asked: Asked, charge: Charge | undefined): GuardDecision {
    if (!charge) return this.#turnAway(asked, 'guard.refused', unavailable(STORE_AWAY_SECONDS))
    if (charge.taken.admitted) return this.#admit(asked.charge(charge.limits, charge.taken))
    return this.#refuse(asked, charge)
  }

  /** Whoever is turned away comes back at a time of their own, the same however often they ask. */
  #shed(asked: Asked): GuardDecision {
    const spread = LONGEST_SHED_SECONDS - SHORTEST_SHED_SECONDS + 1
    const seconds = SHORTEST_SHED_SECONDS + (hashOf(this.#addressOf(asked.request).bucket) % spread)
    return this.#turnAway(asked, 'guard.shed', unavailable(seconds))
  }

  #forbid(asked: Asked): GuardDecision {
    return this.#turnAway(asked, 'guard.refused', { ...NO_LIMIT, code: 'FORBIDDEN', retryAfterSeconds: 0 })
  }

  #refuse(asked: Asked, { kind, limits, taken }: Charge): GuardDecision {
    const retryAfterSeconds = Math.max(1, Math.ceil(taken.retryAfterMs / 1000))
    const reason = { code: 'RATE_LIMITED', retryAfterSeconds, limits, counts: taken.counts, kind } as const
    return this.#turnAway(asked, 'guard.refused', reason)
  }

  #turnAway(asked: Asked, type: GuardTold, reason: RefusalReason): GuardDecision {
    const { clock, dryRun, telling } = this.#needs
    const refused = new Refused(this.#needs, asked, reason, clock.now())
    telling.turnedAway(type, asked, refused, () => this.#addressOf(asked.request).bucket)
    if (!dryRun) {
      asked.place?.leave()
      return refused
    }
    if (asked.arriving) {
      this.#note(asked.request, { ceiling: undefined, turnedAway: true })
      return asked
    }
    this.#enter(asked)
    return this.#admit(asked.spare(reason.limits, reason.counts))
  }

  #isDeniedAddress(request: GuardRequest): boolean {
    return this.#hasLists && this.#needs.deny.hasAddress(this.#addressOf(request))
  }

  #isAllowedAddress(request: GuardRequest): boolean {
    return this.#hasLists && this.#needs.allow.hasAddress(this.#addressOf(request))
  }

  #addressOf(request: GuardRequest): ClientAddress {
    return this.#needs.addresses.of(request)
  }
}

const ALWAYS: Refusable = { mayRefuse: () => true }

const NO_LIMIT = { limits: [], counts: [], kind: 'ip' } as const

const unavailable = (retryAfterSeconds: Milliseconds): RefusalReason => ({
  ...NO_LIMIT,
  code: 'SERVICE_UNAVAILABLE',
  retryAfterSeconds,
})

const isKnown = ({ userId, sessionId }: GuardRequest) => isText(userId) || isText(sessionId)

/** What a request that is known already says of who it is. */
function whoIs({ userId, sessionId }: GuardRequest): Identity {
  return { ...(isText(userId) && { userId }), ...(isText(sessionId) && { sessionId }) }
}

/** Whether no limit holds for it. A rule that names OPTIONS wants them counted. */
const isFree = ({ route, request, rule }: Asked) =>
  route.isPublic || (request.method === 'OPTIONS' && rule.pattern.method !== 'OPTIONS')

const bringsCredentials = (request: GuardRequest) =>
  request.header('authorization') !== null || request.header('cookie') !== null

/** Of anonymous callers, whose pages go first and whose API calls next. */
function isShedAt(level: LoadLevel, { requestClass }: Asked): boolean {
  return level === 3 || requestClass === 'document' || (level === 2 && requestClass === 'api')
}

/** FNV-1a: spreads texts over numbers, and is no secret. */
function hashOf(text: string): number {
  let hash = 0x811c9dc5
  for (let index = 0; index < text.length; index++) hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193)
  return hash >>> 0
}
