import { batch, createHoldfast, createOwnerQuota, type HoldfastEvent, type OwnerQuotaOptions } from 'holdfast'
import { describe, expect, test } from 'vitest'
import { createVirtualClock } from '../../src/simulator/virtual-clock.ts'
import { promisesOfAQuota } from './contract.ts'
import { promisesOfSeveralWindows } from './windows-contract.ts'

const quota = (options: Partial<Extract<OwnerQuotaOptions, { limit: number }>> = {}) => {
  const clock = createVirtualClock()
  return { clock, quota: createOwnerQuota({ limit: 10, windowMs: 60_000, clock, ...options }) }
}

describe('a quota in memory', () => {
  promisesOfAQuota(async () => {
    const { clock, quota: subject } = quota({ limits: { vip: 20, stopped: 0 } })
    return { quota: subject, windowMs: 60_000, pass: (ms) => clock.advance(ms) }
  })

  promisesOfSeveralWindows(async () => {
    const clock = createVirtualClock()
    const windows = [
      { limit: 10, windowMs: 60_000 },
      { limit: 25, windowMs: 240_000 },
    ]
    const subject = createOwnerQuota({ windows, limits: { vip: 20, stopped: 0 }, clock })
    return { quota: subject, windowMs: 60_000, pass: (ms) => clock.advance(ms) }
  })

  test('its windows begin with their first call, and a wall clock that steps moves none of them', async () => {
    const { clock, quota: subject } = quota()
    await clock.advance(45_000)
    await subject.take('a', 10)
    clock.step(-3_600_000)
    await clock.advance(59_999)
    expect(await subject.take('a')).toEqual({ ok: false, remaining: 0, retryAfterMs: 1 })
    clock.step(7_200_000)
    expect(await subject.take('a')).toMatchObject({ ok: false })
    await clock.advance(1)
    expect(await subject.take('a')).toEqual({ ok: true, remaining: 9 })
  })

  test('a window nobody told the end of ends marginMs later', async () => {
    const { clock, quota: subject } = quota({ marginMs: 100 })
    await subject.take('a', 10)
    await clock.advance(60_000)
    expect(await subject.take('a')).toMatchObject({ ok: false, retryAfterMs: 100 })
    await clock.advance(100)
    await subject.take('a', 10)
    await subject.learn('a', { resetAfterMs: 60_000 })
    await clock.advance(60_000)
    expect(await subject.take('a')).toMatchObject({ ok: true })
  })

  test('an answer that comes late, of a window before, says nothing about this one', async () => {
    const { clock, quota: subject } = quota()
    await subject.take('a', 10)
    await subject.learn('a', { remaining: 0, resetAfterMs: 60_000 })
    await clock.advance(60_000)
    await subject.take('a')
    await subject.learn('a', { remaining: 0, resetAfterMs: 20 })
    expect(await subject.state('a')).toMatchObject({ remaining: 9 })
    await clock.advance(20)
    expect(await subject.take('a', 9)).toMatchObject({ ok: true, remaining: 0 })
  })

  test('at most maxOwners have a window open; a window is never forgotten while it is', async () => {
    const { clock, quota: subject } = quota({ maxOwners: 3 })
    for (const owner of ['a', 'b', 'c']) await subject.take(owner, 10)
    expect(await subject.take('d')).toEqual({ ok: false, remaining: 0, retryAfterMs: 60_000 })
    expect(await subject.take('a')).toMatchObject({ ok: false })
    await clock.advance(60_000)
    for (const owner of ['d', 'e', 'f']) expect(await subject.take(owner)).toMatchObject({ ok: true })
  })

  test('more limits than maxOwners cannot be set', async () => {
    const { quota: subject } = quota({ maxOwners: 2 })
    await subject.setLimit('a', 1)
    await subject.setLimit('b', 1)
    await expect(subject.setLimit('c', 1)).rejects.toMatchObject({ code: 'QUOTA_FULL' })
    await subject.setLimit('a', 2)
    await subject.setLimit('b', undefined)
    await subject.setLimit('c', 1)
  })

  test('refuses settings that cannot be', () => {
    const refusal = (options: object) => {
      try {
        createOwnerQuota({ limit: 1, windowMs: 1, ...options })
      } catch (error) {
        return (error as { option?: string }).option
      }
      return undefined
    }
    expect(refusal({})).toBeUndefined()
    for (const limit of [-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, '10', undefined, null])
      expect(refusal({ limit }), String(limit)).toBe('limit')
    for (const windowMs of [0, -1, Number.NaN, Number.POSITIVE_INFINITY, '10', undefined])
      expect(refusal({ windowMs }), String(windowMs)).toBe('windowMs')
    for (const limits of [5, { a: -1 }, { a: '5' }]) expect(refusal({ limits })).toBe('limits')
    expect(refusal({ marginMs: -1 })).toBe('marginMs')
    expect(refusal({ maxOwners: 0 })).toBe('maxOwners')
    expect(refusal({ holdfast: {} })).toBe('holdfast')
    expect(() => createOwnerQuota(undefined as never)).toThrow('createOwnerQuota: option limit is missing')
  })

  test.each<[string, object, string]>([
    ['no window', { windows: [] }, 'windows'],
    ['nine windows', { windows: Array.from({ length: 9 }, (_, n) => ({ limit: n, windowMs: n + 1 })) }, 'windows'],
    ['no list', { windows: { limit: 1, windowMs: 1 } }, 'windows'],
    ['a window that is none', { windows: [null] }, 'windows[0].limit'],
    ['a window without a length', { windows: [{ limit: 1, windowMs: 1 }, { limit: 1 }] }, 'windows[1].windowMs'],
    [
      'two of one length',
      {
        windows: [
          { limit: 1, windowMs: 9 },
          { limit: 2, windowMs: 9 },
        ],
      },
      'windows',
    ],
    [
      'limits that were swapped',
      {
        windows: [
          { limit: 1000, windowMs: 1000 },
          { limit: 10, windowMs: 86_400_000 },
        ],
      },
      'windows',
    ],
    ['windows beside a limit', { limit: 1, windows: [{ limit: 1, windowMs: 1 }] }, 'limit'],
    ['windows beside a length', { windowMs: 1, windows: [{ limit: 1, windowMs: 1 }] }, 'windowMs'],
    ['a limit without a length', { limit: 1 }, 'windowMs'],
  ])('refuses %s', (_what, options, option) => {
    expect(() => createOwnerQuota(options as OwnerQuotaOptions)).toThrow(
      expect.objectContaining({ name: 'ConfigError', option }),
    )
  })

  test('takes windows in any order, and as many calls in a longer one as in a shorter', async () => {
    const windows = [
      { limit: 5, windowMs: 86_400_000 },
      { limit: 5, windowMs: 1000 },
    ]
    const subject = createOwnerQuota({ windows })
    await subject.take('a', 5)
    expect(await subject.state('a')).toMatchObject({ limit: 5, remaining: 0 })
  })
})

