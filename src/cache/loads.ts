import type { Flight } from '../concurrency/single-flight.ts'
import { codeOf } from '../errors/code-of.ts'
import { closedError, HoldfastError, withWait } from '../errors/errors.ts'
import type { Events } from '../events/events.ts'
import { alarm, type Clock, type Milliseconds } from '../time/clock.ts'
import { abandonable, withDeadline } from '../time/deadline.ts'
import { KEEP_OPTIONS, type LoadContext } from './cache-options.ts'
import { asCached, type Cached } from './cached.ts'
import { EAGER_SHARE, type Entry, newEntry, type ToldTimes } from './entry.ts'
import { reasonOf } from './failures.ts'
import type { Holdings } from './holdings.ts'
import { loadUnderLease, type Outcome } from './lease.ts'
import { type Question, withTimes } from './question.ts'
import type { SharedKey, Ticket } from './shared-tier.ts'

const nothing = () => {}

/** Why a load begins although something is held; undefined where nothing usable is. */
export type RefreshReason = 'eager' | 'stale'

export interface LoadsOptions {
  readonly loadTimeoutMs: Milliseconds
  readonly clock: Clock
  readonly events: Events
  /** Hears of work that goes on when its caller has its answer. */
  readonly waitUntil?: ((work: Promise<unknown>) => void) | undefined
}

/** Loads values, each once at a time, keeps what they brought, and notes what failed. */
export class Loads {
  readonly #held: Holdings
  readonly #loadTimeoutMs: Milliseconds
  readonly #clock: Clock
  readonly #events: Events
  readonly #waitUntil: LoadsOptions['waitUntil']
  /** Stores in the shared tier, which nobody waits for but `drain`. */
  readonly #writes = new Set<Promise<unknown>>()
  readonly counts = { loaded: 0, failed: 0 }
  #closed = false

  constructor(held: Holdings, options: LoadsOptions) {
    this.#held = held
    this.#loadTimeoutMs = options.loadTimeoutMs
    this.#clock = options.clock
    this.#events = options.events
    this.#waitUntil = options.waitUntil
  }

