import Keyv from 'keyv'
import { describe, expect, test } from 'vitest'
import { ConfigError, createHoldfast, type Holdfast } from '../../src/index.ts'
import { SECRET } from '../redis/room.ts'

const HOUR = 3_600_000
const open = (store: unknown): Holdfast => createHoldfast({ cache: { store }, secret: SECRET })
function load(holdfast: Holdfast, user: string, value: string, counts: { loads: number }) {
  const loaded = async () => {
    counts.loads++
    return value
  }
  return holdfast.cache.get({ user, key: 'k' }, { load: loaded, freshMs: HOUR, staleMs: HOUR })
}

describe('cache.store', () => {
  test('what one process loaded, another has from the store', async () => {
    const store = new Keyv()
    const [a, b] = [open(store), open(store)]
    const counts = { loads: 0 }
    expect(await load(a, '1', 'v', counts)).toMatchObject({ value: 'v', source: 'load' })
    await a.cache.drain(5_000)
    expect(await load(b, '1', 'other', counts)).toMatchObject({ value: 'v', source: 'store', state: 'fresh' })
    expect(counts.loads).toBe(1)
    await Promise.all([a.close(), b.close()])
  })

  test('an invalidation is heard by the others within 5 s, and nothing older is answered after it', async () => {
    const store = new Map<string, string>()
    const [a, b] = [open(store), open(store)]
    const counts = { loads: 0 }
    await load(a, '1', 'old', counts)
    await a.cache.drain(5_000)
    await load(b, '1', 'old', counts)
    await a.cache.invalidateUser('1')
    await expect
      .poll(async () => (await load(b, '1', 'new', counts)).value, { timeout: 5_000, interval: 50 })
      .toBe('new')
    await Promise.all([a.close(), b.close()])
  })

  test('holds no id and no value in clear, and what is edited in it is not there', async () => {
    const store = new Map<string, string>()
    const a = open(store)
    await load(a, '80351110224678912', 'a value nobody may read', { loads: 0 })
    await a.cache.drain(5_000)
    const all = JSON.stringify([...store])
    expect(all).not.toContain('80351110224678912')
    expect(all).not.toContain('nobody may read')
    for (const [key, value] of store)
      if (key.includes(':value:')) store.set(key, value.slice(0, -4) + (value.endsWith('AAA=') ? 'BBB=' : 'AAA='))
    const b = open(store)
    expect(await load(b, '80351110224678912', 'loaded anew', { loads: 0 })).toMatchObject({ source: 'load' })
    await Promise.all([a.close(), b.close()])
  })

  test('one that hangs costs a miss 700 ms at first, and nothing after', async () => {
    const never = () => new Promise<never>(() => {})
    const holdfast = open({ get: never, set: never, delete: never })
    const times: number[] = []
    for (let user = 0; user < 10; user++) {
      const began = performance.now()
      expect(await load(holdfast, `${user}`, 'v', { loads: 0 })).toMatchObject({ value: 'v' })
      times.push(performance.now() - began)
    }
    expect(Math.max(...times)).toBeLessThan(700)
    // Two deadlines of 250 ms in all: after that nobody waits.
    expect(times.filter((ms) => ms > 200).length).toBeLessThanOrEqual(2)
    await holdfast.close({ deadlineMs: 0 })
  })

  test.each<[string, object]>([
    [
      'throws',
      {
        get: () => {
          throw new Error('no')
        },
        set: () => {
          throw new Error('no')
        },
        delete: () => {
          throw new Error('no')
        },
      },
    ],
    [
      'rejects',
      {
        get: async () => Promise.reject(new Error('no')),
        set: async () => Promise.reject(new Error('no')),
        delete: async () => false,
      },
    ],
    ['answers nonsense', { get: () => 42, set: () => true, delete: () => true }],
    ['keeps nothing and says it did', { get: () => undefined, set: () => true, delete: () => true }],
  ])('one that %s is nobody’s error', async (_how, store) => {
    const holdfast = open(store)
    const events: string[] = []
    holdfast.on((event) => void events.push(event.type))
    for (const user of ['1', '2', '3'])
      expect(await load(holdfast, user, 'v', { loads: 0 })).toMatchObject({ value: 'v' })
    await holdfast.cache.invalidateUser('1')
    expect(events).toContain('store.failed')
    await holdfast.close()
  })

  test('is never closed and never cleared', async () => {
    const asked: string[] = []
    const kept = new Map<string, string>([['mine', 'mine']])
    const store = new Proxy(kept, {
      get: (target, name) => {
        asked.push(String(name))
        const value = Reflect.get(target, name)
        return typeof value === 'function' ? value.bind(target) : value
      },
    })
    const holdfast = open(store)
    await load(holdfast, '1', 'v', { loads: 0 })
    await holdfast.cache.invalidateUser('1')
    await holdfast.close()
    expect(asked).not.toContain('clear')
    expect(asked).not.toContain('disconnect')
    expect(kept.get('mine')).toBe('mine')
  })

  test.each([['text'], [42], [{}], [{ get() {}, set() {} }], [[]]])('%j is a ConfigError', (store) => {
    expect(() => open(store)).toThrow(ConfigError)
    expect(() => open(store)).toThrow(/cache\.store/)
  })

  test('needs a secret, and stands instead of Redis, not beside it', () => {
    expect(() => createHoldfast({ cache: { store: new Map() } })).toThrow(/secret/)
    const both = { cache: { store: new Map() }, redis: 'redis://localhost:1', secret: SECRET }
    expect(() => createHoldfast(both)).toThrow(/cache\.store/)
  })
})
