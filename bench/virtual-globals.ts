// Puts a virtual clock behind setTimeout, setInterval, Date.now and performance.now, for peers that take no clock.
// To be imported before them.
import { createVirtualClock, type VirtualClock } from 'holdfast/simulator'

let clock: VirtualClock = createVirtualClock(1e12)

/** A new clock, at 0. What still waits on the old one never wakes. */
export function newClock(): VirtualClock {
  clock = createVirtualClock(1e12)
  return clock
}

class Timer {
  readonly #controller = new AbortController()
  constructor(ms: number, repeats: boolean, ring: () => void) {
    const sleep = () =>
      clock.sleep(Math.max(1, ms), this.#controller.signal).then(
        () => {
          if (repeats) sleep()
          ring()
        },
        () => {},
      )
    sleep()
  }
  clear() {
    this.#controller.abort()
  }
  ref() {
    return this
  }
  unref() {
    return this
  }
  hasRef() {
    return true
  }
  refresh() {
    return this
  }
}

type Callback = (...words: unknown[]) => void

export function goVirtual(): void {
  Object.assign(globalThis, {
    setTimeout: (ring: Callback, ms = 0, ...words: unknown[]) => new Timer(ms, false, () => ring(...words)),
    setInterval: (ring: Callback, ms = 0, ...words: unknown[]) => new Timer(ms, true, () => ring(...words)),
    clearTimeout: (timer?: Timer) => timer?.clear?.(),
    clearInterval: (timer?: Timer) => timer?.clear?.(),
  })
  Date.now = () => clock.now()
  performance.now = () => clock.monotonic()
}
