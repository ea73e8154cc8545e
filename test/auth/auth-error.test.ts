import { describe, expect, test } from 'vitest'
import { AuthError } from '../../src/auth/auth-error.ts'
import { HoldfastError, withRetryAfter } from '../../src/errors/errors.ts'

const NOW = Date.UTC(2026, 0, 1)
const CODES = [
  ['UNAUTHENTICATED', 401, undefined],
  ['FORBIDDEN', 403, undefined],
  ['RATE_LIMITED', 429, 12_345],
  ['SERVICE_UNAVAILABLE', 503, 5_000],
] as const

const error = (code: (typeof CODES)[number][0], retryAfterMs?: number) =>
  new AuthError(code, 'for developers', { retryAfterMs, now: () => NOW })

const navigation = (method = 'GET', headers: Record<string, string> = {}) => ({
  method,
  headers: new Headers({ accept: 'text/html,application/xhtml+xml', ...headers }),
})

describe('an AuthError', () => {
  test.each(CODES)('%s is %i, in error, JSON and page alike', async (code, status, retryAfterMs) => {
    const refused = error(code, retryAfterMs)
    expect(refused).toBeInstanceOf(HoldfastError)
    expect(refused).toMatchObject({ name: 'AuthError', code, status })
    const seconds = retryAfterMs === undefined ? null : String(Math.ceil(retryAfterMs / 1000))
    const json = refused.toResponse()
    const page = refused.toResponse(navigation())
    for (const response of [json, page]) {
      expect(response.status).toBe(status)
      expect(response.headers.get('cache-control')).toBe('no-store')
      expect(response.headers.get('retry-after')).toBe(seconds)
      expect(response.headers.get('www-authenticate')).toBe(status === 401 ? 'Bearer' : null)
    }
    expect(json.headers.get('content-type')).toBe('application/json; charset=utf-8')
    expect(page.headers.get('content-type')).toBe('text/html; charset=utf-8')
    const body = await json.json()
    expect(body).toMatchObject({ code, status })
    expect(body.retryAfterSeconds).toBe(seconds === null ? undefined : Number(seconds))
    const until = seconds === null ? undefined : new Date(NOW + Number(seconds) * 1000).toISOString()
    expect(body.retryAfterAt).toBe(until)
    const html = await page.text()
    expect(html).toContain(body.message)
    if (until) expect(html).toContain(until)
    expect(JSON.stringify(body) + html).not.toContain('for developers')
  })

  test.each([
    [0, '1'],
    [1, '1'],
    [999, '1'],
    [1_000, '1'],
    [1_001, '2'],
    [59_999.5, '60'],
    [1e15, '604800'],
  ])('says a wait of %d ms as whole seconds, at least 1 and at most a week: %s', async (retryAfterMs, seconds) => {
    const response = error('RATE_LIMITED', retryAfterMs).toResponse()
    expect(response.headers.get('retry-after')).toBe(seconds)
    expect((await response.json()).retryAfterSeconds).toBe(Number(seconds))
  })

  test('tells users the truth: it is Discord that throttles or does not answer, not they, and not our server', async () => {
    expect((await error('RATE_LIMITED', 1).toResponse().json()).message).toBe(
      'Discord limits how often it can be asked at the moment. Please try again in a little while.',
    )
    expect((await error('SERVICE_UNAVAILABLE', 1).toResponse().json()).message).toBe(
      'Discord is not answering at the moment. Please try again in a little while.',
    )
  })

  test('counts from the moment the response is made', async () => {
    let now = NOW
    const refused = new AuthError('RATE_LIMITED', 'm', { retryAfterMs: 1_000, now: () => now })
    now += 60_000
    expect((await refused.toResponse().json()).retryAfterAt).toBe(new Date(NOW + 61_000).toISOString())
  })

  test.each([
    ['a navigation', navigation(), true],
    ['a navigation that says so', navigation('GET', { 'sec-fetch-dest': 'document' }), true],
    ['a HEAD of a page', navigation('HEAD'), true],
    ['a form', navigation('POST'), false],
    ['a fetch of the page', navigation('GET', { 'sec-fetch-dest': 'empty' }), false],
    ['an API client', { method: 'GET', headers: new Headers({ accept: 'application/json' }) }, false],
    ['headers alone', { headers: new Headers({ accept: 'text/html' }) }, true],
    ['nothing', undefined, false],
  ])('is a page or JSON for %s', async (_name, request, asPage) => {
    const type = error('FORBIDDEN').toResponse(request).headers.get('content-type')
    expect(type?.startsWith('text/html')).toBe(asPage)
  })

  test('makes a new response each time', async () => {
    const refused = error('FORBIDDEN')
    expect(await refused.toResponse().text()).toBe(await refused.toResponse().text())
  })
})

test('an AuthError that is thrown again with the wait that is left still answers', async () => {
  const first = new AuthError('SERVICE_UNAVAILABLE', 'down', { retryAfterMs: 9_000, now: () => 0 })
  const again = withRetryAfter(first, 4_000)
  expect(again).not.toBe(first)
  expect(again.toResponse().headers.get('retry-after')).toBe('4')
  expect(Object.keys(again)).not.toContain('now')
})
