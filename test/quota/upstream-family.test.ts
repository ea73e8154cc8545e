import { describe, expect, test } from 'vitest'
import { broken, type Judged, kindOf, spendWindows } from './upstream-family.ts'

// A few of each; test/long/quota does 1 000 seeds, and `npm run bench -- quota-family` prints what each kind comes to.
const SEEDS = 120

describe(`${SEEDS} upstreams that count, tell and answer as real ones do`, () => {
  test('where answers tell the truth no 429; elsewhere at most one a window; and everything is answered in the end', async () => {
    const all: Judged[] = []
    for (let seed = 1; seed <= SEEDS; seed++) all.push(await spendWindows(seed))
    expect(broken(all)).toEqual([])
  }, 60_000)
})

describe('a window whose end is told in whole seconds', () => {
  test.each(['rounded down', 'to the nearest', 'rounded up'] as const)(
    'where our first call began it, never ends before the upstream’s: %s',
    async (headers) => {
      for (let seed = 1; seed <= 25; seed++) {
        const judged = await spendWindows(seed, {
          ...kindOf(seed),
          window: 'first-call',
          headers,
          way: 'steady',
          strangers: false,
        })
        expect(judged, `seed ${seed}`).toMatchObject({ refusals: 0, unanswered: 0 })
      }
    },
    60_000,
  )
})
