import '../config/runtime.ts'

import { Counter, Gauge, Histogram, type Registry } from 'prom-client'
import type { Holdfast, HoldfastStats } from '../instance/holdfast.ts'
import { METRICS, type Metric, samplesOf } from './metrics.ts'

/** What is used of an instance. */
type Observed = Pick<Holdfast, 'on' | 'stats'>
type PrometheusMetric = Counter | Gauge | Histogram

/** Instances that were registered, by registry: of several, counters add up, and so do the values that are held. */
const registered = new WeakMap<Registry, Map<string, PrometheusMetric> & { instances: Set<Observed> }>()

/**
 * Adds Holdfast's figures to a registry of `prom-client` (an optional peer), from now on: names and units by Prometheus's
 * conventions, listed in docs/reference/metrics.md. Several instances may share a registry; the same one twice counts
 * once. What only grows is counted from events, what stands somewhere is read when Prometheus asks.
 */
export function registerMetrics(holdfast: Observed, registry: Registry): void {
  const metrics = registered.get(registry) ?? createAll(registry)
  if (metrics.instances.has(holdfast)) return
  metrics.instances.add(holdfast)
  holdfast.on((event) => {
    for (const { metric, labels, value } of samplesOf(event)) {
      const target = metrics.get(metric.name)
      if (target instanceof Counter) target.inc(labels, value)
      else if (target instanceof Histogram) target.observe(labels, value)
      else target?.set(labels, value)
    }
  })
}

function createAll(registry: Registry) {
  const instances = new Set<Observed>()
  const metrics = Object.assign(new Map<string, PrometheusMetric>(), { instances })
  for (const metric of Object.values(METRICS) as readonly Metric[])
    metrics.set(metric.name, create(metric, registry, instances))
  registered.set(registry, metrics)
  return metrics
}

function create(metric: Metric, registry: Registry, instances: ReadonlySet<Observed>): PrometheusMetric {
  const { name, help, labels: labelNames } = metric
  const settings = { name, help, labelNames: [...labelNames], registers: [registry] }
  if (metric.kind === 'counter') return new Counter(settings)
  if (metric.kind === 'histogram') return new Histogram({ ...settings, buckets: [...(metric.buckets ?? [])] })
  const read = READ_WHEN_ASKED[name]
  if (!read) return new Gauge(settings)
  return new Gauge({
    ...settings,
    collect() {
      const values = [...instances].map((instance) => read(instance.stats())).filter((value) => value !== undefined)
      if (values.length === 0) this.remove()
      else this.set(SHARES.has(name) ? Math.max(...values) : values.reduce((sum, value) => sum + value, 0))
    },
  })
}

/** What stands somewhere, by the name of its figure; undefined where there is nothing to say. */
const READ_WHEN_ASKED: Readonly<Record<string, (stats: HoldfastStats) => number | undefined>> = {
  [METRICS.cacheEntries.name]: ({ cache }) => cache.entries,
  [METRICS.cacheBytes.name]: ({ cache }) => cache.bytes,
  [METRICS.invalidBudget.name]: ({ discord }) => discord.invalidBudgetUsed,
  [METRICS.redisUp.name]: ({ redis }) => (redis === 'none' ? undefined : redis === 'up' ? 1 : 0),
}

/** Of several instances the worst is told, not the sum. */
const SHARES: ReadonlySet<string> = new Set([METRICS.invalidBudget.name])
