import { RecentlyUsed } from '../collections/recently-used.ts'
import { aFunction, anAbortSignal, milliseconds, wholeNumber } from '../config/accepted.ts'
import { optionsOf } from '../config/options.ts'
import { codeOf } from '../errors/code-of.ts'
import { HoldfastError } from '../errors/errors.ts'
import type { Events } from '../events/events.ts'
import type { MembershipResult } from '../guilds/membership-result.ts'
import type { GuildMemberships } from '../guilds/memberships.ts'
import type { Clock, Milliseconds } from '../time/clock.ts'
import { membershipsOf } from './kept-guilds.ts'
import type { LedgerSummary, Look, MembershipStore } from './membership-store.ts'
import { isSnowflake, type KeptGuild } from './membership-store.ts'
import { type RefreshCounts, type RefreshNeeds, type RefreshOptions, refreshDue } from './refresh-due.ts'
import { WriteQueue } from './write-queue.ts'

/** Everything the ledger holds of one user, for a request under data protection law. */
export interface UserExport {
  readonly userId: string
  readonly fetchedAt: Date
  readonly guilds: ReturnType<GuildMemberships['toJSON']>
}

/**
 * Which guilds users were in when Discord last told, in a database: it survives restarts, and processes share it. Every
 * method rejects with DATABASE_UNAVAILABLE where the database is away, DATABASE_FOREIGN or DATABASE_NEWER where it is not
 * to be used, INVALID_OPTION, and ConfigError where no database is configured or a package is missing.
 */
export interface MembershipLedger {
  /**
   * The guilds a user was in at the last answered fetch: `stale: true`, `source: 'ledger'`. Undefined where none is
   * known, the user was forgotten, or the fetch was longer ago than `maxAgeMs` (at most, and by default, `ledgerMaxAgeMs`).
   */
  recall(userId: string, options?: { maxAgeMs?: Milliseconds }): Promise<MembershipResult | undefined>
  /**
   * Deletes a user's memberships; an answer that is under way does not bring them back. In this process at once, also
   * where it rejects because the database is away: then it is done as soon as it is back. The bare id stays for an hour.
   */
  forget(userId: string): Promise<void>
  /** Guilds by the number of users who were in them at their last fetch, the most first. `limit` 1 to 10 000, default 100; only users verified within `verifiedWithinMs` (default `ledgerMaxAgeMs`) count. */
  usersPerGuild(options?: {
    limit?: number
    verifiedWithinMs?: Milliseconds
  }): Promise<Array<{ guildId: string; name: string; users: number }>>
  /**
   * Fetches anew what was fetched longer than `olderThanMs` ago, the oldest first, at most `limit` users, `atOnce` at a
   * time (default 10), as background work: it stops before it could cost pages their share of Discord. Processes that do
   * it at the same time share the work; one that dies leaves its users to the others after a minute.
   *
   * `token` gives a user's access token; a user without one (null, an error, no answer within 10 s) is `skipped` and
   * left alone for an hour. One that Discord refuses or fails is `failed`, and left alone for five minutes. Ends early
   * where Discord takes no calls of ours. Rejects with `signal.reason`; what was refreshed until then stays.
   */
  refreshDue(options: RefreshOptions): Promise<RefreshCounts>
  /** What the ledger holds. Counts every row: for people, not for pages. */
  summary(): Promise<LedgerSummary>
  /** Everything that is held of a user, however old; undefined where that is nothing. */
  exportUser(userId: string): Promise<UserExport | undefined>
}

/** More than this in the future is no clock that runs a little fast: nobody can tell how old such a row is. */
const FUTURE_MS: Milliseconds = 60_000
const GUILDS_LISTED = 100

/** Users of whom something was heard lately; an answer that was under way for longer is told by its time, when it is written. */
const HEARD = 10_000

/** What is known before a fetch is sent. */
export interface Asking extends Look {
  /** Which of the questions and forgettings of this process it is. */
  readonly order: number
}

