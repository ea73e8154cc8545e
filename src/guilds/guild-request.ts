import type { RESTAPIPartialCurrentUserGuild } from 'discord-api-types/v10'
import { DiscordAPIError } from '../errors/errors.ts'
import type { Milliseconds } from '../time/clock.ts'
import type { MembershipOptions } from './membership-result.ts'
import { type GuildMemberships, membershipsCodec, membershipsFromDiscord } from './memberships.ts'

/** What the source tells of a call while it is under way. */
export interface Sending {
  /** When the last attempt was sent; monotonic. */
  sentAt?: Milliseconds
}

/** Where guild lists come from. */
export interface GuildSource {
  /** Asks anew: what is under way may have begun before an invalidation that this fetch comes after. */
  getUserGuildsAnew(
    accessToken: string,
    options: {
      principal: string
      signal: AbortSignal
      priority?: 'page' | 'background'
      /** Trouble is tried again once, within the patience: where nothing is held that could be shown meanwhile. */
      onceMore?: boolean
    },
    sending?: Sending,
  ): Promise<RESTAPIPartialCurrentUserGuild[]>
  /** How long it is already known that a fetch for this user would be refused. */
  refusedForMs(path: string, principal: string): Milliseconds | undefined
}

/** A user, and the token that asks in their name. */
export interface GuildUser {
  readonly userId: string
  readonly accessToken: string
}

const GUILDS_PATH = '/users/@me/guilds'
/** What `live` accepts without asking again. */
const LIVE_MS: Milliseconds = 5_000

/**
 * One caller's question for a user's guilds, as the cache understands it: how old they may be, and how they are loaded.
 * A class and no closures, because ten thousand may ask at once and one loads.
 */
export class GuildRequest {
  /** Whether this request is the one that asked the source. */
  asked = false
  readonly codec = membershipsCodec
  readonly kept = true
  readonly freshMs: Milliseconds
  readonly staleMs: Milliseconds
  readonly keepMs: Milliseconds
  readonly #source: GuildSource
  readonly #user: GuildUser
  declare readonly refresh?: true
  declare readonly patienceMs?: Milliseconds
  declare readonly signal?: AbortSignal

  constructor(
    source: GuildSource,
    times: { readonly freshMs: Milliseconds; readonly staleMs: Milliseconds },
    user: GuildUser,
    { live, maxAgeMs = Number.POSITIVE_INFINITY, refresh, patienceMs, signal }: MembershipOptions,
  ) {
    this.#source = source
    this.#user = user
    const oldestMs = live ? Math.min(LIVE_MS, maxAgeMs) : maxAgeMs
    this.freshMs = Math.min(times.freshMs, oldestMs)
    this.staleMs = Math.min(times.staleMs, oldestMs)
    // That this caller wants to know more recently is no reason to take the list from the others.
    this.keepMs = times.staleMs
    if (refresh) {
      this.refresh = true
      this.freshMs = 0
      this.patienceMs = Number.POSITIVE_INFINITY
    }
    if (patienceMs !== undefined) this.patienceMs = patienceMs
    if (signal !== undefined) this.signal = signal
  }

  async load({
    signal,
    background,
    stale,
  }: {
    readonly signal: AbortSignal
    readonly background?: true
    /** The list that is being refreshed, where one is held. */
    readonly stale?: unknown
  }): Promise<GuildMemberships> {
    this.asked = true
    const { userId: principal, accessToken } = this.#user
    return membershipsFromDiscord(
      await this.#source.getUserGuildsAnew(accessToken, {
        principal,
        signal,
        onceMore: stale === undefined,
        ...(background && { priority: 'background' as const }),
      }),
    )
  }

  /** A token that lacks a scope says nothing about the user's guilds: the list stays for their other sessions. */
  purges(error: unknown): boolean {
    return !(error instanceof DiscordAPIError && error.status === 403)
  }

  refusedForMs(): Milliseconds | undefined {
    return this.#source.refusedForMs(GUILDS_PATH, this.#user.userId)
  }
}
