import { TransientMap } from '../collections/transient-map.ts'
import { onAbort } from '../time/on-abort.ts'

/** One piece of work that several callers wait for. */
export class Flight<T> {
  /** Settles with the work. Owned here: a rejection that nobody waits for is not an unhandled one. */
  promise: Promise<T>
  readonly #controller = new AbortController()
  readonly #whenAbandoned: 'cancel' | 'continue'
  readonly #onAbandoned: () => void
  #waiting = 0

  /** Begins `work` at once, not a turn later: what it sends is on its way while other callers still arrive. */
  constructor(
    work: (signal: AbortSignal, flight: Flight<T>) => Promise<T>,
    whenAbandoned: 'cancel' | 'continue',
    onAbandoned = () => {},
  ) {
    this.#whenAbandoned = whenAbandoned
    this.#onAbandoned = onAbandoned
    // Inside a promise, so that work that throws synchronously rejects like any other.
    this.promise = new Promise((resolve) => resolve(work(this.#controller.signal, this)))
    this.promise.catch(() => {})
  }

  /** Tells the work to stop. Its callers learn of it through the work's own rejection. */
  cancel(reason: unknown): void {
    this.#controller.abort(reason)
  }

  /**
   * Waits for the work, or until `signal` aborts, which ends this caller's wait alone.
   * With `whenAbandoned: 'cancel'`, the last caller to leave cancels the work.
   */
  wait(signal?: AbortSignal): Promise<T> {
    this.#waiting++
    if (!signal) return this.promise
    return new Promise((resolve, reject) => {
      const leave = () => {
        reject(signal.reason)
        if (--this.#waiting > 0 || this.#whenAbandoned === 'continue') return
        this.#onAbandoned()
        this.cancel(signal.reason)
      }
      if (signal.aborted) return leave()
      const unlisten = onAbort(signal, leave)
      this.promise.then(resolve, reject).finally(unlisten)
    })
  }
}

/** Stands in for the result of a flight that has landed; whoever waited has its own promise of it. */
const LANDED = new Promise<never>(() => {})

/** The same question at the same time is asked once. Bounded by the work under way: a flight is forgotten when it lands. */
export class SingleFlight<T> {
  readonly #flights = new TransientMap<string, Flight<T>>()
  /** Also those that were forgotten and have not landed yet. */
  readonly #underWay = new TransientMap<Flight<T>, true>()
  readonly #whenAbandoned: 'cancel' | 'continue'

  constructor(whenAbandoned: 'cancel' | 'continue') {
    this.#whenAbandoned = whenAbandoned
  }

  get(key: string): Flight<T> | undefined {
    return this.#flights.get(key)
  }

  /** Starts `work` under `key`; whoever asks before it ends gets this flight. Replaces an earlier flight of that key. */
  start(key: string, work: (signal: AbortSignal, flight: Flight<T>) => Promise<T>): Flight<T> {
    const begin = (signal: AbortSignal, flight: Flight<T>) => {
      // Known before the work begins: work that ends at once already looks whether it is still wanted.
      this.#flights.set(key, flight)
      this.#underWay.set(flight, true)
      return work(signal, flight)
    }
    // Forgotten as soon as everybody left: whoever asks next must not join work that is being cancelled.
    const flight: Flight<T> = new Flight(begin, this.#whenAbandoned, () => this.forget(key, flight))
    const land = () => {
      this.#underWay.delete(flight)
      this.forget(key, flight)
      // What still refers to a flight that has landed (see TransientMap) must not keep its result alive.
      flight.promise = LANDED
    }
    flight.promise.then(land, land)
    return flight
  }

  /** Lets the next caller of `key` start afresh. Only if `flight` is still the one that is known: a late landing ends nobody else's flight. */
  forget(key: string, flight: Flight<T>): void {
    if (this.#flights.get(key) === flight) this.#flights.delete(key)
  }

  /** The keys of the flights that a next caller would join. */
  keys(): IterableIterator<string> {
    return this.#flights.keys()
  }

  /** Everything under way, forgotten or not. */
  values(): IterableIterator<Flight<T>> {
    return this.#underWay.keys()
  }
}
