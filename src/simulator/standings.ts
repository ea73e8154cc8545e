import type { Milliseconds } from '../time/clock.ts'
import type { Verdict } from './limits.ts'

/** Where somebody stands with one limit, when it was last asked for. */
export interface Standing {
  readonly route: string
  readonly userId: string | null
  readonly limit: number
  readonly remaining: number
  readonly resetAfterMs: Milliseconds
}

/** The limits that were asked for last, for those who watch. */
export interface Standings {
  note(key: string, route: string, userId: string | null, verdict: Verdict, nowMs: Milliseconds): void
  /** The latest first; what has come back since is counted back. */
  list(nowMs: Milliseconds): readonly Standing[]
}

const MOST = 50

export function createStandings(): Standings {
  const kept = new Map<string, { route: string; userId: string | null; verdict: Verdict; atMs: Milliseconds }>()
  return {
    note(key, route, userId, verdict, atMs) {
      kept.delete(key)
      kept.set(key, { route, userId, verdict, atMs })
      if (kept.size > MOST) kept.delete(kept.keys().next().value!)
    },
    list: (nowMs) =>
      [...kept.values()].reverse().map(({ route, userId, verdict, atMs }) => {
        const resetAfterMs = Math.max(0, verdict.resetAfterMs - (nowMs - atMs))
        const remaining = resetAfterMs === 0 ? verdict.limit : verdict.remaining
        return { route, userId, limit: verdict.limit, remaining, resetAfterMs }
      }),
  }
}
