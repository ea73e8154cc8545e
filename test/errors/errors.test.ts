import { inspect } from 'node:util'
import { describe, expect, test } from 'vitest'
import {
  ConfigError,
  DiscordAPIError,
  DiscordRateLimitError,
  DiscordUnavailableError,
  HoldfastError,
  withRetryAfter,
} from '../../src/errors/errors.ts'

const route = 'GET /users/@me'

describe('the error family', () => {
  test('every error is an Error and a HoldfastError, named after its class', () => {
    const errors = [
      new HoldfastError('CLOSED', 'closed'),
      new ConfigError('discord.baseUrl', 'bad'),
      new DiscordAPIError('no', { status: 404, route, attempts: 1 }),
      new DiscordRateLimitError('wait', { scope: 'user', local: true, route, attempts: 0, retryAfterMs: 5 }),
      new DiscordUnavailableError('DISCORD_NETWORK', 'down', { route, attempts: 2 }),
    ]
    for (const error of errors) {
      expect(error).toBeInstanceOf(Error)
      expect(error).toBeInstanceOf(HoldfastError)
      expect(error.name).toBe(error.constructor.name)
      expect(error.code).toMatch(/^[A-Z_]+$/)
      expect(inspect(error)).toContain(error.name)
    }
    expect(errors[3]).toBeInstanceOf(DiscordAPIError)
    expect(errors[4]).not.toBeInstanceOf(DiscordAPIError)
  })

  test.each([
    [400, 'DISCORD_REFUSED'],
    [401, 'DISCORD_UNAUTHORIZED'],
    [403, 'DISCORD_FORBIDDEN'],
    [404, 'DISCORD_NOT_FOUND'],
    [409, 'DISCORD_REFUSED'],
    [429, 'DISCORD_RATE_LIMITED'],
    [500, 'DISCORD_SERVER_ERROR'],
    [503, 'DISCORD_SERVER_ERROR'],
    [599, 'DISCORD_SERVER_ERROR'],
  ])('the code of a DiscordAPIError with status %d is %s', (status, code) => {
    expect(new DiscordAPIError('', { status, route, attempts: 1 })).toMatchObject({ code, status, route, attempts: 1 })
  })

  test('where there is no wait, no code and no cause, JSON carries none; 0 is a wait and a code', () => {
    const error = new DiscordAPIError('', {
      status: 404,
      route,
      attempts: 1,
      discordCode: undefined,
      retryAfterMs: undefined,
    })
    expect(Object.keys(JSON.parse(JSON.stringify(error)))).toEqual(
      expect.not.arrayContaining(['retryAfterMs', 'discordCode', 'cause']),
    )
    expect([error.retryAfterMs, error.discordCode, error.cause]).toEqual([undefined, undefined, undefined])
    const full = new DiscordAPIError('', { status: 404, route, attempts: 1, discordCode: 0, retryAfterMs: 0 })
    expect([full.retryAfterMs, full.discordCode]).toEqual([0, 0])
  })

  test('a DiscordRateLimitError says scope, wait and whether it was sent, and JSON carries them', () => {
    const error = new DiscordRateLimitError('wait', {
      scope: 'shared',
      local: false,
      route,
      attempts: 4,
      retryAfterMs: 1500,
      discordCode: 20028,
    })
    expect(JSON.parse(JSON.stringify(error))).toEqual({
      name: 'DiscordRateLimitError',
      code: 'DISCORD_RATE_LIMITED',
      status: 429,
      scope: 'shared',
      local: false,
      route,
      attempts: 4,
      retryAfterMs: 1500,
      discordCode: 20028,
    })
  })

  test('a cause is kept as Error.cause', () => {
    const cause = new Error('ECONNRESET')
    expect(new DiscordUnavailableError('DISCORD_NETWORK', 'down', { route, attempts: 1, cause }).cause).toBe(cause)
  })

  test('a ConfigError names the option to change', () => {
    expect(new ConfigError('HOLDFAST_PUBLIC_URL', 'bad')).toMatchObject({
      code: 'CONFIG_INVALID',
      option: 'HOLDFAST_PUBLIC_URL',
    })
  })
})

describe('withRetryAfter', () => {
  const error = new DiscordRateLimitError('wait', {
    scope: 'user',
    local: false,
    route,
    attempts: 3,
    retryAfterMs: 5000,
  })

  test('says the same with the wait that is left, and leaves the first error as it was', () => {
    const later = withRetryAfter(error, 1200)
    expect(later).not.toBe(error)
    expect(later).toBeInstanceOf(DiscordRateLimitError)
    expect(later).toMatchObject({
      name: 'DiscordRateLimitError',
      message: 'wait',
      code: 'DISCORD_RATE_LIMITED',
      status: 429,
      scope: 'user',
      local: false,
      route,
      attempts: 3,
      retryAfterMs: 1200,
    })
    expect(error.retryAfterMs).toBe(5000)
    expect(JSON.parse(JSON.stringify(later))).toEqual({ ...JSON.parse(JSON.stringify(error)), retryAfterMs: 1200 })
  })

  test('keeps the stack of the failure it repeats', () => {
    expect(error.stack).toContain('wait')
    expect(withRetryAfter(error, 1200).stack).toBe(error.stack)
  })

  test('can be said again and again, and is never negative', () => {
    expect(withRetryAfter(withRetryAfter(error, 1200), -5).retryAfterMs).toBe(0)
  })

  test('errors that name no wait, and errors of others, are passed on as they are', () => {
    const api = new DiscordAPIError('no', { status: 404, route, attempts: 1 })
    const plain = new Error('plain')
    expect(withRetryAfter(api, 5)).toBe(api)
    expect(withRetryAfter(plain, 5)).toBe(plain)
    expect(withRetryAfter(undefined, 5)).toBeUndefined()
  })
})
