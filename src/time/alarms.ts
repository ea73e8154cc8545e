import { alarm, type Clock, type Milliseconds } from './clock.ts'

interface Alarm {
  readonly at: Milliseconds
  /** Undefined once it was cancelled or has rung. */
  ring: (() => void) | undefined
}

/**
 * Many alarms on one timer. Ten thousand calls that wait each want to be called when their time is over; ten thousand
 * timers, and what each of them holds, cost more than the calls.
 */
export class Alarms {
  readonly #clock: Clock
  /** A binary heap: the parent of each is not later than it. */
  readonly #heap: Alarm[] = []
  #cancelled = 0
  #setFor = Number.POSITIVE_INFINITY
  #cancelTimer = () => {}

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Calls `ring` once after `ms` (never for Infinity), unless the returned function is called first. Keeps the process alive until then, as `alarm` does. */
  after(ms: Milliseconds, ring: () => void): () => void {
    if (ms === Number.POSITIVE_INFINITY) return NOTHING
    const set: Alarm = { at: this.#clock.monotonic() + ms, ring }
    this.#add(set)
    this.#setTimer()
    return () => {
      if (!set.ring) return
      set.ring = undefined
      this.#cancelled++
      if (this.#cancelled > this.#heap.length / 2) this.#dropCancelled()
      if (this.#heap.length === 0 || set.at <= this.#setFor) this.#setTimer()
    }
  }

  #ring(): void {
    this.#setFor = Number.POSITIVE_INFINITY
    const now = this.#clock.monotonic()
    for (let first = this.#heap[0]; first && (first.at <= now || !first.ring); first = this.#heap[0]) {
      this.#removeFirst()
      const { ring } = first
      first.ring = undefined
      if (ring) ring()
      else this.#cancelled--
    }
    this.#setTimer()
  }

  #setTimer(): void {
    for (let first = this.#heap[0]; first && !first.ring; first = this.#heap[0]) {
      this.#removeFirst()
      this.#cancelled--
    }
    const at = this.#heap[0]?.at ?? Number.POSITIVE_INFINITY
    if (at === this.#setFor) return
    this.#cancelTimer()
    this.#setFor = at
    this.#cancelTimer =
      at === Number.POSITIVE_INFINITY
        ? NOTHING
        : alarm(this.#clock, Math.max(0, at - this.#clock.monotonic()), () => this.#ring())
  }

  #add(one: Alarm): void {
    const heap = this.#heap
    let index = heap.push(one) - 1
    while (index > 0) {
      const parent = (index - 1) >> 1
      if (heap[parent]!.at <= one.at) break
      heap[index] = heap[parent]!
      index = parent
    }
    heap[index] = one
  }

  #removeFirst(): void {
    const heap = this.#heap
    const last = heap.pop()!
    if (heap.length === 0) return
    let index = 0
    for (;;) {
      let child = 2 * index + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && heap[child + 1]!.at < heap[child]!.at) child++
      if (last.at <= heap[child]!.at) break
      heap[index] = heap[child]!
      index = child
    }
    heap[index] = last
  }

  #dropCancelled(): void {
    const kept = this.#heap.filter(({ ring }) => ring)
    this.#heap.length = 0
    this.#cancelled = 0
    for (const one of kept) this.#add(one)
  }
}

const NOTHING = () => {}
