import type { Events } from '../events/events.ts'
import type { Names } from '../secrets/key-ring.ts'
import type { Clock, Milliseconds } from '../time/clock.ts'
import type { CallerKind } from './counters.ts'
import type { Asked, RefuseDecision } from './decision.ts'
import { pathWithoutIds } from './request-path.ts'
import { meansEverything } from './rules.ts'

export type GuardTold = 'guard.refused' | 'guard.shed'

const DAY_MS: Milliseconds = 86_400_000

/** Counts what a guard decided, and tells whoever listens. */
export class GuardTelling {
  readonly #clock: Clock
  readonly #events: Events
  readonly #names: Names
  readonly #dryRun: boolean
  #passed = 0
  #refused = 0
  #shed = 0
  #refunded = 0

  constructor(options: { clock: Clock; events: Events; names: Names; dryRun: boolean }) {
    this.#clock = options.clock
    this.#events = options.events
    this.#names = options.names
    this.#dryRun = options.dryRun
  }

  passed(asked: Asked): void {
    this.#passed++
    if (this.#events.active)
      this.#events.emit({ type: 'guard.passed', path: pathOf(asked), requestClass: asked.requestClass })
  }

  turnedAway(type: GuardTold, asked: Asked, refused: RefuseDecision, bucket: () => string): void {
    if (type === 'guard.shed') this.#shed++
    else this.#refused++
    // The log tells of load; that a limit is spent is everyday.
    if (!(type === 'guard.shed' ? this.#events.heard : this.#events.active)) return
    // The day salts the name, so that an address cannot be followed from one day to the next.
    const day = Math.floor(this.#clock.now() / DAY_MS)
    this.#events.emit({
      type,
      status: refused.status,
      ...(this.#dryRun && { dryRun: true }),
      path: pathOf(asked),
      requestClass: asked.requestClass,
      retryAfter: refused.retryAfterSeconds,
      ipBucket: this.#names.of(`guard address ${day}`, bucket()),
      handled: true,
    })
  }

  refunded(asked: Asked, limits: readonly string[]): void {
    this.#refunded++
    if (this.#events.active) this.#events.emit({ type: 'guard.refunded', path: pathOf(asked), limits })
  }

  overflow(callers: CallerKind, overflowing: boolean): void {
    this.#events.emit({ type: 'guard.overflow', callers, overflowing })
  }

  counted() {
    return { passed: this.#passed, refused: this.#refused, shed: this.#shed, refunded: this.#refunded }
  }
}

/** What an event may say of the path: the pattern of its rule, where that says anything. */
function pathOf({ rule, route }: Asked): string {
  return rule.own && !meansEverything(rule.pattern) ? rule.pattern.text : pathWithoutIds(route.path)
}
