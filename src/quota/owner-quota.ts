import { anAbortSignal, milliseconds, wholeNumber } from '../config/accepted.ts'
import { type OptionTable, optionsOf } from '../config/options.ts'
import { ConfigError, closedError, HoldfastError } from '../errors/errors.ts'
import type { Events } from '../events/events.ts'
import type { Names } from '../secrets/key-ring.ts'
import type { Clock, Milliseconds } from '../time/clock.ts'
import type { Window } from './owner-pool.ts'
import { scarcest } from './owner-windows.ts'
import type { LimitedWindow, PoolStore, QuotaWindows, Taken } from './pool-store.ts'
import { believed, type HeardAnswer, type KnownOfCall, type QuotaAnswer, windowOf } from './quota-answer.ts'

/**
 * How many calls each owner may still make, counted as the upstream counts: per owner and not per key, in windows that
 * begin with their first call. An owner nobody has heard of has the default limit. A quota of several windows counts
 * every call in all of them.
 *
 * Every method rejects with INVALID_OPTION for arguments that cannot be used, and with CLOSED after `close()`.
 */
export interface OwnerQuota {
  /**
   * Takes `n` calls (default 1) now, all or none and of all windows, or says how long until it could. Never waits for
   * quota. A refusal costs nothing. `retryAfterMs` is Infinity where `n` is more than a limit: with a limit of 0 always.
   */
  take(owner: string, n?: number): Promise<TakeAnswer>
  /**
   * `remaining` is what could be taken now; `resetAt` is when the whole limit is there again, on the wall clock. Of
   * several windows: the one that has least left, and where several have as little, the one that is full again last.
   */
  state(owner: string): Promise<{ limit: number; remaining: number; resetAt: Date }>
  /**
   * Changes an owner's limit (in the first window), also to less than is used already: then nothing is left until the
   * window ends. 0 stops the owner. Undefined returns to what the quota was made with. In every process that shares the store.
   */
  setLimit(owner: string, limit: number | undefined): Promise<void>
  /**
   * Takes in what an answer of the upstream said. `remaining` and `retryAfterMs` only ever take away; `resetAfterMs`
   * says when the window ends; `limit` replaces the default, and lowers a limit that was set for this owner. What cannot
   * be (NaN, negative, a limit or reset of 0) says nothing; an end is believed up to four windows away, a wait up to an
   * hour or four windows. With several windows it is about the one of `windowMs`, else the one whose limit it names, else
   * the first; `retryAfterMs` closes them all. `readQuotaHeaders` reads an answer's headers.
   */
  learn(owner: string, answer: QuotaAnswer): Promise<void>
  /**
   * One call: waits for the owner's turn, sends, learns, and goes again after a 429 (an error with `retryAfterMs`),
   * behind those that wait already. Resolves and rejects as `send` does; after the last attempt with that 429's error.
   * Rejects with QUOTA_DEADLINE after `deadlineMs`, QUOTA_NEVER where the owner may never make such a call, the signal's
   * reason when that aborts, and BATCH_SEND_TIMEOUT where one `send` takes longer than 60 s.
   */
  run<Result>(owner: string, send: (context: RunContext) => Promise<Result>, options?: RunOptions): Promise<Result>
  /**
   * Forgets all that was counted and learned of this owner, in every process that shares the store: a 429's wait, a told
   * limit, calls used. A limit that was set stays. What others leased is spent for at most a quarter of a second more.
   */
  reset(owner: string): Promise<void>
  /** Ends it; gives back what was leased of Redis. Idempotent. */
  close(): Promise<void>
}

/** What the `send` of a `run` gets. */
export interface RunContext {
  /** Aborts when the run is given up. */
  readonly signal: AbortSignal
  /** Teaches the quota what the answer says. Never throws. */
  learn(answer: QuotaAnswer): void
}

export interface RunOptions {
  readonly signal?: AbortSignal
  /** From the call of `run` to its end. Default: as long as it takes. */
  readonly deadlineMs?: Milliseconds
  /** Calls it counts for. Default 1. */
  readonly cost?: number
  /** Tries where it meets 429s. Default 5. */
  readonly maxAttempts?: number
}

