import type { Milliseconds } from '../time/clock.ts'
import type { Errand } from './errand.ts'
import { backoffMs, isIdempotent } from './verdict.ts'

/** How an attempt ended that is not an answer: whether it may be repeated, after how long, and whether a hold makes it wait anyway. */
export interface Setback {
  readonly error: unknown
  readonly waitMs: Milliseconds
  readonly held: boolean
}

/**
 * What trouble means for a call at `now` (monotonic): tried again where its policy says so, or once within the patience of
 * whoever waits. Throws the error where neither holds. `namedMs` is a wait that the answer asked for.
 */
export function setbackOf(
  random: () => number,
  now: Milliseconds,
  { call, policy, attempts, beganAt }: Errand,
  error: unknown,
  mayRepeat: boolean,
  namedMs: Milliseconds | undefined,
): Setback {
  if (!mayRepeat || !isIdempotent(call.method)) throw error
  if (policy.retryOn === 'transient')
    return { error, waitMs: namedMs ?? backoffMs(attempts, policy.retryDelayMs, random), held: false }
  const leftMs = (policy.onceMoreWithinMs ?? 0) - (now - beganAt)
  const waitMs = namedMs ?? leftMs * (0.25 + random() / 4)
  if (attempts > 1 || leftMs <= 0 || waitMs >= leftMs) throw error
  return { error, waitMs, held: false }
}

/** Whether a call goes on after a setback: it has tries left, and the wait fits into what it may still wait. Pure. */
export function mayTryAgain({ attempts, leftMs, policy }: Errand, { waitMs }: Setback): boolean {
  return waitMs <= leftMs && attempts <= policy.maxRetries
}
