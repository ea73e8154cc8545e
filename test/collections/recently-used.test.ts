import { describe, expect, test } from 'vitest'
import { RecentlyUsed } from '../../src/collections/recently-used.ts'

describe('what was used longest ago', () => {
  test('goes first when there is one too many', () => {
    const held = new RecentlyUsed<string, number>(2)
    held.set('a', 1).set('b', 2)
    held.get('a')
    held.set('c', 3)
    expect([held.get('a'), held.get('b'), held.get('c'), held.size]).toEqual([1, undefined, 3, 2])
  })

  test('is handed to whoever wants to clean up after it', () => {
    const gone: number[] = []
    const held = new RecentlyUsed<string, number>(1, { dispose: (value) => gone.push(value) })
    held.set('a', 1).set('b', 2)
    expect(gone).toEqual([1])
  })

  test('has no room reserved for it: a hundred maps of 100 000 places weigh nothing while they are empty', () => {
    const before = process.memoryUsage().arrayBuffers
    const maps = Array.from({ length: 100 }, () => new RecentlyUsed<string, number>(100_000))
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(1_000_000)
    expect(maps).toHaveLength(100)
  })
})
