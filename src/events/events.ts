import type { BreakerState } from '../concurrency/breaker.ts'
import { ConfigError, type RateLimitScope } from '../errors/errors.ts'
import type { RequestClass } from '../http/request-class.ts'
import type { Clock, Milliseconds } from '../time/clock.ts'

/** Everything that can be observed; `docs/reference/events.md` is made from this union. `route` carries no ids, query or tokens. */
export type HoldfastEvent = { /** Wall clock, epoch milliseconds. */ readonly at: Milliseconds } & HoldfastHappening

/** An event before it is given its time. */
export type HoldfastHappening =
  /** The cache answered, or had to ask. `key` is the key as given, without the user it belongs to; `reason` says why a value was stale or why a refresh began. */
  | {
      readonly type: 'cache.hit' | 'cache.miss' | 'cache.stale' | 'cache.refresh'
      readonly key: string
      readonly reason?: string
    }
  /** A load or refresh ended without a value; `code` is the error's. */
  | { readonly type: 'cache.failed'; readonly key: string; readonly code: string }
  /** Discord answered one attempt; `status` 0 means that no answer came. */
  | {
      readonly type: 'discord.call'
      readonly route: string
      readonly status: number
      readonly durationMs: Milliseconds
      readonly attempt: number
    }
  /** A 429 from Discord, by what it is about. */
  | {
      readonly type: 'discord.rate-limited'
      readonly route: string
      readonly scope: RateLimitScope
      readonly retryAfterMs: Milliseconds
    }
  /** An attempt will be repeated (`discord.retry`), or waits for its turn before being sent (`discord.wait`). */
  | {
      readonly type: 'discord.retry' | 'discord.wait'
      readonly route: string
      readonly attempt: number
      readonly waitMs: Milliseconds
    }
  /** The store of `cache.store` could not do what it was asked; nobody but Discord notices. `code` is the error's. */
  | { readonly type: 'store.failed'; readonly operation: string; readonly code: string }
  /** Redis could not do what it was asked; nobody but Discord notices. `code` is the error's. */
  | { readonly type: 'redis.failed'; readonly operation: string; readonly code: string }
  /** A quota gave calls to an owner, or had not enough left. `owner` is a name under the secret (HMAC), not the owner itself; `remaining` is what is left of the window, or of what this process leased of it. */
  | { readonly type: 'quota.taken' | 'quota.refused'; readonly owner: string; readonly remaining: number }
  /** The guard turned a request away, for a spent limit (429), a deny list (403) or (`guard.shed`, 503) under load; with `dryRun` it would have, and let it in. `path` is the pattern of the rule, or the path with `:id` for what could be one; `retryAfter` is in seconds; `ipBucket` is the address under a secret and the day. Handled: nothing is broken. */
  | {
      readonly type: 'guard.refused' | 'guard.shed'
      readonly status: 403 | 429 | 503
      readonly dryRun?: true
      readonly path: string
      readonly requestClass: RequestClass
      readonly retryAfter: number
      readonly ipBucket: string
      readonly handled: true
    }
  /** The guard let a request in. `path` as in `guard.refused`. */
  | { readonly type: 'guard.passed'; readonly path: string; readonly requestClass: RequestClass }
  /** A table of the guard's callers in memory (`callers`: `user`, `session`, `key`, `ip`, `network`, `arrival`) is full of callers who have used much, so that newcomers share counters; or is so no longer. */
  | { readonly type: 'guard.overflow'; readonly callers: string; readonly overflowing: boolean }
  /** A request's places in its limits were given back. */
  | { readonly type: 'guard.refunded'; readonly path: string; readonly limits: readonly string[] }
  /** Somebody signed in, or out: `everywhere` where all of a user's sessions ended. */
  | { readonly type: 'login.signed-in' }
  | { readonly type: 'login.signed-out'; readonly everywhere?: true }
  /** The login turned a request away; `reason` is one of docs/guides/sign-in.md. */
  | { readonly type: 'login.refused'; readonly reason: string }
  /** A user's tokens were refreshed, could not be (`code` says why; nobody is signed out), or were found to have ended. */
  | { readonly type: 'login.refresh'; readonly outcome: 'refreshed' | 'failed' | 'ended'; readonly code?: string }
  /** `requireAuth` turned a request away; `reason` is one of the list below. */
  | { readonly type: 'auth.refused'; readonly status: 401 | 403 | 429 | 503; readonly reason: string }
  /** The ledger wrote the fetches of so many users. */
  | { readonly type: 'ledger.written'; readonly users: number; readonly durationMs: Milliseconds }
  /** The ledger could not write or read; said once when it begins, and once a minute while it goes on. `code` is the error's, `waiting` the users whose fetches wait to be written. */
  | {
      readonly type: 'ledger.failed'
      readonly operation: 'write' | 'recall' | 'forget'
      readonly code: string
      readonly waiting: number
    }
  /** A write took longer than 2 s, so that what follows waits longer too: the database is slow. Said at most once a minute; `waiting` are the users whose fetches wait. */
  | { readonly type: 'ledger.slow'; readonly durationMs: Milliseconds; readonly waiting: number }
  /** The ledger writes again. */
  | { readonly type: 'ledger.recovered'; readonly afterMs: Milliseconds }
  /** Users whose fetch the ledger does not keep: their id is none of Discord's (`id`), their list fits no row (`list`), or too much waits already (`full`). */
  | { readonly type: 'ledger.skipped'; readonly reason: 'id' | 'list' | 'full'; readonly users: number }
  /** A user's guilds came out of the ledger, because nothing was held and Discord could not be asked. */
  | { readonly type: 'ledger.recalled'; readonly ageMs: Milliseconds }
  /** A breaker changed its state. */
  | {
      readonly type: 'breaker'
      readonly name: 'discord' | 'redis' | 'store' | 'database'
      readonly state: BreakerState
    }

