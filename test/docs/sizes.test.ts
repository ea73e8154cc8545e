import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { doorSizes, PAGE } from '../../docs/reference/door-sizes.ts'

/** A tenth is a change that somebody should have noticed; less is the compressor. */
const MORE = 1.1
const recorded = new Map(
  [...readFileSync(PAGE, 'utf8').matchAll(/^\| `([^`]+)` \| ([\d.]+) \| (.*) \|$/gm)].map(
    ([, door, size, packages]) => [
      door!,
      { kB: Number(size), packages: [...packages!.matchAll(/`([^`]+)`/g)].map(([, name]) => name!) },
    ],
  ),
)

test('every door weighs at most a tenth more than docs/reference/sizes.md says, and loads no package that it does not name', async () => {
  const sizes = await doorSizes()
  expect(sizes.map(({ door }) => door)).toEqual([...recorded.keys()])
  for (const { door, gzipBytes, packages } of sizes) {
    expect(gzipBytes / 1000, door).toBeLessThan(recorded.get(door)!.kB * MORE + 0.1)
    expect(packages, door).toEqual(recorded.get(door)!.packages)
  }
})