describe('events', () => {
  test('tell every decision, under a name that is not the owner, to on and to the instance', async () => {
    const own: HoldfastEvent[] = []
    const shared: HoldfastEvent[] = []
    await using holdfast = createHoldfast({ secret: 'a-secret-of-at-least-thirty-two-bytes' })
    holdfast.on((event) => shared.push(event))
    const subject = createOwnerQuota({ limit: 1, windowMs: 1000, holdfast, on: (event) => own.push(event) })
    await subject.take('80351110224678912')
    await subject.take('80351110224678912')
    await subject.take('other')
    expect(own.map(({ type, ...rest }) => [type, (rest as { remaining: number }).remaining])).toEqual([
      ['quota.taken', 0],
      ['quota.refused', 0],
      ['quota.taken', 0],
    ])
    expect(shared).toEqual(own.map((event) => ({ ...event, at: expect.any(Number) })))
    expect(JSON.stringify(own)).not.toContain('80351110224678912')
    const [first, second, third] = own.map((event) => (event as { owner: string }).owner)
    expect(first).toBe(second)
    expect(first).not.toBe(third)
  })
})

describe('a window that no answer told the end of', () => {
  test('gives nothing from a margin before its length until a margin after it', async () => {
    const { clock, quota: subject } = quota({ marginMs: 1_000 })
    await subject.take('a', 3)
    await clock.advance(58_999)
    expect(await subject.take('a')).toMatchObject({ ok: true, remaining: 6 })
    await clock.advance(1)
    expect(await subject.state('a')).toMatchObject({ limit: 10, remaining: 0 })
    expect(await subject.take('a')).toEqual({ ok: false, remaining: 0, retryAfterMs: 2_000 })
    await clock.advance(2_000)
    expect(await subject.take('a', 10)).toMatchObject({ ok: true, remaining: 0 })
  })

  test('gives all of it until its end once an answer tells that', async () => {
    const { clock, quota: subject } = quota({ marginMs: 1_000 })
    await subject.take('a', 3)
    await subject.learn('a', { remaining: 7, resetAfterMs: 60_000 })
    await clock.advance(59_999)
    expect(await subject.take('a', 7)).toMatchObject({ ok: true, remaining: 0 })
  })
})

describe('reset', () => {
  test('lets a batch go on that waits for a 429 to be over', async () => {
    const { clock, quota: subject } = quota()
    const sent: number[] = []
    const running = batch([1, 2], {
      keys: [{ key: 'k', owner: 'a' }],
      quota: subject,
      send: async (n) => {
        if (sent.push(n) === 1) throw Object.assign(new Error('429'), { retryAfterMs: 3_600_000 })
      },
    })
    await clock.advance(10_000)
    expect(sent).toHaveLength(1)
    await subject.reset('a')
    await clock.advance(1)
    expect((await running).every(({ status }) => status === 'fulfilled')).toBe(true)
  })
})

describe('dryRun', () => {
  test('counts, and tells what it would refuse, but refuses nothing', async () => {
    const told: string[] = []
    const { clock, quota: subject } = quota({ dryRun: true, limit: 2, on: ({ type }) => told.push(type) })
    for (let n = 0; n < 4; n++) expect(await subject.take('a')).toMatchObject({ ok: true })
    expect(told).toEqual(['quota.taken', 'quota.taken', 'quota.refused', 'quota.refused'])
    expect(await subject.state('a')).toMatchObject({ limit: 2, remaining: 0 })
    await clock.advance(60_000)
    await subject.take('a')
    expect(told.at(-1)).toBe('quota.taken')
  })

  test('lets batches and runs go at once', async () => {
    const { quota: subject } = quota({ dryRun: true, limit: 1, limits: { stopped: 0 } })
    expect(await Promise.all([1, 2, 3].map((n) => subject.run('stopped', async () => n)))).toEqual([1, 2, 3])
    const results = await batch([1, 2, 3, 4], {
      keys: [{ key: 'k', owner: 'a' }],
      quota: subject,
      send: async (n) => n,
    })
    expect(results.map((result) => result.status)).toEqual(Array(4).fill('fulfilled'))
  })
})
