import { getHeapStatistics } from 'node:v8'
import { ConfigError } from '../errors/errors.ts'
import { type Clock, eventLoopDelay, every, type Milliseconds } from '../time/clock.ts'
import { containerMemory } from './container-memory.ts'
import { inFlightLevel, type LoadLevel, nextLevel, type Reading } from './load-level.ts'

/** From where on requests are turned away, and below where no longer. */
export type Watermarks = readonly [enter: number, leave: number]

export interface SheddingOptions {
  /** Shares of V8's heap limit. Default `[0.9, 0.8]`. */
  heap?: Watermarks
  /** Shares of the container's memory limit, page cache not counted. Default `[0.9, 0.8]`; without a limit it is not looked at. */
  memory?: Watermarks
  /**
   * How late the event loop is, milliseconds at the 99th percentile of half a second. Entered by two samples in a row,
   * because one long pause (a garbage collection, a large page) is no overload. Default `[250, 100]`.
   */
  eventLoopP99Ms?: Watermarks
  /** Requests under way at once; from 80 % on anonymous documents and from 90 % on anonymous API calls are turned away. Default: any number. */
  maxInFlight?: number
}

/** What is measured of this process. */
export interface Vitals {
  /** Share of the heap limit. */
  heap(): number
  /** Share of the container's memory; undefined where it has no limit. */
  memory(): number | undefined
  eventLoopP99Ms(): Milliseconds
  stop(): void
}

export function vitalsOfProcess(): Vitals {
  const loop = eventLoopDelay()
  let started = false
  return {
    heap() {
      const { used_heap_size, heap_size_limit } = getHeapStatistics()
      return used_heap_size / heap_size_limit
    },
    memory() {
      const memory = containerMemory()
      return memory && memory.used / memory.limit
    },
    eventLoopP99Ms() {
      const ms = loop.p99Ms()
      // What was late while the program was being loaded says nothing about its load.
      if (started) return ms
      started = true
      return 0
    },
    stop: () => loop.stop(),
  }
}

const SAMPLE_EVERY_MS: Milliseconds = 500

const PRESETS = { heap: [0.9, 0.8], memory: [0.9, 0.8], eventLoopP99Ms: [250, 100] } as const

/** Knows how loaded the process is, from samples twice a second; a request only reads a number. */
export class LoadShedding {
  readonly #options: Required<Omit<SheddingOptions, 'maxInFlight'>>
  readonly #most: number
  readonly #vitals: Vitals
  readonly #stop: () => void
  #sampled: LoadLevel = 0
  #inFlight = 0
  /** Whether the event loop was too late in the sample before. */
  #wasLate = false

  /** Throws ConfigError for watermarks that cannot be. */
  constructor(options: SheddingOptions, clock: Clock, vitals: () => Vitals = vitalsOfProcess) {
    const { maxInFlight = Number.POSITIVE_INFINITY } = options
    if (!(maxInFlight >= 1))
      throw new ConfigError('shedding.maxInFlight', 'shedding.maxInFlight must be a number of requests, at least 1')
    this.#options = {
      heap: readWatermarks('heap', options.heap, 1),
      memory: readWatermarks('memory', options.memory, 1),
      eventLoopP99Ms: readWatermarks('eventLoopP99Ms', options.eventLoopP99Ms, Number.POSITIVE_INFINITY),
    }
    this.#most = maxInFlight
    this.#vitals = vitals()
    this.#stop = every(clock, SAMPLE_EVERY_MS, () => this.#sample())
  }

  /** The level by samples alone. */
  get sampled(): LoadLevel {
    return this.#sampled
  }

  /** The level for a request that is not counted yet; `own` is 1 for one that is, so that it does not stand in its own way. */
  level(own: 0 | 1 = 0): LoadLevel {
    if (this.#most === Number.POSITIVE_INFINITY) return this.#sampled
    const byRequests = inFlightLevel(this.#inFlight - own, this.#most)
    return byRequests > this.#sampled ? byRequests : this.#sampled
  }

  /** A request begins; undefined where nobody counts. */
  enter(): { leave(): void } | undefined {
    if (this.#most === Number.POSITIVE_INFINITY) return undefined
    this.#inFlight++
    let here = true
    return {
      leave: () => {
        if (here) this.#inFlight--
        here = false
      },
    }
  }

  close(): void {
    this.#stop()
    this.#vitals.stop()
  }

  #sample(): void {
    const { heap, memory, eventLoopP99Ms } = this.#options
    const readings: Reading[] = [
      reading(this.#vitals.heap(), heap),
      reading(this.#vitals.memory() ?? 0, memory),
      this.#lateness(eventLoopP99Ms),
    ]
    this.#sampled = nextLevel(this.#sampled, readings)
  }

  /** The 99th percentile of some fifty looks is the longest of them: a single pause, seen once. */
  #lateness(marks: Watermarks): Reading {
    const ms = this.#vitals.eventLoopP99Ms()
    const [enter, leave] = marks
    const isLate = ms >= enter
    // Held against the lower mark, so that it changes nothing by itself.
    const value = isLate && !this.#wasLate ? Math.min(leave, enter * 0.999) : ms
    this.#wasLate = isLate
    return reading(value, marks)
  }
}

const reading = (value: number, [enter, leave]: Watermarks): Reading => ({ value, enter, leave })

function readWatermarks(name: keyof typeof PRESETS, given: unknown, most: number): Watermarks {
  if (given === undefined) return PRESETS[name]
  const [enter, leave, ...more] = Array.isArray(given) ? given : []
  if (
    typeof enter !== 'number' ||
    typeof leave !== 'number' ||
    more.length > 0 ||
    !(leave > 0 && leave <= enter && enter <= most)
  )
    throw new ConfigError(
      `shedding.${name}`,
      `shedding.${name} must be [enter, leave], the first not below the second${most === 1 ? ', both shares up to 1' : ''}; it is ${JSON.stringify(given)}`,
    )
  return [enter, leave]
}
