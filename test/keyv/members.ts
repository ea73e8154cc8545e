import { Events } from '../../src/events/events.ts'
import { KeyvTier } from '../../src/keyv/keyv-tier.ts'
import { systemClock } from '../../src/time/clock.ts'
import type { Member } from '../contracts/shared-tier.ts'
import { SECRET, until } from '../redis/room.ts'

export interface Handed {
  get(key: string): unknown
  set(key: string, value: string, lasts?: number): unknown
  delete(key: string): unknown
}

/** Processes that share a store; each can be cut off from it. */
export async function openStoreMembers(count: number, store: Handed, prefix: string): Promise<Member[]> {
  return Promise.all(
    Array.from({ length: count }, async () => {
      let cutOff = false
      const refuse = () => Promise.reject(new Error('cut off'))
      const own: Handed = {
        get: (key) => (cutOff ? refuse() : store.get(key)),
        set: (key, value, lasts) => (cutOff ? refuse() : store.set(key, value, lasts)),
        delete: (key) => (cutOff ? refuse() : store.delete(key)),
      }
      const events = new Events(systemClock)
      const tier = new KeyvTier({
        store: own,
        prefix,
        secrets: [SECRET],
        clock: systemClock,
        events,
        logger: undefined,
        // Ten times as often as in production: what is waited for here is nobody's figure.
        lookEveryMs: 200,
      })
      tier.start()
      await tier.ready()
      return {
        tier,
        cutOff: async () => {
          cutOff = true
          while (tier.isUsable) await tier.read({ id: 'x', user: undefined, label: 'x', version: 'json' })
        },
        reconnect: async () => {
          cutOff = false
          await until(() => tier.isUsable, 15_000, 'the store to be used again')
          // It is told that it is back in the same turn.
          await Promise.resolve()
        },
        [Symbol.dispose]: () => tier.close(),
      }
    }),
  )
}
