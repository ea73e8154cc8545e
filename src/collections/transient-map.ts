/** After so many entries have left, or twice as many as are left, the Map is replaced. */
const LEFT_BEFORE_RENEWAL = 256

/**
 * A Map for entries that come and go. V8 replaces a Map's table whenever it is full, and the old one keeps its entries and
 * refers to the new one until the collector takes it. Once one such table has grown old, it keeps all that follow alive, with
 * every entry that ever was in them, until the next full collection: the young generation is then copied for nothing.
 * Here the Map itself is replaced now and then, and the chain of tables ends with it.
 */
export class TransientMap<Key, Value> {
  #entries = new Map<Key, Value>()
  #left = 0

  get size(): number {
    return this.#entries.size
  }

  get(key: Key): Value | undefined {
    return this.#entries.get(key)
  }

  has(key: Key): boolean {
    return this.#entries.has(key)
  }

  set(key: Key, value: Value): void {
    this.#entries.set(key, value)
  }

  /** Whether it was there. */
  delete(key: Key): boolean {
    if (!this.#entries.delete(key)) return false
    if (++this.#left >= LEFT_BEFORE_RENEWAL && this.#left >= 2 * this.#entries.size) {
      this.#left = 0
      this.#entries = new Map(this.#entries)
    }
    return true
  }

  /** In the order in which they were added. */
  keys(): MapIterator<Key> {
    return this.#entries.keys()
  }

  values(): MapIterator<Value> {
    return this.#entries.values()
  }
}
