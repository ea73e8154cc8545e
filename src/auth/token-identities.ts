import type { RESTGetAPIOAuth2CurrentAuthorizationResult } from 'discord-api-types/v10'
import { DiscordUnavailableError } from '../errors/errors.ts'
import { fingerprint } from '../secrets/key-ring.ts'
import type { Milliseconds } from '../time/clock.ts'

/** Whom a token speaks for, as `/oauth2/@me` told. */
export interface TokenIdentity {
  readonly applicationId: string
  /** Null where the token lacks the scope `identify`; so are the names then. */
  readonly userId: string | null
  readonly username: string | null
  readonly globalName: string | null
  readonly avatar: string | null
  readonly scopes: readonly string[]
  /** Epoch milliseconds. */
  readonly expiresAt: number
}

/** Where identities are remembered, under names that only the house can form. */
export interface IdentityMemory {
  /** The id of the user that a token belongs to, '' where nobody can tell. It never changes, so it is kept as long as anything. */
  owner(token: string, load: () => Promise<string>): Promise<string>
  /** What Discord said of a token of this user, at most `maxAgeMs` ago. It goes with everything else of the user. */
  identity(
    owner: string,
    token: string,
    maxAgeMs: Milliseconds,
    load: (context: { readonly stale?: unknown }) => Promise<TokenIdentity>,
  ): Promise<TokenIdentity>
}

/**
 * `GET /oauth2/@me`, whose user may not be known yet: its limits are counted under `principal`. With `onceMore` trouble is
 * tried again once: where nothing is held that could be believed meanwhile.
 */
export type LookUpToken = (
  accessToken: string,
  principal: string,
  onceMore: boolean,
) => Promise<RESTGetAPIOAuth2CurrentAuthorizationResult>

/** The name under which a token's limits are counted until its user is known. */
export const principalOfToken = (fingerprint: string): string => `bearer:${fingerprint}`

/** Whom tokens speak for: each is looked up once and remembered by its hash. */
export class TokenIdentities {
  readonly #memory: IdentityMemory
  readonly #lookUp: LookUpToken

  constructor(memory: IdentityMemory, lookUp: LookUpToken) {
    this.#memory = memory
    this.#lookUp = lookUp
  }

  /** What Discord said of a token, at most `maxAgeMs` ago. Rejects as `discordFetch` does; 401 where the token is dead. */
  async of(accessToken: string, maxAgeMs: Milliseconds = Number.POSITIVE_INFINITY): Promise<TokenIdentity> {
    const token = fingerprint(accessToken)
    /** What the look-up for the owner brought: no reason to ask twice. */
    let brought: TokenIdentity | undefined
    const ask = async (onceMore: boolean) =>
      readIdentity(await this.#lookUp(accessToken, principalOfToken(token), onceMore))
    const owner = await this.#memory.owner(token, async () => {
      brought = await ask(true)
      return brought.userId ?? ''
    })
    return this.#memory.identity(owner, token, maxAgeMs, async ({ stale }) => {
      const just = brought
      brought = undefined
      return just ?? ask(stale === undefined)
    })
  }
}

/** Reads what `/oauth2/@me` answers. */
function readIdentity(answer: RESTGetAPIOAuth2CurrentAuthorizationResult): TokenIdentity {
  const applicationId: unknown = answer.application?.id
  const expiresAt = Date.parse(answer.expires)
  if (typeof applicationId !== 'string' || Number.isNaN(expiresAt) || !Array.isArray(answer.scopes)) {
    throw new DiscordUnavailableError(
      'DISCORD_WRONG_SHAPE',
      'GET /oauth2/@me: the answer lacks its application, scopes or expiry',
      { route: 'GET /oauth2/@me', attempts: 1 },
    )
  }
  const { id, username, global_name: globalName, avatar } = answer.user ?? {}
  return {
    applicationId,
    userId: textOrNull(id),
    username: textOrNull(username),
    globalName: textOrNull(globalName),
    avatar: textOrNull(avatar),
    scopes: answer.scopes.filter((scope) => typeof scope === 'string'),
    expiresAt,
  }
}

const textOrNull = (value: unknown): string | null => (typeof value === 'string' && value !== '' ? value : null)
