import type { Milliseconds } from '../time/clock.ts'
import type { Call } from './call.ts'

/** What an answer's headers say about its bucket (docs, topic Rate Limits). Absent means unknown: not unlimited, not blocked. */
export interface BucketNews {
  readonly limit: number
  readonly remaining: number
  readonly resetAfterMs: Milliseconds
}

/** A request that took a place and has not been answered. `bucket` changes when the bucket's hash is learned. */
export interface Sent {
  readonly call: Call
  readonly at: Milliseconds
  bucket: Bucket
}

/** A call that waits for a place; `go` hands it over. */
export interface Waiter {
  readonly call: Call
  bucket: Bucket
  go(): void
}

/** Used for a window whose length nobody has told us yet. */
const GUESSED_WINDOW_MS: Milliseconds = 1000
/** Two answers of one fixed window name the same reset, give or take this. */
const SAME_RESET_MS: Milliseconds = 50

const PRIORITIES = { login: 0, page: 1, background: 2 } as const

/**
 * One of Discord's buckets, as far as its answers told. Unknown: one request goes first and the rest wait for what it
 * teaches. Known: as many go out together as remain. Fixed windows and leaky buckets look alike in the headers and are
 * treated alike: the answer with the fewest remaining was made last, and its reset is the one that holds.
 */
export class Bucket {
  readonly waiters: Waiter[] = []
  readonly sent = new Set<Sent>()
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
    return this.#resetAt ?? Number.POSITIVE_INFINITY
  }

  take(call: Call, now: Milliseconds): Sent {
    this.#remaining--
    const sent = { call, at: now, bucket: this }
    this.sent.add(sent)
    return sent
  }

  /** The request was never sent: its place is free again. */
  giveBack(sent: Sent): void {
    if (this.sent.delete(sent)) this.#remaining++
  }

  /** No answer came. Discord may have counted the request, so its place stays taken until the window ends. */
  failed(sent: Sent, now: Milliseconds): void {
    this.sent.delete(sent)
    if (this.#limit === undefined || this.#resetAt !== undefined || this.sent.size > 0) return
    this.#resetAt = now + (this.#windowMs || GUESSED_WINDOW_MS)
  }

  /** An answer came. `creditMs` is what may be taken off a wait that is counted from `receivedAt` (see Latency). */
  answered(sent: Sent, news: BucketNews | undefined, receivedAt: Milliseconds, creditMs: Milliseconds): void {
    this.sent.delete(sent)
    this.#roundTripMs = Math.max(receivedAt - sent.at, this.#roundTripMs * 0.9)
    if (news) this.learn(news, receivedAt, creditMs)
    else this.failed(sent, receivedAt)
  }

  /** Takes in what an answer says; of several, what the one made last says counts. Parameters as in `answered`. */
  learn(news: BucketNews, receivedAt: Milliseconds, creditMs: Milliseconds): void {
    const known = this.#limit !== undefined
    const limit = Math.max(1, news.limit)
    const resetAt = receivedAt + news.resetAfterMs + 1 - creditMs
    this.#limit = limit
    // The first answer of a window tells how long it is; any other only that it is not shorter.
    this.#windowMs = news.remaining >= limit - 1 ? news.resetAfterMs : Math.max(this.#windowMs, news.resetAfterMs)
    if (!known) {
      this.#remaining = Math.max(0, news.remaining - this.sent.size)
      this.#reported = news.remaining
      this.#resetAt = resetAt
      return
    }
    const first = this.#resetAt === undefined || this.#reported === Number.POSITIVE_INFINITY
    if (first || news.remaining < this.#reported) {
      this.#reported = news.remaining
      this.#resetAt = resetAt
    } else if (resetAt > this.#resetAt! + SAME_RESET_MS) {
      // Later by most of a window: the server began a new one before we thought it would. Later by less: a leaky
      // bucket's reset moves with every request.
      if (resetAt > this.#resetAt! + this.#windowMs / 2) {
        this.#reported = news.remaining
        this.#remaining = Math.max(0, news.remaining - this.sent.size)
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

  /** How long a call that joins now would wait, as far as anybody can know. */
  estimateMs(now: Milliseconds): Milliseconds {
    const nextAt = this.nextAt(now)
    if (this.#limit === undefined) return Number.isFinite(nextAt) ? nextAt - now : 0
    const open = nextAt <= now ? this.#remaining : 0
    const ahead = this.waiters.length
    if (ahead < open) return 0
    const resetAt = this.#resetAt ?? now + (this.#windowMs || GUESSED_WINDOW_MS)
    return Math.max(0, resetAt - now) + Math.floor((ahead - open) / this.#limit) * this.#windowMs
  }

  /** Joins the line: before those of lower priority, behind everybody else. */
  join(waiter: Waiter): void {
    waiter.bucket = this
    const rank = PRIORITIES[waiter.call.priority]
    let index = this.waiters.length
    while (index > 0 && PRIORITIES[this.waiters[index - 1]!.call.priority] > rank) index--
    this.waiters.splice(index, 0, waiter)
  }

  leave(waiter: Waiter): void {
    const index = this.waiters.indexOf(waiter)
    if (index !== -1) this.waiters.splice(index, 1)
  }

  /** Takes over what belongs to one route, when it turns out that the route is counted here. `inherit` where nothing is known here yet. */
  takeOver(from: Bucket, routeName: string, inherit: boolean): void {
    if (inherit) {
      this.#limit = from.#limit
      this.#remaining = from.#remaining
      this.#resetAt = from.#resetAt
      this.#reported = from.#reported
      this.#windowMs = from.#windowMs
      this.#roundTripMs = from.#roundTripMs
    }
    this.#heldUntil = Math.max(this.#heldUntil, from.#heldUntil)
    for (const waiter of from.waiters.filter((waiter) => waiter.call.route.name === routeName)) {
      from.leave(waiter)
      this.join(waiter)
    }
    for (const sent of from.sent) {
      if (sent.call.route.name !== routeName) continue
      from.sent.delete(sent)
      this.sent.add(sent)
      sent.bucket = this
      if (!inherit) this.#remaining--
    }
  }

  /** Whether anything here would be missed if it were forgotten. */
  idle(now: Milliseconds): boolean {
    return this.waiters.length === 0 && this.sent.size === 0 && now >= this.#heldUntil && now >= (this.#resetAt ?? 0)
  }

  #roll(now: Milliseconds, limit: number): void {
    if (this.#resetAt === undefined || now < this.#resetAt) return
    // A request that is still under way may arrive only now, and is charged to the new window. One whose answer is
    // overdue by a whole window arrived long ago or never will. A leaky bucket's window looks shorter than it is.
    const overdueMs = Math.max(this.#windowMs, GUESSED_WINDOW_MS) + 2 * this.#roundTripMs
    let carried = 0
    let oldest = now
    for (const sent of this.sent) {
      if (sent.at <= now - overdueMs) continue
      carried++
      if (sent.at < oldest) oldest = sent.at
    }
    this.#reported = Number.POSITIVE_INFINITY
    this.#remaining = Math.max(0, limit - carried)
    this.#resetAt = this.#remaining > 0 ? undefined : oldest + overdueMs
  }
}
