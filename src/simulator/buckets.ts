import type { Limit } from './limits.ts'
import { createRandom, HEX } from './random.ts'
import type { BucketName } from './routes.ts'

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
 * | guild | GET /guilds/:guild | 10 per 10 s and guild, leaky |
 * | guild member | GET /guilds/:guild/members/:user | 5 per 1 s and guild, leaky |
 * | member role | PUT /guilds/:guild/members/:user/roles/:role | 10 per 10 s and guild, fixed |
 * | channel messages | GET and POST /channels/:channel/messages | 5 per 1 s and channel, fixed, one for both methods |
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
