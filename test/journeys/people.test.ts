import type { FaultKind, FaultOptions } from 'holdfast/simulator'
import { describe, expect, test } from 'vitest'
import { GUILDS, HOUR, MINUTE, openApp, openWorld, outcome } from './world.ts'

describe('a revoked token', () => {
  test('ends that user at once after the next 401, never stale, and nobody else notices', async () => {
    await using world = await openWorld({ simulator: { users: 5 } })
    await using app = await openApp(world.holdfast)
    const { clock, discord } = world
    const [ann, ...others] = discord.users
    for (const { accessToken } of discord.users) expect((await app.visit(accessToken)).status).toBe(200)
    discord.revoke(ann!.id)
    await clock.advance(2 * HOUR)
    const calls = world.watch()
    expect(await app.visit(ann!.accessToken)).toMatchObject({ status: 401, code: 'UNAUTHENTICATED' })
    const asked = calls().length
    expect(calls().every(({ status }) => status === 401)).toBe(true)
    expect(asked).toBeLessThanOrEqual(2)
    // What Discord said once is not asked again, and no later trouble brings the old answer back.
    for (const kind of ['server-error', 'rate-limit', 'ban', 'reset'] as const) {
      const end = discord.fault(kind, { userId: ann!.id })
      expect(await app.visit(ann!.accessToken)).toMatchObject({ status: 401 })
      expect(await app.visit(ann!.accessToken, 'POST')).toMatchObject({ status: 401 })
      end()
      await clock.advance(2 * MINUTE)
    }
    expect(calls()).toHaveLength(asked)
    for (const { accessToken } of others)
      expect(await app.visit(accessToken)).toMatchObject({ status: 200, stale: false })
  })

  test('is tried again by one call after ten minutes, and stays refused whatever becomes of that', async () => {
    await using world = await openWorld()
    await using app = await openApp(world.holdfast)
    const { clock, discord, user } = world
    await app.visit(user.accessToken)
    discord.revoke(user.id)
    await clock.advance(2 * HOUR)
    expect(await world.drive(app.visit(user.accessToken))).toMatchObject({ status: 401 })
    for (const kind of ['server-error', 'rate-limit', 'block-page', 'reset', 'ban', undefined] as const) {
      await clock.advance(10 * MINUTE)
      const calls = world.watch()
      const end = kind && discord.fault(kind, { userId: user.id })
      for (let visit = 0; visit < 3; visit++)
        expect(await world.drive(app.visit(user.accessToken))).toMatchObject({ status: 401, code: 'UNAUTHENTICATED' })
      end?.()
      expect(calls().length).toBeLessThanOrEqual(1)
      if (kind === 'server-error') expect(calls()).toHaveLength(1)
    }
  })

  test('is noticed by the refresh that comes before the fresh time ends, and then by the next request', async () => {
    await using world = await openWorld()
    const { clock, discord, user } = world
    await world.asked(user)
    discord.revoke(user.id)
    await clock.advance(55 * MINUTE)
    // Still fresh, and asked anew behind this answer.
    await world.asked(user)
    await world.settle()
    expect(await outcome(world.asked(user))).toBe('UNAUTHENTICATED')
  })

  test('does not end another session of the same user', async () => {
    await using world = await openWorld()
    const { discord, user } = world
    await world.asked(user)
    discord.revoke(user.id)
    await world.clock.advance(2 * HOUR)
    expect(await outcome(world.asked(user))).toBe('UNAUTHENTICATED')
    const accessToken = discord.issueToken(user.id)
    const auth = await world.drive(world.asked({ accessToken }))
    expect(auth).toMatchObject({ stale: false, user: { id: user.id } })
    expect(await outcome(world.asked(user))).toBe('UNAUTHENTICATED')
  })

  test('whose time has passed is refused as well, although nobody revoked it', async () => {
    await using world = await openWorld()
    const { discord, user, clock } = world
    const accessToken = discord.issueToken(user.id, { lifetimeMs: 30 * MINUTE })
    expect(await outcome(world.asked({ accessToken }))).toBe('let in')
    await clock.advance(30 * MINUTE)
    discord.fault('server-error')
    expect(await outcome(world.asked({ accessToken }))).toBe('UNAUTHENTICATED')
  })

  test('of another application, or without the scope guilds, opens nothing', async () => {
    await using world = await openWorld()
    const { discord, user } = world
    const foreign = discord.issueToken(user.id, { applicationId: '99999999999999999' })
    const poor = discord.issueToken(user.id, { scopes: ['identify'] })
    expect(await outcome(world.asked({ accessToken: foreign }))).toBe('UNAUTHENTICATED')
    expect(await outcome(world.asked({ accessToken: poor }))).toBe('FORBIDDEN')
    // Also when the user's own list is held, by another session.
    expect(await outcome(world.asked(user))).toBe('let in')
    expect(await outcome(world.asked({ accessToken: foreign }))).toBe('UNAUTHENTICATED')
    expect(await outcome(world.asked({ accessToken: poor }))).toBe('FORBIDDEN')
  })
})

