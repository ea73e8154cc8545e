import type { Milliseconds } from '../time/clock.ts'

/** After this an owner whose calls nobody made counts as unknown again. */
const KNOWN_FOR_MS: Milliseconds = 60_000
/** 429s in a row are waited out at least this long, doubling, whatever they ask for. */
const FIRST_BACKOFF_MS: Milliseconds = 1_000
const LONGEST_BACKOFF_MS: Milliseconds = 5 * 60_000
/** Ends that two answers tell differ by this, because one came back slower. */
const SOONER_MS: Milliseconds = 100
const FIRST_GUESS_MS: Milliseconds = 1_000
/** A call may be held up for so long and arrive after all. */
const LATEST_MS: Milliseconds = 5_000
/** Two 429s within so many windows have calls spread over as many: the upstream counts otherwise than we do. */
const SPREAD_WINDOWS = 10
const LONGEST_SPREAD_MS: Milliseconds = 10 * 60_000
const SECOND_MS: Milliseconds = 1_000
/** A probe without an answer is given up as hung after so many of them. */
const USUAL_ROUND_TRIPS = 4

/** A call under way. */
export interface Sent {
  readonly at: Milliseconds
  readonly lane: Lane
  readonly cost: number
  /** How often the lane had been closed when it was sent. */
  readonly closings: number
  /** Windows that this process saw begin before it was sent. */
  readonly windows: number
  /** How long its answer took to come, where it did before the call ended. */
  tookMs?: Milliseconds
  /** Where it stands among those under way. */
  place: number
}

/** Who wants to know when something changes that decides whether, or how soon, a call goes to an owner. */
export interface LaneWatcher {
  laneChanged(): void
}

/**
 * What this process's batches know of one owner's pool beside its count: whether anything was heard of it, what is under
 * way, and until when nothing is worth trying.
 */
export class Lane {
  readonly owner: string
  /** Batches and lines of runs that have it. */
  users = 0
  #remaining = 0
  #limit = Number.POSITIVE_INFINITY
  #largest = 0
  #leftWhenClosed = 0
  #closedUntil: Milliseconds = 0
  /** Before this a 429 forbids it. */
  #heldUntil: Milliseconds = 0
  /** In no order. No Set, which takes more room than all the rest, and new room with every few calls. */
  readonly #sent: Sent[] = []
  #probe: Sent | undefined
  #heardAt: Milliseconds | undefined
  /** Probes in a row that hang. */
  #silent = 0
  #closings = 0
  #refusals = 0
  #windows = 0
  /** Until when calls are spread over their windows. */
  #spreadUntil: Milliseconds = 0
  #sentAt = Number.NEGATIVE_INFINITY
  #refusedAt = Number.NEGATIVE_INFINITY
  readonly #windowMs: Milliseconds
  /** Whether ends are told in whole seconds, which may be early. */
  #inSeconds: boolean | undefined
  #roundTripMs: Milliseconds = 0
  #watchers: readonly LaneWatcher[] = []

  /** `windowMs` is 0 where nobody knows it. */
  constructor(owner: string, windowMs: Milliseconds) {
    this.owner = owner
    this.#windowMs = windowMs
  }

  /** What the quota last said is left; how lanes are compared. */
  get remaining(): number {
    return this.#remaining
  }

  /** The most that was ever left. */
  get largest(): number {
    return this.#largest
  }

  /** Calls a window may have, where that was asked (Infinity before): only what costs several needs to know. */
  get limit(): number {
    return this.#limit
  }

  /** What was left when a take was refused: too little for it. */
  get leftWhenClosed(): number {
    return this.#leftWhenClosed
  }

  /** Before this a take would be refused; monotonic, Infinity for never. */
  get closedUntil(): Milliseconds {
    return this.#closedUntil
  }

  watch(watcher: LaneWatcher): void {
    this.#watchers = [...this.#watchers, watcher]
  }

  unwatch(watcher: LaneWatcher): void {
    this.#watchers = this.#watchers.filter((other) => other !== watcher)
  }

