import fc from 'fast-check'
import { createOwnerQuota, readQuotaHeaders } from 'holdfast'
import { describe, expect, test } from 'vitest'
import { believed } from '../../src/quota/quota-answer.ts'
import { createVirtualClock } from '../../src/simulator/virtual-clock.ts'

const HOUR = 3_600_000

describe('readQuotaHeaders', () => {
  test.each<[Record<string, string>, object]>([
    [{}, {}],
    [
      { 'x-ratelimit-limit': '100', 'x-ratelimit-remaining': '0', 'x-ratelimit-reset-after': '1.5' },
      { limit: 100, remaining: 0, resetAfterMs: 1500 },
    ],
    [{ 'X-RateLimit-Limit': '100' }, { limit: 100 }],
    [
      { 'ratelimit-limit': '100, 100;w=60', 'ratelimit-remaining': '5', 'ratelimit-reset': '30' },
      { limit: 100, remaining: 5, resetAfterMs: 30_000 },
    ],
    [
      { ratelimit: '"day";r=5;t=30', 'ratelimit-policy': '"day";q=100;w=60' },
      { limit: 100, remaining: 5, resetAfterMs: 30_000, windowMs: 60_000 },
    ],
    [
      {
        ratelimit: '"day";r=5;t=30, "second";r=9;t=1',
        'ratelimit-policy': '"second";q=10;w=1, "day";q=100;w=86400',
      },
      { limit: 100, remaining: 5, resetAfterMs: 30_000, windowMs: 86_400_000 },
    ],
    [{ 'ratelimit-policy': '"a";q=10;w=0' }, { limit: 10 }],
    [{ ratelimit: 'limit=10, remaining=5, reset=30' }, { limit: 10, remaining: 5, resetAfterMs: 30_000 }],
    [{ ratelimit: '"a";r=0;t=9, "b";r=7;t=99' }, { remaining: 0, resetAfterMs: 9000 }],
    [{ 'retry-after': '7' }, { retryAfterMs: 7000 }],
    [{ date: 'Sat, 21 Nov 2026 12:00:00 GMT', 'retry-after': 'Sat, 21 Nov 2026 12:00:07 GMT' }, { retryAfterMs: 7000 }],
    [{ date: 'Sat, 21 Nov 2026 12:00:00 GMT', 'x-ratelimit-reset': '1795262430' }, { resetAfterMs: 30_000 }],
    [{ date: 'Sat, 21 Nov 2026 12:00:00 GMT', 'x-ratelimit-reset': '1795262430000' }, { resetAfterMs: 30_000 }],
    [{ 'x-ratelimit-limit': '0', 'x-ratelimit-reset': '0' }, {}],
    [
      { 'x-ratelimit-limit': 'many', 'x-ratelimit-remaining': '-1', 'x-ratelimit-reset': 'NaN', 'retry-after': 'soon' },
      {},
    ],
    [{ 'x-ratelimit-limit': '' }, {}],
  ])('%j says %j', (headers, said) => {
    expect(readQuotaHeaders(headers)).toEqual(said)
    expect(readQuotaHeaders(new Headers(headers))).toEqual(said)
  })

  test('never throws, and says only numbers that are not negative', () => {
    fc.assert(
      fc.property(
        fc.dictionary(
          fc.constantFrom(
            'ratelimit',
            'ratelimit-policy',
            'x-ratelimit-limit',
            'x-ratelimit-reset',
            'retry-after',
            'date',
          ),
          fc.string(),
        ),
        (headers) => {
          for (const value of Object.values(readQuotaHeaders(headers))) expect(value).toBeGreaterThanOrEqual(0)
        },
      ),
    )
    expect(readQuotaHeaders(undefined as never)).toEqual({})
    expect(readQuotaHeaders({ 'x-ratelimit-limit': ['5'] as never })).toEqual({})
  })
})

describe('what is believed of an answer', () => {
  test.each<[object, object]>([
    [{ limit: 0, resetAfterMs: 0 }, {}],
    [{ limit: 1e19, remaining: Number.NaN, resetAfterMs: -1, retryAfterMs: Number.POSITIVE_INFINITY }, {}],
    [{ limit: '5', remaining: null }, {}],
    [
      { limit: 5.7, remaining: 2.9 },
      { limit: 5, remaining: 2 },
    ],
    [{ resetAfterMs: 1_795_262_430_000 }, { resetAfterMs: 4000 }],
    [{ retryAfterMs: 1_795_262_430_000 }, { retryAfterMs: HOUR }],
    [{ retryAfterMs: 60_000 }, { retryAfterMs: 60_000 }],
    [
      { remaining: 0, retryAfterMs: 0 },
      { remaining: 0, retryAfterMs: 0 },
    ],
  ])('of %j in windows of a second: %j', (answer, said) => {
    expect(believed(answer, 1000)).toEqual(said)
  })

  test('an answer without headers stops nobody, and an epoch for a wait stops nobody for long', async () => {
    const clock = createVirtualClock()
    const quota = createOwnerQuota({ limit: 10, windowMs: 1000, clock })
    await quota.learn('ann', { limit: 0, remaining: Number.NaN, resetAfterMs: 0 })
    expect(await quota.take('ann')).toMatchObject({ ok: true })
    await quota.learn('ann', { resetAfterMs: 1_795_262_430_000, remaining: 0 })
    await clock.advance(4000)
    expect(await quota.take('ann')).toMatchObject({ ok: true })
  })
})
