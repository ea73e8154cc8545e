import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Answer } from '../../src/discord/call.ts'
import { wordsOf } from '../../src/discord/error-body.ts'
import { routeOf } from '../../src/discord/route.ts'
import {
  backoffMs,
  bucketReport,
  classify,
  isIdempotent,
  isTransient,
  type RateLimited,
} from '../../src/discord/verdict.ts'
import { LONGEST_WAIT_MS } from '../../src/http/retry-after.ts'

const NOW = Date.UTC(2026, 0, 1)
const GUILDS = routeOf('GET', '/users/@me/guilds', 0)

const answer = (status: number, body: unknown, headers: Record<string, string> = {}): Answer => ({
  status,
  headers,
  body: typeof body === 'string' ? body : JSON.stringify(body),
  sentAt: 0,
  receivedAt: 10,
})
const verdict = (status: number, body: unknown, headers?: Record<string, string>, route = GUILDS) =>
  classify(answer(status, body, headers), route, 'Bearer', NOW)
const limited = (body: unknown, headers?: Record<string, string>, route = GUILDS) => {
  const read = verdict(429, body, headers, route)
  expect(read.kind).toBe('rate-limited')
  return read as RateLimited
}

const HEADERS = { 'x-ratelimit-limit': '1', 'x-ratelimit-remaining': '0', 'x-ratelimit-reset-after': '0.234' }
const BODY = { message: 'You are being rate limited.', retry_after: 0.3, global: false }

describe('a 429 pauses', () => {
  test('the principal, where it is global: by header, scope or body', () => {
    for (const read of [
      limited(BODY, { ...HEADERS, 'x-ratelimit-global': 'true' }),
      limited(BODY, { ...HEADERS, 'x-ratelimit-scope': 'global' }),
      limited({ ...BODY, global: true }, HEADERS),
      limited({ ...BODY, global: true }),
    ])
      expect(read).toMatchObject({ pause: 'principal', scope: 'global', invalid: true, waitMs: 300 })
  })

  test.each([
    ['plain text with no limit headers', 'error code: 1015', { 'retry-after': '66271' }, 66_271_000],
    ['an HTML page with no Retry-After', '<html>1015</html>', {}, undefined],
    [
      'JSON about a block, without retry_after',
      { code: 0, message: 'You are being blocked from accessing our API temporarily' },
      {},
      undefined,
    ],
    ['an empty body', '', { 'retry-after': '82721' }, 82_721_000],
    ['null', 'null', {}, undefined],
    ['a list', '[]', {}, undefined],
    ['a retry_after that is text', { retry_after: '5' }, {}, undefined],
    ['a retry_after that is negative', { retry_after: -1 }, { 'retry-after': '7' }, 7000],
  ])('everything, where it looks like a ban: %s', (_name, body, headers, waitMs) => {
    expect(limited(body, headers as Record<string, string>)).toMatchObject({
      pause: 'egress',
      scope: 'egress',
      invalid: true,
      waitMs,
    })
  })

  test('only the resource, where the scope is shared; Discord does not count it as invalid', () => {
    const read = limited(
      { ...BODY, retry_after: 1337 },
      { ...HEADERS, 'x-ratelimit-scope': 'shared', 'x-ratelimit-remaining': '9', 'x-ratelimit-reset-after': '64.57' },
    )
    expect(read).toMatchObject({ pause: 'resource', scope: 'shared', invalid: false, waitMs: 1_337_000 })
  })

  test('only the route, where places remain in the bucket: a sub-limit', () => {
    const read = limited(BODY, { ...HEADERS, 'x-ratelimit-remaining': '4' })
    expect(read).toMatchObject({ pause: 'route', scope: 'user', invalid: true })
  })

  test('the bucket otherwise, also where the remaining header is missing', () => {
    expect(limited(BODY, HEADERS)).toMatchObject({ pause: 'bucket', scope: 'user', invalid: true })
    expect(limited(BODY, { 'x-ratelimit-scope': 'user' })).toMatchObject({ pause: 'bucket' })
    expect(limited(BODY, {})).toMatchObject({ pause: 'bucket' })
    expect(limited('', HEADERS)).toMatchObject({ pause: 'bucket' })
    expect(limited(BODY, { ...HEADERS, 'x-ratelimit-remaining': 'NaN' })).toMatchObject({ pause: 'bucket' })
  })

  test('global beats shared, and a ban shape beats what the route would say', () => {
    expect(limited({ ...BODY, global: true }, { ...HEADERS, 'x-ratelimit-scope': 'shared' }).pause).toBe('principal')
  })

  test('the token endpoint alone, which never sends limit headers, unless the answer looks like a ban', () => {
    const route = routeOf('POST', '/oauth2/token', 0)
    expect(limited({ message: 'You are being rate limited.' }, { 'retry-after': '3' }, route)).toMatchObject({
      pause: 'resource',
      waitMs: 3000,
    })
    expect(limited({ error: 'rate_limited' }, {}, route).pause).toBe('resource')
    expect(limited('error code: 1015', {}, route).pause).toBe('egress')
    expect(limited({ message: 'You are being blocked from accessing our API' }, {}, route).pause).toBe('egress')
  })
})

