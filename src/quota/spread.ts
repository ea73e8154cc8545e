import { HoldfastError } from '../errors/errors.ts'
import type { Milliseconds } from '../time/clock.ts'
import { abandonable, withDeadline } from '../time/deadline.ts'
import { onAbort } from '../time/on-abort.ts'
import { type BatchKey, type BatchOptions, type BatchResult, DEFAULT_CONCURRENCY } from './batch-options.ts'
import { call } from './call.ts'
import type { Contender } from './contender.ts'
import { type Dispatcher, tooDear } from './dispatcher.ts'
import type { Keeping } from './keeping.ts'
import { KeyUses } from './key-uses.ts'
import type { Lane } from './lane.ts'
import type { OwnerKeys } from './owner-keys.ts'
import type { RequestLine } from './request-line.ts'

const DEFAULT_ATTEMPTS = 5
const DEFAULT_SEND_TIMEOUT_MS: Milliseconds = 60_000

/** What is spread: requests, known by their index. */
export interface Work<Request, Result> {
  request(index: number): Request
  /** Calls it counts for. */
  cost(index: number): number
  /** It may be settled a second time, where it ended early: the first counts. */
  settle(index: number, result: BatchResult<Result>): void
  /** Settles all that are under way: nobody waits for them any more. */
  abandon(reason: unknown): void
  /** As a contender is told. */
  waits(until: Milliseconds | undefined): void
}

/** Spreads the requests of one batch, or of one stream, over the owners of its keys. */
export class Spread<Request, Result> implements Contender {
  /** Those whose keys are not all dead. */
  lanes: readonly Lane[]
  readonly #work: Work<Request, Result>
  readonly #options: BatchOptions<Request, Result>
  readonly #dispatcher: Dispatcher
  readonly #keys: ReadonlyMap<string, OwnerKeys>
  readonly #line: RequestLine
  readonly #keeping: Pick<Keeping<Result>, 'failed' | 'keep'> | undefined
  readonly #uses: KeyUses | undefined
  readonly #concurrency: number
  readonly #maxAttempts: number
  readonly #sendTimeoutMs: Milliseconds
  /** 429s that a request met, where it met some. */
  readonly #refusals = new Map<number, number>()
  readonly #ending = new AbortController()
  readonly #unlisten: (() => void) | undefined
  #underWay = 0

  constructor(given: {
    readonly work: Work<Request, Result>
    readonly options: BatchOptions<Request, Result>
    readonly dispatcher: Dispatcher
    readonly keys: ReadonlyMap<string, OwnerKeys>
    /** Who waits. */
    readonly line: RequestLine
    readonly keeping: Pick<Keeping<Result>, 'failed' | 'keep'> | undefined
  }) {
    const { options, dispatcher, keys, keeping } = given
    this.#work = given.work
    this.#options = options
    this.#dispatcher = dispatcher
    this.#keys = keys
    this.#line = given.line
    this.#keeping = keeping
    this.#uses = options.vault && new KeyUses(options.vault, dispatcher.clock)
    this.#concurrency = options.concurrency ?? DEFAULT_CONCURRENCY
    this.#maxAttempts = options.maxAttempts ?? DEFAULT_ATTEMPTS
    this.#sendTimeoutMs = options.sendTimeoutMs ?? DEFAULT_SEND_TIMEOUT_MS
    this.lanes = [...keys.keys()].map((owner) => dispatcher.lane(owner))
    this.#unlisten =
      keeping && !keeping.failed.aborted
        ? onAbort(keeping.failed, () => this.#rejectQueued(keeping.failed.reason))
        : undefined
  }

  begin(): void {
    this.#dispatcher.join(this)
  }

  /** One more request, behind those that wait. */
  add(index: number): void {
    if (this.lanes.length === 0) {
      const reason = new HoldfastError('QUOTA_NEVER', 'every key that was given is dead; give others')
      this.#settle(index, { status: 'rejected', reason })
      return
    }
    this.#line.again(index)
    this.#dispatcher.serve()
  }

  /** All is settled, or nobody asks any more. Resolves once the uses of keys are noted; at once where it was ended. */
  async leave(): Promise<void> {
    this.#unlisten?.()
    // Sends that did not listen to their signal keep no place any more.
    this.#ending.abort()
    this.#dispatcher.leave(this)
    await this.#uses?.noted()
  }

  /** Ends it early: what was sent is settled with another reason than what was not. */
  end(reason: unknown, sentReason: unknown): void {
    this.#uses?.drop()
    if (this.#ending.signal.aborted) return
    this.#ending.abort(reason)
    this.#rejectQueued(reason)
    this.#work.abandon(sentReason)
  }

  get wants(): boolean {
    return this.#line.length > 0 && this.#underWay < this.#concurrency && !this.#ending.signal.aborted
  }

  get cost(): number {
    const index = this.#line.first()
    return index === undefined ? 1 : this.#work.cost(index)
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
    if (key.id !== undefined) this.#uses?.used(key.id)
    void this.#send(this.#line.shift()!, lane, keys, key, opens)
  }

  waits(until: Milliseconds | undefined): void {
    this.#work.waits(until)
  }

  givesUp(): void {
    this.#rejectQueued(
      new HoldfastError(
        'QUOTA_NEVER',
        'no owner of these keys may make a call: their limits are 0; raise them with setLimit',
      ),
    )
    // What comes later asks again: another process may have raised one.
    for (const lane of this.lanes) if (lane.closedUntil === Number.POSITIVE_INFINITY) lane.reopen()
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
      cost: this.#work.cost(index),
      sendTimeoutMs: this.#sendTimeoutMs,
      ending: this.#ending.signal,
      send: (signal, learn) =>
        this.#options.send(this.#work.request(index), key, { signal, owner, ...(id !== undefined && { id }), learn }),
    })
    if (outcome.how === 'failed' && outcome.stillRuns) {
      this.#settle(index, { status: 'rejected', reason: outcome.reason })
      await this.#over(outcome.stillRuns)
    }
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

  /** A send that does not listen to its signal keeps its place until it ends: for as long again, and then no more. */
  async #over(running: Promise<unknown>): Promise<void> {
    const { clock } = this.#dispatcher
    await withDeadline(
      clock,
      this.#sendTimeoutMs,
      [this.#ending.signal],
      () => undefined,
      (signal) => abandonable(() => running, signal),
    ).catch(() => {})
  }

  /** Once more, unless it has been refused as often as one request may be. */
  #goAgain(index: number, reason: unknown): void {
    const refusals = (this.#refusals.get(index) ?? 0) + 1
    if (refusals >= this.#maxAttempts) {
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
    this.#refusals.delete(index)
    this.#work.settle(index, result)
  }

  #rejectQueued(reason: unknown): void {
    for (const index of this.#line.drain()) this.#settle(index, { status: 'rejected', reason })
  }
}
