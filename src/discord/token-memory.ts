import { LRUCache } from 'lru-cache'

/** How many tokens are remembered of each kind. Forgetting one costs one call. */
const TOKENS = 100_000

/**
 * What answers taught about tokens, by their hashes. A dead one (401) is never sent again: Discord bans addresses that
 * keep sending them. One that was seen valid is no stranger's invention, and does not draw on the strangers' budget.
 */
export class TokenMemory {
  readonly #dead = new LRUCache<string, true>({ max: TOKENS })
  readonly #valid = new LRUCache<string, true>({ max: TOKENS })

  isDead(tokenId: string): boolean {
    return this.#dead.get(tokenId) !== undefined
  }

  isValid(tokenId: string): boolean {
    return this.#valid.get(tokenId) !== undefined
  }

  died(tokenId: string): void {
    this.#dead.set(tokenId, true)
    this.#valid.delete(tokenId)
  }

  proved(tokenId: string): void {
    if (this.#valid.get(tokenId) === undefined) this.#valid.set(tokenId, true)
  }

  get size(): number {
    return this.#dead.size + this.#valid.size
  }
}
