import { aFunction, anAbortSignal, anObjectWith, milliseconds } from '../config/accepted.ts'
import { type OptionTable, optionsOf } from '../config/options.ts'
import type { Milliseconds } from '../time/clock.ts'

/** How a value is loaded and how long it lasts. Times are milliseconds; those left out are the instance's. */
export interface CacheOptions<T> {
  /** Fetches the value. Called once for all who ask at the same time; its result is shared between them. */
  load: (context: LoadContext<T>) => Promise<T>
  /** Answered from the cache without asking, for this long after the fetch. Default 60 min. */
  freshMs?: Milliseconds
  /** How old a value may be when it cannot be loaded anew; also counted from its fetch. Default 24 h. */
  staleMs?: Milliseconds
  /** How long the caller that starts the refresh of a stale value waits for it. Default 500. */
  patienceMs?: Milliseconds
  /** Ends this caller's wait. The load goes on for the others, and for the cache. */
  signal?: AbortSignal
  /** Which errors a stale value may hide. The others purge the value. Default: all but errors with a `status` of 4xx other than 429. */
  shouldMask?: (error: unknown) => boolean
  /** How the value is written as text. Without one, a value that JSON would change is refused. */
  codec?: Codec<T>
}

/** Writes values as text. `version` changes with what it writes: text of another version counts as absent. */
export interface Codec<T> {
  version: string
  encode(value: T): string
  decode(text: string): T
}

export interface LoadContext<T = unknown> {
  /** Aborts when the load is given up (`loadTimeoutMs`) or the instance is closed; never because one caller left. */
  readonly signal: AbortSignal
  /** The value that is being refreshed, where there is one. */
  readonly stale?: T
  /** Nobody waits for this load: it may stand back behind those that somebody waits for. */
  readonly background?: true
  /**
   * How long the value of this load may be kept, in milliseconds from its fetch, where the loader knows better than the
   * options: a `Cache-Control` it was answered with, or a null that may soon be something. Every caller keeps to it.
   * Throws HoldfastError INVALID_OPTION for times that are none.
   */
  keep(times: { freshMs?: Milliseconds; staleMs?: Milliseconds }): void
}

/** What the house's own questions say besides. */
export interface OwnCacheOptions<T> extends CacheOptions<T> {
  /** How long a loaded value is kept for callers who accept older ones than this one does. Default `staleMs`. */
  readonly keepMs?: Milliseconds
  /** How long a load is already known to be refused, in milliseconds: then a stale value is given at once. Asked only when a load would begin. */
  refusedForMs?(): Milliseconds | undefined
  /** Which of the errors that are not masked say that what is held is no longer true. Default all. */
  purges?(error: unknown): boolean
  /** The cache's keeper of values holds this one, and counts what it costs. */
  readonly kept?: true
  /** Asks anew however young what is held is, waits for it, and falls back to what is held. */
  readonly refresh?: true
}

const TIMES = {
  freshMs: { means: 'answered without asking, from the fetch', accepts: milliseconds(), preset: '60 min' },
  staleMs: {
    means: 'how old a value may be when it cannot be loaded anew, from its fetch',
    accepts: milliseconds(),
    preset: '24 h',
  },
}
const CODEC = {
  means: 'how the value is written as text',
  accepts: anObjectWith('an object with version, encode and decode', 'encode', 'decode'),
  preset: 'JSON, which must not change the value',
}

/** The options of `cache.get`. */
export const GET_OPTIONS = optionsOf(
  'cache.get',
  {
    load: { means: 'fetches the value', accepts: aFunction(), required: true },
    ...TIMES,
    patienceMs: {
      means: 'how long the caller that starts the refresh of a stale value waits for it',
      accepts: milliseconds(),
      preset: '500 ms',
    },
    signal: { means: "ends this caller's wait", accepts: anAbortSignal },
    shouldMask: {
      means: 'which errors a stale value may hide',
      accepts: aFunction('a function of the error'),
      preset: 'all but those with a `status` of 4xx other than 429',
    },
    codec: CODEC,
  } satisfies OptionTable<keyof CacheOptions<unknown>>,
  'call',
)

/** What a loader may say of the times of its value. */
export const KEEP_OPTIONS = optionsOf('context.keep', { ...TIMES } satisfies OptionTable, 'call')

/** The options of `cache.set`. */
export const SET_OPTIONS = optionsOf('cache.set', { ...TIMES, codec: CODEC } satisfies OptionTable, 'call')
