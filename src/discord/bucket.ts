import { LazySet } from '../concurrency/lazy-set.ts'
import type { Milliseconds } from '../time/clock.ts'
import type { BucketReport, Call, Priority } from './call.ts'
import type { Permit } from './permit.ts'
import { WaitingLine } from './waiting-line.ts'

/** A call that waits for its permit; `go` hands it over. */
export interface Waiter {
  readonly call: Call
  /** Changes when the bucket's hash is learned. */
  bucket: Bucket
  go(permit: Permit<Bucket>): void
}

/** Used for a window whose length nobody has told us yet. */
const GUESSED_WINDOW_MS: Milliseconds = 1000
/** Two answers of one fixed window name the same reset, give or take this. */
const SAME_RESET_MS: Milliseconds = 50

/**
 * One of Discord's buckets, as far as its answers told. Unknown: one request goes first and the rest wait for what it
 * teaches. Known: as many go out together as remain. Fixed windows and leaky buckets look alike in the headers and are
 * treated alike: the answer with the fewest remaining was made last, and its reset is the one that holds.
 */
export class Bucket {
  readonly line = new WaitingLine<Waiter>()
  /** Requests that took a place here and have not been answered. */
  readonly sent = new LazySet<Permit<Bucket>>()
  #limit: number | undefined
  #remaining = 0
  /** When the next window may be used; undefined while no answer of this window has come. */
  #resetAt: Milliseconds | undefined
  /** The fewest remaining that an answer of this window reported. */
  #reported = Number.POSITIVE_INFINITY
  #windowMs: Milliseconds = 0
  /** About the longest that answers took lately. */
  #roundTripMs: Milliseconds = 0
  #heldUntil: Milliseconds = 0

  /** Until when a 429 forbids this bucket. */
  get heldUntil(): Milliseconds {
    return this.#heldUntil
  }

