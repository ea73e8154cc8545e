import { describe, expect, test, vi } from 'vitest'
import type { HoldfastHappening } from '../../src/events/events.ts'
import { Log } from '../../src/events/log.ts'
import { whileTimedOut } from '../../src/guilds/permissions.ts'
import { createVirtualClock } from '../../src/simulator/virtual-clock.ts'

function setUp() {
  const clock = createVirtualClock()
  const logger = { debug: vi.fn(), info: vi.fn(), warn: vi.fn(), error: vi.fn() }
  return { clock, logger, log: new Log(logger, clock) }
}

describe('the log', () => {
  test('hears of each retry, for who looks closely', () => {
    const { log, logger } = setUp()
    for (let attempt = 1; attempt <= 3; attempt++)
      log.hear({ type: 'discord.retry', route: 'GET /users/@me/guilds', attempt, waitMs: 1_000 })
    expect(logger.debug).toHaveBeenCalledTimes(3)
    expect(logger.warn).not.toHaveBeenCalled()
  })

  test('warns of stale values once a minute a cause, with how many there were', async () => {
    const { log, logger, clock } = setUp()
    const serve = (reason: string, times: number) => {
      for (let time = 0; time < times; time++) log.hear({ type: 'cache.stale', key: 'guilds', reason })
    }
    serve('throttled', 500)
    serve('unavailable', 3)
    expect(logger.warn.mock.calls.map(([fields]) => fields)).toEqual([
      { reason: 'throttled', count: 1 },
      { reason: 'unavailable', count: 1 },
    ])
    await clock.advance(60_000)
    serve('throttled', 1)
    expect(logger.warn.mock.lastCall![0]).toEqual({ reason: 'throttled', count: 500 })
  })

  test('warns of holds and blocks, and says when they are over; never with a key', () => {
    const { log, logger } = setUp()
    log.hear({ type: 'discord.rate-limited', route: 'GET /x', scope: 'user', retryAfterMs: 5 })
    log.hear({ type: 'breaker', name: 'discord', state: 'open' })
    log.hear({ type: 'breaker', name: 'discord', state: 'half-open' })
    log.hear({ type: 'breaker', name: 'discord', state: 'closed' })
    log.hear({ type: 'cache.hit', key: 'a-token' })
    expect(logger.warn).toHaveBeenCalledTimes(2)
    expect(logger.info).toHaveBeenCalledTimes(1)
    expect(JSON.stringify([logger.warn.mock.calls, logger.info.mock.calls])).not.toContain('a-token')
  })

  test('hears of equal failures once a minute with their count, and of another kind at once', async () => {
    const { log, logger, clock } = setUp()
    const fail = (times: number, code = 'ECONNREFUSED') => {
      for (let time = 0; time < times; time++)
        log.unexpected('the session resolver threw', Object.assign(new Error(`no. ${time}`), { code }))
    }
    fail(700)
    fail(1, 'EPIPE')
    await clock.advance(59_999)
    fail(1)
    expect(logger.error).toHaveBeenCalledTimes(2)
    await clock.advance(1)
    fail(5)
    expect(logger.error.mock.calls.map(([fields]) => [fields.code, fields.count])).toEqual([
      ['ECONNREFUSED', 1],
      ['EPIPE', 1],
      ['ECONNREFUSED', 701],
    ])
    for (let refused = 0; refused < 300; refused++)
      log.hear({ type: 'auth.refused', status: 503, reason: 'discord-unavailable' })
    for (let limited = 0; limited < 300; limited++)
      log.hear({ type: 'discord.rate-limited', route: 'GET /x', scope: 'user', retryAfterMs: limited })
    expect(logger.warn).toHaveBeenCalledTimes(2)
  })

  const ID = '123456789012345678'
  test.each<[HoldfastHappening, 'warn' | 'info', object]>([
    [
      { type: 'ledger.failed', operation: 'write', code: 'SQLITE_FULL', waiting: 7 },
      'warn',
      { operation: 'write', code: 'SQLITE_FULL', waiting: 7 },
    ],
    [{ type: 'ledger.slow', durationMs: 2_100, waiting: 9 }, 'warn', { durationMs: 2_100, waiting: 9 }],
    [{ type: 'ledger.recovered', afterMs: 5_000 }, 'info', { afterMs: 5_000 }],
    [{ type: 'ledger.skipped', reason: 'full', users: 3 }, 'warn', { reason: 'full', users: 3 }],
    [{ type: 'ledger.recalled', ageMs: 60_000 }, 'warn', { ageMs: 60_000 }],
    [{ type: 'breaker', name: 'database', state: 'open' }, 'warn', { name: 'database' }],
    [{ type: 'breaker', name: 'database', state: 'closed' }, 'info', { name: 'database' }],
    [
      { type: 'redis.failed', operation: 'read', code: 'REDIS_UNAVAILABLE' },
      'warn',
      { operation: 'read', code: 'REDIS_UNAVAILABLE' },
    ],
    [
      { type: 'store.failed', operation: 'write', code: 'STORE_UNAVAILABLE' },
      'warn',
      { operation: 'write', code: 'STORE_UNAVAILABLE' },
    ],
    [{ type: 'cache.failed', key: ID, code: 'DISCORD_TIMEOUT' }, 'warn', { code: 'DISCORD_TIMEOUT' }],
    [{ type: 'login.refused', reason: 'store' }, 'warn', { reason: 'store' }],
    [
      { type: 'login.refresh', outcome: 'failed', code: 'unauthorized_client' },
      'warn',
      { code: 'unauthorized_client' },
    ],
    [{ type: 'guard.overflow', callers: 'ip', overflowing: true }, 'warn', { callers: 'ip' }],
    [{ type: 'guard.overflow', callers: 'ip', overflowing: false }, 'info', { callers: 'ip' }],
    [
      {
        type: 'guard.shed',
        status: 503,
        path: `/${ID}`,
        requestClass: 'document',
        retryAfter: 5,
        ipBucket: ID,
        handled: true,
      },
      'warn',
      { status: 503 },
    ],
  ])(
    'tells of trouble and of its end, once a minute a cause, with a count and no ids: %j',
    async (happening, level, fields) => {
      const { log, logger, clock } = setUp()
      for (let time = 0; time < 3; time++) log.hear(happening)
      await clock.advance(60_000)
      log.hear(happening)
      expect(logger[level].mock.calls.map(([said]) => said)).toEqual([
        { ...fields, count: 1 },
        { ...fields, count: 3 },
      ])
      for (const other of ['debug', 'info', 'warn', 'error'] as const)
        if (other !== level) expect(logger[other]).not.toHaveBeenCalled()
      expect(JSON.stringify(logger[level].mock.calls)).not.toContain(ID)
    },
  )

  test.each<HoldfastHappening>([
    { type: 'cache.failed', key: 'guilds', code: 'DISCORD_UNAUTHORIZED' },
    { type: 'login.refused', reason: 'denied' },
    { type: 'login.refresh', outcome: 'ended' },
    { type: 'auth.refused', status: 401, reason: 'no-session' },
    { type: 'quota.refused', owner: 'a', remaining: 0 },
    { type: 'ledger.written', users: 1, durationMs: 1 },
  ])('is silent on what is everyday: %j', (happening) => {
    const { log, logger } = setUp()
    log.hear(happening)
    for (const level of ['debug', 'info', 'warn', 'error'] as const) expect(logger[level]).not.toHaveBeenCalled()
  })

  test.each([
    ['an id in it', `E_${ID}`],
    ['the shape of a token', 'mfa.VkO_2G4Qv3T--NO--lWetW_tjND--TOKEN'],
    ['no end', 'E'.repeat(5_000)],
  ])('never shows a code of an app’s own error as it is, where it has %s', (_what, code) => {
    const { log, logger } = setUp()
    log.hear({ type: 'cache.failed', key: 'own', code })
    log.unexpected('here', Object.assign(new Error('x'), { code }))
    const said = JSON.stringify([logger.warn.mock.calls, logger.error.mock.calls.map(([{ at, ...rest }]) => rest)])
    expect(said).not.toContain(code)
    expect(said.length).toBeLessThan(500)
  })

  test('is told what was thrown, of whatever kind, and survives a logger that fails', () => {
    const { log, logger } = setUp()
    for (const thrown of [undefined, null, 'text', 7, {}, Object.create(null), new TypeError('bad')])
      log.unexpected('here', thrown)
    expect(logger.error.mock.calls.map(([fields]) => fields.error ?? fields.thrown)).toEqual([
      'undefined',
      'object',
      'string',
      'number',
      'object',
      'TypeError',
    ])
    logger.error.mockImplementation(() => {
      throw new Error('disk full')
    })
    expect(() => log.unexpected('there', new Error('x'))).not.toThrow()
  })
})

test('a member who is timed out keeps what Discord leaves them: to see and to read; administrators keep all', () => {
  const [kick, administrator, view, history] = [1n << 1n, 1n << 3n, 1n << 10n, 1n << 16n]
  expect(whileTimedOut(kick | view | history)).toBe(view | history)
  expect(whileTimedOut(kick | administrator)).toBe(kick | administrator)
})
