import { alarm, type Clock, type Milliseconds } from './clock.ts'

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
  const controller = new AbortController()
  const abort = () => controller.abort(signals.find((signal) => signal?.aborted)?.reason)
  if (signals.some((signal) => signal?.aborted)) abort()
  for (const signal of signals) signal?.addEventListener('abort', abort, { once: true })
  const cancelAlarm = ms === Number.POSITIVE_INFINITY ? undefined : alarm(clock, ms, () => controller.abort(late()))
  try {
    return await work(controller.signal)
  } finally {
    cancelAlarm?.()
    for (const signal of signals) signal?.removeEventListener('abort', abort)
  }
}

/** Settles as `work` does, or rejects with `signal.reason` when the signal aborts, whether the work listens to it or not. */
export function abandonable<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason)
    const abandon = () => reject(signal.reason)
    signal.addEventListener('abort', abandon, { once: true })
    // Inside a promise, so that work that throws at once, or returns no promise, is treated like any other.
    new Promise<T>((started) => started(work()))
      .then(resolve, reject)
      .finally(() => signal.removeEventListener('abort', abandon))
  })
}
