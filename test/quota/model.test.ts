import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createOwnerQuota } from '../../src/instance/quota.ts'
import { createVirtualClock } from '../../src/simulator/virtual-clock.ts'

// Random histories against an upstream that counts for itself. It knows what was really made, by us and by somebody
// else; the quota knows what it gave and what it was told. The quota must never give what the upstream would refuse
// while all it needs to know was told, and never refuse what its own rules would give.

// No end is told in whole seconds: those are doubted.
const WINDOW_MS = 10_000.5
const DEFAULT = 8

type Command =
  | { do: 'take'; owner: number; n: number }
  | { do: 'setLimit'; owner: number; limit: number | undefined }
  | { do: 'foreign'; owner: number; n: number }
  | { do: 'learn'; owner: number; ms: number }
  | { do: 'hold'; owner: number; ms: number }
  | { do: 'pass'; ms: number }
  | { do: 'step'; ms: number }

const owner = fc.nat({ max: 2 })
const command: fc.Arbitrary<Command> = fc.oneof(
  { weight: 8, arbitrary: fc.record({ do: fc.constant('take' as const), owner, n: fc.integer({ min: 1, max: 5 }) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('setLimit' as const),
      owner,
      limit: fc.option(fc.nat({ max: 12 }), { nil: undefined }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('foreign' as const), owner, n: fc.integer({ min: 1, max: 4 }) }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('learn' as const), owner, ms: fc.constant(0) }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('hold' as const), owner, ms: fc.constantFrom(0, 500, 4_000, 25_000) }),
  },
  {
    weight: 5,
    arbitrary: fc.record({ do: fc.constant('pass' as const), ms: fc.constantFrom(1, 700, 3_000, 9_999, 10_000) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('step' as const), ms: fc.constantFrom(-3_600_000, 3_600_000) }),
  },
)

/** One owner, as the upstream counts. */
class Upstream {
  used = 0
  endsAt = 0
  heldUntil = 0
  limit = DEFAULT

  roll(now: number) {
    if (now >= this.endsAt) this.used = 0
  }

  count(n: number, now: number) {
    this.roll(now)
    if (this.used === 0) this.endsAt = now + WINDOW_MS
    this.used += n
  }
}

test('no history of takes, limits, answers and clock steps gives more than a window has, or refuses what it has', async () => {
  const seen = { given: 0, refused: 0, held: 0 }
  await fc.assert(
    fc.asyncProperty(fc.array(command, { minLength: 5, maxLength: 80, size: 'max' }), async (commands) => {
      const clock = createVirtualClock()
      const quota = createOwnerQuota({ limit: DEFAULT, windowMs: WINDOW_MS, clock })
      const upstreams = [new Upstream(), new Upstream(), new Upstream()]
      for (const command of commands) {
        const now = clock.monotonic()
        if (command.do === 'pass') await clock.advance(command.ms)
        else if (command.do === 'step') clock.step(command.ms)
        else {
          const name = `owner ${command.owner}`
          const upstream = upstreams[command.owner]!
          const tell = () => {
            upstream.roll(now)
            const remaining = Math.max(0, upstream.limit - upstream.used)
            return quota.learn(name, {
              remaining,
              ...(upstream.used > 0 && { resetAfterMs: upstream.endsAt - now }),
            })
          }
          if (command.do === 'setLimit') {
            upstream.limit = command.limit ?? DEFAULT
            await quota.setLimit(name, command.limit)
          } else if (command.do === 'foreign') {
            // Somebody else's calls are known only once an answer tells of them.
            upstream.roll(now)
            if (upstream.used + command.n > upstream.limit) continue
            upstream.count(command.n, now)
            await tell()
          } else if (command.do === 'hold') {
            upstream.heldUntil = Math.max(upstream.heldUntil, now + command.ms)
            await quota.learn(name, { retryAfterMs: command.ms })
          } else if (command.do === 'learn') await tell()
          else {
            upstream.roll(now)
            const left = now < upstream.heldUntil ? 0 : Math.max(0, upstream.limit - upstream.used)
            expect((await quota.state(name)).remaining).toBe(left)
            const taken = await quota.take(name, command.n)
            expect(taken.ok, `${command.n} of ${left}`).toBe(command.n <= left)
            if (taken.ok) {
              seen.given++
              upstream.count(command.n, now)
              expect(taken.remaining).toBe(left - command.n)
            } else {
              seen.refused++
              if (now < upstream.heldUntil) seen.held++
              if (command.n > upstream.limit) expect(taken.retryAfterMs).toBe(Number.POSITIVE_INFINITY)
              else {
                const endsAt = upstream.used + command.n > upstream.limit ? upstream.endsAt : 0
                expect(taken.retryAfterMs).toBe(Math.max(upstream.heldUntil, endsAt) - now)
              }
            }
          }
        }
      }
    }),
    { numRuns: 300 },
  )
  for (const [kind, times] of Object.entries(seen)) expect(times, kind).toBeGreaterThan(100)
})