/** What `take` answers: `remaining` is what is left of the window, `retryAfterMs` how long until so much could be taken. */
export type TakeAnswer =
  | { readonly ok: true; readonly remaining: number }
  | { readonly ok: false; readonly remaining: number; readonly retryAfterMs: Milliseconds }

export interface QuotaSettings extends QuotaWindows {
  readonly maxOwners: number
}

/** The longest window: beyond it dates are no more. */
const LONGEST_WINDOW_MS: Milliseconds = 366 * 24 * 60 * 60 * 1000
const MOST_WINDOWS = 8
const MOST_OWNERS = 10_000_000
const DEFAULT_OWNERS = 100_000
const LONGEST_OWNER = 512

/** Checks what a quota is made with. Throws ConfigError. */
export function readQuotaSettings(
  options: {
    readonly limit?: number | undefined
    readonly windowMs?: Milliseconds | undefined
    readonly windows?: ReadonlyArray<{ readonly limit: number; readonly windowMs: Milliseconds }> | undefined
    readonly limits?: Readonly<Record<string, number>> | undefined
    readonly marginMs?: Milliseconds | undefined
    readonly maxOwners?: number | undefined
  },
  defaultMarginMs: (windowMs: Milliseconds) => Milliseconds,
): QuotaSettings {
  const { limits = {}, maxOwners = DEFAULT_OWNERS } = options
  const windows = readWindows(options).map(({ limit, windowMs }): LimitedWindow => {
    const marginMs = options.marginMs ?? defaultMarginMs(windowMs)
    if (!isTime(marginMs)) throw refused('marginMs', marginMs, 'milliseconds, not negative')
    return { limit, windowMs, marginMs }
  })
  if (!Number.isInteger(maxOwners) || maxOwners < 1 || maxOwners > MOST_OWNERS)
    throw refused('maxOwners', maxOwners, `a whole number from 1 to ${MOST_OWNERS}`)
  if (typeof limits !== 'object' || limits === null) throw refused('limits', limits, 'an object of owner and limit')
  const own = new Map(Object.entries(limits))
  // Owners are somebody's ids, and are not shown.
  for (const value of own.values())
    if (!isLimit(value)) throw refused('limits', value, 'whole numbers of calls, not negative')
  const [first, ...further] = windows
  return { windows: [first!, ...further], limits: own, maxOwners }
}

/** At least one, and none that contradicts another. */
function readWindows(options: {
  readonly limit?: number | undefined
  readonly windowMs?: Milliseconds | undefined
  readonly windows?: ReadonlyArray<{ readonly limit: number; readonly windowMs: Milliseconds }> | undefined
}): ReadonlyArray<{ readonly limit: number; readonly windowMs: Milliseconds }> {
  const { limit, windowMs, windows } = options
  if (windows === undefined) return [checkedWindow({ limit, windowMs }, '')]
  const instead = limit !== undefined ? 'limit' : windowMs !== undefined ? 'windowMs' : undefined
  if (instead)
    throw new ConfigError(
      instead,
      `createOwnerQuota: options windows and ${instead} say the same twice; give either limit and windowMs, or windows`,
    )
  if (!Array.isArray(windows) || windows.length < 1 || windows.length > MOST_WINDOWS)
    throw refused('windows', windows, `a list of 1 to ${MOST_WINDOWS} of { limit, windowMs }`)
  const checked = windows.map((window, index) => checkedWindow(window ?? {}, `windows[${index}].`))
  const byLength = [...checked].sort((one, other) => one.windowMs - other.windowMs)
  for (const [index, longer] of byLength.entries()) {
    const shorter = byLength[index - 1]
    if (!shorter) continue
    if (shorter.windowMs === longer.windowMs)
      throw new ConfigError('windows', `createOwnerQuota: two windows of ${longer.windowMs} ms; give the smaller limit`)
    if (shorter.limit > longer.limit)
      throw new ConfigError(
        'windows',
        `createOwnerQuota: ${shorter.limit} calls in ${shorter.windowMs} ms can never be made where ${longer.windowMs} ms allow ${longer.limit}; check which limit belongs to which window`,
      )
  }
  return checked
}

