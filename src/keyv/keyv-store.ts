import { Breaker } from '../concurrency/breaker.ts'
import type { KeyvStoreShape } from '../config/config.ts'
import { HoldfastError } from '../errors/errors.ts'
import type { Events, Logger } from '../events/events.ts'
import { alarm, type Clock, type Milliseconds } from '../time/clock.ts'

/** How long a store may take. A read is waited for; a write by nobody. */
const READ_TIMEOUT_MS: Milliseconds = 250
const WRITE_TIMEOUT_MS: Milliseconds = 1_000
/** Operations in a row that fail before nobody waits for the store any more. */
const FAILURES = 2
/** Nothing is kept for longer. */
const LONGEST_MS: Milliseconds = 366 * 24 * 60 * 60 * 1000
const FIRST_PAUSE_MS: Milliseconds = 1_000
const LONGEST_PAUSE_MS: Milliseconds = 30_000

export { READ_TIMEOUT_MS as LEASE_WRITE_TIMEOUT_MS }

export interface BoundedStoreOptions {
  readonly store: KeyvStoreShape
  readonly clock: Clock
  readonly events: Events
  readonly logger: Logger | undefined
}

/**
 * A store that was handed in, with deadlines and a breaker: what does not answer in time is a failure, and after two in
 * a row nothing is asked but a probe, after 1 s, doubling to 30 s. Everything rejects with HoldfastError
 * STORE_UNAVAILABLE. It is never closed, and nothing is deleted from it.
 */
export class BoundedStore {
  readonly #store: KeyvStoreShape
  readonly #clock: Clock
  readonly #logger: Logger | undefined
  readonly #breaker: Breaker
  readonly #takesEnd: boolean
  #failures = 0

  constructor({ store, clock, events, logger }: BoundedStoreOptions) {
    this.#store = store
    this.#clock = clock
    this.#logger = logger
    this.#takesEnd = store.store === undefined && store.capabilities?.expires === true
    this.#breaker = new Breaker(clock, (state) => events.emit({ type: 'breaker', name: 'store', state }))
  }

  get isUsable(): boolean {
    return this.#breaker.state === 'closed'
  }

  /**
   * Asks a store that is away whether it is back, where it is time to: `probe` may use it, and when it resolves the store
   * counts as back. False where it is not.
   */
  async recover(probe: (store: Operations) => Promise<void>): Promise<boolean> {
    if (this.#breaker.pass() !== 'probe') return false
    try {
      await probe(this.#operations)
    } catch {
      return false
    }
    this.#failures = 0
    this.#breaker.close()
    return true
  }

  /** Texts under these keys; undefined for what is no text. */
  read(keys: readonly string[]): Promise<Array<string | undefined>> {
    return this.isUsable ? this.#operations.read(keys) : Promise.reject(unavailable())
  }

  /** Writes, and reads back: many stores swallow their errors and say that all is well. Resolves to what is there then. */
  write(key: string, text: string, lastsMs: Milliseconds, timeoutMs = WRITE_TIMEOUT_MS): Promise<string> {
    return this.isUsable ? this.#operations.write(key, text, lastsMs, timeoutMs) : Promise.reject(unavailable())
  }

  async forget(key: string): Promise<void> {
    if (!this.isUsable) throw unavailable()
    await this.#within(WRITE_TIMEOUT_MS, async () => this.#store.delete(key))
  }

  readonly #operations: Operations = {
    read: (keys) =>
      this.#within(READ_TIMEOUT_MS, async () => {
        const values = await Promise.all(keys.map((key) => this.#store.get(key)))
        return values.map((value) => (typeof value === 'string' ? value : undefined))
      }),
    write: (key, text, lastsMs, timeoutMs = WRITE_TIMEOUT_MS) =>
      this.#within(timeoutMs, async () => {
        const lasts = Math.max(1, Math.ceil(Math.min(lastsMs, LONGEST_MS)))
        await this.#store.set(key, text, this.#takesEnd ? this.#clock.now() + lasts : lasts)
        const held = await this.#store.get(key)
        if (typeof held !== 'string') throw new Error('the store did not keep what was written')
        return held
      }),
  }

  async #within<T>(timeoutMs: Milliseconds, work: () => Promise<T>): Promise<T> {
    let cancelAlarm = () => {}
    try {
      const late = new Promise<never>((_resolve, reject) => {
        cancelAlarm = alarm(this.#clock, timeoutMs, () => reject(new Error(`no answer within ${timeoutMs} ms`)))
      })
      const value = await Promise.race([work(), late])
      this.#failures = this.isUsable ? 0 : this.#failures
      return value
    } catch (error) {
      this.#failed(error)
      throw unavailable(error)
    } finally {
      cancelAlarm()
    }
  }

  #failed(error: unknown): void {
    this.#failures++
    if (this.#failures < FAILURES && this.isUsable) return
    const pauseMs = Math.min(FIRST_PAUSE_MS * 2 ** Math.max(0, this.#failures - FAILURES), LONGEST_PAUSE_MS)
    if (this.isUsable)
      this.#logger?.warn(
        { error: error instanceof Error ? error.constructor.name : 'UNKNOWN' },
        'the store of `cache.store` is away; every process carries on with its own memory until it is back',
      )
    if (this.#breaker.state !== 'open') this.#breaker.open(pauseMs)
  }
}

/** What can be done with a store. */
export interface Operations {
  read(keys: readonly string[]): Promise<Array<string | undefined>>
  write(key: string, text: string, lastsMs: Milliseconds, timeoutMs?: Milliseconds): Promise<string>
}

function unavailable(cause?: unknown): HoldfastError {
  return new HoldfastError('STORE_UNAVAILABLE', 'the store of `cache.store` cannot be used', { cause })
}
