import type { Milliseconds } from '../../time/clock.ts'
import type { Random } from '../world/random.ts'

/** What an access or refresh token stands for. */
export interface Grant {
  readonly userId: string
  readonly applicationId: string
  readonly scopes: ReadonlySet<string>
  /** On the wall clock: milliseconds since the epoch. */
  readonly expiresAt: Milliseconds
}

/** What an authorization code stands for, until it is exchanged. */
export interface Code {
  readonly userId: string
  /** As the authorization request had it; null: it had none. */
  readonly redirectUri: string | null
  readonly scopes: ReadonlySet<string>
  /** PKCE S256 challenge (RFC 7636), if the authorization request had one. */
  readonly challenge: string | undefined
  /** The guild that a bot was added to on the way. */
  readonly guildId?: string | undefined
  readonly expiresAt: Milliseconds
}

/** All tokens and codes. Dead ones are remembered, so that the ledger can say whose they were. */
export interface Credentials {
  /** The grant of a living access token. */
  access(token: string, nowMs: Milliseconds): Grant | undefined
  /** Whose token it is or was. */
  ownerOf(token: string): string | null
  issueAccess(grant: Grant, token?: string): string
  issueRefresh(grant: Grant): string
  /** Single use: the second time it is gone. */
  spendRefresh(token: string): Grant | undefined
  issueCode(code: Code): string
  /** Single use: the second time it is gone. */
  spendCode(code: string, nowMs: Milliseconds): Code | undefined
  /** Ends every token and code of this user's authorization of one application (default: of all). */
  revokeAll(userId: string, applicationId?: string): void
  /** The grant that a living access or refresh token belongs to. */
  find(token: string): Grant | undefined
}

export function createCredentials(random: Random): Credentials {
  const accessTokens = new Map<string, Grant>()
  const refreshTokens = new Map<string, Grant>()
  const codes = new Map<string, Code>()
  const owners = new Map<string, string>()
  const tokensOf = new Map<string, Set<string>>()

  const remember = (secret: string, userId: string) => {
    owners.set(secret, userId)
    const secrets = tokensOf.get(userId)
    if (secrets) secrets.add(secret)
    else tokensOf.set(userId, new Set([secret]))
    return secret
  }

  return {
    access(token, nowMs) {
      const grant = accessTokens.get(token)
      return grant && nowMs < grant.expiresAt ? grant : undefined
    },
    ownerOf: (secret) => owners.get(secret) ?? null,
    find: (token) => accessTokens.get(token) ?? refreshTokens.get(token),
    issueAccess(grant, token = random.letters(30)) {
      accessTokens.set(token, grant)
      return remember(token, grant.userId)
    },
    issueRefresh(grant) {
      const token = random.letters(30)
      refreshTokens.set(token, grant)
      return remember(token, grant.userId)
    },
    spendRefresh(token) {
      const grant = refreshTokens.get(token)
      refreshTokens.delete(token)
      return grant
    },
    issueCode(code) {
      const text = random.letters(30)
      codes.set(text, code)
      return remember(text, code.userId)
    },
    spendCode(text, nowMs) {
      const code = codes.get(text)
      codes.delete(text)
      return code && nowMs < code.expiresAt ? code : undefined
    },
    revokeAll(userId, applicationId) {
      for (const secret of tokensOf.get(userId) ?? []) {
        for (const grants of [accessTokens, refreshTokens]) {
          const grant = grants.get(secret)
          if (grant && (applicationId === undefined || grant.applicationId === applicationId)) grants.delete(secret)
        }
        codes.delete(secret)
      }
    },
  }
}
