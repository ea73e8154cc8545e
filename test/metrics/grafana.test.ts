import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { METRICS, type Metric } from '../../src/metrics/metrics.ts'

interface Panel {
  readonly title: string
  readonly targets: readonly { readonly expr: string; readonly legendFormat: string }[]
}
const dashboard = JSON.parse(readFileSync(new URL('../../docs/operate/grafana.json', import.meta.url), 'utf8')) as {
  panels: readonly Panel[]
  templating: { list: readonly { query: string }[] }
}
const metrics: readonly Metric[] = Object.values(METRICS)
const queries = [
  ...dashboard.panels.flatMap(({ targets }) => targets),
  ...dashboard.templating.list
    .map(({ query }) => ({ expr: query, legendFormat: '' }))
    .filter(({ expr }) => /_/.test(expr)),
]

/** The figures a query names: a histogram is asked by its buckets, sum or count. */
function named(expr: string): (Metric | undefined)[] {
  return [...expr.matchAll(/\bholdfast_\w+/g)].map(([name]) =>
    metrics.find((metric) =>
      metric.kind === 'histogram' ? new RegExp(`^${metric.name}_(bucket|sum|count)$`).test(name) : metric.name === name,
    ),
  )
}

test.each(queries)('the Grafana query $expr names figures that are exported', ({ expr, legendFormat }) => {
  const asked = named(expr)
  expect(asked.length).toBeGreaterThan(0)
  expect(asked).not.toContain(undefined)
  // What a query groups or names by is a label that its figure has, or one of Prometheus's own.
  const labels = new Set(['instance', 'job', 'le', ...asked.flatMap((metric) => metric!.labels)])
  for (const [, list] of expr.matchAll(/\bby \(([^)]*)\)/g))
    for (const label of list!.split(/, ?/)) expect(labels).toContain(label)
  for (const [, label] of legendFormat.matchAll(/{{(\w+)}}/g)) expect(labels).toContain(label)
  // A counter is only read as a rate, and nothing else is.
  for (const metric of asked) expect(/\brate\(/.test(expr)).toBe(metric!.kind !== 'gauge')
})

test('every figure that is exported is on the dashboard', () => {
  const shown = new Set(queries.flatMap(({ expr }) => named(expr)))
  expect(metrics.filter((metric) => !shown.has(metric)).map(({ name }) => name)).toEqual([])
})