describe('the wait that a 429 names', () => {
  test('is the body’s before the header’s, because it has decimals', () => {
    expect(limited(BODY, { ...HEADERS, 'retry-after': '1' }).waitMs).toBe(300)
  })

  test('is the header’s where the body has none that can be used', () => {
    for (const retry_after of [undefined, null, '5', -1, 0, [], {}])
      expect(limited({ ...BODY, retry_after }, { ...HEADERS, 'retry-after': '2' }).waitMs).toBe(2000)
  })

  test.each(['', '-1', 'NaN', 'soon', '0', 'Wed, 31 Dec 2025 00:00:00 GMT'])(
    'is none where Retry-After is %j',
    (text) => {
      expect(limited({}, { ...HEADERS, 'retry-after': text }).waitMs).toBeUndefined()
    },
  )

  test('is measured from the answer’s own Date where it is one: a clock that is off changes nothing', () => {
    const headers = {
      ...HEADERS,
      date: 'Sat, 01 Jan 2028 00:00:00 GMT',
      'retry-after': 'Sat, 01 Jan 2028 00:00:05 GMT',
    }
    expect(limited({}, headers).waitMs).toBe(5000)
    expect(limited({}, { ...HEADERS, 'retry-after': 'Thu, 01 Jan 2026 00:00:05 GMT' }).waitMs).toBe(5000)
  })

  test('is exact for a ban of 82 721 s, and at most a week', () => {
    expect(limited('error code: 1015', { 'retry-after': '82721' }).waitMs).toBe(82_721_000)
    expect(limited({ retry_after: 1e12 }, HEADERS).waitMs).toBe(LONGEST_WAIT_MS)
  })

  test('is never Reset-After, which is wrong on shared limits', () => {
    expect(limited({}, HEADERS).waitMs).toBeUndefined()
  })
})