  /** Tells who watches. Also to be called where the gates of batches have changed. */
  changed(): void {
    for (const watcher of this.#watchers) watcher.laneChanged()
  }

  /** The quota gave `cost` calls. */
  given(cost: number, remaining: number): void {
    this.#remaining = remaining
    this.#largest = Math.max(this.#largest, remaining + cost)
    this.changed()
  }

  /** The quota gave none before that time. */
  close(until: Milliseconds, left: number): void {
    this.#closedUntil = until
    this.#leftWhenClosed = left
    this.#remaining = Math.max(this.#remaining, this.#largest)
    this.changed()
  }

  /** The quota was asked for its limit. */
  limited(limit: number): void {
    this.#limit = limit
    this.changed()
  }

  /** When a call may be tried: `now` if at once, Infinity for never. Where an answer has to come first, when it is overdue. */
  readyAt(now: Milliseconds): Milliseconds {
    if (now < this.#closedUntil) return this.#closedUntil
    if (this.#probe) return Math.max(now, this.#probe.at + this.#patienceMs)
    // A window that slides has room for as many calls as were made a window ago, and no more.
    return now < this.#spreadUntil ? Math.max(now, this.#sentAt + this.#windowMs / Math.max(1, this.#largest)) : now
  }

  isKnown(now: Milliseconds): boolean {
    return this.#heardAt !== undefined && now - this.#heardAt < KNOWN_FOR_MS
  }

  /** A call goes. The first to an unknown owner is its probe: the others wait for what it teaches. */
  send(now: Milliseconds, cost: number): Sent {
    const sent = {
      at: now,
      lane: this,
      cost,
      closings: this.#closings,
      windows: this.#windows,
      place: this.#sent.length,
    }
    if (!this.isKnown(now)) {
      if (this.#probe) this.#silent++
      this.#probe = sent
    }
    this.#sentAt = now
    this.#sent.push(sent)
    this.changed()
    return sent
  }

  /** The call has ended, well or not. */
  ended(sent: Sent, now: Milliseconds): void {
    const last = this.#sent.pop()!
    if (last !== sent) {
      this.#sent[sent.place] = last
      last.place = sent.place
    }
    if (this.#probe === sent || sent.closings === this.#closings) this.#probe = undefined
    this.#silent = 0
    // What was under way when a 429 came says nothing of what comes after it.
    if (sent.closings === this.#closings) this.#heardAt = now
    this.#roundTripMs = Math.max(sent.tookMs ?? now - sent.at, this.#roundTripMs * 0.9)
    this.changed()
  }

  /** The call got through: what is refused from now on is not refused in a row. */
  accepted(): void {
    this.#refusals = 0
  }

  /** A 429: nothing goes before the wait that it names has passed, and then one goes first. Returns how long that is. */
  refused(sent: Sent, retryAfterMs: Milliseconds, now: Milliseconds): Milliseconds {
    // Those that were under way when the first one came back say the same again.
    if (sent.closings === this.#closings) {
      this.#closings++
      this.#refusals++
    }
    const spreadMs = Math.min(SPREAD_WINDOWS * this.#windowMs, LONGEST_SPREAD_MS)
    if (now - this.#refusedAt < spreadMs) this.#spreadUntil = now + spreadMs
    this.#refusedAt = now
    // A wait of 0 is less than a second, rounded down.
    const isInRow = this.#refusals > 1 || retryAfterMs === 0
    const backoffMs = isInRow
      ? Math.min(FIRST_BACKOFF_MS * 2 ** Math.max(0, this.#refusals - 2), LONGEST_BACKOFF_MS)
      : 0
    const waitMs = Math.max(retryAfterMs, backoffMs)
    this.#heldUntil = Math.max(this.#heldUntil, now + waitMs)
    this.#heardAt = undefined
    this.close(Math.max(this.#closedUntil, this.#heldUntil), 0)
    return waitMs
  }

  /** The quota may give again: somebody set another limit. */
  reopen(): void {
    this.#limit = Number.POSITIVE_INFINITY
    this.#closedUntil = this.#heldUntil
    this.changed()
  }

  /** Nothing that was heard holds any more: one call goes first, as to an owner that nothing is known of. */
  reset(): void {
    this.#limit = Number.POSITIVE_INFINITY
    this.#closings++
    this.#refusals = 0
    this.#spreadUntil = 0
    this.#refusedAt = Number.NEGATIVE_INFINITY
    this.#heardAt = undefined
    this.#heldUntil = 0
    this.#closedUntil = 0
    this.changed()
  }

  /** An answer tells when the window ends. Where that is sooner than what we wait for, the quota is asked again. */
  told(resetAfterMs: Milliseconds, now: Milliseconds): void {
    if (resetAfterMs % SECOND_MS !== 0) this.#inSeconds = false
    else if (resetAfterMs > 0) this.#inSeconds ??= true
    if (now + resetAfterMs < this.#closedUntil - SOONER_MS) this.reopen()
  }

  /** How long an answered call was on its way, and the next may be. Asked when its answer has come. */
  doubtMs(sent: Sent, now: Milliseconds): Milliseconds {
    sent.tookMs ??= now - sent.at
    return sent.tookMs + Math.max(sent.tookMs, this.#roundTripMs)
  }

  /** A window begins. Calls under way may arrive only now, and are counted in it; returns what they cost. */
  began(now: Milliseconds): number {
    this.#windows++
    if (this.#inSeconds) this.#heardAt = undefined
    // One whose answer is long overdue arrived before, or never will.
    const overdueMs = Math.max(LATEST_MS, 2 * this.#roundTripMs)
    let late = 0
    for (const sent of this.#sent) if (now - sent.at < overdueMs) late += sent.cost
    this.changed()
    return late
  }

  /** Whether this call was sent before the window that is open began, so that its count is another window's. */
  isOfAnEarlierWindow(sent: Sent): boolean {
    return sent.windows !== this.#windows
  }

  /** A probe that hangs is followed by another one: each time twice as late. */
  get #patienceMs(): Milliseconds {
    return USUAL_ROUND_TRIPS * (this.#roundTripMs || FIRST_GUESS_MS) * 2 ** Math.min(this.#silent, 10)
  }
}
