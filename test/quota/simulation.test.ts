import { describe, expect, test } from 'vitest'
import { createOwnerQuota } from '../../src/instance/quota.ts'
import { batch } from '../../src/quota/batch.ts'
import { createVirtualClock } from '../../src/simulator/virtual-clock.ts'
import { FOUR_KEYS, seeded, Upstream } from './upstream.ts'

const SEEDS = 200

/** One batch; answers take 20 to 80 ms each way. */
async function run(
  n: number,
  seed: number,
  situation: Pick<ConstructorParameters<typeof Upstream>[0], 'pools'>,
  { limit, limits = {}, teach }: { limit: number; limits?: Record<string, number>; teach: boolean },
) {
  const clock = createVirtualClock()
  const random = seeded(seed)
  const upstream = new Upstream({
    clock,
    owners: FOUR_KEYS.owners,
    pools: situation.pools,
    latency: () => 20 + 60 * random(),
  })
  // The windows differ, so the longest is given: answers tell the others.
  const quota = createOwnerQuota({ limit, limits, windowMs: 10_000, clock })
  let doneAt = 0
  const running = batch(
    Array.from({ length: n }, (_, index) => index),
    {
      keys: FOUR_KEYS.keys,
      quota,
      send: async (index, key, { learn }) => {
        const answer = await upstream.call(key)
        if (teach) learn(answer)
        doneAt = clock.monotonic()
        return index
      },
    },
  )
  let settled = false
  const results = running.finally(() => {
    settled = true
  })
  while (!settled) await clock.advance(1_000)
  expect((await results).map((result) => (result.status === 'fulfilled' ? result.value : result))).toEqual(
    Array.from({ length: n }, (_, index) => index),
  )
  return { doneAt, refusals: upstream.refusals, upstream }
}

describe('four keys in three pools, 40 to 160 ms away', () => {
  test.each([
    [60, 1.04],
    [150, 1.02],
  ] as const)(
    '%i requests end within %f of the lower bound, without one 429, over 200 seeds',
    async (n, times) => {
      const bound = FOUR_KEYS.lowerBoundMs[n]
      let slowest = 0
      for (let seed = 1; seed <= SEEDS; seed++) {
        const { doneAt, refusals } = await run(n, seed, FOUR_KEYS, {
          limit: 10,
          limits: { B: 5, C: 20 },
          teach: true,
        })
        expect(refusals, `seed ${seed}`).toBe(0)
        slowest = Math.max(slowest, doneAt)
      }
      expect(slowest / bound).toBeLessThanOrEqual(times)
    },
    120_000,
  )

  test('the limits may be unknown: what answers say replaces the default', async () => {
    for (let seed = 1; seed <= 20; seed++) {
      const { doneAt, refusals } = await run(150, seed, FOUR_KEYS, { limit: 7, teach: true })
      expect(refusals, `seed ${seed}`).toBe(0)
      expect(doneAt / FOUR_KEYS.lowerBoundMs[150]).toBeLessThanOrEqual(1.02)
    }
  })

  test('where answers say nothing, the limits given are kept to without one 429', async () => {
    const window = { windowMs: 10_000 }
    const pools = { A: { limit: 10, ...window }, B: { limit: 5, ...window }, C: { limit: 20, ...window } }
    for (let seed = 1; seed <= 50; seed++) {
      const { doneAt, refusals } = await run(150, seed, { pools }, { limit: 10, limits: { B: 5, C: 20 }, teach: false })
      expect(refusals, `seed ${seed}`).toBe(0)
      // Five windows of 35; each ends a round trip late, because nobody says when it began.
      expect(doneAt).toBeLessThan(40_000 * 1.03)
    }
  })
})
