import { describe, expect, test } from 'vitest'
import type { OwnerQuota } from '../../src/quota/owner-quota.ts'

/** A quota of 10 calls in `windowMs`, owner `vip` 20, `stopped` 0; and how its time passes. */
export interface QuotaUnderTest {
  readonly quota: OwnerQuota
  readonly windowMs: number
  pass(ms: number): Promise<void>
}

/** What every quota promises, wherever it counts. */
export function promisesOfAQuota(make: () => Promise<QuotaUnderTest>): void {
  describe('take', () => {
    test('gives the limit, then says how long until more, and counts no refusal', async () => {
      const { quota, windowMs, pass } = await make()
      for (let n = 9; n >= 0; n--) expect(await quota.take('a')).toMatchObject({ ok: true })
      const refusal = await quota.take('a')
      expect(refusal).toMatchObject({ ok: false, remaining: 0 })
      const wait = refusal.ok ? 0 : refusal.retryAfterMs
      expect(wait).toBeGreaterThan(0)
      expect(wait).toBeLessThanOrEqual(windowMs * 1.05)
      await quota.take('a', 5)
      await pass(wait)
      expect(await quota.take('a', 10)).toMatchObject({ ok: true, remaining: 0 })
    })

    test('takes several calls together or not at all', async () => {
      const { quota } = await make()
      expect(await quota.take('a', 7)).toMatchObject({ ok: true })
      expect(await quota.take('a', 4)).toMatchObject({ ok: false, remaining: 3 })
      expect(await quota.take('a', 3)).toMatchObject({ ok: true, remaining: 0 })
    })

    test('counts owners apart', async () => {
      const { quota } = await make()
      await quota.take('a', 10)
      expect(await quota.take('b', 10)).toMatchObject({ ok: true })
    })

    test('never gives more than the limit to callers at the same time', async () => {
      const { quota } = await make()
      const answers = await Promise.all(Array.from({ length: 40 }, () => quota.take('a')))
      expect(answers.filter((answer) => answer.ok)).toHaveLength(10)
    })

    test('says Infinity where more is asked for than a window can have', async () => {
      const { quota } = await make()
      expect(await quota.take('a', 11)).toMatchObject({ ok: false, retryAfterMs: Number.POSITIVE_INFINITY })
      expect(await quota.take('stopped')).toEqual({ ok: false, remaining: 0, retryAfterMs: Number.POSITIVE_INFINITY })
    })

    test('refuses what is no owner and no number of calls', async () => {
      const { quota } = await make()
      for (const owner of ['', 5, undefined, 'x'.repeat(513)])
        await expect(quota.take(owner as string), String(owner)).rejects.toMatchObject({ code: 'INVALID_OPTION' })
      for (const n of [0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY])
        await expect(quota.take('a', n), String(n)).rejects.toMatchObject({ code: 'INVALID_OPTION' })
    })
  })

  describe('state', () => {
    test('tells limit, what is left and when all is there again, and changes nothing', async () => {
      const { quota } = await make()
      expect(await quota.state('vip')).toMatchObject({ limit: 20, remaining: 20 })
      const before = await quota.state('a')
      expect(before).toMatchObject({ limit: 10, remaining: 10 })
      await quota.take('a', 4)
      const after = await quota.state('a')
      expect(after).toMatchObject({ limit: 10, remaining: 6 })
      expect(after.resetAt.getTime()).toBeGreaterThan(before.resetAt.getTime())
    })
  })

  describe('setLimit', () => {
    test('holds at once, also below what is used already, and undefined returns to the default', async () => {
      const { quota } = await make()
      await quota.take('a', 6)
      await quota.setLimit('a', 3)
      expect(await quota.state('a')).toMatchObject({ limit: 3, remaining: 0 })
      expect(await quota.take('a')).toMatchObject({ ok: false, remaining: 0 })
      await quota.setLimit('a', 8)
      expect(await quota.take('a', 2)).toMatchObject({ ok: true, remaining: 0 })
      expect(await quota.take('a')).toMatchObject({ ok: false })
      await quota.setLimit('a', undefined)
      expect(await quota.take('a', 2)).toMatchObject({ ok: true, remaining: 0 })
    })

    test('0 stops an owner, and more lets it go on', async () => {
      const { quota } = await make()
      await quota.setLimit('a', 0)
      expect(await quota.take('a')).toMatchObject({ ok: false, retryAfterMs: Number.POSITIVE_INFINITY })
      await quota.setLimit('a', 1)
      expect(await quota.take('a')).toMatchObject({ ok: true })
    })

    test('refuses what is no limit', async () => {
      const { quota } = await make()
      for (const limit of [-1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, '5'])
        await expect(quota.setLimit('a', limit as number), String(limit)).rejects.toMatchObject({
          code: 'INVALID_OPTION',
        })
    })
  })

  describe('learn', () => {
    test('what remains takes away and never adds', async () => {
      const { quota } = await make()
      await quota.take('a', 2)
      await quota.learn('a', { remaining: 3 })
      expect(await quota.state('a')).toMatchObject({ remaining: 3 })
      await quota.learn('a', { remaining: 9 })
      expect(await quota.state('a')).toMatchObject({ remaining: 3 })
      expect(await quota.take('a', 4)).toMatchObject({ ok: false })
    })

    test('a window that began before we knew of it ends when the answer says', async () => {
      const { quota, windowMs, pass } = await make()
      await quota.take('vip')
      await quota.learn('vip', { limit: 20, remaining: 2, resetAfterMs: windowMs / 4 })
      expect(await quota.take('vip', 3)).toMatchObject({ ok: false, remaining: 2 })
      await pass(windowMs / 4)
      expect(await quota.take('vip', 20)).toMatchObject({ ok: true })
    })

    test('a refusal closes the owner until its time has passed', async () => {
      const { quota, windowMs, pass } = await make()
      await quota.take('a')
      await quota.learn('a', { retryAfterMs: windowMs / 2 })
      const refusal = await quota.take('a')
      expect(refusal).toMatchObject({ ok: false, remaining: 0 })
      expect(refusal.ok ? 0 : refusal.retryAfterMs).toBeLessThanOrEqual(windowMs / 2)
      await pass(windowMs / 2)
      expect(await quota.take('a')).toMatchObject({ ok: true })
    })

    test('a limit replaces the default, and only lowers one that was set', async () => {
      const { quota } = await make()
      await quota.learn('a', { limit: 15 })
      expect(await quota.state('a')).toMatchObject({ limit: 15 })
      await quota.learn('vip', { limit: 50 })
      expect(await quota.state('vip')).toMatchObject({ limit: 20 })
      await quota.learn('vip', { limit: 5 })
      expect(await quota.state('vip')).toMatchObject({ limit: 5, remaining: 5 })
      await quota.setLimit('vip', 8)
      expect(await quota.state('vip')).toMatchObject({ limit: 8 })
    })

    test('what cannot be says nothing', async () => {
      const { quota } = await make()
      await quota.take('a')
      await quota.learn('a', {
        limit: Number.NaN,
        remaining: -3,
        resetAfterMs: Number.POSITIVE_INFINITY,
        retryAfterMs: '9' as never,
      })
      await quota.learn('a', {})
      expect(await quota.state('a')).toMatchObject({ limit: 10, remaining: 9 })
      await expect(quota.learn('a', null as never)).rejects.toMatchObject({ code: 'INVALID_OPTION' })
    })
  })

  describe('reset', () => {
    test('forgets what was used, told and refused, and keeps a limit that was set', async () => {
      const { quota, windowMs, pass } = await make()
      await quota.take('a', 9)
      await quota.learn('a', { limit: 3, resetAfterMs: windowMs * 4, retryAfterMs: 3_600_000 })
      expect(await quota.take('a')).toMatchObject({ ok: false })
      await quota.reset('a')
      expect(await quota.state('a')).toMatchObject({ limit: 10, remaining: 10 })
      expect(await quota.take('a', 10)).toMatchObject({ ok: true, remaining: 0 })
      expect(await quota.take('a')).toMatchObject({ ok: false })
      // A second time, and the window after it as any other.
      await quota.reset('a')
      expect(await quota.take('a', 4)).toMatchObject({ ok: true, remaining: 6 })
      await pass(windowMs * 1.05)
      expect(await quota.take('a', 10)).toMatchObject({ ok: true, remaining: 0 })
      await quota.setLimit('b', 2)
      await quota.reset('b')
      expect(await quota.state('b')).toMatchObject({ limit: 2, remaining: 2 })
    })

    test('leaves other owners alone, takes one nobody has heard of, and refuses what is no owner', async () => {
      const { quota } = await make()
      await quota.take('a', 4)
      await quota.reset('b')
      expect(await quota.state('a')).toMatchObject({ remaining: 6 })
      await expect(quota.reset('')).rejects.toMatchObject({ code: 'INVALID_OPTION' })
    })
  })

  describe('close', () => {
    test('ends it, twice as well as once', async () => {
      const { quota } = await make()
      await quota.close()
      await quota.close()
      await expect(quota.take('a')).rejects.toMatchObject({ code: 'CLOSED' })
      await expect(quota.state('a')).rejects.toMatchObject({ code: 'CLOSED' })
    })
  })
}