export interface LedgerNeeds {
  readonly store: () => Promise<MembershipStore>
  readonly clock: Clock
  readonly events: Events
  /** The oldest memberships that are shown. */
  readonly maxAgeMs: Milliseconds
  /** How long a user's rows stay after the last fetch. */
  readonly keepMs: Milliseconds
  /** Fetches a user's guilds as background work, and notes them. */
  readonly refresh: RefreshNeeds['refresh']
}

const RECALL = optionsOf(
  'ledger.recall',
  { maxAgeMs: { means: 'the oldest memberships accepted', accepts: milliseconds(0), preset: 'ledgerMaxAgeMs' } },
  'call',
)
const USERS_PER_GUILD = optionsOf(
  'ledger.usersPerGuild',
  {
    limit: { means: 'guilds listed', accepts: wholeNumber(1, 10_000), preset: String(GUILDS_LISTED) },
    verifiedWithinMs: {
      means: 'only users who were verified within this time count',
      accepts: milliseconds(0),
      preset: 'ledgerMaxAgeMs',
    },
  },
  'call',
)
const REFRESH_DUE = optionsOf(
  'ledger.refreshDue',
  {
    olderThanMs: { means: 'whose last fetch is longer ago', accepts: milliseconds(0), required: true },
    limit: { means: 'users at most', accepts: wholeNumber(0, 10_000_000), required: true },
    token: { means: "a user's access token", accepts: aFunction('a function of the user id'), required: true },
    atOnce: { means: 'calls under way at a time', accepts: wholeNumber(1, 100), preset: '10' },
    signal: { means: 'ends it', accepts: anAbortSignal },
    onProgress: { means: 'hears of every user that is done', accepts: aFunction() },
  },
  'call',
)
export const LEDGER_OPTIONS = [RECALL, USERS_PER_GUILD, REFRESH_DUE]

/** The ledger of an instance: answered fetches come in through `note`, and go out through `recall`. */
export class Ledger implements MembershipLedger {
  readonly #needs: LedgerNeeds
  readonly #queue: WriteQueue
  /** The newest question that was answered, or forgetting, of each: what was asked before it is not news any more. */
  readonly #newest = new RecentlyUsed<string, number>(HEARD)
  #order = 0
  #distrustedUntilMs = Number.NEGATIVE_INFINITY

  constructor(needs: LedgerNeeds) {
    this.#needs = needs
    this.#queue = new WriteQueue(needs)
  }

