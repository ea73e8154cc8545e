import type { FaultKind, FaultOptions } from 'holdfast/simulator'
import { describe, expect, test } from 'vitest'
import { GUILDS, HOUR, MINUTE, openApp, openWorld, type Page, SECOND } from './world.ts'

const USERS = 50
const STALE_TIME = 24 * HOUR

describe('50 users whose Discord is calm, throttles, bans, breaks, and recovers', () => {
  /** Everybody opens the page, half of them in two tabs at once. */
  async function story() {
    const world = await openWorld({ simulator: { users: USERS } })
    const app = await openApp(world.holdfast)
    const { clock, discord } = world
    /** One round of visits; resolves to all pages. */
    const everybody = async () => {
      const pages = discord.users.flatMap(({ accessToken }, index) =>
        Array.from({ length: 1 + (index % 2) }, () => app.visit(accessToken)),
      )
      return world.drive(Promise.all(pages))
    }
    /** Rounds of visits, `everyMs` apart, for `forMs`. */
    const visits = async (forMs: number, everyMs: number) => {
      const pages: Page[] = []
      const until = clock.monotonic() + forMs
      while (clock.monotonic() < until) {
        const nextAt = clock.monotonic() + everyMs
        const round = await everybody()
        // What a page says is checked against the time at which it is read.
        for (const page of round) expectServed(page, clock.now())
        pages.push(...round)
        await clock.advance(Math.max(0, nextAt - clock.monotonic()))
        await world.settle()
      }
      return pages
    }
    return {
      ...world,
      app,
      everybody,
      visits,
      async [Symbol.asyncDispose]() {
        await app[Symbol.asyncDispose]()
        await world[Symbol.asyncDispose]()
      },
    }
  }

  function expectServed(page: Page, now: number) {
    expect(page).toMatchObject({ status: 200, retryAfter: null })
    expect(page.guildIds).toHaveLength(20)
    const ageMs = now - page.fetchedAt!.getTime()
    expect(ageMs).toBeGreaterThanOrEqual(0)
    expect(ageMs).toBeLessThan(STALE_TIME)
    if (!page.stale) {
      expect(page.reason).toBeUndefined()
      return
    }
    expect(ageMs).toBeGreaterThanOrEqual(HOUR)
    expect(page.reason).toBeOneOf(['throttled', 'unavailable', 'slow'])
    // While a refresh is under way nobody knows when the next one will be.
    if (page.reason !== 'slow') expect(page.retryAt!.getTime()).toBeGreaterThan(now - MINUTE)
  }

  test('in three calm hours nobody sees a stale page, and Discord is asked once an hour, without a 429', async () => {
    await using world = await story()
    const pages = await world.visits(3 * HOUR, 10 * MINUTE)
    expect(pages.every((page) => page.stale === false)).toBe(true)
    expect(world.discord.calls.filter(({ status }) => status !== 200)).toEqual([])
    // Who somebody is, and their guilds; anew from 80 % of an hour on.
    expect(world.discord.calls.length).toBeGreaterThanOrEqual(2 * USERS * 3)
    expect(world.discord.calls.length).toBeLessThanOrEqual(2 * USERS * 4)
  })

  const OUTAGES: ReadonlyArray<readonly [FaultKind, FaultOptions]> = [
    ['server-error', {}],
    ['server-error', { status: 503 }],
    ['hang', {}],
    ['reset', {}],
    ['truncate', {}],
    ['malformed', {}],
    ['block-page', {}],
  ]

  test('nobody who was served before ever sees an error, and everybody is fresh again after it', async () => {
    await using world = await story()
    const { clock, discord } = world
    const calm = await world.visits(10 * MINUTE, MINUTE)
    expect(calm.every((page) => page.stale === false)).toBe(true)
    expect(discord.calls).toHaveLength(2 * USERS)
    expect(discord.calls.filter(({ status }) => status === 429)).toEqual([])
    await clock.advance(HOUR)

    // A storm of 429s that ask for 1.5 s: no user is asked for more often than that.
    const storm = world.watch()
    const endStorm = discord.fault('rate-limit', { route: GUILDS, retryAfterMs: 1_500 })
    const stormy = await world.visits(30 * SECOND, SECOND)
    endStorm()
    const stormEndedAt = clock.now()
    expect(stormy.every((page) => page.stale)).toBe(true)
    expect(stormy.some((page) => page.reason === 'throttled' && page.retryAt)).toBe(true)
    for (const { id } of discord.users) {
      const times = storm().flatMap((call) => (call.userId === id && call.route === GUILDS ? [call.at] : []))
      expect(times.length).toBeGreaterThan(1)
      for (let nth = 1; nth < times.length; nth++) expect(times[nth]! - times[nth - 1]!).toBeGreaterThanOrEqual(1_500)
    }

    // A ban: those who are under way, and then hardly anything.
    await clock.advance(10 * SECOND)
    const ban = world.watch()
    const endBan = discord.fault('ban', { retryAfterMs: HOUR })
    const banned = await world.visits(30 * MINUTE, 5 * MINUTE)
    // Whose wait was over before the ban has a list of after the storm.
    expect(banned.every((page) => page.stale || page.fetchedAt!.getTime() >= stormEndedAt)).toBe(true)
    expect(ban().length).toBeLessThanOrEqual(2 * USERS)
    const probes = world.watch()
    await world.visits(29 * MINUTE, 10 * MINUTE)
    // The blocked route stays shut for the hour; after some minutes, and seldom, another one is tried.
    expect(probes().filter(({ route }) => route === GUILDS)).toEqual([])
    expect(probes().length).toBeLessThanOrEqual(3)
    await world.visits(5 * MINUTE, MINUTE)
    expect(probes().length).toBeGreaterThan(0)
    expect(probes().length).toBeLessThanOrEqual(4)
    endBan()
    await clock.advance(HOUR)
    const between = await world.visits(2 * MINUTE, MINUTE)
    expect(between.slice(-USERS).every((page) => page.stale === false)).toBe(true)

    // Every way of being down, ten minutes each: nobody is asked for more often than the doubling backoff allows.
    await clock.advance(HOUR)
    for (const [kind, options] of OUTAGES) {
      const trouble = world.watch()
      const end = discord.fault(kind, options)
      const pages = await world.visits(10 * MINUTE, 30 * SECOND)
      end()
      expect(pages.every((page) => page.stale)).toBe(true)
      expect(pages.some((page) => page.reason === 'unavailable')).toBe(true)
      const asked = trouble()
      expect(asked.length).toBeGreaterThan(0)
      for (const { id } of discord.users) {
        for (const route of [GUILDS, '/oauth2/@me']) {
          const calls = asked.filter((call) => call.userId === id && call.route === route)
          expect(calls.length, `${kind} ${route}`).toBeLessThanOrEqual(8)
        }
      }
    }

    // The last trouble was a block of our address, whose own wait has doubled to some minutes by now. From the first
    // answer on the other back-offs end, and within two minutes everybody is fresh.
    await clock.advance(5 * MINUTE)
    await world.visits(2 * MINUTE, 10 * SECOND)
    const recovered = await world.everybody()
    expect(recovered.every((page) => page.status === 200 && page.stale === false)).toBe(true)
    expect(world.holdfast.stats().discord.breaker).toBe('closed')
  }, 60_000)

  test('an outage of a day ends what is held after exactly 24 hours, with a 503 that says when to come back', async () => {
    await using world = await openWorld()
    await using app = await openApp(world.holdfast)
    const { clock, discord, user } = world
    expect(await app.visit(user.accessToken)).toMatchObject({ status: 200, stale: false })
    const end = discord.fault('server-error')
    // A page of then still has its patience: half a second, in which Discord is tried once more.
    await clock.advance(24 * HOUR - SECOND)
    expect(await world.drive(app.visit(user.accessToken))).toMatchObject({ status: 200, stale: true })
    await clock.advance(10 * MINUTE)
    const refused = await world.drive(app.visit(user.accessToken))
    expect(refused).toMatchObject({ status: 503, code: 'SERVICE_UNAVAILABLE' })
    expect(refused.guildIds).toBeUndefined()
    expect(Number(refused.retryAfter)).toBeGreaterThan(0)
    end()
    await clock.advance(5 * MINUTE)
    expect(await app.visit(user.accessToken)).toMatchObject({ status: 200, stale: false })
  })

  test('a restart in the middle of a storm refuses with 429 and Retry-After, and of an outage with 503', async () => {
    await using world = await openWorld()
    await using app = await openApp(world.holdfast)
    const [ann, bob] = world.discord.users
    const endStorm = world.discord.fault('rate-limit', { retryAfterMs: 60_000 })
    const throttled = await app.visit(ann!.accessToken)
    expect(throttled).toMatchObject({ status: 429, code: 'RATE_LIMITED', retryAfter: '60' })
    endStorm()
    world.discord.fault('reset')
    const down = await world.drive(app.visit(bob!.accessToken))
    expect(down).toMatchObject({ status: 503, code: 'SERVICE_UNAVAILABLE' })
    expect(Number(down.retryAfter)).toBeGreaterThan(0)
  })

  test.each<[FaultKind, FaultOptions]>([
    ['slow', { ms: 200 }],
    ['clock-skew', { ms: 6 * HOUR }],
    ['clock-skew', { ms: -6 * HOUR }],
  ])('%s %j is no trouble at all: pages are fresh, and nothing is asked twice', async (kind, options) => {
    await using world = await openWorld()
    world.discord.fault(kind, options)
    for (let hour = 0; hour < 3; hour++) {
      const auth = await world.drive(world.asked(world.user))
      expect(auth).toMatchObject({ stale: false, user: { id: world.user.id } })
      await world.clock.advance(2 * HOUR)
    }
    expect(world.discord.calls.map(({ status }) => status)).toEqual([200, 200, 200, 200, 200, 200])
  })
})
