import { HoldfastError } from '../errors/errors.ts'
import { alarm, type Milliseconds } from '../time/clock.ts'
import { onAbort } from '../time/on-abort.ts'
import { call } from './call.ts'
import type { Contender, Gate } from './contender.ts'
import { Dispatcher, tooDear } from './dispatcher.ts'
import type { Lane } from './lane.ts'
import type { OwnerQuota, RunContext, RunOptions } from './owner-quota.ts'

const DEFAULT_ATTEMPTS = 5
const LONGEST_SEND_MS: Milliseconds = 60_000

/** One `run`: what it wants, and who waits for it. */
interface Run {
  readonly cost: number
  readonly maxAttempts: number
  readonly send: (context: RunContext) => Promise<unknown>
  readonly ending: AbortController
  readonly resolve: (value: unknown) => void
  readonly reject: (reason: unknown) => void
  refusals: number
  isUnderWay: boolean
}

/** The single calls of one quota (`run`), which wait for their owners' turns beside the batches. */
export class Runs {
  readonly #dispatcher: Dispatcher
  readonly #lines = new Map<string, RunLine>()

  constructor(quota: OwnerQuota) {
    this.#dispatcher = Dispatcher.of(quota)
  }

  run<Result>(owner: string, send: (context: RunContext) => Promise<Result>, options: RunOptions): Promise<Result> {
    const { signal, deadlineMs = Number.POSITIVE_INFINITY, cost = 1, maxAttempts = DEFAULT_ATTEMPTS } = options
    if (signal?.aborted) return Promise.reject(signal.reason)
    const { promise, resolve, reject } = Promise.withResolvers<unknown>()
    const run: Run = {
      cost,
      maxAttempts,
      send,
      ending: new AbortController(),
      resolve,
      reject,
      refusals: 0,
      isUnderWay: false,
    }
    const line = this.#line(owner)
    const end = (reason: unknown) => line.end(run, reason)
    const unlisten = signal && onAbort(signal, () => end(signal.reason))
    const cancelAlarm =
      deadlineMs === Number.POSITIVE_INFINITY
        ? undefined
        : alarm(this.#dispatcher.clock, deadlineMs, () => end(late(deadlineMs, run.isUnderWay)))
    line.add(run)
    return promise.finally(() => {
      unlisten?.()
      cancelAlarm?.()
    }) as Promise<Result>
  }

  #line(owner: string): RunLine {
    let line = this.#lines.get(owner)
    if (!line) {
      line = new RunLine(this.#dispatcher, owner, () => this.#lines.delete(owner))
      this.#lines.set(owner, line)
    }
    return line
  }
}

/** Nothing of its own is in the way of a run. */
const OPEN: Gate = { readyAt: (_cost, now) => now }

/** The runs of one owner, in the order in which they came. */
class RunLine implements Contender {
  readonly lanes: readonly Lane[]
  readonly #dispatcher: Dispatcher
  readonly #onEmpty: () => void
  readonly #waiting = new Set<Run>()
  #underWay = 0
  #hasJoined = false

  constructor(dispatcher: Dispatcher, owner: string, onEmpty: () => void) {
    this.#dispatcher = dispatcher
    this.#onEmpty = onEmpty
    this.lanes = [dispatcher.lane(owner)]
  }

  add(run: Run): void {
    this.#waiting.add(run)
    if (this.#hasJoined) return this.#dispatcher.serve()
    this.#hasJoined = true
    this.#dispatcher.join(this)
  }

  /** Ends a run that nobody waits for any more. */
  end(run: Run, reason: unknown): void {
    this.#waiting.delete(run)
    run.ending.abort(reason)
    run.reject(reason)
    this.#leaveIfEmpty()
  }

  get wants(): boolean {
    return this.#waiting.size > 0
  }

  get cost(): number {
    const [first] = this.#waiting
    return first?.cost ?? 1
  }

  gate(): Gate {
    return OPEN
  }

  neverGoes({ limit }: Lane): boolean {
    return this.cost > 1 && limit < this.cost
  }

  go(lane: Lane, opens: readonly Milliseconds[] | undefined): void {
    const [run] = this.#waiting
    if (!run) return
    this.#waiting.delete(run)
    this.#underWay++
    run.isUnderWay = true
    void this.#send(run, lane, opens)
  }

  skips(): void {
    const [run] = this.#waiting
    if (run) this.end(run, tooDear(run.cost))
  }

  waits(): void {}

  givesUp(): void {
    this.fails(
      new HoldfastError('QUOTA_NEVER', 'run: this owner may make no call: the limit is 0; raise it with setLimit'),
    )
  }

  fails(error: unknown): void {
    for (const run of [...this.#waiting]) this.end(run, error)
  }

  async #send(run: Run, lane: Lane, opens: readonly Milliseconds[] | undefined): Promise<void> {
    const outcome = await call({
      dispatcher: this.#dispatcher,
      lane,
      opens,
      cost: run.cost,
      sendTimeoutMs: LONGEST_SEND_MS,
      ending: run.ending.signal,
      send: (signal, learn) => run.send({ signal, learn }),
    })
    this.#underWay--
    run.isUnderWay = false
    if (outcome.how === 'fulfilled') run.resolve(outcome.value)
    else if (outcome.how === 'refused' && ++run.refusals < run.maxAttempts) this.#waiting.add(run)
    else run.reject(outcome.reason)
    this.#leaveIfEmpty()
    this.#dispatcher.serve()
  }

  #leaveIfEmpty(): void {
    if (this.#waiting.size > 0 || this.#underWay > 0 || !this.#hasJoined) return
    this.#hasJoined = false
    this.#onEmpty()
    this.#dispatcher.leave(this)
  }
}

function late(deadlineMs: Milliseconds, isUnderWay: boolean): HoldfastError {
  return new HoldfastError(
    'QUOTA_DEADLINE',
    isUnderWay
      ? `run: no answer within ${deadlineMs} ms; the call was sent, and may have been counted`
      : `run: no turn within ${deadlineMs} ms, and nothing is under way; give it longer, or raise the owner's limit`,
  )
}
