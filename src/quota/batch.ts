import {
  aFunction,
  anAbortSignal,
  anObject,
  anObjectWith,
  listOf,
  milliseconds,
  number,
  wholeNumber,
} from '../config/accepted.ts'
import { type OptionTable, optionsOf } from '../config/options.ts'
import { HoldfastError } from '../errors/errors.ts'
import { alarm, type Milliseconds } from '../time/clock.ts'
import { abandonable, withDeadline } from '../time/deadline.ts'
import { type Contender, Dispatcher } from './dispatcher.ts'
import type { Lane, Sent } from './lane.ts'
import type { OwnerQuota } from './owner-quota.ts'
import type { QuotaAnswer } from './quota-answer.ts'

/** A key and whom its calls are counted for. `id` is only handed on. */
export interface BatchKey {
  readonly key: string
  readonly owner: string
  readonly id?: string
}

/** What `send` gets besides the request and the key. */
export interface SendContext {
  /** Aborts when the batch ends early, or this call took too long. */
  readonly signal: AbortSignal
  readonly owner: string
  readonly id?: string
  /** Teaches the quota what the answer says; with more than one answer, once for each. Never throws. */
  learn(answer: QuotaAnswer): void
}

export interface BatchProgress {
  /** Requests that are settled. */
  readonly done: number
  readonly total: number
  /** Where every pool is spent or closed: when the first opens again, on the wall clock. */
  readonly waitingUntil?: Date
}

export interface BatchOptions<Request, Result> {
  /** Whose quota is spent. Several keys of one owner share its pool and take turns; a key given twice counts once. */
  readonly keys: ReadonlyArray<BatchKey>
  readonly quota: OwnerQuota
  /**
   * Makes one call. Throwing an error that carries `retryAfterMs` closes that owner's pool until then, and the request
   * goes again after those that were not sent yet, `maxAttempts` times in all. An error with `keyDead: true` takes the
   * key out of this batch, and the request goes with another. Any other error settles the request.
   */
  readonly send: (request: Request, key: string, context: SendContext) => Promise<Result>
  /** Tries of one request that meets 429s; after the last it is settled with that error. Default 5. */
  readonly maxAttempts?: number
  /** Calls under way at a time. Default 64. */
  readonly concurrency?: number
  /** The whole batch. Default: as long as it takes. */
  readonly deadlineMs?: Milliseconds
  /** One call, from `send` to its end; what takes longer is settled as BATCH_SEND_TIMEOUT and not sent again. Default 60 000. */
  readonly sendTimeoutMs?: Milliseconds
  readonly signal?: AbortSignal
  /** Told of every request that is settled, and whenever a wait begins or ends. What it throws or rejects with is ignored. */
  readonly onProgress?: (progress: BatchProgress) => void
}

export type BatchResult<Result> =
  | { readonly status: 'fulfilled'; readonly value: Result }
  | { readonly status: 'rejected'; readonly reason: unknown }

const DEFAULT_CONCURRENCY = 64
const DEFAULT_ATTEMPTS = 5
const DEFAULT_SEND_TIMEOUT_MS: Milliseconds = 60_000

/**
 * Spreads requests over the owners' pools: each call is taken from the quota before it is sent, the fullest open pool
 * first, its keys in turn. An owner that nothing is known of gets one call first. A 429 closes the pool, not the request.
 *
 * Resolves to one result for each request, in their order, each settled on its own, as `Promise.allSettled` does. What is
 * left at the deadline is rejected with BATCH_DEADLINE, whose message says whether it had been sent; at an abort with
 * the signal's own reason; where no owner may make a call at all with QUOTA_NEVER. Other batches on the same quota get
 * their turn call by call.
 *
 * Rejects with INVALID_OPTION for options that cannot be used: no keys, or one key with two owners.
 */
export async function batch<Request, Result>(
  requests: readonly Request[],
  options: BatchOptions<Request, Result>,
): Promise<Array<BatchResult<Result>>> {
  check(requests, options)
  const owners = keysByOwner(options.keys)
  if (requests.length === 0) return []
  if (owners.size === 0) throw invalid('keys is empty: without a key nothing can be sent')
  const dispatcher = Dispatcher.of(options.quota)
  if (options.signal?.aborted)
    return requests.map(() => ({ status: 'rejected', reason: options.signal!.reason as unknown }))
  const states = await Promise.all(
    [...owners.keys()].map(async (owner) => [owner, await options.quota.state(owner)] as const),
  )
  const lanes = states.map(([owner, state]) => dispatcher.lane(owner, state))
  return new Batch(requests, options, dispatcher, lanes, owners).run()
}

