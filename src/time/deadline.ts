import { alarm, type Clock, type Milliseconds } from './clock.ts'
import { onAbort } from './on-abort.ts'

/**
 * Runs `work` with a signal that aborts when one of `signals` does, or after `ms` with the reason that `late` makes
 * (Infinity: never). Nothing of it stays behind when the work has ended.
 */
export async function withDeadline<T>(
  clock: Clock,
  ms: Milliseconds,
  signals: ReadonlyArray<AbortSignal | undefined>,
  late: () => unknown,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  if (ms === Number.POSITIVE_INFINITY) {
    const given = signals.filter((signal) => signal !== undefined)
    // Only one can end it: nothing has to be made.
    if (given.length === 1) return work(given[0]!)
  }
  const controller = new AbortController()
  const unlisten: Array<() => void> = []
  for (const signal of signals) {
    if (signal?.aborted) controller.abort(signal.reason)
    else if (signal) unlisten.push(onAbort(signal, () => controller.abort(signal.reason)))
  }
  const cancelAlarm = ms === Number.POSITIVE_INFINITY ? undefined : alarm(clock, ms, () => controller.abort(late()))
  try {
    return await work(controller.signal)
  } finally {
    cancelAlarm?.()
    for (const end of unlisten) end()
  }
}

/** Settles as `work` does, or rejects with `signal.reason` when the signal aborts, whether the work listens to it or not. */
export function abandonable<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason)
    const unlisten = onAbort(signal, () => reject(signal.reason))
    // Inside a promise, so that work that throws at once, or returns no promise, is treated like any other.
    new Promise<T>((started) => started(work())).then(resolve, reject).finally(unlisten)
  })
}
