import { TransientMap } from '../collections/transient-map.ts'
import { HoldfastError } from '../errors/errors.ts'
import { alarm, type Milliseconds } from '../time/clock.ts'
import { onAbort } from '../time/on-abort.ts'
import { keysOf, late, refusedAtOnce } from './batch.ts'
import { type BatchOptions, type BatchResult, checkStream, DEFAULT_CONCURRENCY } from './batch-options.ts'
import { Dispatcher } from './dispatcher.ts'
import { Journal } from './journal.ts'
import { requestHash } from './journal-lines.ts'
import { UNKNOWABLE } from './keeping.ts'
import type { OwnerKeys } from './owner-keys.ts'
import { progressOf, type TellProgress } from './progress.ts'
import { RequestLine } from './request-line.ts'
import { Spread, type Work } from './spread.ts'

/** One settled request of a stream. */
export type StreamResult<Request, Result> = { readonly index: number; readonly request: Request } & BatchResult<Result>

/**
 * As `batch`, for input of unknown length: results come as they are settled, in any order, each with its request and
 * that one's place. At most `concurrency` requests are read and not yet taken by the caller, so that a slow reader slows
 * the input, and memory stays flat. `priority` orders nothing here, because what comes later is not known.
 *
 * Ends when the input has ended and all is settled. Where the input throws, what was read of it is settled first, and
 * then its error is thrown. At an abort, and at the deadline (BATCH_DEADLINE), what was read comes back rejected with
 * that reason, which is then thrown: what was not read nobody can tell of. Leaving the loop early aborts what is under
 * way and closes the input. With a journal, its trouble ends reading: what was read is settled, and then the journal's
 * error is thrown, as `batch` rejects with it. Throws INVALID_OPTION, at the first step, for options that cannot be used.
 */
export async function* batchStream<Request, Result>(
  requests: Iterable<Request> | AsyncIterable<Request>,
  options: BatchOptions<Request, Result>,
): AsyncGenerator<StreamResult<Request, Result>, void, undefined> {
  checkStream(requests, options)
  const dispatcher = Dispatcher.of(options.quota)
  const keys = keysOf(options, dispatcher)
  const { concurrency = DEFAULT_CONCURRENCY, deadlineMs = Number.POSITIVE_INFINITY, signal } = options
  if (signal?.aborted) throw signal.reason
  const journal = options.journal === undefined ? undefined : await Journal.open(options.journal, signal)
  const stream = new Stream(iteratorOf(requests), options, dispatcher, keys, journal)
  if (signal?.aborted) stream.end(signal.reason, signal.reason)
  const unlisten = signal?.aborted
    ? undefined
    : signal && onAbort(signal, () => stream.end(signal.reason, signal.reason))
  const cancelAlarm =
    deadlineMs === Number.POSITIVE_INFINITY
      ? undefined
      : alarm(dispatcher.clock, deadlineMs, () => stream.end(late(false), late(true)))
  try {
    for (;;) {
      if (stream.reads && stream.inside < concurrency) void stream.readOne()
      const result = stream.ready.shift()
      if (result) yield result
      else if (stream.inside === 0 && (stream.isOver || stream.failure)) break
      else await stream.news()
    }
    if (stream.failure) throw stream.failure.error
  } finally {
    await stream.close()
    unlisten?.()
    cancelAlarm?.()
  }
}

/** A request that was read and is not settled. */
interface Item<Request> {
  readonly request: Request
  cost: number
  /** By which a journal knows it. */
  hash: string | undefined
  /** Whether it waits for its turn, or had it. */
  isSpread: boolean
}

class Stream<Request, Result> implements Work<Request, Result> {
  /** What the reader has not taken yet. */
  readonly ready: Array<StreamResult<Request, Result>> = []
  /** Whether the input has ended. */
  isOver = false
  /** What ends the stream once all that was read is settled. */
  failure: { readonly error: unknown } | undefined
  readonly #input: Iterator<Request> | AsyncIterator<Request>
  readonly #options: BatchOptions<Request, Result>
  readonly #journal: Journal | undefined
  readonly #spread: Spread<Request, Result>
  readonly #items = new TransientMap<number, Item<Request>>()
  readonly #tellProgress: TellProgress
  #read = 0
  #done = 0
  #isReading = false
  #waitingUntil: Milliseconds | undefined
  #hasEnded = false
  #wake = Promise.withResolvers<void>()

