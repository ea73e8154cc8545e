import { DiscordAPIError, HoldfastError } from '../errors/errors.ts'
import { fingerprint } from '../secrets/key-ring.ts'
import { tokenProblem } from '../secrets/token.ts'
import type { Clock, Milliseconds } from '../time/clock.ts'
import { GuildRequest, type GuildSource, type GuildUser } from './guild-request.ts'
import { MEMBERSHIP_OPTIONS, type MembershipOptions, type MembershipResult } from './membership-result.ts'
import type { GuildMemberships } from './memberships.ts'
import { RefusedTokens } from './refused-tokens.ts'

/** What holds guild lists, each under a key that nobody else can form. */
export interface GuildCache {
  get(userId: string, request: GuildRequest): Promise<HeldGuilds>
}

/** What the cache says of a list that it gives. */
export interface HeldGuilds {
  readonly value: GuildMemberships
  readonly state: 'fresh' | 'stale' | 'loaded'
  readonly source: MembershipResult['source']
  readonly fetchedAt: Date
  readonly reason?: NonNullable<MembershipResult['reason']>
  readonly retryAt?: Date
}

/** What is asked where a list is neither held nor to be fetched: resolves to an older one, or throws the error. */
type Fallback = (user: GuildUser, asked: MembershipOptions, error: unknown) => Promise<MembershipResult>

const NO_OPTIONS: MembershipOptions = Object.freeze({})

/** A user's guilds, through the cache and whatever is behind it. */
export class UserGuilds {
  readonly #cache: GuildCache
  readonly #source: GuildSource
  readonly #times: { readonly freshMs: Milliseconds; readonly staleMs: Milliseconds }
  /** Tokens that Discord would not show the guilds to. */
  readonly #refused: RefusedTokens

  readonly #fallback: Fallback | undefined

  constructor(options: {
    readonly cache: GuildCache
    readonly source: GuildSource
    readonly times: { readonly freshMs: Milliseconds; readonly staleMs: Milliseconds }
    readonly clock: Clock
    readonly fallback?: Fallback | undefined
  }) {
    this.#cache = options.cache
    this.#source = options.source
    this.#times = options.times
    this.#fallback = options.fallback
    this.#refused = new RefusedTokens(options.clock)
  }

  /** As `of`, for callers whose arguments nobody has checked. */
  async checkedOf(user: GuildUser, asked: MembershipOptions = NO_OPTIONS): Promise<MembershipResult> {
    MEMBERSHIP_OPTIONS.check(asked)
    const { userId, accessToken } = user ?? {}
    if (typeof userId !== 'string' || userId === '')
      throw new HoldfastError('INVALID_OPTION', 'memberships: userId must be a text that is not empty')
    const problem = tokenProblem(accessToken)
    // Before anything is asked: a load that fails for its caller's mistake would hold back all others of the user.
    if (problem)
      throw new HoldfastError(
        'INVALID_TOKEN',
        `memberships: the accessToken was refused: ${problem}; give the bare token`,
      )
    return this.of({ userId, accessToken }, asked)
  }

  /** The user's guilds: held, or fetched with the user's token. Rejects as `discordFetch` does where none are held. */
  of(user: GuildUser, asked: MembershipOptions = NO_OPTIONS): Promise<MembershipResult> {
    const refusal = this.#refused.find(user.accessToken)
    if (refusal) return Promise.reject(refusal)
    const request = new GuildRequest(this.#source, this.#times, user, asked)
    return this.#cache.get(user.userId, request).then(resultOf, (error) => {
      if (!isAboutToken(error)) {
        if (this.#fallback) return this.#fallback(user, asked, error)
        throw error
      }
      // The load was started by another session of this user, and this one's token may be better. Each session asks at
      // most once, so this ends with the number of sessions.
      if (!request.asked) return this.of(user, asked)
      if (error.status === 403) this.#refused.note(fingerprint(user.accessToken), error)
      throw error
    })
  }
}

/** Whether Discord refused the token that was sent, and so only whoever sent it. */
export function isAboutToken(error: unknown): error is DiscordAPIError {
  return error instanceof DiscordAPIError && (error.status === 401 || error.status === 403)
}

function resultOf(held: HeldGuilds): MembershipResult {
  const result: { -readonly [Name in keyof MembershipResult]: MembershipResult[Name] } = {
    guilds: held.value,
    stale: held.state === 'stale',
    fetchedAt: held.fetchedAt,
    source: held.source,
  }
  if (held.reason !== undefined) result.reason = held.reason
  if (held.retryAt !== undefined) result.retryAt = held.retryAt
  return result
}
