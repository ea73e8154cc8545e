import type { Flight } from '../concurrency/single-flight.ts'
import { closedError, withWait } from '../errors/errors.ts'
import type { Events } from '../events/events.ts'
import { alarm, type Clock, type Milliseconds, turnTime } from '../time/clock.ts'
import { type CacheKey, cacheId, keyName, OwnKey, userOf } from './cache-key.ts'
import { type CacheOptions, GET_OPTIONS, type OwnCacheOptions, SET_OPTIONS } from './cache-options.ts'
import { asCached, type Cached, type HeldSource } from './cached.ts'
import { ageState, EAGER_SHARE, type Entry, GONE, newEntry } from './entry.ts'
import { type Failure, Failures, reasonOf } from './failures.ts'
import { Holdings } from './holdings.ts'
import { Loads } from './loads.ts'
import { lookUp } from './look-up.ts'
import { MemoryTier, NOTE_USE_EVERY_MS, type ValueKeeper } from './memory-tier.ts'
import { encode, Question, sharedKey } from './question.ts'
import { Refreshes } from './refreshes.ts'
import type { SharedTier } from './shared-tier.ts'

export interface GracefulCacheOptions {
  readonly freshMs: Milliseconds
  readonly staleMs: Milliseconds
  readonly patienceMs: Milliseconds
  readonly loadTimeoutMs: Milliseconds
  readonly maxEntries: number
  readonly maxBytes: number
  readonly clock: Clock
  readonly events: Events
  /** From 0 to below 1, for jitter. Default: none. */
  readonly random?: () => number
  /** Loads that nobody waits for, at once. Default 100. */
  readonly maxBackgroundLoads?: number
  /** Hears of work that goes on when its caller has its answer. */
  readonly waitUntil?: ((work: Promise<unknown>) => void) | undefined
  /** Holds the values of questions that are `kept`. */
  readonly keeper?: ValueKeeper | undefined
  /** What other processes hold, where there are any. */
  readonly shared?: SharedTier | undefined
}

/**
 * Answers fresh values from memory, keeps stale ones on hand while loading fails, and asks for each key once at a time.
 * How old a value may be is counted from its fetch, and no failure ever moves that.
 */
export class GracefulCache {
  readonly #freshMs: Milliseconds
  readonly #options: GracefulCacheOptions
  readonly #clock: Clock
  readonly #turnTime: () => Milliseconds
  readonly #events: Events
  readonly #held: Holdings
  readonly #memory: MemoryTier
  readonly #loads: Loads
  readonly #refreshes: Refreshes
  #fresh = 0
  #stale = 0
  #draining = false
  #closed = false

  constructor(options: GracefulCacheOptions) {
    this.#freshMs = options.freshMs
    this.#options = options
    this.#clock = options.clock
    this.#turnTime = turnTime(options.clock)
    this.#events = options.events
    this.#memory = new MemoryTier(options.maxEntries, options.maxBytes, options.keeper)
    this.#held = new Holdings(this.#memory, new Failures(options.clock, options.random), options.shared)
    this.#loads = new Loads(this.#held, options)
    const { clock, random = () => 0, maxBackgroundLoads: most = 100 } = options
    this.#refreshes = new Refreshes({ clock, random, most })
  }

