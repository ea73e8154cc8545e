import { HoldfastError } from '../errors/errors.ts'
import type { AppliedLimit } from '../guard/applied-limit.ts'
import type { Costs, Count, Taken } from '../guard/counters.ts'
import type { Milliseconds } from '../time/clock.ts'
import { monthOf } from '../time/month.ts'
import { heldPoints, type SlidingCount, untilItFits } from '../time/sliding-window.ts'
import type { RedisConnection } from './connection.ts'
import { REFUND } from './give-back-scripts.ts'
import { answerLength } from './take-script.ts'

/** What a take's script said of one request. */
export interface TakeAnswer {
  readonly connection: RedisConnection
  readonly key: string
  readonly limits: readonly AppliedLimit[]
  readonly costs: Costs
  readonly admitted: boolean
  /** Redis's time. */
  readonly now: Milliseconds
  /** For each limit: charged, begun, in a refusal whether it refuses, and where it slides what the window before held. */
  readonly numbers: readonly number[]
}

export class TakenInRedis implements Taken {
  readonly #answer: TakeAnswer
  #counts: readonly Count[] | undefined

  constructor(answer: TakeAnswer) {
    this.#answer = answer
  }

  get admitted(): boolean {
    return this.#answer.admitted
  }

  get counts(): readonly Count[] {
    this.#counts ??= this.#count()
    return this.#counts
  }

  get retryAfterMs(): Milliseconds {
    return this.counts.reduce((ms, count) => (count.refuses ? Math.max(ms, count.resetInMs) : ms), 0)
  }

  /** Sent once and never again: whether a refund that was not answered was given, nobody knows. */
  async refund(): Promise<boolean> {
    const { connection, key, limits, costs, admitted, numbers } = this.#answer
    if (limits.length === 0 || !admitted) return false
    const starts = this.#offsets().map((offset) => numbers[offset + 1]!)
    const args = limits.flatMap(({ counter, windowMs }, index) => [
      counter,
      windowMs === 'month' ? 0 : windowMs,
      starts[index]!,
      costs?.[index] ?? 1,
    ])
    try {
      return Number(await connection.run(REFUND, [key], args)) > 0
    } catch (error) {
      if (error instanceof HoldfastError && error.code === 'REDIS_UNAVAILABLE') return false
      throw error
    }
  }

  #count(): readonly Count[] {
    const { limits, costs, admitted, now, numbers } = this.#answer
    const offsets = this.#offsets()
    return limits.map((limit, index) => {
      const at = offsets[index]!
      const [used, start] = [numbers[at]!, numbers[at + 1]!]
      const refuses = admitted ? 0 : numbers[at + 2]!
      const before = limit.sliding ? numbers[at + (admitted ? 2 : 3)]! : 0
      return countInRedis(limit, { now, used, start, before, cost: costs?.[index] ?? 1, refuses })
    })
  }

  /** Where each limit's numbers begin. */
  #offsets(): readonly number[] {
    let at = 0
    return this.#answer.limits.map((limit) => {
      const here = at
      at += answerLength(limit, this.#answer.admitted)
      return here
    })
  }
}

/** What one counter says of its limit. */
export function countInRedis(
  { limit, windowMs, sliding }: AppliedLimit,
  counter: {
    /** Redis's time. */
    readonly now: Milliseconds
    readonly used: number
    /** When its window began; 0 where none has. */
    readonly start: Milliseconds
    readonly before: number
    readonly cost: number
    /** 0 for no, 1 for what is charged, 2 for all that was admitted, given back or not. */
    readonly refuses: number
  },
): Count {
  const { now, used, start, before, cost } = counter
  const refuses = counter.refuses > 0
  const exhausted = counter.refuses === 2
  if (windowMs === 'month') {
    const month = monthOf(now)
    const length = month.end - month.start
    const isNow = start >= month.start
    // A window of the month before is over, and was only looked at.
    return { used: isNow ? used : 0, resetInMs: month.end - now, windowMs: length, refuses, exhausted }
  }
  const isOver = now >= start + windowMs
  if (!sliding || start === 0) {
    if (start === 0 || isOver) return { used: 0, resetInMs: windowMs, windowMs, refuses, exhausted }
    return { used: used, resetInMs: start + windowMs - now, windowMs, refuses, exhausted }
  }
  const count = slidTo(now, { used, start, before, windowMs })
  if (!count) return { used: 0, resetInMs: windowMs, windowMs, refuses, exhausted }
  const waitMs = untilItFits(count, refuses ? cost : 1, limit)
  const resetInMs = waitMs === 0 || exhausted ? Math.max(waitMs, count.leftMs) : waitMs
  return { used: heldPoints(count), resetInMs, windowMs, refuses, exhausted }
}

/** A sliding count as it stands now; undefined where nothing of it is left. */
function slidTo(
  now: Milliseconds,
  { used, start, before, windowMs }: { used: number; start: Milliseconds; before: number; windowMs: Milliseconds },
): SlidingCount | undefined {
  if (now < start + windowMs) return { used, previous: before, leftMs: start + windowMs - now, windowMs }
  if (now >= start + 2 * windowMs) return undefined
  return { used: 0, previous: used, leftMs: start + 2 * windowMs - now, windowMs }
}
