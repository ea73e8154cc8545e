import fc from 'fast-check'
import { expect, test } from 'vitest'
import { LazySet } from '../../src/concurrency/lazy-set.ts'

test('is a Set, whatever is added and deleted, also while it is gone through', () => {
  const steps = fc.array(fc.record({ do: fc.constantFrom('add', 'delete', 'drain'), member: fc.nat(5) }))
  fc.assert(
    fc.property(steps, (steps) => {
      const lazy = new LazySet<number>()
      const set = new Set<number>()
      for (const { do: what, member } of steps) {
        if (what === 'add') {
          lazy.add(member)
          set.add(member)
        } else if (what === 'delete') expect(lazy.delete(member)).toBe(set.delete(member))
        else {
          const seen: number[] = []
          for (const one of lazy) {
            seen.push(one)
            lazy.delete(one)
          }
          expect(seen).toEqual([...set])
          set.clear()
        }
        expect([...lazy]).toEqual([...set])
        expect(lazy.size).toBe(set.size)
        expect(lazy.has(member)).toBe(set.has(member))
      }
    }),
  )
})
