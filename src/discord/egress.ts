import { Breaker, type BreakerState } from '../concurrency/breaker.ts'
import type { Clock, Milliseconds } from '../time/clock.ts'
import { type OnGivingUp, Waiters } from './waiters.ts'

const FIRST_BLOCK_MS: Milliseconds = 60_000
const LONGEST_BLOCK_MS: Milliseconds = 60 * 60 * 1000
/** Blocks of a day on one route alone are known: after this, then twice as long, at most half an hour, another route finds out whether it is open. */
const FIRST_PROBE_ELSEWHERE_MS: Milliseconds = 5 * 60 * 1000
const LONGEST_PROBE_ELSEWHERE_MS: Milliseconds = 30 * 60 * 1000
/** Foreign 403s are evidence together when they come within this. */
const EVIDENCE_MS: Milliseconds = 60_000
/** So many blocked routes are remembered; Discord has some three hundred. */
const ROUTES = 512

/**
 * The way out of this process. Discord and Cloudflare block addresses, not users: an answer in the shape of a block stops
 * everything, and one probe after the named time (else 60 s, doubling to an hour) finds out whether it is over. A block
 * that is longer than minutes may be one route's alone: then a probe on another route is let through earlier, and where
 * it is answered everything but the blocked routes goes on.
 */
export class Egress {
  readonly #clock: Clock
  readonly #breaker: Breaker
  #blocks = 0
  #blockedAt = Number.NEGATIVE_INFINITY
  /** Routes that a block was met on, and have not been answered since. */
  readonly #routes = new Map<string, BlockedRoute>()
  #probesElsewhere = 0
  #probeElsewhereAt = 0
  /** Who met a foreign 403 lately, by route. */
  readonly #evidence = new Map<string, { readonly at: Milliseconds; readonly principal: string }>()
  readonly #changed = new Waiters()

