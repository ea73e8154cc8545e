import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type ArrivingFetch, laterFetch, type StandingFetch } from '../../src/ledger/later-fetch.ts'

const standing = (more: Partial<StandingFetch> = {}): StandingFetch => ({
  sentAt: 1_000_000,
  savedAt: 1_000_100,
  driftMs: 0,
  turn: 10,
  writer: 'theirs',
  writerMs: 500,
  ...more,
})
const arriving = (more: Partial<ArrivingFetch> = {}): ArrivingFetch => ({
  sentAt: 1_000_050,
  writer: 'mine',
  writerMs: 700,
  seenTurn: 9,
  driftMs: 0,
  ...more,
})
const NOW = 1_001_000

describe('of two fetches of a user', () => {
  test('the first that is saved stands', () => {
    expect(laterFetch(standing({ turn: 0, sentAt: 0, savedAt: 0 }), arriving({ sentAt: -5 }), NOW)).toBe('arriving')
  })

  test('one process’s own are told by its monotonic clock, whatever the wall clock says', () => {
    const own = arriving({ writer: 'theirs', sentAt: 0 })
    expect(laterFetch(standing(), { ...own, writerMs: 501 }, NOW)).toBe('arriving')
    expect(laterFetch(standing(), { ...own, writerMs: 499, sentAt: NOW }, NOW)).toBe('standing')
  })

  test('what was saved before a fetch was sent is older, whatever the clocks say', () => {
    expect(laterFetch(standing({ turn: 9, sentAt: NOW * 2, savedAt: NOW * 2 }), arriving(), NOW)).toBe('arriving')
  })

  test('else the wall clock tells, to the millisecond', () => {
    expect(laterFetch(standing(), arriving({ sentAt: 1_000_001 }), NOW)).toBe('arriving')
    expect(laterFetch(standing(), arriving({ sentAt: 999_999 }), NOW)).toBe('standing')
    expect(laterFetch(standing(), arriving({ sentAt: 1_000_000 }), NOW)).toBe('unknown')
  })

  test('a clock that stepped tells nothing within its step', () => {
    expect(laterFetch(standing(), arriving({ sentAt: 1_000_050, driftMs: 5_000 }), NOW)).toBe('unknown')
    expect(laterFetch(standing(), arriving({ sentAt: 1_007_000, driftMs: -5_000 }), NOW)).toBe('arriving')
    expect(laterFetch(standing({ savedAt: NOW + 3_600_000 }), arriving(), NOW)).toBe('unknown')
    // Neither does one that had stepped while the other was under way, and may have gone back since.
    expect(laterFetch(standing({ driftMs: 3_000 }), arriving({ sentAt: 997_500 }), NOW)).toBe('unknown')
    expect(laterFetch(standing({ driftMs: 3_000 }), arriving({ sentAt: 995_000 }), NOW)).toBe('standing')
    expect(laterFetch(standing({ driftMs: 3_000 }), arriving({ sentAt: 993_000, driftMs: 3_000 }), NOW)).toBe('unknown')
  })

  test('with a clock that is right, the one that was sent last always wins', () => {
    const ms = fc.integer({ min: 1, max: 100_000 })
    fc.assert(
      fc.property(ms, ms, ms, ms, (sent, answered, otherSent, otherAnswered) => {
        fc.pre(sent !== otherSent)
        const saved = Math.max(sent, otherSent) + answered
        const now = saved + otherAnswered
        const row = standing({ sentAt: otherSent, savedAt: saved })
        expect(laterFetch(row, arriving({ sentAt: sent }), now)).toBe(sent > otherSent ? 'arriving' : 'standing')
      }),
    )
  })
})
