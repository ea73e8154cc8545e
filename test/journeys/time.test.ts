import { describe, expect, test } from 'vitest'
import { HOUR, MINUTE, openWorld, outcome, SECOND } from './world.ts'

describe.each([-HOUR, HOUR])('a wall clock that steps by %d ms', (stepMs) => {
  test('makes no answer live longer or shorter', async () => {
    await using world = await openWorld()
    const { clock, discord, user } = world
    await world.asked(user)
    await clock.advance(30 * MINUTE)
    clock.step(stepMs)
    expect(await world.asked(user)).toMatchObject({ stale: false })
    expect(discord.calls).toHaveLength(2)
    await clock.advance(30 * MINUTE)
    const end = discord.fault('server-error')
    expect(await world.drive(world.asked(user))).toMatchObject({ stale: true })
    // A day after the fetch it is over, whatever the clock on the wall says.
    await clock.advance(24 * HOUR - clock.monotonic() - SECOND)
    expect(await world.drive(world.asked(user))).toMatchObject({ stale: true })
    clock.step(stepMs)
    await clock.advance(MINUTE)
    expect(await outcome(world.drive(world.asked(user)))).toBe('SERVICE_UNAVAILABLE')
    end()
    await clock.advance(5 * MINUTE)
    expect(await world.drive(world.asked(user))).toMatchObject({ stale: false })
  })

  test('moves no wait: a hold ends after as long as Discord asked for', async () => {
    await using world = await openWorld()
    const { clock, discord, holdfast, user } = world
    discord.fault('rate-limit', { retryAfterMs: 4_000, times: 1 })
    const began = clock.monotonic()
    const asked = holdfast.getUserGuilds(user.accessToken, { principal: user.id })
    await world.settle()
    clock.step(stepMs)
    expect(await world.drive(asked)).toHaveLength(20)
    expect(clock.monotonic() - began).toBeGreaterThanOrEqual(4_000)
    expect(clock.monotonic() - began).toBeLessThan(6_000)
    expect(discord.calls.map(({ status }) => status)).toEqual([429, 200])
  })

  test('neither hurries a probe after a ban nor puts it off', async () => {
    await using world = await openWorld()
    const { clock, discord, user } = world
    await world.asked(user)
    await clock.advance(2 * HOUR)
    const calls = world.watch()
    // Shorter than what another route would be tried after.
    const end = discord.fault('ban', { retryAfterMs: 4 * MINUTE })
    await world.asked(user)
    end()
    clock.step(stepMs)
    await clock.advance(4 * MINUTE - SECOND)
    expect(await world.asked(user)).toMatchObject({ stale: true })
    expect(calls()).toHaveLength(1)
    await clock.advance(SECOND)
    await world.drive(world.asked(user))
    expect(await world.drive(world.asked(user))).toMatchObject({ stale: false })
  })

  test('leaves nobody hanging who waits for a Discord that hangs', async () => {
    await using world = await openWorld()
    const { clock, discord, user } = world
    await world.asked(user)
    await clock.advance(2 * HOUR)
    discord.fault('hang')
    const patient = world.asked(user)
    const newcomer = outcome(world.asked({ accessToken: discord.issueToken(user.id) }))
    await world.settle()
    clock.step(stepMs)
    const began = clock.monotonic()
    expect(await world.drive(patient)).toMatchObject({ stale: true })
    expect(clock.monotonic() - began).toBeLessThanOrEqual(1_500)
    expect(await world.drive(newcomer)).toBe('SERVICE_UNAVAILABLE')
    expect(clock.monotonic() - began).toBeLessThanOrEqual(12_000)
  })
})

test('a wall clock that steps back lets no token live longer than its list', async () => {
  await using world = await openWorld()
  const { clock, discord, user } = world
  const accessToken = discord.issueToken(user.id, { lifetimeMs: 10 * MINUTE })
  expect(await outcome(world.asked({ accessToken }))).toBe('let in')
  await clock.advance(9 * MINUTE)
  clock.step(-HOUR)
  discord.revoke(user.id)
  await clock.advance(51 * MINUTE + 1)
  expect(await outcome(world.drive(world.asked({ accessToken })))).toBe('UNAUTHENTICATED')
})

describe('the patience of a page', () => {
  test('is spent once, on who it is and on their guilds together: 500 ms while Discord hangs', async () => {
    await using world = await openWorld()
    await world.drive(world.asked(world.user))
    await world.clock.advance(2 * HOUR)
    world.discord.fault('hang')
    const began = world.clock.monotonic()
    const auth = await world.drive(world.asked(world.user), 10)
    expect(auth).toMatchObject({ stale: true, reason: 'slow' })
    expect(world.clock.monotonic() - began).toBeGreaterThanOrEqual(490)
    expect(world.clock.monotonic() - began).toBeLessThanOrEqual(550)
  })
})
