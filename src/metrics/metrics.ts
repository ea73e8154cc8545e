import type { HoldfastEvent } from '../events/events.ts'

/** One figure that Holdfast exports, however it is exported. */
export interface Metric {
  /** By Prometheus's conventions: base units, `_total` for what only grows. */
  readonly name: string
  readonly kind: 'counter' | 'histogram' | 'gauge'
  readonly help: string
  readonly labels: readonly string[]
  /** Upper bounds of a histogram, in seconds. */
  readonly buckets?: readonly number[]
}

/** Discord answers in tens of milliseconds; what takes longer than ten seconds was given up. */
const SECONDS = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10] as const

/**
 * Every figure, for docs/reference/metrics.md and the Grafana dashboard. No label holds an id, an owner, a path or an
 * address: whoever asks could otherwise make as many series as they like.
 */
export const METRICS = {
  cacheAnswers: {
    name: 'holdfast_cache_answers_total',
    kind: 'counter',
    help: 'Questions to the cache, by how they were answered: hit, stale, or miss where it had to be loaded.',
    labels: ['answer'],
  },
  cacheRefreshes: {
    name: 'holdfast_cache_refreshes_total',
    kind: 'counter',
    help: 'Loads that began while a value was held.',
    labels: [],
  },
  cacheFailures: {
    name: 'holdfast_cache_failures_total',
    kind: 'counter',
    help: 'Loads that ended without a value, by the code of the error.',
    labels: ['code'],
  },
  cacheEntries: { name: 'holdfast_cache_entries', kind: 'gauge', help: 'Values held in memory.', labels: [] },
  cacheBytes: { name: 'holdfast_cache_bytes', kind: 'gauge', help: 'Bytes that they hold.', labels: [] },
  discordRequests: {
    name: 'holdfast_discord_requests_total',
    kind: 'counter',
    help: 'Requests sent to Discord, by route and status; status 0 where no answer came.',
    labels: ['route', 'status'],
  },
  discordDuration: {
    name: 'holdfast_discord_request_duration_seconds',
    kind: 'histogram',
    help: 'How long Discord took, by route.',
    labels: ['route'],
    buckets: SECONDS,
  },
  discordRateLimited: {
    name: 'holdfast_discord_rate_limited_total',
    kind: 'counter',
    help: '429s from Discord, by route and what they were about: user, global, shared or egress.',
    labels: ['route', 'scope'],
  },
  discordRetries: {
    name: 'holdfast_discord_retries_total',
    kind: 'counter',
    help: 'Requests that will be sent again, by route.',
    labels: ['route'],
  },
  discordWaits: {
    name: 'holdfast_discord_wait_seconds_total',
    kind: 'counter',
    help: 'Time that calls waited for their turn or for a retry, by route.',
    labels: ['route'],
  },
  invalidBudget: {
    name: 'holdfast_discord_invalid_budget_used_ratio',
    kind: 'gauge',
    help: 'Share of the invalid requests that Discord bans an address for, used in the last ten minutes; from 0 to 1.',
    labels: [],
  },
  breaker: {
    name: 'holdfast_breaker_open',
    kind: 'gauge',
    help: 'Whether a breaker lets nothing pass: 1 open, 0.5 half-open, 0 closed.',
    labels: ['name'],
  },
  redisUp: {
    name: 'holdfast_redis_up',
    kind: 'gauge',
    help: 'Whether Redis is there: 1 or 0; no sample without Redis.',
    labels: [],
  },
  redisFailures: {
    name: 'holdfast_redis_failures_total',
    kind: 'counter',
    help: 'What Redis could not do, by the code of the error.',
    labels: ['code'],
  },
  authRefusals: {
    name: 'holdfast_auth_refusals_total',
    kind: 'counter',
    help: 'Requests that requireAuth refused, by status and reason.',
    labels: ['status', 'reason'],
  },
  guardRequests: {
    name: 'holdfast_guard_requests_total',
    kind: 'counter',
    help: 'Requests that the guard decided on, by class and outcome: passed, refused or shed.',
    labels: ['class', 'outcome'],
  },
  guardRefunds: {
    name: 'holdfast_guard_refunds_total',
    kind: 'counter',
    help: 'Requests whose places were given back.',
    labels: [],
  },
  quotaTakes: {
    name: 'holdfast_quota_takes_total',
    kind: 'counter',
    help: 'Takes from quotas, by outcome: taken or refused.',
    labels: ['outcome'],
  },
} as const satisfies Record<string, Metric>

/** A change of a figure: added to a counter, observed by a histogram, or what a gauge stands at. */
export interface Sample {
  readonly metric: Metric
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

const BREAKER = { closed: 0, 'half-open': 0.5, open: 1 } as const
const NONE: readonly Sample[] = []

/** What an event changes. Pure; an event that no figure is made of changes nothing. */
export function samplesOf(event: HoldfastEvent): readonly Sample[] {
  switch (event.type) {
    case 'cache.hit':
    case 'cache.stale':
    case 'cache.miss':
      return [sample(METRICS.cacheAnswers, { answer: event.type.slice('cache.'.length) })]
    case 'cache.refresh':
      return [sample(METRICS.cacheRefreshes)]
    case 'cache.failed':
      return [sample(METRICS.cacheFailures, { code: event.code })]
    case 'discord.call':
      return [
        sample(METRICS.discordRequests, { route: event.route, status: String(event.status) }),
        sample(METRICS.discordDuration, { route: event.route }, event.durationMs / 1000),
      ]
    case 'discord.rate-limited':
      return [sample(METRICS.discordRateLimited, { route: event.route, scope: event.scope })]
    case 'discord.retry':
      return [
        sample(METRICS.discordRetries, { route: event.route }),
        sample(METRICS.discordWaits, { route: event.route }, event.waitMs / 1000),
      ]
    case 'discord.wait':
      return [sample(METRICS.discordWaits, { route: event.route }, event.waitMs / 1000)]
    case 'breaker':
      return [sample(METRICS.breaker, { name: event.name }, BREAKER[event.state])]
    case 'redis.failed':
      return [sample(METRICS.redisFailures, { code: event.code })]
    case 'guard.refused':
      return [sample(METRICS.guardRequests, { class: event.requestClass, outcome: 'refused' })]
    case 'guard.shed':
      return [sample(METRICS.guardRequests, { class: event.requestClass, outcome: 'shed' })]
    case 'guard.refunded':
      return [sample(METRICS.guardRefunds)]
    case 'quota.taken':
    case 'quota.refused':
      return [sample(METRICS.quotaTakes, { outcome: event.type.slice('quota.'.length) })]
    default:
      return NONE
  }
}

function sample(metric: Metric, labels: Readonly<Record<string, string>> = {}, value = 1): Sample {
  return { metric, labels, value }
}
