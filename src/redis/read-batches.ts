import type { Clock, Milliseconds } from '../time/clock.ts'
import { unavailable } from './redis-error.ts'

type Values = Array<Buffer | null>

/** Commands under way. Eight keep a connection busy also where Redis is far away. */
const IN_FLIGHT = 6
/** Reads that one command asks for, at the beginning and at most. */
const FIRST_SIZE = 16
const LARGEST_SIZE = 64
/** What the answer to one command should not be larger than, by what values were seen to be: an answer counts as a whole. */
const ANSWER_BYTES = 512 * 1024
/** So many reads that wait for their turn are a burst. */
const BURST = 500
/** Reads that wait. Beyond it they are refused: each costs memory, and a caller that waits. */
const WAITING = 100_000
/** A read that waited this long to be sent is refused: Redis answers, and cannot keep up. */
const LONGEST_WAIT_MS: Milliseconds = 5_000

interface Read {
  readonly keys: readonly string[]
  readonly since: Milliseconds
  readonly resolve: (values: Values) => void
  readonly reject: (error: unknown) => void
}

/**
 * Reads of one turn, asked for together: a command costs more than the value that it brings. One that comes alone is
 * sent as it is, and no later.
 */
export class ReadBatches {
  readonly #clock: Clock
  readonly #send: (keys: readonly string[], isBurst: boolean) => Promise<Values>
  #waiting: Read[] = []
  #next = 0
  #inFlight = 0
  #size = FIRST_SIZE
  #scheduled = false
  /** From when many waited until all were answered. */
  #isBurst = false
  #closedBy: unknown

  constructor(clock: Clock, send: (keys: readonly string[], isBurst: boolean) => Promise<Values>) {
    this.#clock = clock
    this.#send = send
  }

  read(keys: readonly string[]): Promise<Values> {
    return new Promise((resolve, reject) => {
      if (this.#closedBy !== undefined) return reject(this.#closedBy)
      if (this.#waiting.length - this.#next >= WAITING) return reject(unavailable('too many reads at once'))
      this.#waiting.push({ keys, since: this.#clock.monotonic(), resolve, reject })
      if (this.#scheduled) return
      this.#scheduled = true
      // After the promises of this turn: whatever else it asks for comes along.
      process.nextTick(() => {
        this.#scheduled = false
        this.#sendWaiting()
      })
    })
  }

  /** Rejects what waits, and everything from now on. */
  close(why: unknown): void {
    this.#closedBy ??= why
    for (const { reject } of this.#waiting.splice(0).slice(this.#next)) reject(this.#closedBy)
    this.#next = 0
  }

  #sendWaiting(): void {
    if (this.#waiting.length - this.#next >= BURST) this.#isBurst = true
    else if (this.#inFlight === 0) this.#isBurst = false
    while (this.#inFlight < IN_FLIGHT && this.#next < this.#waiting.length) {
      const batch = this.#waiting.slice(this.#next, this.#next + this.#size)
      this.#next += batch.length
      this.#compact()
      const now = this.#clock.monotonic()
      const inTime = batch.filter((read) => now - read.since <= LONGEST_WAIT_MS)
      for (const read of batch)
        if (!inTime.includes(read)) read.reject(unavailable(`it answers, and ${LONGEST_WAIT_MS} ms were not enough`))
      if (inTime.length > 0) void this.#sendBatch(inTime)
    }
  }

  async #sendBatch(batch: readonly Read[]): Promise<void> {
    this.#inFlight++
    try {
      const keys = batch.length === 1 ? batch[0]!.keys : batch.flatMap(({ keys }) => keys)
      const values = await this.#send(keys, this.#isBurst)
      this.#learn(values, batch.length)
      let at = 0
      for (const { keys, resolve } of batch) {
        resolve(values.slice(at, at + keys.length))
        at += keys.length
      }
    } catch (error) {
      for (const { reject } of batch) reject(error)
    } finally {
      this.#inFlight--
      this.#sendWaiting()
    }
  }

  #learn(values: Values, reads: number): void {
    let bytes = 0
    for (const value of values) bytes += value?.length ?? 0
    const fitting = Math.floor(ANSWER_BYTES / Math.max(1, bytes / reads))
    // Larger step by step: the next values may be larger than these.
    this.#size = Math.max(1, Math.min(fitting, this.#size * 4, LARGEST_SIZE))
  }

  #compact(): void {
    if (this.#next === this.#waiting.length) this.#waiting = []
    else if (this.#next < 1_024) return
    else this.#waiting.splice(0, this.#next)
    this.#next = 0
  }
}