  /** Begins a load under the question's key. Its flight lands with the one answer that all who wait for it share. */
  start<T>(question: Question<T>, old: Entry | undefined, refresh: RefreshReason | undefined): Flight<Cached<unknown>> {
    if (refresh) this.#events.emit({ type: 'cache.refresh', key: question.name, reason: refresh })
    else this.#events.emit({ type: 'cache.miss', key: question.name })
    const flights = this.#held.loads
    let told: ToldTimes | undefined
    const flight = flights.start(question.id, async (signal, flight) => {
      const isCurrent = () => flights.get(question.id) === flight
      const { life } = this.#held
      let heldOffMs: Milliseconds | undefined
      // Asked where it failed, and at the end for whatever failed elsewhere; noted once.
      const failed = (error: unknown): Milliseconds => {
        heldOffMs ??= this.#failed(question, error, isCurrent())
        return heldOffMs
      }
      try {
        // Given up after its time, whether it listens to its signal or not.
        const outcome = await withDeadline(
          this.#clock,
          this.#loadTimeoutMs,
          [signal],
          () => this.#late(),
          (signal) => {
            const context: LoadContext<T> = {
              signal,
              ...(refresh && old && { stale: old.value as T }),
              ...(refresh === 'eager' && { background: true as const }),
              keep: (times) => {
                KEEP_OPTIONS.check(times)
                told = { ...told, ...times }
              },
            }
            return this.#loadOnce(question, old, signal, () => question.options.load(context), failed)
          },
        )
        if (outcome.kind === 'found') {
          const entry = newEntry(question, outcome.value, { ...outcome, life }, this.#clock)
          if (isCurrent()) this.#keep(question.id, entry)
          return asCached(entry, 'fresh', this.#held.shared!.source, outcome.ageMs)
        }
        const { value, bytes, text } = question.encode(outcome.value)
        const entry = newEntry(question, value, { bytes, ageMs: 0, begunAt: outcome.begunAt, life, told }, this.#clock)
        if (isCurrent()) this.#keep(question.id, entry)
        // Also where it was invalidated meanwhile: the shared tier knows which of the two came first.
        if (outcome.ticket) void this.write(question.sharedKey, entry, outcome.ticket, withTimes(text(), told))
        this.counts.loaded++
        return asCached(entry, 'loaded', 'load', 0)
      } catch (error) {
        const heldMs = failed(error)
        // Whoever is told to wait is told how long: by then it may be tried again.
        throw heldMs > 0 ? withWait(error, heldMs) : error
      }
    })
    if (refresh) this.goesOn(flight.promise)
    return flight
  }

  /** Tells the platform of work that nobody waits for. What it hears never rejects. */
  goesOn(work: Promise<unknown>): void {
    if (!this.#waitUntil) return
    try {
      this.#waitUntil(work.then(nothing, nothing))
    } catch (error) {
      this.#events.unexpected('the option waitUntil threw', error)
    }
  }

  /** Stores for all processes. Resolves when that is done or given up; nobody who asked for the value waits for it. */
  write(key: SharedKey, entry: Entry, ticket: Ticket, text: string): Promise<void> {
    const { shared, memory } = this.#held
    const written = shared!.write(key, ticket, text, entry.staleMs).then((stands) => {
      // Invalidated, or replaced by something newer, while it was being loaded.
      if (stands === false && memory.find(key.id) === entry) memory.delete(key.id)
    })
    this.#remember(written)
    return written
  }

  /** Resolves when the loads that are under way now have ended and what they brought is stored, at most after `deadlineMs`. */
  async ended(deadlineMs: Milliseconds): Promise<void> {
    const loads = [...this.#held.loads.values()].map((flight) => flight.promise)
    if (loads.length + this.#writes.size === 0 || deadlineMs <= 0) return
    await new Promise<void>((resolve) => {
      const cancelAlarm = alarm(this.#clock, deadlineMs, resolve)
      void Promise.allSettled(loads)
        .then(() => Promise.allSettled([...this.#writes]))
        .then(() => {
          cancelAlarm()
          resolve()
        })
    })
  }

  /** Ends the loads under way with HoldfastError CLOSED. */
  close(): void {
    this.#closed = true
    for (const flight of [...this.#held.loads.values()]) flight.cancel(closedError())
  }

  #keep(id: string, entry: Entry): void {
    this.#held.failures.forget(id)
    this.#held.memory.store(id, entry)
  }

  /** Loads; with other processes about, in one of them. */
  async #loadOnce<T>(
    question: Question<T>,
    old: Entry | undefined,
    signal: AbortSignal,
    load: () => Promise<T>,
    heldOffMs: (error: unknown) => Milliseconds,
  ): Promise<Outcome<T>> {
    const { shared, sharedInUse } = this.#held
    if (!sharedInUse) return { kind: 'loaded', value: await abandonable(load, signal), begunAt: shared?.lately() ?? 0 }
    return loadUnderLease(sharedInUse, {
      key: question.sharedKey,
      // Not the value that is due for a refresh itself.
      freshMs: question.freshMs * EAGER_SHARE,
      staleMs: question.keepMs,
      heldSince: old?.begunAt ?? 0,
      clock: this.#clock,
      signal,
      load: () => abandonable(load, signal),
      decode: (text) => question.decode(text),
      // Who is throttled is known to all processes already.
      heldOffMs: (error) => (reasonOf(error) === 'throttled' ? 0 : heldOffMs(error)),
    })
  }

  /** Notes a failed load, and returns for how long other processes need not try either. */
  #failed<T>(question: Question<T>, error: unknown, isCurrent: boolean): Milliseconds {
    const { failures, memory, shared } = this.#held
    this.counts.failed++
    this.#events.emit({ type: 'cache.failed', key: question.name, code: codeOf(error) ?? 'UNKNOWN' })
    // An invalidation came first, or the instance closed: this load has nothing to say about what is held.
    if (!isCurrent || this.#closed) return 0
    if (!question.masks(error)) {
      failures.forget(question.id)
      if (!question.purges(error)) return 0
      memory.delete(question.id)
      if (shared) this.#remember(shared.invalidate(question.sharedKey))
      return 0
    }
    return failures.waitMs(failures.note(question.id, error))
  }

  /** Remembers work in the background until it has ended. What is given here never rejects. */
  #remember(work: Promise<unknown>): void {
    this.#writes.add(work)
    this.goesOn(work)
    void work.then(() => this.#writes.delete(work))
  }

  #late(): HoldfastError {
    return new HoldfastError(
      'LOAD_TIMEOUT',
      `a load was given up after ${this.#loadTimeoutMs} ms; make it end sooner, or raise loadTimeoutMs`,
    )
  }
}
