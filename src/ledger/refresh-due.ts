import { DiscordRateLimitError, HoldfastError } from '../errors/errors.ts'
import { type Clock, type Milliseconds, sleepIdly } from '../time/clock.ts'
import { abandonable, withDeadline } from '../time/deadline.ts'
import type { MembershipStore } from './membership-store.ts'

/** What is refreshed, and how. */
export interface RefreshOptions {
  /** Whose last fetch is longer ago than this. */
  olderThanMs: Milliseconds
  /** Users at most. */
  limit: number
  /** A user's access token; null where there is none. */
  token: (userId: string) => Promise<string | null>
  /** Calls under way at a time, 1 to 100. Default 10. */
  atOnce?: number
  signal?: AbortSignal
  /** Hears of every user that is done. What it throws ends the refresh. */
  onProgress?: (done: number, total: number) => void
}

export interface RefreshCounts {
  readonly refreshed: number
  readonly skipped: number
  readonly failed: number
}

export interface RefreshNeeds {
  readonly store: MembershipStore
  readonly clock: Clock
  /** Fetches a user's guilds as background work, and notes them. */
  readonly refresh: (userId: string, accessToken: string, signal: AbortSignal) => Promise<void>
  /** Writes what was noted. */
  readonly flush: () => Promise<void>
}

const AT_ONCE = 10
/** Users claimed at a time, for each call under way: so many that no call waits for the database, so few that the others get their share. */
const CLAIMED_PER_CALL = { least: 2, most: 20 }
/** A lot is at most this part of all that is due. */
const SHARE = 1 / 16
/** For so long nobody else is given a user that was claimed; renewed while it is worked at. */
const CLAIM_MS: Milliseconds = 60_000
const RENEW_EVERY_MS: Milliseconds = 20_000
const TOKEN_TIMEOUT_MS: Milliseconds = 10_000
const LEFT_WITHOUT_TOKEN_MS: Milliseconds = 60 * 60 * 1000
const LEFT_AFTER_FAILURE_MS: Milliseconds = 5 * 60 * 1000
/** So many failures in a row, for each call under way, and Discord counts as away. */
const FAILURES_UNTIL_AWAY = 3

type Fate = keyof RefreshCounts

/** One run of `ledger.refreshDue`: claims users in small lots, refreshes several at a time, and gives back what it did not get to. */
export async function refreshDue(options: RefreshOptions, needs: RefreshNeeds): Promise<RefreshCounts> {
  const run = new Refresh(options, needs)
  return run.all()
}

class Refresh {
  readonly #options: RefreshOptions
  readonly #needs: RefreshNeeds
  readonly #atOnce: number
  readonly #counts: Record<Fate, number> = { refreshed: 0, skipped: 0, failed: 0 }
  /** Claimed and not begun. */
  readonly #claimed: string[] = []
  readonly #underWay = new Set<string>()
  /** Everybody this run was given: a user whose fetch could not be written would otherwise come again. */
  readonly #met = new Set<string>()
  /** Users to leave alone, by how long; said to the database a lot at a time. */
  readonly #left = new Map<Milliseconds, string[]>()
  #claiming: Promise<void> | undefined
  #isExhausted = false
  #failuresInARow = 0
  #total = 0
  #lot = 0
  readonly #end = new AbortController()

  constructor(options: RefreshOptions, needs: RefreshNeeds) {
    this.#options = options
    this.#needs = needs
    this.#atOnce = Math.min(options.atOnce ?? AT_ONCE, Math.max(1, options.limit))
  }

