import { HoldfastError } from '../errors/errors.ts'
import { alarm, type Milliseconds } from '../time/clock.ts'
import { type BatchOptions, type BatchResult, checkBatch, invalid, keysByOwner } from './batch-options.ts'
import { Dispatcher } from './dispatcher.ts'
import { Journal } from './journal.ts'
import { type Keeping, keepingIn } from './keeping.ts'
import { OwnerKeys } from './owner-keys.ts'
import type { Window } from './owner-pool.ts'
import { progressOf, type TellProgress } from './progress.ts'
import { RequestLine } from './request-line.ts'
import { Spread, type Work } from './spread.ts'

/** How a key's own calls are counted where the quota is somebody's own, and tells no window. */
const A_MINUTE: Window = { windowMs: 60_000, marginMs: 0 }

/**
 * Spreads requests over the owners' pools: each call is taken from the quota before it is sent, the fullest open pool
 * first, its keys in turn. An owner that nothing is known of gets one call first. A 429 closes the pool, not the request.
 *
 * Resolves to one result for each request, in their order, each settled on its own, as `Promise.allSettled` does. What is
 * left at the deadline is rejected with BATCH_DEADLINE, whose message says whether it had been sent; at an abort with
 * the signal's own reason; where no owner may make a call at all with QUOTA_NEVER, and so is a request that costs more
 * than any owner may make in a window. Other batches on the same quota get their turn call by call.
 *
 * Rejects with INVALID_OPTION for options that cannot be used: no keys, or one key with two owners. With a journal, before
 * anything is sent: BATCH_JOURNAL_UNAVAILABLE, BATCH_JOURNAL_FOREIGN, BATCH_JOURNAL_DAMAGED. A journal that fails later
 * (a full disk) rejects what is not sent by then with BATCH_JOURNAL_UNAVAILABLE; answers that still come are told.
 */
export async function batch<Request, Result>(
  requests: readonly Request[],
  options: BatchOptions<Request, Result>,
): Promise<Array<BatchResult<Result>>> {
  checkBatch(requests, options)
  if (requests.length === 0 && keysByOwner(options.keys)) return []
  const dispatcher = Dispatcher.of(options.quota)
  const keys = keysOf(options, dispatcher)
  const { journal: path, signal } = options
  const aborted = () => requests.map(() => ({ status: 'rejected', reason: signal!.reason as unknown }) as const)
  if (signal?.aborted) return aborted()
  if (path === undefined) return new Batch(requests, options, dispatcher, keys).run()
  let journal: Journal | undefined
  try {
    journal = await Journal.open(path, signal)
    const keeping = await keepingIn<Result>(journal, requests)
    return await new Batch(requests, options, dispatcher, keys, keeping).run()
  } catch (error) {
    if (signal?.aborted) return aborted()
    throw error
  } finally {
    await journal?.close()
  }
}

/** The keys of each owner, for one batch or one stream. Throws INVALID_OPTION where there is none. */
export function keysOf<Request, Result>(
  options: BatchOptions<Request, Result>,
  dispatcher: Dispatcher,
): ReadonlyMap<string, OwnerKeys> {
  const owners = keysByOwner(options.keys)
  if (owners.size === 0) throw invalid('keys is empty: without a key nothing can be sent')
  const rules = {
    perKey: options.concurrencyPerKey ?? Number.POSITIVE_INFINITY,
    perOwner: options.concurrencyPerOwner ?? Number.POSITIVE_INFINITY,
    window: dispatcher.window ?? A_MINUTE,
    poolOf: (key: string) => dispatcher.keyPool(key),
  }
  return new Map([...owners].map(([owner, given]) => [owner, new OwnerKeys(given, rules)]))
}

