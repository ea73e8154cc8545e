import { DiscordAPIError, DiscordUnavailableError, type RateLimitScope } from '../errors/errors.ts'
import type { Events } from '../events/events.ts'
import type { Clock, Milliseconds } from '../time/clock.ts'
import type { Admission } from './admission.ts'
import type { Answer, Call } from './call.ts'
import {
  blockedError,
  deadTokenError,
  foreignError,
  rateLimitedError,
  refusedError,
  troubleError,
} from './call-errors.ts'
import type { Errand } from './errand.ts'
import type { Permit } from './permit.ts'
import { mayTryAgain, type Setback, setbackOf } from './setback.ts'
import type { Transport } from './transport.ts'
import { userToldBy } from './user-told.ts'
import { backoffMs, classify, isTransient } from './verdict.ts'

/** What attempts need of their client. */
export interface AttemptsNeeds {
  readonly clock: Clock
  readonly random: () => number
  readonly events: Events
  readonly admission: Admission
  readonly transport: Transport
  /** Hears of a bot's call whose 401 may be about its token. */
  readonly onDoubt: (call: Call) => void
}

/** One call, sent as often as it takes: permit → transport → classify → retry. */
export class Attempts {
  readonly counts = { calls: 0, rateLimited: 0, retries: 0 }
  readonly #clock: Clock
  readonly #random: () => number
  readonly #events: Events
  readonly #admission: Admission
  readonly #transport: Transport
  readonly #onDoubt: (call: Call) => void

  constructor({ clock, random, events, admission, transport, onDoubt }: AttemptsNeeds) {
    this.#clock = clock
    this.#random = random
    this.#events = events
    this.#admission = admission
    this.#transport = transport
    this.#onDoubt = onDoubt
  }

