import type { Milliseconds } from '../time/clock.ts'

/** A caller's count under one limit. */
export interface Window {
  readonly slot: number
  /** Whether its times are of the wall clock; else they are monotonic. */
  readonly month: boolean
  /** The length of a window that slides; 0 for one that does not. */
  readonly slidingMs: Milliseconds
  /** Counts the windows there were, so that a refund finds its own. */
  turn: number
  /** When it ends; 0 where none has begun. */
  end: Milliseconds
  /** Charged, and not given back. */
  used: number
  /** Admitted, given back or not. */
  admitted: number
  /** Charged in the window before, where it slides. */
  previous: number
  /** What `used` was last held against. */
  limit: number
}

export interface Caller {
  readonly windows: Window[]
}

/** How many callers a newcomer looks at in search of one that can be forgotten. */
const LOOKED_AT = 4
/**
 * Who comes when all places are taken shares a counter with whoever falls into the same of these: so many that a
 * thousand newcomers hardly meet.
 */
const SHARDS = 65_536

/** Callers of one kind, up to a number of them. */
export class Callers {
  readonly #most: number
  readonly #isOver: (window: Window) => boolean
  readonly #onOverflow: (overflowing: boolean) => void
  readonly #held = new Map<string, Caller>()
  readonly #shards = new Map<number, Caller>()
  #hand: IterableIterator<[string, Caller]> = this.#held.entries()
  #overflowing = false

  constructor(most: number, isOver: (window: Window) => boolean, onOverflow: (overflowing: boolean) => void) {
    this.#most = most
    this.#isOver = isOver
    this.#onOverflow = onOverflow
  }

  get size(): number {
    return this.#held.size
  }

  /** Whether the last newcomer had to share. */
  get overflowing(): boolean {
    return this.#overflowing
  }

  /** The caller's counts, or those of the shard it would share; undefined where nothing was counted. */
  peek(id: string): Caller | undefined {
    return this.#held.get(id) ?? (this.#held.size >= this.#most ? this.#shards.get(shardOf(id)) : undefined)
  }

  forget(id: string): void {
    if (!this.#held.delete(id)) this.#shards.delete(shardOf(id))
  }

  find(id: string): Caller {
    return this.#held.get(id) ?? this.#take(id)
  }

  /**
   * A place for a newcomer: a free one, that of somebody whose windows are over, or in a full table that of somebody
   * who has used little. Whoever has used more than half of a limit keeps their place, so that no flood of newcomers
   * sets anybody free; where all looked at are such, the newcomer shares.
   */
  #take(id: string): Caller {
    const isFull = this.#held.size >= this.#most
    let lightest: string | undefined
    for (let looks = 0; looks < LOOKED_AT && this.#held.size > 0; looks++) {
      const next = this.#hand.next()
      if (next.done) {
        this.#hand = this.#held.entries()
        continue
      }
      const [candidate, { windows }] = next.value
      if (windows.every(this.#isOver)) this.#held.delete(candidate)
      else if (isFull && lightest === undefined && windows.every(isLight)) lightest = candidate
    }
    if (this.#held.size >= this.#most && lightest !== undefined) this.#held.delete(lightest)
    const shares = this.#held.size >= this.#most
    if (shares !== this.#overflowing) {
      this.#overflowing = shares
      this.#onOverflow(shares)
    }
    if (shares) return this.#shard(id)
    const caller: Caller = { windows: [] }
    this.#held.set(id, caller)
    return caller
  }

  #shard(id: string): Caller {
    const shard = shardOf(id)
    let caller = this.#shards.get(shard)
    if (!caller) {
      caller = { windows: [] }
      this.#shards.set(shard, caller)
    }
    return caller
  }
}

const isLight = ({ used, previous, limit }: Window) => (used + previous) * 2 <= limit

/** FNV-1a: spreads texts over the shards, and is no secret. */
function shardOf(id: string): number {
  let hash = 0x811c9dc5
  for (let index = 0; index < id.length; index++) hash = Math.imul(hash ^ id.charCodeAt(index), 0x01000193)
  return (hash ^ (hash >>> 16)) & (SHARDS - 1)
}