  constructor(clock: Clock, onChange: (state: BreakerState) => void) {
    this.#clock = clock
    this.#breaker = new Breaker(clock, (state) => {
      this.#changed.wakeAll()
      onChange(state)
    })
  }

  get state(): BreakerState {
    return this.#breaker.state
  }

  /** How long nothing may be sent on a route; 0 where something may, or where a probe is finding out. */
  closedForMs(route: string): Milliseconds {
    const now = this.#clock.monotonic()
    const routeMs = this.#routeMs(route, now)
    if (this.#breaker.state !== 'open') return routeMs
    const allMs = this.#breaker.closedForMs
    // This route is not known to be blocked: it may find out before the block is over.
    const elsewhereMs = routeMs > 0 ? allMs : Math.min(allMs, Math.max(0, this.#probeElsewhereAt - now))
    return Math.max(routeMs, elsewhereMs)
  }

  /** How long nothing at all is sent. */
  get blockedMs(): Milliseconds {
    return this.#breaker.state === 'open' ? this.#breaker.closedForMs : 0
  }

  /** How long each route is blocked where everything else is open. */
  *blockedAloneMs(): Generator<Milliseconds> {
    const now = this.#clock.monotonic()
    for (const { until, alone } of this.#routes.values()) if (alone) yield until - now
  }

  pass(route: string): 'pass' | 'probe' | 'wait' {
    if (this.closedForMs(route) > 0) return 'wait'
    if (this.#breaker.state === 'open' && this.#breaker.closedForMs > 0) {
      this.#breaker.probeNow()
      return 'probe'
    }
    return this.#breaker.pass()
  }

  /**
   * An answer in the shape of a block; returns how long everything pauses. Answers that were under way when the first
   * one came do not double the time.
   */
  blocked(route: string, namedMs: Milliseconds | undefined): Milliseconds {
    const { state } = this.#breaker
    const now = this.#clock.monotonic()
    const known = this.#routes.get(route)
    if (state === 'closed' && known?.alone) {
      // Met again where it is known that everything else is open: nothing else stops.
      const waitMs = namedMs || LONGEST_PROBE_ELSEWHERE_MS
      known.until = Math.max(known.until, now + waitMs)
      return waitMs
    }
    if (state !== 'open') this.#blocks++
    if (state === 'closed') this.#probesElsewhere = 0
    if (state === 'half-open') this.#probesElsewhere++
    this.#blockedAt = now
    const waitMs = namedMs || Math.min(FIRST_BLOCK_MS * 2 ** (this.#blocks - 1), LONGEST_BLOCK_MS)
    this.#holdRoute(route, now + waitMs)
    if (state !== 'open')
      this.#probeElsewhereAt =
        now + Math.min(FIRST_PROBE_ELSEWHERE_MS * 2 ** this.#probesElsewhere, LONGEST_PROBE_ELSEWHERE_MS)
    // What a probe learned never shortens what was said before.
    const saidMs = [...this.#routes.values()].map(({ until }) => until - now)
    this.#breaker.open(state === 'half-open' ? Math.max(waitMs, ...saidMs) : waitMs)
    return waitMs
  }

  /**
   * A 403 that is not Discord's own. One route refused to one principal may be about what was asked; a second route or
   * principal within a minute means that it is about us. Returns whether it is.
   */
  foreign(route: string, principal: string): boolean {
    const now = this.#clock.monotonic()
    let others = false
    for (const [seenRoute, seen] of this.#evidence) {
      if (now - seen.at > EVIDENCE_MS) this.#evidence.delete(seenRoute)
      else if (seenRoute !== route || seen.principal !== principal) others = true
    }
    if (this.#evidence.size < ROUTES) this.#evidence.set(route, { at: now, principal })
    return others
  }

  /** Discord itself answered on this route: what looked like a block of it was none, or is over. */
  answered(route: string): void {
    if (this.#evidence.size > 0) this.#evidence.delete(route)
    if (this.#routes.size > 0 && this.#breaker.state === 'closed') this.#routes.delete(route)
  }

  /**
   * A request on `route` that was sent at `sentAt` was answered by Discord. Closes the breaker, and leaves shut what is
   * known to be blocked beside it. False where a block came later: that one still stands.
   */
  free(sentAt: Milliseconds, route: string): boolean {
    if (this.#blockedAt > sentAt) return false
    this.#evidence.clear()
    this.#blocks = 0
    this.#routes.delete(route)
    const now = this.#clock.monotonic()
    for (const [name, blocked] of this.#routes) {
      if (blocked.until <= now) this.#routes.delete(name)
      else blocked.alone = true
    }
    this.#breaker.close()
    return true
  }

  /** Somebody knows better: everything is free, also what was blocked by route. */
  lift(): void {
    this.#blockedAt = Number.NEGATIVE_INFINITY
    this.#evidence.clear()
    this.#blocks = 0
    this.#routes.clear()
    this.#breaker.close()
  }

  /** The probe ended without an answer: the next caller probes. */
  probeLost(): void {
    this.#breaker.abandonProbe()
  }

  /** Resolves when the breaker changes; rejects with the reason that `onGivingUp` gives. */
  nextChange(onGivingUp: OnGivingUp): Promise<void> {
    return this.#changed.wait(onGivingUp)
  }

  #routeMs(route: string, now: Milliseconds): Milliseconds {
    if (this.#routes.size === 0) return 0
    return Math.max(0, (this.#routes.get(route)?.until ?? 0) - now)
  }

  #holdRoute(route: string, until: Milliseconds): void {
    const known = this.#routes.get(route)
    if (known) known.until = Math.max(known.until, until)
    // With so many blocked, it is no longer about routes.
    else if (this.#routes.size < ROUTES) this.#routes.set(route, { until, alone: false })
  }
}

interface BlockedRoute {
  /** Until when the block was said to last; monotonic. */
  until: Milliseconds
  /** Whether other routes were answered while it lasted. */
  alone: boolean
}
