import { getHeapStatistics } from 'node:v8'
import { describe, expect, test } from 'vitest'
import { readConfig } from '../../src/config/config.ts'
import type { HoldfastOptions } from '../../src/config/holdfast-options.ts'
import { readRedis } from '../../src/config/redis.ts'
import { readSecrets } from '../../src/config/secrets.ts'
import { NUMBERS, TEXTS } from '../../src/config/settings.ts'
import { ConfigError } from '../../src/errors/errors.ts'
import { systemClock } from '../../src/time/clock.ts'

const refusal = (options: unknown, environment: Record<string, string> = {}): ConfigError => {
  try {
    readConfig(options as HoldfastOptions, environment)
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError)
    return error as ConfigError
  }
  throw new Error('it was accepted')
}

const VARIABLES = Object.values(NUMBERS).flatMap((setting) => ('variable' in setting ? [setting.variable] : []))

describe('readConfig', () => {
  test('with nothing given, everything is at its documented default', () => {
    expect(readConfig({}, {})).toMatchObject({
      baseUrl: new URL('https://discord.com/api/v10'),
      maxRetries: 3,
      retryDelayMs: 1000,
      maxWaitMs: 10_000,
      timeoutMs: 10_000,
      retryOn: 'rate-limit',
      clientId: undefined,
      botToken: undefined,
      freshMs: 3_600_000,
      staleMs: 86_400_000,
      patienceMs: 500,
      loadTimeoutMs: 30_000,
      maxEntries: 100_000,
      maxBytes: Math.floor(getHeapStatistics().heap_size_limit / 4),
      redis: undefined,
      secrets: [],
      publicUrl: undefined,
      session: undefined,
      clock: systemClock,
      random: Math.random,
    })
  })

  test('environment variables are read in their own units: minutes, hours, milliseconds, tries', () => {
    expect(
      readConfig(
        {},
        {
          DISCORD_GUILD_CACHE_FRESH_MINUTES: '1.5',
          DISCORD_GUILD_CACHE_STALE_HOURS: ' 2 ',
          DISCORD_API_MAX_RETRIES: '0',
          DISCORD_API_RETRY_DELAY_MS: '250',
          DISCORD_API_MAX_WAIT_MS: '0',
          DISCORD_API_BASE_URL: 'http://127.0.0.1:4000/api/v10/',
          DISCORD_CLIENT_ID: '123456789012345678',
          HOLDFAST_PUBLIC_URL: 'https://dash.example',
        },
      ),
    ).toMatchObject({
      freshMs: 90_000,
      staleMs: 7_200_000,
      maxRetries: 0,
      retryDelayMs: 250,
      maxWaitMs: 0,
      baseUrl: new URL('http://127.0.0.1:4000/api/v10/'),
      clientId: '123456789012345678',
      publicUrl: 'https://dash.example',
    })
  })

  test('an option beats its variable, and the variable is then not even looked at', () => {
    const config = readConfig({ discord: { maxRetries: 1 } }, { DISCORD_API_MAX_RETRIES: 'nonsense' })
    expect(config.maxRetries).toBe(1)
  })

  test('an option that is undefined is as good as absent', () => {
    const options = { discord: { maxRetries: undefined }, cache: undefined } as never
    expect(readConfig(options, { DISCORD_API_MAX_RETRIES: '2' }).maxRetries).toBe(2)
  })

  for (const variable of VARIABLES) {
    test.each(['', ' ', '-1', 'NaN', 'Infinity', 'ten', '1e3', '0x10', '1,5', '5 s', '999999999999999999'])(
      `${variable}=%j is refused, with the variable, the value and what is accepted`,
      (value) => {
        const error = refusal({}, { [variable]: value })
        expect(error.option).toBe(variable)
        expect(error.message).toContain(variable)
        expect(error.message).toContain(value === '' ? 'empty' : JSON.stringify(value))
        expect(error.message).toMatch(/accepted: a (whole )?number of .+ from \d+ to \d+/)
      },
    )
  }

  test('tries are whole, and at most 10', () => {
    expect(refusal({}, { DISCORD_API_MAX_RETRIES: '1.5' }).message).toContain('a whole number')
    expect(refusal({}, { DISCORD_API_MAX_RETRIES: '11' }).option).toBe('DISCORD_API_MAX_RETRIES')
    expect(readConfig({}, { DISCORD_API_MAX_RETRIES: '10' }).maxRetries).toBe(10)
  })

  for (const [name, setting] of Object.entries(NUMBERS)) {
    // Looked at only where Redis is given: see "where Redis is".
    if (name.startsWith('redis.')) continue
    test.each([
      ['-1', setting.min - 1],
      ['too much', setting.max + 1_000_000],
      ['NaN', Number.NaN],
      ['Infinity', Number.POSITIVE_INFINITY],
      ['text', '5'],
      ['null', null],
      ['a bigint', 5n],
      ['an object', {}],
    ])(`option ${name} refuses %s`, (_name, value) => {
      const [group, option] = name.split('.') as [string, string]
      const error = refusal({ [group]: { [option]: value } })
      expect(error.option).toBe(name)
      expect(error.message).toMatch(/accepted: a (whole )?number from \d+ to \d+/)
    })
  }

  test('a stale time shorter than the fresh time is refused, with both named', () => {
    const error = refusal({ cache: { freshMs: 1000, staleMs: 999 } })
    expect(error.option).toBe('cache.staleMs')
    expect(error.message).toContain('DISCORD_GUILD_CACHE_STALE_HOURS')
    expect(error.message).toContain('DISCORD_GUILD_CACHE_FRESH_MINUTES')
    expect(refusal({}, { DISCORD_GUILD_CACHE_STALE_HOURS: '0.5' }).option).toBe('cache.staleMs')
    expect(readConfig({ cache: { freshMs: 1000, staleMs: 1000 } }, {}).staleMs).toBe(1000)
  })

  for (const { variable, secret } of Object.values(TEXTS)) {
    test.each(['', '  ', '\t'])(`${variable}=%j is refused rather than taken for unset`, (value) => {
      const error = refusal({}, { [variable]: value })
      expect(error.option).toBe(variable)
      expect(error.message).toContain(variable)
      expect(error.message).toContain(secret ? 'its value' : 'leave it unset')
    })
  }

  test.each([
    'discord.com/api',
    'ftp://discord.com/api',
    'https://user:hunter2@discord.com/api',
    'https://discord.com/api?x=1',
    'https://discord.com/api#x',
    'file:///etc/passwd',
    'javascript:alert(1)',
    'not a url',
  ])('the base URL %j is refused, and a password in it is not shown', (url) => {
    const error = refusal({}, { DISCORD_API_BASE_URL: url })
    expect(error.message).toContain('DISCORD_API_BASE_URL')
    expect(error.message).not.toContain('hunter2')
    expect(refusal({ discord: { baseUrl: url } }).message).toContain('discord.baseUrl')
    expect(refusal({ publicUrl: url }).message).toContain('HOLDFAST_PUBLIC_URL')
  })

  test('secrets are never shown, whatever is wrong with them', () => {
    for (const bad of ['Bot hunter2-hunter2', 'hunter2\r\nX: y', 'hunter2 é']) {
      expect(refusal({ discord: { botToken: bad } }).message).not.toContain('hunter2')
      expect(refusal({}, { DISCORD_BOT_TOKEN: bad }).message).not.toContain('hunter2')
    }
    expect(refusal({ discord: { clientSecret: { secret: 'hunter2' } } }).message).not.toContain('hunter2')
  })

  test.each(['abc', '12a', '123456789012345678901', '-5'])(
    'the client id %j is refused, by the name of where it was given',
    (clientId) => {
      expect(refusal({}, { DISCORD_CLIENT_ID: clientId }).option).toBe('DISCORD_CLIENT_ID')
      expect(refusal({ discord: { clientId } }).option).toBe('discord.clientId')
    },
  )

  test('the public URL is read as the URL parser writes it, so that it fits into a header', () => {
    expect(readConfig({ publicUrl: 'https://dash.exämple/☃' }, {}).publicUrl).toBe(
      'https://dash.xn--exmple-cua/%E2%98%83',
    )
    expect(readConfig({ publicUrl: 'https://dash.example' }, {}).publicUrl).toBe('https://dash.example')
  })

  test('the public key is 64 hexadecimal digits', () => {
    expect(refusal({ discord: { publicKey: 'ab' } }).option).toBe('discord.publicKey')
    expect(() => readConfig({ discord: { publicKey: 'aB'.repeat(32) } }, {})).not.toThrow()
  })

  test('a database is SQLite or PostgreSQL, needs a secret, and is never shown', () => {
    const secret = 'a-secret-of-at-least-thirty-two-bytes'
    const read = (database: string) => readConfig({ database, secret }, {}).database
    expect(read('sqlite:./keys.db')).toEqual({ kind: 'sqlite', path: './keys.db' })
    expect(read('sqlite::memory:')).toEqual({ kind: 'sqlite', path: ':memory:' })
    expect(read('postgres://u:p@db/app')).toEqual({ kind: 'postgres', url: 'postgres://u:p@db/app' })
    expect(readConfig({ secret }, { DATABASE_URL: 'postgresql://db/app' }).database?.kind).toBe('postgres')
    expect(refusal({ database: 'postgres://db/app' }).option).toBe('secret')
    for (const wrong of ['mysql://u:p4ssw0rd@db/app', 'sqlite:', '', 'postgres']) {
      expect(refusal({ database: wrong, secret }).option, wrong).toBe('database')
      expect(refusal({ secret }, { DATABASE_URL: wrong }).message, wrong).not.toContain('p4ssw0rd')
    }
    expect(refusal({ secret }, { DATABASE_URL: '' }).option).toBe('DATABASE_URL')
  })

  test.each([null, 5, 'text', true])('%j is no set of options', (options) => {
    expect(refusal(options).option).toBe('options')
  })

  test.each([null, 5, 'text'])('%j is no group of options', (group) => {
    expect(refusal({ discord: group }).option).toContain('discord')
  })

  test('retryOn, session and random are checked as well', () => {
    expect(refusal({ discord: { retryOn: 'always' } }).message).toContain('rate-limit or transient')
    expect(refusal({ session: 'cookie' }).option).toBe('session')
    expect(refusal({ random: 4 }).option).toBe('random')
  })
})