class Batch<Request, Result> implements Work<Request, Result> {
  readonly #requests: readonly Request[]
  readonly #options: BatchOptions<Request, Result>
  readonly #dispatcher: Dispatcher
  readonly #results: Array<BatchResult<Result> | undefined>
  readonly #finished = Promise.withResolvers<void>()
  readonly #spread: Spread<Request, Result>
  /** By request, where they have one. */
  readonly #costs: number[] | undefined
  /** Requests that are settled before anything is sent. */
  readonly #settledBefore: Array<readonly [index: number, result: BatchResult<Result>]> = []
  readonly #tellProgress: TellProgress
  #done = 0
  #waitingUntil: Milliseconds | undefined

  constructor(
    requests: readonly Request[],
    options: BatchOptions<Request, Result>,
    dispatcher: Dispatcher,
    keys: ReadonlyMap<string, OwnerKeys>,
    keeping?: Keeping<Result>,
  ) {
    this.#requests = [...requests]
    this.#options = options
    this.#dispatcher = dispatcher
    this.#results = new Array(requests.length)
    this.#tellProgress = progressOf(options, dispatcher.clock)
    const { cost, priority } = options
    this.#costs = cost && this.#requests.map((request) => cost(request))
    const priorities = priority && this.#requests.map((request) => priority(request))
    const usable: number[] = []
    for (let index = 0; index < requests.length; index++) {
      const result = keeping?.settled.get(index) ?? refusedAtOnce(this.#costs?.[index] ?? 1, priorities?.[index] ?? 0)
      if (result) this.#settledBefore.push([index, result])
      else usable.push(index)
    }
    const line = new RequestLine(usable, (index) => priorities?.[index] ?? 0)
    this.#spread = new Spread({ work: this, options, dispatcher, keys, line, keeping })
  }

  async run(): Promise<Array<BatchResult<Result>>> {
    const { deadlineMs = Number.POSITIVE_INFINITY, signal } = this.#options
    const abort = () => this.#spread.end(signal?.reason, signal?.reason)
    if (signal?.aborted) abort()
    signal?.addEventListener('abort', abort, { once: true })
    const cancelAlarm =
      deadlineMs === Number.POSITIVE_INFINITY
        ? () => {}
        : alarm(this.#dispatcher.clock, deadlineMs, () => this.#spread.end(late(false), late(true)))
    for (const [index, result] of this.#settledBefore) this.settle(index, result)
    this.#spread.begin()
    try {
      await this.#finished.promise
    } finally {
      await this.#spread.leave()
      cancelAlarm()
      signal?.removeEventListener('abort', abort)
    }
    return this.#results as Array<BatchResult<Result>>
  }

  request(index: number): Request {
    return this.#requests[index]!
  }

  cost(index: number): number {
    return this.#costs?.[index] ?? 1
  }

  settle(index: number, result: BatchResult<Result>): void {
    if (this.#results[index]) return
    this.#results[index] = result
    this.#done++
    this.#tell()
    if (this.#done === this.#requests.length) this.#finished.resolve()
  }

  abandon(reason: unknown): void {
    for (let index = 0; index < this.#requests.length; index++) this.settle(index, { status: 'rejected', reason })
  }

  waits(until: Milliseconds | undefined): void {
    if (until === this.#waitingUntil || this.#done === this.#requests.length) return
    this.#waitingUntil = until
    this.#tell()
  }

  #tell(): void {
    this.#tellProgress(this.#done, this.#requests.length, this.#waitingUntil)
  }
}

/** The reason at a deadline. */
export function late(wasSent: boolean): HoldfastError {
  return new HoldfastError(
    'BATCH_DEADLINE',
    wasSent
      ? 'the batch ended at its deadline: this request was sent and had not been answered, and may have been counted'
      : 'the batch ended at its deadline: this request was not sent; give the batch longer, or more owners',
  )
}

/** How a request is settled that cannot be sent; undefined where it can. */
export function refusedAtOnce(cost: number, priority: number): BatchResult<never> | undefined {
  const refused = (what: string) => ({ status: 'rejected', reason: invalid(what) }) as const
  if (!Number.isSafeInteger(cost) || cost < 1)
    return refused('the cost of this request is no whole number of calls, at least 1')
  return typeof priority === 'number' && !Number.isNaN(priority)
    ? undefined
    : refused('the priority of this request is no number')
}
