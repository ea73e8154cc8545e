import {
  type Accepted,
  aFunction,
  anyOf,
  checkedLater,
  listOf,
  milliseconds,
  text,
  yesOrNo,
} from '../config/accepted.ts'
import { type OptionTable, optionsOf } from '../config/options.ts'
import { ConfigError } from '../errors/errors.ts'
import type { GuildMembership } from '../guilds/memberships.ts'
import { type PermissionName, permissionBit } from '../guilds/permissions.ts'
import type { AuthRequest } from '../sessions/session.ts'
import type { Milliseconds } from '../time/clock.ts'
import type { Auth } from './auth.ts'

/** A guild: its id, or how to find it (route parameters arrive as further arguments). */
export type GuildOfRequest =
  | string
  // biome-ignore lint/suspicious/noExplicitAny: route parameters have the framework's types
  | ((request: AuthRequest, ...rest: any[]) => string | null | undefined | Promise<string | null | undefined>)

/** What a route asks for. */
export interface RequireAuthOptions {
  /**
   * A guild the user must be in: its id, or how to find it (route parameters arrive as further arguments). A function
   * that finds null, undefined or '' never passes: 403. `guild: undefined` and `guild: ''` are a ConfigError.
   */
  guild?: GuildOfRequest
  /** Permissions the user must have in `guild`, all of them. Without `guild`, undefined or empty a ConfigError. */
  permissions?: PermissionName | readonly PermissionName[]
  /**
   * The oldest memberships accepted, in milliseconds from their fetch. Default: the stale time for GET and HEAD, 5 minutes
   * for other methods and for a request that names none. The identity behind a bearer token may be no older either.
   */
  maxAgeMs?: Milliseconds
  /** Only memberships fetched in the last 5 s, or confirmed with the bot token; else 503 with Retry-After. */
  live?: boolean
  /** False where a route only needs the user. With `live` or `maxAgeMs`, Discord must have accepted the token within that time. Default true. */
  guilds?: boolean
}

/** What `requireAuth` resolves to for these options: with `guild`, that guild; with `guilds: false`, the user alone. */
export type AuthFor<Options> = [Options] extends [{ guild: GuildOfRequest }]
  ? Auth & { readonly guild: GuildMembership }
  : [Options] extends [{ guilds: false }]
    ? Pick<Auth, 'user'>
    : Auth

/** Refuses at compile time what is refused at run time: permissions that no guild is named for. */
export type Consistent<Options> = [Options] extends [{ permissions: PermissionName | readonly PermissionName[] }]
  ? [Options] extends [{ guild: GuildOfRequest }]
    ? Options
    : Options & { guild: GuildOfRequest }
  : Options

const aPermission: Accepted = text("a permission's name, for example 'ManageGuild'")

/** The options of `requireAuth` and `withAuth`. What decides access is refused where it is there and undefined. */
export const REQUIRE_AUTH_OPTIONS = optionsOf('requireAuth', {
  guild: {
    means: 'a guild the user must be in',
    accepts: anyOf(text("a guild's id"), aFunction('a function of the request that finds it')),
    refuseUndefined: true,
  },
  permissions: {
    means: 'permissions the user must have in `guild`, all of them',
    // Which names there are is checked with the bits: the message then names the wrong one.
    accepts: anyOf(aPermission, listOf(checkedLater('permission names'), { min: 1 })),
    refuseUndefined: true,
  },
  maxAgeMs: {
    means: 'oldest memberships accepted, from their fetch; a bearer token’s identity may be no older either',
    accepts: milliseconds(),
    preset: 'the stale time for GET and HEAD, else 5 minutes',
    refuseUndefined: true,
  },
  live: {
    means: 'fetched in the last 5 s, or confirmed with the bot token',
    accepts: yesOrNo,
    preset: 'false',
    refuseUndefined: true,
  },
  guilds: { means: 'false where a route only needs the user', accepts: yesOrNo, preset: 'true', refuseUndefined: true },
} satisfies OptionTable<keyof RequireAuthOptions>)

/** All bits that `permissions` asks for. Throws ConfigError for what a route must not ask for; nobody was asked anything yet. */
export function neededBits(options: RequireAuthOptions): bigint {
  REQUIRE_AUTH_OPTIONS.check(options)
  const { permissions } = options
  if (permissions === undefined) return 0n
  if (options.guild === undefined)
    throw new ConfigError(
      'permissions',
      'requireAuth: permissions need a guild to be checked in; give the option guild too',
    )
  if (typeof permissions === 'string') return permissionBit(permissions)
  let bits = 0n
  // By index, not by iteration: what the list is asked for is what it was checked for.
  for (let index = 0; index < permissions.length; index++) bits |= permissionBit(permissions[index]!)
  return bits
}
