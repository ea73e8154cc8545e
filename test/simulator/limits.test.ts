import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createInvalidRequests } from '../../src/simulator/invalid-requests.ts'
import { createLimiter, type Limit } from '../../src/simulator/limits.ts'

const fixed: Limit = { limit: 2, windowMs: 1000, kind: 'fixed' }
const leaky: Limit = { limit: 4, windowMs: 1000, kind: 'leaky' }

describe('a fixed window', () => {
  it('begins with the first request after the previous one ended', () => {
    const limiter = createLimiter()
    expect(limiter.take('k', fixed, 300)).toMatchObject({ allowed: true, remaining: 1, resetAfterMs: 1000 })
    expect(limiter.take('k', fixed, 900)).toMatchObject({ allowed: true, remaining: 0, resetAfterMs: 400 })
    expect(limiter.take('k', fixed, 1299)).toMatchObject({ allowed: false, remaining: 0, retryAfterMs: 1 })
    // 1300 ends the window; the next begins at 2500, not at 2300.
    expect(limiter.take('k', fixed, 2500)).toMatchObject({ allowed: true, remaining: 1, resetAfterMs: 1000 })
    expect(limiter.take('k', fixed, 3400)).toMatchObject({ allowed: true, remaining: 0, resetAfterMs: 100 })
    expect(limiter.take('k', fixed, 3500)).toMatchObject({ allowed: true, remaining: 1 })
  })
})

describe('a leaky bucket', () => {
  it('gives one request back at a time, and its reset moves with each request', () => {
    const limiter = createLimiter()
    const answers = Array.from({ length: 5 }, () => limiter.take('k', leaky, 0))
    expect(answers.map(({ remaining }) => remaining)).toEqual([3, 2, 1, 0, 0])
    expect(answers.map(({ resetAfterMs }) => resetAfterMs)).toEqual([250, 500, 750, 1000, 1000])
    expect(answers[4]).toMatchObject({ allowed: false, retryAfterMs: 250 })
    expect(limiter.take('k', leaky, 250)).toMatchObject({ allowed: true, remaining: 0, resetAfterMs: 1000 })
    expect(limiter.take('k', leaky, 400)).toMatchObject({ allowed: false, retryAfterMs: 100 })
    expect(limiter.take('k', leaky, 2000)).toMatchObject({ allowed: true, remaining: 3, resetAfterMs: 250 })
  })
})

describe('every limit', () => {
  const arrivals = fc.array(fc.double({ min: 0, max: 500, noNaN: true }), { minLength: 1, maxLength: 200 })
  const limits = fc.record({
    limit: fc.integer({ min: 1, max: 20 }),
    windowMs: fc.integer({ min: 1, max: 5000 }),
    kind: fc.constantFrom('fixed' as const, 'leaky' as const),
  })

  it('allows whoever waits exactly as long as they were told', () => {
    fc.assert(
      fc.property(limits, arrivals, (limit, gaps) => {
        const limiter = createLimiter()
        let now = 0
        for (const gap of gaps) {
          now += gap
          const verdict = limiter.take('k', limit, now)
          if (verdict.allowed) continue
          expect(verdict.retryAfterMs).toBeGreaterThan(0)
          now += verdict.retryAfterMs
          expect(limiter.take('k', limit, now).allowed).toBe(true)
        }
      }),
    )
  })

  it('never allows more than twice its number in any one window, and never promises a request it then refuses', () => {
    fc.assert(
      fc.property(limits, arrivals, (limit, gaps) => {
        const limiter = createLimiter()
        const passed: number[] = []
        let now = 0
        for (const gap of gaps) {
          now += gap / 10
          const verdict = limiter.take('k', limit, now)
          if (verdict.allowed) passed.push(now)
          if (verdict.remaining > 0) {
            expect(limiter.take('k', limit, now).allowed).toBe(true)
            passed.push(now)
          }
        }
        for (const end of passed) {
          const inWindow = passed.filter((at) => at <= end && at > end - limit.windowMs).length
          expect(inWindow).toBeLessThanOrEqual(2 * limit.limit)
        }
      }),
    )
  })

  it('keeps keys apart, and forgets those whose time has passed', () => {
    const limiter = createLimiter()
    for (let i = 0; i < 10_000; i++) expect(limiter.take(`key ${i}`, fixed, 0).allowed).toBe(true)
    limiter.take('one more', fixed, 5000)
    expect(limiter.size).toBe(1)
  })
})

describe('the invalid-request limit', () => {
  const limit = { count: 3, windowMs: 1000, banMs: 5000 }

  it('blocks an address with the request that goes over the number, and no other address', () => {
    const requests = createInvalidRequests(limit)
    expect([1, 2, 3, 4].map((at) => requests.count('a', at))).toEqual([false, false, false, true])
    expect(requests.bannedForMs('a', 4)).toBe(5000)
    expect(requests.bannedForMs('a', 5004)).toBe(0)
    expect(requests.bannedForMs('b', 4)).toBe(0)
  })

  it('counts over any window, not only from its start', () => {
    const requests = createInvalidRequests(limit)
    expect([0, 900, 950].map((at) => requests.count('a', at))).toEqual([false, false, false])
    expect(requests.count('a', 1000)).toBe(false)
    expect(requests.count('a', 1001)).toBe(true)
  })

  it('is off at Infinity', () => {
    const requests = createInvalidRequests({ ...limit, count: Infinity })
    for (let i = 0; i < 100; i++) expect(requests.count('a', 0)).toBe(false)
  })

  it('stays exact over many windows', () => {
    const requests = createInvalidRequests({ count: 2, windowMs: 10, banMs: 1 })
    for (let at = 0; at < 50_000; at += 5) expect(requests.count('a', at)).toBe(false)
    expect(requests.count('a', 49_996)).toBe(true)
  })
})
