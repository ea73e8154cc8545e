import type { Clock, Milliseconds } from '../time/clock.ts'

/** A clock that stands still until it is told to move. */
export interface VirtualClock extends Clock {
  /**
   * Moves both clocks on by `ms`, waking each sleeper at its own time and in order, and lets the promises and I/O
   * that each waking sets off run before the next one. Requests to a simulator with this clock that were sent before
   * have arrived, and their answers are back, as far as the time that has passed allows.
   */
  advance(ms: Milliseconds): Promise<void>
  /** Moves the wall clock alone, forwards or back, as NTP or an administrator does. `monotonic` does not notice. */
  step(ms: Milliseconds): void
  /** How many sleeps are pending. */
  readonly sleepers: number
  /**
   * Has `advance` settle also on I/O that is under way: a server registers a function that counts up with everything
   * that happens at its sockets. The returned function ends that.
   */
  watch(activity: () => number): () => void
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

  const watched = new Set<() => number>()
  const activity = () => {
    let sum = order
    for (const count of watched) sum += count()
    return sum
  }

  const turn = () => new Promise((resolve) => setImmediate(resolve))

  const settle = async () => {
    // Several turns of the event loop: enough for chains of promises and for I/O that is already under way.
    for (let nth = 0; nth < QUIET_TURNS; nth++) await turn()
    if (watched.size === 0) return
    // Loopback is as fast as the event loop: when nothing has happened at a server's sockets for some turns, and no
    // connection is being made, what was sent has arrived.
    let last = activity()
    for (let quiet = 0, nth = 0; quiet < QUIET_TURNS && nth < MOST_TURNS; nth++) {
      await turn()
      const now = activity()
      quiet = now === last && !isConnecting() ? quiet + 1 : 0
      last = now
    }
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
    watch(count) {
      watched.add(count)
      return () => watched.delete(count)
    },
    step(ms) {
      steppedMs += ms
    },
    get sleepers() {
      return sleepers.size
    },
  }
}

const QUIET_TURNS = 4
/** A connection to somewhere that never answers shall not hold time up for ever. */
const MOST_TURNS = 2000

function isConnecting(): boolean {
  const kinds = process.getActiveResourcesInfo()
  return kinds.includes('TCPConnectWrap') || kinds.includes('GetAddrInfoReqWrap')
}
