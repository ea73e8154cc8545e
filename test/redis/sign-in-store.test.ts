import { createClient } from '@keyv/redis'
import { describe, expect, test } from 'vitest'
import { RedisSignInStore } from '../../src/redis/sign-in-store.ts'
import { KeyRing } from '../../src/secrets/key-ring.ts'
import { systemClock } from '../../src/time/clock.ts'
import { signInStoreContract } from '../contracts/sign-in-store.ts'
import { freshNamespace, openRoom, REDIS_URL, SECRET } from './room.ts'

const fixedClock = (now: number) => ({ ...systemClock, now: () => now })

describe.skipIf(!REDIS_URL)('sessions in Redis', () => {
  signInStoreContract(async (now) => {
    const namespace = freshNamespace()
    const rooms = [openRoom({ namespace }), openRoom({ namespace })]
    for (const room of rooms) room.connection.start()
    const [one, other] = rooms.map(
      (room) =>
        new RedisSignInStore({
          ...room,
          ring: new KeyRing([SECRET]),
          clock: fixedClock(now),
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

  test('no user id, session or token is readable there, and nothing lasts for ever', async () => {
    const namespace = freshNamespace()
    const room = openRoom({ namespace })
    room.connection.start()
    const store = new RedisSignInStore({ ...room, ring: new KeyRing([SECRET]), clock: systemClock, absoluteMs: 60_000 })
    const now = Date.now()
    const session = { idHash: 'hash-of-the-session', userId: '80351110224678912', createdAt: now, seenAt: now }
    const sealed = Buffer.from('sealed-elsewhere')
    await store.open(session, { userId: session.userId, rowId: 'row', version: 1, signedInAt: now, sealed })
    await store.lease(session.userId, 'me', 5_000)
    await store.claim('attempt', 'code-name', 5_000)
    const client = await createClient({ url: REDIS_URL! }).connect()
    const keys = (await client.keys(`holdfast:1:${namespace}:*`)).filter((key) => !key.includes('{names}'))
    const dump =
      keys.join(' ') +
      JSON.stringify(
        await Promise.all(
          keys.map(async (key) => ((await client.type(key)) === 'hash' ? client.hGetAll(key) : client.get(key))),
        ),
      )
    expect(dump).not.toContain(session.userId)
    expect(dump).not.toContain(session.idHash)
    expect(keys.filter((key) => /session|signed-in|refreshing|sign-in/.test(key)).length).toBe(4)
    for (const key of keys) expect([key, (await client.pTTL(key)) > 0]).toEqual([key, true])
    client.destroy()
    room.connection.close()
  })
})
