import { expect, inject, test } from 'vitest'
import { runChaos } from '../../chaos/chaos.ts'
import { report } from '../../chaos/screen.ts'

// Half a minute of one seed. `npm run chaos` is longer, takes another seed each time, and shows what it does.
const seed = Number(process.env.CHAOS_SEED ?? 6)

test.skipIf(!inject('redisServers'))(
  `nothing that Redis, Discord or the processes do makes an answer wrong (seed ${seed})`,
  { timeout: 120_000 },
  async () => {
    const standing = await runChaos({ seed, seconds: 30 })
    expect(standing.judged).toBeGreaterThan(500)
    expect(standing.violations, report(standing)).toEqual([])
  },
)
