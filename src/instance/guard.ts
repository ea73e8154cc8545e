import { AuthError } from '../auth/auth-error.ts'
import { readRateLimit } from '../config/rate-limit.ts'
import type { RedisOptions } from '../config/redis.ts'
import { ConfigError } from '../errors/errors.ts'
import type { HoldfastEvent, Logger } from '../events/events.ts'
import { API_PREFIXES } from '../guard/classify.ts'
import { readTrustedPeers } from '../guard/client-address.ts'
import { type Guard, type Identify, RequestGuard } from '../guard/guard.ts'
import type { GuardRequest } from '../guard/guard-request.ts'
import type { HeaderChoice } from '../guard/limit-headers.ts'
import { LoadShedding, type SheddingOptions } from '../guard/load-shedding.ts'
import { MemoryCounters } from '../guard/memory-counters.ts'
import { OpenGuard } from '../guard/open-guard.ts'
import { PathList } from '../guard/patterns.ts'
import { Routes } from '../guard/routes.ts'
import { type Limit, Rules } from '../guard/rules.ts'
import { GuardCounters } from '../redis/guard-counters.ts'
import type { Clock, Milliseconds } from '../time/clock.ts'
import { Beside } from './beside.ts'
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
   * variables. A rule for `*` stands in for that.
   */
  rules?: Readonly<Record<string, Limit | readonly Limit[]>>
  /** Paths and patterns without limits. Letters count. Default none. */
  publicPaths?: readonly string[]
  /** Where the API is, with everything below, in any case of letters. Default `/api`. */
  apiPrefixes?: readonly string[]
  /** Paths that are answered whatever happens, also under load. Default `/health`, `/healthz`, `/livez`, `/readyz`, `/api/health`. */
  healthPaths?: readonly string[]
  /** Whose `X-Forwarded-For` is believed: nobody's, the machine's own, or that of these addresses and networks. Default false. */
  trustProxy?: false | 'loopback' | readonly string[]
  /** Statuses whose request is given back. Default 409. */
  refundOn?: readonly number[]
  /** When to turn requests away because of load; false never does. Defaults as `SheddingOptions` says. */
  shedding?: false | SheddingOptions
  /** Requests a minute from one address before anyone is known, for `arrive`. Default ten times the most that a rule lets an anonymous caller do in a minute. */
  addressPerMinute?: number
  /** Headers with the caller's limits on every answer; `Retry-After` is always there. Default both. */
  headers?: boolean | Partial<HeaderChoice>
  /** Callers of each kind (users, sessions, addresses) held in memory; who comes beyond shares one counter. Default 200 000. */
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

const HEALTH_PATHS: readonly string[] = ['/health', '/healthz', '/livez', '/readyz', '/api/health']
const REFUND_ON: readonly number[] = [409]
const MAX_CALLERS = 200_000
const MINUTE: Milliseconds = 60_000
const MOST = 1_000_000_000

/**
 * Makes a guard: rate limits and load shedding for your own routes. In memory, or in Redis for all processes.
 * Throws ConfigError for the first option or variable that cannot be used. Nothing keeps the process alive but an own
 * Redis connection that is being opened.
 */
export function createGuard(options: GuardOptions = {}): Guard {
  if (typeof options !== 'object' || options === null)
    throw new ConfigError('options', 'createGuard takes an object of options')
  const [unknown] = Object.keys(options).filter((name) => !KNOWN.has(name))
  if (unknown !== undefined)
    throw new ConfigError(unknown, `createGuard has no option ${unknown}; it has ${[...KNOWN].join(', ')}`)
  const beside = new Beside(options)
  const { clock, logger, events } = beside
  const rules = new Rules(options.rules, readRateLimit())
  const apiPrefixes = list('apiPrefixes', options.apiPrefixes, API_PREFIXES)
  for (const prefix of apiPrefixes)
    if (typeof prefix !== 'string' || !prefix.startsWith('/'))
      throw new ConfigError('apiPrefixes', `apiPrefixes: ${JSON.stringify(prefix)} does not begin with a slash`)
  const refundOn = list('refundOn', options.refundOn, REFUND_ON)
  for (const status of refundOn)
    if (!Number.isInteger(status) || status < 100 || status > 599)
      throw new ConfigError('refundOn', `refundOn: ${JSON.stringify(status)} is no status`)
  const routes = new Routes(
    rules,
    new PathList(options.healthPaths ?? HEALTH_PATHS, 'healthPaths'),
    new PathList(options.publicPaths ?? [], 'publicPaths'),
  )
  const perMinute = whole('addressPerMinute', options.addressPerMinute, ceilingPerMinute(rules), MOST)
  const maxCallers = whole('maxCallers', options.maxCallers, MAX_CALLERS, 100_000_000)
  const instances = whole('instances', options.instances, 1, 100_000)
  const trusted = readTrustedPeers(options.trustProxy)
  const headers = readHeaders(options.headers)
  if (options.identify !== undefined && typeof options.identify !== 'function')
    throw new ConfigError('identify', 'identify must be a function')
  if (options.on !== undefined && typeof options.on !== 'function') throw new ConfigError('on', 'on must be a function')
  if (options.enabled !== undefined && typeof options.enabled !== 'boolean')
    throw new ConfigError('enabled', 'enabled must be true or false')
  if (options.enabled === false) return new OpenGuard(apiPrefixes)
  const redis = beside.redis(options.redis)
  const shedding = options.shedding === false ? undefined : new LoadShedding(options.shedding ?? {}, clock)
  const { on } = options
  const leave =
    on &&
    events.on((event) => {
      // Of an instance's events, those of the guard.
      if (!beside.parts || event.type.startsWith('guard.')) on(event)
    })
  return new RequestGuard({
    clock,
    logger,
    events,
    routes,
    counters: new MemoryCounters({ clock, maxCallers }),
    store: redis && new GuardCounters(redis.connection, redis.naming, clock),
    instances,
    shedding,
    trusted,
    identify: options.identify ?? (options.holdfast && identifyBy(options.holdfast)),
    ceilings: [
      {
        counter: 'address',
        slot: rules.counters,
        name: 'address',
        limit: perMinute,
        // Those who turn out to be somebody are given back, and however many they are they stop nobody.
        ceiling: Number.POSITIVE_INFINITY,
        windowMs: MINUTE,
        onStoreError: 'local',
      },
    ],
    apiPrefixes,
    refundOn: new Set(refundOn),
    headers,
    names: beside.names(),
    onClose: () => {
      leave?.()
      redis?.close()
    },
  })
}