describe('other answers', () => {
  test.each([200, 201, 204, 206])('%d is a success', (status) => {
    expect(verdict(status, '')).toEqual({ kind: 'success' })
  })

  test.each([
    [401, { message: '401: Unauthorized', code: 0 }, 0],
    [401, { message: '401: Unauthorized' }, undefined],
    [403, { message: 'Missing Access', code: 50_001 }, 50_001],
    [404, { message: '404: Not Found', code: 0 }, 0],
    [400, { message: 'Invalid Form Body', code: 50_035, errors: {} }, 50_035],
    [400, { error: 'invalid_grant', error_description: 'x' }, undefined],
    [401, { error: 'invalid_client' }, undefined],
  ])('%d with %j is Discord’s own', (status, body, discordCode) => {
    const read = verdict(status, body)
    expect(read.kind).toBe('refused')
    expect(wordsOf('body' in read ? read.body : undefined, () => []).discordCode).toBe(discordCode)
  })

  test.each([
    [403, '<html>Access denied</html>'],
    [403, 'error code: 1020'],
    [403, { message: 'Forbidden' }],
    [403, { error: 'forbidden' }],
    [401, { message: 'Unauthorized' }],
    [404, ''],
    [404, 'null'],
    [404, []],
    [407, 'Proxy Authentication Required'],
    [301, ''],
    [302, { message: 'Found', code: 'x' }],
    [403, { code: 50_001 }],
    [403, { message: '401: Unauthorized' }],
  ])('%d with %j is somebody else’s', (status, body) => {
    expect(verdict(status, body)).toMatchObject({ kind: 'foreign' })
  })

  test('5xx is trouble, with the wait that it names', () => {
    expect(verdict(502, '<html>')).toMatchObject({ kind: 'trouble', waitMs: undefined })
    expect(verdict(503, '', { 'retry-after': '7' })).toMatchObject({ kind: 'trouble', waitMs: 7000 })
    expect(verdict(500, { retry_after: 2.5 })).toMatchObject({ kind: 'trouble', waitMs: 2500 })
  })

  test('whatever comes, reading it never throws and never names a wait below 0 or beyond a week', () => {
    const json = fc.oneof(
      fc.json(),
      fc.string(),
      fc
        .record({ retry_after: fc.anything(), global: fc.anything(), message: fc.anything() })
        .map((body) => JSON.stringify(body, (_key, value) => (typeof value === 'bigint' ? 1 : value)) ?? ''),
    )
    const headers = fc.dictionary(
      fc.constantFrom(
        'retry-after',
        'date',
        'x-ratelimit-scope',
        'x-ratelimit-remaining',
        'x-ratelimit-limit',
        'x-ratelimit-reset-after',
        'x-ratelimit-global',
      ),
      fc.oneof(fc.string(), fc.double().map(String), fc.constantFrom('shared', 'user', 'global', 'true')),
    )
    fc.assert(
      fc.property(fc.integer({ min: 200, max: 599 }), json, headers, (status, body, given) => {
        const read = classify({ status, headers: given, body, sentAt: 0, receivedAt: 0 }, GUILDS, 'Bearer', NOW)
        if (!('waitMs' in read) || read.waitMs === undefined) return
        expect(read.waitMs).toBeGreaterThan(0)
        expect(read.waitMs).toBeLessThanOrEqual(LONGEST_WAIT_MS)
      }),
    )
  })
})

describe('bucketReport', () => {
  test('reads limit, remaining and reset-after', () => {
    expect(bucketReport(answer(200, '', HEADERS))).toEqual({ limit: 1, remaining: 0, resetAfterMs: 234 })
  })

  test.each(Object.keys(HEADERS))('is nothing where %s is missing, empty, negative or not a number', (name) => {
    for (const value of [undefined, '', ' ', '-1', 'NaN', 'x', 'Infinity'])
      expect(bucketReport(answer(200, '', { ...HEADERS, [name]: value } as never))).toBeUndefined()
  })

  test('does not read X-RateLimit-Reset, which is a time on another clock', () => {
    const { 'x-ratelimit-reset-after': _, ...rest } = HEADERS
    expect(bucketReport(answer(200, '', { ...rest, 'x-ratelimit-reset': '1767225600.5' }))).toBeUndefined()
  })
})

describe('backoffMs', () => {
  test('is 1, 2, 4 s without jitter', () => {
    expect([1, 2, 3].map((attempt) => backoffMs(attempt, 1000, () => 0))).toEqual([1000, 2000, 4000])
  })

  test('jitter lengthens it by less than a quarter and never shortens it', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 11 }),
        fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
        (attempt, random) => {
          const plain = 1000 * 2 ** (attempt - 1)
          const ms = backoffMs(attempt, 1000, () => random)
          expect(ms).toBeGreaterThanOrEqual(plain)
          expect(ms).toBeLessThanOrEqual(plain * 1.25)
        },
      ),
    )
  })
})

test('only GET, PUT and DELETE can be sent twice, and only 500, 502, 503 and 504 are worth it', () => {
  expect((['GET', 'PUT', 'DELETE', 'POST', 'PATCH'] as const).map(isIdempotent)).toEqual([
    true,
    true,
    true,
    false,
    false,
  ])
  expect([500, 501, 502, 503, 504, 520, 429, 408].filter(isTransient)).toEqual([500, 502, 503, 504])
})

test.each([
  ['a limit of 0 lets nothing through, and is no news', { 'x-ratelimit-limit': '0' }, undefined],
  [
    'a window of thirty years is taken for an hour',
    { 'x-ratelimit-reset-after': '1000000000' },
    { limit: 1, remaining: 0, resetAfterMs: 3_600_000 },
  ],
])('%s', (_, headers, news) => {
  expect(bucketReport(answer(200, [], { ...HEADERS, ...headers }))).toEqual(news)
})
