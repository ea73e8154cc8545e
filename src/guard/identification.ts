import { HoldfastError } from '../errors/errors.ts'
import type { Logger } from '../events/events.ts'
import { fingerprint } from '../secrets/key-ring.ts'
import type { Clock, Milliseconds } from '../time/clock.ts'
import { abandonable, withDeadline } from '../time/deadline.ts'
import type { CallerKind } from './counters.ts'
import type { GuardRequest, Identity } from './guard-request.ts'

/** `context.signal` aborts when the answer is not waited for any more, after 5 s. */
export type Identify = (
  request: GuardRequest,
  context: { readonly signal: AbortSignal },
) => Identity | undefined | Promise<Identity | undefined>
export type Skip = (request: GuardRequest, caller: Identity) => boolean | Promise<boolean>
export type OwnKey = (request: GuardRequest, caller: Identity) => string | undefined

/** Whom a request is counted for. */
export interface Counted {
  readonly kind: CallerKind
  readonly id: string
  /** A user or a session, not an address. */
  readonly signedIn: boolean
}

interface IdentificationOptions {
  readonly clock: Clock
  readonly logger: Logger | undefined
  readonly identify: Identify | undefined
  readonly skip: Skip | undefined
  readonly key: OwnKey | undefined
}

/** A session resolver that takes longer is not waited for: the request counts for its address. */
const ASKED_TIMEOUT_MS: Milliseconds = 5_000
const MOST_FAILURES_TOLD = 20
/** Longer names are counted under a hash: what is held for a caller is of one size. */
const LONGEST_ID = 64

/** Asks the app's own functions about a request. None of them can fail the guard open. */
export class Identification {
  readonly #options: IdentificationOptions
  /** What went wrong, as far as it was told. */
  readonly #failures = new Set<string>()

  constructor(options: IdentificationOptions) {
    this.#options = options
  }

  get asks(): boolean {
    return this.#options.identify !== undefined
  }

  get skips(): boolean {
    return this.#options.skip !== undefined
  }

  /** Who is asking; at once where nothing has to be waited for. Never throws and never rejects. */
  identify(request: GuardRequest): Identity | undefined | Promise<Identity | undefined> {
    const context = new Waiting()
    try {
      const identity = this.#options.identify?.(request, context)
      if (!isPromise(identity)) return identity
      return this.#inTime('identify', context, identity).catch((error) => this.#stranger(error))
    } catch (error) {
      return this.#stranger(error)
    }
  }

  /** Whoever cannot be identified is a stranger: that is the smaller allowance, never none. */
  #stranger(error: unknown): undefined {
    this.#tell('identify', error, 'such requests count for their address')
    return undefined
  }

  async isSkipped(request: GuardRequest, caller: Identity): Promise<boolean> {
    try {
      const skipped = this.#options.skip?.(request, caller)
      return (isPromise(skipped) ? await this.#inTime('skip', new Waiting(), skipped) : skipped) === true
    } catch (error) {
      this.#tell('skip', error, 'such requests are limited')
      return false
    }
  }

  /** A key of the app's own, else the user, the session, the address. */
  countedFor(request: GuardRequest, caller: Identity | undefined, address: () => string): Counted {
    const userId = caller?.userId
    const sessionId = caller?.sessionId
    const signedIn = isText(userId) || isText(sessionId)
    const own = this.#options.key && this.#ownKey(request, caller)
    if (own !== undefined) return { kind: 'key', id: shortened(own), signedIn }
    if (isText(userId)) return { kind: 'user', id: shortened(userId), signedIn }
    if (isText(sessionId)) return { kind: 'session', id: fingerprint(sessionId), signedIn }
    return { kind: 'ip', id: address(), signedIn }
  }

  /** Says what failed, once for each kind of trouble: any client can cause it with a header. */
  told(what: string, error: unknown, consequence: string): void {
    this.#tell(what, error, consequence)
  }

  #ownKey(request: GuardRequest, caller: Identity | undefined): string | undefined {
    try {
      const key: unknown = this.#options.key?.(request, caller ?? {})
      if (key === undefined || isText(key)) return key
      // A promise is nobody's from here on, and what it rejects with must not end the process.
      if (key instanceof Promise) key.catch(() => {})
      throw new TypeError('key must return a text that is not empty, or undefined')
    } catch (error) {
      this.#tell('key', error, 'such requests count for their user, session or address')
      return undefined
    }
  }

  #inTime<Result>(what: string, waiting: Waiting, answer: Promise<Result>): Promise<Result> {
    return withDeadline(
      this.#options.clock,
      ASKED_TIMEOUT_MS,
      [],
      () => new HoldfastError('LOAD_TIMEOUT', `${what} did not answer within ${ASKED_TIMEOUT_MS} ms`),
      (signal) => {
        signal.addEventListener('abort', () => waiting.giveUp(signal.reason), { once: true })
        return abandonable(() => answer, signal)
      },
    )
  }

  #tell(what: string, error: unknown, consequence: string): void {
    const name = nameOf(error)
    const failure = `${what} ${name}`
    if (this.#failures.has(failure) || this.#failures.size >= MOST_FAILURES_TOLD) return
    this.#failures.add(failure)
    this.#options.logger?.warn({ error: name }, `${what} failed; ${consequence}`)
  }
}

/** What a function of the app's own may wait with. A signal costs more than most answers: it is made when it is read. */
class Waiting {
  #controller: AbortController | undefined

  get signal(): AbortSignal {
    this.#controller ??= new AbortController()
    return this.#controller.signal
  }

  giveUp(reason: unknown): void {
    this.#controller?.abort(reason)
  }
}

function isPromise<T>(value: T | Promise<T>): value is Promise<T> {
  return typeof (value as { then?: unknown } | null | undefined)?.then === 'function'
}

/** The name that a user's, session's or address's counters have. */
export function shortened(id: string): string {
  return id.length > LONGEST_ID ? fingerprint(id) : id
}

export const isText = (value: unknown): value is string => typeof value === 'string' && value !== ''

const nameOf = (error: unknown) => {
  const { code, name } = (error ?? {}) as { code?: unknown; name?: unknown }
  return typeof code === 'string' ? code : typeof name === 'string' ? name : typeof error
}
