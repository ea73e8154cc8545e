// What will go wrong, and when: all of it follows from the seed. Several tracks run beside each other; on one track a
// trouble is over before the next one begins.
import { createRandom, type Random } from '../../src/simulator/world/random.ts'

export type Step = { readonly at: number } & (
  | { readonly kind: 'redis freezes' | 'redis is killed'; readonly forMs: number }
  | { readonly kind: 'redis is flushed' | 'redis replays messages' }
  | { readonly kind: 'redis refuses writes' | 'redis evicts' | 'redis returns from a snapshot'; readonly forMs: number }
  /** In a Cluster: slots are here in part and there in part. */
  | { readonly kind: 'redis moves slots'; readonly forMs: number }
  | { readonly kind: 'redis is far'; readonly forMs: number; readonly roundTripMs: number }
  | { readonly kind: 'everybody comes at once'; readonly slot: number }
  | { readonly kind: 'redis cuts connections'; readonly type: 'normal' | 'pubsub' }
  | { readonly kind: 'process freezes' | 'process is killed'; readonly slot: number; readonly forMs: number }
  | { readonly kind: 'process restarts'; readonly slot: number }
  | {
      readonly kind: 'discord fails'
      readonly fault: DiscordTrouble
      readonly forMs: number
      /** Of the calls that it meets. */
      readonly probability: number
      /** Everybody, or one user. */
      readonly user: number | undefined
      readonly waitMs: number
    }
  | {
      readonly kind: 'guilds change'
      readonly user: number
      /** Who is told to forget the user after it: a slot, or nobody. */
      readonly invalidate: number | undefined
    }
  | { readonly kind: 'user is forgotten'; readonly user: number; readonly invalidate: number }
  | { readonly kind: 'token is revoked'; readonly user: number; readonly forMs: number }
)

export type StepKind = Step['kind']

export const DISCORD_TROUBLES = [
  'rate-limit',
  'ban',
  'block-page',
  'server-error',
  'hang',
  'slow',
  'truncate',
  'malformed',
  'reset',
] as const
export type DiscordTrouble = (typeof DISCORD_TROUBLES)[number]

export interface PlanOptions {
  readonly seed: number
  readonly lengthMs: number
  readonly processes: number
  readonly users: number
  /** Whether Redis is a Cluster, which meets other troubles. */
  readonly cluster?: boolean
}

/** All steps, in order; none outlasts the length. */
export function planChaos({ seed, lengthMs, processes, users, cluster = false }: PlanOptions): Step[] {
  const steps: Step[] = []
  /** Lays steps one after the other; `make` returns how long its trouble lasts. */
  const track = (label: string, firstMs: number, pauseMs: (random: Random) => number, make: Maker) => {
    const random = createRandom(seed, label)
    for (let at = between(random, 0, firstMs); at < lengthMs; ) {
      const { step, forMs } = make(random)
      if (at + forMs > lengthMs) break
      steps.push({ at: Math.round(at), ...step } as Step)
      at += forMs + pauseMs(random)
    }
  }

  // Pauses of either kind: troubles that come on top of each other, and calm in which everything has to be right again.
  track(
    'redis',
    2_500,
    (random) => (chance(random, 0.6) ? between(random, 500, 3_000) : between(random, 4_000, 9_000)),
    (random) => redisStep(random, cluster ? CLUSTER_TROUBLES : REDIS_TROUBLES),
  )
  for (let slot = 0; slot < processes; slot++)
    track(
      `process ${slot}`,
      6_000,
      (random) => between(random, 2_500, 12_000),
      (random) => processStep(random, slot),
    )
  for (const label of ['discord', 'discord too'])
    track(
      label,
      2_000,
      (random) => between(random, 300, 5_000),
      (random) => discordStep(random, users),
    )
  track(
    'guilds',
    500,
    (random) => between(random, 40, 220),
    (random) => {
      const user = random.below(users)
      const invalidate = random.below(processes)
      if (chance(random, 0.1)) return { step: { kind: 'user is forgotten', user, invalidate }, forMs: 0 }
      return {
        step: { kind: 'guilds change', user, invalidate: chance(random, 0.7) ? invalidate : undefined },
        forMs: 0,
      }
    },
  )
  track(
    'tokens',
    3_000,
    (random) => between(random, 1_000, 5_000),
    (random) => {
      const forMs = between(random, 300, 2_500)
      return { step: { kind: 'token is revoked', user: random.below(users), forMs }, forMs }
    },
  )
  return steps.sort((a, b) => a.at - b.at)
}

type Unplaced = Step extends infer S ? (S extends Step ? Omit<S, 'at'> : never) : never
type Maker = (random: Random) => { readonly step: Unplaced; readonly forMs: number }

const REDIS_TROUBLES = [
  'redis freezes',
  'redis freezes',
  'redis is killed',
  'redis is killed',
  'redis is flushed',
  'redis cuts connections',
  'redis refuses writes',
  'redis evicts',
  'redis returns from a snapshot',
  'redis replays messages',
  'redis is far',
] as const
const CLUSTER_TROUBLES = [
  'redis moves slots',
  'redis moves slots',
  'redis moves slots',
  'redis is flushed',
  'redis cuts connections',
  'redis replays messages',
] as const

function redisStep(random: Random, troubles: typeof REDIS_TROUBLES | typeof CLUSTER_TROUBLES): ReturnType<Maker> {
  const kind = random.pick<(typeof troubles)[number]>(troubles)
  switch (kind) {
    case 'redis is flushed':
    case 'redis replays messages':
      return { step: { kind }, forMs: 0 }
    case 'redis cuts connections':
      return { step: { kind, type: random.pick(['normal', 'pubsub']) }, forMs: 0 }
    case 'redis is far': {
      const forMs = between(random, 500, 3_000)
      return { step: { kind, forMs, roundTripMs: random.pick([20, 60]) }, forMs }
    }
    default: {
      const forMs = between(random, 60, 2_500)
      return { step: { kind, forMs }, forMs }
    }
  }
}

function processStep(random: Random, slot: number): ReturnType<Maker> {
  const kind = random.pick([
    'process freezes',
    'process freezes',
    'process is killed',
    'process restarts',
    'everybody comes at once',
  ] as const)
  if (kind === 'process restarts' || kind === 'everybody comes at once') return { step: { kind, slot }, forMs: 0 }
  const forMs = kind === 'process freezes' ? between(random, 60, 2_500) : between(random, 0, 800)
  return { step: { kind, slot, forMs }, forMs }
}

function discordStep(random: Random, users: number): ReturnType<Maker> {
  const fault = random.pick(['rate-limit', 'rate-limit', 'slow', 'slow', ...DISCORD_TROUBLES] as const)
  const forMs = between(random, 200, 2_500)
  const user = fault !== 'ban' && chance(random, 0.3) ? random.below(users) : undefined
  const probability = chance(random, 0.5) ? 1 : between(random, 20, 80) / 100
  const waitMs = fault === 'slow' ? between(random, 50, 600) : between(random, 200, 1_500)
  return { step: { kind: 'discord fails', fault, forMs, probability, user, waitMs }, forMs }
}

const between = (random: Random, least: number, most: number) => Math.round(least + random.next() * (most - least))
const chance = (random: Random, share: number) => random.next() < share
