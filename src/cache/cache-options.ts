import { HoldfastError } from '../errors/errors.ts'
import type { Milliseconds } from '../time/clock.ts'

/** How a value is loaded and how long it lasts. Times are milliseconds; those left out are the instance's. */
export interface CacheOptions<T> {
  /** Fetches the value. Called once for all who ask at the same time; its result is shared between them. */
  load: (context: LoadContext<T>) => Promise<T>
  /** Answered from the cache without asking, for this long after the fetch. Default 60 min. */
  freshMs?: Milliseconds
  /** How old a value may be when it cannot be loaded anew; also counted from its fetch. Default 24 h. */
  staleMs?: Milliseconds
  /** How long a loaded value is kept for callers who accept older ones than this one does. Default `staleMs`. */
  keepMs?: Milliseconds
  /** How long the caller that starts the refresh of a stale value waits for it. Default 500. */
  patienceMs?: Milliseconds
  /** Ends this caller's wait. The load goes on for the others, and for the cache. */
  signal?: AbortSignal
  /** Which errors a stale value may hide. The others purge the value. Default: all but errors with a `status` of 4xx other than 429. */
  shouldMask?: (error: unknown) => boolean
  /** How the value is written as text. Without one, a value that JSON would change is refused. */
  codec?: Codec<T>
  /** How long a load is already known to be refused, in milliseconds: then a stale value is given at once. Asked only when a load would begin. */
  refusedForMs?: () => Milliseconds | undefined
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
}

/** Refuses times that are none, with HoldfastError INVALID_OPTION. */
export function checkTimes(options: {
  freshMs?: unknown
  staleMs?: unknown
  keepMs?: unknown
  patienceMs?: unknown
}): void {
  for (const name of ['freshMs', 'staleMs', 'keepMs', 'patienceMs'] as const) {
    const ms = options[name]
    if (ms !== undefined && !(typeof ms === 'number' && ms >= 0))
      throw new HoldfastError('INVALID_OPTION', `cache: option ${name} must be milliseconds, not negative`)
  }
}
