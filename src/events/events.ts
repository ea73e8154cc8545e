import type { BreakerState } from '../concurrency/breaker.ts'
import type { RateLimitScope } from '../errors/errors.ts'
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
  /** Redis could not do what it was asked; nobody but Discord notices. `code` is the error's. */
  | { readonly type: 'redis.failed'; readonly operation: string; readonly code: string }
  /** A quota gave calls to an owner, or had not enough left. `owner` is a name under the secret (HMAC), not the owner itself; `remaining` is what is left of the window, or of what this process leased of it. */
  | { readonly type: 'quota.taken' | 'quota.refused'; readonly owner: string; readonly remaining: number }
  /** The guard turned a request away, for a spent limit or (`guard.shed`) under load. `path` is the pattern of the rule, or the path with `:id` for what could be one; `retryAfter` is in seconds; `ipBucket` is the address under a secret and the day. Handled: nothing is broken. */
  | {
      readonly type: 'guard.refused' | 'guard.shed'
      readonly path: string
      readonly requestClass: RequestClass
      readonly retryAfter: number
      readonly ipBucket: string
      readonly handled: true
    }
  /** A request's places in its limits were given back. */
  | { readonly type: 'guard.refunded'; readonly path: string; readonly limits: readonly string[] }
  /** Somebody signed in, or out: `everywhere` where all of a user's sessions ended. */
  | { readonly type: 'login.signed-in' }
  | { readonly type: 'login.signed-out'; readonly everywhere?: true }
  /** The login turned a request away; `reason` is one of docs/guides/sign-in.md. */
  | { readonly type: 'login.refused'; readonly reason: string }
  /** A user's tokens were refreshed, could not be (`code` says why; nobody is signed out), or were found to have ended. */
  | { readonly type: 'login.refresh'; readonly outcome: 'refreshed' | 'failed' | 'ended'; readonly code?: string }
  /** A breaker changed its state. */
  | { readonly type: 'breaker'; readonly name: 'discord' | 'redis' | 'database'; readonly state: BreakerState }

/** Where log lines go; pino's shape. */
export interface Logger {
  debug(fields: object, message: string): void
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
}

/**
 * Hands events to whoever listens. With nobody listening an event costs one comparison: emitters ask `active` first.
 * A listener that throws is reported to the logger and changes nothing for anybody else.
 */
export class Events {
  readonly #clock: Clock
  readonly #logger: Logger | undefined
  readonly #listeners = new Set<(event: HoldfastEvent) => void>()
  active = false

  constructor(clock: Clock, logger?: Logger) {
    this.#clock = clock
    this.#logger = logger
  }

  on(listener: (event: HoldfastEvent) => void): () => void {
    // Wrapped, so that the same function can listen twice and leave once.
    const entry = (event: HoldfastEvent) => listener(event)
    this.#listeners.add(entry)
    this.active = true
    return () => {
      this.#listeners.delete(entry)
      this.active = this.#listeners.size > 0
    }
  }

  emit(happening: HoldfastHappening): void {
    if (!this.active) return
    const event: HoldfastEvent = { at: this.#clock.now(), ...happening }
    for (const listener of this.#listeners) {
      try {
        listener(event)
      } catch (error) {
        this.#logger?.error({ error, type: event.type }, 'an event listener threw; fix the listener')
      }
    }
  }
}
