import { afterInput, alarm, type Clock, type Milliseconds } from '../time/clock.ts'
import { unavailable } from './redis-error.ts'

/** Questions that Redis has been sent and has not answered. More would fill its output buffer and our memory at no gain. */
const IN_FLIGHT = 128
/** Questions that wait to be sent. Beyond it they are refused: each costs memory, and a caller that waits. */
const WAITING = 100_000
/** A question that waited this long to be sent is refused: Redis answers, and cannot keep up. */
const LONGEST_WAIT_MS: Milliseconds = 5_000

interface Waiting {
  readonly since: Milliseconds
  readonly send: () => void
  readonly refuse: (error: unknown) => void
}

interface Sent {
  /** When it was sent: monotonic, and in time that was observed. */
  readonly at: Milliseconds
  readonly observedAt: Milliseconds
  readonly timeoutMs: Milliseconds
  late: () => void
}

/** Slices of the shortest time-out that is asked with. */
const SLICES = 3
/** A slice that ends later than this was not observed. */
const LATE_SLICE_MS: Milliseconds = 25
/** After so many times its time-out a question is late if one slice was observed; after four times that, however little was. */
const LONG_TIMEOUTS = 2.5
const LONGEST_TIMEOUTS = 10

/** Stands in for what was to happen to a question that is answered. */
const ANSWERED = () => {}

/**
 * What was asked of one connection, in order: a bounded number of questions under way, the others wait. Time counts from
 * the sending, and from the last answer to a question that was sent before: a connection that answers in order and is
 * still busy with earlier ones is slow, not dead. An answer to a later question proves nothing about an earlier one: in
 * a Cluster they may be two nodes.
 *
 * Only time counts in which this process was running: where it stands still, or is not given the processor, answers
 * arrive that it cannot read, and a Redis beside it is not given the processor either. So the time is looked at in
 * slices, and a slice that ends late is left out.
 *
 * One alarm serves all: setting one for each question would cost as much as the question.
 */
export class Pipeline {
  readonly #clock: Clock
  /** In the order of their sending. */
  readonly #sent = new Set<Sent>()
  #waiting: Waiting[] = []
  #nextWaiting = 0
  /** When the longest unanswered question was last answered, and another became that. */
  #movedAt: Milliseconds = 0
  #movedObservedAt: Milliseconds = 0
  #closedBy: unknown
  readonly #sliceMs: Milliseconds
  /** Observed until the slice that is under way began; when that was, and whether there is one. */
  #observedMs: Milliseconds = 0
  #sliceBegan: Milliseconds = 0
  #cancelAlarm: (() => void) | undefined

  /** `shortestTimeoutMs`: of what is asked. */
  constructor(clock: Clock, shortestTimeoutMs: Milliseconds) {
    this.#clock = clock
    this.#sliceMs = shortestTimeoutMs / SLICES
  }

  /**
   * Sends a question as soon as there is room. `late` is called, and the promise rejects, when no answer came in time;
   * an answer that lay in the socket by then is in time.
   */
  ask<T>(timeoutMs: Milliseconds, send: () => Promise<T>, late: (error: unknown) => void): Promise<T> {
    return new Promise((resolve, reject) => {
      if (this.#closedBy !== undefined) return reject(this.#closedBy)
      const sendNow = () => this.#send(timeoutMs, send, late, resolve, reject)
      if (this.#sent.size < IN_FLIGHT && this.#nextWaiting === this.#waiting.length) return sendNow()
      if (this.#waiting.length - this.#nextWaiting >= WAITING) return reject(unavailable('too many questions at once'))
      this.#waiting.push({ since: this.#clock.monotonic(), send: sendNow, refuse: reject })
    })
  }

  /** Refuses what waits, and everything from now on. What is under way is the connection's to reject. */
  close(why: unknown): void {
    this.#closedBy ??= why
    for (const { refuse } of this.#waiting.splice(0).slice(this.#nextWaiting)) refuse(this.#closedBy)
    this.#nextWaiting = 0
  }

  #send<T>(
    timeoutMs: Milliseconds,
    send: () => Promise<T>,
    late: (error: unknown) => void,
    resolve: (value: T) => void,
    reject: (error: unknown) => void,
  ): void {
    const at = this.#clock.monotonic()
    if (!this.#cancelAlarm) this.#beginSlice(at)
    const question: Sent = {
      at,
      observedAt: this.#observedAt(at),
      timeoutMs,
      late: () => {
        const error = unavailable(`no answer within ${timeoutMs} ms`)
        reject(error)
        late(error)
      },
    }
    this.#sent.add(question)
    let answer: Promise<T>
    try {
      answer = send()
    } catch (error) {
      answer = Promise.reject(error)
    }
    answer.then(
      (value) => {
        this.#answered(question)
        resolve(value)
      },
      (error) => {
        this.#answered(question)
        reject(error)
      },
    )
  }

  #answered(question: Sent): void {
    const [longest] = this.#sent
    if (longest === question) {
      this.#movedAt = this.#clock.monotonic()
      this.#movedObservedAt = this.#observedAt(this.#movedAt)
    }
    this.#sent.delete(question)
    // A Set that is resized leaves its old table behind, which keeps what was in it for a while. The answer must not
    // be among that.
    question.late = ANSWERED
    while (this.#sent.size < IN_FLIGHT && this.#nextWaiting < this.#waiting.length) this.#sendNext()
    if (this.#sent.size === 0) this.#endSlice()
  }

  #sendNext(): void {
    const next = this.#waiting[this.#nextWaiting++]!
    if (this.#nextWaiting === this.#waiting.length) {
      this.#waiting = []
      this.#nextWaiting = 0
    } else if (this.#nextWaiting >= 1_024) {
      this.#waiting.splice(0, this.#nextWaiting)
      this.#nextWaiting = 0
    }
    if (this.#clock.monotonic() - next.since > LONGEST_WAIT_MS)
      next.refuse(unavailable(`it answers, and could not be asked for ${LONGEST_WAIT_MS} ms: too much is asked of it`))
    else next.send()
  }

  #observedAt(now: Milliseconds): Milliseconds {
    return this.#observedMs + Math.min(now - this.#sliceBegan, this.#sliceMs)
  }

  #beginSlice(now: Milliseconds): void {
    this.#sliceBegan = now
    this.#cancelAlarm = alarm(this.#clock, this.#sliceMs, () => afterInput(() => this.#judge(now)))
  }

  #endSlice(): void {
    this.#cancelAlarm?.()
    this.#cancelAlarm = undefined
  }

  #judge(sliceBegan: Milliseconds): void {
    // Everything was answered meanwhile, or another slice began since. How long this one was is not compared with what
    // it should be: a difference of fractions may come out too small, and then nobody would look again.
    if (!this.#cancelAlarm || this.#sliceBegan !== sliceBegan) return
    const now = this.#clock.monotonic()
    if (now - this.#sliceBegan <= this.#sliceMs + LATE_SLICE_MS) this.#observedMs += now - this.#sliceBegan
    for (const question of this.#sent) {
      const { timeoutMs } = question
      const silentMs = this.#observedMs - Math.max(question.observedAt, this.#movedObservedAt)
      const timeouts = (now - Math.max(question.at, this.#movedAt)) / timeoutMs
      const isLate =
        silentMs >= timeoutMs - 1 ||
        timeouts >= LONGEST_TIMEOUTS ||
        (timeouts >= LONG_TIMEOUTS && silentMs >= this.#sliceMs)
      if (!isLate) continue
      this.#sent.delete(question)
      question.late()
    }
    if (this.#sent.size > 0) this.#beginSlice(now)
    else this.#endSlice()
  }
}
