import { createVirtualClock, startSimulator } from 'holdfast/simulator'
import { describe, expect, test } from 'vitest'
import { DiscordClient } from '../../src/discord/discord-fetch.ts'
import { Events, type HoldfastEvent } from '../../src/events/events.ts'

async function client() {
  const clock = createVirtualClock()
  const discord = await startSimulator()
  const events = new Events(clock)
  const seen: HoldfastEvent[] = []
  events.on((event) => seen.push(event))
  const made = new DiscordClient({
    baseUrl: new URL(discord.url),
    userAgent: 'DiscordBot (https://app.example, 1.0.0)',
    maxRetries: 3,
    retryDelayMs: 1_000,
    maxWaitMs: 10_000,
    timeoutMs: 10_000,
    retryOn: 'rate-limit',
    clock,
    random: () => 0.5,
    events,
  })
  const form = (fields: Record<string, string>) =>
    new URLSearchParams({ client_id: discord.clientId, client_secret: discord.clientSecret, ...fields })
  const close = async () => {
    await made.close()
    await discord.close()
  }
  return { discord, made, form, seen, [Symbol.asyncDispose]: close }
}

describe('a form for an OAuth2 endpoint', () => {
  test('is answered with what Discord said, refusals too, and no token dies of one', async () => {
    await using house = await client()
    for (let time = 0; time < 3; time++) {
      const { status, body } = await house.made.postForm(
        '/oauth2/token',
        house.form({ grant_type: 'refresh_token', refresh_token: 'made-up' }),
      )
      expect([status, JSON.parse(body).error]).toEqual([400, 'invalid_grant'])
    }
    const wrong = new URLSearchParams({ client_id: house.discord.clientId, client_secret: 'wrong', grant_type: 'x' })
    for (let time = 0; time < 2; time++) {
      const { status, body } = await house.made.postForm('/oauth2/token', wrong)
      expect([status, JSON.parse(body).error]).toEqual([401, 'invalid_client'])
    }
    expect(house.discord.calls.length).toBe(5)
  })

  test('is sent once, whatever comes: a 429 holds the endpoint, and nothing else', async () => {
    await using house = await client()
    const ask = () =>
      house.made.postForm('/oauth2/token', house.form({ grant_type: 'refresh_token', refresh_token: 'x' }))
    const calm = house.discord.fault('rate-limit', { route: 'POST /oauth2/token', retryAfterMs: 30_000 })
    await expect(ask()).rejects.toMatchObject({ code: 'DISCORD_RATE_LIMITED', local: false })
    calm()
    await expect(ask()).rejects.toMatchObject({ code: 'DISCORD_RATE_LIMITED', local: true })
    expect(house.discord.calls.filter(({ route }) => route.endsWith('/oauth2/token')).length).toBe(1)
    const [user] = house.discord.users
    expect((await house.made.getCurrentUser(user!.accessToken)).id).toBe(user!.id)
  })

  test('many are sent at once: none waits for what another one might teach', async () => {
    await using house = await client()
    const ask = () =>
      house.made.postForm('/oauth2/token', house.form({ grant_type: 'refresh_token', refresh_token: 'x' }))
    house.discord.fault('hang', { route: 'POST /oauth2/token', times: 1 })
    const hanging = ask().catch((error: { code: string }) => error.code)
    await expect.poll(() => house.discord.calls.length).toBe(1)
    const answers = await Promise.all(Array.from({ length: 20 }, ask))
    expect(answers.map(({ status }) => status)).toEqual(Array(20).fill(400))
    await house.made.close()
    expect(await hanging).toBe('CLOSED')
  })

  test('5xx and no answer are errors with a code, after one try', async () => {
    await using house = await client()
    const ask = () =>
      house.made.postForm('/oauth2/token', house.form({ grant_type: 'refresh_token', refresh_token: 'x' }))
    let calm = house.discord.fault('server-error')
    await expect(ask()).rejects.toMatchObject({ code: 'DISCORD_SERVER_ERROR', attempts: 1 })
    calm()
    calm = house.discord.fault('reset')
    await expect(ask()).rejects.toMatchObject({ code: 'DISCORD_NETWORK' })
    calm()
  })
})
