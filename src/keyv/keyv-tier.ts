import type { Begun, Found, Moment, SharedKey, SharedNews, SharedTier, Ticket } from '../cache/shared-tier.ts'
import { RecentlyUsed } from '../collections/recently-used.ts'
import type { KeyvStoreShape } from '../config/config.ts'
import { DISCORD_API } from '../config/settings.ts'
import { codeOf } from '../errors/code-of.ts'
import { HoldfastError } from '../errors/errors.ts'
import type { Events, Logger } from '../events/events.ts'
import { fingerprint, KeyRing, uniqueToken } from '../secrets/key-ring.ts'
import type { Clock, Milliseconds } from '../time/clock.ts'
import { BoundedStore, LEASE_WRITE_TIMEOUT_MS } from './keyv-store.ts'
import * as records from './records.ts'
import { type Invalidation, StoreInvalidations } from './store-invalidations.ts'
import { StoreKeyTable } from './store-keys.ts'

/** A lease that is not renewed ends after this. */
const LEASE_MS: Milliseconds = 2_000
/** How often a process that waits for another's load looks whether it is done. */
const WAIT_STEP_MS: Milliseconds = 100
/** How often the store is asked whether anything was invalidated. */
const LOOK_EVERY_MS: Milliseconds = 2_000
/** Epochs outlive the values beside them. */
const EPOCH_LASTS_MS: Milliseconds = 366 * 24 * 60 * 60 * 1000
/** What this process's memory holds of so many keys is compared with the store's word. */
const KNOWN = 100_000
/** Further ahead no clock is. */
const AHEAD_MS: Milliseconds = 60 * 60 * 1000
const LONGEST_TEXT = 4 * 1024 * 1024

/**
 * The cache's shared tier in a store that can only get and set. Less than Redis: leases are not atomic (a key may be
 * loaded by two processes at once), nobody is told anything (invalidations are seen within seconds, by looking), and
 * ages are as good as the machines' clocks agree. Masking, ages, sealing and invalidations are the same.
 */
export class KeyvTier implements SharedTier {
  readonly source = 'store'
  readonly renewEveryMs = LEASE_MS / 3
  readonly #store: BoundedStore
  readonly #keys: StoreKeyTable
  readonly #ring: KeyRing
  readonly #clock: Clock
  readonly #events: Events
  readonly #invalidations: StoreInvalidations
  /** Monotonic, beginning at the wall clock: moments of this process never step back. */
  readonly #origin: Milliseconds
  /** Under which epochs this process last saw a key. */
  readonly #known = new RecentlyUsed<string, string>(KNOWN)
  /** Loads that are being begun, so that of this process only one asks. */
  readonly #beginning = new Map<string, Promise<unknown>>()
  #listener: SharedNews | undefined

