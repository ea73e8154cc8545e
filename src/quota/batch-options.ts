import {
  aFunction,
  anAbortSignal,
  anObject,
  anObjectWith,
  listOf,
  milliseconds,
  number,
  text,
  wholeNumber,
} from '../config/accepted.ts'
import { type OptionTable, optionsOf } from '../config/options.ts'
import { HoldfastError } from '../errors/errors.ts'
import type { Milliseconds } from '../time/clock.ts'
import type { SpendableQuota } from './dispatcher.ts'
import type { UseNotes } from './key-uses.ts'
import type { QuotaAnswer } from './quota-answer.ts'

/** A key and whom its calls are counted for, as `keysOf` of a vault gives it. `id` is only handed on. */
export interface BatchKey {
  readonly key: string
  readonly owner: string
  readonly id?: string
  /** Calls it may make in the quota's window, within its owner's limit; counted by this process. Null and undefined: no limit of its own. */
  readonly limit?: number | null
  /** Goes before the owner's other keys wherever it could. */
  readonly primary?: boolean
}

/** What `send` gets besides the request and the key. */
export interface SendContext {
  /** Aborts when the batch ends early, or this call took too long. */
  readonly signal: AbortSignal
  readonly owner: string
  readonly id?: string
  /** Teaches the quota what the answer says; with more than one answer, once for each. Never throws. */
  learn(answer: QuotaAnswer): void
}

export interface BatchProgress {
  /** Requests that are settled. */
  readonly done: number
  readonly total: number
  /** Where every pool is spent or closed: when the first opens again, on the wall clock. */
  readonly waitingUntil?: Date
}

export interface BatchOptions<Request, Result> {
  /** Whose quota is spent. Several keys of one owner share its pool and take turns; a key given twice counts once. */
  readonly keys: ReadonlyArray<BatchKey>
  readonly quota: SpendableQuota
  /**
   * Makes one call. Throwing an error that carries `retryAfterMs` closes that owner's pool until then, and the request
   * goes again after those that were not sent yet, `maxAttempts` times in all. An error with `keyDead: true` takes the
   * key out of this batch, and the request goes with another. Any other error settles the request.
   */
  readonly send: (request: Request, key: string, context: SendContext) => Promise<Result>
  /** Tries of one request that meets 429s; after the last it is settled with that error. Default 5. */
  readonly maxAttempts?: number
  /** Calls one request counts for: a whole number from 1. Where it is none, or more than any owner may make in a window, the request is rejected. Default 1. */
  readonly cost?: (request: Request) => number
  /** Higher goes first; of the same priority the order is that of the requests. Default 0. */
  readonly priority?: (request: Request) => number
  /** Calls under way at a time. Default 64. */
  readonly concurrency?: number
  /** Of those, with one key. Default: no limit of its own. */
  readonly concurrencyPerKey?: number
  /** Of those, for one owner. Default: no limit of its own. */
  readonly concurrencyPerOwner?: number
  /** The whole batch. Default: as long as it takes. */
  readonly deadlineMs?: Milliseconds
  /**
   * One call, from `send` to its end; what takes longer is settled as BATCH_SEND_TIMEOUT and not sent again. Where `send`
   * goes on nevertheless, it keeps its place among those under way until it ends, at most as long again. Default 60 000.
   */
  readonly sendTimeoutMs?: Milliseconds
  readonly signal?: AbortSignal
  /**
   * A file in which answers are kept, so that the same batch, started again after whatever ended it, sends only what was
   * not answered: not what `send` resolved for, but what it rejected, and what was under way. A request is known by its
   * place and a hash of its JSON. Results are kept as JSON, readable for this user of the machine only; one that JSON would
   * change is rejected with BATCH_RESULT_NOT_JSON, and one that is undefined is kept. Requests and keys are not in it.
   * Where an answer cannot be written nothing more is sent. For one process at a time. Default: none.
   */
  readonly journal?: string
  /**
   * The vault that the keys are from: notes there, by their ids, when they were used (`lastUsedAt`), for each at its first
   * call and once a minute after that. The batch resolves when that is written, except where it ends early. A vault that
   * cannot note it (or not within 10 s) stops no call: a process warning says so, once. Default: nothing is noted.
   */
  readonly vault?: UseNotes
  /** Told of every request that is settled, and whenever a wait begins or ends. What it throws or rejects with is ignored. */
  readonly onProgress?: (progress: BatchProgress) => void
}

