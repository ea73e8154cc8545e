import { HoldfastError } from '../errors/errors.ts'
import { alarm } from '../time/clock.ts'
import { onAbort } from '../time/on-abort.ts'
import { keysOf, late, spread } from './batch.ts'
import { type BatchOptions, type BatchResult, checkStream, DEFAULT_CONCURRENCY } from './batch-options.ts'
import { Dispatcher } from './dispatcher.ts'

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
 * way and closes the input. Throws INVALID_OPTION, at the first step, for options that cannot be used.
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
  const unlisten = signal && onAbort(signal, () => end(signal.reason))
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
  const send = async (request: Request, index: number) => {
    underWay++
    const { deadlineMs: _whole, priority: _none, ...rest } = options
    const onProgress = ({ waitingUntil }: { waitingUntil?: Date }) => waitingUntil && tell(waitingUntil)
    const [result] = await spread([request], { ...rest, signal: ending.signal, onProgress }, dispatcher, keys).catch(
      // `cost` threw.
      (reason: unknown) => [{ status: 'rejected', reason } as const],
    )
    underWay--
    done++
    ready.push({ index, request, ...result! })
    tell()
    wake.resolve()
  }
  const readOne = async () => {
    isReading = true
    try {
      const next = await input.next()
      if (next.done) isOver = true
      else if (!ending.signal.aborted) void send(next.value, read++)
    } catch (error) {
      failure = { error }
      isOver = true
    }
    isReading = false
    wake.resolve()
  }

  try {
    for (;;) {
      if (!isOver && !isReading && !ending.signal.aborted && underWay + ready.length < concurrency) void readOne()
      const result = ready.shift()
      if (result) {
        yield result
        continue
      }
      if (underWay === 0 && (isOver || ending.signal.aborted)) break
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
  }
}

function iteratorOf<T>(input: Iterable<T> | AsyncIterable<T>): Iterator<T> | AsyncIterator<T> {
  return Symbol.asyncIterator in input ? input[Symbol.asyncIterator]() : input[Symbol.iterator]()
}
