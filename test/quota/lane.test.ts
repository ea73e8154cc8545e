import { describe, expect, test } from 'vitest'
import { Lane } from '../../src/quota/lane.ts'

const WINDOW_MS = 10_000

/** A lane of ten calls a window that has made one and heard of it. */
function known(): Lane {
  const lane = new Lane('ann', WINDOW_MS)
  lane.given(1, 9)
  lane.ended(lane.send(0, 1), 50)
  lane.accepted()
  return lane
}

/** A call that meets a 429; returns how long is waited. */
function refused(lane: Lane, at: number, retryAfterMs = 100): number {
  const sent = lane.send(at, 1)
  lane.ended(sent, at)
  return lane.refused(sent, retryAfterMs, at)
}

describe('429s', () => {
  test('in a row are waited out longer and longer, and with successes between as long as they ask for', () => {
    const lane = known()
    expect([0, 1, 2, 3].map((n) => refused(lane, 100 + n))).toEqual([100, 1_000, 2_000, 4_000])
    const other = known()
    for (const at of [100, 20_000, 40_000, 60_000]) {
      expect(refused(other, at)).toBe(100)
      other.accepted()
    }
  })

  test('of calls that were under way together are one', () => {
    const lane = known()
    const sent = [1, 2, 3].map(() => lane.send(100, 1))
    expect(sent.map((call) => lane.refused(call, 100, 200))).toEqual([100, 100, 100])
  })

  test('that ask for no wait are waited out for a second: it was less, rounded down', () => {
    expect(refused(known(), 100, 0)).toBe(1_000)
  })

  test('one of them spreads no calls, a second one within ten windows does, for ten windows', () => {
    const lane = known()
    refused(lane, 1_000)
    lane.ended(lane.send(2_000, 1), 2_050)
    lane.accepted()
    expect(lane.readyAt(2_060)).toBe(2_060)
    refused(lane, 3_000)
    lane.accepted()
    lane.ended(lane.send(5_000, 1), 5_050)
    // Ten calls in ten seconds.
    expect(lane.readyAt(5_060)).toBe(6_000)
    expect(lane.readyAt(6_000)).toBe(6_000)
    lane.ended(lane.send(103_100, 1), 103_150)
    expect(lane.readyAt(103_160)).toBe(103_160)
  })

  test('that are further apart than ten windows spread nothing', () => {
    const lane = known()
    refused(lane, 1_000)
    lane.accepted()
    refused(lane, 101_001)
    lane.accepted()
    lane.ended(lane.send(102_000, 1), 102_050)
    expect(lane.readyAt(102_060)).toBe(102_060)
  })

  test('are forgotten by a reset', () => {
    const lane = known()
    for (const at of [1_000, 1_500]) refused(lane, at)
    lane.reset()
    lane.ended(lane.send(2_000, 1), 2_050)
    expect(lane.readyAt(2_060)).toBe(2_060)
    expect(refused(lane, 3_000)).toBe(100)
  })
})

describe('a window that begins', () => {
  test('is charged what is under way costs, but for calls that are long overdue', () => {
    const lane = known()
    lane.send(1_000, 7)
    lane.send(4_000, 2)
    lane.ended(lane.send(4_000, 100), 4_100)
    lane.send(5_000, 3)
    expect(lane.began(6_500)).toBe(5)
  })

  test('lets its first call go alone where ends are told in whole seconds, and not where they are exact', () => {
    const whole = known()
    whole.told(9_000, 100)
    whole.began(10_000)
    whole.send(10_000, 1)
    expect(whole.readyAt(10_001)).toBeGreaterThan(10_001)
    const exact = known()
    exact.told(9_000, 100)
    exact.told(8_950.5, 150)
    exact.began(10_000)
    exact.send(10_000, 1)
    expect(exact.readyAt(10_001)).toBe(10_001)
  })

  test('makes those sent before it calls of an earlier one', () => {
    const lane = known()
    const before = lane.send(9_000, 1)
    lane.began(10_000)
    expect(lane.isOfAnEarlierWindow(before)).toBe(true)
    expect(lane.isOfAnEarlierWindow(lane.send(10_000, 1))).toBe(false)
  })
})

test('how long the next call may be on its way is as long as the slowest of the last', () => {
  const lane = known()
  const slow = lane.send(1_000, 1)
  expect(lane.doubtMs(slow, 1_400)).toBe(800)
  // What is done with its answer is no way.
  lane.ended(slow, 9_000)
  const fast = lane.send(9_000, 1)
  expect(lane.doubtMs(fast, 9_010)).toBe(10 + 400)
})
