import { alarm, type Clock, type Milliseconds, turnTime } from '../clock.ts'
import { abandonable, withDeadline } from '../deadline.ts'
import { closedError, HoldfastError, withRetryAfter } from '../errors.ts'
import type { Events } from '../events.ts'
import { type Flight, SingleFlight } from '../single-flight.ts'
import { type CacheKey, cacheId, keyName, userPrefix } from './cache-key.ts'
import { type CacheOptions, checkTimes } from './cache-options.ts'
import { asCached, type Cached } from './cached.ts'
import { ageState, EAGER_SHARE, type Entry } from './entry.ts'
import { type Failure, Failures, isTrouble, reasonOf } from './failures.ts'
import { MemoryTier, NOTE_USE_EVERY_MS } from './memory-tier.ts'
import { plainJsonBytes } from './plain-json.ts'

export interface GracefulCacheOptions {
  readonly freshMs: Milliseconds
  readonly staleMs: Milliseconds
  readonly patienceMs: Milliseconds
  readonly loadTimeoutMs: Milliseconds
  readonly maxEntries: number
  readonly maxBytes: number
  readonly clock: Clock
  readonly events: Events
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
  readonly #memory: MemoryTier
  readonly #failures: Failures
  /** Each lands with the one answer that all who waited for it share. */
  readonly #flights = new SingleFlight<Cached<unknown>>('continue')
  #fresh = 0
  readonly #counts = { stale: 0, loaded: 0, failed: 0 }
  #draining = false
  #closed = false

  constructor(options: GracefulCacheOptions) {
    this.#freshMs = options.freshMs
    this.#options = options
    this.#clock = options.clock
    this.#turnTime = turnTime(options.clock)
    this.#events = options.events
    this.#memory = new MemoryTier(options.maxEntries, options.maxBytes)
    this.#failures = new Failures(options.clock)
  }

