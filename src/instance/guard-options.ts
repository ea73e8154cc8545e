import {
  aFunction,
  anObject,
  anyOf,
  checkedLater,
  listOf,
  oneOf,
  text,
  wholeNumber,
  yesOrNo,
} from '../config/accepted.ts'
import { CLOCK_OPTION, LOGGER_OPTION, SECRET_OPTION } from '../config/holdfast-options.ts'
import { type OptionTable, optionsOf } from '../config/options.ts'
import { REDIS_OPTION, type RedisOptions } from '../config/redis.ts'
import type { HoldfastEvent, Logger } from '../events/events.ts'
import type { CallerList } from '../guard/caller-lists.ts'
import type { GuardRequest } from '../guard/guard-request.ts'
import type { Identify, OwnKey, Skip } from '../guard/identification.ts'
import type { HeaderChoice } from '../guard/limit-headers.ts'
import type { SheddingOptions } from '../guard/load-shedding.ts'
import type { OwnRefusal } from '../guard/refused.ts'
import type { RuleOption } from '../guard/rules.ts'
import { TRUST_PROXY_WORDS, type TrustProxy } from '../guard/trusted-proxies.ts'
import type { Clock } from '../time/clock.ts'
import type { Holdfast } from './holdfast.ts'

/** How a guard is made. Times are milliseconds. */
export interface GuardOptions {
  /** Shares its Redis connection, secret, logger, clock and events, and identifies callers by its sessions. */
  holdfast?: Holdfast
  /** False lets everything pass, unread and uncounted. Default true. */
  enabled?: boolean
  /** Processes that share the load: while Redis is away each lets in its share of a limit that is `local`. Default 1. */
  instances?: number
  /**
   * Route pattern (`/api/concepts/:id`, `/api/*`, `POST /api/chat`) → its limits, taken together or not at all. The most
   * specific pattern wins, in any case of letters; what none means has the default rule, from the `RATE_LIMIT_*`
   * variables. A rule for `*` stands in for that. A function gets who is asking (`{}` for nobody) and gives limits: by
   * plan, for example. It is called at each request, and once when the guard is made.
   */
  rules?: Readonly<Record<string, RuleOption>>
  /** Paths and patterns without limits. Letters count. Default none. */
  publicPaths?: readonly string[]
  /** Where the API is, with everything below, in any case of letters. Default `/api`. */
  apiPrefixes?: readonly string[]
  /** Paths that are answered whatever happens, also under load. Default `/health`, `/healthz`, `/livez`, `/readyz`, `/api/health`. */
  healthPaths?: readonly string[]
  /**
   * Who stands in front, and so whose word about a caller's address is taken: nobody, the machine itself, a platform, so
   * many hops, or these addresses and networks. Default nobody, or in Express and Fastify what the app's own setting says.
   */
  trustProxy?: TrustProxy
  /** The caller's address where the framework or platform knows better: taken as it is. Undefined leaves it to `trustProxy`. */
  remoteAddress?: (request: GuardRequest) => string | undefined
  /** These requests are not limited. What it throws, and an answer that takes 5 s, limits. */
  skip?: Skip
  /** Never limited: addresses, networks (`10.0.0.0/8`) and users. Load is still shed. */
  allow?: CallerList
  /** Always refused, with 403 FORBIDDEN and no Retry-After. Before `allow`. */
  deny?: CallerList
  /** Counts a caller under a key of one's own instead of user, session or address; undefined leaves it at those. Verified only. */
  key?: OwnKey
  /** Decides, counts and tells, but refuses nothing: what would have been refused passes, and is charged nowhere. Default false. */
  dryRun?: boolean
  /** A refusal in the app's own words, page or language; undefined keeps ours. Status and headers stay. */
  refusal?: OwnRefusal
  /** Origins (`https://app.example`) whose pages may read refusals, where the guard stands in front of the app's CORS headers. Default none. */
  corsOrigins?: readonly string[]
  /**
   * How many times a limit the addresses of one IPv6 /56, and of one /48, may use together, in this process; false for no
   * such limit. Default `{ per56: 8, per48: 20 }`.
   */
  ipv6Networks?: false | { per56?: number; per48?: number }
  /** Statuses whose request is given back. Default 409. */
  refundOn?: readonly number[]
  /** When to turn requests away because of load; false never does. Defaults as `SheddingOptions` says. */
  shedding?: false | SheddingOptions
  /** Requests a minute from one address before anyone is known, for `arrive`. Default ten times the most that a rule lets an anonymous caller do in a minute. */
  addressPerMinute?: number
  /** Headers with the caller's limits on every answer; `Retry-After` is always there. Default both. */
  headers?: boolean | Partial<HeaderChoice>
  /** Callers of each kind (users, sessions, keys, addresses) held in memory; when all places are taken by callers who have used much, newcomers share counters. Default 200 000. */
  maxCallers?: number
  /** Where processes share their counters. Default REDIS_URL, or the instance's own. */
  redis?: string | RedisOptions
  /** Names callers in Redis and addresses in events. Default HOLDFAST_SECRET; without one, names end with the process. */
  secret?: string | readonly string[]
  logger?: Logger
  clock?: Clock
  on?: (event: HoldfastEvent) => void
  /** Who is asking: verified only, or made-up cookies would buy fresh allowances. Default the sessions of `holdfast`. */
  identify?: Identify
}

