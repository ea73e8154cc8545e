import type { Milliseconds } from './clock.ts'

/**
 * A window that slides, kept as two counts: of the window that passes now, and of the one before it, which fades out
 * evenly while this one passes. What is held is `used + previous × left / window`.
 */
export interface SlidingCount {
  /** Counted since this window began. */
  readonly used: number
  /** Counted in the window before. */
  readonly previous: number
  /** How long this window still lasts, from 0 to its whole length. */
  readonly leftMs: Milliseconds
  readonly windowMs: Milliseconds
}

/** Whether `cost` more would be too much. Products, because the quotient would round. */
export function exceeds({ used, previous, leftMs, windowMs }: SlidingCount, cost: number, limit: number): boolean {
  return (used + cost) * windowMs + previous * leftMs > limit * windowMs
}

/** What is held, in whole points: the one that is fading counts until it is gone. */
export function heldPoints({ used, previous, leftMs, windowMs }: SlidingCount): number {
  return used + Math.ceil((previous * leftMs) / windowMs)
}

/** How long until `cost` more fits, if nobody else comes: 0 where it fits now; two windows where it never will. */
export function untilItFits(count: SlidingCount, cost: number, limit: number): Milliseconds {
  const { used, previous, leftMs, windowMs } = count
  if (!exceeds(count, cost, limit)) return 0
  if (cost > limit) return leftMs + windowMs
  const waitMs =
    used + cost <= limit
      ? leftMs - ((limit - used - cost) * windowMs) / previous
      : leftMs + windowMs - ((limit - cost) * windowMs) / used
  // Up, and past what rounding may have taken off: who waits as told passes.
  return Math.ceil(waitMs + 1e-3)
}
