import { tokenProblem } from '../secrets/token.ts'
import type { AuthRequest, Session, SessionContext, SessionResolver } from '../sessions/session.ts'
import type { Clock, Milliseconds } from '../time/clock.ts'
import { SharedDeadline } from '../time/shared-deadline.ts'
import { isControlFlow } from './control-flow.ts'
import type { RefusalReason } from './refusal-reasons.ts'

/** Said instead of a session by who knows why there is none. */
export class NoSession {
  readonly reason: RefusalReason

  constructor(reason: RefusalReason) {
    this.reason = reason
  }
}

/** What a resolver is told beside the public context: how recently Discord must have accepted a token. */
export interface OwnSessionContext extends SessionContext {
  readonly maxAgeMs: Milliseconds
}

/** A resolver of the house's own: it may say why there is no session, and knows how recent a token's proof must be. */
export type OwnSessionResolver = (
  request: AuthRequest,
  context: OwnSessionContext,
) => Promise<Session | NoSession | null> | Session | NoSession | null

/** Thrown where no session was found; `cause` is what the resolver threw. */
export class SessionRefused {
  readonly reason: RefusalReason
  readonly cause: unknown

  constructor(reason: RefusalReason, cause?: unknown) {
    this.reason = reason
    this.cause = cause
  }
}

/** A resolver has so long, for both times it may be asked. */
export const RESOLVER_DEADLINE_MS: Milliseconds = 10_000

const LATE = new SessionRefused('session-resolver-slow')

/** Asks the session resolver, and believes nothing that it says before it was looked at. */
export class SessionFinder {
  readonly #resolver: SessionResolver | OwnSessionResolver
  readonly #deadline: SharedDeadline

  constructor(resolver: SessionResolver | OwnSessionResolver, clock: Clock) {
    this.#resolver = resolver
    this.#deadline = new SharedDeadline(clock, RESOLVER_DEADLINE_MS)
  }

  /**
   * The session of a request; a copy, so that what was checked is what is used. Throws SessionRefused; what a framework
   * throws to go elsewhere is passed on. `search` is the same for both times that a request may ask.
   */
  async find(request: AuthRequest, search: SessionSearch): Promise<Session> {
    let found: unknown
    try {
      found = this.#resolver(request, search)
      // Only what is under way can be late, and only that needs a deadline.
      if (isThenable(found)) {
        found = await this.#deadline.race(found, () => {
          search.giveUp(LATE)
          return LATE
        })
      }
      return checked(found)
    } catch (error) {
      if (error instanceof SessionRefused || isControlFlow(error)) throw error
      throw new SessionRefused('session-resolver-failed', error)
    }
  }
}

/** What one request asks its resolver. Its signal is made only for those who look at it. */
export class SessionSearch implements OwnSessionContext {
  declare readonly diedToken?: string
  readonly maxAgeMs: Milliseconds
  #controller: AbortController | undefined
  #givenUp: unknown

  constructor(maxAgeMs: Milliseconds, diedToken?: string) {
    this.maxAgeMs = maxAgeMs
    if (diedToken !== undefined) this.diedToken = diedToken
  }

  get signal(): AbortSignal {
    this.#controller ??= new AbortController()
    if (this.#givenUp !== undefined) this.#controller.abort(this.#givenUp)
    return this.#controller.signal
  }

  giveUp(reason: unknown): void {
    this.#givenUp = reason
    this.#controller?.abort(reason)
  }
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function'
}

/** Each property is read once: what a getter says a second time may be something else. */
function checked(found: unknown): Session {
  if (found === null || found === undefined) throw new SessionRefused('no-session')
  if (found instanceof NoSession) throw new SessionRefused(found.reason)
  if (typeof found !== 'object') throw new SessionRefused('session-invalid')
  const { userId, accessToken, scopes, username, globalName, avatar } = found as Record<keyof Session, unknown>
  if (typeof userId !== 'string' || userId === '' || tokenProblem(accessToken))
    throw new SessionRefused('session-invalid')
  const session: Session = { userId, accessToken: accessToken as string }
  // A string of scopes is no list: 'guilds.join' is not 'guilds'.
  if (scopes !== undefined && scopes !== null) session.scopes = Array.isArray(scopes) ? [...scopes] : []
  if (typeof username === 'string') session.username = username
  if (isNameOrNull(globalName)) session.globalName = globalName
  if (isNameOrNull(avatar)) session.avatar = avatar
  return session
}

const isNameOrNull = (value: unknown): value is string | null => typeof value === 'string' || value === null