function checkedWindow(
  { limit, windowMs }: { readonly limit?: unknown; readonly windowMs?: unknown },
  path: string,
): { readonly limit: number; readonly windowMs: Milliseconds } {
  if (!isLimit(limit)) throw refused(`${path}limit`, limit, 'a whole number of calls, not negative')
  if (!isTime(windowMs) || windowMs < 1) throw refused(`${path}windowMs`, windowMs, 'milliseconds, from 1 to a year')
  return { limit, windowMs }
}

/** Makes the calls of `run`. */
interface Runner {
  run<Result>(owner: string, send: (context: RunContext) => Promise<Result>, options: RunOptions): Promise<Result>
}

/** The options of `run`. */
export const RUN_OPTIONS = optionsOf(
  'run',
  {
    signal: { means: 'ends the wait and the call', accepts: anAbortSignal },
    deadlineMs: { means: 'from the call of `run` to its end', accepts: milliseconds(), preset: 'none' },
    cost: { means: 'calls it counts for', accepts: wholeNumber(1), preset: '1' },
    maxAttempts: { means: 'tries where it meets 429s', accepts: wholeNumber(1, 1000), preset: '5' },
  } satisfies OptionTable<keyof RunOptions>,
  'call',
)

/** What somebody did to an owner: set a limit, or had all forgotten; or ended the quota. */
export type OwnerChange = 'limit' | 'reset' | 'close'

/** The quota that `createOwnerQuota` makes: checks, tells events, and leaves counting to the store. */
export class PooledQuota implements OwnerQuota {
  readonly clock: Clock
  readonly #store: PoolStore
  readonly #events: readonly Events[]
  readonly #names: () => Names
  readonly #onClose: () => Promise<void>
  /** The first: what a key's own limit is counted in. */
  readonly window: Window
  readonly #lengthsMs: readonly Milliseconds[]
  readonly #longestMs: Milliseconds
  /** Whether other processes count with us. */
  readonly isShared: boolean
  readonly #dryRun: boolean
  readonly #listeners = new Set<(owner: string, change: OwnerChange) => void>()
  readonly #makeRuns: (quota: OwnerQuota) => Runner
  #runs: Runner | undefined
  #closing: Promise<void> | undefined

  constructor(options: {
    store: PoolStore
    windows: QuotaWindows['windows']
    isShared: boolean
    /** Counts and tells, and refuses nothing. */
    dryRun: boolean
    clock: Clock
    events: readonly Events[]
    /** Who waits for turns, where somebody calls `run`. */
    runs: (quota: OwnerQuota) => Runner
    /** Names owners in events: an owner is mostly a user's id. */
    names: () => Names
    onClose?: () => Promise<void>
  }) {
    this.clock = options.clock
    this.#store = options.store
    this.window = options.windows[0]
    this.#lengthsMs = options.windows.map(({ windowMs }) => windowMs)
    this.#longestMs = Math.max(...this.#lengthsMs)
    this.isShared = options.isShared
    this.#dryRun = options.dryRun
    this.#events = options.events
    this.#names = options.names
    this.#makeRuns = options.runs
    this.#onClose = options.onClose ?? (async () => {})
  }

  async take(owner: string, n = 1): Promise<TakeAnswer> {
    const taken = await this.reserve(owner, n)
    return taken.ok ? { ok: true, remaining: taken.remaining } : taken
  }

