import { afterEach, describe, expect, inject, test } from 'vitest'
import { readDatabase } from '../../../src/config/database.ts'
import { Database } from '../../../src/database/database.ts'
import { SignInRows } from '../../../src/database/sign-in-rows.ts'
import { Events } from '../../../src/events/events.ts'
import { RedisSignInStore } from '../../../src/redis/sign-in-store.ts'
import { KeyRing } from '../../../src/secrets/key-ring.ts'
import { MemorySignInStore } from '../../../src/sign-in/memory-sign-in-store.ts'
import type { SignInStore } from '../../../src/sign-in/sign-in-store.ts'
import { TokenBox } from '../../../src/sign-in/token-box.ts'
import { TokenKeeper, tokensOf } from '../../../src/sign-in/token-keeper.ts'
import { systemClock } from '../../../src/time/clock.ts'
import { DATABASES } from '../../database/databases.ts'
import { openRoom, SECRET } from '../../redis/room.ts'

// A process that dies between Discord's answer and the save loses that user's refresh token. How long is that?

const DAY = 24 * 60 * 60 * 1000
const REFRESHES = 500
/** At once, as when many come back in the morning. */
const TOGETHER = 50

const ends: Array<() => unknown> = []
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end()
})

const STORES: ReadonlyArray<readonly [string, () => Promise<SignInStore>]> = [
  ['memory', async () => new MemorySignInStore(systemClock)],
  ...(inject('redisUrl')
    ? [
        [
          'Redis',
          async () => {
            const room = await openRoom().up()
            ends.push(() => room.connection.close())
            return new RedisSignInStore({ ...room, ring: new KeyRing([SECRET]), clock: systemClock, absoluteMs: DAY })
          },
        ] as const,
      ]
    : []),
  ...DATABASES.map(
    ([name, make]) =>
      [
        name,
        async () => {
          const database = await make()
          const opened = new Database(readDatabase(database.url)!, new Events(systemClock))
          ends.push(
            () => database.drop(),
            () => opened.close(),
          )
          return new SignInRows(opened, systemClock, DAY)
        },
      ] as const,
  ),
]

describe.each(STORES)('between what Discord gave and its save in %s', (name, open) => {
  test.each([1, TOGETHER])('with %i refreshes at once', async (together) => {
    const store = await open()
    /** How long each answer was nowhere but in this process, by user. */
    const gaps = new Map<string, number>()
    const replace = store.replace.bind(store)
    store.replace = async (tokens, from) => {
      const replaced = await replace(tokens, from)
      gaps.set(tokens.userId, performance.now() - answered.get(tokens.userId)!)
      return replaced
    }
    const box = new TokenBox(new KeyRing([SECRET]))
    /** When Discord's answer was here, by user. */
    const answered = new Map<string, number>()
    const granted = (userId: string, nth: number) => ({
      accessToken: `access ${nth} of ${userId}`,
      refreshToken: `${userId}:${nth}`,
      scopes: ['identify', 'guilds'],
      lifetimeMs: 7 * DAY,
    })
    const keeper = new TokenKeeper({
      store,
      box,
      clock: systemClock,
      random: Math.random,
      events: new Events(systemClock),
      logger: undefined,
      oauth: {
        refresh: async (token) => {
          const userId = token.split(':')[0]!
          answered.set(userId, performance.now())
          return granted(userId, 2)
        },
      },
    })
    ends.push(() => keeper.close(1_000))
    const profile = { username: 'ann', globalName: null, avatar: null }
    const refresh = async (nth: number) => {
      const userId = `user-${nth}`
      const now = Date.now()
      const expired = { ...tokensOf(granted(userId, 1), { profile }, now, 0.5), refreshAt: now, expiresAt: now }
      const kept = box.seal(expired, { userId, rowId: 'row', version: 1, signedInAt: now })
      await store.open({ idHash: userId, userId, createdAt: now, seenAt: now }, kept)
      const live = await keeper.live(kept, expired)
      const saved = await store.tokensOf(userId)
      // Whoever has the new token has it from the store, or after it.
      expect([live?.accessToken, saved?.version]).toEqual([`access 2 of ${userId}`, 2])
    }
    for (let nth = 0; nth < REFRESHES; nth += together)
      await Promise.all(Array.from({ length: together }, (_, index) => refresh(nth + index)))
    const times = [...gaps.values()].sort((one, other) => one - other)
    const at = (share: number) => times[Math.min(times.length - 1, Math.floor(times.length * share))]!.toFixed(2)
    process.stdout.write(
      `${name}, ${together} at once: median ${at(0.5)} ms, p99 ${at(0.99)} ms, longest ${at(1)} ms\n`,
    )
    expect(times.length).toBe(REFRESHES)
  })
})