const KNOWN: ReadonlySet<string> = new Set<keyof GuardOptions>([
  'holdfast',
  'enabled',
  'instances',
  'rules',
  'publicPaths',
  'apiPrefixes',
  'healthPaths',
  'trustProxy',
  'refundOn',
  'shedding',
  'addressPerMinute',
  'headers',
  'maxCallers',
  'redis',
  'secret',
  'logger',
  'clock',
  'on',
  'identify',
])

/** The verified user of a request. Whoever has no session, or one that cannot be verified now, counts for their address. */
function identifyBy(holdfast: Holdfast): Identify {
  return async (request) => {
    try {
      const asked = { headers: new HeadersOf(request), method: request.method, url: urlOf(request) }
      const { user } = await holdfast.requireAuth(asked, { guilds: false })
      return { userId: user.id }
    } catch (error) {
      // That somebody is not signed in is no trouble to tell of.
      if (error instanceof AuthError && error.code === 'UNAUTHENTICATED') return undefined
      throw error
    }
  }
}

/** Whole, as a resolver's `new URL(request.url)` needs it. */
function urlOf(request: GuardRequest): string {
  const { path } = request
  return path.startsWith('/') ? `http://${request.header('host') ?? 'localhost'}${path}` : path
}

/** A request's headers as session resolvers read them: by name. */
class HeadersOf extends Headers {
  readonly #request: GuardRequest

  constructor(request: GuardRequest) {
    super()
    this.#request = request
  }

  override get(name: string): string | null {
    return this.#request.header(name.toLowerCase())
  }

  override has(name: string): boolean {
    return this.get(name) !== null
  }
}

/** Ten times the most that one limit lets an anonymous caller do in a minute. */
function ceilingPerMinute(rules: Rules): number {
  const most = rules.all
    .flatMap(({ anonymous }) => anonymous)
    .map(({ limit, windowMs }) => (windowMs === 'month' || windowMs >= MINUTE ? limit : (limit * MINUTE) / windowMs))
  return Math.min(MOST, Math.ceil(10 * Math.max(...most)))
}

function readHeaders(given: GuardOptions['headers']): HeaderChoice {
  if (given === undefined || typeof given === 'boolean')
    return { rateLimit: given !== false, xRateLimit: given !== false }
  const { rateLimit = true, xRateLimit = true, ...rest } = given ?? { no: 'object' }
  if (Object.keys(rest).length > 0 || typeof rateLimit !== 'boolean' || typeof xRateLimit !== 'boolean')
    throw new ConfigError('headers', 'headers must be true, false, or { rateLimit?: boolean, xRateLimit?: boolean }')
  return { rateLimit, xRateLimit }
}

function list<T>(name: string, given: readonly T[] | undefined, preset: readonly T[]): readonly T[] {
  if (given === undefined) return preset
  if (!Array.isArray(given)) throw new ConfigError(name, `${name} must be a list`)
  return given
}

function whole(name: string, given: number | undefined, preset: number, most: number): number {
  if (given === undefined) return preset
  if (!Number.isInteger(given) || given < 1 || given > most)
    throw new ConfigError(name, `${name} must be a whole number from 1 to ${most}`)
  return given
}