  constructor(
    input: Iterator<Request> | AsyncIterator<Request>,
    options: BatchOptions<Request, Result>,
    dispatcher: Dispatcher,
    keys: ReadonlyMap<string, OwnerKeys>,
    journal: Journal | undefined,
  ) {
    this.#input = input
    this.#options = options
    this.#journal = journal
    this.#tellProgress = progressOf(options, dispatcher.clock)
    if (journal) onAbort(journal.failed, () => this.#stopReading(journal.failed.reason))
    const keeping = journal && {
      failed: journal.failed,
      keep: (index: number, value: Result) => journal.keep(index, this.#items.get(index)!.hash!, value),
    }
    const line = new RequestLine([], () => 0)
    this.#spread = new Spread({ work: this, options, dispatcher, keys, line, keeping })
    this.#spread.begin()
  }

  /** Read, and not taken by the reader yet. */
  get inside(): number {
    return this.#items.size + this.ready.length
  }

  /** Whether the next request may be asked for. */
  get reads(): boolean {
    return !this.isOver && !this.#isReading && !this.failure
  }

  /** Resolves once something has happened. */
  async news(): Promise<void> {
    await this.#wake.promise
    this.#wake = Promise.withResolvers<void>()
  }

  /** Never rejects. */
  async readOne(): Promise<void> {
    this.#isReading = true
    try {
      const next = await this.#input.next()
      if (next.done) this.isOver = true
      else if (!this.failure) void this.#add(next.value, this.#read++)
    } catch (error) {
      this.isOver = true
      this.#stopReading(error)
    }
    this.#isReading = false
    this.#wake.resolve()
  }

  /** Ends it early. What was sent is told apart from what was not. */
  end(reason: unknown, sentReason: unknown): void {
    if (this.#hasEnded) return
    this.#hasEnded = true
    this.failure = { error: reason }
    for (const index of [...this.#items.keys()])
      if (!this.#items.get(index)!.isSpread) this.settle(index, { status: 'rejected', reason })
    this.#spread.end(reason, sentReason)
    this.#wake.resolve()
  }

  async close(): Promise<void> {
    if (this.inside > 0 || !this.isOver) {
      const left = new HoldfastError('CLOSED', 'batchStream: its reader left')
      this.end(left, left)
    }
    await this.#spread.leave()
    // An input that never answers is nobody's wait any more.
    if (!this.isOver) new Promise((resolve) => resolve(this.#input.return?.())).catch(() => {})
    await this.#journal?.close()
  }

  request(index: number): Request {
    return this.#items.get(index)!.request
  }

  cost(index: number): number {
    return this.#items.get(index)?.cost ?? 1
  }

  settle(index: number, result: BatchResult<Result>): void {
    const item = this.#items.get(index)
    if (!item) return
    this.#items.delete(index)
    this.#done++
    this.ready.push({ index, request: item.request, ...result })
    this.#tellProgress(this.#done, this.#read, undefined)
    this.#wake.resolve()
  }

  abandon(reason: unknown): void {
    for (const index of [...this.#items.keys()]) this.settle(index, { status: 'rejected', reason })
  }

  waits(until: Milliseconds | undefined): void {
    if (until === this.#waitingUntil) return
    this.#waitingUntil = until
    if (until !== undefined) this.#tellProgress(this.#done, this.#read, until)
  }

  async #add(request: Request, index: number): Promise<void> {
    const item: Item<Request> = { request, cost: 1, hash: undefined, isSpread: false }
    this.#items.set(index, item)
    try {
      let result = this.#journal && (await this.#known(this.#journal, item, index))
      if (!result) {
        item.cost = this.#options.cost?.(request) ?? 1
        result = refusedAtOnce(item.cost, 0)
      }
      if (result) this.settle(index, result)
      else if (this.#items.has(index)) {
        item.isSpread = true
        this.#spread.add(index)
      }
    } catch (reason) {
      // `cost` threw, or the journal is of no use.
      this.settle(index, { status: 'rejected', reason })
    }
  }

  async #known(journal: Journal, item: Item<Request>, index: number): Promise<BatchResult<Result> | undefined> {
    const { failed } = journal
    item.hash = requestHash(item.request)
    try {
      // Asked for in turn: what is recalled after it waits for it, and fails with it.
      const begun = index === 0 ? journal.begin(item.hash ?? '') : undefined
      if (item.hash === undefined) {
        await begun
        return UNKNOWABLE
      }
      const known = await journal.recall<Result>(index, item.hash)
      if (!known && failed.aborted) throw failed.reason
      return known
    } catch (error) {
      this.#stopReading(error)
      throw error
    }
  }

  #stopReading(error: unknown): void {
    this.failure ??= { error }
    this.#wake.resolve()
  }
}

function iteratorOf<T>(input: Iterable<T> | AsyncIterable<T>): Iterator<T> | AsyncIterator<T> {
  return Symbol.asyncIterator in input ? input[Symbol.asyncIterator]() : input[Symbol.iterator]()
}
