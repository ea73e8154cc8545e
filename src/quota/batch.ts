import { HoldfastError } from '../errors/errors.ts'
import { alarm, type Milliseconds } from '../time/clock.ts'
import { onAbort } from '../time/on-abort.ts'
import {
  type BatchKey,
  type BatchOptions,
  type BatchResult,
  checkBatch,
  DEFAULT_CONCURRENCY,
  invalid,
  keysByOwner,
} from './batch-options.ts'
import { call } from './call.ts'
import type { Contender } from './contender.ts'
import { Dispatcher, tooDear } from './dispatcher.ts'
import { Journal } from './journal.ts'
import { type Keeping, keepingIn } from './keeping.ts'
import type { Lane } from './lane.ts'
import { OwnerKeys } from './owner-keys.ts'
import type { Window } from './owner-pool.ts'
import { RequestLine } from './request-line.ts'

const DEFAULT_ATTEMPTS = 5
const DEFAULT_SEND_TIMEOUT_MS: Milliseconds = 60_000
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
  if (path === undefined) return spread(requests, options, dispatcher, keys)
  let journal: Journal | undefined
  try {
    journal = await Journal.open(path, signal)
    return await spread(requests, options, dispatcher, keys, await keepingIn<Result>(journal, requests))
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

/** Sends checked requests with keys that others may use, too. */
export async function spread<Request, Result>(
  requests: readonly Request[],
  options: BatchOptions<Request, Result>,
  dispatcher: Dispatcher,
  keys: ReadonlyMap<string, OwnerKeys>,
  keeping?: Keeping<Result>,
): Promise<Array<BatchResult<Result>>> {
  const owners = [...keys].filter(([, ofOwner]) => !ofOwner.isEmpty)
  if (owners.length === 0) {
    const reason = new HoldfastError('QUOTA_NEVER', 'every key that was given is dead; give others')
    return requests.map(() => ({ status: 'rejected', reason }))
  }
  const batch = new Batch(requests, options, dispatcher, keys, keeping)
  batch.lanes = owners.map(([owner]) => dispatcher.lane(owner))
  return batch.run()
}

class Batch<Request, Result> implements Contender {
  /** Those whose keys are not all dead. */
  lanes: readonly Lane[] = []
  readonly #requests: readonly Request[]
  readonly #options: BatchOptions<Request, Result>
  readonly #dispatcher: Dispatcher
  readonly #keys: ReadonlyMap<string, OwnerKeys>
  readonly #results: Array<BatchResult<Result> | undefined>
  readonly #concurrency: number
  readonly #maxAttempts: number
  /** 429s that a request met, where it met some. */
  readonly #refusals = new Map<number, number>()
  readonly #ending = new AbortController()
  readonly #finished = Promise.withResolvers<void>()
  readonly #line: RequestLine
  /** By request, where they have one. */
  readonly #costs: number[] | undefined
  readonly #keeping: Keeping<Result> | undefined
  /** Requests that are settled before anything is sent. */
  readonly #settledBefore: Array<readonly [index: number, result: BatchResult<Result>]> = []
  #underWay = 0
  #done = 0
  #waitingUntil: Milliseconds | undefined

  constructor(
    requests: readonly Request[],
    options: BatchOptions<Request, Result>,
    dispatcher: Dispatcher,
    keys: ReadonlyMap<string, OwnerKeys>,
    keeping: Keeping<Result> | undefined,
  ) {
    this.#keeping = keeping
    this.#requests = [...requests]
    this.#options = options
    this.#dispatcher = dispatcher
    this.#keys = keys
    this.#results = new Array(requests.length)
    const { cost, priority } = options
    this.#costs = cost && this.#requests.map((request) => cost(request))
    const priorities = priority && this.#requests.map((request) => priority(request))
    const usable: number[] = []
    for (let index = 0; index < requests.length; index++) {
      const result = keeping?.settled.get(index) ?? refusedAtOnce(this.#costs?.[index] ?? 1, priorities?.[index] ?? 0)
      if (result) this.#settledBefore.push([index, result])
      else usable.push(index)
    }
    this.#line = new RequestLine(usable, (index) => priorities?.[index] ?? 0)
    this.#concurrency = options.concurrency ?? DEFAULT_CONCURRENCY
    this.#maxAttempts = options.maxAttempts ?? DEFAULT_ATTEMPTS
  }

  async run(): Promise<Array<BatchResult<Result>>> {
    const { deadlineMs = Number.POSITIVE_INFINITY, signal } = this.#options
    const abort = () => this.#end(signal?.reason)
    if (signal?.aborted) abort()
    signal?.addEventListener('abort', abort, { once: true })
    const cancelAlarm =
      deadlineMs === Number.POSITIVE_INFINITY
        ? () => {}
        : alarm(this.#dispatcher.clock, deadlineMs, () => this.#end(late(false)))
    for (const [index, result] of this.#settledBefore) this.#settle(index, result)
    const failed = this.#keeping?.failed
    const unlisten = failed && onAbort(failed, () => this.#rejectQueued(failed.reason))
    this.#dispatcher.join(this)
    try {
      await this.#finished.promise
    } finally {
      this.#dispatcher.leave(this)
      cancelAlarm()
      unlisten?.()
      signal?.removeEventListener('abort', abort)
    }
    return this.#results as Array<BatchResult<Result>>
  }

  get wants(): boolean {
    return this.#line.length > 0 && this.#underWay < this.#concurrency && !this.#ending.signal.aborted
  }

  get cost(): number {
    const index = this.#line.first()
    return index === undefined ? 1 : (this.#costs?.[index] ?? 1)
  }

  gate({ owner }: Lane): OwnerKeys {
    return this.#keys.get(owner)!
  }

  neverGoes({ owner, limit }: Lane): boolean {
    const { cost } = this
    return (cost > 1 && limit < cost) || this.#keys.get(owner)!.largestCost < cost
  }

  go(lane: Lane, opens: readonly Milliseconds[] | undefined): void {
    const keys = this.#keys.get(lane.owner)!
    const key = keys.take(this.cost, this.#dispatcher.clock.monotonic())
    // Its last key died, or another batch used it, while the call was being taken.
    if (!key) return
    this.#underWay++
    void this.#send(this.#line.shift()!, lane, keys, key, opens)
  }

  waits(until: Milliseconds | undefined): void {
    if (until === this.#waitingUntil || this.#done === this.#requests.length) return
    this.#waitingUntil = until
    this.#tell()
  }

  givesUp(): void {
    this.#rejectQueued(
      new HoldfastError(
        'QUOTA_NEVER',
        'no owner of these keys may make a call: their limits are 0; raise them with setLimit',
      ),
    )
  }

  skips(): void {
    const { cost } = this
    const index = this.#line.shift()
    if (index !== undefined) this.#settle(index, { status: 'rejected', reason: tooDear(cost) })
  }

  fails(error: unknown): void {
    this.#rejectQueued(error)
  }

  async #send(
    index: number,
    lane: Lane,
    keys: OwnerKeys,
    given: BatchKey,
    opens: readonly Milliseconds[] | undefined,
  ): Promise<void> {
    const { key, owner, id } = given
    const outcome = await call({
      dispatcher: this.#dispatcher,
      lane,
      opens,
      cost: this.#costs?.[index] ?? 1,
      sendTimeoutMs: this.#options.sendTimeoutMs ?? DEFAULT_SEND_TIMEOUT_MS,
      ending: this.#ending.signal,
      send: (signal, learn) =>
        this.#options.send(this.#requests[index]!, key, { signal, owner, ...(id !== undefined && { id }), learn }),
    })
    keys.ended(given)
    lane.changed()
    const isKept = outcome.how === 'fulfilled' && this.#keeping !== undefined
    const kept = isKept ? await this.#keeping!.keep(index, outcome.value) : undefined
    this.#underWay--
    if (kept) this.#settle(index, kept)
    else if (outcome.how === 'fulfilled') this.#settle(index, { status: 'fulfilled', value: outcome.value })
    else if (outcome.how === 'failed') this.#settle(index, { status: 'rejected', reason: outcome.reason })
    else if (outcome.how === 'refused') this.#goAgain(index, outcome.reason)
    else if (outcome.how === 'key dead') {
      this.#bury(lane, keys, given, outcome.reason)
      if (this.lanes.length > 0) this.#waitAgain(index)
      else this.#settle(index, { status: 'rejected', reason: outcome.reason })
    }
    this.#dispatcher.serve()
  }

  /** Once more, unless it has been refused as often as one request may be. */
  #goAgain(index: number, reason: unknown): void {
    const refusals = (this.#refusals.get(index) ?? 0) + 1
    if (refusals >= this.#maxAttempts) {
      this.#refusals.delete(index)
      this.#settle(index, { status: 'rejected', reason })
      return
    }
    this.#refusals.set(index, refusals)
    this.#waitAgain(index)
  }

  #waitAgain(index: number): void {
    const failed = this.#keeping?.failed
    if (failed?.aborted) this.#settle(index, { status: 'rejected', reason: failed.reason })
    else this.#line.again(index)
  }

  /** Takes a key out; with its last key an owner. Where none is left, nothing more can be sent. */
  #bury(lane: Lane, keys: OwnerKeys, given: BatchKey, reason: unknown): void {
    keys.remove(given)
    lane.changed()
    if (!keys.isEmpty) return
    this.lanes = this.lanes.filter((other) => other !== lane)
    if (this.lanes.length === 0) this.#rejectQueued(reason)
  }

  #settle(index: number, result: BatchResult<Result>): void {
    if (this.#results[index]) return
    this.#results[index] = result
    this.#done++
    this.#tell()
    if (this.#done === this.#requests.length) this.#finished.resolve()
  }

  #tell(): void {
    const { onProgress } = this.#options
    if (!onProgress) return
    const { clock } = this.#dispatcher
    const until = this.#waitingUntil
    // Inside a promise: whoever watches changes nothing for what is watched, by throwing or by rejecting.
    new Promise<unknown>((resolve) =>
      resolve(
        onProgress({
          done: this.#done,
          total: this.#requests.length,
          ...(until !== undefined && { waitingUntil: new Date(clock.now() + until - clock.monotonic()) }),
        }),
      ),
    ).catch(() => {})
  }

  /** Ends the batch early. What was sent is told apart from what was not. */
  #end(reason: unknown): void {
    if (this.#ending.signal.aborted) return
    const isLate = reason instanceof HoldfastError && reason.code === 'BATCH_DEADLINE'
    this.#ending.abort(reason)
    const unsent = new Set(this.#line.drain())
    const sentReason = isLate ? late(true) : reason
    for (let index = 0; index < this.#requests.length; index++)
      this.#settle(index, { status: 'rejected', reason: unsent.has(index) ? reason : sentReason })
  }

  #rejectQueued(reason: unknown): void {
    for (const index of this.#line.drain()) this.#settle(index, { status: 'rejected', reason })
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
function refusedAtOnce(cost: number, priority: number): BatchResult<never> | undefined {
  const refused = (what: string) => ({ status: 'rejected', reason: invalid(what) }) as const
  if (!Number.isSafeInteger(cost) || cost < 1)
    return refused('the cost of this request is no whole number of calls, at least 1')
  return typeof priority === 'number' && !Number.isNaN(priority)
    ? undefined
    : refused('the priority of this request is no number')
}
