import { codeOf } from '../errors/code-of.ts'
import type { Events } from '../events/events.ts'
import { type GuildMemberships, membershipsFromDiscord } from '../guilds/memberships.ts'
import { type Clock, type Milliseconds, sleepIdly } from '../time/clock.ts'
import { keptGuilds } from './kept-guilds.ts'
import { laterFetch } from './later-fetch.ts'
import { type AnsweredFetch, isSnowflake, type KeptGuild, type Look, type MembershipStore } from './membership-store.ts'

/** An answer waits for others to be written with it; together with a write it is in the database within a second. */
const GATHER_MS: Milliseconds = 200
/** Users written in one transaction. */
const BATCH = 64
/** Lists that wait while the database is away; then only the users whose rows must not be trusted any more. */
const LISTS = 10_000
const USERS = 200_000
const FIRST_PAUSE_MS: Milliseconds = 1_000
const LONGEST_PAUSE_MS: Milliseconds = 20_000
/** A write that takes longer is said: what waits behind it is late. */
const SLOW_MS: Milliseconds = 2_000
/** A trouble that goes on is said again after this. */
const SAY_AGAIN_MS: Milliseconds = 60_000
/** How often users who were forgotten, or not seen for long, are deleted. */
const PRUNE_EVERY_MS: Milliseconds = 10 * 60 * 1000

/** What waits for a user. `raw`: as Discord sent it, turned into rows when it is written and not while a request waits. */
interface Waiting {
  readonly sentMs: Milliseconds
  readonly look: Look
  raw: GuildMemberships | readonly unknown[] | undefined
  guilds: readonly KeptGuild[] | null
}

export interface WriteQueueNeeds {
  readonly store: () => Promise<MembershipStore>
  readonly clock: Clock
  readonly events: Events
  /** How long users are kept after their last fetch. */
  readonly keepMs: Milliseconds
}

/**
 * Answered fetches on their way to the database. Adding one costs a request nothing but a place in a map; what is added
 * is written within a second, a failed write is tried again for as long as it takes, and of each user only the fetch that
 * was sent last waits.
 */
export class WriteQueue {
  readonly #needs: WriteQueueNeeds
  #waiting = new Map<string, Waiting>()
  /** Being written now. */
  #writing: ReadonlyMap<string, Waiting> = new Map()
  #lists = 0
  #running: Promise<void> | undefined
  #underWay: Promise<void> | undefined
  #wakeUp = new AbortController()
  #pauseMs = FIRST_PAUSE_MS
  #failedSince: Milliseconds | undefined
  #saidAt = Number.NEGATIVE_INFINITY
  #saidSlowAt = Number.NEGATIVE_INFINITY
  #prunedAt: Milliseconds
  #lost = 0
  #closed = false
  #store: MembershipStore | undefined
  /** The clock's distance from the monotonic one when we began. */
  readonly #beganOffsetMs: Milliseconds

  constructor(needs: WriteQueueNeeds) {
    this.#needs = needs
    this.#beganOffsetMs = needs.clock.now() - needs.clock.monotonic()
    this.#prunedAt = needs.clock.monotonic() - PRUNE_EVERY_MS
  }

  /** What is known of the ledger now, for a fetch that is about to be sent. */
  get look(): Look {
    const { clock } = this.#needs
    const offsetMs = clock.now() - clock.monotonic()
    return this.#store?.look() ?? { turn: 0, offsetsMs: [this.#beganOffsetMs, offsetMs] }
  }

  /** The users that wait. */
  get size(): number {
    return this.#waiting.size + this.#writing.size
  }