  /** `take`, and which windows it began. */
  async reserve(owner: string, n = 1): Promise<Taken> {
    this.#check('take', owner)
    if (!Number.isSafeInteger(n) || n < 1)
      throw new HoldfastError('INVALID_OPTION', 'take: n must be a whole number of calls, at least 1')
    const pending = this.#store.take(owner, n)
    const taken = pending instanceof Promise ? await pending : pending
    for (const events of this.#events) if (events.active) this.#tell(events, owner, taken)
    return taken.ok || !this.#dryRun ? taken : { ok: true, remaining: 0 }
  }

  async state(owner: string): Promise<{ limit: number; remaining: number; resetAt: Date }> {
    this.#check('state', owner)
    const { limit, remaining, resetAfterMs } = scarcest(await this.#store.states(owner))
    return { limit, remaining, resetAt: new Date(this.clock.now() + resetAfterMs) }
  }

  async setLimit(owner: string, limit: number | undefined): Promise<void> {
    this.#check('setLimit', owner)
    if (limit !== undefined && !isLimit(limit))
      throw new HoldfastError(
        'INVALID_OPTION',
        'setLimit: limit must be a whole number of calls, not negative, or undefined for the default',
      )
    await this.#store.setLimit(owner, limit)
    for (const listener of this.#listeners) listener(owner, 'limit')
  }

  async learn(owner: string, answer: QuotaAnswer): Promise<void> {
    this.#check('learn', owner)
    if (typeof answer !== 'object' || answer === null)
      throw new HoldfastError(
        'INVALID_OPTION',
        'learn: give an object with what the answer said, such as { remaining }',
      )
    await this.#learn(owner, believed(answer, this.#longestMs))
  }

  /** `learn`, for a call that was sent `doubtMs` ago, or will be on its way for as long. */
  async hear(owner: string, answer: QuotaAnswer, known: KnownOfCall): Promise<void> {
    if (this.#closing) return
    await this.#learn(owner, { ...believed(answer, this.#longestMs), ...known })
  }

  /** Counts calls that may arrive in windows which began after they were sent. */
  async charge(owner: string, n: number, windowsMs: readonly Milliseconds[]): Promise<void> {
    if (this.#closing) return
    await this.#store.charge(owner, n, windowsMs)
  }

  async run<Result>(
    owner: string,
    send: (context: RunContext) => Promise<Result>,
    options: RunOptions = {},
  ): Promise<Result> {
    this.#check('run', owner)
    if (typeof send !== 'function')
      throw new HoldfastError('INVALID_OPTION', 'run: the second argument must be a function that makes the call')
    RUN_OPTIONS.check(options)
    this.#runs ??= this.#makeRuns(this)
    return this.#runs.run(owner, send, options)
  }

  async reset(owner: string): Promise<void> {
    this.#check('reset', owner)
    await this.#store.reset(owner)
    for (const listener of this.#listeners) listener(owner, 'reset')
  }

  /** Calls `listener` after an owner was changed here, until the returned function is called. */
  onChange(listener: (owner: string, change: OwnerChange) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  close(): Promise<void> {
    this.#closing ??= (async () => {
      for (const listener of this.#listeners) listener('', 'close')
      await this.#store.close()
      await this.#onClose()
    })()
    return this.#closing
  }

  async #learn(owner: string, answer: HeardAnswer): Promise<void> {
    await this.#store.learn(owner, answer, windowOf(answer, this.#lengthsMs, this.#store.limits(owner)))
  }

  #tell(events: Events, owner: string, { ok, remaining }: Taken): void {
    events.emit({ type: ok ? 'quota.taken' : 'quota.refused', owner: this.#names().of('owner', owner), remaining })
  }

  #check(method: string, owner: unknown): void {
    if (this.#closing) throw closedError()
    if (typeof owner !== 'string' || owner === '' || owner.length > LONGEST_OWNER)
      throw new HoldfastError('INVALID_OPTION', `${method}: owner must be a text of 1 to ${LONGEST_OWNER} characters`)
  }
}

function isLimit(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}

function isTime(value: unknown): value is number {
  return typeof value === 'number' && value >= 0 && value <= LONGEST_WINDOW_MS
}

function refused(option: string, value: unknown, accepted: string): ConfigError {
  return new ConfigError(option, `${option} cannot be used: ${String(value).slice(0, 80)}; accepted: ${accepted}`)
}
