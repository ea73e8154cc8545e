import { describe, expect, test } from 'vitest'
import { MemorySignInStore } from '../../src/sign-in/memory-sign-in-store.ts'
import { systemClock } from '../../src/time/clock.ts'
import { signInStoreContract } from '../contracts/sign-in-store.ts'

describe('sessions in memory', () => {
  signInStoreContract(async () => {
    const store = new MemorySignInStore(systemClock)
    return { one: store, other: store, close: async () => {} }
  })

  test('of more sessions than fit, those used least lately go, and the tokens of users without any', async () => {
    const store = new MemorySignInStore(systemClock, 2)
    for (const user of ['a', 'b', 'c']) {
      if (user === 'c') await store.find('session-a')
      const tokens = { userId: user, rowId: 'row', version: 1, signedInAt: 0, sealed: new Uint8Array(1) }
      await store.open({ idHash: `session-${user}`, userId: user, createdAt: 0, seenAt: 0 }, tokens)
    }
    expect([await store.find('session-b'), await store.tokensOf('b')]).toEqual([undefined, undefined])
    expect([(await store.find('session-a'))?.session.userId, (await store.tokensOf('c'))?.userId]).toEqual(['a', 'c'])
  })
})
