import type { AppliedLimit } from './applied-limit.ts'
import type { Attempt, CallerKind, Costs, CounterStore, Refusable, Taken } from './counters.ts'
import type { MemoryCounters } from './memory-counters.ts'

/** What was taken, and in which limits: those that are `open` do not count while the store is away. */
export interface Outcome {
  readonly limits: readonly AppliedLimit[]
  /** Undefined where a limit is `closed` and the store is away. */
  readonly taken: Taken | undefined
}

/** Counts in a store that processes share, and in this process while that is away. */
export class StoreCounting {
  readonly store: CounterStore
  readonly #here: MemoryCounters
  readonly #instances: number
  /** What a limit is in this process alone, while the store is away. */
  readonly #shares = new WeakMap<AppliedLimit, AppliedLimit>()

  constructor(store: CounterStore, here: MemoryCounters, instances: number) {
    this.store = store
    this.#here = here
    this.#instances = instances
  }

  /** Rejects with REDIS_MISUSE where the store was misused: that is a bug, and no outage. */
  take(
    kind: CallerKind,
    id: string,
    limits: readonly AppliedLimit[],
    request: Refusable,
    costs: Costs,
  ): Promise<Outcome> {
    const attempt = this.store.attempt(kind, id, limits, request.mayRefuse(), costs)
    return attempt.taken.then(
      (taken) => ({ limits, taken }),
      (error: unknown) => {
        if (!STORE_AWAY.has((error as { code?: unknown } | null)?.code)) throw error
        return this.#takeHere(kind, id, limits, request, costs, attempt)
      },
    )
  }

  /** The store may have counted or not: whatever is decided here, it must not count what is refused or given back. */
  #takeHere(
    kind: CallerKind,
    id: string,
    limits: readonly AppliedLimit[],
    request: Refusable,
    costs: Costs,
    attempt: Attempt,
  ): Outcome {
    if (limits.some(({ onStoreError }) => onStoreError === 'closed')) {
      attempt.undo()
      return { limits: [], taken: undefined }
    }
    const isLocal = limits.map(({ onStoreError }) => onStoreError === 'local')
    const shares = limits.filter((_, index) => isLocal[index]).map((limit) => this.#shareOf(limit))
    const taken = this.#here.take(
      kind,
      id,
      shares,
      request,
      costs?.filter((_, index) => isLocal[index]),
    )
    if (!taken.admitted) attempt.undo()
    return { limits: shares, taken: new TakenWithoutStore(taken, attempt) }
  }

  #shareOf(limit: AppliedLimit): AppliedLimit {
    let share = this.#shares.get(limit)
    if (!share) {
      const part = (points: number) => Math.ceil(points / this.#instances)
      share = { ...limit, limit: part(limit.limit), ceiling: part(limit.ceiling) }
      this.#shares.set(limit, share)
    }
    return share
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