describe('a change of memberships shows at the next refresh', () => {
  test('somebody who left is out', async () => {
    await using world = await openWorld()
    const { clock, discord, user } = world
    const guild = user.guilds[0]!.id
    expect((await world.asked(user, { guild })).guild?.id).toBe(guild)
    discord.leaveGuild(user.id, guild)
    // Held and fresh: not known yet. A route that asks for the last minute knows.
    await clock.advance(2 * MINUTE)
    expect(await outcome(world.asked(user, { guild }))).toBe('let in')
    expect(await outcome(world.asked(user, { guild, maxAgeMs: MINUTE }))).toBe('FORBIDDEN')
    expect(await outcome(world.asked(user, { guild }))).toBe('FORBIDDEN')
  })

  test('somebody who left is out after an hour, whoever asks, and stays out through an outage', async () => {
    await using world = await openWorld()
    const { clock, discord, user } = world
    const guild = user.guilds[0]!.id
    expect(await outcome(world.asked(user, { guild }))).toBe('let in')
    discord.leaveGuild(user.id, guild)
    await clock.advance(HOUR)
    expect(await outcome(world.drive(world.asked(user, { guild })))).toBe('FORBIDDEN')
    discord.fault('server-error')
    await clock.advance(2 * HOUR)
    expect(await outcome(world.drive(world.asked(user, { guild })))).toBe('FORBIDDEN')
  })

  test('somebody who joined is in', async () => {
    await using world = await openWorld()
    const { clock, discord, user } = world
    const guild = '123456789012345678'
    expect(await outcome(world.asked(user, { guild }))).toBe('FORBIDDEN')
    discord.joinGuild(user.id, { id: guild, name: 'New' })
    await clock.advance(HOUR)
    const auth = await world.drive(world.asked(user, { guild }))
    expect(auth).toMatchObject({ stale: false, guild: { id: guild, name: 'New' } })
  })

  test('somebody who joined is in at once where they are forgotten, also while an answer from before is on its way', async () => {
    await using world = await openWorld()
    const { discord, holdfast, user } = world
    const guild = '123456789012345678'
    discord.fault('slow', { ms: 5_000, route: GUILDS, times: 1 })
    await world.drive(world.asked(user, { guilds: false }))
    const before = outcome(world.asked(user, { guild }))
    await world.settle()
    discord.joinGuild(user.id, { id: guild, name: 'New' })
    await holdfast.cache.invalidateUser(user.id)
    expect(await world.drive(outcome(world.asked(user, { guild })))).toBe('let in')
    expect(await world.drive(before)).toBe('FORBIDDEN')
    expect(await outcome(world.asked(user, { guild }))).toBe('let in')
  })

  test('permissions that were given and taken are seen', async () => {
    await using world = await openWorld()
    const { clock, discord, user } = world
    const id = '123456789012345678'
    const required = { guild: id, permissions: 'ManageGuild' } as const
    const change = async (permissions: string) => {
      discord.joinGuild(user.id, { id, name: 'New', permissions })
      await clock.advance(HOUR)
      return outcome(world.drive(world.asked(user, required)))
    }
    expect(await change('0')).toBe('FORBIDDEN')
    expect(await change('32')).toBe('let in')
    expect(await change('8')).toBe('let in')
    expect(await change('0')).toBe('FORBIDDEN')
  })
})

describe('nobody gets in by failing', () => {
  const FAULTS: ReadonlyArray<readonly [FaultKind, FaultOptions]> = [
    ['rate-limit', {}],
    ['rate-limit', { scope: 'shared' }],
    ['rate-limit', { scope: 'global', retryAfterMs: 60_000 }],
    ['ban', {}],
    ['ban', { shape: 'page' }],
    ['ban', { shape: 'notice' }],
    ['block-page', {}],
    ['server-error', {}],
    ['server-error', { status: 503, retryAfterMs: 5_000 }],
    ['hang', {}],
    ['slow', { ms: 20_000 }],
    ['truncate', {}],
    ['malformed', {}],
    ['reset', {}],
    ['clock-skew', { ms: -HOUR }],
  ]
  const ROUTES = [GUILDS, '/oauth2/@me', '/guilds/*', undefined] as const

  test.each(FAULTS)('%s %j never opens a guild that the user was never in', async (kind, options) => {
    const stranger = '123456789012345678'
    for (const route of ROUTES) {
      await using world = await openWorld({ simulator: { users: 2 } })
      const { clock, discord } = world
      const [ann, bob] = discord.users
      // The guild exists, and the bot, which is asked for live answers, is in it.
      discord.joinGuild(bob!.id, { id: stranger, name: 'Not yours', permissions: '8', owner: true })
      await using held = await asBot(world)
      const tries = async () => {
        const required = [
          { guild: stranger },
          { guild: stranger, permissions: 'ManageGuild' },
          { guild: stranger, live: true },
          { guild: stranger, maxAgeMs: 0 },
          { guild: () => undefined },
          { guild: () => '' },
        ] as const
        const tried = required.flatMap((one) =>
          ['GET', 'POST'].map((method) => outcome(held.asked(ann!.accessToken, one, method))),
        )
        expect(await world.drive(Promise.all(tried))).not.toContain('let in')
      }
      const fault = { ...options, ...(route && { route }) }
      let end = discord.fault(kind, fault)
      await tries()
      end()
      await clock.advance(2 * HOUR)
      // The user is known, with a list that lacks the guild; then it is stale.
      expect(await outcome(world.drive(held.asked(ann!.accessToken, {}, 'GET')))).toBe('let in')
      end = discord.fault(kind, fault)
      await tries()
      await clock.advance(2 * HOUR)
      await tries()
      end()
    }
  })

  /** An instance that may ask as the bot too. */
  async function asBot({ clock, discord, drive }: Awaited<ReturnType<typeof openWorld>>) {
    const { createHoldfast } = await import('holdfast')
    const holdfast = createHoldfast({
      clock,
      discord: { baseUrl: discord.url, clientId: discord.clientId, botToken: discord.botToken },
    })
    return {
      asked: (accessToken: string, required: Parameters<typeof holdfast.requireAuth>[1], method: string) =>
        holdfast.requireAuth({ method, headers: new Headers({ authorization: `Bearer ${accessToken}` }) }, required),
      [Symbol.asyncDispose]: () => drive(holdfast.close({ deadlineMs: 0 })),
    }
  }
})
