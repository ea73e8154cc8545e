import type { Simulator } from 'holdfast/simulator'

/** One part of the story: what Discord does, and for which share of the time. */
export interface Phase {
  readonly name: string
  readonly share: number
  /** Whether answers of this phase count as answers during the outage. */
  readonly outage: boolean
  /** Switches the trouble on; the returned function ends it. */
  begin(simulator: Simulator, lengthMs: number): () => void
}

const GUILDS = '/users/@me/guilds'

/** The same story for both dashboards: a calm start, a storm of 429s, a ban, an outage, and recovery. */
export const PHASES: readonly Phase[] = [
  { name: 'calm', share: 0.2, outage: false, begin: () => () => {} },
  {
    name: '429 storm',
    share: 0.2,
    outage: true,
    begin: (simulator) => simulator.fault('rate-limit', { route: GUILDS, retryAfterMs: 1500, probability: 0.9 }),
  },
  {
    name: 'ban',
    share: 0.2,
    outage: true,
    begin: (simulator, lengthMs) => simulator.fault('ban', { retryAfterMs: lengthMs }),
  },
  {
    name: 'outage',
    share: 0.2,
    outage: true,
    begin: (simulator) => {
      // The fault that was switched on last decides: half of the calls hang, the others get a 5xx.
      const ends = [simulator.fault('server-error'), simulator.fault('hang', { probability: 0.5 })]
      return () => {
        for (const end of ends) end()
      }
    },
  },
  { name: 'recovery', share: 0.2, outage: false, begin: () => () => {} },
]

/** Which phase runs at a share of the story's time, from 0 to 1. */
export function phaseAt(share: number): Phase {
  let passed = 0
  for (const phase of PHASES) {
    passed += phase.share
    if (share < passed - 1e-9) return phase
  }
  return PHASES.at(-1)!
}