  /** What is known of the ledger before a fetch is sent; handed back to `note` with its answer. */
  look(): Asking {
    const { turn, offsetsMs } = this.#queue.look
    return { turn, offsetsMs, order: ++this.#order }
  }

  /** Takes in what Discord answered about a user: a list, or null where it refused to tell. Costs its caller no time, and never fails. */
  note(userId: string, guilds: readonly unknown[] | null, sentMs: Milliseconds, look: Asking): void {
    // A later question was answered, or the user was forgotten since, maybe within the same millisecond.
    if (look.order < (this.#newest.get(userId) ?? 0)) return
    this.#newest.set(userId, look.order)
    this.#queue.add(userId, guilds, sentMs, look)
    if (this.#queue.isOverrun) this.#distrustedUntilMs = this.#needs.clock.monotonic()
  }

  async recall(userId: string, options: { maxAgeMs?: Milliseconds } = {}): Promise<MembershipResult | undefined> {
    RECALL.check(options)
    checkUser('recall', userId)
    return this.recallWithin(userId, options.maxAgeMs ?? Number.POSITIVE_INFINITY)
  }

  /** As `recall`, for who waits: the database has `timeoutMs`. */
  async recallWithin(
    userId: string,
    oldestMs: Milliseconds,
    timeoutMs?: Milliseconds,
  ): Promise<MembershipResult | undefined> {
    const { clock, maxAgeMs } = this.#needs
    const found = await this.#find(userId, timeoutMs)
    if (!found || found.ageMs > Math.min(oldestMs, maxAgeMs)) return undefined
    return {
      guilds: membershipsOf(found.guilds),
      stale: true,
      fetchedAt: new Date(clock.now() - found.ageMs),
      source: 'ledger',
    }
  }

  async forget(userId: string): Promise<void> {
    checkUser('forget', userId)
    this.#newest.set(userId, ++this.#order)
    this.#queue.add(userId, null, this.#needs.clock.monotonic(), this.#queue.look)
    await this.#queue.flush()
  }

  /** As `forget`, for who cannot do anything about it: says what went wrong as an event. */
  async forgetOrSay(userId: string): Promise<void> {
    if (!isSnowflake(userId)) return
    await this.forget(userId).catch((error) => this.say('forget', error))
  }

  async usersPerGuild(options: { limit?: number; verifiedWithinMs?: Milliseconds } = {}) {
    USERS_PER_GUILD.check(options)
    const { limit = GUILDS_LISTED, verifiedWithinMs = this.#needs.maxAgeMs } = options
    return (await this.#written()).usersPerGuild({ limit, verifiedWithinMs })
  }

  async summary(): Promise<LedgerSummary> {
    return (await this.#written()).summary()
  }

  async exportUser(userId: string): Promise<UserExport | undefined> {
    checkUser('exportUser', userId)
    const found = await this.#find(userId)
    if (!found) return undefined
    const fetchedAt = new Date(this.#needs.clock.now() - found.ageMs)
    return { userId, fetchedAt, guilds: membershipsOf(found.guilds).toJSON() }
  }

  async refreshDue(options: RefreshOptions): Promise<RefreshCounts> {
    REFRESH_DUE.check(options)
    const { clock, refresh } = this.#needs
    return refreshDue(options, { store: await this.#written(), clock, refresh, flush: () => this.#queue.flush() })
  }

  /** Opens the database. Rejects as it does. */
  async open(): Promise<void> {
    await (await this.#needs.store()).open()
  }

  /** Writes what waits, at most so long. */
  async close(): Promise<void> {
    if (this.#queue.size > 0) await this.#queue.close().catch(() => {})
    else await this.#queue.close()
  }

  async #find(
    userId: string,
    timeoutMs?: Milliseconds,
  ): Promise<{ readonly guilds: readonly KeptGuild[]; readonly ageMs: Milliseconds } | undefined> {
    const { clock } = this.#needs
    const waiting = this.#queue.find(userId)
    if (!waiting) {
      const store = await this.#needs.store()
      const row = await store.recall(userId, timeoutMs)
      // A fetch that was answered meanwhile is newer.
      if (!this.#queue.find(userId)) {
        if (!row || row.sentAt > row.now + FUTURE_MS) return undefined
        const ageMs = Math.max(0, row.now - row.sentAt)
        return clock.monotonic() - ageMs < this.#distrustedUntilMs ? undefined : { guilds: row.guilds, ageMs }
      }
    }
    const { guilds, sentMs } = this.#queue.find(userId)!
    return guilds ? { guilds, ageMs: clock.monotonic() - sentMs } : undefined
  }

  /** The store, with what is known in it. */
  async #written(): Promise<MembershipStore> {
    const store = await this.#needs.store()
    await this.#queue.flush()
    return store
  }

  /** Says as an event that the database could not be asked. */
  say(operation: 'recall' | 'forget', error: unknown): void {
    const code = codeOf(error) ?? 'UNKNOWN'
    this.#needs.events.emit({ type: 'ledger.failed', operation, code, waiting: this.#queue.size })
  }
}

function checkUser(method: string, userId: unknown): void {
  if (!isSnowflake(userId))
    throw new HoldfastError('INVALID_OPTION', `ledger.${method}: the user must be one of Discord's ids, digits only`)
}
