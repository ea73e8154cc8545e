import type { KeyRing } from '../secrets/key-ring.ts'
import type { Milliseconds } from '../time/clock.ts'
import type { KeptTokens } from './sign-in-store.ts'

/** A user's tokens, in clear, and who Discord said they are. */
export interface Tokens {
  readonly accessToken: string
  /** Single use. Undefined where Discord gave none. */
  readonly refreshToken: string | undefined
  readonly scopes: readonly string[]
  /** Wall clock. */
  readonly expiresAt: Milliseconds
  /** From then on they are refreshed in the background. */
  readonly refreshAt: Milliseconds
  readonly profile: Profile
}

export interface Profile {
  readonly username: string
  readonly globalName: string | null
  readonly avatar: string | null
}

/** Seals tokens for one user, row and version: AES-256-GCM with all three as associated data. */
export class TokenBox {
  readonly #ring: KeyRing

  constructor(ring: KeyRing) {
    this.#ring = ring
  }

  seal(tokens: Tokens, place: Omit<KeptTokens, 'sealed'>): KeptTokens {
    return { ...place, sealed: this.#ring.seal(JSON.stringify(tokens), contextOf(place)) }
  }

  /** Undefined where they were edited, moved to another user or row, or sealed under a secret that is no longer given. */
  open(kept: KeptTokens): Tokens | undefined {
    const text = this.#ring.open(Buffer.from(kept.sealed), contextOf(kept))
    return text === undefined ? undefined : (JSON.parse(text) as Tokens)
  }

  /** Whether they are sealed under the newest secret. */
  isCurrent(kept: KeptTokens): boolean {
    return this.#ring.isCurrent(Buffer.from(kept.sealed))
  }
}

const contextOf = ({ userId, rowId, version }: Omit<KeptTokens, 'sealed' | 'signedInAt'>) =>
  `tokens 1|${userId}|${rowId}|${version}`
