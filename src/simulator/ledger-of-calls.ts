import type { Milliseconds } from '../time/clock.ts'
import type { RateLimitScope } from './answer.ts'
import type { FaultKind } from './faults.ts'

/** One call that reached the simulator, written down when the rule book decided about it. */
export interface Call {
  /** The wall clock when the rule book looked at it: milliseconds since the epoch. */
  readonly at: Milliseconds
  readonly method: string
  /** The template, such as `/guilds/:guild`; the path itself (at most 200 characters) where no route is known. */
  readonly route: string
  /** Whose token, code or refresh token it carried, also when that is no longer valid; the bot's id for its calls. */
  readonly userId: string | null
  /** 0 when no answer was sent (`hang`, `reset`). */
  readonly status: number
  /**
   * The answer is an invalid one (401, 403, or 429 not of scope `shared`), and with it the address was over the
   * invalid-request limit: at this moment Discord would ban, or has banned already.
   */
  readonly wouldBan: boolean
  /** Whose limit a 429 was about; null for other answers, and for bans. */
  readonly scope: RateLimitScope | null
  /** The fault that met this call, if any (`slow` and `clock-skew` only when there was no other). */
  readonly fault: FaultKind | null
}

/** The calls, oldest first, bounded. */
export interface LedgerOfCalls {
  readonly calls: readonly Call[]
  write(call: Call): void
}

/** Keeps at most `maxCalls`; when full, the oldest tenth is dropped at once, because dropping one costs as much. */
export function createLedgerOfCalls(maxCalls: number): LedgerOfCalls {
  const calls: Call[] = []
  return {
    calls,
    write(call) {
      if (maxCalls === 0) return
      if (calls.length >= maxCalls) calls.splice(0, Math.ceil(maxCalls / 10))
      calls.push(call)
    },
  }
}
