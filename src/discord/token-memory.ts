import { RecentlyUsed } from '../collections/recently-used.ts'
import type { Clock, Milliseconds } from '../time/clock.ts'

/** How many tokens are remembered of each kind. Forgetting one costs one call. */
const TOKENS = 100_000
/** A dead token is tried again after this, then after twice as long, at most after an hour: Discord's word may have been wrong, and signing in anew can give the same token again. */
const FIRST_TRIAL_MS: Milliseconds = 10 * 60 * 1000
const LONGEST_DEAD_MS: Milliseconds = 60 * 60 * 1000
/** How long the call that tries a dead token has for its answer, before another may try. */
const TRIAL_MS: Milliseconds = 60 * 1000

interface Death {
  readonly times: number
  /** Until when it is not tried; monotonic. */
  untilMs: Milliseconds
}

/**
 * What answers taught about tokens, by their type and hash. A dead one is not sent: Discord bans addresses that keep
 * sending them. One that was seen valid is no stranger's invention, and does not draw on the strangers' budget. One whose
 * user is known spends that user's limits, under whatever name it is used.
 */
export class TokenMemory {
  readonly #clock: Clock
  readonly #dead = new RecentlyUsed<string, Death>(TOKENS)
  readonly #valid = new RecentlyUsed<string, true>(TOKENS)
  readonly #principals = new RecentlyUsed<string, string>(TOKENS)

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Whether Discord has refused this token, and nothing has shown since that it lives. */
  isDead(tokenId: string): boolean {
    return this.#dead.size > 0 && this.#dead.get(tokenId) !== undefined
  }

  /** Whether a dead token may be tried again by one call. */
  trialDue(tokenId: string): boolean {
    const death = this.#dead.get(tokenId)
    return death !== undefined && this.#clock.monotonic() >= death.untilMs
  }

  /** Takes the trial of a dead token, where one is due: nobody else gets it until its answer is there, or a minute has passed. */
  tryAgain(tokenId: string): boolean {
    if (!this.trialDue(tokenId)) return false
    this.#dead.get(tokenId)!.untilMs = this.#clock.monotonic() + TRIAL_MS
    return true
  }

  isValid(tokenId: string): boolean {
    return this.#valid.get(tokenId) !== undefined
  }

  /** Discord refused it; returns how long it is not tried. `forMs` where another process has met it. */
  died(tokenId: string, forMs?: Milliseconds): Milliseconds {
    const before = this.#dead.get(tokenId)
    const ownMs = Math.min(FIRST_TRIAL_MS * 2 ** (before?.times ?? 0), LONGEST_DEAD_MS)
    const waitMs = Math.min(forMs ?? ownMs, LONGEST_DEAD_MS)
    const untilMs = Math.max(before?.untilMs ?? 0, this.#clock.monotonic() + waitMs)
    this.#dead.set(tokenId, { times: (before?.times ?? 0) + 1, untilMs })
    this.#valid.delete(tokenId)
    return waitMs
  }

  /** An answer showed that it lives; returns whether it was thought dead. */
  proved(tokenId: string): boolean {
    if (this.#valid.get(tokenId) === undefined) this.#valid.set(tokenId, true)
    return this.#dead.size > 0 && this.#dead.delete(tokenId)
  }

  /** What is known of a token that Discord has just issued is about an earlier authorization; returns whether it was thought dead. */
  revive(tokenId: string): boolean {
    return this.#dead.delete(tokenId)
  }

  /** Whose limits the token spends, where that is known. */
  principalOf(tokenId: string): string | undefined {
    return this.#principals.get(tokenId)
  }

  /** The token's user is known; returns whether that is news. */
  belongsTo(tokenId: string, principal: string): boolean {
    if (this.#principals.get(tokenId) === principal) return false
    this.#principals.set(tokenId, principal)
    return true
  }

  get size(): number {
    return this.#dead.size + this.#valid.size
  }
}
