import { HoldfastError } from '../errors/errors.ts'
import { alarm } from '../time/clock.ts'
import { onAbort } from '../time/on-abort.ts'
import { keysOf, late, spread } from './batch.ts'
import { type BatchOptions, type BatchResult, checkStream, DEFAULT_CONCURRENCY } from './batch-options.ts'
import { Dispatcher } from './dispatcher.ts'
import { Journal } from './journal.ts'
import { requestHash } from './journal-lines.ts'
import { type Keeping, UNKNOWABLE } from './keeping.ts'

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
  const ending = new AbortController()
  const ready: Array<StreamResult<Request, Result>> = []
  let wake = Promise.withResolvers<void>()
  const end = (reason: unknown) => {
    ending.abort(reason)
    wake.resolve()
  }
  if (signal?.aborted) throw signal.reason
  const journal = options.journal === undefined ? undefined : await Journal.open(options.journal, signal)
  if (signal?.aborted) end(signal.reason)
  const unlisten = signal?.aborted ? undefined : signal && onAbort(signal, () => end(signal.reason))
  const cancelAlarm =
    deadlineMs === Number.POSITIVE_INFINITY ? undefined : alarm(dispatcher.clock, deadlineMs, () => end(late(false)))
  const input = iteratorOf(requests)
  let read = 0
  let done = 0
  let underWay = 0
  let isReading = false
  let isOver = false
  let failure: { readonly error: unknown } | undefined

  const tell = (waitingUntil?: Date) => {
    const { onProgress } = options
    if (!onProgress) return
    const progress = { done, total: read, ...(waitingUntil && { waitingUntil }) }
    // Inside a promise: whoever watches changes nothing for what is watched.
    new Promise<unknown>((resolve) => resolve(onProgress(progress))).catch(() => {})
  }
  const stopReading = (error: unknown) => {
    failure ??= { error }
    wake.resolve()
  }
  if (journal) onAbort(journal.failed, () => stopReading(journal.failed.reason))
  const { deadlineMs: _whole, priority: _none, ...rest } = options
  const onProgress = ({ waitingUntil }: { waitingUntil?: Date }) => waitingUntil && tell(waitingUntil)
  const send = async (request: Request, keeping?: Keeping<Result>): Promise<BatchResult<Result>> => {
    const [result] = await spread([request], { ...rest, signal: ending.signal, onProgress }, dispatcher, keys, keeping)
    return result!
  }
  const sendUnlessKnown = async (journal: Journal, request: Request, index: number) => {
    const hash = requestHash(request)
    const { failed } = journal
    try {
      // Asked for in turn: what is recalled after it waits for it, and fails with it.
      const begun = index === 0 ? journal.begin(hash ?? '') : undefined
      if (hash === undefined) {
        await begun
        return UNKNOWABLE
      }
      const known = await journal.recall<Result>(index, hash)
      if (known) return known
      if (failed.aborted) throw failed.reason
    } catch (error) {
      stopReading(error)
      throw error
    }
    return send(request, { settled: new Map(), failed, keep: (_, value) => journal.keep(index, hash, value) })
  }
  const settle = async (request: Request, index: number) => {
    underWay++
    const settling = journal ? sendUnlessKnown(journal, request, index) : send(request)
    // `cost` threw, or the journal is of no use.
    const result = await settling.catch((reason: unknown) => ({ status: 'rejected', reason }) as const)
    underWay--
    done++
    ready.push({ index, request, ...result })
    tell()
    wake.resolve()
  }
  const readOne = async () => {
    isReading = true
    try {
      const next = await input.next()
      if (next.done) isOver = true
      else if (!ending.signal.aborted && !failure) void settle(next.value, read++)
    } catch (error) {
      isOver = true
      stopReading(error)
    }
    isReading = false
    wake.resolve()
  }

  try {
    for (;;) {
      if (!isOver && !isReading && !failure && !ending.signal.aborted && underWay + ready.length < concurrency)
        void readOne()
      const result = ready.shift()
      if (result) {
        yield result
        continue
      }
      if (underWay === 0 && (isOver || failure || ending.signal.aborted)) break
      await wake.promise
      wake = Promise.withResolvers<void>()
    }
    if (ending.signal.aborted) throw ending.signal.reason
    if (failure) throw failure.error
  } finally {
    unlisten?.()
    cancelAlarm?.()
    if (!ending.signal.aborted) ending.abort(new HoldfastError('CLOSED', 'batchStream: its reader left'))
    // An input that never answers is nobody's wait any more.
    if (!isOver) new Promise((resolve) => resolve(input.return?.())).catch(() => {})
    await journal?.close()
  }
}

function iteratorOf<T>(input: Iterable<T> | AsyncIterable<T>): Iterator<T> | AsyncIterator<T> {
  return Symbol.asyncIterator in input ? input[Symbol.asyncIterator]() : input[Symbol.iterator]()
}
