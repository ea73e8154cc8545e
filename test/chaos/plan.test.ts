import { describe, expect, test } from 'vitest'
import { DISCORD_TROUBLES, planChaos, type StepKind } from './plan.ts'

const plan = (seed: number, lengthMs = 60_000) => planChaos({ seed, lengthMs, processes: 4, users: 40 })

describe('the plan of a chaos', () => {
  test('is the same for the same seed, and another for another', () => {
    expect(plan(7)).toEqual(plan(7))
    expect(plan(8)).not.toEqual(plan(7))
  })

  test('is in order, and over in time', () => {
    const steps = plan(7)
    expect(steps.map(({ at }) => at)).toEqual(steps.map(({ at }) => at).sort((a, b) => a - b))
    for (const step of steps) expect(step.at + ('forMs' in step ? step.forMs : 0)).toBeLessThanOrEqual(60_000)
  })

  test('has every kind of trouble within ten minutes', () => {
    const steps = plan(7, 600_000)
    const kinds: StepKind[] = [
      'redis freezes',
      'redis is killed',
      'redis is flushed',
      'redis cuts connections',
      'redis refuses writes',
      'redis evicts',
      'redis returns from a snapshot',
      'redis replays messages',
      'redis is far',
      'everybody comes at once',
      'process freezes',
      'process is killed',
      'process restarts',
      'discord fails',
      'guilds change',
      'user is forgotten',
      'token is revoked',
    ]
    expect(new Set(steps.map(({ kind }) => kind))).toEqual(new Set(kinds))
    const faults = steps.flatMap((step) => (step.kind === 'discord fails' ? [step.fault] : []))
    expect(new Set(faults)).toEqual(new Set(DISCORD_TROUBLES))
  })

  test('has troubles of its own for a Cluster, and none that a Cluster is not prepared for', () => {
    const steps = planChaos({ seed: 7, lengthMs: 600_000, processes: 4, users: 40, cluster: true })
    const ofRedis = new Set(steps.map(({ kind }) => kind).filter((kind) => kind.startsWith('redis ')))
    expect(ofRedis).toEqual(
      new Set(['redis moves slots', 'redis is flushed', 'redis cuts connections', 'redis replays messages']),
    )
  })

  test('leaves Redis and each process alone between two troubles, and begins none on top of another', () => {
    for (const seed of [1, 2, 3]) {
      const until = new Map<string, number>()
      for (const step of plan(seed)) {
        const track = step.kind.startsWith('redis') ? 'redis' : 'slot' in step ? `slot ${step.slot}` : undefined
        if (track === undefined) continue
        expect(step.at).toBeGreaterThanOrEqual(until.get(track) ?? 0)
        until.set(track, step.at + ('forMs' in step ? step.forMs : 0))
      }
    }
  })
})