const PATHS = listOf(text('a path', /^\//))
const WATERMARKS = (words: string) => checkedLater(`[enter, leave], ${words}`)

const SHEDDING = {
  heap: { means: "shares of V8's heap limit", accepts: WATERMARKS('shares up to 1'), preset: '[0.9, 0.8]' },
  memory: {
    means: "shares of the container's memory limit, page cache not counted",
    accepts: WATERMARKS('shares up to 1'),
    preset: '[0.9, 0.8]',
  },
  eventLoopP99Ms: {
    means: 'how late the event loop is, at the 99th percentile of half a second; entered by two in a row',
    accepts: WATERMARKS('milliseconds'),
    preset: '[250, 100]',
  },
  maxInFlight: {
    means: 'requests under way at once; from 80 % on anonymous pages and from 90 % anonymous API calls are turned away',
    accepts: wholeNumber(1),
    preset: 'any number',
  },
} satisfies OptionTable<keyof SheddingOptions>

const LIST = {
  addresses: { means: 'addresses and networks', accepts: listOf(text('an address or a network')) },
  users: { means: 'ids of users', accepts: listOf(text('an id')) },
} satisfies OptionTable<keyof CallerList>

/** What a guard takes, and so what every door's guard takes. */
export const GUARD_TABLE = {
  holdfast: {
    means: 'the instance whose Redis, secret, logger, clock, events and sessions it shares',
    accepts: anObject('an instance'),
  },
  enabled: { means: 'false lets everything pass, unread and uncounted', accepts: yesOrNo, preset: 'true' },
  rules: {
    means:
      'route pattern → limits, a list of them, or a function of who is asking ([the guide](../guides/rate-limits.md))',
    accepts: checkedLater("an object such as { '/api/*': '60/minute' }"),
    preset: 'the default rule',
  },
  publicPaths: { means: 'paths and patterns without limits; letters count', accepts: PATHS, preset: 'none' },
  apiPrefixes: { means: 'where the API is, with everything below', accepts: PATHS, preset: '/api' },
  healthPaths: {
    means: 'paths that are answered whatever happens, also under load',
    accepts: PATHS,
    preset: '/health, /healthz, /livez, /readyz, /api/health',
  },
  trustProxy: {
    means: "whose word about a caller's address is taken",
    accepts: checkedLater(TRUST_PROXY_WORDS),
    preset: 'false',
  },
  remoteAddress: {
    means: "the caller's address, where framework or platform know better",
    accepts: aFunction('a function of the request'),
  },
  identify: {
    means: 'who is asking, verified',
    accepts: aFunction('a function of the request'),
    preset: 'the sessions of `holdfast`',
  },
  key: {
    means: 'what a caller is counted under instead',
    accepts: aFunction('a function of the request and who is asking'),
  },
  skip: {
    means: 'which requests are not limited',
    accepts: aFunction('a function of the request and who is asking'),
    preset: 'none',
  },
  allow: { means: 'who is never limited', accepts: anObject(), within: LIST },
  deny: { means: 'who is always refused (403)', accepts: anObject(), within: LIST },
  dryRun: { means: 'decide, count and tell, but refuse nothing', accepts: yesOrNo, preset: 'false' },
  refusal: {
    means: 'a refusal in words of your own',
    accepts: aFunction('a function of what was refused and the request'),
  },
  corsOrigins: {
    means: 'origins whose pages may read refusals',
    accepts: listOf(text('an origin such as https://app.example', /^https?:\/\/[^/]+$/)),
    preset: 'none',
  },
  refundOn: { means: 'statuses whose request is given back', accepts: listOf(wholeNumber(100, 599)), preset: '409' },
  shedding: {
    means: 'when to turn requests away because of load; false never does',
    accepts: anyOf(oneOf(false), anObject()),
    within: SHEDDING,
  },
  ipv6Networks: {
    means: 'what the addresses of an IPv6 network may do together, as multiples of a limit; false for no such limit',
    accepts: anyOf(oneOf(false), anObject()),
    within: {
      per56: { means: 'of a /56', accepts: wholeNumber(1, 1_000_000, 'times'), preset: '8' },
      per48: { means: 'of a /48', accepts: wholeNumber(1, 1_000_000, 'times'), preset: '20' },
    },
  },
  addressPerMinute: {
    means: 'requests a minute from one address before anyone is known, for `arrive`',
    accepts: wholeNumber(1, 1_000_000_000),
    preset: 'ten times the most that a rule lets an anonymous caller do in a minute',
  },
  maxCallers: {
    means: 'callers of each kind held in memory',
    accepts: wholeNumber(1, 10_000_000),
    preset: '200000',
  },
  instances: {
    means: 'processes that share the load: while Redis is away each lets in its share of a limit that is `local`',
    accepts: wholeNumber(1, 100_000),
    preset: '1',
  },
  headers: {
    means: "headers with the caller's limits on every answer",
    accepts: anyOf(yesOrNo, anObject()),
    preset: 'true',
    within: {
      rateLimit: { means: '`RateLimit` and `RateLimit-Policy`', accepts: yesOrNo, preset: 'true' },
      xRateLimit: { means: '`X-RateLimit-Limit`, `-Remaining`, `-Reset`', accepts: yesOrNo, preset: 'true' },
    },
  },
  redis: REDIS_OPTION,
  secret: SECRET_OPTION,
  logger: LOGGER_OPTION,
  clock: CLOCK_OPTION,
  on: { means: 'hears the events of the guard', accepts: aFunction('a function of an event') },
} satisfies OptionTable<keyof GuardOptions>

/** The options of `createGuard`. */
export const GUARD_OPTIONS = optionsOf('createGuard', GUARD_TABLE)
