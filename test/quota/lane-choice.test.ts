import fc from 'fast-check'
import { batch, createOwnerQuota } from 'holdfast'
import { describe, expect, test } from 'vitest'
import type { Contender } from '../../src/quota/contender.ts'
import { Lane } from '../../src/quota/lane.ts'
import { laneChoice } from '../../src/quota/lane-choice.ts'
import { createVirtualClock } from '../../src/simulator/virtual-clock.ts'
import { Refused } from './upstream.ts'

const LANES = 40

/** A batch of which only the choice of lanes matters: a gate for each lane, that opens at a time. */
function contenderOf(lanes: readonly Lane[], opensAt: number[], cost = 1): Contender {
  const nothing = () => {}
  return {
    lanes,
    wants: true,
    cost,
    gate: (lane) => ({ readyAt: (_cost, now) => Math.max(now, opensAt[lanes.indexOf(lane)]!) }),
    neverGoes: () => false,
    skips: nothing,
    go: nothing,
    waits: nothing,
    givesUp: nothing,
    fails: nothing,
  }
}

describe('with many owners', () => {
  test('the same lane is chosen as by looking at all of them, whatever happened to each', async () => {
    const which = fc.nat({ max: LANES - 1 })
    const event = fc.oneof(
      fc.record({ what: fc.constant('given' as const), lane: which, left: fc.nat({ max: 31 }) }),
      fc.record({
        what: fc.constant('close' as const),
        lane: which,
        ms: fc.constantFrom(1, 50, 400, Number.POSITIVE_INFINITY),
      }),
      fc.record({ what: fc.constantFrom('send', 'answer', 'refuse', 'reset', 'reopen'), lane: which }),
      fc.record({
        what: fc.constant('gate' as const),
        lane: which,
        ms: fc.constantFrom(0, 30, Number.POSITIVE_INFINITY),
      }),
      fc.record({ what: fc.constant('wait' as const), ms: fc.constantFrom(1, 10, 100, 5_000, 70_000) }),
    )
    fc.assert(
      fc.property(fc.array(event, { maxLength: 120 }), (events) => {
        const lanes = Array.from({ length: LANES }, (_, index) => new Lane(`owner ${index}`, 0))
        const opensAt = lanes.map(() => 0)
        const kept = laneChoice(contenderOf(lanes, opensAt))
        const sent = lanes.map((): Array<ReturnType<Lane['send']>> => [])
        let now = 0
        for (const event of events) {
          const lane = lanes['lane' in event ? event.lane : 0]!
          const under = sent[lanes.indexOf(lane)]!
          if (event.what === 'given') lane.given(1, (event as { left: number }).left)
          else if (event.what === 'close') lane.close(now + (event as { ms: number }).ms, 0)
          else if (event.what === 'send') under.push(lane.send(now, 1))
          else if (event.what === 'answer' && under.length > 0) lane.ended(under.shift()!, now)
          else if (event.what === 'refuse' && under.length > 0) lane.refused(under[0]!, 100, now)
          else if (event.what === 'reset') lane.reset()
          else if (event.what === 'reopen') lane.reopen()
          else if (event.what === 'gate') {
            opensAt[lanes.indexOf(lane)] = now + (event as { ms: number }).ms
            lane.changed()
          } else if (event.what === 'wait') now += (event as { ms: number }).ms
          // One of few lanes at a time is looked at: what is kept must have chosen the best of all.
          const chosen = kept.fullest(now)
          const open = lanes.filter((one) => one.readyAt(now) <= now && opensAt[lanes.indexOf(one)]! <= now)
          const left = (one: Lane) => (one.isKnown(now) ? one.remaining : Number.POSITIVE_INFINITY)
          const best = open.reduce<Lane | undefined>((a, b) => (a && left(a) >= left(b) ? a : b), undefined)
          expect(lanes.indexOf(chosen!)).toBe(lanes.indexOf(best!))
          const soonest = Math.min(...lanes.map((one, at) => Math.max(one.readyAt(now), opensAt[at]!, now)))
          expect(kept.soonest(now)).toBe(soonest)
        }
        kept.end()
      }),
      { numRuns: 150 },
    )
  })

  test('a request of another cost finds an owner whose window is large enough', async () => {
    const clock = createVirtualClock()
    const owners = Array.from({ length: 50 }, (_, index) => `o${index}`)
    const quota = createOwnerQuota({ limit: 2, windowMs: 1_000, limits: { o33: 9 }, clock })
    const sent: string[] = []
    const running = batch([1, 8, 1, 8], {
      keys: owners.map((owner) => ({ key: `k-${owner}`, owner })),
      quota,
      cost: (n) => n,
      send: async (n, _key, { owner }) => void sent.push(`${n} ${owner}`),
    })
    await clock.advance(5_000)
    expect((await running).map(({ status }) => status)).toEqual(Array(4).fill('fulfilled'))
    expect(sent.filter((one) => one.startsWith('8'))).toEqual(['8 o33', '8 o33'])
  })

  test('all limits are spent and none is passed, with 429s, dead keys and limits of keys between', async () => {
    const clock = createVirtualClock()
    const quota = createOwnerQuota({ limit: 3, windowMs: 1_000, clock })
    const keys = Array.from({ length: 60 }, (_, index) => ({
      key: `k${index}`,
      owner: `o${index}`,
      ...(index % 10 === 3 && { limit: 1 }),
    }))
    const perWindow = new Map<string, number>()
    let refused = false
    const running = batch(
      Array.from({ length: 600 }, (_, index) => index),
      {
        keys,
        quota,
        concurrencyPerOwner: 2,
        send: async (n, _key, { owner }) => {
          if (owner === 'o5') throw Object.assign(new Error('gone'), { keyDead: true })
          const window = `${owner} ${Math.floor(clock.monotonic() / 1_000)}`
          perWindow.set(window, (perWindow.get(window) ?? 0) + 1)
          await clock.sleep(5)
          if (owner === 'o7' && !refused) {
            refused = true
            throw new Refused(2_500)
          }
          return n
        },
      },
    )
    await clock.advance(20_000)
    const results = await running
    expect(results.every(({ status }) => status === 'fulfilled')).toBe(true)
    // 59 owners, 6 of them with 1 of 3: 165 in each of the first seconds, but for the one that was refused.
    const inSecond = (second: number) =>
      [...perWindow].reduce((sum, [window, n]) => (window.endsWith(` ${second}`) ? sum + n : sum), 0)
    expect(inSecond(0)).toBeGreaterThan(155)
    for (const [window, n] of perWindow) expect(n, window).toBeLessThanOrEqual(/^o\d?3 /.test(window) ? 1 : 3)
  })

  test('an owner that two batches share is left to the other when one ends', async () => {
    const clock = createVirtualClock()
    const quota = createOwnerQuota({ limit: 2, windowMs: 1_000, clock })
    const keys = Array.from({ length: 40 }, (_, index) => ({ key: `k${index}`, owner: `o${index}` }))
    const run = (n: number) =>
      batch(
        Array.from({ length: n }, (_, index) => index),
        { keys, quota, send: async (one) => one },
      )
    const both = Promise.all([run(30), run(300)])
    await clock.advance(10_000)
    for (const results of await both) expect(results.every(({ status }) => status === 'fulfilled')).toBe(true)
    const again = run(10)
    await clock.advance(1_000)
    expect(await again).toHaveLength(10)
    expect(clock.sleepers).toBe(0)
  })
})
