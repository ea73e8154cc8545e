import { type Flight, SingleFlight } from '../concurrency/single-flight.ts'
import { closedError, HoldfastError, withRetryAfter } from '../errors/errors.ts'
import type { Events } from '../events/events.ts'
import { alarm, type Clock, type Milliseconds, turnTime } from '../time/clock.ts'
import { abandonable, withDeadline } from '../time/deadline.ts'
import { type CacheKey, cacheId, keyLabel, keyName, userPrefix } from './cache-key.ts'
import { type CacheOptions, checkTimes } from './cache-options.ts'
import { asCached, type Cached } from './cached.ts'
import { ageState, EAGER_SHARE, type Entry, NO_LIFE } from './entry.ts'
import { type Failure, Failures, isTrouble, reasonOf } from './failures.ts'
import { loadUnderLease, type Outcome } from './lease.ts'
import { MemoryTier, NOTE_USE_EVERY_MS } from './memory-tier.ts'
import { plainJsonBytes } from './plain-json.ts'
import type { Moment, SharedKey, SharedTier, Ticket } from './shared-tier.ts'

export interface GracefulCacheOptions {
  readonly freshMs: Milliseconds
  readonly staleMs: Milliseconds
  readonly patienceMs: Milliseconds
  readonly loadTimeoutMs: Milliseconds
  readonly maxEntries: number
  readonly maxBytes: number
  readonly clock: Clock
  readonly events: Events
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
  readonly #memory: MemoryTier
  readonly #failures: Failures
  /** Each lands with the one answer that all who waited for it share. */
  readonly #flights = new SingleFlight<Cached<unknown>>('continue')
  readonly #shared: SharedTier | undefined
  /** Look-ups in the shared tier; each lands with the entry that memory holds after it, if that came from there. */
  readonly #looks = new SingleFlight<Entry | undefined>('continue')
  /** Stores in the shared tier, which nobody waits for but `drain`. */
  readonly #writes = new Set<Promise<unknown>>()
  /** Counts how often the shared tier came back. What was learned before may have been invalidated since. */
  #life = 0
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
    this.#shared = options.shared
    this.#shared?.listen({
      invalidated: (id, at) => this.#forget(id, at),
      userInvalidated: (user, at) => this.#forgetUser(user, at),
      everythingInvalidated: () => this.#forgetEverything(),
      superseded: (id, at) => {
        const entry = this.#memory.find(id)
        if (entry && entry.begunAt < at) entry.life = NO_LIFE
      },
      returned: () => {
        this.#life++
      },
    })
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
      if (
        entry !== undefined &&
        entry.life === this.#life &&
        !this.#closed &&
        (options.signal === undefined || !options.signal.aborted)
      ) {
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
    if (!entry || this.#isDoubtful(entry)) return undefined
    const ageMs = this.#clock.monotonic() - entry.fetchedAtMs
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
    checkTimes(options)
    const id = cacheId(key)
    const life = this.#life
    const shared = this.#sharedInUse
    const { entry, text } = this.#entry(key, value, options, this.#shared?.lately() ?? 0, life)
    this.#detach(id)
    this.#failures.forget(id)
    this.#memory.store(id, entry)
    if (!shared) return
    const sharedKey = asSharedKey(key, id, options.codec?.version)
    const ticket = await shared.take(sharedKey, entry.staleMs)
    if (!ticket || this.#memory.find(id) !== entry) return
    const stored = { ...entry, begunAt: ticket.begunAt }
    this.#memory.store(id, stored)
    await this.#write(sharedKey, id, stored, ticket, text())
  }

  /**
   * Forgets a value, in all processes. A load that is under way still answers its callers, and is not kept. Where the
   * shared tier is away it is told as soon as it is back, before anything is read from it again.
   */
  async invalidate(key: CacheKey): Promise<void> {
    const id = cacheId(key)
    this.#forget(id, Number.POSITIVE_INFINITY)
    await this.#shared?.invalidate(asSharedKey(key, id))
  }

  /** Forgets everything that was stored under `{ user: userId, key }`, whatever the key; otherwise as `invalidate`. */
  async invalidateUser(userId: string): Promise<void> {
    this.#forgetUser(userId, Number.POSITIVE_INFINITY)
    await this.#shared?.invalidateUser(userId)
  }

  /** Begins no more refreshes in the background, and waits for the loads under way, at most `deadlineMs`; 0 does not wait. */
  async drain(deadlineMs: Milliseconds): Promise<void> {
    this.#draining = true
    const loads = [...this.#flights.values()].map((flight) => flight.promise)
    if (loads.length + this.#writes.size === 0 || deadlineMs <= 0) return
    await new Promise<void>((resolve) => {
      const cancelAlarm = alarm(this.#clock, deadlineMs, resolve)
      const loaded = Promise.allSettled(loads)
      void loaded
        .then(() => Promise.allSettled([...this.#writes]))
        .then(() => {
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
    if (this.#sharedInUse && (entry ? entry.life !== this.#life : !this.#flights.get(id)))
      return this.#look(key, id, options)
    return this.#answer(key, id, entry, 'memory', options)
  }

  #answer<T>(
    key: CacheKey,
    id: string,
    entry: Entry | undefined,
    source: 'memory' | 'redis',
    options: CacheOptions<T>,
  ): Promise<Cached<T>> {
    if (entry) {
      const ageMs = this.#clock.monotonic() - entry.fetchedAtMs
      const { freshMs = this.#freshMs, staleMs = this.#options.staleMs } = options
      const state = ageState(ageMs, freshMs, staleMs)
      if (state !== 'expired') this.#memory.noteUse(id, entry, this.#clock.monotonic())
      if (state === 'fresh' || state === 'eager') {
        if (state === 'eager' && this.#mayRefresh(id, options)) this.#start(key, id, entry, options, 'eager')
        this.#fresh++
        this.#events.emit({ type: 'cache.hit', key: keyName(key), ...(source === 'redis' && { reason: source }) })
        return Promise.resolve(asCached<T>(entry, 'fresh', source, ageMs))
      }
      if (state === 'stale') return this.#refresh(key, id, entry, source, options)
      // Too old for this caller. It stays for those who accept older ones, until the load replaces it.
    }
    return this.#load(key, id, entry, options)
  }

  /** Memory has nothing, or something that may have been invalidated: the shared tier knows. All who ask share one look. */
  async #look<T>(key: CacheKey, id: string, options: CacheOptions<T>): Promise<Cached<T>> {
    const flight =
      this.#looks.get(id) ??
      this.#looks.start(id, async (_signal, flight) => {
        const life = this.#life
        const found = await this.#shared!.read(asSharedKey(key, id, options.codec?.version))
        // Invalidated meanwhile, or the tier is away: then memory carries on as it is.
        if (!found || this.#looks.get(id) !== flight) return undefined
        const held = this.#memory.find(id)
        const value = found.value && decode(found.value.text, options)
        if (value && !(held && held.begunAt >= found.value!.begunAt)) {
          const { text, ageMs, begunAt } = found.value!
          const entry = this.#aged(key, value.value, { bytes: text.length, ageMs, begunAt }, life, options)
          this.#memory.store(id, entry)
          return entry
        }
        if (held && held.begunAt < found.invalidBefore) this.#memory.delete(id)
        else if (held) held.life = life
        return undefined
      })
    const adopted = await flight.wait(options.signal)
    this.#refuseIfClosed()
    // Memory may have no room for it: then it is for those who asked while it was looked up.
    const entry = this.#memory.find(id) ?? adopted
    return this.#answer(key, id, entry, entry !== undefined && entry === adopted ? 'redis' : 'memory', options)
  }

  /** Something stale is held: whoever starts the refresh waits a little, nobody else waits at all. */
  async #refresh<T>(
    key: CacheKey,
    id: string,
    entry: Entry,
    source: 'memory' | 'redis',
    options: CacheOptions<T>,
  ): Promise<Cached<T>> {
    const failure = this.#failures.holding(id)
    if (failure) return this.#staleAfter(key, entry, source, failure)
    const refusedForMs = options.refusedForMs?.() ?? 0
    if (refusedForMs > 0) return this.#stale(key, entry, source, 'throttled', this.#dateIn(refusedForMs))
    if (this.#draining || this.#flights.get(id)) return this.#stale(key, entry, source, 'slow')
    const flight = this.#start(key, id, entry, options, 'stale')
    const { patienceMs = this.#options.patienceMs } = options
    try {
      const loaded = await this.#waitAtMost(patienceMs, flight, options.signal)
      if (loaded) return loaded as Cached<T>
      // It may have become too old while its caller was patient: then there is only the load left to wait for.
      if (this.#isTooOld(entry, options)) return (await flight.wait(options.signal)) as Cached<T>
      return this.#stale(key, entry, source, 'slow')
    } catch (error) {
      if (options.signal?.aborted || this.#isTooOld(entry, options) || !this.#masks(options, error)) throw error
      const failure = this.#failures.holding(id)
      return failure ? this.#staleAfter(key, entry, source, failure) : this.#stale(key, entry, source, reasonOf(error))
    }
  }

  /** Nothing usable is held: all who ask share one load, and one failure. */
  #load<T>(key: CacheKey, id: string, held: Entry | undefined, options: CacheOptions<T>): Promise<Cached<T>> {
    let flight = this.#flights.get(id)
    if (!flight) {
      const failure = this.#failures.holding(id)
      if (failure) throw withRetryAfter(failure.error, failure.notBeforeMs - this.#clock.monotonic())
      flight = this.#start(key, id, held, options, undefined)
    }
    return flight.wait(options.signal) as Promise<Cached<T>>
  }

  #start<T>(
    key: CacheKey,
    id: string,
    held: Entry | undefined,
    options: CacheOptions<T>,
    refresh: 'eager' | 'stale' | undefined,
  ): Flight<Cached<unknown>> {
    if (refresh) this.#events.emit({ type: 'cache.refresh', key: keyName(key), reason: refresh })
    else this.#events.emit({ type: 'cache.miss', key: keyName(key) })
    return this.#flights.start(id, async (signal, flight) => {
      const isCurrent = () => this.#flights.get(id) === flight
      const life = this.#life
      let heldOffMs: Milliseconds | undefined
      // Asked where it failed, and at the end for whatever failed elsewhere; noted once.
      const failed = (error: unknown): Milliseconds => {
        heldOffMs ??= this.#failed(key, id, options, error, isCurrent())
        return heldOffMs
      }
      try {
        // Given up after its time, whether it listens to its signal or not.
        const outcome = await withDeadline(
          this.#clock,
          this.#options.loadTimeoutMs,
          [signal],
          () => this.#late(),
          (signal) => {
            const context = refresh && held ? { signal, stale: held.value as T } : { signal }
            return this.#loadOnce(key, id, held, options, signal, () => options.load(context), failed)
          },
        )
        if (outcome.kind === 'found') {
          const entry = this.#aged(key, outcome.value, outcome, life, options)
          if (isCurrent()) {
            this.#failures.forget(id)
            this.#memory.store(id, entry)
          }
          return asCached(entry, 'fresh', 'redis', outcome.ageMs)
        }
        const { entry, text } = this.#entry(key, outcome.value, options, outcome.begunAt, life)
        if (isCurrent()) {
          this.#failures.forget(id)
          this.#memory.store(id, entry)
        }
        // Also where it was invalidated meanwhile: the shared tier knows which of the two came first.
        if (outcome.ticket)
          void this.#write(asSharedKey(key, id, options.codec?.version), id, entry, outcome.ticket, text())
        this.#counts.loaded++
        return asCached(entry, 'loaded', 'load', 0)
      } catch (error) {
        failed(error)
        throw error
      }
    })
  }

  /** Loads; with other processes about, in one of them. */
  async #loadOnce<T>(
    key: CacheKey,
    id: string,
    held: Entry | undefined,
    options: CacheOptions<T>,
    signal: AbortSignal,
    load: () => Promise<T>,
    heldOffMs: (error: unknown) => Milliseconds,
  ): Promise<Outcome<T>> {
    const shared = this.#sharedInUse
    if (!shared) return { kind: 'loaded', value: await abandonable(load, signal), begunAt: this.#shared?.lately() ?? 0 }
    return loadUnderLease(shared, {
      key: asSharedKey(key, id, options.codec?.version),
      // Not the value that is due for a refresh itself.
      freshMs: (options.freshMs ?? this.#freshMs) * EAGER_SHARE,
      staleMs: options.keepMs ?? options.staleMs ?? this.#options.staleMs,
      heldSince: held?.begunAt ?? 0,
      clock: this.#clock,
      signal,
      load: () => abandonable(load, signal),
      decode: (text) => decode(text, options),
      heldOffMs,
    })
  }

  /** Notes a failed load, and returns for how long other processes need not try either. */
  #failed(
    key: CacheKey,
    id: string,
    options: Pick<CacheOptions<unknown>, 'shouldMask'>,
    error: unknown,
    isCurrent: boolean,
  ): Milliseconds {
    this.#counts.failed++
    this.#events.emit({ type: 'cache.failed', key: keyName(key), code: codeOf(error) })
    // An invalidation came first, or the instance closed: this load has nothing to say about what is held.
    if (!isCurrent || this.#closed) return 0
    if (!this.#masks(options, error)) {
      this.#failures.forget(id)
      this.#memory.delete(id)
      if (this.#shared) this.#keep(this.#shared.invalidate(asSharedKey(key, id)))
      return 0
    }
    const failure = this.#failures.note(id, error)
    // Who is throttled is known to all processes already.
    return reasonOf(error) === 'throttled' ? 0 : failure.notBeforeMs - this.#clock.monotonic()
  }

  /** Stores for all processes. Resolves when that is done or given up; nobody who asked for the value waits for it. */
  #write(key: SharedKey, id: string, entry: Entry, ticket: Ticket, text: string): Promise<void> {
    const written = this.#shared!.write(key, ticket, text, entry.staleMs).then((stands) => {
      // Invalidated, or replaced by something newer, while it was being loaded.
      if (stands === false && this.#memory.find(id) === entry) this.#memory.delete(id)
    })
    this.#keep(written)
    return written
  }

  /** Remembers work in the background until it has ended. What is given here never rejects. */
  #keep(work: Promise<unknown>): void {
    this.#writes.add(work)
    void work.then(() => this.#writes.delete(work))
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
    // It was trouble where it failed: what is not is never told to the others.
    return codeOf(error) === 'LOAD_FAILED_ELSEWHERE' || (options.shouldMask ?? isTrouble)(error)
  }

  /** What is kept of a value just loaded, and its text for who needs it. */
  #entry<T>(
    key: CacheKey,
    value: T,
    options: Pick<CacheOptions<T>, 'freshMs' | 'staleMs' | 'keepMs' | 'codec'>,
    begunAt: Moment,
    life: number,
  ): { entry: Entry; text: () => string } {
    if (value === undefined)
      throw new HoldfastError('VALUE_UNDEFINED', 'undefined cannot be cached; return null where there is nothing')
    const encoded = options.codec?.encode(value)
    const bytes = encoded?.length ?? plainJsonBytes(value)
    return {
      entry: this.#aged(key, value, { bytes, ageMs: 0, begunAt }, life, options),
      text: () => encoded ?? JSON.stringify(value),
    }
  }

  /** What is kept of a value of a certain age: 0 where it was just loaded, more where another process did that. */
  #aged(
    key: CacheKey,
    value: unknown,
    { bytes, ageMs, begunAt }: { readonly bytes: number; readonly ageMs: Milliseconds; readonly begunAt: Moment },
    life: number,
    options: { readonly freshMs?: Milliseconds; readonly staleMs?: Milliseconds; readonly keepMs?: Milliseconds },
  ): Entry {
    const now = this.#clock.monotonic()
    return {
      value,
      bytes,
      fetchedAtMs: now - ageMs,
      fetchedAt: new Date(this.#clock.now() - ageMs),
      freshMs: options.freshMs ?? this.#freshMs,
      staleMs: options.keepMs ?? options.staleMs ?? this.#options.staleMs,
      user: typeof key === 'string' ? undefined : key.user,
      usedAtMs: now,
      begunAt,
      life,
    }
  }

  #staleAfter<T>(key: CacheKey, entry: Entry, source: 'memory' | 'redis', failure: Failure): Cached<T> {
    const retryAt = this.#dateIn(failure.notBeforeMs - this.#clock.monotonic())
    return this.#stale(key, entry, source, reasonOf(failure.error), retryAt)
  }

  #stale<T>(
    key: CacheKey,
    entry: Entry,
    source: 'memory' | 'redis',
    reason: NonNullable<Cached<T>['reason']>,
    retryAt?: Date,
  ): Cached<T> {
    this.#counts.stale++
    this.#events.emit({ type: 'cache.stale', key: keyName(key), reason })
    const cached = { ...asCached<T>(entry, 'stale', source, this.#clock.monotonic() - entry.fetchedAtMs), reason }
    return retryAt ? { ...cached, retryAt } : cached
  }

  #dateIn(ms: Milliseconds): Date {
    return new Date(this.#clock.now() + Math.max(0, ms))
  }

  /** The shared tier, while asking it is worth it. */
  get #sharedInUse(): SharedTier | undefined {
    return this.#shared?.isUsable ? this.#shared : undefined
  }

  /** Whether it may have been invalidated without our hearing of it. */
  #isDoubtful(entry: Entry): boolean {
    return entry.life !== this.#life && this.#sharedInUse !== undefined
  }

  /** A load that is under way keeps its callers and loses its place. */
  #detach(id: string): void {
    for (const flights of [this.#flights, this.#looks]) {
      const flight = flights.get(id)
      if (flight) flights.forget(id, flight as Flight<never>)
    }
  }

  /** Forgets what began before a moment of the shared tier. */
  #forget(id: string, before: Moment): void {
    this.#detach(id)
    this.#failures.forget(id)
    const entry = this.#memory.find(id)
    if (entry && entry.begunAt < before) this.#memory.delete(id)
  }

  #forgetUser(user: string, before: Moment): void {
    const prefix = userPrefix(user)
    for (const flights of [this.#flights, this.#looks])
      for (const id of [...flights.keys()]) if (id.startsWith(prefix)) this.#detach(id)
    this.#failures.forgetAll(prefix)
    for (const id of this.#memory.idsOf(user)) this.#forget(id, before)
  }

  #forgetEverything(): void {
    for (const flights of [this.#flights, this.#looks]) for (const id of [...flights.keys()]) this.#detach(id)
    this.#memory.clear()
  }

  #refuseIfClosed(): void {
    if (this.#closed) throw closedError()
  }
}

function asSharedKey(key: CacheKey, id: string, version = 'json'): SharedKey {
  return { id, user: typeof key === 'string' ? undefined : key.user, label: keyLabel(key), version }
}

/** Undefined where the text cannot be used: whatever wrote it, it is as good as absent. */
function decode<T>(text: string, { codec }: Pick<CacheOptions<T>, 'codec'>): { readonly value: T } | undefined {
  try {
    return { value: codec ? codec.decode(text) : JSON.parse(text) }
  } catch {
    return undefined
  }
}

function codeOf(error: unknown): string {
  const code = (error as { code?: unknown } | null | undefined)?.code
  return typeof code === 'string' ? code : 'UNKNOWN'
}
