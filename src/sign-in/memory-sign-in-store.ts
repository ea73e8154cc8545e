import { RecentlyUsed } from '../collections/recently-used.ts'
import type { Clock, Milliseconds } from '../time/clock.ts'
import type { Claim, KeptSession, KeptTokens, SignInStore } from './sign-in-store.ts'

/** Of more sessions, those that were not used for longest are forgotten, and their users sign in again. */
const SESSIONS = 100_000
const CLAIMS = 10_000

/** Sessions of one process: they end with it. */
export class MemorySignInStore implements SignInStore {
  readonly #clock: Clock
  readonly #sessions: RecentlyUsed<string, KeptSession>
  readonly #sessionsOf = new Map<string, Set<string>>()
  readonly #tokens = new Map<string, KeptTokens>()
  /** Bounded by the users whose tokens are being refreshed. */
  readonly #leases = new Map<string, { holder: string; until: Milliseconds }>()
  readonly #claims: RecentlyUsed<string, { code: string; until: Milliseconds; outcome?: Uint8Array | null }>

  constructor(clock: Clock, sessions = SESSIONS) {
    this.#clock = clock
    this.#sessions = new RecentlyUsed(sessions, { dispose: (session) => this.#forget(session) })
    this.#claims = new RecentlyUsed(CLAIMS)
  }

  async open(session: KeptSession, tokens: KeptTokens): Promise<void> {
    const others = this.#sessionsOf.get(session.userId) ?? new Set()
    this.#sessionsOf.set(session.userId, others.add(session.idHash))
    this.#tokens.set(session.userId, tokens)
    this.#sessions.set(session.idHash, session)
  }

  async find(idHash: string) {
    const session = this.#sessions.get(idHash)
    return session && { session, tokens: this.#tokens.get(session.userId) }
  }

  async touch({ idHash }: KeptSession, seenAt: Milliseconds): Promise<void> {
    const session = this.#sessions.get(idHash)
    if (!session) return
    // Not deleted and set: that would dispose of it, and of the user's tokens with it.
    this.#sessions.set(idHash, { ...session, seenAt }, { noDisposeOnSet: true })
  }

  async end({ idHash }: KeptSession): Promise<void> {
    this.#sessions.delete(idHash)
  }

  async endAll(userId: string, before = Number.POSITIVE_INFINITY): Promise<void> {
    for (const idHash of [...(this.#sessionsOf.get(userId) ?? [])])
      if ((this.#sessions.peek(idHash)?.createdAt ?? 0) < before) this.#sessions.delete(idHash)
  }

  async tokensOf(userId: string) {
    return this.#tokens.get(userId)
  }

  async replace(tokens: KeptTokens, from: { readonly rowId: string; readonly version: number }): Promise<boolean> {
    const held = this.#tokens.get(tokens.userId)
    if (held?.rowId !== from.rowId || held.version !== from.version) return false
    this.#tokens.set(tokens.userId, tokens)
    return true
  }

  async lease(userId: string, holder: string, forMs: Milliseconds): Promise<boolean> {
    const now = this.#clock.monotonic()
    const held = this.#leases.get(userId)
    if (held && held.holder !== holder && held.until > now) return false
    this.#leases.set(userId, { holder, until: now + forMs })
    return true
  }

  async release(userId: string, holder: string): Promise<void> {
    if (this.#leases.get(userId)?.holder === holder) this.#leases.delete(userId)
  }

  async claim(attempt: string, code: string, forMs: Milliseconds): Promise<Claim> {
    const now = this.#clock.monotonic()
    const held = this.#claims.get(attempt)
    if (!held || held.until <= now) {
      this.#claims.set(attempt, { code, until: now + forMs })
      return { kind: 'mine' }
    }
    if (held.code !== code || held.outcome === null) return { kind: 'spent' }
    return held.outcome ? { kind: 'done', sealed: held.outcome } : { kind: 'pending' }
  }

  async settle(attempt: string, code: string, outcome: Uint8Array | null, forMs: Milliseconds): Promise<void> {
    this.#claims.set(attempt, { code, until: this.#clock.monotonic() + forMs, outcome })
  }

  #forget({ idHash, userId }: KeptSession): void {
    const others = this.#sessionsOf.get(userId)
    others?.delete(idHash)
    if (others && others.size > 0) return
    this.#sessionsOf.delete(userId)
    this.#tokens.delete(userId)
  }
}
