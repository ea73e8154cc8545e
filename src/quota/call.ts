import { HoldfastError } from '../errors/errors.ts'
import type { Milliseconds } from '../time/clock.ts'
import { abandonable, withDeadline } from '../time/deadline.ts'
import type { Dispatcher } from './dispatcher.ts'
import type { Lane } from './lane.ts'
import type { QuotaAnswer } from './quota-answer.ts'

/** How a call ended. `refused`: a 429; `key dead`: by the error's own word; `ended`: whoever wanted it wants it no more. */
export type Outcome<Result> =
  | { readonly how: 'fulfilled'; readonly value: Result }
  | { readonly how: 'refused' | 'key dead' | 'ended'; readonly reason: unknown }
  | {
      readonly how: 'failed'
      readonly reason: unknown /** `send`, where its time was over and it was not. */
      readonly stillRuns?: Promise<unknown>
    }

/**
 * Makes one call that was taken from the quota, and teaches quota and lane what came of it. Whoever uses it serves the
 * dispatcher afterwards. Never rejects.
 */
export async function call<Result>(options: {
  readonly dispatcher: Dispatcher
  readonly lane: Lane
  /** As in `Taken`. */
  readonly opens: readonly Milliseconds[] | undefined
  /** Calls it counts for. */
  readonly cost: number
  readonly sendTimeoutMs: Milliseconds
  /** Aborts when nobody wants the answer any more. */
  readonly ending: AbortSignal
  readonly send: (signal: AbortSignal, learn: (answer: QuotaAnswer) => void) => Promise<Result>
}): Promise<Outcome<Result>> {
  const { dispatcher, lane, opens = [], cost, sendTimeoutMs, ending } = options
  const { clock } = dispatcher
  const sent = lane.send(clock.monotonic(), cost)
  let isAnswered = false
  // The upstream's windows began when this call arrived, so they end no later than this. What an answer tells is better.
  const reckon = (now: Milliseconds) => {
    if (isAnswered) return
    isAnswered = true
    const doubtMs = lane.doubtMs(sent, now)
    for (const windowMs of opens)
      dispatcher.learn(lane, { windowMs, resetAfterMs: windowMs }, { doubtMs, isReckoned: true })
  }
  const learn = (answer: QuotaAnswer) => {
    const now = clock.monotonic()
    // Without the end of its window nobody can tell whose count it is.
    const { remaining, ...rest } = answer ?? {}
    const isOfThisWindow = !lane.isOfAnEarlierWindow(sent)
    const told = rest.resetAfterMs === undefined && !isOfThisWindow ? rest : answer
    dispatcher.learn(lane, told, { doubtMs: lane.doubtMs(sent, now), isOfThisWindow })
    if (rest.resetAfterMs !== undefined) lane.told(rest.resetAfterMs, now)
    reckon(now)
  }
  let sending: Promise<Result> | undefined
  let isLate = false
  const late = () => {
    isLate = true
    return new HoldfastError(
      'BATCH_SEND_TIMEOUT',
      `send took longer than ${sendTimeoutMs} ms; the call may have been counted, and is not sent again`,
    )
  }
  let outcome: Outcome<Result>
  try {
    const value = await withDeadline(clock, sendTimeoutMs, [ending], late, (signal) =>
      abandonable(() => (sending = options.send(signal, learn)), signal),
    )
    outcome = { how: 'fulfilled', value }
  } catch (reason) {
    if (isLate && sending) outcome = { how: 'failed', reason, stillRuns: sending }
    else outcome = { how: isKeyDead(reason) ? 'key dead' : 'failed', reason }
  }
  const now = clock.monotonic()
  lane.ended(sent, now)
  if (ending.aborted) return { how: 'ended', reason: ending.reason }
  const waitMs = outcome.how === 'fulfilled' ? undefined : namedWait(outcome.reason)
  if (outcome.how !== 'fulfilled' && waitMs !== undefined) {
    dispatcher.learn(lane, { retryAfterMs: lane.refused(sent, waitMs, now) }, {})
    return { how: 'refused', reason: outcome.reason }
  }
  if (outcome.how === 'key dead') return outcome
  lane.accepted()
  reckon(now)
  return outcome
}

function isKeyDead(error: unknown): boolean {
  return (error as { keyDead?: unknown } | null | undefined)?.keyDead === true
}

function namedWait(error: unknown): Milliseconds | undefined {
  const ms = (error as { retryAfterMs?: unknown } | null | undefined)?.retryAfterMs
  return typeof ms === 'number' && Number.isFinite(ms) && ms >= 0 ? ms : undefined
}
