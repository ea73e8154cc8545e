import { describe, expect, test, vi } from 'vitest'
import { AuthError, isAuthError } from '../../src/auth/auth-error.ts'
import { codeOf } from '../../src/errors/code-of.ts'
import {
  ConfigError,
  DiscordAPIError,
  DiscordRateLimitError,
  DiscordUnavailableError,
  HoldfastError,
} from '../../src/errors/errors.ts'

/** Everything again, as a second copy of the package in the same process has it. */
async function otherCopy() {
  vi.resetModules()
  const errors = await import('../../src/errors/errors.ts')
  const auth = await import('../../src/auth/auth-error.ts')
  return { ...errors, ...auth }
}

const RATE_LIMITED = { scope: 'user', local: true, route: 'GET /a', attempts: 0, retryAfterMs: 5 } as const

describe('an error of another copy of the package', () => {
  test('is known by its class here', async () => {
    const copy = await otherCopy()
    expect(copy.HoldfastError).not.toBe(HoldfastError)
    const error = new copy.DiscordRateLimitError('wait', RATE_LIMITED)
    expect(error).toBeInstanceOf(DiscordRateLimitError)
    expect(error).toBeInstanceOf(DiscordAPIError)
    expect(error).toBeInstanceOf(HoldfastError)
    expect(error).not.toBeInstanceOf(ConfigError)
    expect(error).not.toBeInstanceOf(DiscordUnavailableError)
    expect(new DiscordRateLimitError('wait', RATE_LIMITED)).toBeInstanceOf(copy.DiscordAPIError)
  })

  test('is a refusal here where it is one there', async () => {
    const copy = await otherCopy()
    const refusal = new copy.AuthError('FORBIDDEN', 'no', { now: () => 0 })
    expect(isAuthError(refusal)).toBe(true)
    expect(refusal).toBeInstanceOf(AuthError)
    expect(isAuthError(new copy.HoldfastError('CLOSED', 'no'))).toBe(false)
  })
})

describe('instanceof', () => {
  test('tells our classes apart, and is false for what only looks like them', () => {
    const error = new ConfigError('redis', 'no')
    expect(error).toBeInstanceOf(HoldfastError)
    expect(error).toBeInstanceOf(Error)
    expect(error).not.toBeInstanceOf(AuthError)
    for (const other of [new Error('x'), { code: 'CONFIG_INVALID' }, null, undefined, 'x', () => {}])
      expect(other instanceof HoldfastError, String(other)).toBe(false)
  })

  test('is the ordinary one for classes that users derive', () => {
    class Mine extends HoldfastError {}
    expect(new Mine('CLOSED', 'x')).toBeInstanceOf(Mine)
    expect(new Mine('CLOSED', 'x')).toBeInstanceOf(HoldfastError)
    expect(new HoldfastError('CLOSED', 'x')).not.toBeInstanceOf(Mine)
    expect(new ConfigError('redis', 'x')).not.toBeInstanceOf(Mine)
  })
})

test('the code of an error is its text code, or none', () => {
  expect(codeOf(new ConfigError('redis', 'no'))).toBe('CONFIG_INVALID')
  expect(codeOf(Object.assign(new Error('x'), { code: 'ECONNRESET' }))).toBe('ECONNRESET')
  for (const error of [new Error('x'), { code: 5 }, null, undefined, 'CODE']) expect(codeOf(error)).toBeUndefined()
})
