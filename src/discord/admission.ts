import type { BreakerState } from '../concurrency/breaker.ts'
import type { RateLimitScope } from '../errors/errors.ts'
import type { Events } from '../events/events.ts'
import type { Clock, Milliseconds } from '../time/clock.ts'
import { BucketMap } from './bucket-map.ts'
import type { Answer, Call } from './call.ts'
import { Egress } from './egress.ts'
import type { Errand } from './errand.ts'
import type { Fleet, Notice } from './fleet.ts'
import { type DiscordHold, summed } from './holds.ts'
import { InvalidBudget } from './invalid-budget.ts'
import type { Permit } from './permit.ts'
import type { Principal } from './principal.ts'
import { ResourceHolds } from './resource-holds.ts'
import { routeOf } from './route.ts'
import { TokenMemory } from './token-memory.ts'
import { bucketReport, countsAsInvalid, type RateLimited, type Verdict } from './verdict.ts'

/** May this call be sent now? Everything that can forbid it is asked here, and learns here what came of it. */
export class Admission {
  readonly tokens: TokenMemory
  readonly #clock: Clock
  readonly #buckets: BucketMap
  readonly #egress: Egress
  readonly #budget: InvalidBudget
  readonly #resourceHolds: ResourceHolds
  readonly #fleet: Fleet | undefined
  readonly #globalPerSecond: number | undefined