  /** Until an answer that is a success, or the last error. `orRefusal`: a refusal of Discord's is an answer too. */
  async run(errand: Errand, orRefusal = false): Promise<Answer> {
    const { call } = errand
    this.#admission.enter(call)
    try {
      for (;;) {
        const trial = this.#admission.tokens.tryAgain(call.tokenId)
        const attempt = this.#attempt(errand, trial, orRefusal)
        const outcome = await (trial ? this.#tried(errand, attempt) : attempt)
        if ('body' in outcome) return outcome
        if (!mayTryAgain(errand, outcome)) throw outcome.error
        this.counts.retries++
        this.#events.emit({
          type: 'discord.retry',
          route: call.route.name,
          attempt: errand.attempts,
          waitMs: outcome.waitMs,
        })
        // After a 429 the hold that it set makes the next attempt wait; other trouble sets none.
        if (!outcome.held) await errand.sleep(outcome.waitMs, 'user')
      }
    } finally {
      this.#admission.leave(call)
    }
  }

  /** The one call that tries a dead token again: what goes wrong on its way says nothing about the token, which is as dead as before. */
  async #tried({ call, signal, attempts }: Errand, attempt: Promise<Answer | Setback>): Promise<Answer> {
    let error: unknown
    try {
      const outcome = await attempt
      if ('body' in outcome) return outcome
      error = outcome.error
    } catch (thrown) {
      error = thrown
    }
    if (signal.aborted) throw signal.reason
    const isFromDiscord = error instanceof DiscordAPIError || error instanceof DiscordUnavailableError
    const isRefusal = error instanceof DiscordAPIError && error.status === 401
    if (isFromDiscord && !isRefusal && this.#admission.tokens.isDead(call.tokenId)) throw deadTokenError(call, attempts)
    throw error
  }

  async #attempt(errand: Errand, trial: boolean, orRefusal: boolean): Promise<Answer | Setback> {
    const { call, signal } = errand
    const { tokens } = this.#admission
    const refuseDead = () => {
      if (!trial && tokens.isDead(call.tokenId)) throw deadTokenError(call, errand.attempts)
    }
    refuseDead()
    const permit = this.#admission.tryAdmit(errand) ?? (await this.#admission.admit(errand))
    permit.trial = trial
    try {
      // Another call may have learned it while this one waited.
      refuseDead()
      this.counts.calls++
      errand.attempts++
      let answer: Answer
      try {
        answer = await this.#transport.send(permit, errand.attempts, signal)
      } catch (error) {
        this.#observe(errand, permit.head?.status ?? 0, permit.head?.sentAt)
        const { head } = permit
        // A 429 binds by its head alone, whatever became of its body, and whether or not its caller still waits.
        const limited = head?.status === 429 ? this.#judge(errand, permit, { ...head, body: '' }, orRefusal) : undefined
        if (limited && !signal.aborted) return limited
        return this.#unanswered(errand, permit, error)
      }
      errand.sentAt = answer.sentAt
      this.#observe(errand, answer.status, answer.sentAt)
      return this.#judge(errand, permit, answer, orRefusal)
    } finally {
      this.#admission.settle(permit, signal.aborted)
    }
  }

  /** What an answer means for its call. Throws what ends the call. */
  #judge(errand: Errand, permit: Permit, answer: Answer, orRefusal: boolean): Answer | Setback {
    const { call, attempts, policy } = errand
    const { status } = answer
    const verdict = classify(answer, call.route, call.tokenType, this.#clock.now())
    this.#admission.answered(permit, answer, verdict)
    switch (verdict.kind) {
      case 'success':
        this.#learnUser(call, answer)
        return answer
      case 'refused':
        if (verdict.token === 'doubtful') this.#onDoubt(call)
        if (orRefusal) return answer
        throw refusedError(call, status, verdict.body, attempts)
      case 'foreign': {
        const heldMs = status === 403 ? this.#admission.foreign(permit, verdict.waitMs) : undefined
        throw foreignError(call, status, attempts, heldMs)
      }
      case 'blocked': {
        const waitMs = this.#admission.blocked(permit, verdict.waitMs)
        this.#limited(call, 'egress', waitMs)
        return { error: blockedError(call, attempts, waitMs), waitMs, held: true }
      }
      case 'trouble': {
        const error = troubleError(call, status, verdict.body, attempts, verdict.waitMs)
        return setbackOf(this.#random, this.#clock.monotonic(), errand, error, isTransient(status), verdict.waitMs)
      }
      default: {
        const computedMs = backoffMs(attempts, policy.retryDelayMs, this.#random)
        const waitMs = this.#admission.hold(permit, verdict, computedMs)
        this.counts.rateLimited++
        this.#limited(call, verdict.scope, waitMs)
        return { error: rateLimitedError(call, verdict.scope, verdict.body, attempts, waitMs), waitMs, held: true }
      }
    }
  }

  /** The request was sent, or was to be, and no answer came in full. Throws what ends the call. */
  #unanswered(errand: Errand, { head }: Permit, error: unknown): Setback {
    if (errand.signal.aborted || !(error instanceof DiscordUnavailableError)) throw error
    // What its head refused is not asked again for the sake of its body.
    const refused = head !== undefined && head.status >= 400 && head.status < 500
    return setbackOf(this.#random, this.#clock.monotonic(), errand, error, !refused, undefined)
  }

  /** From then on all that the user does spends the same limits. */
  #learnUser(call: Call, answer: Answer): void {
    const id = userToldBy(call, answer)
    if (id !== undefined && this.#admission.tokens.principalOf(call.tokenId) !== call.principal)
      this.#admission.tokenBelongsTo(call.tokenId, id)
  }

  #limited(call: Call, scope: RateLimitScope, retryAfterMs: Milliseconds): void {
    this.#events.emit({ type: 'discord.rate-limited', route: call.route.name, scope, retryAfterMs })
  }

  #observe({ call, attempts }: Errand, status: number, sentAt: Milliseconds | undefined): void {
    if (!this.#events.active) return
    const durationMs = sentAt === undefined ? 0 : this.#clock.monotonic() - sentAt
    this.#events.emit({ type: 'discord.call', route: call.route.name, status, durationMs, attempt: attempts })
  }
}
