import { describe, expect, test } from 'vitest'
import { OwnerPool } from '../../src/quota/owner-pool.ts'
import type { HeardAnswer } from '../../src/quota/quota-answer.ts'

const WINDOW = { windowMs: 10_000, marginMs: 0 }
const TEN = { limit: 10, own: false }

/** A pool whose window began with two calls at 0, and what it has left at a time. */
function begun() {
  const pool = new OwnerPool()
  pool.count(2, WINDOW, 0)
  return {
    pool,
    hear: (answer: HeardAnswer, now: number) => pool.learn(answer, TEN, WINDOW, now),
    left: (now: number) => pool.state(TEN, WINDOW, now).remaining,
  }
}

describe('an end that an answer told', () => {
  test('may be sooner for a call that is sent by both their ways: from then on nothing is given until it', () => {
    const { pool, hear, left } = begun()
    hear({ resetAfterMs: 9_950.5, doubtMs: 200 }, 100)
    expect(left(9_850)).toBe(8)
    expect(left(9_851)).toBe(0)
    expect(pool.refusal(1, TEN, WINDOW, 9_851)?.retryAfterMs).toBeCloseTo(199.5)
    expect(left(10_051)).toBe(10)
  })

  test('where several were told exactly is the earliest of them, and the surest start of the doubt', () => {
    const { hear, left } = begun()
    // This one came back two seconds late.
    hear({ resetAfterMs: 9_900.5, doubtMs: 2_300 }, 2_100)
    hear({ resetAfterMs: 7_850.5, doubtMs: 100 }, 2_200)
    expect(left(9_949)).toBe(8)
    expect(left(9_951)).toBe(0)
    expect(left(10_051)).toBe(10)
  })

  test('is the latest where they are told in whole seconds, and doubted for one', () => {
    const { hear, left } = begun()
    hear({ resetAfterMs: 5_000 }, 100)
    hear({ resetAfterMs: 5_000 }, 800)
    expect(left(4_799)).toBe(8)
    expect(left(4_800)).toBe(0)
    expect(left(5_799)).toBe(0)
    expect(left(5_800)).toBe(10)
  })

  test('is doubted by no more than a quarter of a short window, and by no more than half for its ways', () => {
    const window = { windowMs: 2_000, marginMs: 0 }
    const pool = new OwnerPool()
    pool.count(2, window, 0)
    pool.learn({ resetAfterMs: 1_000 }, TEN, window, 0)
    expect(pool.state(TEN, window, 499).remaining).toBe(8)
    expect(pool.state(TEN, window, 500).remaining).toBe(0)
    const far = new OwnerPool()
    far.count(2, window, 0)
    far.learn({ resetAfterMs: 1_999.5, doubtMs: 5_000 }, TEN, window, 0)
    expect(far.state(TEN, window, 999).remaining).toBe(8)
    expect(far.state(TEN, window, 1_000).remaining).toBe(0)
  })

  test('in whole seconds is no sooner than that of a window which our own call began', () => {
    const { hear, left } = begun()
    hear({ resetAfterMs: 9_000, doubtMs: 100 }, 50)
    expect(left(9_999)).toBe(0)
    expect(left(10_049)).toBe(0)
    expect(left(10_050)).toBe(10)
    // Further off than rounding goes: somebody else's call began it, or a calendar did.
    const other = begun()
    other.hear({ resetAfterMs: 8_000, doubtMs: 100 }, 50)
    expect(other.left(8_050)).toBe(10)
    const exact = begun()
    exact.hear({ resetAfterMs: 9_500.5 }, 10)
    exact.hear({ resetAfterMs: 9_000 }, 20)
    expect(exact.left(9_511)).toBe(10)
  })
})

describe('an end that nobody told', () => {
  test('is reckoned from the first answer, and gives way to what is told', () => {
    const { hear, left } = begun()
    hear({ resetAfterMs: 10_000, doubtMs: 300, isReckoned: true }, 150)
    expect(left(9_849)).toBe(8)
    expect(left(9_850)).toBe(0)
    hear({ resetAfterMs: 10_000, doubtMs: 300, isReckoned: true }, 5_000)
    expect(left(10_150)).toBe(10)
    const told = begun()
    told.hear({ resetAfterMs: 4_000.5 }, 100)
    told.hear({ resetAfterMs: 10_000, doubtMs: 300, isReckoned: true }, 150)
    expect(told.left(4_101)).toBe(10)
    const calendar = begun()
    calendar.hear({ resetAfterMs: 10_000, doubtMs: 300, isReckoned: true }, 150)
    calendar.hear({ resetAfterMs: 3_000.5 }, 200)
    expect(calendar.left(3_201)).toBe(10)
  })

  test('is not reckoned for a window that no call of ours began', () => {
    const pool = new OwnerPool()
    pool.learn({ resetAfterMs: 10_000, isReckoned: true }, TEN, WINDOW, 0)
    expect(pool.state(TEN, WINDOW, 1)).toEqual({ limit: 10, remaining: 10, resetAfterMs: 0 })
  })
})

describe('an answer of the window before', () => {
  test('that comes seconds late says nothing of the one that has begun since', () => {
    const { pool, hear, left } = begun()
    hear({ resetAfterMs: 9_999.5 }, 0)
    pool.count(1, WINDOW, 10_000)
    // It was told three seconds before the end, and came three seconds after it.
    hear({ remaining: 1, resetAfterMs: 3_000.5, doubtMs: 6_400 }, 13_000)
    expect(left(13_000)).toBe(9)
    // The same of a call that is known to have been sent since is believed.
    hear({ remaining: 1, resetAfterMs: 3_000.5, doubtMs: 6_400, isOfThisWindow: true }, 13_000)
    expect(left(13_000)).toBe(0)
  })
})