describe('where Redis is', () => {
  const refused = (option: unknown, environment = {}) => {
    try {
      readRedis(option as string, environment)
    } catch (error) {
      return error as ConfigError
    }
    throw new Error('it was accepted')
  }

  test('comes from the option, else from REDIS_URL, else there is none', () => {
    expect(readRedis(undefined, {})).toBeUndefined()
    expect(readRedis(undefined, { REDIS_URL: 'redis://a:1' })).toEqual({
      urls: ['redis://a:1'],
      cluster: false,
      namespace: 'main',
      readTimeoutMs: 100,
      writeTimeoutMs: 500,
    })
    expect(readRedis('rediss://b', { REDIS_URL: 'redis://a:1' })?.urls).toEqual(['rediss://b'])
    const cluster = ['redis://a:1', 'redis://a:2']
    expect(readRedis({ cluster, namespace: 'blue', readTimeoutMs: 50, writeTimeoutMs: 60 }, {})).toEqual({
      urls: cluster,
      cluster: true,
      namespace: 'blue',
      readTimeoutMs: 50,
      writeTimeoutMs: 60,
    })
  })

  test.each([
    ['', 'redis'],
    ['http://a', 'redis'],
    ['redis://', 'redis'],
    [5, 'redis'],
    [null, 'redis'],
    [{}, 'redis.url'],
    [{ url: 'a:1' }, 'redis.url'],
    [{ cluster: [] }, 'redis.cluster'],
    [{ cluster: 'redis://a' }, 'redis.cluster'],
    [{ cluster: ['redis://a', 7] }, 'redis.cluster'],
    [{ url: 'redis://a', cluster: ['redis://a'] }, 'redis'],
    [{ url: 'redis://a', namespace: 'a b' }, 'redis.namespace'],
    [{ url: 'redis://a', namespace: '{a}' }, 'redis.namespace'],
    [{ url: 'redis://a', readTimeoutMs: 0 }, 'redis.readTimeoutMs'],
    [{ url: 'redis://a', writeTimeoutMs: '5' }, 'redis.writeTimeoutMs'],
  ])('%j is refused, and %s is named', (option, name) => {
    if (option === null) return expect(readRedis(option as never, {})).toBeUndefined()
    expect(refused(option).option).toBe(name)
  })

  test('no refusal shows a password', () => {
    for (const option of ['http://user:hunter2@a', { url: 'http://user:hunter2@a' }, { cluster: ['x:hunter2@a'] }])
      expect(refused(option).message).not.toContain('hunter2')
    expect(refused(undefined, { REDIS_URL: 'http://user:hunter2@a' }).message).toMatch(/^REDIS_URL (?!.*hunter2)/)
  })
})

