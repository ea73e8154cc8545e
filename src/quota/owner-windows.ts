import type { Milliseconds } from '../time/clock.ts'
import type { Allowance, OwnerPool, PoolState, Window } from './owner-pool.ts'
import type { Taken } from './pool-store.ts'

/** One of an owner's windows, and what it may have. */
export interface OwnerWindow {
  readonly pool: OwnerPool
  readonly allowance: Allowance
  readonly window: Window
}

/** Takes `n` calls of all windows, or of none. */
export function takeTogether(windows: readonly OwnerWindow[], n: number, now: Milliseconds): Taken {
  let retryAfterMs = 0
  for (const { pool, allowance, window } of windows)
    retryAfterMs = Math.max(retryAfterMs, pool.refusal(n, allowance, window, now)?.retryAfterMs ?? 0)
  if (retryAfterMs > 0) return { ok: false, remaining: leastLeft(windows, now), retryAfterMs }
  const opens: Milliseconds[] = []
  for (const { pool, window } of windows) if (pool.count(n, window, now)) opens.push(window.windowMs)
  return { ok: true, remaining: leastLeft(windows, now), ...(opens.length > 0 && { opens }) }
}

/** The window that has least left; of several the one that takes longest until all of it is there again. */
export function scarcest(states: readonly PoolState[]): PoolState {
  return states.reduce((least, state) => (isScarcer(state, least) ? state : least))
}

function isScarcer(one: PoolState, other: PoolState): boolean {
  if (one.remaining !== other.remaining) return one.remaining < other.remaining
  return fullAfter(one) > fullAfter(other)
}

/** A window that may have nothing never has. */
function fullAfter({ limit, resetAfterMs }: PoolState): Milliseconds {
  return limit === 0 ? Number.POSITIVE_INFINITY : resetAfterMs
}

function leastLeft(windows: readonly OwnerWindow[], now: Milliseconds): number {
  let least = Number.POSITIVE_INFINITY
  for (const { pool, allowance, window } of windows)
    least = Math.min(least, pool.state(allowance, window, now).remaining)
  return least
}
