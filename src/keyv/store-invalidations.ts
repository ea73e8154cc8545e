import type { SharedKey } from '../cache/shared-tier.ts'
import { type KeyRing, uniqueToken } from '../secrets/key-ring.ts'
import { type Clock, type Milliseconds, sleepIdly } from '../time/clock.ts'
import type { BoundedStore, Operations } from './keyv-store.ts'
import { type Epochs, epochRecord, readEpoch } from './records.ts'
import type { StoreKeyTable } from './store-keys.ts'

/** An invalidation: of one key, or of all keys of a user. */
export type Invalidation = { readonly key: SharedKey } | { readonly user: string }

/** Invalidations that the store has not taken. Beyond it, everything is invalidated. */
const UNSAID = 10_000
const EPOCH_LASTS_MS: Milliseconds = 366 * 24 * 60 * 60 * 1000

/**
 * Epochs, and who has seen them change. A store tells nobody anything: whoever invalidates writes a token of its own
 * under one key that everybody looks at, after the epoch; a process that sees it changed doubts all that it holds, and
 * asks the store about each key when that is asked for next.
 */
export class StoreInvalidations {
  readonly #store: BoundedStore
  readonly #keys: StoreKeyTable
  readonly #ring: KeyRing
  readonly #clock: Clock
  readonly #lookEveryMs: Milliseconds
  readonly #now: () => number
  readonly #everythingInvalidated: () => void
  readonly #mayHaveChanged: () => void
  readonly #unsaid = new Map<string, Invalidation>()
  #overflown = false
  #all: string | undefined
  #changed: string | undefined
  readonly #closing = new AbortController()
  /** Resolves when the store was asked for the first time, and has answered or not. */
  started: Promise<void> = Promise.resolve()

  constructor(options: {
    readonly store: BoundedStore
    readonly keys: StoreKeyTable
    readonly ring: KeyRing
    readonly clock: Clock
    readonly lookEveryMs: Milliseconds
    /** Moments of this process. */
    readonly now: () => number
    readonly everythingInvalidated: () => void
    readonly mayHaveChanged: () => void
  }) {
    this.#store = options.store
    this.#keys = options.keys
    this.#ring = options.ring
    this.#clock = options.clock
    this.#lookEveryMs = options.lookEveryMs
    this.#now = options.now
    this.#everythingInvalidated = options.everythingInvalidated
    this.#mayHaveChanged = options.mayHaveChanged
  }

  /** The epoch of everything, once it is known. */
  get all(): string | undefined {
    return this.#all
  }

  start(): void {
    this.started = this.#lookAt(this.#store).catch(() => {})
    void this.#keepLooking()
  }

  close(): void {
    this.#closing.abort()
  }

  /** Rejects where the store has not taken it; it is said before the store is used again. */
  async invalidate(invalidation: Invalidation): Promise<void> {
    const name = nameOf(invalidation)
    if (this.#unsaid.size >= UNSAID && !this.#unsaid.has(name)) {
      this.#overflown = true
      this.#unsaid.clear()
    }
    if (!this.#overflown) this.#unsaid.set(name, invalidation)
    await this.#sayAll(this.#store, [invalidation])
  }

  /** Says what concerns a key and was not said yet. */
  async saidOf(key: SharedKey): Promise<void> {
    if (!this.#overflown && this.#unsaid.size === 0) return
    const names = key.user === undefined ? [`k${key.id}`] : [`k${key.id}`, `u${key.user}`]
    await this.#sayAll(
      this.#store,
      names.flatMap((name) => this.#unsaid.get(name) ?? []),
    )
  }

  /** The epochs of a key, begun where there are none: nothing was invalidated by that. */
  async beginEpochs(key: SharedKey): Promise<Epochs> {
    if (this.#all === undefined) await this.#lookAt(this.#store)
    const keys = this.#keys.of(key)
    const epochOf = async (at: string) => {
      const [held] = await this.#store.read([at])
      const token = readEpoch(held)?.token
      if (token !== undefined) return token
      const written = await this.#store.write(at, epochRecord(uniqueToken(), 0), EPOCH_LASTS_MS)
      return readEpoch(written)?.token ?? ''
    }
    const [own, user] = await Promise.all([epochOf(keys.key), keys.user === undefined ? '0' : epochOf(keys.user)])
    return { all: this.#all ?? '', user, key: own }
  }

  async #keepLooking(): Promise<void> {
    const { signal } = this.#closing
    while (!signal.aborted) {
      await sleepIdly(this.#clock, this.#lookEveryMs, signal).catch(() => {})
      if (signal.aborted) return
      if (this.#store.isUsable) await this.#lookAt(this.#store).catch(() => {})
      else if (await this.#store.recover((store) => this.#catchUp(store))) this.#mayHaveChanged()
    }
  }

  /** Says what was not heard, before anything is read again. */
  async #catchUp(store: Operations): Promise<void> {
    await this.#lookAt(store)
    await this.#sayAll(store, [...this.#unsaid.values()])
  }

  async #lookAt(store: Operations): Promise<void> {
    const [all, changed, naming] = await store.read([
      this.#keys.at('all'),
      this.#keys.at('changed'),
      this.#keys.at('namingKey'),
    ])
    await this.#readNames(store, naming)
    let token = readEpoch(all)?.token
    token ??= readEpoch(await store.write(this.#keys.at('all'), epochRecord(uniqueToken(), 0), EPOCH_LASTS_MS))?.token
    if (token !== this.#all) {
      if (this.#all !== undefined) this.#everythingInvalidated()
      this.#all = token
    }
    if (changed !== this.#changed) {
      this.#changed = changed
      this.#mayHaveChanged()
    }
  }

  async #readNames(store: Operations, sealed: string | undefined): Promise<void> {
    const at = this.#keys.at('namingKey')
    const held = sealed === undefined ? undefined : this.#ring.open(Buffer.from(sealed, 'base64'), at)
    if (held !== undefined && this.#ring.isCurrent(Buffer.from(sealed!, 'base64'))) return this.#keys.rename(held)
    if (sealed !== undefined && held === undefined) return
    const own = held ?? this.#ring.namingKey()
    this.#keys.rename(own)
    await store.write(at, this.#ring.seal(own, at).toString('base64'), EPOCH_LASTS_MS)
  }

  async #sayAll(store: Operations, invalidations: readonly Invalidation[]): Promise<void> {
    if (this.#overflown) {
      const token = uniqueToken()
      await store.write(this.#keys.at('all'), epochRecord(token, this.#now()), EPOCH_LASTS_MS)
      this.#overflown = false
      this.#all = token
      this.#everythingInvalidated()
    }
    for (const invalidation of invalidations) {
      const { key } = invalidation as { key?: SharedKey }
      const at = key ? this.#keys.of(key).key : this.#keys.ofUser((invalidation as { user: string }).user)
      const token = uniqueToken()
      const written = await store.write(at, epochRecord(token, this.#now()), EPOCH_LASTS_MS)
      // Another process's is as good, if it is an invalidation; what was there before, the store has kept against us.
      if (readEpoch(written)?.token !== token && (readEpoch(written)?.at ?? 0) === 0)
        throw new Error('the store did not keep what was written')
      const name = nameOf(invalidation)
      if (this.#unsaid.get(name) === invalidation) this.#unsaid.delete(name)
    }
    if (invalidations.length > 0) await store.write(this.#keys.at('changed'), uniqueToken(), EPOCH_LASTS_MS)
  }
}

function nameOf(invalidation: Invalidation): string {
  return 'key' in invalidation ? `k${invalidation.key.id}` : `u${invalidation.user}`
}
