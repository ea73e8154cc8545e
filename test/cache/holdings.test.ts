import { describe, expect, test, vi } from 'vitest'
import { newEntry } from '../../src/cache/entry.ts'
import { Failures } from '../../src/cache/failures.ts'
import { Holdings } from '../../src/cache/holdings.ts'
import { MemoryTier } from '../../src/cache/memory-tier.ts'
import type { SharedNews, SharedTier } from '../../src/cache/shared-tier.ts'
import { createVirtualClock } from '../../src/simulator/virtual-clock.ts'

const clock = createVirtualClock()
const entry = (value: unknown, more: { user?: string; bytes?: number; begunAt?: number; kept?: boolean } = {}) => {
  const { user, bytes = 0, begunAt = 0, kept = false } = more
  return newEntry({ user, freshMs: 1_000, keepMs: 1_000, kept }, value, { bytes, ageMs: 0, begunAt, life: 0 }, clock)
}

describe('what another process invalidated', () => {
  function setUp() {
    let news!: SharedNews
    const shared = {
      isUsable: true,
      listen: (told: SharedNews) => {
        news = told
      },
    } as Partial<SharedTier> as SharedTier
    const held = new Holdings(new MemoryTier(10, 100_000), new Failures(clock), shared)
    return { held, news }
  }

  test('is forgotten where its load began before, and kept where it began after', () => {
    const { held, news } = setUp()
    held.memory.store('old', entry('old', { begunAt: 99 }))
    held.memory.store('new', entry('new', { begunAt: 100 }))
    for (const id of ['old', 'new', 'unknown']) news.invalidated(id, 100)
    expect([held.memory.find('old'), held.memory.find('new')?.value]).toEqual([undefined, 'new'])
  })

  test('of a user goes with all that is theirs and was there before', () => {
    const { held, news } = setUp()
    held.memory.store('\u0000u3:anna', entry('old', { user: 'ann', begunAt: 5 }))
    held.memory.store('\u0000u3:annb', entry('new', { user: 'ann', begunAt: 20 }))
    held.memory.store('\u0000u3:boba', entry('other', { user: 'bob', begunAt: 5 }))
    news.userInvalidated('ann', 10)
    expect([...held.memory.all()].map(({ value }) => value)).toEqual(['new', 'other'])
  })
})

describe('the room in memory', () => {
  test('that bytes take: values of the app push the house’s own out only where these have more than half of it', () => {
    const memory = new MemoryTier(1_000, 100_000)
    for (let index = 0; index < 40; index++) memory.store(`\u0000oown${index}`, entry('v', { bytes: 500 }))
    for (let index = 0; index < 300; index++) memory.store(`app${index}`, entry('v', { bytes: 2_000 }))
    expect(memory.bytes).toBeLessThanOrEqual(100_000)
    const isThere = Array.from({ length: 40 }, (_, index) => memory.find(`\u0000oown${index}`) !== undefined)
    expect(isThere).toEqual(Array.from({ length: 40 }, () => true))
  })

  test('what replaces a value is held before the old one is let go: parts that both share stay', () => {
    const told: string[] = []
    const keeper = {
      bytes: 0,
      hold: vi.fn((value: unknown) => told.push(`hold ${value}`)),
      release: vi.fn((value: unknown) => told.push(`release ${value}`)),
    }
    const memory = new MemoryTier(10, 100_000, keeper)
    memory.store('list', entry('one', { kept: true }))
    memory.store('list', entry('two', { kept: true }))
    expect(told).toEqual(['hold one', 'hold two', 'release one'])
    memory.store('\u0000olist', entry('x'.repeat(10), { kept: true, bytes: 0 }))
    memory.clear()
    expect(keeper.hold).toHaveBeenCalledTimes(keeper.release.mock.calls.length)
  })
})
