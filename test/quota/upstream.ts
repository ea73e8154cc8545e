import type { QuotaAnswer } from '../../src/quota/quota-answer.ts'
import type { Clock } from '../../src/time/clock.ts'

/** A window of the upstream, by owner: it begins with its first call, as the upstream sees it arrive. */
interface Pool {
  readonly limit: number
  readonly windowMs: number
  used: number
  endsAt: number
}

export class Refused extends Error {
  readonly status = 429
  readonly retryAfterMs: number
  /** What its headers say beside that. */
  readonly said: QuotaAnswer | undefined

  constructor(retryAfterMs: number, said?: QuotaAnswer) {
    super('429')
    this.retryAfterMs = retryAfterMs
    this.said = said
  }
}

/** An API that counts per owner, some latency away, in virtual time. */
export class Upstream {
  readonly calls: Array<{ owner: string; key: string; at: number; status: 200 | 429 }> = []
  readonly #pools = new Map<string, Pool>()
  readonly #owners: Readonly<Record<string, string>>
  readonly #clock: Clock
  readonly #latency: () => number

  constructor(options: {
    clock: Clock
    /** Key → owner. */
    owners: Readonly<Record<string, string>>
    pools: Readonly<Record<string, { limit: number; windowMs: number; used?: number; endsAt?: number }>>
    /** One way, in milliseconds. */
    latency?: () => number
  }) {
    this.#clock = options.clock
    this.#owners = options.owners
    this.#latency = options.latency ?? (() => 0)
    for (const [owner, { limit, windowMs, used = 0, endsAt = 0 }] of Object.entries(options.pools))
      this.#pools.set(owner, { limit, windowMs, used, endsAt })
  }

  get refusals(): number {
    return this.calls.filter((call) => call.status === 429).length
  }

  /** Answers with what it says of the quota, or throws `Refused`. */
  async call(key: string): Promise<QuotaAnswer> {
    await this.#travel()
    const owner = this.#owners[key]!
    const pool = this.#pools.get(owner)!
    const at = this.#clock.monotonic()
    if (at >= pool.endsAt) {
      pool.used = 0
      pool.endsAt = at + pool.windowMs
    }
    const isRefused = pool.used >= pool.limit
    this.calls.push({ owner, key, at, status: isRefused ? 429 : 200 })
    if (!isRefused) pool.used++
    const answer = { limit: pool.limit, remaining: pool.limit - pool.used, resetAfterMs: pool.endsAt - at }
    await this.#travel()
    if (isRefused) throw new Refused(answer.resetAfterMs)
    return answer
  }

  async #travel(): Promise<void> {
    const ms = this.#latency()
    if (ms > 0) await this.#clock.sleep(ms)
  }
}

/** The situation that the figures are about: four keys in three pools, one of them almost spent by somebody else. */
export const FOUR_KEYS = {
  keys: [
    { key: 'a-1', owner: 'A' },
    { key: 'a-2', owner: 'A' },
    { key: 'b-1', owner: 'B' },
    { key: 'c-1', owner: 'C' },
  ],
  owners: { 'a-1': 'A', 'a-2': 'A', 'b-1': 'B', 'c-1': 'C' },
  pools: {
    A: { limit: 10, windowMs: 10_000 },
    B: { limit: 5, windowMs: 5_000 },
    C: { limit: 20, windowMs: 10_000, used: 17, endsAt: 2_000 },
  },
  /** By when the upstream could have taken so many, without latency. */
  lowerBoundMs: { 60: 12_000, 150: 32_000 },
} as const

/** A small seeded generator (mulberry32), from 0 to below 1. */
export function seeded(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