class Batch<Request, Result> implements Contender {
  /** Those whose keys are not all dead. */
  lanes: readonly Lane[]
  readonly #requests: readonly Request[]
  readonly #options: BatchOptions<Request, Result>
  readonly #dispatcher: Dispatcher
  readonly #keys: Map<string, BatchKey[]>
  readonly #results: Array<BatchResult<Result> | undefined>
  readonly #concurrency: number
  readonly #maxAttempts: number
  /** 429s that a request met, where it met some. */
  readonly #refusals = new Map<number, number>()
  readonly #ending = new AbortController()
  readonly #finished = Promise.withResolvers<void>()
  /** The next request that was never sent. */
  #next = 0
  /** Requests that go again, in the order in which they came back: one that is always refused holds up nobody. */
  readonly #again: number[] = []
  #underWay = 0
  #done = 0
  #waitingUntil: Milliseconds | undefined

  constructor(
    requests: readonly Request[],
    options: BatchOptions<Request, Result>,
    dispatcher: Dispatcher,
    lanes: readonly Lane[],
    keys: Map<string, BatchKey[]>,
  ) {
    this.#requests = [...requests]
    this.#options = options
    this.#dispatcher = dispatcher
    this.lanes = lanes
    this.#keys = keys
    this.#results = new Array(requests.length)
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
    this.#dispatcher.join(this)
    try {
      await this.#finished.promise
    } finally {
      this.#dispatcher.leave(this)
      cancelAlarm()
      signal?.removeEventListener('abort', abort)
    }
    return this.#results as Array<BatchResult<Result>>
  }

  get wants(): boolean {
    const queued = this.#again.length > 0 || this.#next < this.#requests.length
    return queued && this.#underWay < this.#concurrency && !this.#ending.signal.aborted
  }

  go(lane: Lane, opensMs: Milliseconds | undefined): void {
    const keys = this.#keys.get(lane.owner)!
    const key = keys.shift()
    // Its last key died while the call was being taken.
    if (!key) return
    const index = this.#next < this.#requests.length ? this.#next++ : this.#again.shift()!
    keys.push(key)
    this.#underWay++
    void this.#send(index, lane, key, opensMs)
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

  fails(error: unknown): void {
    this.#rejectQueued(error)
  }

  async #send(
    index: number,
    lane: Lane,
    { key, owner, id }: BatchKey,
    opensMs: Milliseconds | undefined,
  ): Promise<void> {
    const { clock, quota } = this.#dispatcher
    const sent = lane.send(clock.monotonic())
    let isTold = false
    const learn = (answer: QuotaAnswer) => {
      // Without the end of its window nobody can tell whose count it is.
      const { remaining, ...rest } = answer ?? {}
      const told = rest.resetAfterMs === undefined && lane.isOfAnEarlierWindow(sent) ? rest : answer
      isTold ||= rest.resetAfterMs !== undefined
      this.#teach(quota, owner, told)
      if (rest.resetAfterMs !== undefined) lane.told(clock.monotonic() + rest.resetAfterMs)
    }
    const { sendTimeoutMs = DEFAULT_SEND_TIMEOUT_MS } = this.#options
    const late = () =>
      new HoldfastError(
        'BATCH_SEND_TIMEOUT',
        `send took longer than ${sendTimeoutMs} ms; the call may have been counted, and is not sent again`,
      )
    const signals = [this.#ending.signal]
    let result: BatchResult<Result>
    try {
      const value = await withDeadline(clock, sendTimeoutMs, signals, late, (signal) =>
        abandonable(
          () =>
            this.#options.send(this.#requests[index]!, key, { signal, owner, ...(id !== undefined && { id }), learn }),
          signal,
        ),
      )
      result = { status: 'fulfilled', value }
    } catch (reason) {
      result = { status: 'rejected', reason }
    }
    const now = clock.monotonic()
    lane.ended(sent, now)
    this.#underWay--
    const waitMs = result.status === 'rejected' ? namedWait(result.reason) : undefined
    if (this.#ending.signal.aborted) {
      // Settled when the batch ended.
    } else if (waitMs !== undefined) {
      this.#close(lane, sent, waitMs, now)
      this.#goAgain(index, result)
    } else if (result.status === 'rejected' && isKeyDead(result.reason)) {
      this.#bury(lane, key, result.reason)
      if (this.lanes.length > 0) this.#again.push(index)
      else this.#settle(index, result)
    } else {
      lane.accepted()
      // The upstream's window began when this call arrived, so it ends no later than this.
      if (opensMs !== undefined && !isTold) this.#teach(quota, owner, { resetAfterMs: opensMs })
      this.#settle(index, result)
    }
    this.#dispatcher.serve()
  }

  /** Once more, unless it has been refused as often as one request may be. */
  #goAgain(index: number, result: BatchResult<Result>): void {
    const refusals = (this.#refusals.get(index) ?? 0) + 1
    if (refusals >= this.#maxAttempts) {
      this.#refusals.delete(index)
      this.#settle(index, result)
      return
    }
    this.#refusals.set(index, refusals)
    this.#again.push(index)
  }

  /** Takes a key out; with its last key an owner. Where none is left, nothing more can be sent. */
  #bury(lane: Lane, key: string, reason: unknown): void {
    const left = (this.#keys.get(lane.owner) ?? []).filter((other) => other.key !== key)
    this.#keys.set(lane.owner, left)
    if (left.length > 0) return
    this.lanes = this.lanes.filter((other) => other !== lane)
    if (this.lanes.length === 0) this.#rejectQueued(reason)
  }

  #close(lane: Lane, sent: Sent, waitMs: Milliseconds, now: Milliseconds): void {
    this.#teach(this.#dispatcher.quota, lane.owner, { retryAfterMs: lane.refused(sent, waitMs, now) })
  }

