import { batch, batchStream } from 'holdfast'
import { describe, expect, test } from 'vitest'
import type { QuotaUnderTest } from './contract.ts'

/** What every quota of several windows promises, wherever it counts: 10 calls in `windowMs`, 25 in four of them; owner `vip` 20. */
export function promisesOfSeveralWindows(make: () => Promise<QuotaUnderTest>): void {
  describe('several windows', () => {
    test('every call counts in all of them: the long one ends what the short one would still give', async () => {
      const { quota, windowMs, pass } = await make()
      for (const given of [10, 10]) {
        expect(await quota.take('a', given)).toMatchObject({ ok: true })
        const refusal = await quota.take('a')
        expect(refusal).toMatchObject({ ok: false, remaining: 0 })
        expect(refusal.ok ? 0 : refusal.retryAfterMs).toBeLessThanOrEqual(windowMs)
        await pass(windowMs)
      }
      expect(await quota.take('a', 5)).toMatchObject({ ok: true, remaining: 0 })
      const refusal = await quota.take('a')
      const wait = refusal.ok ? 0 : refusal.retryAfterMs
      expect(wait).toBeGreaterThan(windowMs)
      expect(wait).toBeLessThanOrEqual(2 * windowMs)
      await pass(wait)
      expect(await quota.take('a', 10)).toMatchObject({ ok: true, remaining: 0 })
    })

    test('what one of them refuses costs none of them anything', async () => {
      const { quota, windowMs, pass } = await make()
      await quota.take('a', 8)
      for (let n = 0; n < 5; n++) expect(await quota.take('a', 9)).toMatchObject({ ok: false, remaining: 2 })
      await pass(windowMs)
      await quota.take('a', 10)
      // 18 of 25 in the long one.
      expect(await quota.take('a')).toMatchObject({ ok: false, remaining: 0 })
      await pass(windowMs)
      expect(await quota.take('a', 8)).toMatchObject({ ok: false, remaining: 7 })
      expect(await quota.take('a', 7)).toMatchObject({ ok: true, remaining: 0 })
    })

    test('more than the smallest limit is never given', async () => {
      const { quota } = await make()
      expect(await quota.take('a', 11)).toMatchObject({ ok: false, retryAfterMs: Number.POSITIVE_INFINITY })
      expect(await quota.take('vip', 20)).toMatchObject({ ok: true, remaining: 0 })
      expect(await quota.take('stopped')).toMatchObject({ ok: false, retryAfterMs: Number.POSITIVE_INFINITY })
    })

    test('state tells the scarcest, and of equally scarce ones the one that is full again last', async () => {
      const { quota, windowMs, pass } = await make()
      expect(await quota.state('a')).toMatchObject({ limit: 10, remaining: 10 })
      await quota.take('a', 10)
      await pass(windowMs)
      await quota.take('a', 10)
      expect(await quota.state('a')).toMatchObject({ limit: 10, remaining: 0 })
      await pass(windowMs)
      const scarce = await quota.state('a')
      expect(scarce).toMatchObject({ limit: 25, remaining: 5 })
      await quota.take('a', 5)
      // The short one has 5 left, the long one nothing.
      expect(await quota.state('a')).toMatchObject({ limit: 25, remaining: 0, resetAt: expect.any(Date) })
      expect(await quota.state('stopped')).toMatchObject({ limit: 0, remaining: 0 })
    })

    test('setLimit caps the first', async () => {
      const { quota, windowMs, pass } = await make()
      await quota.setLimit('a', 15)
      expect(await quota.take('a', 15)).toMatchObject({ ok: true })
      await pass(windowMs)
      expect(await quota.take('a', 10)).toMatchObject({ ok: true, remaining: 0 })
      await quota.setLimit('a', undefined)
      expect(await quota.take('a')).toMatchObject({ ok: false })
      await quota.setLimit('b', 0)
      expect(await quota.take('b')).toMatchObject({ ok: false, retryAfterMs: Number.POSITIVE_INFINITY })
    })

    test('an answer is about the window it names, else the one whose limit it names, else the first', async () => {
      const { quota, windowMs } = await make()
      await quota.learn('a', { windowMs: 4 * windowMs, remaining: 3 })
      expect(await quota.state('a')).toMatchObject({ limit: 25, remaining: 3 })
      await quota.learn('b', { limit: 25, remaining: 4 })
      expect(await quota.state('b')).toMatchObject({ limit: 25, remaining: 4 })
      await quota.learn('c', { remaining: 5 })
      expect(await quota.state('c')).toMatchObject({ limit: 10, remaining: 5 })
      await quota.learn('d', { limit: 7 })
      expect(await quota.state('d')).toMatchObject({ limit: 7, remaining: 7 })
      await quota.learn('vip', { limit: 20, remaining: 6 })
      expect(await quota.state('vip')).toMatchObject({ limit: 20, remaining: 6 })
    })

    test('a limit that was told of a window is what later answers name it by', async () => {
      const { quota, windowMs } = await make()
      await quota.take('a')
      await quota.learn('a', { windowMs: 4 * windowMs, limit: 40 })
      await quota.learn('a', { limit: 40, remaining: 2 })
      expect(await quota.state('a')).toMatchObject({ limit: 40, remaining: 2 })
    })

    test('a told end is that of its own window alone', async () => {
      const { quota, windowMs, pass } = await make()
      await quota.take('a', 10)
      await quota.learn('a', { windowMs: 4 * windowMs, remaining: 0, resetAfterMs: 2 * windowMs })
      await pass(windowMs)
      expect(await quota.take('a')).toMatchObject({ ok: false, remaining: 0 })
      await pass(windowMs)
      expect(await quota.take('a', 10)).toMatchObject({ ok: true })
    })

    test('of an answer about a window that it does not have only the wait is believed', async () => {
      const { quota, windowMs, pass } = await make()
      await quota.learn('a', { windowMs: 7 * windowMs, limit: 1, remaining: 0, resetAfterMs: windowMs })
      expect(await quota.state('a')).toMatchObject({ limit: 10, remaining: 10 })
      await quota.learn('a', { windowMs: 7 * windowMs, retryAfterMs: windowMs / 2 })
      expect(await quota.take('a')).toMatchObject({ ok: false, remaining: 0 })
      await pass(windowMs / 2)
      expect(await quota.take('a')).toMatchObject({ ok: true })
    })

    test('a window that is no length says nothing, and the rest of the answer does', async () => {
      const { quota } = await make()
      for (const windowMs of [0, -1, Number.NaN, '5', null])
        await quota.learn('a', { windowMs: windowMs as number, remaining: 4 })
      expect(await quota.state('a')).toMatchObject({ limit: 10, remaining: 4 })
    })

    test('a 429 closes them all, whichever it was about', async () => {
      const { quota, windowMs, pass } = await make()
      await quota.take('a')
      await quota.learn('a', { windowMs: 4 * windowMs, retryAfterMs: 2 * windowMs })
      await pass(windowMs)
      expect(await quota.take('a')).toMatchObject({ ok: false, remaining: 0 })
      await pass(windowMs)
      expect(await quota.take('a')).toMatchObject({ ok: true })
    })

    test('reset empties them all', async () => {
      const { quota } = await make()
      await quota.take('a', 10)
      await quota.reset('a')
      expect(await quota.take('a', 10)).toMatchObject({ ok: true })
      await quota.reset('a')
      // 20 of 25, were the long one still counted.
      expect(await quota.take('a', 10)).toMatchObject({ ok: true, remaining: 0 })
    })

    test('run, batch and batchStream keep to all of them', async () => {
      const { quota, windowMs, pass } = await make()
      const sent: Record<string, number> = {}
      const send = async (owner: string) => {
        sent[owner] = (sent[owner] ?? 0) + 1
      }
      const requests = Array.from({ length: 30 }, () => 'request')
      const keyOf = (owner: string) => ({ quota, keys: [{ key: `key of ${owner}`, owner }] })
      const runs = Promise.all(requests.map(() => quota.run('runs', () => send('runs'))))
      const batched = batch(requests, { ...keyOf('batch'), send: () => send('batch') })
      const streamed = collect(batchStream(requests, { ...keyOf('stream'), send: () => send('stream') }))
      await pass(windowMs / 2)
      expect(sent).toEqual({ runs: 10, batch: 10, stream: 10 })
      await pass(2.8 * windowMs)
      expect(sent).toEqual({ runs: 25, batch: 25, stream: 25 })
      await pass(1.5 * windowMs)
      await runs
      expect((await batched).every(({ status }) => status === 'fulfilled')).toBe(true)
      expect((await streamed).every(({ status }) => status === 'fulfilled')).toBe(true)
      expect(sent).toEqual({ runs: 30, batch: 30, stream: 30 })
    })

    test('a request that costs more than the smallest limit is rejected, and holds up nobody', async () => {
      const { quota } = await make()
      const results = await batch([12, 2], {
        keys: [{ key: 'k', owner: 'a' }],
        quota,
        cost: (cost) => cost,
        send: async (cost) => cost,
      })
      expect(results).toMatchObject([
        { status: 'rejected', reason: { code: 'QUOTA_NEVER' } },
        { status: 'fulfilled', value: 2 },
      ])
      await expect(quota.run('b', async () => 1, { cost: 11 })).rejects.toMatchObject({ code: 'QUOTA_NEVER' })
    })
  })
}

async function collect<T>(stream: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = []
  for await (const one of stream) all.push(one)
  return all
}
