import { createHoldfast, type HoldfastEvent } from 'holdfast'
import { registerMetrics } from 'holdfast/prometheus'
import { startSimulator } from 'holdfast/simulator'
import { Registry } from 'prom-client'
import { describe, expect, test } from 'vitest'
import { METRICS, type Metric, samplesOf } from '../../src/metrics/metrics.ts'

async function open() {
  const discord = await startSimulator({ users: 2 })
  const holdfast = createHoldfast({ discord: { baseUrl: discord.url, clientId: discord.clientId } })
  const registry = new Registry()
  registerMetrics(holdfast, registry)
  const [user] = discord.users
  return {
    discord,
    holdfast,
    registry,
    ask: () => holdfast.memberships({ userId: user!.id, accessToken: user!.accessToken }),
    value: async (metric: Metric, labels: Record<string, string> = {}) => {
      const found = await registry.getSingleMetric(metric.name)!.get()
      return found.values.find((value) =>
        Object.entries(labels).every(([name, wanted]) => String(value.labels[name as never]) === wanted),
      )?.value
    },
    async [Symbol.asyncDispose]() {
      await holdfast.close()
      await discord.close()
    },
  }
}

const GUILDS = 'GET /users/@me/guilds'

describe('registerMetrics', () => {
  test('counts what happens from then on: answers of the cache, calls and how long they took', async () => {
    await using world = await open()
    await world.ask()
    await world.ask()
    await world.ask()
    expect(await world.value(METRICS.cacheAnswers, { answer: 'hit' })).toBe(2)
    expect(await world.value(METRICS.cacheAnswers, { answer: 'miss' })).toBe(1)
    expect(await world.value(METRICS.discordRequests, { route: GUILDS, status: '200' })).toBe(1)
    expect(await world.registry.metrics()).toContain(
      `holdfast_discord_request_duration_seconds_count{route="${GUILDS}"} 1`,
    )
  })

  test('counts 429s by what they are about', async () => {
    await using world = await open()
    world.discord.fault('rate-limit', { retryAfterMs: 60_000 })
    await expect(world.ask()).rejects.toThrow()
    expect(await world.value(METRICS.discordRateLimited, { route: GUILDS, scope: 'user' })).toBe(1)
    expect(await world.value(METRICS.cacheFailures, { code: 'DISCORD_RATE_LIMITED' })).toBe(1)
  })

  test('reads what is held when it is asked, and says nothing of Redis where there is none', async () => {
    await using world = await open()
    expect(await world.value(METRICS.cacheEntries)).toBe(0)
    await world.ask()
    expect(await world.value(METRICS.cacheEntries)).toBe(1)
    expect(await world.value(METRICS.cacheBytes)).toBeGreaterThan(100)
    expect(await world.value(METRICS.invalidBudget)).toBe(0)
    expect(await world.value(METRICS.redisUp)).toBeUndefined()
  })

  test('the same instance twice counts once; two instances on one registry add up', async () => {
    await using world = await open()
    registerMetrics(world.holdfast, world.registry)
    await using other = createHoldfast({ discord: { baseUrl: world.discord.url, clientId: world.discord.clientId } })
    registerMetrics(other, world.registry)
    await world.ask()
    const [, second] = world.discord.users
    await other.memberships({ userId: second!.id, accessToken: second!.accessToken })
    expect(await world.value(METRICS.cacheAnswers, { answer: 'miss' })).toBe(2)
    expect(await world.value(METRICS.cacheEntries)).toBe(2)
  })

  test('holds no id and no token in a label', async () => {
    await using world = await open()
    await world.ask()
    const text = await world.registry.metrics()
    for (const { id, accessToken, guilds } of world.discord.users)
      for (const secret of [id, accessToken, guilds[0]!.id]) expect(text).not.toContain(secret)
  })
})

describe('what an event changes', () => {
  const at = 0
  test.each<[HoldfastEvent, string, Record<string, string>, number]>([
    [{ at, type: 'cache.stale', key: 'guilds' }, 'holdfast_cache_answers_total', { answer: 'stale' }, 1],
    [{ at, type: 'cache.refresh', key: 'guilds' }, 'holdfast_cache_refreshes_total', {}, 1],
    [
      { at, type: 'discord.wait', route: 'r', attempt: 1, waitMs: 1500 },
      'holdfast_discord_wait_seconds_total',
      { route: 'r' },
      1.5,
    ],
    [{ at, type: 'breaker', name: 'redis', state: 'open' }, 'holdfast_breaker_open', { name: 'redis' }, 1],
    [{ at, type: 'breaker', name: 'redis', state: 'half-open' }, 'holdfast_breaker_open', { name: 'redis' }, 0.5],
    [{ at, type: 'breaker', name: 'redis', state: 'closed' }, 'holdfast_breaker_open', { name: 'redis' }, 0],
    [
      { at, type: 'quota.refused', owner: 'someone', remaining: 0 },
      'holdfast_quota_takes_total',
      { outcome: 'refused' },
      1,
    ],
    [
      { at, type: 'redis.failed', operation: 'read', code: 'REDIS_UNAVAILABLE' },
      'holdfast_redis_failures_total',
      { code: 'REDIS_UNAVAILABLE' },
      1,
    ],
    [{ at, type: 'guard.refunded', path: '/a', limits: [] }, 'holdfast_guard_refunds_total', {}, 1],
  ])('%o', (event, name, labels, value) => {
    expect(samplesOf(event)).toContainEqual({ metric: expect.objectContaining({ name }), labels, value })
  })

  test('a retry counts as one, and its wait as time', () => {
    const samples = samplesOf({ at, type: 'discord.retry', route: 'r', attempt: 1, waitMs: 2000 })
    expect(samples.map(({ metric, value }) => [metric.name, value])).toEqual([
      ['holdfast_discord_retries_total', 1],
      ['holdfast_discord_wait_seconds_total', 2],
    ])
  })

  test('every label that a sample has is one of its metric, and no more', () => {
    for (const metric of Object.values(METRICS) as Metric[]) {
      expect(metric.name).toMatch(/^holdfast_[a-z_]+$/)
      expect(metric.name.endsWith('_total')).toBe(metric.kind === 'counter')
    }
  })
})
