import { batch, createOwnerQuota } from 'holdfast'
import { createVirtualClock } from 'holdfast/simulator'
import { describe, expect, test } from 'vitest'
import { believed } from '../../src/quota/quota-answer.ts'

const SECOND = { limit: 10, windowMs: 1_000 }
const DAY = { limit: 100, windowMs: 86_400_000 }

describe('a quota of a second and a day', () => {
  test('tells of a stopped owner the limit of 0, also where the day is spent', async () => {
    const quota = createOwnerQuota({ windows: [SECOND, DAY] })
    await quota.learn('a', { windowMs: DAY.windowMs, remaining: 0 })
    await quota.setLimit('a', 0)
    expect(await quota.state('a')).toMatchObject({ limit: 0, remaining: 0 })
  })

  test('charges what is under way when a second begins to that second, and not to the day again', async () => {
    const clock = createVirtualClock()
    const quota = createOwnerQuota({ windows: [SECOND, DAY], clock })
    const running = batch(
      Array.from({ length: 60 }, (_, n) => n),
      {
        keys: [{ key: 'k', owner: 'a' }],
        quota,
        // Only the first is back before the next second begins.
        send: (n) => clock.sleep(n === 0 ? 50 : 1_500),
      },
    )
    await clock.advance(60_000)
    await running
    expect(await quota.state('a')).toMatchObject({ limit: 10, remaining: 10 })
    await quota.setLimit('a', 1_000)
    expect(await quota.state('a')).toMatchObject({ limit: 100, remaining: 40 })
  })

  test('forgets no owner whose day is open, though the second is over', async () => {
    const clock = createVirtualClock()
    const quota = createOwnerQuota({ windows: [SECOND, DAY], maxOwners: 1, clock })
    await quota.take('a', 10)
    await clock.advance(2_000)
    expect(await quota.take('b')).toMatchObject({ ok: false })
    await clock.advance(DAY.windowMs)
    expect(await quota.take('b')).toMatchObject({ ok: true })
  })

  test('rejects what costs more than the second allows, where the day is the scarcer', async () => {
    const quota = createOwnerQuota({ windows: [SECOND, DAY] })
    await quota.learn('a', { windowMs: DAY.windowMs, remaining: 5 })
    const [result] = await batch([20], {
      keys: [{ key: 'k', owner: 'a' }],
      quota,
      cost: (cost) => cost,
      send: async (n) => n,
    })
    expect(result).toMatchObject({ status: 'rejected', reason: { code: 'QUOTA_NEVER' } })
  })
})

describe('a window whose end no answer tells', () => {
  test.each([true, false])(
    'is reckoned from the answer to its first call: said to be there at once (%s), or when send ends',
    async (says) => {
      const clock = createVirtualClock()
      const quota = createOwnerQuota({ limit: 1, windowMs: 10_000, clock })
      const sent: number[] = []
      const running = batch([1, 2], {
        keys: [{ key: 'k', owner: 'a' }],
        quota,
        send: async (_n, _key, { learn }) => {
          sent.push(clock.monotonic())
          await clock.sleep(200)
          if (says) learn({})
          await clock.sleep(1_000)
        },
      })
      await clock.advance(30_000)
      await running
      expect(sent).toEqual([0, says ? 10_200 : 11_200])
    },
  )
})

test('a limit told as 0 is a header that is missing, and so is what remains beside it', () => {
  expect(believed({ limit: 0, remaining: 0, resetAfterMs: 0 }, 1_000)).toEqual({})
})
