// What does a fresh hit cost, beside the caches people use?
import { type CacheEntry, cachified } from '@epic-web/cachified'
import { createCache } from 'async-cache-dedupe'
import { BentoCache, bentostore } from 'bentocache'
import { memoryDriver } from 'bentocache/drivers/memory'
import { createHoldfast } from 'holdfast'
import { LRUCache } from 'lru-cache'
import { judge, race, table } from './figures.ts'

const HOUR = 3_600_000
const value = { id: '80351110224678912', name: 'a guild', owner: true }
const load = async () => value

const holdfast = createHoldfast()
const options = { load, freshMs: HOUR, staleMs: 24 * HOUR }
await holdfast.cache.get('guild', options)

const lru = new LRUCache<string, typeof value>({ max: 1000, ttl: HOUR })
lru.set('guild', value)

const dedupe = createCache({ ttl: 3600, storage: { type: 'memory' } }).define('guild', load)
await dedupe.guild()

const bento = new BentoCache({
  default: 'memory',
  stores: { memory: bentostore().useL1Layer(memoryDriver({ serialize: false, maxItems: 1000 })) },
})
const bentoOptions = { key: 'guild', ttl: HOUR, grace: 24 * HOUR, factory: load }
await bento.getOrSet(bentoOptions)

const store = new Map<string, CacheEntry>()
const cachifiedOptions = { key: 'guild', cache: store, ttl: HOUR, swr: 24 * HOUR, getFreshValue: load }
await cachified(cachifiedOptions)

let heard = 0
const watched = createHoldfast()
watched.on(() => {
  heard++
})
await watched.cache.get('guild', options)

const times = await race(
  {
    'await lru.get() (lru-cache, ttl)': async () => lru.get('guild'),
    'holdfast cache.get': () => holdfast.cache.get('guild', options),
    'holdfast cache.get, events listened to': () => watched.cache.get('guild', options),
    'async-cache-dedupe': () => dedupe.guild(),
    cachified: () => cachified(cachifiedOptions),
    'bentocache, serialize: false': () => bento.getOrSet(bentoOptions),
  },
  { calls: (name) => (/lru|holdfast/.test(name) ? 200_000 : 30_000) },
)
const ours = times['holdfast cache.get']!
table(
  ['fresh hit', 'ns', '× holdfast'],
  Object.entries(times).map(([name, ns]) => [name, ns, ns / ours]),
)
judge([
  { name: 'fresh hit', value: ours / times['await lru.get() (lru-cache, ttl)']!, unit: '× lru.get()', target: 1.3 },
  {
    name: 'with a listener to events',
    value: times['holdfast cache.get, events listened to']! / ours,
    unit: '× without',
    target: 2,
  },
  {
    name: 'async-cache-dedupe',
    value: times['async-cache-dedupe']! / ours,
    unit: '× ours',
    target: 3.5,
    atLeast: true,
  },
  {
    name: 'bentocache',
    value: times['bentocache, serialize: false']! / ours,
    unit: '× ours',
    target: 5,
    atLeast: true,
  },
  { name: 'cachified', value: times.cachified! / ours, unit: '× ours', target: 5, atLeast: true },
])
await bento.disconnectAll()
await holdfast.close()
await watched.close()
if (heard === 0) throw new Error('the listener heard nothing')
