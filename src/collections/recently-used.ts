import { LRUCache } from 'lru-cache'

const ONE = () => 1

/**
 * At most `most` entries; what was used longest ago goes first. It takes room as it fills: by `max`, lru-cache would
 * reserve every place at once, which for 100 000 places is 2.8 MB and milliseconds before anybody has asked for anything.
 */
export class RecentlyUsed<K extends {}, V extends {}> extends LRUCache<K, V> {
  constructor(most: number, options: { dispose?: (value: V) => void } = {}) {
    super({ ...options, maxSize: most, sizeCalculation: ONE })
  }
}
