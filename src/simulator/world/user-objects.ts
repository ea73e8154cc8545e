import type { APIGuildMember, APIUser } from 'discord-api-types/v10'
import { NO_FLAGS } from './guild.ts'
import { createRandom, HEX } from './random.ts'
import type { UserData } from './user-data.ts'

/** Whoever can write, join and be shown: a user, the bot, a webhook. */
export interface Somebody {
  readonly id: string
  readonly username: string
  readonly bot?: boolean
  readonly data?: UserData | undefined
}

/** One user's membership of one guild, as kept. */
export interface Member {
  roles: string[]
  nick: string | null
  joinedAt: string
  timeoutUntil: string | null
}

/** The user object as others see it. */
export function toPublicUser(somebody: Somebody): APIUser {
  const { id, username, bot, data } = somebody
  const drawn = () => createRandom(Number(id.slice(-6)), 'avatar').letters(32, HEX)
  return {
    id,
    username,
    avatar: data?.avatar === undefined ? (bot ? null : drawn()) : data.avatar,
    discriminator: bot ? id.slice(-4).padStart(4, '1') : '0',
    public_flags: NO_FLAGS,
    flags: NO_FLAGS,
    banner: data?.banner ?? null,
    accent_color: data?.accent_color ?? null,
    global_name: data?.global_name === undefined ? (bot ? null : displayed(username)) : data.global_name,
    avatar_decoration_data: null,
    collectibles: null,
    primary_guild: null,
    ...(bot ? { bot } : {}),
  }
}

/** Seeded names are `amber_otter_0`; any other is shown as it is. */
function displayed(username: string): string {
  return /^[a-z]+_[a-z]+_\d+$/.test(username) ? username.split('_', 2).join(' ') : username
}

/** The user object as `GET /users/@me` gives it; `email` and `verified` only with the scope `email`. */
export function toUser(user: Somebody, scopes: ReadonlySet<string>): APIUser {
  const { data } = user
  const email = data?.email === undefined ? `${user.username}@example.com` : data.email
  return {
    ...toPublicUser(user),
    mfa_enabled: data?.mfa_enabled ?? true,
    locale: data?.locale ?? 'en-US',
    premium_type: data?.premium_type ?? 0,
    ...(scopes.has('email') ? { email, verified: data?.verified ?? email !== null } : {}),
  }
}

/** The bot's own user object. */
export function toBotUser(bot: Somebody): APIUser {
  return { ...toPublicUser(bot), mfa_enabled: true, locale: 'en-US', premium_type: 0, email: null, verified: true }
}

export function toMember(user: Somebody, member: Member): APIGuildMember {
  return {
    avatar: null,
    banner: null,
    communication_disabled_until: member.timeoutUntil,
    flags: NO_FLAGS,
    joined_at: member.joinedAt,
    nick: member.nick,
    pending: false,
    premium_since: null,
    roles: member.roles,
    user: toPublicUser(user),
    mute: false,
    deaf: false,
  }
}
