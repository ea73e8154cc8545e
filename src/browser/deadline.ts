import { ApiError } from './api-error.ts'
import { alarm, type Milliseconds } from './clock.ts'
import { orLeave } from './settle.ts'

/** How long somebody else's work may take: longer than a full wait at a gate, by default, and what comes after it. */
const DEADLINE_MS: Milliseconds = 120_000

/**
 * Starts `work` before it returns, and settles with it; rejects with `signal.reason` once the controller is aborted, which
 * it is with `TIMEOUT` when the time is over. What throws rejects.
 */
export function withDeadline<T>(work: (signal: AbortSignal) => Promise<T>, controller: AbortController): Promise<T> {
  const { signal } = controller
  const { promise, resolve, reject } = Promise.withResolvers<T>()
  const cancelAlarm = alarm(DEADLINE_MS, () => controller.abort(new ApiError('given up after 120 s', 'TIMEOUT')))
  new Promise<T>((start) => start(work(signal))).then(resolve, reject)
  return orLeave(promise, signal, () => reject(signal.reason)).finally(cancelAlarm)
}
