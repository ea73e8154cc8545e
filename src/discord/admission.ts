import type { BreakerState } from '../concurrency/breaker.ts'
import type { RateLimitScope } from '../errors/errors.ts'
import type { Events } from '../events/events.ts'
import type { Clock, Milliseconds } from '../time/clock.ts'
import { BucketMap } from './bucket-map.ts'
import type { Answer, Call } from './call.ts'
import { Egress } from './egress.ts'
import type { Fleet, Notice } from './fleet.ts'
import { InvalidBudget } from './invalid-budget.ts'
import type { Permit, Principal } from './principal.ts'
import { ResourceHolds } from './resource-holds.ts'
import { bucketNews, type RateLimited, type Verdict } from './retry.ts'
import { routeOf } from './route.ts'
import type { TokenMemory } from './token-memory.ts'
import type { WaitAllowance } from './wait-allowance.ts'

/** Leave to send one request. `end` must be called once, whatever happened; before it, `failed` or `answered` if it was sent. */
export interface Pass {
  /** It was sent, or may have been, and no answer came. */
  failed(): void
  answered(answer: Answer, verdict: Verdict): void
  /** `invalid` if Discord counts the answer as an invalid request. */
  end(invalid: boolean): void
}

/** How long newcomers to the fleet are told of a dead token. */
const DEAD_TOKEN_MS: Milliseconds = 24 * 60 * 60 * 1000

/** May this call be sent now? Everything that can forbid it is asked here, and learns here what came of it. */
export class Admission {
  readonly #clock: Clock
  readonly #tokens: TokenMemory
  readonly #buckets: BucketMap
  readonly #egress: Egress
  readonly #budget: InvalidBudget
  readonly #resourceHolds: ResourceHolds
  readonly #fleet: Fleet | undefined

  constructor({
    clock,
    events,
    tokens,
    fleet,
  }: {
    clock: Clock
    events: Events
    tokens: TokenMemory
    fleet?: Fleet | undefined
  }) {
    this.#clock = clock
    this.#tokens = tokens
    this.#buckets = new BucketMap(clock)
    this.#egress = new Egress(clock, (state) => events.emit({ type: 'breaker', name: 'discord', state }))
    this.#budget = new InvalidBudget(clock)
    this.#resourceHolds = new ResourceHolds(clock)
    this.#fleet = fleet
    fleet?.listen({
      noticed: (notice, forMs) => this.#apply(notice, forMs),
      egressFree: (sentAgoMs) => void this.#egress.free(clock.monotonic() - sentAgoMs),
      invalidSent: (requests) => this.#budget.sentElsewhere([requests]),
      invalidTotals: (requests) => this.#budget.adopt(requests),
    })
  }

  /** The share of Discord's limit of invalid requests that is used, from 0 to 1. */
  get invalidBudgetUsed(): number {
    return this.#budget.used
  }

  get breakerState(): BreakerState {
    return this.#egress.state
  }

  /** The principal of a call that is about to be made; `leave` must follow, once. */
  enter(principalId: string): Principal {
    return this.#buckets.enter(principalId)
  }

  leave(principalId: string): void {
    this.#buckets.leave(principalId)
  }

  /** How long a GET of this principal is already known to be refused, or undefined. */
  refusedForMs(path: string, principalId: string): Milliseconds | undefined {
    const closedForMs = this.#egress.closedForMs
    if (closedForMs > 0) return closedForMs
    const route = routeOf('GET', path)
    return this.#resourceHolds.heldForMs(route) || this.#buckets.find(principalId)?.heldFor({ route })?.ms
  }

