import type { Limit } from './limits.ts'
import type { BucketName } from './route-table.ts'
import { createRandom, HEX } from './world/random.ts'

/** One bucket: its limit for users and for bots, and the opaque id that X-RateLimit-Bucket shows to everybody. */
export interface Bucket {
  readonly user: Limit
  readonly bot: Limit
  readonly hash: string
}

/**
 * The limits that the simulator keeps, each per principal and per top-level resource. Discord documents none of the
 * numbers: the first is observed and can be set; `own member` is only known to be strict; the others are round figures
 * of the right size.
 *
 * | bucket | routes | limit |
 * |---|---|---|
 * | user guilds | GET /users/@me/guilds | `userGuildsLimit` per user; bots 5 per 5 s, leaky |
 * | own member | GET /users/@me/guilds/:guild/member | 5 per 30 s, leaky |
 * | guild | /guilds/:guild, its channels, roles, bans, members as a list, webhooks | 10 per 10 s and guild, leaky |
 * | guild member | /guilds/:guild/members/:user, GET /users/:user | 5 per 1 s and guild, leaky |
 * | member role | PUT and DELETE /guilds/:guild/members/:user/roles/:role | 10 per 10 s and guild, fixed |
 * | channel messages | GET and POST /channels/:channel/messages | 5 per 1 s and channel, fixed, one for both methods |
 * | channel | /channels/:channel, its permissions, webhooks, typing | 5 per 5 s and channel, leaky |
 * | message edit | GET and PATCH /channels/:channel/messages/:message | 5 per 1 s and channel, leaky |
 * | message delete | DELETE the same, bulk-delete | 5 per 1 s and channel, leaky |
 * | reactions | …/reactions/… | 1 per 250 ms and channel, fixed |
 * | webhook | /webhooks/… | 5 per 2 s, webhook and token, fixed |
 * | commands | /applications/… /commands | 20 per 20 s, leaky |
 *
 * `GET /users/@me`, `GET /oauth2/@me` and `GET /applications/@me` have none but the global limit, and no headers.
 */
export function createBuckets(userGuilds: Limit): Readonly<Record<BucketName, Bucket>> {
  return {
    'user guilds': bucket('user guilds', userGuilds, { limit: 5, windowMs: 5000, kind: 'leaky' }),
    'own member': bucket('own member', { limit: 5, windowMs: 30_000, kind: 'leaky' }),
    guild: bucket('guild', { limit: 10, windowMs: 10_000, kind: 'leaky' }),
    'guild member': bucket('guild member', { limit: 5, windowMs: 1000, kind: 'leaky' }),
    'member role': bucket('member role', { limit: 10, windowMs: 10_000, kind: 'fixed' }),
    channel: bucket('channel', { limit: 5, windowMs: 5000, kind: 'leaky' }),
    'message edit': bucket('message edit', { limit: 5, windowMs: 1000, kind: 'leaky' }),
    'message delete': bucket('message delete', { limit: 5, windowMs: 1000, kind: 'leaky' }),
    reactions: bucket('reactions', { limit: 1, windowMs: 250, kind: 'fixed' }),
    webhook: bucket('webhook', { limit: 5, windowMs: 2000, kind: 'fixed' }),
    commands: bucket('commands', { limit: 20, windowMs: 20_000, kind: 'leaky' }),
    'channel messages': bucket('channel messages', { limit: 5, windowMs: 1000, kind: 'fixed' }),
  }
}

function bucket(name: string, user: Limit, bot = user): Bucket {
  return { user, bot, hash: bucketHash(name) }
}

/** The same on every machine and for every seed, as Discord's are the same for every user. */
export function bucketHash(name: string): string {
  return createRandom(0, `bucket ${name}`).letters(32, HEX)
}
