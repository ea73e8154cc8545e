import { expect, test } from 'vitest'
import { broken, byKind, type Judged, spendWindows } from '../../quota/upstream-family.ts'

const SEEDS = 1_000

test(`${SEEDS} upstreams: no 429 where answers tell the truth, at most one a window elsewhere, nothing unanswered, and the limit used`, async () => {
  const all: Judged[] = []
  for (let seed = 1; seed <= SEEDS; seed++) all.push(await spendWindows(seed))
  expect(broken(all)).toEqual([])
  const shares = new Map(byKind(all).map(({ name, share }) => [name, share ?? 0]))
  for (const told of [
    'first-call, exact',
    'first-call, missing on some',
    'calendar, exact',
    'calendar, missing on some',
  ])
    expect(shares.get(told), told).toBeGreaterThanOrEqual(0.97)
  expect(shares.get('first-call, none')).toBeGreaterThanOrEqual(0.94)
})
