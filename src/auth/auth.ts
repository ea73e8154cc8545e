import type { MembershipResult } from '../guilds/membership-result.ts'
import type { GuildMembership, GuildMemberships } from '../guilds/memberships.ts'
import type { Session } from '../sessions/session.ts'

/** The user of a request. */
export interface AuthUser {
  readonly id: string
  /** As the sign-in or the bearer look-up saw them; absent where a session of your own does not tell. */
  readonly username?: string
  readonly globalName?: string | null
  /** The hash of the user's avatar; null where they have none. */
  readonly avatar?: string | null
}

/** Who asks, and what they may see. */
export interface Auth {
  readonly user: AuthUser
  readonly guilds: GuildMemberships
  /** Whether the guilds are older than their fresh time because they could not be fetched anew. */
  readonly stale: boolean
  /** When the fetch that brought the guilds began; every age counts from it. */
  readonly guildsFetchedAt: Date
  /** Where the guilds were found; `load` is Discord itself. */
  readonly source: MembershipResult['source']
  /** Why they are stale. */
  readonly reason?: 'throttled' | 'unavailable' | 'slow'
  /** When Discord will be asked again, where that is known. */
  readonly retryAt?: Date
  /** The guild that `guild` named and that was checked. */
  readonly guild?: GuildMembership
}

/** An `Auth` that JSON can carry: `Response.json(auth)` writes permissions as decimal strings, as Discord does. */
export class AuthOfRequest implements Auth {
  readonly user: AuthUser
  readonly guilds: GuildMemberships
  readonly stale: boolean
  readonly guildsFetchedAt: Date
  readonly source: MembershipResult['source']
  declare readonly reason?: NonNullable<Auth['reason']>
  declare readonly retryAt?: Date
  declare readonly guild?: GuildMembership

  constructor(user: AuthUser, memberships: MembershipResult, guild: GuildMembership | undefined) {
    this.user = user
    this.guilds = memberships.guilds
    this.stale = memberships.stale
    this.guildsFetchedAt = memberships.fetchedAt
    this.source = memberships.source
    if (memberships.reason !== undefined) this.reason = memberships.reason
    if (memberships.retryAt !== undefined) this.retryAt = memberships.retryAt
    if (guild !== undefined) this.guild = guild
  }
}

/** The user as a session tells of them. */
export function userOf({ userId, username, globalName, avatar }: Session): AuthUser {
  const user: { -readonly [Name in keyof AuthUser]: AuthUser[Name] } = { id: userId }
  if (username !== undefined) user.username = username
  if (globalName !== undefined) user.globalName = globalName
  if (avatar !== undefined) user.avatar = avatar
  return user
}