  /**
   * The value under `key`: fresh from memory, else loaded, else (where loading is refused, fails or takes long) stale.
   * Rejects with the loader's error where nothing usable is held, with HoldfastError LOAD_TIMEOUT, VALUE_UNDEFINED,
   * VALUE_NOT_JSON, INVALID_KEY, INVALID_OPTION or CLOSED, or with `signal.reason`.
   */
  get<T>(key: CacheKey, options: CacheOptions<T>): Promise<Cached<T>> {
    try {
      // The way of a hit: one look-up, one reading of the clock, one object. Everything else is in #find. No async
      // function on the way to #load either: ten thousand may come this way at once.
      const id = typeof key === 'string' && key.charCodeAt(0) > 0 ? key : cacheId(key)
      const entry = this.#memory.find(id)
      if (entry !== undefined && !this.#closed && (options.signal === undefined || !options.signal.aborted)) {
        const now = this.#turnTime()
        // It may have been fetched within this turn.
        const ageMs = now > entry.fetchedAtMs ? now - entry.fetchedAtMs : 0
        if (ageMs < (options.freshMs ?? this.#freshMs) * EAGER_SHARE) {
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
    if (!entry) return undefined
    const ageMs = this.#clock.monotonic() - entry.fetchedAtMs
    const state = ageState(ageMs, entry.freshMs, entry.staleMs)
    if (state === 'expired') return undefined
    return asCached<T>(entry, state === 'stale' ? 'stale' : 'fresh', ageMs)
  }

  /** Stores a value as if it had just been loaded. A load that is under way will not overwrite it. */
  async set<T>(
    key: CacheKey,
    value: T,
    options: Pick<CacheOptions<T>, 'freshMs' | 'staleMs' | 'codec'> = {},
  ): Promise<void> {
    this.#refuseIfClosed()
    checkTimes(options)
    const id = cacheId(key)
    const entry = this.#entry(key, value, options)
    this.#detach(id)
    this.#failures.forget(id)
    this.#memory.store(id, entry)
  }

  /** Forgets a value. A load that is under way still answers its callers, and is not kept. */
  async invalidate(key: CacheKey): Promise<void> {
    const id = cacheId(key)
    this.#detach(id)
    this.#failures.forget(id)
    this.#memory.delete(id)
  }

  /** Forgets everything that was stored under `{ user: userId, key }`, whatever the key. */
  async invalidateUser(userId: string): Promise<void> {
    const prefix = userPrefix(userId)
    for (const id of [...this.#flights.keys()]) if (id.startsWith(prefix)) this.#detach(id)
    this.#failures.forgetAll(prefix)
    this.#memory.deleteUser(userId)
  }

  /** Begins no more refreshes in the background, and waits for the loads under way, at most `deadlineMs`; 0 does not wait. */
  async drain(deadlineMs: Milliseconds): Promise<void> {
    this.#draining = true
    const loads = [...this.#flights.values()].map((flight) => flight.promise)
    if (loads.length === 0 || deadlineMs <= 0) return
    await new Promise<void>((resolve) => {
      const cancelAlarm = alarm(this.#clock, deadlineMs, resolve)
      void Promise.allSettled(loads).then(() => {
        cancelAlarm()
        resolve()
      })
    })
  }

  /** Ends the loads under way, and refuses every later call with HoldfastError CLOSED. */
  close(): void {
    this.#draining = true
    this.#closed = true
    for (const flight of [...this.#flights.values()]) flight.cancel(closedError())
  }

  stats() {
    return { fresh: this.#fresh, ...this.#counts, entries: this.#memory.entries, bytes: this.#memory.bytes }
  }

  /** What is not the simplest of hits. Not async: `get` turns what is thrown here into a rejection. */
  #find<T>(key: CacheKey, id: string, entry: Entry | undefined, options: CacheOptions<T>): Promise<Cached<T>> {
    this.#refuseIfClosed()
    checkTimes(options)
    if (options.signal?.aborted) throw options.signal.reason
    if (entry) {
      const ageMs = this.#clock.monotonic() - entry.fetchedAtMs
      const { freshMs = this.#freshMs, staleMs = this.#options.staleMs } = options
      const state = ageState(ageMs, freshMs, staleMs)
      if (state !== 'expired') this.#memory.noteUse(id, entry, this.#clock.monotonic())
      if (state === 'fresh' || state === 'eager') {
        if (state === 'eager' && this.#mayRefresh(id, options)) this.#start(key, id, entry, options, 'eager')
        this.#fresh++
        this.#events.emit({ type: 'cache.hit', key: keyName(key) })
        return Promise.resolve(asCached<T>(entry, 'fresh', ageMs))
      }
      if (state === 'stale') return this.#refresh(key, id, entry, options)
      // Too old for this caller. It stays for those who accept older ones, until the load replaces it.
    }
    return this.#load(key, id, options)
  }

  /** Something stale is held: whoever starts the refresh waits a little, nobody else waits at all. */
  async #refresh<T>(key: CacheKey, id: string, entry: Entry, options: CacheOptions<T>): Promise<Cached<T>> {
    const failure = this.#failures.holding(id)
    if (failure) return this.#staleAfter(key, entry, failure)
    const refusedForMs = options.refusedForMs?.() ?? 0
    if (refusedForMs > 0) return this.#stale(key, entry, 'throttled', this.#dateIn(refusedForMs))
    if (this.#draining || this.#flights.get(id)) return this.#stale(key, entry, 'slow')
    const flight = this.#start(key, id, entry, options, 'stale')
    const { patienceMs = this.#options.patienceMs } = options
    try {
      const loaded = await this.#waitAtMost(patienceMs, flight, options.signal)
      if (loaded) return loaded as Cached<T>
      // It may have become too old while its caller was patient: then there is only the load left to wait for.
      if (this.#isTooOld(entry, options)) return (await flight.wait(options.signal)) as Cached<T>
      return this.#stale(key, entry, 'slow')
    } catch (error) {
      if (options.signal?.aborted || this.#isTooOld(entry, options) || !this.#masks(options, error)) throw error
      const failure = this.#failures.holding(id)
      return failure ? this.#staleAfter(key, entry, failure) : this.#stale(key, entry, reasonOf(error))
    }
  }

  /** Nothing usable is held: all who ask share one load, and one failure. */
  #load<T>(key: CacheKey, id: string, options: CacheOptions<T>): Promise<Cached<T>> {
    let flight = this.#flights.get(id)
    if (!flight) {
      const failure = this.#failures.holding(id)
      if (failure) throw withRetryAfter(failure.error, failure.notBeforeMs - this.#clock.monotonic())
      flight = this.#start(key, id, undefined, options, undefined)
    }
    return flight.wait(options.signal) as Promise<Cached<T>>
  }

  #start<T>(
    key: CacheKey,
    id: string,
    stale: Entry | undefined,
    options: CacheOptions<T>,
    refresh: 'eager' | 'stale' | undefined,
  ): Flight<Cached<unknown>> {
    if (refresh) this.#events.emit({ type: 'cache.refresh', key: keyName(key), reason: refresh })
    else this.#events.emit({ type: 'cache.miss', key: keyName(key) })
    return this.#flights.start(id, async (signal, flight) => {
      const isCurrent = () => this.#flights.get(id) === flight
      try {
        // Given up after its time, whether it listens to its signal or not.
        const value = await withDeadline(
          this.#clock,
          this.#options.loadTimeoutMs,
          [signal],
          () => this.#late(),
          (signal) =>
            abandonable(
              () => options.load(stale === undefined ? { signal } : { signal, stale: stale.value as T }),
              signal,
            ),
        )
        const entry = this.#entry(key, value, options)
        if (isCurrent()) {
          this.#failures.forget(id)
          this.#memory.store(id, entry)
        }
        this.#counts.loaded++
        return asCached(entry, 'loaded', 0)
      } catch (error) {
        this.#counts.failed++
        this.#events.emit({ type: 'cache.failed', key: keyName(key), code: codeOf(error) })
        // An invalidation came first, or the instance closed: this load has nothing to say about what is held.
        if (isCurrent() && !this.#closed) {
          if (this.#masks(options, error)) this.#failures.note(id, error)
          else {
            this.#failures.forget(id)
            this.#memory.delete(id)
          }
        }
        throw error
      }
    })
  }

  #waitAtMost(ms: Milliseconds, flight: Flight<Cached<unknown>>, signal: AbortSignal | undefined) {
    if (ms <= 0) return Promise.resolve(undefined)
    return new Promise<Cached<unknown> | undefined>((resolve, reject) => {
      const cancelAlarm = alarm(this.#clock, ms, () => resolve(undefined))
      flight.wait(signal).then(resolve, reject).finally(cancelAlarm)
    })
  }

  #late(): HoldfastError {
    const { loadTimeoutMs } = this.#options
    return new HoldfastError(
      'LOAD_TIMEOUT',
      `a load was given up after ${loadTimeoutMs} ms; make it end sooner, or raise loadTimeoutMs`,
    )
  }

  #isTooOld(entry: Entry, { staleMs = this.#options.staleMs }: { staleMs?: Milliseconds }): boolean {
    return this.#clock.monotonic() - entry.fetchedAtMs >= staleMs
  }

  #mayRefresh(id: string, options: Pick<CacheOptions<unknown>, 'refusedForMs'>): boolean {
    return (
      !this.#draining && !this.#flights.get(id) && !this.#failures.holding(id) && !((options.refusedForMs?.() ?? 0) > 0)
    )
  }

  #masks(options: Pick<CacheOptions<unknown>, 'shouldMask'>, error: unknown): boolean {
    return (options.shouldMask ?? isTrouble)(error)
  }

  #entry<T>(key: CacheKey, value: T, options: Pick<CacheOptions<T>, 'freshMs' | 'staleMs' | 'codec'>): Entry {
    if (value === undefined)
      throw new HoldfastError('VALUE_UNDEFINED', 'undefined cannot be cached; return null where there is nothing')
    const now = this.#clock.monotonic()
    return {
      value,
      bytes: options.codec ? options.codec.encode(value).length : plainJsonBytes(value),
      fetchedAtMs: now,
      fetchedAt: new Date(this.#clock.now()),
      freshMs: options.freshMs ?? this.#freshMs,
      staleMs: options.staleMs ?? this.#options.staleMs,
      user: typeof key === 'string' ? undefined : key.user,
      usedAtMs: now,
    }
  }

  #staleAfter<T>(key: CacheKey, entry: Entry, failure: Failure): Cached<T> {
    return this.#stale(key, entry, reasonOf(failure.error), this.#dateIn(failure.notBeforeMs - this.#clock.monotonic()))
  }

  #stale<T>(key: CacheKey, entry: Entry, reason: NonNullable<Cached<T>['reason']>, retryAt?: Date): Cached<T> {
    this.#counts.stale++
    this.#events.emit({ type: 'cache.stale', key: keyName(key), reason })
    const cached = { ...asCached<T>(entry, 'stale', this.#clock.monotonic() - entry.fetchedAtMs), reason }
    return retryAt ? { ...cached, retryAt } : cached
  }

  #dateIn(ms: Milliseconds): Date {
    return new Date(this.#clock.now() + Math.max(0, ms))
  }

  /** A load that is under way keeps its callers and loses its place. */
  #detach(id: string): void {
    const flight = this.#flights.get(id)
    if (flight) this.#flights.forget(id, flight)
  }

  #refuseIfClosed(): void {
    if (this.#closed) throw closedError()
  }
}

function codeOf(error: unknown): string {
  const code = (error as { code?: unknown } | null | undefined)?.code
  return typeof code === 'string' ? code : 'UNKNOWN'
}