/** Where log lines go; pino's shape. */
export interface Logger {
  debug(fields: object, message: string): void
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
}

/** What is told in log lines, and how often: `log.ts`. */
export interface EventLog {
  hear(happening: HoldfastHappening): void
  /** Something is wrong with the app: where, and what was thrown. */
  unexpected(where: string, thrown: unknown): void
}

/**
 * Hands events to whoever listens, and to the log. With nobody listening an event that is not logged costs one
 * comparison: emitters on hot paths ask `active` first. A listener that throws or rejects is reported to the log and
 * changes nothing for anybody else.
 */
export class Events {
  readonly #clock: Clock
  readonly #log: EventLog | undefined
  /** Replaced, never changed: whoever is being told hears all of it. */
  #listeners: ReadonlyArray<(event: HoldfastEvent) => void> = []
  active = false

  constructor(clock: Clock, log?: EventLog) {
    this.#clock = clock
    this.#log = log
  }

  on(listener: (event: HoldfastEvent) => void): () => void {
    if (typeof listener !== 'function') throw new ConfigError('listener', 'on: takes a function')
    // Wrapped, so that the same function can listen twice and leave once.
    const entry = (event: HoldfastEvent) => listener(event)
    this.#listeners = [...this.#listeners, entry]
    this.active = true
    return () => {
      this.#listeners = this.#listeners.filter((other) => other !== entry)
      this.active = this.#listeners.length > 0
    }
  }

  emit(happening: HoldfastHappening): void {
    if (this.#log !== undefined) this.#log.hear(happening)
    if (!this.active) return
    // Written into it, not copied: a hit in memory costs as little as this.
    const event = happening as HoldfastEvent & { at: Milliseconds }
    event.at = this.#clock.now()
    for (const listener of this.#listeners) {
      try {
        // Of a function that is async, whatever its type says.
        const outcome: unknown = listener(event)
        if (outcome !== undefined && isThenable(outcome)) outcome.then(undefined, (error) => this.#failed(event, error))
      } catch (error) {
        this.#failed(event, error)
      }
    }
  }

  /** Whether anybody hears: a listener, or the log. What is costly to make asks it, or `active` where the log does not tell it. */
  get heard(): boolean {
    return this.active || this.#log !== undefined
  }

  /** Tells the log that something is wrong with the app. */
  unexpected(where: string, thrown: unknown): void {
    this.#log?.unexpected(where, thrown)
  }

  #failed(event: HoldfastEvent, error: unknown): void {
    this.#log?.unexpected(`a listener to ${event.type} threw; fix the listener`, error)
  }
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function'
}
