import { HoldfastError } from '../errors/errors.ts'
import type { Events, Logger } from '../events/events.ts'
import { fingerprint, type Names } from '../secrets/key-ring.ts'
import type { Clock, Milliseconds } from '../time/clock.ts'
import { abandonable, withDeadline } from '../time/deadline.ts'
import { clientBucket, type Network } from './client-address.ts'
import type { Attempt, CallerKind, CounterStore, Refusable, Taken } from './counters.ts'
import { Asked, type DecisionNeeds, type GuardDecision, type RefusalReason, Refused } from './decision.ts'
import type { GuardRequest, Identity } from './guard-request.ts'
import type { HeaderChoice } from './limit-headers.ts'
import type { LoadLevel } from './load-level.ts'
import type { LoadShedding } from './load-shedding.ts'
import type { MemoryCounters } from './memory-counters.ts'
import { pathWithoutIds } from './request-path.ts'
import type { Routes } from './routes.ts'
import type { Quota } from './rules.ts'

/** Decides about each request: may it come in now? */
export interface Guard {
  /**
   * Before anyone is known: load shedding, and a ceiling per address, so that a flood is stopped before it costs an
   * authentication. Costs no limit, and its decision needs no settling. Give the same request object to `check`
   * afterwards: a request that turns out to be a user's then does not count against its address.
   */
  arrive(request: GuardRequest): GuardDecision | Promise<GuardDecision>
  /**
   * The rules, for whoever it is. Used alone it does the work of both. Answers synchronously where nothing has to be
   * asked of anybody. Rejects with REDIS_MISUSE where the store was misused: that is a bug, and no outage.
   */
  check(request: GuardRequest): GuardDecision | Promise<GuardDecision>
  /** Ends sampling, and the connection if it is the guard's own. Idempotent. */
  close(): Promise<void>
}

export type Identify = (request: GuardRequest) => Identity | undefined | Promise<Identity | undefined>

/** What a guard is made of. */
export interface GuardNeeds extends Omit<DecisionNeeds, 'onRefunded'> {
  readonly clock: Clock
  readonly routes: Routes
  readonly counters: MemoryCounters
  /** Where processes share their counters; undefined where they do not. */
  readonly store: CounterStore | undefined
  readonly instances: number
  readonly shedding: LoadShedding | undefined
  readonly trusted: readonly Network[]
  readonly identify: Identify | undefined
  /** The ceiling per address, as a list of its own; empty where there is none. */
  readonly ceilings: readonly Quota[]
  readonly headers: HeaderChoice
  readonly events: Events
  readonly logger: Logger | undefined
  readonly names: Names
  /** What ends with the guard. */
  readonly onClose: () => void | Promise<void>
}

/** What a request brought with it from `arrive`. */
interface Arrival {
  /** Its place under the ceiling of its address. */
  ceiling: Taken | undefined
}

/** A session resolver that takes longer is not waited for: the request counts for its address. */
const IDENTIFY_TIMEOUT_MS: Milliseconds = 5_000
const MOST_FAILURES_TOLD = 20
/** Said while the store of a limit that is `closed` cannot be asked. */
const STORE_AWAY_SECONDS = 5
const SHORTEST_SHED_SECONDS = 2
const LONGEST_SHED_SECONDS = 10
const DAY_MS: Milliseconds = 86_400_000

export class RequestGuard implements Guard {
  readonly #needs: GuardNeeds
  readonly #decisions: DecisionNeeds
  /** What `arrive` noted about requests that have not been checked yet. */
  readonly #arrivals = new WeakMap<GuardRequest, Arrival>()
  #anyArrived = false
  #warned = false
  /** What went wrong with identifying, as far as it was told. */
  readonly #failures = new Set<string>()
  /** What a quota is in this process alone, while the store is away. */
  readonly #shares = new Map<Quota, Quota>()
  #closing: Promise<void> | undefined