export type BatchResult<Result> =
  | { readonly status: 'fulfilled'; readonly value: Result }
  | { readonly status: 'rejected'; readonly reason: unknown }

/** Keys in the order given, by owner; a key that is given twice counts once. */
export function keysByOwner(keys: readonly BatchKey[]): Map<string, BatchKey[]> {
  const owners = new Map<string, string>()
  const byOwner = new Map<string, BatchKey[]>()
  for (const given of keys) {
    const { key, owner, limit } = given ?? {}
    if (typeof key !== 'string' || key === '' || typeof owner !== 'string' || owner === '')
      throw invalid('every key needs a text key and a text owner')
    if (limit !== undefined && limit !== null && (!Number.isSafeInteger(limit) || limit < 0))
      throw invalid("a key's limit must be a whole number of calls, not negative, or null for none")
    const known = owners.get(key)
    if (known === owner) continue
    // Neither is shown: one is a secret, the other somebody's id.
    if (known !== undefined) throw invalid('one key is given with two owners; ask the vault whose it is')
    owners.set(key, owner)
    const ofOwner = byOwner.get(owner)
    if (ofOwner) ofOwner.push(given)
    else byOwner.set(owner, [given])
  }
  return byOwner
}

/** Calls under way at a time where nobody says how many. */
export const DEFAULT_CONCURRENCY = 64

/** The options of `batch`. */
export const BATCH_OPTIONS = optionsOf(
  'batch',
  {
    keys: { means: 'the keys, and whose they are', accepts: listOf(anObject('{ key, owner }')), required: true },
    quota: {
      means: 'whose calls are spent',
      accepts: anObjectWith('what createOwnerQuota returns', 'take'),
      required: true,
    },
    send: { means: 'makes one call', accepts: aFunction('a function of request, key and context'), required: true },
    maxAttempts: { means: 'tries of one request that meets 429s', accepts: wholeNumber(1, 1000), preset: '5' },
    cost: { means: 'calls one request counts for', accepts: aFunction('a function of the request'), preset: '1' },
    priority: { means: 'which requests go first', accepts: aFunction('a function of the request'), preset: '0' },
    concurrency: { means: 'calls under way at a time', accepts: number(1), preset: '64' },
    concurrencyPerKey: { means: 'of those, with one key', accepts: number(1), preset: 'none' },
    concurrencyPerOwner: { means: 'of those, for one owner', accepts: number(1), preset: 'none' },
    deadlineMs: { means: 'the whole batch', accepts: milliseconds(), preset: 'none' },
    sendTimeoutMs: { means: 'one call, from `send` to its end', accepts: milliseconds(), preset: '60000 ms' },
    signal: { means: 'ends the batch', accepts: anAbortSignal },
    journal: { means: 'a file that keeps answers, to go on from', accepts: text('a path') },
    vault: {
      means: 'notes there when keys were used',
      accepts: anObjectWith('what createKeyVault resolves to', 'touch'),
    },
    onProgress: { means: 'told how far it is', accepts: aFunction() },
  } satisfies OptionTable<keyof BatchOptions<unknown, unknown>>,
  'call',
)

export function checkBatch(requests: unknown, options: unknown): void {
  if (!Array.isArray(requests)) throw invalid('the requests must be an array')
  BATCH_OPTIONS.check(options)
}

export function checkStream(requests: unknown, options: unknown): void {
  const input = requests as { [Symbol.iterator]?: unknown; [Symbol.asyncIterator]?: unknown } | null | undefined
  const isInput = typeof input?.[Symbol.iterator] === 'function' || typeof input?.[Symbol.asyncIterator] === 'function'
  if (!isInput || typeof input === 'string')
    throw invalid('the requests of a stream must be iterable, or async iterable')
  BATCH_OPTIONS.check(options)
}

export function invalid(what: string): HoldfastError {
  return new HoldfastError('INVALID_OPTION', `batch: ${what}`)
}