  /** When a request may go: `now` if one may, a later time if that is known, Infinity if an answer has to come first. */
  nextAt(now: Milliseconds): Milliseconds {
    if (now < this.#heldUntil) return this.#heldUntil
    if (this.#limit === undefined) return this.sent.size === 0 ? now : Number.POSITIVE_INFINITY
    this.#roll(now, this.#limit)
    if (this.#remaining > 0) return now
    // With nothing under way no answer will ever tell: one goes, and asks.
    return this.#resetAt ?? (this.sent.size === 0 ? now : Number.POSITIVE_INFINITY)
  }

  take(permit: Permit<Bucket>): void {
    this.#remaining--
    this.sent.add(permit)
  }

  /** The request was never sent, or was counted in another bucket: its place is free again. */
  giveBack(permit: Permit<Bucket>): void {
    if (this.sent.delete(permit)) this.#remaining++
  }

  /** No answer came. Discord may have counted the request, so its place stays taken until the window ends. */
  failed(permit: Permit<Bucket>, now: Milliseconds): void {
    this.sent.delete(permit)
    if (this.#limit === undefined || this.#resetAt !== undefined || this.sent.size > 0) return
    this.#resetAt = now + (this.#windowMs || GUESSED_WINDOW_MS)
  }

  /** An answer came. `creditMs` is what may be taken off a wait that is counted from `receivedAt` (see Latency). */
  answered(
    permit: Permit<Bucket>,
    report: BucketReport | undefined,
    receivedAt: Milliseconds,
    creditMs: Milliseconds,
  ): void {
    this.sent.delete(permit)
    this.#roundTripMs = Math.max(receivedAt - permit.at, this.#roundTripMs * 0.9)
    if (report) this.#learn(report, receivedAt, creditMs)
    else this.failed(permit, receivedAt)
  }

  /** Takes in what an answer says; of several, what the one made last says counts. Parameters as in `answered`. */
  #learn(report: BucketReport, receivedAt: Milliseconds, creditMs: Milliseconds): void {
    const known = this.#limit !== undefined
    const limit = Math.max(1, report.limit)
    const resetAt = receivedAt + report.resetAfterMs + 1 - creditMs
    this.#limit = limit
    // The first answer of a window tells how long it is; any other only that it is not shorter.
    this.#windowMs = report.remaining >= limit - 1 ? report.resetAfterMs : Math.max(this.#windowMs, report.resetAfterMs)
    if (!known) {
      this.#remaining = Math.max(0, report.remaining - this.sent.size)
      this.#reported = report.remaining
      this.#resetAt = resetAt
      return
    }
    const first = this.#resetAt === undefined || this.#reported === Number.POSITIVE_INFINITY
    if (first || report.remaining < this.#reported) {
      this.#reported = report.remaining
      this.#resetAt = resetAt
    } else if (resetAt > this.#resetAt! + SAME_RESET_MS) {
      // Later by most of a window: the server began a new one before we thought it would. Later by less: a leaky
      // bucket's reset moves with every request.
      if (resetAt > this.#resetAt! + this.#windowMs / 2) {
        this.#reported = report.remaining
        this.#remaining = Math.max(0, report.remaining - this.sent.size)
      }
      this.#resetAt = resetAt
    }
    this.#remaining = Math.min(this.#remaining, this.#reported)
    // With nothing under way the server's count is the whole truth, also where it is the more generous one.
    if (this.sent.size === 0) this.#remaining = this.#reported
  }

  /** A 429: nothing goes before `until`, and then one goes first again, whatever was known before. */
  hold(until: Milliseconds): void {
    this.#heldUntil = Math.max(this.#heldUntil, until)
    this.#limit = undefined
    this.#resetAt = undefined
    this.#reported = Number.POSITIVE_INFINITY
  }

  /** How long a call of this priority that joins now would wait, as far as anybody can know. */
  estimateMs(now: Milliseconds, priority: Priority): Milliseconds {
    const nextAt = this.nextAt(now)
    if (this.#limit === undefined) return Number.isFinite(nextAt) ? nextAt - now : 0
    const open = nextAt <= now ? this.#remaining : 0
    const ahead = this.line.ahead(priority)
    if (ahead < open) return 0
    const resetAt = this.#resetAt ?? now + (this.#windowMs || GUESSED_WINDOW_MS)
    return Math.max(0, resetAt - now) + Math.floor((ahead - open) / this.#limit) * this.#windowMs
  }

  /** Takes over what belongs to one route, when it turns out that the route is counted here. `inherit` where nothing is known here yet. */
  takeOver(from: Bucket, counted: string, inherit: boolean): void {
    if (inherit) {
      this.#limit = from.#limit
      this.#remaining = from.#remaining
      this.#resetAt = from.#resetAt
      this.#reported = from.#reported
      this.#windowMs = from.#windowMs
      this.#roundTripMs = from.#roundTripMs
    }
    this.#heldUntil = Math.max(this.#heldUntil, from.#heldUntil)
    for (const waiter of from.line) {
      if (waiter.call.route.counted !== counted) continue
      from.line.leave(waiter)
      this.line.join(waiter)
      waiter.bucket = this
    }
    for (const permit of from.sent) {
      if (permit.call.route.counted !== counted) continue
      // Its place there is free: it was counted here all the time.
      from.giveBack(permit)
      this.sent.add(permit)
      permit.bucket = this
      if (!inherit) this.#remaining--
    }
  }

  /** Takes over everything, when two names of one principal are found to be one: of what both know, the stricter. */
  join(other: Bucket): void {
    this.#heldUntil = Math.max(this.#heldUntil, other.#heldUntil)
    if (this.#limit === undefined) {
      this.#limit = other.#limit
      this.#remaining = other.#remaining
      this.#resetAt = other.#resetAt
      this.#reported = other.#reported
    } else if (other.#limit !== undefined) {
      this.#remaining = Math.min(this.#remaining, other.#remaining)
      this.#reported = Math.min(this.#reported, other.#reported)
      if (other.#resetAt !== undefined) this.#resetAt = Math.max(this.#resetAt ?? 0, other.#resetAt)
    }
    this.#windowMs = Math.max(this.#windowMs, other.#windowMs)
    this.#roundTripMs = Math.max(this.#roundTripMs, other.#roundTripMs)
    for (const waiter of other.line) {
      other.line.leave(waiter)
      this.line.join(waiter)
      waiter.bucket = this
    }
    for (const permit of other.sent) {
      other.sent.delete(permit)
      this.sent.add(permit)
      permit.bucket = this
    }
  }

  /** Whether anything here would be missed if it were forgotten. */
  idle(now: Milliseconds): boolean {
    return this.line.size === 0 && this.sent.size === 0 && now >= this.#heldUntil && now >= (this.#resetAt ?? 0)
  }

  #roll(now: Milliseconds, limit: number): void {
    if (this.#resetAt === undefined || now < this.#resetAt) return
    // A request that is still under way may arrive only now, and is charged to the new window. One whose answer is
    // overdue by a whole window arrived long ago or never will. A leaky bucket's window looks shorter than it is.
    const overdueMs = Math.max(this.#windowMs, GUESSED_WINDOW_MS) + 2 * this.#roundTripMs
    let carried = 0
    let oldest = now
    for (const permit of this.sent) {
      if (permit.at <= now - overdueMs) continue
      carried++
      if (permit.at < oldest) oldest = permit.at
    }
    this.#reported = Number.POSITIVE_INFINITY
    this.#remaining = Math.max(0, limit - carried)
    this.#resetAt = this.#remaining > 0 ? undefined : oldest + overdueMs
  }
}
