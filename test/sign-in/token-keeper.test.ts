import { createVirtualClock } from 'holdfast/simulator'
import { describe, expect, test } from 'vitest'
import { HoldfastError } from '../../src/errors/errors.ts'
import { Events } from '../../src/events/events.ts'
import { KeyRing } from '../../src/secrets/key-ring.ts'
import type { Granted, Refused } from '../../src/sign-in/discord-oauth.ts'
import { MemorySignInStore } from '../../src/sign-in/memory-sign-in-store.ts'
import type { KeptTokens } from '../../src/sign-in/sign-in-store.ts'
import { TokenBox } from '../../src/sign-in/token-box.ts'
import { TokenKeeper, tokensOf } from '../../src/sign-in/token-keeper.ts'

const WEEK = 7 * 24 * 60 * 60 * 1000
const granted = (nth: number, refreshToken: string | undefined = `refresh ${nth}`): Granted => ({
  accessToken: `access ${nth}`,
  refreshToken,
  scopes: ['identify', 'guilds'],
  lifetimeMs: WEEK,
})

/** A user whose tokens have just expired; `answer` is what Discord says to a refresh. */
async function expired(answer: () => Promise<Granted | Refused>, random = 0) {
  const clock = createVirtualClock()
  const store = new MemorySignInStore(clock)
  const box = new TokenBox(new KeyRing(['a secret that is long enough for this']))
  const profile = { username: 'ann', globalName: null, avatar: null }
  const now = clock.now()
  const tokens = { ...tokensOf(granted(1), { profile }, now, 0), refreshAt: now, expiresAt: now }
  const kept = box.seal(tokens, { userId: 'ann', rowId: 'row', version: 1, signedInAt: now })
  await store.open({ idHash: 'session', userId: 'ann', createdAt: now, seenAt: now }, kept)
  const asked: string[] = []
  const oauth = {
    refresh: async (token: string) => {
      asked.push(token)
      return answer()
    },
  }
  const events = new Events(clock)
  const keeper = new TokenKeeper({ store, box, oauth, clock, random: () => random, events, logger: undefined })
  const saved = async () => {
    const held = await store.tokensOf('ann')
    return held && box.open(held)
  }
  return { clock, store, box, keeper, kept, tokens, asked, saved, live: () => keeper.live(kept, tokens) }
}

describe('a refresh', () => {
  test.each([
    [0, 0.85],
    [0.999, 0.7],
  ])('where chance is %d saves tokens that are refreshed after %d of their life', async (random, share) => {
    const { live, saved, clock } = await expired(async () => granted(2), random)
    expect((await live())?.accessToken).toBe('access 2')
    expect(((await saved())!.refreshAt - clock.now()) / WEEK).toBeCloseTo(share, 3)
  })

  test('keeps the newest refresh token, and the one before where Discord gives none', async () => {
    const given = await expired(async () => granted(2))
    await given.live()
    expect([given.asked, (await given.saved())?.refreshToken]).toEqual([['refresh 1'], 'refresh 2'])
    const none = await expired(async () => ({ ...granted(2), refreshToken: undefined }))
    await none.live()
    expect((await none.saved())?.refreshToken).toBe('refresh 1')
  })

  test('that Discord refuses because another process was quicker ends nothing: theirs are used', async () => {
    const house = await expired(async (): Promise<Refused> => {
      const { userId, rowId, signedInAt } = house.kept
      const theirs = { ...house.tokens, ...granted(2) }
      await house.store.replace(house.box.seal(theirs, { userId, rowId, signedInAt, version: 2 }), house.kept)
      return { refused: 'invalid_grant', error: 'invalid_grant' }
    })
    expect((await house.live())?.accessToken).toBe('access 2')
    expect(await house.store.find('session')).toBeDefined()
  })

  test('whose save fails four times is saved the fifth time, within two seconds', async () => {
    const house = await expired(async () => granted(2))
    const replace = house.store.replace.bind(house.store)
    let failures = 0
    house.store.replace = async (tokens: KeptTokens, from) => {
      if (failures++ < 4) throw new HoldfastError('REDIS_UNAVAILABLE', 'away')
      return replace(tokens, from)
    }
    const live = house.live()
    for (let step = 0; step < 25; step++) await house.clock.advance(100)
    await live
    expect([failures, (await house.saved())?.accessToken, house.asked.length]).toEqual([5, 'access 2', 1])
  })
})
