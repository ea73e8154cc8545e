import { createHoldfast, type HoldfastEvent } from 'holdfast'
import { createVirtualClock, startSimulator } from 'holdfast/simulator'
import { describe, expect, test, vi } from 'vitest'

const SECOND = 1_000

async function house(timeoutMs = 10 * SECOND) {
  const clock = createVirtualClock()
  const discord = await startSimulator({ users: 2, clock })
  const logger = { debug: vi.fn(), info: vi.fn(), warn: vi.fn(), error: vi.fn() }
  const holdfast = createHoldfast({
    clock,
    logger,
    random: () => 0.5,
    discord: { baseUrl: discord.url, clientId: discord.clientId, timeoutMs },
  })
  const events: HoldfastEvent[] = []
  holdfast.on((event) => events.push(event))
  const request = (user: number) =>
    new Request('https://app.test', { headers: { authorization: `Bearer ${discord.users[user]!.accessToken}` } })
  /** How a request ends, and after how much virtual time. */
  const asked = async (user: number) => {
    let ended: unknown
    const began = clock.now()
    const outcome = holdfast.requireAuth(request(user)).then(
      () => 'let in',
      (error) => error,
    )
    void outcome.then((value) => {
      ended = value
    })
    while (ended === undefined) await clock.advance(50)
    return { outcome: ended, afterMs: clock.now() - began }
  }
  return {
    discord,
    logger,
    events,
    asked,
    async [Symbol.asyncDispose]() {
      await holdfast.close()
      await discord.close()
    },
  }
}

describe('the look-up of a bearer token', () => {
  test.each([2 * SECOND, 10 * SECOND, 60 * SECOND])(
    'that hangs ends within 9 s, where an attempt may take %i ms, and Discord is the reason',
    async (timeoutMs) => {
      await using h = await house(timeoutMs)
      h.discord.fault('hang', { route: '/oauth2/@me' })
      const { outcome, afterMs } = await h.asked(0)
      expect(outcome).toMatchObject({ code: 'SERVICE_UNAVAILABLE', status: 503, reason: 'discord-unavailable' })
      expect((outcome as { retryAfterMs: number }).retryAfterMs).toBeGreaterThan(0)
      expect(afterMs).toBeLessThanOrEqual(9 * SECOND + 50)
      expect(h.events.flatMap((event) => (event.type === 'auth.refused' ? [event.reason] : []))).toEqual([
        'discord-unavailable',
      ])
      expect(h.logger.warn.mock.calls.map(([fields]) => fields.reason)).toContain('discord-unavailable')
      expect(h.logger.error).not.toHaveBeenCalled()
    },
  )

  test('that is slow, and answered in time, lets in', async () => {
    await using h = await house()
    h.discord.fault('slow', { route: '/oauth2/@me', ms: 8 * SECOND })
    expect((await h.asked(0)).outcome).toBe('let in')
  })

  test('that is slow and meets a 429 is refused as throttled when that is known, and the next one at once', async () => {
    await using h = await house()
    h.discord.fault('slow', { route: '/oauth2/@me', ms: 3 * SECOND })
    h.discord.fault('rate-limit', { route: '/oauth2/@me', retryAfterMs: 60 * SECOND })
    const first = await h.asked(0)
    expect(first.outcome).toMatchObject({ code: 'RATE_LIMITED', status: 429, reason: 'discord-throttles' })
    expect(first.afterMs).toBeGreaterThanOrEqual(3 * SECOND)
    expect(first.afterMs).toBeLessThan(4 * SECOND)
    const second = await h.asked(0)
    expect(second.outcome).toMatchObject({ status: 429, reason: 'discord-throttles' })
    expect(second.afterMs).toBeLessThanOrEqual(50)
    const waitMs = (second.outcome as { retryAfterMs: number }).retryAfterMs
    expect(waitMs).toBeGreaterThan(50 * SECOND)
    expect(waitMs).toBeLessThanOrEqual(60 * SECOND)
  })
})
