import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, test } from 'vitest'
import type { SharedKey, SharedNews, SharedTier, Ticket } from '../../src/cache/shared-tier.ts'

/** One process's end of a tier that several share. */
export interface Member {
  readonly tier: SharedTier
  /** From now on it neither hears nor says anything. */
  cutOff(): Promise<void>
  /** It is back, and has caught up. */
  reconnect(): Promise<void>
  [Symbol.dispose](): void
}

/** News of one process, and when each came. */
export function attentive(tier: SharedTier) {
  const heard: string[] = []
  const note = (what: string) => void heard.push(what)
  const news: SharedNews = {
    invalidated: (id) => note(`invalidated ${id}`),
    userInvalidated: (user) => note(`user ${user} invalidated`),
    everythingInvalidated: () => note('everything invalidated'),
    superseded: (id) => note(`superseded ${id}`),
    returned: () => note('returned'),
  }
  tier.listen(news)
  return heard
}

const FRESH = 60_000
const STALE = 600_000
/** How soon others hear of something; on a busy machine. */
const AT_ONCE_MS = 500

/**
 * What every shared tier promises to the cache. `lesser`: a tier that can only get and set. Its leases are not atomic,
 * and what was invalidated or stored elsewhere is seen within 5 s, as a doubt about everything.
 */