  /** A place at once, if nothing forbids the call and nobody waits for one. */
  tryAdmit(call: Call, principal: Principal): Pass | undefined {
    const stranger = !this.#tokens.isValid(call.tokenId)
    if (this.#egress.state !== 'closed' || this.#heldFor(call, principal)) return undefined
    if (stranger && this.#budget.strangersStoppedForMs() !== 0) return undefined
    const permit = principal.tryTake(call)
    if (!permit) return undefined
    if (stranger) this.#budget.strangerSent()
    return this.#pass(permit, false, stranger)
  }

  /** Waits until nothing forbids the call, and takes a place for it. Rejects with DiscordRateLimitError (`local`) or `signal.reason`. */
  async admit(call: Call, principal: Principal, allowance: WaitAllowance, signal: AbortSignal): Promise<Pass> {
    const stranger = !this.#tokens.isValid(call.tokenId)
    if (stranger) await this.#strangersTurn(allowance, signal)
    try {
      const { permit, probe } = await this.#permit(call, principal, allowance, signal)
      return this.#pass(permit, probe, stranger)
    } catch (error) {
      if (stranger) this.#budget.strangerAnswered(false)
      throw error
    }
  }

  /** Applies what a 429 asks for, and returns how long that is; `computedMs` where it names no wait. */
  hold(call: Call, verdict: RateLimited, computedMs: Milliseconds): Milliseconds {
    const notice = noticeOf(call, verdict)
    let waitMs = verdict.waitMs ?? computedMs
    if (notice.about === 'egress') waitMs = this.#egress.banned(verdict.waitMs)
    else this.#apply(notice, waitMs)
    // It came although we thought there was room: perhaps too early.
    if (notice.about === 'bucket') this.#buckets.latency.distrust()
    this.#fleet?.announce(notice, waitMs)
    return waitMs
  }

  /** Discord answered 401 to this token: it is never sent again, by any process. */
  tokenDied(tokenId: string): void {
    this.#tokens.died(tokenId)
    this.#fleet?.announce({ about: 'token', tokenId }, DEAD_TOKEN_MS)
  }

  /** What this process or another has learned. */
  #apply(notice: Notice, forMs: Milliseconds): void {
    switch (notice.about) {
      case 'egress':
        this.#egress.banned(forMs)
        return
      case 'token':
        this.#tokens.died(notice.tokenId)
        return
      case 'resource':
        this.#resourceHolds.hold(notice.route, forMs)
        return
    }
    const principal = this.#buckets.enter(notice.principal)
    if (notice.about === 'principal') principal.holdAll(forMs)
    else if (notice.about === 'route') principal.holdRoute(notice, forMs)
    else principal.holdBucket(notice, forMs)
    this.#buckets.leave(notice.principal)
  }

  #pass(permit: Permit, probe: boolean, stranger: boolean): Pass {
    let sent = false
    return {
      failed: () => {
        sent = true
        permit.failed()
        if (probe) this.#egress.probeLost()
      },
      answered: (answer, verdict) => {
        sent = true
        this.#buckets.latency.observe(answer.sentAt, answer.receivedAt)
        permit.answered(bucketNews(answer), answer.headers['x-ratelimit-bucket'], answer.receivedAt)
        const banned = verdict.kind === 'rate-limited' && verdict.pause === 'egress'
        if (probe && !banned) {
          if (this.#egress.free(answer.sentAt)) this.#fleet?.announceEgressFree(this.#clock.monotonic() - answer.sentAt)
          else this.#egress.probeLost()
        }
      },
      end: (invalid) => {
        if (!sent) {
          permit.giveBack()
          if (probe) this.#egress.probeLost()
        }
        if (invalid) {
          this.#budget.spend()
          this.#fleet?.invalidSent(stranger)
        }
        if (stranger) this.#budget.strangerAnswered(invalid)
      },
    }
  }

  async #permit(
    call: Call,
    principal: Principal,
    allowance: WaitAllowance,
    signal: AbortSignal,
  ): Promise<{ permit: Permit; probe: boolean }> {
    for (;;) {
      const held = this.#heldFor(call, principal)
      if (held) {
        await allowance.sleep(held.ms, held.scope, signal)
        continue
      }
      const permit = principal.tryTake(call) ?? (await allowance.queue(principal, signal))
      // While the call waited for its place, everything may have changed.
      if (this.#heldFor(call, principal)) {
        permit.giveBack()
        continue
      }
      const pass = this.#egress.pass()
      if (pass !== 'wait') return { permit, probe: pass === 'probe' }
      permit.giveBack()
      await allowance.until((signal) => this.#egress.nextChange(signal), 'egress', signal)
    }
  }

  #heldFor(call: Call, principal: Principal): { ms: Milliseconds; scope: RateLimitScope } | undefined {
    const closedForMs = this.#egress.closedForMs
    if (closedForMs > 0) return { ms: closedForMs, scope: 'egress' }
    const stoppedForMs = this.#budget.stoppedForMs(call.priority)
    if (stoppedForMs > 0) return { ms: stoppedForMs, scope: 'egress' }
    const resourceMs = this.#resourceHolds.heldForMs(call.route)
    if (resourceMs > 0) return { ms: resourceMs, scope: 'shared' }
    return principal.heldFor(call)
  }

  /** Tokens that nobody has seen valid take turns, within a budget of their own. */
  async #strangersTurn(allowance: WaitAllowance, signal: AbortSignal): Promise<void> {
    for (;;) {
      const stoppedMs = this.#budget.strangersStoppedForMs()
      if (stoppedMs === 0) break
      if (stoppedMs === 'soon')
        await allowance.until((signal) => this.#budget.nextStrangerAnswered(signal), 'egress', signal)
      else await allowance.sleep(stoppedMs, 'egress', signal)
    }
    this.#budget.strangerSent()
  }
}

function noticeOf({ principal, route }: Call, { pause }: RateLimited): Notice {
  if (pause === 'egress') return { about: pause }
  if (pause === 'resource') return { about: pause, route }
  return pause === 'principal' ? { about: pause, principal } : { about: pause, principal, route }
}