  constructor({
    clock,
    events,
    fleet,
    globalPerSecond,
  }: {
    clock: Clock
    events: Events
    fleet?: Fleet | undefined
    /** Calls a second of one bot. Default 50. */
    globalPerSecond?: number | undefined
  }) {
    this.#clock = clock
    this.tokens = new TokenMemory(clock)
    this.#buckets = new BucketMap(clock)
    this.#egress = new Egress(clock, (state) => events.emit({ type: 'breaker', name: 'discord', state }))
    this.#budget = new InvalidBudget(clock)
    this.#resourceHolds = new ResourceHolds(clock)
    this.#fleet = fleet
    this.#globalPerSecond = globalPerSecond
    fleet?.listen({
      noticed: (notice, forMs) => this.#apply(notice, forMs),
      egressFree: (sentAgoMs, route) => void this.#egress.free(clock.monotonic() - sentAgoMs, route),
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

  /** What would not be sent at the moment, by kind. */
  holds(): DiscordHold[] {
    const strangersMs = this.#budget.strangersStoppedForMs()
    return [
      summed('address', [this.#egress.blockedMs]),
      summed('route', this.#egress.blockedAloneMs()),
      summed('invalid-requests', [this.#budget.stoppedForMs('page')]),
      summed('strangers', strangersMs === 'soon' ? [] : [strangersMs]),
      summed('resource', this.#resourceHolds.leftMs()),
      summed('principal', this.#buckets.heldMs()),
      summed('token', this.tokens.deadForMs()),
    ].filter((hold) => hold !== undefined)
  }

  /** Ends what it does in the background. */
  close(): void {
    this.#buckets.close()
  }

  /** A call is about to be made; `leave` must follow, once. */
  enter(call: Call): void {
    this.#buckets.enter(call.principal, call.tokenType === 'Bot' ? this.#globalPerSecond : undefined)
  }

  leave(call: Call): void {
    this.#buckets.leave(call.principal)
  }

  /** How long a GET of this principal is already known to be refused, or undefined. */
  refusedForMs(path: string, principal: string): Milliseconds | undefined {
    const route = routeOf('GET', path, this.#clock.now())
    return (
      this.#egress.closedForMs(route.name) ||
      this.#resourceHolds.heldForMs(route) ||
      this.#buckets.find(principal)?.heldFor({ route })?.ms
    )
  }

  /** A permit at once, if nothing forbids the call and nobody waits for one. */
  tryAdmit({ call }: Errand): Permit | undefined {
    const stranger = !this.tokens.isValid(call.tokenId)
    const principal = this.#principalOf(call)
    if (this.#egress.state !== 'closed' || this.#heldForAll(call)) return undefined
    if (stranger && this.#budget.strangersStoppedForMs() !== 0) return undefined
    const permit = principal.tryTake(call)
    return permit && this.#issued(permit, false, stranger)
  }

  /** Waits until nothing forbids the call, and takes a permit for it. Rejects with DiscordRateLimitError (`local`) or `signal.reason`. */
  async admit(errand: Errand): Promise<Permit> {
    const { call } = errand
    for (;;) {
      const principal = this.#principalOf(call)
      const stranger = !this.tokens.isValid(call.tokenId)
      const held = this.#heldFor(call, principal)
      if (held) {
        await errand.sleep(held.ms, held.scope)
        continue
      }
      if (stranger && (await this.#strangersWait(errand))) continue
      const permit = principal.tryTake(call) ?? (await this.#queue(errand, principal, stranger))
      // While the call waited for its permit, everything may have changed.
      if (
        this.#heldFor(call, this.#principalOf(call)) ||
        (stranger && this.#budget.strangersStoppedForMs() !== 0 && !this.tokens.isValid(call.tokenId))
      ) {
        permit.principal.giveBack(permit)
        continue
      }
      const pass = this.#egress.pass(call.route.name)
      if (pass !== 'wait') return this.#issued(permit, pass === 'probe', stranger)
      permit.principal.giveBack(permit)
      await errand.until((onGivingUp) => this.#egress.nextChange(onGivingUp), 'egress')
    }
  }

  /** An answer came in full, and this is what it means. */
  answered(permit: Permit, answer: Answer, verdict: Verdict): void {
    permit.judged = true
    permit.invalid = countsAsInvalid(answer)
    this.#learnLimits(permit, answer)
    const route = permit.call.route.name
    this.#learnToken(permit, answer, verdict)
    if (!isDiscordsWord(verdict)) return
    this.#egress.answered(route)
    if (!permit.probe) return
    if (this.#egress.free(answer.sentAt, route))
      this.#fleet?.announceEgressFree(this.#clock.monotonic() - answer.sentAt, route)
    else this.#egress.probeLost()
    permit.probe = false
  }

  /** Applies what a 429 asks for, and returns how long that is; `computedMs` where it names no wait. */
  hold(permit: Permit, verdict: RateLimited, computedMs: Milliseconds): Milliseconds {
    if (verdict.pause === 'egress') return this.blocked(permit, verdict.waitMs)
    const notice = noticeOf(permit.call, verdict.pause)
    const waitMs = verdict.waitMs ?? computedMs
    this.#apply(notice, waitMs)
    // It came although we thought there was room: perhaps too early.
    if (notice.about === 'bucket') this.#buckets.latency.distrust()
    this.#fleet?.announce(notice, waitMs)
    return waitMs
  }

  /** Our address is blocked; returns for how long everything pauses. */
  blocked(permit: Permit, namedMs: Milliseconds | undefined): Milliseconds {
    const { route } = permit.call
    permit.probe = false
    const waitMs = this.#egress.blocked(route.name, namedMs)
    this.#fleet?.announce({ about: 'egress', route: route.name }, waitMs)
    return waitMs
  }

  /** A 403 that is not Discord's own; returns how long everything pauses where it is evidence of a block. */
  foreign(permit: Permit, namedMs: Milliseconds | undefined): Milliseconds | undefined {
    const { route, principal } = permit.call
    return permit.probe || this.#egress.foreign(route.name, principal) ? this.blocked(permit, namedMs) : undefined
  }

  /** Must be called once for every permit, whatever became of it. `gaveUp` where its caller or its deadline ended it. */
  settle(permit: Permit, gaveUp: boolean): void {
    const now = this.#clock.monotonic()
    this.#buckets.latency.ended(now)
    if (permit.probe) this.#egress.probeLost()
    if (!permit.sent) {
      permit.principal.giveBack(permit)
      if (permit.stranger) this.#budget.strangerGaveBack()
      return
    }
    const { head } = permit
    if (head && !permit.judged) {
      // What the head said holds, whatever became of the rest.
      this.#learnLimits(permit, head)
      permit.invalid = countsAsInvalid(head)
    } else if (!head) {
      permit.principal.failed(permit)
      if (permit.stranger && gaveUp) permit.invalid = true
    }
    if (permit.invalid) {
      this.#budget.spend()
      this.#fleet?.invalidSent(permit.stranger)
    }
    if (!permit.stranger) return
    if (!head) this.#budget.strangerAnswered(gaveUp ? 'given up' : 'unanswered')
    else this.#budget.strangerAnswered(permit.invalid ? 'invalid' : 'valid')
  }

  /** Discord has issued this token just now: that it died earlier says nothing any more. */
  tokenIssued(tokenId: string): void {
    if (this.tokens.revive(tokenId)) this.#fleet?.announce(this.#alive(tokenId), TOLD_MS)
  }

  /** The token's user is known: under whatever name they are asked for, their limits are one. */
  tokenBelongsTo(tokenId: string, principal: string): void {
    if (this.tokens.belongsTo(tokenId, principal)) this.#buckets.same(principal, principalOfToken(tokenId))
  }

  /** An operator knows that the block is over. */
  liftBlock(): void {
    this.#egress.lift()
    this.#fleet?.announce({ about: 'egress-lifted' }, LIFT_TOLD_MS)
  }

  /** What this process or another has learned. */
  #apply(notice: Notice, forMs: Milliseconds): void {
    switch (notice.about) {
      case 'egress':
        this.#egress.blocked(notice.route ?? '', forMs)
        return
      case 'egress-lifted':
        this.#egress.lift()
        return
      case 'token':
        this.tokens.died(notice.tokenId, forMs)
        return
      case 'token-lives':
        this.tokens.revive(notice.tokenId)
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

  #alive = (tokenId: string): Notice => ({ about: 'token-lives', tokenId })

  #issued(permit: Permit, probe: boolean, stranger: boolean): Permit {
    permit.probe = probe
    permit.stranger = stranger
    if (stranger) this.#budget.strangerSent()
    this.#buckets.latency.sent(permit.at)
    return permit
  }

  #learnToken({ call: { tokenId }, trial }: Permit, { status }: Answer, verdict: Verdict): void {
    if (verdict.kind === 'success' || (verdict.kind === 'refused' && status !== 401)) {
      // What was under way when its death was learnt shows only that it lived before.
      if (!trial && this.tokens.isDead(tokenId)) return
      if (this.tokens.proved(tokenId)) this.#fleet?.announce(this.#alive(tokenId), TOLD_MS)
    } else if (verdict.kind === 'refused' && verdict.token === 'dead') {
      const waitMs = this.tokens.died(tokenId)
      this.#fleet?.announce({ about: 'token', tokenId }, waitMs)
    }
  }

  #learnLimits(permit: Permit, head: Pick<Answer, 'status' | 'headers' | 'sentAt' | 'receivedAt'>): void {
    this.#buckets.latency.observe(head.sentAt, head.receivedAt)
    permit.principal.answered(permit, bucketReport(head), head.headers['x-ratelimit-bucket'], head.receivedAt)
  }

  #principalOf(call: Call): Principal {
    // `enter` was called for it.
    return this.#buckets.find(call.principal)!
  }

  /** Waits in the principal's line for a permit. */
  #queue(errand: Errand, principal: Principal, stranger: boolean): Promise<Permit> {
    errand.mayWait(principal.estimateMs(errand.call), 'user')
    // It was perhaps woken for a place that it does not use yet.
    if (stranger) this.#budget.wakeNextStranger()
    return errand.until((onGivingUp) => principal.take(errand.call, onGivingUp), 'user')
  }

  #heldFor(call: Call, principal: Principal): Hold | undefined {
    return this.#heldForAll(call) ?? principal.heldFor(call)
  }

  /** Whoever makes it. */
  #heldForAll(call: Call): Hold | undefined {
    const closedForMs = this.#egress.closedForMs(call.route.name)
    if (closedForMs > 0) return { ms: closedForMs, scope: 'egress' }
    const stoppedForMs = this.#budget.stoppedForMs(call.priority)
    if (stoppedForMs > 0) return { ms: stoppedForMs, scope: 'egress' }
    const resourceMs = this.#resourceHolds.heldForMs(call.route)
    return resourceMs > 0 ? { ms: resourceMs, scope: 'shared' } : undefined
  }

  /** Tokens that nobody has seen valid take turns, within a budget of their own. Resolves to whether it had to wait. */
  async #strangersWait(errand: Errand): Promise<boolean> {
    const stoppedMs = this.#budget.strangersStoppedForMs()
    if (stoppedMs === 0) return false
    if (stoppedMs === 'soon')
      await errand.until((onGivingUp) => this.#budget.nextStrangerAnswered(onGivingUp), 'egress')
    else await errand.sleep(stoppedMs, 'egress')
    return true
  }
}

/** How long a call is forbidden, and what that is about. */
interface Hold {
  readonly ms: Milliseconds
  readonly scope: RateLimitScope
}

/** How long newcomers to the fleet are told that a token lives after all: as long as they may hear that it died. */
const TOLD_MS: Milliseconds = 60 * 60 * 1000
/** And that a block was lifted: blocks of a day are known, and newcomers may hear of them until they end. */
const LIFT_TOLD_MS: Milliseconds = 24 * 60 * 60 * 1000

/** Whose limits a token spends whose user is not known. */
export function principalOfToken(tokenId: string): string {
  return `token:${tokenId}`
}

/** Whether an answer shows that our requests reach Discord. A gateway's 5xx does; what Cloudflare made itself does not. */
function isDiscordsWord(verdict: Verdict): boolean {
  if (verdict.kind === 'success' || verdict.kind === 'refused') return true
  if (verdict.kind === 'rate-limited') return verdict.pause !== 'egress'
  return verdict.kind === 'trouble' && verdict.body?.cloudflare_error !== true
}

function noticeOf({ principal, route }: Call, pause: Exclude<RateLimited['pause'], 'egress'>): Notice {
  if (pause === 'resource') return { about: pause, route }
  return pause === 'principal' ? { about: pause, principal } : { about: pause, principal, route }
}