export function sharedTierContract(
  name: string,
  open: (count: number) => Promise<Member[]>,
  { lesser = false }: { readonly lesser?: boolean } = {},
) {
  const NEWS_MS = lesser ? 5_000 : AT_ONCE_MS
  const members: Member[] = []
  const fleet = async (count: number) => {
    const opened = await open(count)
    members.push(...opened)
    return opened
  }
  const tiers = async (count: number) => (await fleet(count)).map(({ tier }) => tier) as [SharedTier, SharedTier]
  afterEach(() => {
    for (const member of members.splice(0)) member[Symbol.dispose]()
  })

  let made = 0
  const userKey = (user = `user-${++made}`): SharedKey => ({
    id: `\0u${user.length}:${user}guilds-${++made}`,
    user,
    label: 'guilds',
    version: 'json',
  })
  const ownKey = (): SharedKey => ({ id: `own-${++made}`, user: undefined, label: 'own', version: 'json' })
  const KEYS = [
    ['a key of a user', () => userKey()],
    ['a key of its own', ownKey],
  ] as const

  const ticketOf = async (tier: SharedTier, key: SharedKey): Promise<Ticket> => {
    const begun = await tier.begin(key, FRESH, STALE)
    if (begun?.kind !== 'load') throw new Error(`got ${JSON.stringify(begun)} instead of leave to load`)
    return begun.ticket
  }
  const store = async (tier: SharedTier, key: SharedKey, text: string) => {
    expect(await tier.write(key, await ticketOf(tier, key), text, STALE)).toBe(true)
  }
  const textOf = async (tier: SharedTier, key: SharedKey) => (await tier.read(key))?.value?.text
  const soon = async (what: () => unknown, expected: unknown) => {
    await expect.poll(what, { timeout: NEWS_MS, interval: 2 }).toEqual(expected)
  }

  describe(`${name}: values`, () => {
    test.each(KEYS)('are read as they were written, by all, with their age (%s)', async (_name, make) => {
      const [a, b] = await tiers(2)
      const key = make()
      expect(await a.read(key)).toEqual({ invalidBefore: expect.any(Number) })
      const text = 'guilds, \u0000 \ud83d\ude00 and "quotes"'.repeat(1_000)
      const ticket = await ticketOf(a, key)
      await sleep(60)
      expect(await a.write(key, ticket, text, STALE)).toBe(true)
      for (const tier of [a, b]) {
        const { value } = (await tier.read(key))!
        expect(value).toMatchObject({ text, begunAt: ticket.begunAt })
        // From the beginning of the load, and never younger than that.
        expect(value!.ageMs).toBeGreaterThanOrEqual(60)
        expect(value!.ageMs).toBeLessThan(2_000)
      }
    })

    test('of different keys, users and versions do not meet', async () => {
      const [a] = await tiers(1)
      const key = userKey('ab')
      await store(a, key, 'mine')
      const others = [{ ...key, id: `${key.id}x` }, userKey('abc'), userKey('a'), { ...key, version: 'm2' }, ownKey()]
      for (const other of others) expect(await textOf(a, other)).toBeUndefined()
      expect(await textOf(a, key)).toBe('mine')
    })

    test('last as long as they are said to', async () => {
      const [a] = await tiers(1)
      const key = ownKey()
      expect(await a.write(key, await ticketOf(a, key), 'short', 150)).toBe(true)
      expect(await textOf(a, key)).toBe('short')
      await sleep(200)
      expect(await textOf(a, key)).toBeUndefined()
    })

    test('fractions, and times without end, are times too', async () => {
      const [a] = await tiers(1)
      for (const staleMs of [0.4, 1_500.7, Number.POSITIVE_INFINITY, Number.MAX_SAFE_INTEGER]) {
        const key = ownKey()
        const begun = await a.begin(key, Math.min(staleMs, FRESH), staleMs)
        expect(begun?.kind, String(staleMs)).toBe('load')
        const written = await a.write(key, (begun as { ticket: Ticket }).ticket, 'v', staleMs)
        // Of the shortest nothing is left by then.
        if (staleMs < 1) continue
        expect(written, String(staleMs)).toBe(true)
        expect(await textOf(a, key)).toBe('v')
      }
    })
  })

  describe(`${name}: leases`, () => {
    test.each(KEYS)('one loads, the others wait and are told when it is done (%s)', async (_name, make) => {
      const [a, b] = await tiers(2)
      const key = make()
      const ticket = await ticketOf(a, key)
      const begun = await b.begin(key, FRESH, STALE)
      expect(begun).toMatchObject({ kind: 'wait' })
      const { forMs } = begun as { forMs: number }
      expect(forMs).toBeGreaterThan(1_000)
      expect(forMs).toBeLessThanOrEqual(2_000)
      const began = performance.now()
      const done = b.done(key, forMs, new AbortController().signal).then(() => performance.now() - began)
      await sleep(30)
      await a.write(key, ticket, 'v', STALE)
      expect(await done).toBeLessThan(30 + NEWS_MS)
      expect(await b.begin(key, FRESH, STALE)).toEqual({ kind: 'newer' })
      expect(await textOf(b, key)).toBe('v')
    })

    test('of many who begin at once, one loads', async () => {
      const processes = (await fleet(3)).map(({ tier }) => tier)
      const key = userKey()
      const begun = await Promise.all(
        Array.from({ length: 60 }, (_, nth) => processes[nth % 3]!.begin(key, FRESH, STALE)),
      )
      const loads = begun.filter((one) => one?.kind === 'load').length
      expect(loads).toBeGreaterThanOrEqual(1)
      // Not atomic: of each process at most one.
      expect(loads).toBeLessThanOrEqual(lesser ? 3 : 1)
      expect(begun.filter((one) => one?.kind === 'wait')).toHaveLength(60 - loads)
    })

    test('a value that is too old for who asks is loaded again, by one', async () => {
      const [a, b] = await tiers(2)
      const key = userKey()
      await store(a, key, 'old')
      await sleep(30)
      expect(await b.begin(key, FRESH, STALE)).toEqual({ kind: 'newer' })
      expect(await b.begin(key, 20, STALE)).toMatchObject({ kind: 'load' })
      expect(await a.begin(key, 20, STALE)).toMatchObject({ kind: 'wait' })
    })

    test('a holder that dies costs the others one lease time', async () => {
      const [dead, b] = await fleet(2)
      const key = userKey()
      const ticket = await ticketOf(dead!.tier, key)
      dead![Symbol.dispose]()
      const began = performance.now()
      for (;;) {
        const begun = await b!.tier.begin(key, FRESH, STALE)
        if (begun?.kind === 'load') break
        expect(begun?.kind).toBe('wait')
        // Nobody else can keep it.
        await b!.tier.renew(key, { ...ticket, token: 'zzzzzzzz' })
        await b!.tier.done(key, (begun as { forMs: number }).forMs, new AbortController().signal)
      }
      expect(performance.now() - began).toBeGreaterThan(1_500)
      expect(performance.now() - began).toBeLessThan(2_600)
    })

    test('is kept as long as it is renewed', async () => {
      const [a, b] = await tiers(2)
      const key = userKey()
      const ticket = await ticketOf(a, key)
      const endsAt = performance.now() + 2_200
      while (performance.now() < endsAt) {
        await a.renew(key, ticket)
        expect(await b.begin(key, FRESH, STALE)).toMatchObject({ kind: 'wait' })
        await sleep(a.renewEveryMs / 2)
      }
    })

    test('a failure is shared: nobody tries for as long as it says', async () => {
      const [a, b] = await tiers(2)
      const key = userKey()
      const ticket = await ticketOf(a, key)
      expect(await b.begin(key, FRESH, STALE)).toMatchObject({ kind: 'wait' })
      const told = b.done(key, 5_000, new AbortController().signal)
      const { ms } = await timedFrom(async () => {
        await a.giveUp(key, ticket, 400)
        await told
      })
      expect(ms).toBeLessThan(NEWS_MS)
      const begun = await b.begin(key, FRESH, STALE)
      expect(begun).toMatchObject({ kind: 'failed' })
      expect((begun as { forMs: number }).forMs).toBeGreaterThan(0)
      expect((begun as { forMs: number }).forMs).toBeLessThanOrEqual(400)
      await sleep(450)
      expect(await b.begin(key, FRESH, STALE)).toMatchObject({ kind: 'load' })
    })

    test('given up without a wait, it is the next one’s at once', async () => {
      const [a, b] = await tiers(2)
      const key = userKey()
      await a.giveUp(key, await ticketOf(a, key), 0)
      expect(await b.begin(key, FRESH, STALE)).toMatchObject({ kind: 'load' })
    })

    test('whoever lost its lease cannot give up another’s', async () => {
      const [a, b] = await tiers(2)
      const key = userKey()
      const lost = await ticketOf(a, key)
      await a.invalidate(key)
      await ticketOf(b, key)
      await a.giveUp(key, lost, 60_000)
      expect(await a.begin(key, FRESH, STALE)).toMatchObject({ kind: 'wait' })
    })

    test('waiting ends with its time and with its signal', async () => {
      const [a] = await tiers(1)
      const controller = new AbortController()
      const waits = [
        a.done(userKey(), 30, controller.signal),
        a.done(userKey(), 60_000, controller.signal),
        a.done(userKey(), 60_000, AbortSignal.abort()),
      ]
      setTimeout(() => controller.abort(), 50)
      expect((await timedFrom(() => Promise.all(waits))).ms).toBeLessThan(500)
    })

    test.each([
      ['the key', (tier: SharedTier, key: SharedKey) => tier.invalidate(key)],
      ['its user', (tier: SharedTier, key: SharedKey) => tier.invalidateUser(key.user!)],
    ])('nobody waits for a load any more that was invalidated with %s', async (_name, invalidate) => {
      const [a, b] = await tiers(2)
      const key = userKey()
      await ticketOf(a, key)
      for (const [waiting, other] of [
        [b, a],
        [b, b],
      ] as const) {
        const told = waiting.done(key, 5_000, new AbortController().signal)
        await sleep(10)
        const { ms } = await timedFrom(async () => {
          await invalidate(other, key)
          await told
        })
        expect(ms).toBeLessThan(NEWS_MS)
      }
      expect(await b.begin(key, FRESH, STALE)).toMatchObject({ kind: 'load' })
    })
  })

  describe(`${name}: writes that come too late change nothing`, () => {
    test('older than what is there', async () => {
      const [a, b] = await tiers(2)
      const key = userKey()
      const early = await ticketOf(a, key)
      const taken = await b.take(key, STALE)
      expect(await b.write(key, taken!, 'set', STALE)).toBe(true)
      expect(await a.write(key, early, 'loaded', STALE)).toBe(false)
      expect(await textOf(a, key)).toBe('set')
    })

    test('the same write twice is one', async () => {
      const [a] = await tiers(1)
      const key = userKey()
      const ticket = await ticketOf(a, key)
      expect(await a.write(key, ticket, 'v', STALE)).toBe(true)
      expect(await a.write(key, ticket, 'w', STALE)).toBe(false)
      expect(await textOf(a, key)).toBe('v')
    })

    test('invalidated while it was loaded', async () => {
      const [a, b] = await tiers(2)
      for (const invalidate of [
        (key: SharedKey) => b.invalidate(key),
        (key: SharedKey) => b.invalidateUser(key.user!),
      ]) {
        const key = userKey()
        const ticket = await ticketOf(a, key)
        await invalidate(key)
        expect(await a.write(key, ticket, 'before', STALE)).toBe(false)
        expect(await textOf(a, key)).toBeUndefined()
        await store(b, key, 'after')
        expect(await a.write(key, ticket, 'before', STALE)).toBe(false)
        expect(await textOf(a, key)).toBe('after')
      }
    })

    test('a key of its own, invalidated before anything was there', async () => {
      const [a, b] = await tiers(2)
      const key = ownKey()
      const ticket = await ticketOf(a, key)
      await b.invalidate(key)
      expect(await a.write(key, ticket, 'before', STALE)).toBe(false)
      expect(await textOf(b, key)).toBeUndefined()
    })
  })

  describe(`${name}: what was invalidated`, () => {
    test.each(KEYS)('is gone for all at once, and its loads are to begin later (%s)', async (_name, make) => {
      const [a, b] = await tiers(2)
      const key = make()
      await store(a, key, 'v')
      const { begunAt } = (await b.read(key))!.value!
      // Stores that keep whole milliseconds tell what happened within one apart by chance.
      await sleep(2)
      await a.invalidate(key)
      const found = (await b.read(key))!
      expect(found.value).toBeUndefined()
      expect(found.invalidBefore).toBeGreaterThan(begunAt)
      const again = await ticketOf(b, key)
      expect(again.begunAt).toBeGreaterThanOrEqual(found.invalidBefore)
    })

    test('with a user is everything of this user, and of nobody else', async () => {
      const [a, b] = await tiers(2)
      const [one, two] = [userKey('12'), userKey('12')]
      const others = [userKey('1'), userKey('123'), { ...ownKey(), id: '12' }]
      for (const key of [one, two, ...others]) await store(a, key, 'v')
      const ticket = await ticketOf(a, userKey('12'))
      await b.invalidateUser('12')
      for (const key of [one, two]) expect(await textOf(a, key)).toBeUndefined()
      for (const key of others) expect(await textOf(a, key)).toBe('v')
      expect(ticket).toBeDefined()
    })

    test('with one key leaves the user’s other keys', async () => {
      const [a, b] = await tiers(2)
      const [one, two] = [userKey('77'), userKey('77')]
      for (const key of [one, two]) await store(a, key, 'v')
      await b.invalidate(one)
      expect(await textOf(a, one)).toBeUndefined()
      expect(await textOf(a, two)).toBe('v')
    })

    test('is told to the others within moments, and not to oneself', async () => {
      const [a, b] = await tiers(2)
      const [heardByA, heardByB] = [attentive(a), attentive(b)]
      const key = userKey('9')
      await store(a, key, 'v')
      if (lesser) {
        heardByB.length = 0
        await a.invalidate(key)
        await soon(() => heardByB.includes('returned'), true)
        heardByB.length = 0
        await a.invalidateUser('9')
        return soon(() => heardByB.includes('returned'), true)
      }
      await soon(() => heardByB, [`superseded ${key.id}`])
      await a.invalidate(key)
      await soon(() => heardByB.slice(1), [`invalidated ${key.id}`])
      await a.invalidateUser('9')
      await soon(() => heardByB.slice(2), ['user 9 invalidated'])
      expect(heardByA).toEqual([])
    })
  })

  describe(`${name}: a process that was cut off`, () => {
    test('is answered with undefined, at once', async () => {
      const [a] = await fleet(1)
      const key = userKey()
      await a!.cutOff()
      const { ms } = await timedFrom(async () => {
        expect(a!.tier.isUsable).toBe(false)
        expect(await a!.tier.read(key)).toBeUndefined()
        expect(await a!.tier.begin(key, FRESH, STALE)).toBeUndefined()
        expect(await a!.tier.take(key, STALE)).toBeUndefined()
        const ticket = { begunAt: 1, epoch: 'e', token: 't' }
        expect(await a!.tier.write(key, ticket, 'v', STALE)).toBeUndefined()
        await a!.tier.renew(key, ticket)
        await a!.tier.giveUp(key, ticket, 1_000)
        await a!.tier.invalidate(key)
        await a!.tier.invalidateUser('1')
      })
      expect(ms).toBeLessThan(100)
    })

    test('is told when it is back, and finds out what was invalidated meanwhile', async () => {
      const [a, b] = await fleet(2)
      const key = userKey()
      await store(a!.tier, key, 'v')
      const { begunAt } = (await b!.tier.read(key))!.value!
      const heard = attentive(b!.tier)
      await b!.cutOff()
      await a!.tier.invalidate(key)
      expect(heard.filter(isNoWrite)).toEqual([])
      await b!.reconnect()
      expect(heard.at(-1)).toBe('returned')
      expect((await b!.tier.read(key))!.invalidBefore).toBeGreaterThan(begunAt)
    })

    test('says what it invalidated before it is back itself', async () => {
      const [a, b] = await fleet(2)
      const [one, two, other] = [userKey('31'), userKey('32'), userKey('33')]
      for (const key of [one, two, other]) await store(b!.tier, key, 'v')
      const heard = attentive(b!.tier)
      await a!.cutOff()
      await a!.tier.invalidate(one)
      await a!.tier.invalidateUser('32')
      expect(await textOf(b!.tier, one)).toBe('v')
      await a!.reconnect()
      for (const tier of [a!.tier, b!.tier]) {
        expect(await textOf(tier, one)).toBeUndefined()
        expect(await textOf(tier, two)).toBeUndefined()
        expect(await textOf(tier, other)).toBe('v')
      }
      if (lesser) return soon(() => heard.includes('returned'), true)
      await soon(() => heard.filter(isNoWrite).sort(), [`invalidated ${one.id}`, 'user 32 invalidated'].sort())
    })

    test('and invalidated more than can be remembered, invalidates everything, for those too who are cut off then', async () => {
      const [a, b, late] = await fleet(3)
      const keys = [userKey(), ownKey(), userKey()]
      for (const key of keys) await store(b!.tier, key, 'v')
      const tickets = await Promise.all(
        [userKey(), ownKey()].map(async (key) => [key, await ticketOf(b!.tier, key)] as const),
      )
      const [heard, heardLate] = [attentive(b!.tier), attentive(late!.tier)]
      await Promise.all([a!.cutOff(), late!.cutOff()])
      for (let nth = 0; nth < 10_001; nth++) await a!.tier.invalidate({ ...ownKey(), id: `gone-${nth}` })
      await a!.reconnect()
      for (const key of keys) await soon(() => textOf(b!.tier, key), undefined)
      // Not stored. Whether it was invalidated or forgotten only the news can tell.
      for (const [key, ticket] of tickets) expect(await b!.tier.write(key, ticket, 'late', STALE)).not.toBe(true)
      if (lesser) await soon(() => heard.includes('everything invalidated'), true)
      else await soon(() => heard.filter(isNoWrite), ['everything invalidated'])
      await late!.reconnect()
      if (lesser) expect(heardLate).toContain('everything invalidated')
      else expect(heardLate.filter(isNoWrite)[0]).toBe('everything invalidated')
      expect(heardLate.at(-1)).toBe('returned')
      // And life goes on.
      await store(a!.tier, keys[0]!, 'new')
      expect(await textOf(late!.tier, keys[0]!)).toBe('new')
    })
  })
}

/** News of a write may still be on their way when somebody begins to listen. */
const isNoWrite = (what: string) => !what.startsWith('superseded')

async function timedFrom<T>(work: () => Promise<T>): Promise<{ ms: number; value: T }> {
  const began = performance.now()
  const value = await work()
  return { ms: performance.now() - began, value }
}
