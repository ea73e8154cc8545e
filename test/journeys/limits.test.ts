import type { SimulatorOptions } from 'holdfast/simulator'
import { describe, expect, test } from 'vitest'
import { openWorld, SECOND } from './world.ts'

const USERS = 20
const ROUNDS = 3
/** And how much longer than the windows alone a drain of ten windows may take: each is counted from an answer of the one before. */
const LATENCIES = [
  { latencyMs: 0, overMs: 0 },
  { latencyMs: 80, overMs: 400 },
  { latencyMs: [5, 30] as const, overMs: 250 },
]
const GUILD_LIMITS: ReadonlyArray<readonly [string, NonNullable<SimulatorOptions['userGuildsLimit']>]> = [
  ['leaky', { kind: 'leaky', limit: 1, windowMs: 1_000 }],
  ['fixed', { kind: 'fixed', limit: 1, windowMs: 1_000 }],
]

describe('limits are spent without a 429', () => {
  describe.each(GUILD_LIMITS)('20 users with one call a second each (%s)', (_name, userGuildsLimit) => {
    test.each(LATENCIES)(
      'and a latency of $latencyMs ms: three rounds take little more than two seconds',
      async ({ latencyMs }) => {
        await using world = await openWorld({ simulator: { users: USERS, userGuildsLimit, latencyMs } })
        const { clock, discord, holdfast } = world
        const began = clock.monotonic()
        for (let round = 0; round < ROUNDS; round++) {
          const lists = await world.drive(
            Promise.all(
              discord.users.map(({ id, accessToken }) => holdfast.getUserGuilds(accessToken, { principal: id })),
            ),
          )
          expect(lists.map((list) => list.length)).toEqual(discord.users.map(() => 20))
        }
        expect(discord.calls).toHaveLength(USERS * ROUNDS)
        expect(discord.calls.filter(({ status }) => status !== 200)).toEqual([])
        expect(clock.monotonic() - began).toBeLessThan((ROUNDS - 1) * SECOND + 600)
      },
    )
  })

  test.each(GUILD_LIMITS)(
    'a burst of one user (%s) goes out one a second, and a wait that is too long is refused before it is sent',
    async (_name, userGuildsLimit) => {
      await using world = await openWorld({ simulator: { users: 2, userGuildsLimit } })
      const { discord, holdfast, user } = world
      const tokens = Array.from({ length: 15 }, () => discord.issueToken(user.id))
      const outcomes = await world.drive(
        Promise.allSettled(tokens.map((token) => holdfast.getUserGuilds(token, { principal: user.id }))),
      )
      const answered = outcomes.filter(({ status }) => status === 'fulfilled').length
      expect(answered).toBeGreaterThanOrEqual(9)
      for (const outcome of outcomes)
        if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ status: 429, local: true })
      expect(discord.calls.map(({ status }) => status)).toEqual(Array.from({ length: answered }, () => 200))
    },
  )

  test('one user who has spent a limit delays no other', async () => {
    await using world = await openWorld({ simulator: { users: 2 } })
    const { clock, discord, holdfast } = world
    const [ann, bob] = discord.users
    await holdfast.getUserGuilds(ann!.accessToken, { principal: ann!.id })
    const waiting = holdfast.getUserGuilds(ann!.accessToken, { principal: ann!.id })
    const before = clock.monotonic()
    await holdfast.getUserGuilds(bob!.accessToken, { principal: bob!.id })
    expect(clock.monotonic()).toBe(before)
    await world.drive(waiting)
    expect(discord.calls.every(({ status }) => status === 200)).toBe(true)
  })

  test.each(LATENCIES)(
    'a bot drains 20 channels at 5/s under 50/s in all, latency $latencyMs ms: within $overMs ms of the lower bound',
    async ({ latencyMs, overMs }) => {
      await using world = await openWorld({
        simulator: { latencyMs },
        holdfast: { discord: { maxWaitMs: 600_000 } },
      })
      const { clock, discord, holdfast } = world
      const messages = 500
      const channels = discord.guilds.flatMap((guild) => guild.channels.filter(({ type }) => type === 0))
      const began = clock.monotonic()
      let lastAnswerAt = began
      holdfast.on(({ type }) => {
        if (type === 'discord.call') lastAnswerAt = clock.monotonic()
      })
      await world.drive(
        Promise.all(
          Array.from({ length: messages }, (_, nth) =>
            holdfast.discordFetch(`/channels/${channels[nth % 20]!.id}/messages`, discord.botToken, {
              method: 'POST',
              tokenType: 'Bot',
              body: { content: 'hello' },
            }),
          ),
        ),
      )
      expect(discord.calls.filter(({ status }) => status === 429)).toEqual([])
      expect(discord.calls).toHaveLength(messages)
      // 50 a second: the tenth window begins after nine seconds.
      expect(lastAnswerAt - began).toBeLessThanOrEqual(9 * SECOND + overMs)
    },
  )
})
