import { describe, expect, test } from 'vitest'
import { HOUR, MINUTE, openWorld, SECOND, type World } from './world.ts'

/** Ten users whose lists have just become stale, and a ban that one of them has run into. */
async function banned(
  options: Parameters<World['discord']['fault']>[1],
  meet: (world: World) => Promise<unknown> = (world) => world.asked(world.user),
) {
  const world = await openWorld({ simulator: { users: 10 } })
  await Promise.all(world.discord.users.map((user) => world.asked(user)))
  await world.clock.advance(2 * HOUR)
  const calls = world.watch()
  const end = world.discord.fault('ban', options)
  await meet(world)
  return { ...world, calls, end, bannedAt: world.clock.now() }
}

/** Everybody asks at once, and time stands still: whoever waited for anything would wait for ever. */
async function everybodyAtOnce(world: World) {
  return Promise.all(world.discord.users.map((user) => world.asked(user)))
}

/** Everybody's guilds, and nothing else: Discord is asked on one route. */
async function everybodysGuilds({ discord, holdfast }: World) {
  return Promise.all(discord.users.map(({ id, accessToken }) => holdfast.memberships({ userId: id, accessToken })))
}

describe('a ban of our address', () => {
  test('pauses everything until Retry-After; meanwhile everybody is served at once, with the reason and the time', async () => {
    await using world = await banned({ retryAfterMs: 120 * SECOND })
    const { clock, calls, bannedAt } = world
    expect(calls().map(({ status, fault }) => [status, fault])).toEqual([[429, 'ban']])
    for (let second = 0; second < 119; second += 7) {
      for (const auth of await everybodyAtOnce(world)) {
        expect(auth).toMatchObject({ stale: true, reason: 'throttled' })
        expect(auth.retryAt?.getTime()).toBe(bannedAt + 120 * SECOND)
      }
      // Time stands still, so whoever slept would sleep on.
      await world.settle()
      expect(world.clock.sleepers).toBe(0)
      await clock.advance(7 * SECOND)
    }
    expect(calls()).toHaveLength(1)
    expect(world.holdfast.stats().discord.breaker).toBe('open')
  })

  describe('keeps nobody waiting in its last seconds, when a call could wait for its end', () => {
    test.each<[string, (world: World) => Promise<ReadonlyArray<{ stale: boolean }>>]>([
      ['of those whose guilds are asked for', everybodysGuilds],
      ['of those who come with a bearer token', everybodyAtOnce],
    ])('%s', async (_name, ask) => {
      await using world = await banned({ retryAfterMs: 120 * SECOND })
      await world.clock.advance(115 * SECOND)
      // Nine of them come for the first time since the ban began.
      const everybody = ask(world)
      const first = await Promise.race([everybody, world.settle().then(() => 'still waiting')])
      await world.drive(everybody)
      expect(first).toMatchObject(world.discord.users.map(() => ({ stale: true, reason: 'throttled' })))
      expect(world.calls()).toHaveLength(1)
    })
  })

  test('also pauses what is not held: it is refused at once, and not sent', async () => {
    await using world = await banned({ retryAfterMs: HOUR })
    const { holdfast, discord, calls } = world
    const refused = { code: 'DISCORD_RATE_LIMITED', scope: 'egress', local: true }
    const { accessToken } = world.user
    // The route that met the ban waits for its end; after five minutes another one finds out whether it is open.
    await expect(holdfast.discordFetch('/oauth2/@me', accessToken)).rejects.toMatchObject({
      ...refused,
      retryAfterMs: HOUR,
    })
    await expect(holdfast.getCurrentUser(accessToken)).rejects.toMatchObject({ ...refused, retryAfterMs: 5 * MINUTE })
    await expect(
      holdfast.discordFetch(`/channels/${'1'.repeat(18)}/messages`, discord.botToken, { tokenType: 'Bot' }),
    ).rejects.toMatchObject({ scope: 'egress', local: true })
    const newcomer = discord.issueToken(world.user.id)
    await expect(world.asked({ accessToken: newcomer })).rejects.toMatchObject({
      code: 'RATE_LIMITED',
      status: 429,
      retryAfterMs: HOUR,
    })
    expect(calls()).toHaveLength(1)
  })

  test('of an hour is probed once on another route after five minutes, and then waited out', async () => {
    await using world = await banned({ retryAfterMs: HOUR })
    const { clock, calls } = world
    for (let minute = 0; minute < 60; minute++) {
      const everybody = await world.drive(everybodyAtOnce(world))
      expect(everybody.every((auth) => auth.stale)).toBe(true)
      expect(calls()).toHaveLength(minute < 5 ? 1 : 2)
      await clock.advance(MINUTE)
    }
    const [met, probe] = calls()
    expect(probe!.route).not.toBe(met!.route)
  })

  test('is probed once after its time, by one call of all that want to be sent, and lasts on if that fails', async () => {
    await using world = await banned({ retryAfterMs: 120 * SECOND })
    const { clock, calls } = world
    for (let probe = 1; probe <= 3; probe++) {
      await clock.advance(120 * SECOND)
      const everybody = await world.drive(everybodyAtOnce(world))
      expect(everybody.every((auth) => auth.stale)).toBe(true)
      expect(calls()).toHaveLength(1 + probe)
    }
  })

  test('is over as soon as one probe comes back: then everybody is fresh', async () => {
    await using world = await banned({ retryAfterMs: 120 * SECOND })
    const { clock, discord, calls, end } = world
    end()
    await everybodyAtOnce(world)
    expect(calls()).toHaveLength(1)
    await clock.advance(120 * SECOND)
    await world.drive(everybodyAtOnce(world))
    const everybody = await world.drive(everybodyAtOnce(world))
    expect(everybody.map((auth) => auth.stale)).toEqual(discord.users.map(() => false))
    expect(world.holdfast.stats().discord.breaker).toBe('closed')
  })

  test.each(['page', 'notice'] as const)(
    'that names no time (%s) is probed on its route after 60 s, 120 s and so on up to an hour, once each',
    async (shape) => {
      await using world = await banned({ shape }, ({ holdfast, user: { id, accessToken } }) =>
        holdfast.memberships({ userId: id, accessToken }),
      )
      const { clock, calls } = world
      const waits = [1, 2, 4, 8, 16, 32, 60, 60].map((minutes) => minutes * MINUTE)
      for (const [nth, waitMs] of waits.entries()) {
        const bannedAt = calls().at(-1)!.at
        // Shortly before, nothing is sent.
        await clock.advance(bannedAt + waitMs - 11 * SECOND - clock.now())
        await everybodysGuilds(world)
        expect(calls()).toHaveLength(nth + 1)
        await clock.advance(11 * SECOND)
        const everybody = await world.drive(everybodysGuilds(world))
        expect(everybody.every(({ stale }) => stale)).toBe(true)
        expect(calls()).toHaveLength(nth + 2)
      }
    },
  )

  test('that ended and comes again begins at 60 s anew', async () => {
    await using world = await banned({ shape: 'page' })
    const { clock, discord, calls, end } = world
    await clock.advance(MINUTE)
    await world.drive(world.asked(world.user))
    await clock.advance(2 * MINUTE)
    end()
    await world.drive(everybodyAtOnce(world))
    await world.drive(everybodyAtOnce(world))
    expect(world.holdfast.stats().discord.breaker).toBe('closed')
    await clock.advance(2 * HOUR)
    discord.fault('ban', { shape: 'page' })
    const before = calls().length
    await world.drive(world.asked(world.user))
    await clock.advance(MINUTE)
    await world.drive(world.asked(world.user))
    expect(calls()).toHaveLength(before + 2)
  })

  test('whose probe gets no answer is probed again by the next who asks', async () => {
    await using world = await banned({ retryAfterMs: MINUTE })
    const { clock, discord, calls, end } = world
    end()
    const endReset = discord.fault('reset', { times: 1 })
    await clock.advance(MINUTE)
    await world.drive(everybodyAtOnce(world))
    endReset()
    await clock.advance(5 * MINUTE)
    await world.drive(everybodyAtOnce(world))
    const everybody = await world.drive(everybodyAtOnce(world))
    expect(everybody.every((auth) => !auth.stale)).toBe(true)
    expect(calls().filter(({ fault }) => fault === 'reset')).toHaveLength(1)
  })
})
