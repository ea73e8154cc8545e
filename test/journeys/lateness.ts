// A process that is not given a processor, or whose event loop stands still, can answer nobody. When that was is evidence:
// who judges how long something took has to know it.

/** A stretch of time on the wall clock in which an event loop did not turn. */
export interface Standstill {
  readonly from: number
  readonly to: number
}

const LOOK_EVERY_MS = 10
/** What a timer is late by on a machine that is idle. */
const PUNCTUAL_MS = 10

/** Hands over each stretch in which this process's event loop did not turn, until the returned function is called. Keeps no process alive. */
export function watchLateness(onLate: (standstill: Standstill) => void): () => void {
  let due = Date.now() + LOOK_EVERY_MS
  const timer = setInterval(() => {
    const now = Date.now()
    if (now - due > PUNCTUAL_MS) onLate({ from: due, to: now })
    due = now + LOOK_EVERY_MS
  }, LOOK_EVERY_MS).unref()
  return () => clearInterval(timer)
}
