import type { ApiClient } from './api-client.ts'
import { ApiError } from './api-error.ts'
import { alarm, type Milliseconds } from './clock.ts'
import { orLeave } from './settle.ts'

/** How long somebody else's work may take, the waits of `client`'s gate not counted. */
const DEADLINE_MS: Milliseconds = 60_000

/**
 * Starts `work` before it returns, and settles with it; rejects with `signal.reason` once the controller is aborted, which
 * it is with `TIMEOUT` when the time is over. What throws rejects.
 */
export function withDeadline<T>(
  work: (signal: AbortSignal) => Promise<T>,
  controller: AbortController,
  client: ApiClient | undefined,
): Promise<T> {
  const { signal } = controller
  const { promise, resolve, reject } = Promise.withResolvers<T>()
  const set = () =>
    alarm(DEADLINE_MS, () => {
      if (client?.waitingUntil) cancelAlarm = set()
      else controller.abort(new ApiError('given up after 60 s', 'TIMEOUT'))
    })
  let cancelAlarm = set()
  new Promise<T>((start) => start(work(signal))).then(resolve, reject)
  return orLeave(promise, signal, () => reject(signal.reason)).finally(() => cancelAlarm())
}
