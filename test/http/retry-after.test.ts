import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  LONGEST_WAIT_MS,
  parseHttpDate,
  parseRetryAfter,
  retryAfterSeconds,
  secondsToWait,
} from '../../src/http/retry-after.ts'

const NOW = Date.UTC(2026, 0, 1)

describe('parseRetryAfter', () => {
  test.each([
    ['0', 0],
    ['1', 1000],
    [' 5 ', 5000],
    ['1.25', 1250],
    ['82721', 82_721_000],
    ['604800', LONGEST_WAIT_MS],
  ])('%j is %d ms', (text, ms) => {
    expect(parseRetryAfter(text, NOW)).toBe(ms)
  })

  test.each([
    null,
    undefined,
    '',
    '  ',
    '-1',
    '-0.5',
    'NaN',
    'Infinity',
    '1e3',
    '0x10',
    '1,5',
    '5 seconds',
    'soon',
    '2026-01-01T00:00:00Z',
    'Thu, 32 Jan 2026 00:00:00 GMT',
    'Thu, 01 Jan 2026 00:00:00 PST',
    '5\r\nSet-Cookie: a=b',
  ])('%j names no wait', (text) => {
    expect(parseRetryAfter(text, NOW)).toBeUndefined()
  })

  test('a longer wait than a week, however it is written, is a week', () => {
    expect(parseRetryAfter('604801', NOW)).toBe(LONGEST_WAIT_MS)
    expect(parseRetryAfter('9'.repeat(300), NOW)).toBe(LONGEST_WAIT_MS)
    expect(parseRetryAfter('Fri, 01 Jan 2027 00:00:00 GMT', NOW)).toBe(LONGEST_WAIT_MS)
  })

  test('a number of digits that overflows to Infinity names no wait', () => {
    expect(parseRetryAfter('9'.repeat(400), NOW)).toBeUndefined()
  })

  test.each(['Thu, 01 Jan 2026 00:01:00 GMT', 'Thursday, 01-Jan-26 00:01:00 GMT', 'Thu Jan  1 00:01:00 2026'])(
    'the date %j is measured from now',
    (date) => {
      expect(parseRetryAfter(date, NOW)).toBe(60_000)
      expect(parseRetryAfter(date, NOW + 59_999)).toBe(1)
    },
  )

  test('a date in the past, or now, is 0 and not negative', () => {
    expect(parseRetryAfter('Wed, 31 Dec 2025 00:00:00 GMT', NOW)).toBe(0)
    expect(parseRetryAfter('Thu, 01 Jan 2026 00:00:00 GMT', NOW)).toBe(0)
  })

  test('whatever it is given, the wait is undefined or from 0 to a week', () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.string(), fc.double().map(String), fc.date({ noInvalidDate: false }).map(String)),
        (text) => {
          const ms = parseRetryAfter(text, NOW)
          expect(ms === undefined || (ms >= 0 && ms <= LONGEST_WAIT_MS)).toBe(true)
        },
      ),
    )
  })

  test('what retryAfterSeconds writes is read back, never shorter than the wait and at most a second longer', () => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: LONGEST_WAIT_MS, noNaN: true }), (waitMs) => {
        const read = parseRetryAfter(String(retryAfterSeconds(waitMs)), NOW)!
        expect(read).toBeGreaterThanOrEqual(waitMs)
        expect(read - waitMs).toBeLessThanOrEqual(1000)
      }),
    )
  })

  test('a date with whole seconds is read back to the millisecond', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: LONGEST_WAIT_MS / 1000 }), (seconds) => {
        const date = new Date(NOW + seconds * 1000).toUTCString()
        expect(parseRetryAfter(date, NOW)).toBe(seconds * 1000)
      }),
    )
  })
})

describe('parseHttpDate', () => {
  test.each(['Thu, 01 Jan 2026 00:00:00 GMT', 'Thursday, 01-Jan-26 00:00:00 GMT', 'Thu Jan  1 00:00:00 2026'])(
    'reads %j as GMT, whatever the machine is set to',
    (text) => {
      expect(parseHttpDate(text)).toBe(NOW)
    },
  )

  test.each([
    '',
    '0',
    '2026-01-01',
    'Thu, 1 Jan 2026 00:00:00 GMT',
    'Foo, 01 Jan 2026 00:00:00 GMT',
    'Thu, 01 Foo 2026 00:00:00 GMT',
  ])('refuses %j', (text) => {
    expect(parseHttpDate(text)).toBeUndefined()
  })
})

describe('secondsToWait', () => {
  test.each([
    [0, 0],
    [0.3, 300],
    [64.57, 64_570],
    [1e9, LONGEST_WAIT_MS],
  ])('%d s is %d ms', (seconds, ms) => {
    expect(secondsToWait(seconds)).toBeCloseTo(ms, 6)
  })

  test.each([[-1], [Number.NaN], [Number.POSITIVE_INFINITY], ['1'], [null], [undefined], [[]], [{}], [true]])(
    '%j names no wait',
    (seconds) => {
      expect(secondsToWait(seconds)).toBeUndefined()
    },
  )
})

describe('retryAfterSeconds', () => {
  test.each([
    [0, 1],
    [1, 1],
    [1000, 1],
    [1001, 2],
    [Number.POSITIVE_INFINITY, 604_800],
  ])('%d ms is written as %d', (ms, seconds) => {
    expect(retryAfterSeconds(ms)).toBe(seconds)
  })
})
