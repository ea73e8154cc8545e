import { checkedLater } from '../config/accepted.ts'
import { type OptionTable, optionsOf } from '../config/options.ts'
import { type Clock, type Milliseconds, systemClock } from '../time/clock.ts'
import type { InvalidLimit } from './invalid-requests.ts'
import type { Limit } from './limits.ts'
import { isRedirectUri } from './oauth/redirect-uris.ts'
import { isScope, OPEN_SCOPES } from './oauth/scopes.ts'
import { checkWorld, type SavedWorld } from './world/saved.ts'
import { checkUsers, type UserData } from './world/user-data.ts'

/** How the simulated Discord is set up. A bad value makes `startSimulator` reject with an error that names the option. */
export interface SimulatorOptions {
  /** TCP port. Default 0: a free one. */
  port?: number
  /** The address to listen at. Default 127.0.0.1; `0.0.0.0` lets other machines in, with no password. */
  host?: string
  /** The same seed gives the same users, guilds, tokens, keys and chances. Default 1. */
  seed?: number
  /** How many users there are, or who they are; what is not said of one is drawn. Default 10, at least 1. */
  users?: number | readonly UserData[]
  /** What `save()` gave: then `users`, `guildsPerUser` and `seed` are what they were there. */
  world?: unknown
  /** How many guilds each user is in. Default 20, at most 200, which is Discord's own limit. */
  guildsPerUser?: number
  /**
   * How long a call takes: half passes before the rule book looks at the request, half before the answer leaves. A
   * pair is a range, drawn from the seed. Default 0: no timer at all.
   */
  latencyMs?: Milliseconds | readonly [Milliseconds, Milliseconds]
  /** The limit of `GET /users/@me/guilds`, per user. Default 1 per 1000 ms, leaky, as observed. */
  userGuildsLimit?: Limit
  /** All calls of the bot together, in one-second windows. Default 50, as documented. `Infinity` switches it off. */
  botGlobalPerSecond?: number
  /** All calls of one user together, in one-second windows. Default 50 (Discord names no number). `Infinity`: off. */
  userGlobalPerSecond?: number
  /**
   * All calls without an Authorization header of one address together, the OAuth2 token endpoint's included, in
   * one-second windows. Default 50. `Infinity`: off.
   */
  addressGlobalPerSecond?: number
  /** Invalid requests per address before Cloudflare blocks it. Default 10 000 per 600 000 ms; `banMs` 3 600 000. */
  invalidLimit?: InvalidLimit
  /**
   * The redirect URIs that are registered; any other is refused, and so is one that differs in a character. Default:
   * none, and then any will do.
   */
  redirectUris?: readonly string[]
  /**
   * The OAuth2 scopes that the application may ask for; any other is `invalid_scope`. The users' first tokens have no
   * others either. Default: all that Discord gives without approving the application first.
   */
  scopes?: readonly string[]
  /** How long access tokens live. Default 604 800 000 (7 days), as documented. */
  tokenLifetimeMs?: Milliseconds
  /** How many calls `calls` keeps; when full, the oldest tenth is dropped. Default 1 000 000. 0: none. */
  maxCalls?: number
  /**
   * Whether API calls need a User-Agent of the documented form, `DiscordBot (…`. Default false: as at Discord, only
   * agents known to be blocked get the 403 with code 40333, and none at the OAuth2 endpoints.
   */
  requireUserAgent?: boolean
  /** Whether answers of a kilobyte and more are compressed for who accepts gzip, as Discord's are. Default false: it costs time. */
  compression?: boolean
  /** Where the simulator gets its time from. Default: the machine's. With a virtual clock every limit follows it. */
  clock?: Clock
}

/** Checked options with their defaults filled in. */
export interface Settings extends Required<Omit<SimulatorOptions, 'latencyMs' | 'invalidLimit' | 'world'>> {
  readonly world: SavedWorld | undefined
  readonly latencyMs: readonly [Milliseconds, Milliseconds]
  readonly invalidLimit: Required<InvalidLimit>
}

