import { expect, test } from 'vitest'
import type { AppliedLimit } from '../../src/guard/applied-limit.ts'
import type { Count } from '../../src/guard/counters.ts'
import { limitHeaders } from '../../src/guard/limit-headers.ts'

const BOTH = { rateLimit: true, xRateLimit: true }
const limit = (name: string, limit: number) => ({ name, limit }) as AppliedLimit
const count = (used: number, more: Partial<Count> = {}) =>
  ({ used, windowMs: 60_000, resetInMs: 30_000, exhausted: false, refuses: false, ...more }) as Count

test('X-RateLimit tells of the limit that refuses, also where another has less left', () => {
  const limits = [limit('spent', 1), limit('refusing', 10)]
  const told = (counts: Count[]) => Object.fromEntries(limitHeaders(limits, counts, 0, BOTH))['x-ratelimit-limit']
  expect(told([count(1), count(5)])).toBe('1')
  expect(told([count(1), count(5, { refuses: true })])).toBe('10')
  expect(told([count(1, { refuses: true }), count(5)])).toBe('1')
})