  #teach(quota: OwnerQuota, owner: string, answer: QuotaAnswer): void {
    // Inside a promise: a quota that throws, or was closed, is for the next take to tell of.
    new Promise<void>((resolve) => resolve(quota.learn(owner, answer))).catch(() => {})
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
    const unsent = new Set(this.#again)
    for (let index = this.#next; index < this.#requests.length; index++) unsent.add(index)
    const sentReason = isLate ? late(true) : reason
    for (let index = 0; index < this.#requests.length; index++)
      this.#settle(index, { status: 'rejected', reason: unsent.has(index) ? reason : sentReason })
  }

  #rejectQueued(reason: unknown): void {
    const queued = [...this.#again.splice(0)]
    while (this.#next < this.#requests.length) queued.push(this.#next++)
    for (const index of queued) this.#settle(index, { status: 'rejected', reason })
  }
}

function late(wasSent: boolean): HoldfastError {
  return new HoldfastError(
    'BATCH_DEADLINE',
    wasSent
      ? 'the batch ended at its deadline: this request was sent and had not been answered, and may have been counted'
      : 'the batch ended at its deadline: this request was not sent; give the batch longer, or more owners',
  )
}

function isKeyDead(error: unknown): boolean {
  return (error as { keyDead?: unknown } | null | undefined)?.keyDead === true
}

function namedWait(error: unknown): Milliseconds | undefined {
  const ms = (error as { retryAfterMs?: unknown } | null | undefined)?.retryAfterMs
  return typeof ms === 'number' && Number.isFinite(ms) && ms >= 0 ? ms : undefined
}

/** Keys in the order given, by owner; a key that is given twice counts once. */
function keysByOwner(keys: readonly BatchKey[]): Map<string, BatchKey[]> {
  const owners = new Map<string, string>()
  const byOwner = new Map<string, BatchKey[]>()
  for (const given of keys) {
    const { key, owner } = given ?? {}
    if (typeof key !== 'string' || key === '' || typeof owner !== 'string' || owner === '')
      throw invalid('every key needs a text key and a text owner')
    const known = owners.get(key)
    if (known === owner) continue
    // Neither is shown: one is a secret, the other somebody's id.
    if (known !== undefined) throw invalid('one key is given with two owners; ask the vault whose it is')
    owners.set(key, owner)
    const ofOwner = byOwner.get(owner)
    if (ofOwner) ofOwner.push(given)
    else byOwner.set(owner, [given])
  }
  return byOwner
}

/** The options of `batch`. */
export const BATCH_OPTIONS = optionsOf(
  'batch',
  {
    keys: { means: 'the keys, and whose they are', accepts: listOf(anObject('{ key, owner }')), required: true },
    quota: {
      means: 'whose calls are spent',
      accepts: anObjectWith('what createOwnerQuota returns', 'take'),
      required: true,
    },
    send: { means: 'makes one call', accepts: aFunction('a function of request, key and context'), required: true },
    maxAttempts: { means: 'tries of one request that meets 429s', accepts: wholeNumber(1, 1000), preset: '5' },
    concurrency: { means: 'calls under way at a time', accepts: number(1), preset: '64' },
    deadlineMs: { means: 'the whole batch', accepts: milliseconds(), preset: 'none' },
    sendTimeoutMs: { means: 'one call, from `send` to its end', accepts: milliseconds(), preset: '60000 ms' },
    signal: { means: 'ends the batch', accepts: anAbortSignal },
    onProgress: { means: 'told how far it is', accepts: aFunction() },
  } satisfies OptionTable<keyof BatchOptions<unknown, unknown>>,
  'call',
)

function check(requests: unknown, options: unknown): void {
  if (!Array.isArray(requests)) throw invalid('the requests must be an array')
  BATCH_OPTIONS.check(options)
}

function invalid(what: string): HoldfastError {
  return new HoldfastError('INVALID_OPTION', `batch: ${what}`)
}
