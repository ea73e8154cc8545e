import { readRateLimit } from '../config/rate-limit.ts'
import type { AppliedLimit } from '../guard/applied-limit.ts'
import { Listed } from '../guard/caller-lists.ts'
import { Charging } from '../guard/charging.ts'
import { API_PREFIXES } from '../guard/classify.ts'
import { ClientAddresses } from '../guard/client-address.ts'
import { type Guard, RequestGuard } from '../guard/guard.ts'
import { GuardTelling } from '../guard/guard-telling.ts'
import { Identification } from '../guard/identification.ts'
import { LoadShedding } from '../guard/load-shedding.ts'
import { Lookup } from '../guard/lookup.ts'
import { MemoryCounters } from '../guard/memory-counters.ts'
import { NetworkLimits } from '../guard/network-limits.ts'
import { OpenGuard } from '../guard/open-guard.ts'
import { PathList } from '../guard/patterns.ts'
import { proxyWarning } from '../guard/proxy-warning.ts'
import { Routes } from '../guard/routes.ts'
import { Rules } from '../guard/rules.ts'
import { StoreCounting } from '../guard/store-counting.ts'
import { readTrustedProxies } from '../guard/trusted-proxies.ts'
import { GuardCounters } from '../redis/guard-counters.ts'
import type { Milliseconds } from '../time/clock.ts'
import { Beside } from './beside.ts'
import { identifyBy } from './guard-identity.ts'
import { GUARD_OPTIONS, type GuardOptions } from './guard-options.ts'

/** Which paths are what, where nothing is said. */
export const DEFAULT_PATHS: Required<Pick<GuardOptions, 'healthPaths' | 'publicPaths' | 'apiPrefixes'>> = {
  healthPaths: ['/health', '/healthz', '/livez', '/readyz', '/api/health'],
  publicPaths: [],
  apiPrefixes: API_PREFIXES,
}
const REFUND_ON: readonly number[] = [409]
const MAX_CALLERS = 200_000
const NETWORK_TIMES = { per56: 8, per48: 20 }
const MINUTE: Milliseconds = 60_000
const MOST = 1_000_000_000

/**
 * Makes a guard: rate limits and load shedding for your own routes. In memory, or in Redis for all processes.
 * Throws ConfigError for the first option or variable that cannot be used. Nothing keeps the process alive but an own
 * Redis connection that is being opened.
 */
export function createGuard(options: GuardOptions = {}): Guard {
  GUARD_OPTIONS.check(options)
  const beside = new Beside(options)
  const { clock, logger, events } = beside
  const apiPrefixes = options.apiPrefixes ?? API_PREFIXES
  const rules = new Rules(options.rules, readRateLimit())
  const routes = new Routes(rules, {
    healthPaths: new PathList(options.healthPaths ?? DEFAULT_PATHS.healthPaths, 'healthPaths'),
    publicPaths: new PathList(options.publicPaths ?? DEFAULT_PATHS.publicPaths, 'publicPaths'),
    apiPrefixes,
  })
  const addresses = new ClientAddresses({
    proxies: readTrustedProxies(options.trustProxy),
    believesFramework: options.trustProxy === undefined,
    own: options.remoteAddress,
    onSign: proxyWarning(logger),
  })
  const [allow, deny] = [new Listed(options.allow, 'allow'), new Listed(options.deny, 'deny')]
  const dryRun = options.dryRun === true
  if (options.enabled === false) return new OpenGuard(apiPrefixes)
  const shedding = options.shedding === false ? undefined : new LoadShedding(options.shedding ?? {}, clock)
  const redis = beside.redis(options.redis)
  const { skip, key, on } = options
  const identification = new Identification({
    clock,
    logger,
    identify: options.identify ?? (beside.parts && identifyBy(beside.parts)),
    skip,
    key,
  })
  const telling = new GuardTelling({ clock, events, names: beside.names(), dryRun })
  const counters = new MemoryCounters({
    clock,
    maxCallers: options.maxCallers ?? MAX_CALLERS,
    onOverflow: (kind, overflowing) => telling.overflow(kind, overflowing),
  })
  const store = redis && new GuardCounters(redis.connection, redis.naming, clock)
  const networks =
    options.ipv6Networks === false
      ? undefined
      : new NetworkLimits(counters, { ...NETWORK_TIMES, ...defined(options.ipv6Networks) })
  const leave =
    on &&
    events.on((event) => {
      // Of an instance's events, those of the guard.
      if (!beside.parts || event.type.startsWith('guard.')) on(event)
    })
  return new RequestGuard({
    clock,
    routes,
    counters,
    charging: new Charging({
      counters,
      shared: store && new StoreCounting(store, counters, options.instances ?? 1),
      networks,
      addresses,
    }),
    shedding,
    addresses,
    identification,
    identifiesKnown:
      options.identify !== undefined &&
      (skip !== undefined || key !== undefined || rules.all.some(({ byCaller }) => byCaller !== undefined)),
    allow,
    deny,
    dryRun,
    ceilings: [addressCeiling(options.addressPerMinute ?? ceilingPerMinute(rules))],
    telling,
    lookup: new Lookup({ clock, routes, counters, store, networks, addresses }),
    refundOn: new Set(options.refundOn ?? REFUND_ON),
    headers: headerChoice(options.headers),
    refusal: options.refusal,
    corsOrigins: new Set(options.corsOrigins ?? []),
    onRefusalFailed: (error) =>
      identification.told('refusal', error, 'such requests are refused in the words of the guard'),
    onClose: () => {
      leave?.()
      redis?.close()
    },
  })
}

function addressCeiling(perMinute: number): AppliedLimit {
  return {
    counter: 'address',
    slot: 0,
    name: 'address',
    limit: perMinute,
    // Those who turn out to be somebody are given back, and however many they are they stop nobody.
    ceiling: Number.POSITIVE_INFINITY,
    windowMs: MINUTE,
    sliding: false,
    cost: 1,
    onStoreError: 'local',
  }
}

/** Ten times the most that one limit lets an anonymous caller do in a minute. */
function ceilingPerMinute(rules: Rules): number {
  const most = rules.all
    .flatMap(({ anonymous }) => anonymous)
    .map(({ limit, windowMs }) => (windowMs === 'month' || windowMs >= MINUTE ? limit : (limit * MINUTE) / windowMs))
  return Math.min(MOST, Math.ceil(10 * Math.max(...most)))
}

function headerChoice(given: GuardOptions['headers'] = true) {
  if (typeof given === 'boolean') return { rateLimit: given, xRateLimit: given }
  return { rateLimit: given.rateLimit ?? true, xRateLimit: given.xRateLimit ?? true }
}

/** Without what is there and undefined. */
function defined<T extends object>(given: T | undefined): Partial<T> {
  return Object.fromEntries(Object.entries(given ?? {}).filter(([, value]) => value !== undefined)) as Partial<T>
}