  constructor(needs: GuardNeeds) {
    this.#needs = needs
    const { clock, apiPrefixes, refundOn, headers, events } = needs
    const onRefunded = (asked: Asked, limits: readonly string[]) => {
      if (events.active) events.emit({ type: 'guard.refunded', path: pathOf(asked), limits })
    }
    this.#decisions = { clock, apiPrefixes, refundOn, headers, onRefunded }
  }

  arrive(request: GuardRequest): GuardDecision {
    const asked = this.#ask(request)
    if (asked.route.isHealth) return asked
    return this.#arrive(asked) ?? asked
  }

  check(request: GuardRequest): GuardDecision | Promise<GuardDecision> {
    const asked = this.#ask(request)
    if (asked.route.isHealth) return asked
    const arrival = this.#anyArrived ? this.#arrivals.get(request) : undefined
    const { identify, shedding } = this.#needs
    if (isKnown(request) || !identify) {
      // Whoever arrived was let in.
      if (!arrival && shedding?.level() === 3) return this.#shed(asked)
      return isFree(asked) ? this.#admit(asked) : this.#checkAs(asked, request, arrival)
    }
    if (!arrival) {
      const refusal = this.#arrive(asked)
      if (refusal) return refusal
    }
    if (isFree(asked)) return this.#admit(asked)
    const arrived = this.#arrivals.get(request)
    return this.#identify(identify, request).then((identity) => this.#checkAs(asked, identity, arrived))
  }