  constructor(options: {
    readonly store: KeyvStoreShape
    /** What every key begins with. */
    readonly prefix: string
    readonly secrets: readonly string[]
    readonly clock: Clock
    readonly events: Events
    readonly logger: Logger | undefined
    /** How often the store is asked whether anything was invalidated. Default 2 000. */
    readonly lookEveryMs?: Milliseconds
  }) {
    this.#clock = options.clock
    this.#events = options.events
    this.#origin = options.clock.now() - options.clock.monotonic()
    this.#ring = new KeyRing(options.secrets)
    this.#store = new BoundedStore(options)
    this.#keys = new StoreKeyTable(options.prefix, this.#ring.namingKey())
    this.#invalidations = new StoreInvalidations({
      store: this.#store,
      keys: this.#keys,
      ring: this.#ring,
      clock: options.clock,
      lookEveryMs: options.lookEveryMs ?? LOOK_EVERY_MS,
      now: () => this.#now(),
      everythingInvalidated: () => this.#listener?.everythingInvalidated(),
      mayHaveChanged: () => this.#listener?.returned(),
    })
  }

  get isUsable(): boolean {
    return this.#store.isUsable
  }

  /** Begins to look for what others invalidated. */
  start(): void {
    this.#invalidations.start()
  }

  /** Resolves when the store was reached, or is known to be away. */
  ready(): Promise<void> {
    return this.#invalidations.started
  }

  /** Ends the looking. The store is its owner's: nothing is closed. */
  close(): void {
    this.#invalidations.close()
  }

  lately(): Moment {
    return this.#now()
  }

  listen(listener: SharedNews): void {
    this.#listener = listener
  }

  async read(key: SharedKey): Promise<Found | undefined> {
    try {
      const readAt = this.#now()
      const { epochs, at, stored } = await this.#look(key)
      // Where nothing is known of what memory holds, the clocks have to do.
      const known = this.#known.get(key.id)
      const changed = epochs !== undefined && this.#hasChanged(key, epochs, readAt)
      const invalidBefore = changed ? readAt : known === undefined ? Math.min(at, readAt) : 0
      if (!epochs) return { invalidBefore }
      const value = this.#standing(key, stored, epochs)
      if (!value) return { invalidBefore }
      const ageMs = Math.max(0, readAt - value.begunAt)
      return { invalidBefore, value: { text: value.text, ageMs, begunAt: value.begunAt } }
    } catch (error) {
      return this.#unable(error, 'read')
    }
  }

  begin(key: SharedKey, freshMs: Milliseconds, _staleMs: Milliseconds): Promise<Begun | undefined> {
    return this.#inTurn(key, () => this.#begin(key, freshMs))
  }

  async take(key: SharedKey, _staleMs: Milliseconds): Promise<Ticket | undefined> {
    const begun = await this.#inTurn(key, () => this.#begin(key, 'take'))
    return begun?.kind === 'load' ? begun.ticket : undefined
  }

  async renew(key: SharedKey, ticket: Ticket): Promise<void> {
    try {
      const { lease } = this.#keys.of(key)
      const [held] = await this.#store.read([lease])
      if (held?.split(' ', 2)[1] !== ticket.token) return
      const epochs = held.split(' ').slice(3)
      await this.#store.write(
        lease,
        `l1 ${ticket.token} ${Math.ceil(this.#now() + LEASE_MS)} ${epochs.join(' ')}`,
        LEASE_MS,
      )
    } catch (error) {
      this.#unable(error, 'renew')
    }
  }

  async write(key: SharedKey, ticket: Ticket, text: string, staleMs: Milliseconds): Promise<boolean | undefined> {
    if (text.length > LONGEST_TEXT) {
      await this.giveUp(key, ticket, 0)
      return this.#unable(new HoldfastError('VALUE_TOO_LARGE', 'a value is too large to be shared'), 'write')
    }
    try {
      const { value, lease } = this.#keys.of(key)
      const { epochs, stored } = await this.#look(key)
      // The store lost what it knew: nothing says that this was invalidated.
      if (!epochs) return undefined
      const stands = records.joined(epochs) === ticket.epoch
      const held = stands ? this.#standing(key, stored, epochs) : undefined
      if (!stands || (held && held.begunAt >= ticket.begunAt)) {
        await this.#release(lease, ticket)
        return false
      }
      const lastsMs = Math.max(1, Math.min(staleMs, EPOCH_LASTS_MS))
      const record = { begunAt: ticket.begunAt, lastsMs, epochs, text }
      await this.#store.write(value, records.sealRecord(this.#ring, value, key.version, record), lastsMs)
      this.#known.set(key.id, ticket.epoch)
      await this.#release(lease, ticket)
      return true
    } catch (error) {
      return this.#unable(error, 'write')
    }
  }

  async giveUp(key: SharedKey, ticket: Ticket, failedForMs: Milliseconds): Promise<void> {
    try {
      const { lease } = this.#keys.of(key)
      if (failedForMs <= 0) return await this.#release(lease, ticket)
      const [held] = await this.#store.read([lease])
      if (held?.split(' ', 2)[1] !== ticket.token) return
      const until = Math.ceil(this.#now() + failedForMs)
      await this.#store.write(lease, `l1 ${FAILED} ${until} ${ticket.epoch}`, failedForMs)
    } catch (error) {
      this.#unable(error, 'give up')
    }
  }

  async done(key: SharedKey, ms: Milliseconds, signal: AbortSignal): Promise<void> {
    const endsAt = this.#clock.monotonic() + ms
    let first: string | undefined
    while (!signal.aborted && this.isUsable) {
      const leftMs = endsAt - this.#clock.monotonic()
      if (leftMs <= 0) return
      await this.#clock.sleep(Math.min(leftMs, WAIT_STEP_MS), signal).catch(() => {})
      if (signal.aborted) return
      const state = await this.#leaseState(key).catch(() => undefined)
      if (state === undefined) continue
      if (state === '' || (first !== undefined && state !== first)) return
      first ??= state
    }
  }

  async invalidate(key: SharedKey): Promise<void> {
    await this.#invalidate({ key })
  }

  async invalidateUser(user: string): Promise<void> {
    await this.#invalidate({ user })
  }

  async #invalidate(invalidation: Invalidation): Promise<void> {
    try {
      await this.#invalidations.invalidate(invalidation)
    } catch (error) {
      this.#unable(error, 'invalidate')
    }
  }

  async #begin(key: SharedKey, freshMs: Milliseconds | 'take'): Promise<Begun | undefined> {
    try {
      const { lease } = this.#keys.of(key)
      const looked = await this.#look(key)
      const epochs = looked.epochs ?? (await this.#invalidations.beginEpochs(key))
      const epoch = records.joined(epochs)
      const leased = records.readLease((await this.#store.read([lease]))[0], epochs)
      const held = this.#standing(key, looked.stored, epochs)
      // Later than what began before it, also where the other machine's clock is a little ahead.
      const before = Math.max(held?.begunAt ?? 0, leased && leased.token !== FAILED ? leased.until - LEASE_MS : 0)
      const begunAt = Math.max(this.#now(), before + 1)
      if (looked.epochs) this.#hasChanged(key, looked.epochs, begunAt)
      if (freshMs !== 'take') {
        if (held && this.#now() - held.begunAt < freshMs) return { kind: 'newer' }
        const forMs = leased ? Math.min(leased.until - this.#now(), AHEAD_MS) : 0
        if (leased && forMs > 0) {
          if (leased.token === FAILED) return { kind: 'failed', forMs }
          return { kind: 'wait', forMs: Math.min(forMs, LEASE_MS), heldSince: held?.begunAt ?? 0 }
        }
      }
      const token = uniqueToken()
      const record = records.leaseRecord(token, this.#now() + LEASE_MS, epochs)
      const written = await this.#store.write(lease, record, LEASE_MS, LEASE_WRITE_TIMEOUT_MS)
      // Another process wrote its lease at the same time, and later.
      const winner = records.readLease(written, epochs)
      if (freshMs !== 'take' && winner && winner.token !== token) return { kind: 'wait', forMs: LEASE_MS, heldSince: 0 }
      return { kind: 'load', ticket: { begunAt, epoch, token } }
    } catch (error) {
      return this.#unable(error, 'begin')
    }
  }

  /** The epochs that stand (undefined where one is missing), since when at the latest, and what is stored. */
  async #look(key: SharedKey) {
    await this.#invalidations.started
    await this.#invalidations.saidOf(key)
    const keys = this.#keys.of(key)
    const { all } = this.#invalidations
    const asked = [keys.key, keys.value, ...(keys.user === undefined ? [] : [keys.user])]
    const [ownText, stored, userText] = await this.#store.read(asked)
    const own = records.readEpoch(ownText)
    const user = keys.user === undefined ? { token: '0', at: 0 } : records.readEpoch(userText)
    const epochs = own && user && all !== undefined ? { all, user: user.token, key: own.token } : undefined
    return { epochs, at: Math.max(own?.at ?? 0, user?.at ?? 0), stored }
  }

  /** Whether a key was invalidated since this process last saw it: then its memory forgets it. */
  #hasChanged(key: SharedKey, epochs: records.Epochs, at: Moment): boolean {
    const known = this.#known.get(key.id)
    const epoch = records.joined(epochs)
    this.#known.set(key.id, epoch)
    if (known === undefined || known === epoch) return false
    this.#listener?.invalidated(key.id, at)
    return true
  }

  #standing(key: SharedKey, stored: string | undefined, epochs: records.Epochs): records.ValueRecord | undefined {
    const record = records.openRecord(this.#ring, this.#keys.of(key).value, key.version, stored)
    if (!record || records.joined(record.epochs) !== records.joined(epochs)) return undefined
    const ageMs = this.#now() - record.begunAt
    // Not every store forgets by itself.
    return ageMs < -AHEAD_MS || ageMs >= record.lastsMs ? undefined : record
  }

  /** Empty where nobody loads. */
  async #leaseState(key: SharedKey): Promise<string> {
    const { lease } = this.#keys.of(key)
    const { epochs } = await this.#look(key)
    if (!epochs) return ''
    const held = records.readLease((await this.#store.read([lease]))[0], epochs)
    return held && held.token !== FAILED && held.until > this.#now() ? held.token : ''
  }

  async #release(lease: string, ticket: Ticket): Promise<void> {
    const [held] = await this.#store.read([lease])
    if (held?.split(' ', 2)[1] === ticket.token) await this.#store.forget(lease)
  }

  /** One after the other under a key: of this process only the first can get the lease. */
  async #inTurn<T>(key: SharedKey, work: () => Promise<T>): Promise<T> {
    const before = this.#beginning.get(key.id)
    const turn = (before ?? Promise.resolve()).then(work)
    this.#beginning.set(key.id, turn)
    try {
      return await turn
    } finally {
      if (this.#beginning.get(key.id) === turn) this.#beginning.delete(key.id)
    }
  }

  #now(): Moment {
    return this.#origin + this.#clock.monotonic()
  }

  #unable(error: unknown, operation: string): undefined {
    this.#events.emit({ type: 'store.failed', operation, code: codeOf(error) ?? 'UNKNOWN' })
    return undefined
  }
}

/** Stands in a lease's place after a load that failed. */
const FAILED = 'failed'

/** The tier of an instance. Two applications that share a store, and two Discords, do not meet. */
export function openStore(options: {
  readonly store: KeyvStoreShape
  readonly secrets: readonly string[]
  readonly clientId: string | undefined
  readonly baseUrl: URL
  readonly clock: Clock
  readonly events: Events
  readonly logger: Logger | undefined
}): KeyvTier {
  const { clientId = 'app', baseUrl } = options
  const elsewhere = baseUrl.href.replace(/\/$/, '') === DISCORD_API ? '' : `@${fingerprint(baseUrl.href).slice(0, 8)}`
  return new KeyvTier({ ...options, prefix: `holdfast:store:1:${clientId}${elsewhere}:` })
}