  /**
   * Takes in an answered fetch, or (`guilds` null) that a user is to be forgotten as of `sentMs`. False where the user is
   * none of Discord's.
   */
  add(userId: string, guilds: GuildMemberships | readonly unknown[] | null, sentMs: Milliseconds, look: Look): boolean {
    if (this.#closed) return false
    if (!isSnowflake(userId)) {
      this.#needs.events.emit({ type: 'ledger.skipped', reason: 'id', users: 1 })
      return false
    }
    const held = this.#waiting.get(userId)
    if (held && held.sentMs > sentMs) return true
    const { turn, offsetsMs } = look
    const known = { turn, offsetsMs: [...offsetsMs, ...this.look.offsetsMs] }
    const waiting: Waiting = { sentMs, look: known, raw: guilds ?? undefined, guilds: null }
    if (held && hasList(held)) this.#lists--
    if (!held && this.#waiting.size >= USERS) {
      this.#lost++
      return true
    }
    if (guilds && this.#lists >= LISTS) {
      // No room for the list: what is known is that the older one does not stand any more.
      waiting.raw = undefined
      this.#needs.events.emit({ type: 'ledger.skipped', reason: 'full', users: 1 })
    }
    if (hasList(waiting)) this.#lists++
    this.#waiting.set(userId, waiting)
    this.#running ??= this.#run()
    return true
  }

  /** The newest that is known of a user and not written yet: guilds, null where they are to be forgotten, undefined where nothing waits. */
  find(userId: string): { readonly guilds: readonly KeptGuild[] | null; readonly sentMs: Milliseconds } | undefined {
    const waiting = this.#waiting.get(userId) ?? this.#writing.get(userId)
    if (!waiting) return undefined
    return { guilds: this.#listOf(waiting), sentMs: waiting.sentMs }
  }

  /** Whether the database may hold what should not be shown, because not even the users could be remembered. */
  get isOverrun(): boolean {
    return this.#lost > 0
  }

  /** Writes what waits, now; one try. Rejects with what the database rejects with. */
  async flush(): Promise<void> {
    while (this.#waiting.size + this.#writing.size > 0) {
      if (this.#writing.size > 0) await this.#underWay?.catch(() => {})
      else await this.#writeBatch()
    }
  }

  /** Writes what waits, and takes in no more. Rejects where that was not possible. */
  async close(): Promise<void> {
    this.#closed = true
    this.#wakeUp.abort()
    await this.flush()
    await this.#prune()
  }

  async #run(): Promise<void> {
    const { clock } = this.#needs
    while (this.#waiting.size > 0 && !this.#closed) {
      const pauseMs = this.#failedSince === undefined ? GATHER_MS : this.#pauseMs
      await sleepIdly(clock, pauseMs, this.#wakeUp.signal).catch(() => {})
      if (this.#closed) break
      try {
        while (this.#waiting.size > 0 && !this.#closed) await this.#writeBatch()
        await this.#prune()
      } catch {
        // Said by #writeBatch; what was to be written waits.
        this.#compact()
      }
    }
    this.#running = undefined
    // What came in the last moment.
    if (this.#waiting.size > 0 && !this.#closed) this.#running = this.#run()
  }

  #writeBatch(): Promise<void> {
    // One at a time: two of one process would only wait for each other.
    if (this.#writing.size > 0) return this.#underWay ?? Promise.resolve()
    const batch = new Map<string, Waiting>()
    for (const [userId, waiting] of this.#waiting) {
      batch.set(userId, waiting)
      this.#waiting.delete(userId)
      if (batch.size === BATCH) break
    }
    if (batch.size === 0) return Promise.resolve()
    this.#writing = batch
    this.#underWay = this.#write(batch).finally(() => {
      this.#writing = new Map()
      this.#underWay = undefined
    })
    return this.#underWay
  }

  async #write(batch: ReadonlyMap<string, Waiting>): Promise<void> {
    const { clock, events } = this.#needs
    const began = clock.monotonic()
    try {
      this.#store ??= await this.#needs.store()
      const fetches: AnsweredFetch[] = []
      for (const [userId, waiting] of batch)
        fetches.push({ userId, guilds: this.#listOf(waiting), sentMs: waiting.sentMs, look: waiting.look })
      await this.#store.save(fetches, laterFetch)
      for (const waiting of batch.values()) if (hasList(waiting)) this.#lists--
      const durationMs = clock.monotonic() - began
      events.emit({ type: 'ledger.written', users: batch.size, durationMs })
      this.#saySlow(durationMs)
      this.#recovered()
    } catch (error) {
      // Back to those who wait, unless a newer fetch of the same user came meanwhile.
      for (const [userId, waiting] of batch) {
        if (this.#waiting.has(userId)) {
          if (hasList(waiting)) this.#lists--
        } else this.#waiting.set(userId, waiting)
      }
      this.#failed(error)
      throw error
    }
  }

  #failed(error: unknown): void {
    const now = this.#needs.clock.monotonic()
    this.#pauseMs = this.#failedSince === undefined ? FIRST_PAUSE_MS : Math.min(this.#pauseMs * 2, LONGEST_PAUSE_MS)
    this.#failedSince ??= now
    if (now - this.#saidAt < SAY_AGAIN_MS) return
    this.#saidAt = now
    this.#needs.events.emit({
      type: 'ledger.failed',
      operation: 'write',
      code: codeOf(error) ?? 'UNKNOWN',
      waiting: this.#waiting.size,
    })
  }

  #saySlow(durationMs: Milliseconds): void {
    const now = this.#needs.clock.monotonic()
    if (durationMs <= SLOW_MS || now - this.#saidSlowAt < SAY_AGAIN_MS) return
    this.#saidSlowAt = now
    this.#needs.events.emit({ type: 'ledger.slow', durationMs, waiting: this.#waiting.size })
  }

  #recovered(): void {
    if (this.#failedSince === undefined) return
    const forMs = this.#needs.clock.monotonic() - this.#failedSince
    this.#failedSince = undefined
    this.#saidAt = Number.NEGATIVE_INFINITY
    this.#needs.events.emit({ type: 'ledger.recovered', afterMs: forMs })
  }

  /** Bookkeeping that nobody waits for; it is tried again later. */
  async #prune(): Promise<void> {
    const now = this.#needs.clock.monotonic()
    if (now - this.#prunedAt < PRUNE_EVERY_MS || !this.#store) return
    this.#prunedAt = now
    await this.#store.prune(this.#needs.keepMs).catch(() => {})
  }

  /** While it waits for long, a list is kept as its rows: a quarter of what Discord sent. */
  #compact(): void {
    for (const waiting of this.#waiting.values()) this.#listOf(waiting)
  }

  #listOf(waiting: Waiting): readonly KeptGuild[] | null {
    if (waiting.raw === undefined) return waiting.guilds
    try {
      const { raw } = waiting
      waiting.guilds = keptGuilds(
        Array.isArray(raw) ? membershipsFromDiscord(raw as never[]) : (raw as GuildMemberships),
      )
    } catch {
      // What cannot be kept is no reason to go on showing what was kept before.
      waiting.guilds = null
      this.#lists--
      this.#needs.events.emit({ type: 'ledger.skipped', reason: 'list', users: 1 })
    }
    waiting.raw = undefined
    return waiting.guilds
  }
}

function hasList(waiting: Waiting): boolean {
  return waiting.raw !== undefined || waiting.guilds !== null
}