  close(): Promise<void> {
    this.#closing ??= (async () => {
      this.#needs.shedding?.close()
      await this.#needs.onClose()
    })()
    return this.#closing
  }

  #ask(request: GuardRequest): Asked {
    return new Asked(this.#decisions, request, this.#needs.routes.of(request.path))
  }

  #admit(asked: Asked): Asked {
    if (!asked.request.unsettled) asked.place ??= this.#needs.shedding?.enter()
    return asked
  }

  /** What can be said before anyone is known: the refusal, or undefined once the request was noted. */
  #arrive(asked: Asked): GuardDecision | undefined {
    const { request } = asked
    const level = this.#needs.shedding?.level() ?? 0
    const known = isKnown(request)
    const strange = !known && (this.#needs.identify === undefined || !bringsCredentials(request))
    if (level === 3 || (level > 0 && strange && this.#isShedAt(level, asked))) return this.#shed(asked)
    let ceiling: Taken | undefined
    if (!known && this.#needs.ceilings.length > 0 && !isFree(asked)) {
      // Those who bring credentials are counted apart, so that a crowd without any cannot shut them out; and they get
      // their place back as soon as somebody vouches for them.
      const bucket = this.#bucketOf(request)
      const id = strange ? bucket : `${bucket} with credentials`
      ceiling = this.#needs.counters.take('ip', id, this.#needs.ceilings, ALWAYS)
      if (!ceiling.admitted) return this.#refuse(asked, 'ip', this.#needs.ceilings, ceiling)
    }
    // It is not under way yet: whoever arrives is counted by `check`, so that a decision nobody settles costs nothing.
    this.#anyArrived = true
    this.#arrivals.set(request, { ceiling })
    return undefined
  }

  async #identify(identify: Identify, request: GuardRequest): Promise<Identity | undefined> {
    try {
      return await withDeadline(
        this.#needs.clock,
        IDENTIFY_TIMEOUT_MS,
        [],
        () => new HoldfastError('LOAD_TIMEOUT', `identify did not answer within ${IDENTIFY_TIMEOUT_MS} ms`),
        (signal) => abandonable(async () => identify(request), signal),
      )
    } catch (error) {
      // Whoever cannot be identified is a stranger: that is the smaller allowance, never none. Said once for each kind
      // of trouble, because any client can cause it with a header.
      const name = nameOf(error)
      if (!this.#failures.has(name) && this.#failures.size < MOST_FAILURES_TOLD) {
        this.#failures.add(name)
        this.#needs.logger?.warn({ error: name }, 'identify failed; such requests count for their address')
      }
      return undefined
    }
  }

  #checkAs(asked: Asked, identity: Identity | undefined, arrival: Arrival | undefined) {
    const userId = identity?.userId
    if (isText(userId)) return this.#countKnown(asked, 'user', userId, arrival)
    const sessionId = identity?.sessionId
    if (isText(sessionId)) return this.#countKnown(asked, 'session', fingerprint(sessionId), arrival)
    const level = this.#needs.shedding?.level() ?? 0
    if (level > 0 && this.#isShedAt(level, asked)) {
      return this.#shed(asked)
    }
    return this.#count(asked, 'ip', this.#bucketOf(asked.request), asked.rule.anonymous)
  }

  #countKnown(asked: Asked, kind: CallerKind, id: string, arrival: Arrival | undefined) {
    if (arrival?.ceiling) {
      void arrival.ceiling.refund()
      arrival.ceiling = undefined
    }
    return this.#count(asked, kind, id, asked.rule.signedIn)
  }

  #count(asked: Asked, kind: CallerKind, id: string, quotas: readonly Quota[]): GuardDecision | Promise<GuardDecision> {
    const { store, counters } = this.#needs
    if (store) return this.#countInStore(asked, kind, quotas, store.attempt(kind, id, quotas, asked.mayRefuse()), id)
    return this.#decide(asked, kind, quotas, counters.take(kind, id, quotas, asked))
  }

  #decide(asked: Asked, kind: CallerKind, quotas: readonly Quota[], taken: Taken): GuardDecision {
    if (taken.admitted) return this.#admit(asked.charge(quotas, taken))
    return this.#refuse(asked, kind, quotas, taken)
  }

  #countInStore(
    asked: Asked,
    kind: CallerKind,
    quotas: readonly Quota[],
    attempt: Attempt,
    id: string,
  ): Promise<GuardDecision> {
    return attempt.taken.then(
      (taken) => this.#decide(asked, kind, quotas, taken),
      (error: unknown) => {
        if (STORE_AWAY.has((error as { code?: unknown } | null)?.code))
          return this.#countWithoutStore(asked, kind, quotas, attempt, id)
        throw error
      },
    )
  }

  /** The store may have counted or not: whatever is decided here, it must not count what is refused or given back. */
  #countWithoutStore(asked: Asked, kind: CallerKind, quotas: readonly Quota[], attempt: Attempt, id: string) {
    if (quotas.some(({ onStoreError }) => onStoreError === 'closed')) {
      attempt.undo()
      return this.#turnAway(asked, 'guard.refused', {
        code: 'SERVICE_UNAVAILABLE',
        retryAfterSeconds: STORE_AWAY_SECONDS,
        quotas: [],
        counts: [],
        kind,
      })
    }
    const shares = quotas.filter(({ onStoreError }) => onStoreError === 'local').map((quota) => this.#shareOf(quota))
    const taken = this.#needs.counters.take(kind, id, shares, asked)
    if (!taken.admitted) attempt.undo()
    return this.#decide(asked, kind, shares, new TakenWithoutStore(taken, attempt))
  }

  #shareOf(quota: Quota): Quota {
    let share = this.#shares.get(quota)
    if (!share) {
      const { instances } = this.#needs
      const limit = Math.ceil(quota.limit / instances)
      share = { ...quota, limit, ceiling: Math.ceil(quota.ceiling / instances) }
      this.#shares.set(quota, share)
    }
    return share
  }

  #isShedAt(level: LoadLevel, asked: Asked): boolean {
    if (level === 3) return true
    const { requestClass } = asked
    return requestClass === 'document' || (level === 2 && requestClass === 'api')
  }

  /** Whoever is turned away comes back at a time of their own, the same however often they ask. */
  #shed(asked: Asked): GuardDecision {
    const spread = LONGEST_SHED_SECONDS - SHORTEST_SHED_SECONDS + 1
    const retryAfterSeconds = SHORTEST_SHED_SECONDS + (hashOf(this.#bucketOf(asked.request)) % spread)
    return this.#turnAway(asked, 'guard.shed', {
      code: 'SERVICE_UNAVAILABLE',
      retryAfterSeconds,
      quotas: [],
      counts: [],
      kind: 'ip',
    })
  }

  #refuse(asked: Asked, kind: CallerKind, quotas: readonly Quota[], taken: Taken): GuardDecision {
    const retryAfterSeconds = Math.max(1, Math.ceil(taken.retryAfterMs / 1000))
    const reason = { code: 'RATE_LIMITED', retryAfterSeconds, quotas, counts: taken.counts, kind } as const
    return this.#turnAway(asked, 'guard.refused', reason)
  }

  #turnAway(asked: Asked, type: 'guard.refused' | 'guard.shed', reason: Omit<RefusalReason, 'now'>): GuardDecision {
    const now = this.#needs.clock.now()
    const refused = new Refused(this.#decisions, asked, { ...reason, now })
    const { events, names } = this.#needs
    if (events.active) {
      // The day salts the name, so that an address cannot be followed from one day to the next.
      const day = Math.floor(now / DAY_MS)
      events.emit({
        type,
        path: pathOf(asked),
        requestClass: asked.requestClass,
        retryAfter: reason.retryAfterSeconds,
        ipBucket: names.of(`guard address ${day}`, this.#bucketOf(asked.request)),
        handled: true,
      })
    }
    return refused
  }

  #bucketOf(request: GuardRequest): string {
    const { trusted, logger } = this.#needs
    if (!this.#warned && trusted.length === 0 && request.header('x-forwarded-for') !== null) {
      this.#warned = true
      logger?.warn(
        {},
        'requests carry X-Forwarded-For and trustProxy is not set: if a proxy of yours writes it, name the proxy in trustProxy, or all clients count as one',
      )
    }
    return clientBucket(request, trusted)
  }
}