/** The options of `startSimulator`. Their values are checked where they are read. */
export const SIMULATOR_OPTIONS = optionsOf('startSimulator', {
  port: { means: 'where it listens', accepts: checkedLater('a port'), preset: '0, a free one' },
  host: { means: 'the address it listens at', accepts: checkedLater('an address'), preset: '127.0.0.1' },
  world: { means: 'what `save()` gave', accepts: checkedLater('a saved world') },
  compression: { means: 'compresses large answers', accepts: checkedLater('true or false'), preset: 'false' },
  seed: { means: 'the same seed, the same world', accepts: checkedLater('a whole number'), preset: '1' },
  users: { means: 'how many users, or who', accepts: checkedLater('a number, or a list of users'), preset: '10' },
  guildsPerUser: { means: 'guilds of each user', accepts: checkedLater('0 to 200'), preset: '20' },
  latencyMs: { means: 'how long a call takes', accepts: checkedLater('milliseconds, or a pair'), preset: '0' },
  userGuildsLimit: {
    means: 'the limit of GET /users/@me/guilds',
    accepts: checkedLater('{ limit, windowMs, kind }'),
    preset: '1 in 1000 ms, leaky',
  },
  botGlobalPerSecond: { means: 'calls of the bot a second', accepts: checkedLater('a number'), preset: '50' },
  userGlobalPerSecond: { means: 'calls of a user a second', accepts: checkedLater('a number'), preset: '50' },
  addressGlobalPerSecond: {
    means: 'calls of an address a second, without a token',
    accepts: checkedLater('a number'),
    preset: '50',
  },
  invalidLimit: {
    means: 'invalid requests before a ban',
    accepts: checkedLater('{ count, windowMs, banMs }'),
    preset: '10000 in 600000 ms',
  },
  redirectUris: { means: 'what is registered', accepts: checkedLater('a list of URIs'), preset: 'any will do' },
  scopes: { means: 'what may be asked for', accepts: checkedLater('a list of scopes'), preset: "Discord's open ones" },
  tokenLifetimeMs: { means: 'how long access tokens live', accepts: checkedLater('milliseconds'), preset: '604800000' },
  maxCalls: { means: 'calls that are remembered', accepts: checkedLater('a whole number'), preset: '1000000' },
  requireUserAgent: {
    means: 'refuses other User-Agents than the documented form',
    accepts: checkedLater('true or false'),
    preset: 'false',
  },
  clock: { means: 'its time', accepts: checkedLater('a Clock'), preset: "the machine's" },
} satisfies OptionTable<keyof SimulatorOptions>)

