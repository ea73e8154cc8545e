import { monitorEventLoopDelay } from 'node:perf_hooks'

/** A length of time or a point on a clock, in milliseconds. */
export type Milliseconds = number

/**
 * Where Holdfast gets its time from. Give one of your own to run everything in virtual time.
 *
 * `now` is the wall clock (milliseconds since the epoch; it may step). `monotonic` never steps back: every wait and
 * every age within a process is measured with it. `sleep` resolves once `monotonic` has moved on by `ms`, never
 * earlier; it rejects with `signal.reason` as soon as the signal aborts.
 */
export interface Clock {
  now(): Milliseconds
  monotonic(): Milliseconds
  sleep(ms: Milliseconds, signal?: AbortSignal): Promise<void>
}

/** setTimeout turns longer delays into 1 ms, so longer sleeps are slept in parts. */
const LONGEST_TIMER_MS = 2 ** 31 - 1

/** The machine's own clocks and timers. This file is the only one that touches them. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  sleep: (ms, signal) => sleep(ms, signal, true),
}

/** Like `clock.sleep`, for what waits in the background: on the machine's clock it does not keep the process alive. */
export function sleepIdly(clock: Clock, ms: Milliseconds, signal: AbortSignal): Promise<void> {
  return clock === systemClock ? sleep(ms, signal, false) : clock.sleep(ms, signal)
}

function sleep(ms: Milliseconds, signal: AbortSignal | undefined, keepsAlive: boolean): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason)
    const wakeAt = performance.now() + ms
    const set = (forMs: Milliseconds) => {
      const timer = setTimeout(wake, Math.min(Math.max(0, Math.ceil(forMs)), LONGEST_TIMER_MS))
      if (!keepsAlive) timer.unref()
      return timer
    }
    const wake = () => {
      const leftMs = wakeAt - performance.now()
      // Timers are kept in whole milliseconds and may fire a fraction early.
      if (leftMs > 0) {
        timer = set(leftMs)
        return
      }
      signal?.removeEventListener('abort', abort)
      resolve()
    }
    const abort = () => {
      clearTimeout(timer)
      reject(signal?.reason)
    }
    let timer = set(ms)
    signal?.addEventListener('abort', abort, { once: true })
  })
}

/** Why an alarm's sleep ended early: it was cancelled. One object, because making an error costs microseconds. */
const CANCELLED = new Error('alarm cancelled')

/**
 * Calls `ring` once after `ms`, unless the returned function is called first.
 * While it is set it keeps the process alive, like any timer: cancel it when what it guards has ended.
 */
export function alarm(clock: Clock, ms: Milliseconds, ring: () => void): () => void {
  const controller = new AbortController()
  let cancelled = false
  clock.sleep(ms, controller.signal).then(
    () => {
      if (!cancelled) ring()
    },
    () => {},
  )
  return () => {
    if (cancelled) return
    cancelled = true
    controller.abort(CANCELLED)
  }
}

/**
 * Runs `then` once everything that had already arrived at this process's sockets has been read and dealt with. After the
 * event loop stood still, timers fire before answers are read that came in time: a deadline asks here before it judges.
 */
export function afterInput(then: () => void): void {
  // Twice: an answer longer than one read is read in the turn after.
  setImmediate(() => setImmediate(then))
}

/** Runs `then` at the end of this turn of the event loop: after everything that arrived together was read. */
export function atTurnsEnd(then: () => void): void {
  setImmediate(then)
}

/**
 * Calls `tick` every `ms` until the returned function is called. Unlike an alarm it keeps no process alive: for looking
 * at things that matter only while something else runs.
 */
export function every(clock: Clock, ms: Milliseconds, tick: () => void): () => void {
  const controller = new AbortController()
  const again = (): void => {
    sleepIdly(clock, ms, controller.signal).then(
      () => {
        tick()
        again()
      },
      () => {},
    )
  }
  again()
  return () => controller.abort(CANCELLED)
}

/** How often the event loop is looked at. */
const LOOP_RESOLUTION_MS: Milliseconds = 10

/** How late the event loop runs what is due. It runs until `stop()`, and keeps no process alive. */
export function eventLoopDelay(): {
  /** The 99th percentile since it was last asked. */ p99Ms(): Milliseconds
  stop(): void
} {
  const histogram = monitorEventLoopDelay({ resolution: LOOP_RESOLUTION_MS })
  histogram.enable()
  return {
    p99Ms() {
      // What is measured is the time between two looks, so a loop that is never late shows the resolution.
      const ms = histogram.count === 0 ? 0 : Math.max(0, histogram.percentile(99) / 1e6 - LOOP_RESOLUTION_MS)
      histogram.reset()
      return ms
    },
    stop() {
      histogram.disable()
    },
  }
}

/**
 * The monotonic time of this turn of the event loop: read at the first call, and kept until what the turn set off has
 * run. For paths so hot that reading the clock (40 ns) would be most of their work. With a clock other than the
 * machine's it is read every time.
 */
export function turnTime(clock: Clock): () => Milliseconds {
  if (clock !== systemClock) return () => clock.monotonic()
  return () => {
    if (timeOfTurn === undefined) {
      timeOfTurn = performance.now()
      // Runs after the promises of this turn, is no timer, and keeps no process alive.
      process.nextTick(endTurn)
    }
    return timeOfTurn
  }
}

let timeOfTurn: Milliseconds | undefined

const endTurn = () => {
  timeOfTurn = undefined
}
