import { RecentlyUsed } from '../collections/recently-used.ts'
import { fingerprint } from '../secrets/key-ring.ts'
import type { Clock, Milliseconds } from '../time/clock.ts'
import type { TokenType } from './call.ts'

/** How many tokens are remembered of each kind. Forgetting one costs one call. */
const TOKENS = 100_000
/** A dead token is tried again after this, then after twice as long, at most after an hour: Discord's word may have been wrong, and signing in anew can give the same token again. */
const FIRST_TRIAL_MS: Milliseconds = 10 * 60 * 1000
const LONGEST_DEAD_MS: Milliseconds = 60 * 60 * 1000
/** How long the call that tries a dead token has for its answer, before another may try. */
const TRIAL_MS: Milliseconds = 60 * 1000

/** A token's name in every map: its type and its hash. Joined to one string: one that V8 puts together of two stays three. */
export function tokenIdOf(tokenType: TokenType, token: string): string {
  return [tokenType, fingerprint(token)].join(' ')
}
/** How often a token that is in doubt is asked about. Bots are few: so many are remembered. */
const CHECKED_EVERY_MS: Milliseconds = 60 * 1000
const CHECKED = 1_000

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
  /**
   * Seen valid, the one whose proof is oldest first: whose limits each spends, '' where that is not known. Every user has
   * one, and a Map takes half of what an LRU takes.
   */
  readonly #valid = new Map<string, string>()
  /** Whose limits the others spend: strangers', and those that died. */
  readonly #unproved = new RecentlyUsed<string, string>(TOKENS)
  /** When a token in doubt was last asked about; monotonic. */
  readonly #checkedAt = new RecentlyUsed<string, Milliseconds>(CHECKED)

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Whether any token is dead: nearly always none is, and then no token's name has to be made to ask. */
  get anyDead(): boolean {
    return this.#dead.size > 0
  }

  /** Whether Discord has refused this token, and nothing has shown since that it lives. */
  isDead(tokenId: string): boolean {
    return this.#dead.size > 0 && this.#dead.get(tokenId) !== undefined
  }

  /** How long each dead token is not tried. */
  *deadForMs(): Generator<Milliseconds> {
    const now = this.#clock.monotonic()
    for (const { untilMs } of this.#dead.values()) yield untilMs - now
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

  /** Takes the check of a token that is in doubt, where one is due. */
  checkIsDue(tokenId: string): boolean {
    const now = this.#clock.monotonic()
    if (now - (this.#checkedAt.get(tokenId) ?? Number.NEGATIVE_INFINITY) < CHECKED_EVERY_MS) return false
    this.#checkedAt.set(tokenId, now)
    return true
  }

  isValid(tokenId: string): boolean {
    return this.#valid.has(tokenId)
  }

  /** Discord refused it; returns how long it is not tried. `forMs` where another process has met it. */
  died(tokenId: string, forMs?: Milliseconds): Milliseconds {
    const before = this.#dead.get(tokenId)
    const ownMs = Math.min(FIRST_TRIAL_MS * 2 ** (before?.times ?? 0), LONGEST_DEAD_MS)
    const waitMs = Math.min(forMs ?? ownMs, LONGEST_DEAD_MS)
    const untilMs = Math.max(before?.untilMs ?? 0, this.#clock.monotonic() + waitMs)
    this.#dead.set(tokenId, { times: (before?.times ?? 0) + 1, untilMs })
    const principal = this.#valid.get(tokenId)
    if (principal) this.#unproved.set(tokenId, principal)
    this.#valid.delete(tokenId)
    return waitMs
  }

  /** An answer showed that it lives; returns whether it was thought dead. */
  proved(tokenId: string): boolean {
    const principal = this.#valid.get(tokenId) ?? this.#unproved.get(tokenId) ?? ''
    this.#unproved.delete(tokenId)
    this.#valid.delete(tokenId)
    this.#valid.set(tokenId, principal)
    if (this.#valid.size > TOKENS) this.#valid.delete(this.#valid.keys().next().value!)
    return this.#dead.size > 0 && this.#dead.delete(tokenId)
  }

  /** What is known of a token that Discord has just issued is about an earlier authorization; returns whether it was thought dead. */
  revive(tokenId: string): boolean {
    return this.#dead.delete(tokenId)
  }

  /** Whose limits the token spends, where that is known. */
  principalOf(tokenId: string): string | undefined {
    return this.#valid.get(tokenId) || this.#unproved.get(tokenId)
  }

  /** The token's user is known; returns whether that is news. */
  belongsTo(tokenId: string, principal: string): boolean {
    if (this.principalOf(tokenId) === principal) return false
    const known = this.#valid.has(tokenId) ? this.#valid : this.#unproved
    known.set(tokenId, principal)
    return true
  }

  get size(): number {
    return this.#dead.size + this.#valid.size
  }
}