  /**
   * The value under `key`: fresh from memory, else loaded, else (where loading is refused, fails or takes long) stale.
   * Rejects with the loader's error where nothing usable is held, with HoldfastError LOAD_TIMEOUT, VALUE_UNDEFINED,
   * VALUE_NOT_JSON, INVALID_KEY, INVALID_OPTION or CLOSED, or with `signal.reason`.
   */
  get<T>(key: OwnKey, options: OwnCacheOptions<T>): Promise<Cached<T>>
  get<T>(key: CacheKey, options: CacheOptions<T>): Promise<Cached<T>>
  get<T>(key: CacheKey, options: CacheOptions<T>): Promise<Cached<T>> {
    try {
      // The way of a hit: one look-up, one reading of the clock, one object. Everything else is in #find. No async
      // function on the way to a load either: ten thousand may come this way at once.
      const id = typeof key === 'string' && key.charCodeAt(0) > 0 ? key : cacheId(key)
      const entry = this.#memory.find(id)
      if (
        entry !== undefined &&
        entry.life === this.#held.life &&
        !this.#closed &&
        (options.signal === undefined || !options.signal.aborted)
      ) {
        const now = this.#turnTime()
        // It may have been fetched within this turn.
        const ageMs = now > entry.fetchedAtMs ? now - entry.fetchedAtMs : 0
        if (ageMs < (entry.told?.freshMs ?? options.freshMs ?? this.#freshMs) * EAGER_SHARE) {
          this.#fresh++
          if (now - entry.usedAtMs > NOTE_USE_EVERY_MS) this.#memory.noteUse(id, entry, now)
          if (this.#events.active) this.#events.emit({ type: 'cache.hit', key: keyName(key) })
          const { value, fetchedAt } = entry
          return Promise.resolve({ value: value as T, state: 'fresh', source: 'memory', fetchedAt, ageMs })
        }
      }
      return this.#find(key, id, entry, options)
    } catch (error) {
      return Promise.reject(error)
    }
  }

  /** What is held in memory now, fresh or stale by the times it was stored with; undefined where there is nothing. Starts nothing. */
  peek<T>(key: CacheKey): Cached<T> | undefined {
    const entry = this.#memory.find(cacheId(key))
    if (!entry || this.#held.isDoubtful(entry)) return undefined
    const ageMs = this.#ageOf(entry)
    const state = ageState(ageMs, entry.freshMs, entry.staleMs)
    if (state === 'expired') return undefined
    return asCached<T>(entry, state === 'stale' ? 'stale' : 'fresh', 'memory', ageMs)
  }

  /** Stores a value as if it had just been loaded, for all processes. A load that is under way will not overwrite it. */
  async set<T>(
    key: CacheKey,
    value: T,
    options: Pick<CacheOptions<T>, 'freshMs' | 'staleMs' | 'codec'> = {},
  ): Promise<void> {
    this.#refuseIfClosed()
    SET_OPTIONS.check(options)
    const id = cacheId(key)
    const { life, shared, sharedInUse, failures } = this.#held
    const { value: kept, bytes, text } = encode(value, options.codec)
    const { freshMs = this.#freshMs, staleMs = this.#options.staleMs } = options
    const keeping = { user: userOf(key), freshMs, keepMs: staleMs }
    const entry = newEntry(keeping, kept, { bytes, ageMs: 0, begunAt: shared?.lately() ?? 0, life }, this.#clock)
    this.#held.detach(id)
    failures.forget(id)
    this.#memory.store(id, entry)
    if (!sharedInUse) return
    const keyThere = sharedKey(key, id, options.codec)
    const ticket = await sharedInUse.take(keyThere, entry.staleMs)
    if (!ticket || this.#memory.find(id) !== entry) return
    const stored = { ...entry, begunAt: ticket.begunAt }
    this.#memory.store(id, stored)
    await this.#loads.write(keyThere, stored, ticket, text())
  }

  /**
   * Forgets a value, in all processes. A load that is under way still answers its callers, and is not kept. Where the
   * shared tier is away it is told as soon as it is back, before anything is read from it again.
   */
  async invalidate(key: CacheKey): Promise<void> {
    const id = cacheId(key)
    this.#held.forget(id, Number.POSITIVE_INFINITY)
    await this.#held.shared?.invalidate(sharedKey(key, id))
  }

  /** Forgets everything that was stored under `{ user: userId, key }`, whatever the key; otherwise as `invalidate`. */
  async invalidateUser(userId: string): Promise<void> {
    this.#held.forgetUser(userId, Number.POSITIVE_INFINITY)
    await this.#held.shared?.invalidateUser(userId)
  }

  /** Begins no more refreshes in the background, and waits for the loads under way, at most `deadlineMs`; 0 does not wait. */
  drain(deadlineMs: Milliseconds): Promise<void> {
    this.#draining = true
    this.#refreshes.close()
    return this.#loads.ended(deadlineMs)
  }

  /** Ends the loads under way, and refuses every later call with HoldfastError CLOSED. */
  close(): void {
    this.#draining = true
    this.#closed = true
    this.#refreshes.close()
    this.#loads.close()
  }

  /** Discord was seen to answer: what failed because it did not is tried again soon. */
  recovered(): void {
    this.#held.failures.recovered()
  }

  stats() {
    const { entries, bytes } = this.#memory
    return { fresh: this.#fresh, stale: this.#stale, ...this.#loads.counts, entries, bytes }
  }

  /** What is not the simplest of hits. Not async: `get` turns what is thrown here into a rejection. */
  #find<T>(key: CacheKey, id: string, entry: Entry | undefined, options: CacheOptions<T>): Promise<Cached<T>> {
    this.#refuseIfClosed()
    // What the house asks itself says more than others may.
    if (!(key instanceof OwnKey)) GET_OPTIONS.check(options)
    if (options.signal?.aborted) throw options.signal.reason
    const question = new Question(key, id, options, this.#options)
    const { sharedInUse, life, loads } = this.#held
    if (sharedInUse && (entry ? entry.life !== life : !loads.get(id))) return this.#lookUp(question)
    return this.#answer(question, entry, 'memory')
  }

  async #lookUp<T>(question: Question<T>): Promise<Cached<T>> {
    const adopted = await lookUp(this.#held, question, this.#clock)
    this.#refuseIfClosed()
    // Memory may have no room for it: then it is for those who asked while it was looked up.
    const entry = this.#memory.find(question.id) ?? adopted
    return this.#answer(
      question,
      entry,
      entry !== undefined && entry === adopted ? this.#held.shared!.source : 'memory',
    )
  }

  #answer<T>(question: Question<T>, entry: Entry | undefined, source: HeldSource): Promise<Cached<T>> {
    if (entry) {
      const ageMs = this.#ageOf(entry)
      const { freshMs, staleMs } = timesOf(entry, question)
      const state = ageState(ageMs, freshMs, staleMs)
      if (state !== 'expired') this.#memory.noteUse(question.id, entry, this.#clock.monotonic())
      if (state === 'fresh' || state === 'eager') {
        if (state === 'eager' && this.#mayRefresh(question)) this.#refreshLater(question, entry)
        this.#fresh++
        this.#events.emit({ type: 'cache.hit', key: question.name, ...(source !== 'memory' && { reason: source }) })
        return Promise.resolve(asCached<T>(entry, 'fresh', source, ageMs))
      }
      if (state === 'stale') return this.#refresh(question, entry, source)
      // Too old for this caller. It stays for those who accept older ones, until the load replaces it.
    }
    return this.#load(question, entry)
  }

  /** Something stale is held: whoever starts the refresh waits a little, nobody else waits at all. */
  async #refresh<T>(question: Question<T>, entry: Entry, source: HeldSource): Promise<Cached<T>> {
    const { failures, loads } = this.#held
    const { id, options } = question
    const failure = failures.holding(id)
    if (failure) return this.#staleAfter(question, entry, source, failure)
    const { refusedForMs } = question
    if (refusedForMs > 0) return this.#staleFor(question, entry, source, 'throttled', this.#dateIn(refusedForMs))
    const underWay = loads.get(id)
    if (this.#draining || (underWay && !options.refresh)) return this.#staleFor(question, entry, source, 'slow')
    const failed = failures.last(id)
    if (failed && !options.refresh && (this.#refreshes.isWaiting(id) || !this.#refreshes.mayGo())) {
      // One of very many that failed together: they are not all tried again at once.
      this.#refreshLater(question, entry)
      const retryAt = this.#dateIn(this.#refreshes.longestWaitMs)
      return this.#staleFor(question, entry, source, reasonOf(failed.error), retryAt)
    }
    const flight = underWay ?? this.#loads.start(question, entry, 'stale')
    // Invalidated while its caller waited with it in hand, or grown too old: then there is only the load left.
    const isUnusable = () => entry.life === GONE || this.#ageOf(entry) >= timesOf(entry, question).staleMs
    try {
      const loaded = await this.#waitAtMost(question.patienceMs, flight, options.signal)
      if (loaded) return loaded as Cached<T>
      if (isUnusable()) return (await flight.wait(options.signal)) as Cached<T>
      return this.#staleFor(question, entry, source, 'slow')
    } catch (error) {
      if (options.signal?.aborted || isUnusable() || !question.masks(error)) throw error
      const failure = failures.holding(id)
      return failure
        ? this.#staleAfter(question, entry, source, failure)
        : this.#staleFor(question, entry, source, reasonOf(error))
    }
  }

  /** Nothing usable is held: all who ask share one load, and one failure. */
  #load<T>(question: Question<T>, old: Entry | undefined): Promise<Cached<T>> {
    let flight = this.#held.loads.get(question.id)
    if (!flight) {
      const failure = this.#held.failures.holding(question.id)
      if (failure) throw withWait(failure.error, this.#held.failures.waitMs(failure))
      flight = this.#loads.start(question, old, undefined)
    }
    return flight.wait(question.options.signal) as Promise<Cached<T>>
  }

  /** Refreshes without anybody waiting: now, or a little later where many are due at once. */
  #refreshLater<T>(question: Question<T>, entry: Entry): void {
    const ended = this.#refreshes.begin(question.id, () => {
      // It may have been refreshed, invalidated or asked for meanwhile.
      if (this.#memory.find(question.id) !== entry || !this.#mayRefresh(question)) return undefined
      return this.#loads.start(question, entry, 'eager').promise
    })
    this.#loads.goesOn(ended)
  }

  #mayRefresh<T>(question: Question<T>): boolean {
    const { loads, failures } = this.#held
    const { id } = question
    return !this.#draining && !loads.get(id) && !failures.holding(id) && question.refusedForMs <= 0
  }

  #waitAtMost(ms: Milliseconds, flight: Flight<Cached<unknown>>, signal: AbortSignal | undefined) {
    if (ms <= 0) return Promise.resolve(undefined)
    if (ms === Number.POSITIVE_INFINITY) return flight.wait(signal)
    return new Promise<Cached<unknown> | undefined>((resolve, reject) => {
      const cancelAlarm = alarm(this.#clock, ms, () => resolve(undefined))
      flight.wait(signal).then(resolve, reject).finally(cancelAlarm)
    })
  }

  #staleAfter<T>(question: Question<T>, entry: Entry, source: HeldSource, failure: Failure): Cached<T> {
    const retryAt = this.#dateIn(this.#held.failures.waitMs(failure))
    return this.#staleFor(question, entry, source, reasonOf(failure.error), retryAt)
  }

  #staleFor<T>(
    question: Question<T>,
    entry: Entry,
    source: HeldSource,
    reason: NonNullable<Cached<T>['reason']>,
    retryAt?: Date,
  ): Cached<T> {
    this.#stale++
    this.#events.emit({ type: 'cache.stale', key: question.name, reason })
    const cached = { ...asCached<T>(entry, 'stale', source, this.#ageOf(entry)), reason }
    return retryAt ? { ...cached, retryAt } : cached
  }

  #ageOf(entry: Entry): Milliseconds {
    return this.#clock.monotonic() - entry.fetchedAtMs
  }

  #dateIn(ms: Milliseconds): Date {
    return new Date(this.#clock.now() + Math.max(0, ms))
  }

  #refuseIfClosed(): void {
    if (this.#closed) throw closedError()
  }
}

/** The times that hold for an entry: its loader's, where it named any, else those of whoever asks. */
function timesOf<T>({ told }: Entry, question: Question<T>): { freshMs: Milliseconds; staleMs: Milliseconds } {
  return { freshMs: told?.freshMs ?? question.freshMs, staleMs: told?.staleMs ?? question.staleMs }
}
