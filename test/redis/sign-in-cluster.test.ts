import { afterAll, beforeAll, describe } from 'vitest'
import { RedisSignInStore } from '../../src/redis/sign-in-store.ts'
import { KeyRing } from '../../src/secrets/key-ring.ts'
import { systemClock } from '../../src/time/clock.ts'
import { signInStoreContract } from '../contracts/sign-in-store.ts'
import { type Cluster, startCluster } from './cluster.ts'
import { openFleet, SECRET, SERVERS } from './room.ts'

describe.skipIf(!SERVERS)('sessions in a Redis Cluster', () => {
  let cluster: Cluster
  beforeAll(async () => {
    cluster = await startCluster()
  }, 30_000)
  afterAll(() => cluster?.[Symbol.asyncDispose]())

  // A session and its user are in two slots, and each test has users of its own: they come to all three nodes.
  signInStoreContract(async (now) => {
    const rooms = await openFleet(2, { urls: cluster.urls, cluster: true })
    const [one, other] = rooms.map(
      (room) =>
        new RedisSignInStore({
          ...room,
          ring: new KeyRing([SECRET]),
          clock: { ...systemClock, now: () => now },
          absoluteMs: 90 * 24 * 60 * 60 * 1000,
        }),
    )
    return {
      one: one!,
      other: other!,
      close: async () => {
        for (const room of rooms) room.connection.close()
      },
    }
  })
})
