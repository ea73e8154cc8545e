import { retryAtOf, statusOf } from './api-error.ts'
import { type Milliseconds, wallNow } from './clock.ts'

/**
 * A wait in a sentence for people: "Too many requests. Retrying in 12 s." For an error of `ApiClient`, anything else with
 * `retryAt` or the status 429 or 503, or the Date that `waitingUntil` and `useWait()` give. Rounded up to whole seconds,
 * from two minutes on to minutes; "Retrying now." when the time has come. Without a time:
 * "Try again in a moment." An error that is no wait is '', so that `describeWait(error) || error.message` reads well.
 * `now` is the wall clock in epoch milliseconds.
 */
export function describeWait(error: unknown, now: Milliseconds = wallNow()): string {
  const status = statusOf(error)
  const at = error instanceof Date ? error : retryAtOf(error)
  const seconds = (+at! - now) / 1000
  const words = seconds > 120 ? `in ${Math.ceil(seconds / 60)} min` : seconds > 0 ? `in ${Math.ceil(seconds)} s` : 'now'
  if (!at && status !== 429 && status !== 503) return ''
  const how = at ? `Retrying ${words}` : 'Try again in a moment'
  return `${status === 503 ? 'The server is busy' : 'Too many requests'}. ${how}.`
}