/** What the store may have counted is undone together with what was counted here. */
class TakenWithoutStore implements Taken {
  readonly admitted: boolean
  readonly #here: Taken
  readonly #attempt: Attempt

  constructor(here: Taken, attempt: Attempt) {
    this.admitted = here.admitted
    this.#here = here
    this.#attempt = attempt
  }

  get counts() {
    return this.#here.counts
  }

  get retryAfterMs() {
    return this.#here.retryAfterMs
  }

  refund(): boolean | Promise<boolean> {
    this.#attempt.undo()
    return this.#here.refund()
  }
}

/** Also where it was closed: the last requests of a server that shuts down are still answered. */
const STORE_AWAY: ReadonlySet<unknown> = new Set(['REDIS_UNAVAILABLE', 'CLOSED'])

const ALWAYS: Refusable = { mayRefuse: () => true }

const isText = (value: unknown): value is string => typeof value === 'string' && value !== ''

const isKnown = ({ userId, sessionId }: GuardRequest) => isText(userId) || isText(sessionId)

/** Whether no limit holds for it. */
const isFree = ({ route, request }: Asked) => route.isPublic || request.method === 'OPTIONS'

const bringsCredentials = (request: GuardRequest) =>
  request.header('authorization') !== null || request.header('cookie') !== null

/** What an event may say of the path. */
const pathOf = ({ rule, route }: Asked) => (rule.own ? rule.pattern.text : pathWithoutIds(route.path))

const nameOf = (error: unknown) => {
  const { code, name } = (error ?? {}) as { code?: unknown; name?: unknown }
  return typeof code === 'string' ? code : typeof name === 'string' ? name : typeof error
}

/** FNV-1a: spreads texts over numbers, and is no secret. */
function hashOf(text: string): number {
  let hash = 0x811c9dc5
  for (let index = 0; index < text.length; index++) hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193)
  return hash >>> 0
}
