import type { Milliseconds } from '../time/clock.ts'

/** An idea of what time it is in Redis is wrong by less, beside what the way there may take. */
const INACCURACY_MS: Milliseconds = 5_000
/** By so much of the time that passed two clocks drift apart at most: NTP slews each by half of it. */
const DRIFT = 0.001

/**
 * Since when an invalidation counts that Redis hears of long after it was made, in milliseconds of Redis's clock: what
 * was loaded well after it stands, and what was loaded before it never does. Never earlier than it was made on whichever
 * clock Redis has had, which may have been set, or be another machine's by now. 0 where it counts from now on.
 */
export function sinceWhen({
  madeAt,
  agoMs,
  now,
  wayMs,
}: {
  /** When it was made, as far as was known then; undefined where Redis had never been reached. */
  readonly madeAt: Milliseconds | undefined
  readonly agoMs: Milliseconds
  /** What time it is in Redis, as far as is known. */
  readonly now: Milliseconds | undefined
  /** What the way to Redis may take. */
  readonly wayMs: Milliseconds
}): Milliseconds {
  if (now === undefined || madeAt === undefined) return 0
  const at = Math.max(madeAt, now - agoMs) + INACCURACY_MS + wayMs + agoMs * DRIFT
  return at < now ? at : 0
}
