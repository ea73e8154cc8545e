/** A length of time or a point on a clock, in milliseconds. */
export type Milliseconds = number

/** setTimeout turns longer delays into 1 ms. No page waits for 24 days. */
const LONGEST_TIMER_MS = 2 ** 31 - 1

/** The wall clock, in epoch milliseconds. It may step: it is shown to people and compared with other tabs', and nothing waits by it. */
export const wallNow = (): Milliseconds => Date.now()

/** Never steps. Every age within a tab is measured with it; waits are timers. */
export const monotonicNow = (): Milliseconds => performance.now()

/** Calls `ring` once after `ms` (24 days at most), unless the returned function is called first. */
export function alarm(ms: Milliseconds, ring: () => void): () => void {
  const timer = setTimeout(ring, Math.min(Math.ceil(ms), LONGEST_TIMER_MS))
  return () => clearTimeout(timer)
}

/** A signal that aborts after `ms`. It keeps nothing alive and needs no end. */
export const timeLimit = (ms: Milliseconds): AbortSignal => AbortSignal.timeout(ms)