  async all(): Promise<RefreshCounts> {
    const { store } = this.#needs
    const { limit, olderThanMs, signal, onProgress } = this.#options
    if (signal?.aborted) throw signal.reason
    const stop = () => this.#end.abort(signal!.reason)
    signal?.addEventListener('abort', stop, { once: true })
    try {
      if (limit === 0) return { ...this.#counts }
      this.#total = Math.min(limit, await store.countDue(olderThanMs))
      const { least, most } = CLAIMED_PER_CALL
      this.#lot = this.#atOnce * Math.max(least, Math.min(most, Math.ceil((this.#total * SHARE) / this.#atOnce)))
      onProgress?.(0, this.#total)
      void this.#renew()
      // All end before this does: what one throws is thrown when the others have stopped.
      const ended = await Promise.allSettled(Array.from({ length: this.#atOnce }, () => this.#work()))
      const broken = ended.find((end) => end.status === 'rejected')
      if (broken) throw broken.reason
      if (signal?.aborted) throw signal.reason
      return { ...this.#counts }
    } finally {
      this.#end.abort(ENDED)
      signal?.removeEventListener('abort', stop)
      await this.#giveBack()
    }
  }

  async #work(): Promise<void> {
    try {
      for (;;) {
        const userId = await this.#next()
        if (userId === undefined) return
        this.#underWay.add(userId)
        const fate = await this.#refresh(userId)
        this.#underWay.delete(userId)
        if (fate === undefined) {
          this.#claimed.push(userId)
          return
        }
        this.#counts[fate]++
        const { refreshed, skipped, failed } = this.#counts
        const done = refreshed + skipped + failed
        this.#options.onProgress?.(done, Math.max(this.#total, done))
      }
    } catch (error) {
      this.#end.abort(error)
      throw error
    }
  }

  /** The next user; undefined where there is none, or it is time to end. */
  async #next(): Promise<string | undefined> {
    for (;;) {
      if (this.#end.signal.aborted) return undefined
      const userId = this.#claimed.shift()
      // In good time: the next lot comes while this one is worked at.
      if (this.#claimed.length < this.#lot / 2) this.#claimMore()
      if (userId !== undefined) return userId
      if (this.#isExhausted) return undefined
      await this.#claiming
    }
  }

  #claimMore(): void {
    if (this.#claiming || this.#isExhausted) return
    const { limit, olderThanMs } = this.#options
    const lot = Math.min(this.#lot, limit - this.#met.size)
    if (lot <= 0) {
      this.#isExhausted = true
      return
    }
    const claiming = this.#needs.store.claimDue(olderThanMs, lot, CLAIM_MS).then((userIds) => {
      const fresh = userIds.filter((userId) => !this.#met.has(userId))
      for (const userId of fresh) this.#met.add(userId)
      this.#claimed.push(...fresh)
      if (fresh.length === 0) this.#isExhausted = true
    })
    this.#claiming = claiming.finally(() => {
      this.#claiming = undefined
    })
    // Whoever waits for it hears of it; where nobody does, the next who claims.
    this.#claiming.catch(() => {})
  }

  /** Undefined where the user is to be given back: it is time to end. */
  async #refresh(userId: string): Promise<Fate | undefined> {
    const token = await this.#token(userId)
    if (this.#end.signal.aborted) return undefined
    if (token === null) return this.#leave(userId, 'skipped', LEFT_WITHOUT_TOKEN_MS)
    try {
      await this.#needs.refresh(userId, token, this.#end.signal)
      this.#failuresInARow = 0
      return 'refreshed'
    } catch (error) {
      if (this.#end.signal.aborted) return undefined
      if (isRefusalOfAll(error)) {
        this.#end.abort(ENDED)
        return this.#leave(userId, 'failed', 0)
      }
      if (++this.#failuresInARow >= FAILURES_UNTIL_AWAY * this.#atOnce) this.#end.abort(ENDED)
      return this.#leave(userId, 'failed', LEFT_AFTER_FAILURE_MS)
    }
  }

  async #token(userId: string): Promise<string | null> {
    const late = () => new HoldfastError('INVALID_OPTION', 'ledger.refreshDue: token took too long')
    try {
      const token: unknown = await withDeadline(
        this.#needs.clock,
        TOKEN_TIMEOUT_MS,
        [this.#end.signal],
        late,
        (signal) => abandonable(async () => this.#options.token(userId), signal),
      )
      return typeof token === 'string' && token !== '' ? token : null
    } catch {
      return null
    }
  }

  #leave(userId: string, fate: Fate, forMs: Milliseconds): Fate {
    const left = this.#left.get(forMs) ?? []
    left.push(userId)
    this.#left.set(forMs, left)
    if (left.length >= this.#atOnce) void this.#sayLeft().catch(() => {})
    return fate
  }

  async #sayLeft(): Promise<void> {
    const left = [...this.#left]
    this.#left.clear()
    for (const [forMs, userIds] of left) await this.#needs.store.putOff(userIds, forMs)
  }

  async #renew(): Promise<void> {
    while (!this.#end.signal.aborted) {
      await sleepIdly(this.#needs.clock, RENEW_EVERY_MS, this.#end.signal).catch(() => {})
      if (this.#end.signal.aborted) return
      await this.#needs.store.putOff([...this.#claimed, ...this.#underWay], CLAIM_MS).catch(() => {})
    }
  }

  /** Also where it ends with an error. What cannot be given back is the others' when its claim ends. */
  async #giveBack(): Promise<void> {
    await this.#claiming?.catch(() => {})
    const { store, flush } = this.#needs
    await flush().catch(() => {})
    await store.putOff([...this.#claimed], 0).catch(() => {})
    await this.#sayLeft().catch(() => {})
  }
}

/** Why a run ends that nobody aborted. */
const ENDED = new Error('the refresh has ended')

/** Whether Discord, or our own prudence, refuses more than this one user. */
function isRefusalOfAll(error: unknown): boolean {
  return error instanceof DiscordRateLimitError && error.scope === 'egress'
}
