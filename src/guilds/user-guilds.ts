import { DiscordAPIError } from '../errors/errors.ts'
import type { Milliseconds } from '../time/clock.ts'
import { GuildRequest, type GuildSource, type GuildUser } from './guild-request.ts'
import type { MembershipOptions, MembershipResult } from './membership-result.ts'
import type { GuildMemberships } from './memberships.ts'

/** What holds guild lists. */
export interface GuildCache {
  get(key: { user: string; key: string }, request: GuildRequest): Promise<HeldGuilds>
}

/** What the cache says of a list that it gives. */
interface HeldGuilds {
  readonly value: GuildMemberships
  readonly state: 'fresh' | 'stale' | 'loaded'
  readonly source: MembershipResult['source']
  readonly fetchedAt: Date
  readonly reason?: NonNullable<MembershipResult['reason']>
  readonly retryAt?: Date
}

const NO_OPTIONS: MembershipOptions = Object.freeze({})

/** A user's guilds, through the cache and whatever is behind it. */
export class UserGuilds {
  readonly #cache: GuildCache
  readonly #source: GuildSource
  readonly #times: { readonly freshMs: Milliseconds; readonly staleMs: Milliseconds }

  constructor(options: {
    readonly cache: GuildCache
    readonly source: GuildSource
    readonly times: { readonly freshMs: Milliseconds; readonly staleMs: Milliseconds }
  }) {
    this.#cache = options.cache
    this.#source = options.source
    this.#times = options.times
  }

  of(user: GuildUser, asked: MembershipOptions = NO_OPTIONS): Promise<MembershipResult> {
    let request: GuildRequest
    try {
      request = new GuildRequest(this.#source, this.#times, user, asked)
    } catch (error) {
      return Promise.reject(error)
    }
    return this.#cache.get({ user: user.userId, key: 'guilds' }, request).then(resultOf, (error) => {
      // The load was started by another session of this user, whose token is dead; the token of this session may live.
      // Each session asks at most once, so this ends with the number of sessions.
      if (request.asked || !(error instanceof DiscordAPIError) || error.status !== 401) throw error
      return this.of(user, asked)
    })
  }
}

function resultOf(held: HeldGuilds): MembershipResult {
  return {
    guilds: held.value,
    stale: held.state === 'stale',
    fetchedAt: held.fetchedAt,
    source: held.source,
    ...(held.reason && { reason: held.reason }),
    ...(held.retryAt && { retryAt: held.retryAt }),
  }
}
