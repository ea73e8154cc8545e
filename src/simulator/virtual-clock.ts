import type { Clock, Milliseconds } from '../time/clock.ts'

/** A clock that stands still until it is told to move. */
export interface VirtualClock extends Clock {
  /**
   * Moves both clocks on by `ms`, waking each sleeper at its own time and in order, and lets the promises and I/O
   * that each waking sets off run before the next one.
   */
  advance(ms: Milliseconds): Promise<void>
  /** Moves the wall clock alone, forwards or back, as NTP or an administrator does. `monotonic` does not notice. */
  step(ms: Milliseconds): void
  /** How many sleeps are pending. */
  readonly sleepers: number
}

/**
 * A virtual clock for tests: `createHoldfast({ clock })` and `startSimulator({ clock })` then share its time.
 * Starts at `startMs` (default 2026-01-01T00:00:00Z) with `monotonic` at 0.
 */
export function createVirtualClock(startMs: Milliseconds = Date.UTC(2026, 0, 1)): VirtualClock {
  let elapsedMs = 0
  let steppedMs = 0
  let order = 0
  const sleepers = new Set<{ wakeAt: Milliseconds; order: number; wake: () => void }>()

  const settle = async () => {
    // Several turns of the event loop: enough for chains of promises and for I/O that is already under way.
    for (let turn = 0; turn < 4; turn++) await new Promise((resolve) => setImmediate(resolve))
  }
  const earliest = (until: Milliseconds) => {
    let next: { wakeAt: Milliseconds; order: number; wake: () => void } | undefined
    for (const sleeper of sleepers) {
      if (sleeper.wakeAt > until) continue
      if (!next || sleeper.wakeAt < next.wakeAt || (sleeper.wakeAt === next.wakeAt && sleeper.order < next.order))
        next = sleeper
    }
    return next
  }

  return {
    now: () => startMs + elapsedMs + steppedMs,
    monotonic: () => elapsedMs,
    sleep(ms, signal) {
      return new Promise((resolve, reject) => {
        if (signal?.aborted) return reject(signal.reason)
        const abort = () => {
          sleepers.delete(sleeper)
          reject(signal?.reason)
        }
        const sleeper = {
          wakeAt: elapsedMs + Math.max(0, ms),
          order: order++,
          wake: () => {
            signal?.removeEventListener('abort', abort)
            resolve()
          },
        }
        sleepers.add(sleeper)
        signal?.addEventListener('abort', abort, { once: true })
      })
    },
    async advance(ms) {
      const until = elapsedMs + ms
      await settle()
      for (let next = earliest(until); next; next = earliest(until)) {
        elapsedMs = Math.max(elapsedMs, next.wakeAt)
        sleepers.delete(next)
        next.wake()
        await settle()
      }
      elapsedMs = until
      await settle()
    },
    step(ms) {
      steppedMs += ms
    },
    get sleepers() {
      return sleepers.size
    },
  }
}