/** Fills in the defaults. Throws a ConfigError for what is no option, else a TypeError or RangeError that names the option and says what it accepts. */
export function checkedSettings(options: SimulatorOptions): Settings {
  SIMULATOR_OPTIONS.check(options)
  const { latencyMs = 0, userGuildsLimit = { limit: 1, windowMs: 1000, kind: 'leaky' }, clock = systemClock } = options
  const range = typeof latencyMs === 'number' ? ([latencyMs, latencyMs] as const) : latencyMs
  if (!Array.isArray(range) || range.length !== 2 || !range.every((ms) => isFrom(ms, 0)) || range[0]! > range[1]!)
    throw new RangeError(`latencyMs must be 0 or more milliseconds, or a pair [least, most], not ${show(latencyMs)}`)
  if (userGuildsLimit.kind !== 'fixed' && userGuildsLimit.kind !== 'leaky')
    throw new TypeError(`userGuildsLimit.kind must be 'fixed' or 'leaky', not ${show(userGuildsLimit.kind)}`)
  whole('userGuildsLimit.limit', userGuildsLimit.limit, 1)
  positiveMs('userGuildsLimit.windowMs', userGuildsLimit.windowMs)
  const { count = 10_000, windowMs = 600_000, banMs = 3_600_000 } = options.invalidLimit ?? {}
  if (typeof clock.now !== 'function' || typeof clock.monotonic !== 'function' || typeof clock.sleep !== 'function')
    throw new TypeError('clock must have now(), monotonic() and sleep(ms, signal); createVirtualClock() makes one')
  const { requireUserAgent = false } = options
  if (typeof requireUserAgent !== 'boolean')
    throw new TypeError(`requireUserAgent must be true or false, not ${show(requireUserAgent)}`)

  const { users = 10, world, host = '127.0.0.1', compression = false } = options
  if (typeof compression !== 'boolean')
    throw new TypeError(`compression must be true or false, not ${show(compression)}`)
  if (typeof host !== 'string' || host === '') throw new TypeError(`host must be an address, not ${show(host)}`)
  if (Array.isArray(users)) {
    checkUsers(users)
    if (users.length === 0) throw new RangeError('users must be a list of at least one')
  } else whole('users', users as number, 1, 1_000_000)
  if (world !== undefined) {
    checkWorld(world)
    for (const name of ['users', 'guildsPerUser', 'seed'] as const)
      if (options[name] !== undefined)
        throw new TypeError(`${name} is what it was in the saved world: leave one of them out`)
  }
  const { redirectUris = [], scopes = OPEN_SCOPES } = options
  texts('redirectUris', redirectUris, isRedirectUri, 'absolute URLs without a fragment')
  texts('scopes', scopes, isScope, 'scopes of Discord')

  return {
    redirectUris: [...redirectUris],
    scopes: [...scopes],
    port: whole('port', options.port ?? 0, 0, 65_535),
    host,
    compression,
    world,
    seed: world?.seed ?? whole('seed', options.seed ?? 1, Number.MIN_SAFE_INTEGER),
    users: world?.users ?? users,
    guildsPerUser: whole('guildsPerUser', options.guildsPerUser ?? 20, 0, 200),
    latencyMs: [range[0]!, range[1]!],
    userGuildsLimit: { ...userGuildsLimit },
    botGlobalPerSecond: wholeOrInfinite('botGlobalPerSecond', options.botGlobalPerSecond ?? 50),
    userGlobalPerSecond: wholeOrInfinite('userGlobalPerSecond', options.userGlobalPerSecond ?? 50),
    addressGlobalPerSecond: wholeOrInfinite('addressGlobalPerSecond', options.addressGlobalPerSecond ?? 50),
    invalidLimit: {
      count: wholeOrInfinite('invalidLimit.count', count),
      windowMs: positiveMs('invalidLimit.windowMs', windowMs),
      banMs: positiveMs('invalidLimit.banMs', banMs),
    },
    tokenLifetimeMs: positiveMs('tokenLifetimeMs', options.tokenLifetimeMs ?? 604_800_000),
    maxCalls: whole('maxCalls', options.maxCalls ?? 1_000_000, 0),
    requireUserAgent,
    clock,
  }
}

function whole(name: string, value: number, least: number, most = Number.MAX_SAFE_INTEGER): number {
  if (Number.isInteger(value) && value >= least && value <= most) return value
  const upTo = most === Number.MAX_SAFE_INTEGER ? 'or more' : `to ${most}`
  const rule = least === Number.MIN_SAFE_INTEGER ? 'a whole number' : `a whole number, ${least} ${upTo}`
  throw new RangeError(`${name} must be ${rule}, not ${show(value)}`)
}

function texts(name: string, list: unknown, fits: (text: string) => boolean, what: string): void {
  if (!Array.isArray(list)) throw new TypeError(`${name} must be a list of ${what}, not ${show(list)}`)
  for (const text of list)
    if (typeof text !== 'string' || !fits(text)) throw new TypeError(`${name} must be ${what}, not ${show(text)}`)
}

function wholeOrInfinite(name: string, value: number): number {
  if (value === Infinity || (Number.isInteger(value) && value >= 1)) return value
  throw new RangeError(`${name} must be a whole number, 1 or more, or Infinity, not ${show(value)}`)
}

function positiveMs(name: string, value: number): Milliseconds {
  if (isFrom(value, 0) && value > 0) return value
  throw new RangeError(`${name} must be a finite number of milliseconds above 0, not ${show(value)}`)
}

function isFrom(value: unknown, least: number): boolean {
  return typeof value === 'number' && Number.isFinite(value) && value >= least
}

function show(value: unknown): string {
  return typeof value === 'number' ? String(value) : String(JSON.stringify(value))
}
