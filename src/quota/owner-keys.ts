import type { Milliseconds } from '../time/clock.ts'
import type { BatchKey } from './batch-options.ts'
import type { OwnerPool, Window } from './owner-pool.ts'

/** A key of an owner: how many calls are under way with it, and what it may still make. */
interface HeldKey {
  readonly given: BatchKey
  underWay: number
  readonly pool: OwnerPool | undefined
}

/**
 * The keys of one owner, for one batch: the primary one goes wherever it could, the others in turn. A key's own limit is
 * counted by this process, in windows that begin with the key's first call.
 */
export class OwnerKeys {
  #keys: HeldKey[] = []
  #underWay = 0
  readonly #perKey: number
  readonly #perOwner: number
  readonly #window: Window

  constructor(
    keys: readonly BatchKey[],
    options: {
      readonly perKey: number
      readonly perOwner: number
      readonly window: Window
      /** What the key's calls are counted by, whichever batch makes them. */
      readonly poolOf: (key: string) => OwnerPool
    },
  ) {
    this.#perKey = options.perKey
    this.#perOwner = options.perOwner
    this.#window = options.window
    for (const given of keys) {
      const limit = given.limit ?? undefined
      this.#keys.push({ given, underWay: 0, pool: limit === undefined ? undefined : options.poolOf(given.key) })
    }
  }

  get isEmpty(): boolean {
    return this.#keys.length === 0
  }

  /** The largest cost that a key may have. */
  get largestCost(): number {
    return Math.max(0, ...this.#keys.map(({ given }) => given.limit ?? Number.POSITIVE_INFINITY))
  }

  /** When a call of that cost could go: `now`, or later; Infinity where an answer has to come first. */
  readyAt(cost: number, now: Milliseconds): Milliseconds {
    if (this.#underWay >= this.#perOwner) return Number.POSITIVE_INFINITY
    let earliest = Number.POSITIVE_INFINITY
    for (const key of this.#keys) {
      if (key.underWay >= this.#perKey) continue
      const at = this.#freeAt(key, cost, now)
      if (at <= now) return now
      earliest = Math.min(earliest, at)
    }
    return earliest
  }

  /** The key for a call of that cost, counted; undefined where none may make it now. */
  take(cost: number, now: Milliseconds): BatchKey | undefined {
    if (this.#underWay >= this.#perOwner) return undefined
    const isFree = (key: HeldKey) => key.underWay < this.#perKey && this.#freeAt(key, cost, now) <= now
    const key = this.#keys.find((key) => key.given.primary && isFree(key)) ?? this.#keys.find(isFree)
    if (!key) return undefined
    key.pool?.count(cost, this.#window, now)
    key.underWay++
    this.#underWay++
    // To the back of its owner's keys.
    if (this.#keys.length > 1) this.#keys = [...this.#keys.filter((other) => other !== key), key]
    return key.given
  }

  ended(given: BatchKey): void {
    this.#underWay--
    const key = this.#keys.find((key) => key.given === given)
    if (key) key.underWay--
  }

  /** Takes a dead key out. */
  remove(given: BatchKey): void {
    this.#keys = this.#keys.filter((key) => key.given !== given)
  }

  #freeAt({ pool, given }: HeldKey, cost: number, now: Milliseconds): Milliseconds {
    if (!pool) return now
    if (cost > given.limit!) return Number.POSITIVE_INFINITY
    const { remaining, resetAfterMs } = pool.state({ limit: given.limit!, own: true }, this.#window, now)
    return remaining >= cost ? now : now + Math.max(1, resetAfterMs)
  }
}