describe('secrets', () => {
  const long = 'x'.repeat(32)

  test('come from the option, else from the environment, the newest first', () => {
    expect(readSecrets(undefined, {})).toEqual([])
    expect(readSecrets(undefined, { HOLDFAST_SECRET: long, HOLDFAST_SECRET_PREVIOUS: `${long}2` })).toEqual([
      long,
      `${long}2`,
    ])
    expect(readSecrets([long, `${long}3`], { HOLDFAST_SECRET: `${long}4` })).toEqual([long, `${long}3`])
    expect(readSecrets('é'.repeat(16), {})).toEqual(['é'.repeat(16)])
  })

  test.each<[unknown, Record<string, string>, string]>([
    ['short', {}, 'secret'],
    [[], {}, 'secret'],
    [[long, 'short'], {}, 'secret'],
    [5, {}, 'secret'],
    [undefined, { HOLDFAST_SECRET: '' }, 'HOLDFAST_SECRET'],
    [undefined, { HOLDFAST_SECRET: long, HOLDFAST_SECRET_PREVIOUS: 'short' }, 'HOLDFAST_SECRET_PREVIOUS'],
    [undefined, { HOLDFAST_SECRET_PREVIOUS: long }, 'HOLDFAST_SECRET'],
  ])('%j with %j are refused without being shown', (option, environment, name) => {
    try {
      readSecrets(option as string, environment)
    } catch (error) {
      expect((error as ConfigError).option).toBe(name)
      expect((error as ConfigError).message).not.toMatch(/short|xxxx/)
      return
    }
    throw new Error('they were accepted')
  })

  test('are needed with Redis', () => {
    const error = refusal({ redis: 'redis://127.0.0.1:1' })
    expect(error.option).toBe('secret')
    expect(error.message).toContain('HOLDFAST_SECRET')
  })
})
