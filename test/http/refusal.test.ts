import { describe, expect, test } from 'vitest'
import { REFUSAL_MESSAGES, REFUSAL_STATUS, type RefusalCode, wantsPage, writeRefusal } from '../../src/http/refusal.ts'

const NOW = Date.UTC(2026, 0, 1)
const CODES = Object.keys(REFUSAL_STATUS) as RefusalCode[]

describe('writeRefusal', () => {
  test('a rate limit as JSON: status, header and body agree', () => {
    const refusal = writeRefusal('RATE_LIMITED', { retryAfterMs: 1001, now: NOW, asPage: false })
    expect(refusal.status).toBe(429)
    expect(Object.fromEntries(refusal.headers)).toEqual({
      'content-type': 'application/json; charset=utf-8',
      'cache-control': 'no-store',
      'retry-after': '2',
    })
    expect(JSON.parse(refusal.body)).toEqual({
      code: 'RATE_LIMITED',
      message: "You've reached a rate limit. Please wait a few minutes and try again.",
      retryAfterSeconds: 2,
      retryAfterAt: '2026-01-01T00:00:02.000Z',
      status: 429,
    })
  })

  test('heavy load is 503 with its own message', () => {
    const refusal = writeRefusal('SERVICE_UNAVAILABLE', { retryAfterMs: 30_000, now: NOW, asPage: false })
    expect(refusal.status).toBe(503)
    expect(JSON.parse(refusal.body)).toMatchObject({
      code: 'SERVICE_UNAVAILABLE',
      message: 'The server is temporarily under heavy load. Please wait a few minutes and try again.',
      retryAfterSeconds: 30,
    })
  })

  test.each(CODES)('%s has its status, its message and no-store, as JSON and as a page', (code) => {
    for (const asPage of [false, true]) {
      const refusal = writeRefusal(code, { now: NOW, asPage })
      expect(refusal.status).toBe(REFUSAL_STATUS[code])
      expect(refusal.body).toContain(asPage ? '<!doctype html>' : `"code":"${code}"`)
      expect(refusal.body).toContain(REFUSAL_MESSAGES[code])
      expect(refusal.headers).toContainEqual(['cache-control', 'no-store'])
    }
  })

  test('without a wait there is no Retry-After, in the header, the body or the page', () => {
    const json = writeRefusal('FORBIDDEN', { now: NOW, asPage: false })
    expect(Object.fromEntries(json.headers)['retry-after']).toBeUndefined()
    expect(JSON.parse(json.body)).toEqual({ code: 'FORBIDDEN', message: REFUSAL_MESSAGES.FORBIDDEN, status: 403 })
    expect(writeRefusal('FORBIDDEN', { now: NOW, asPage: true }).body).not.toContain('Try again after')
  })

  test('a wait of 0 is written as 1 second', () => {
    const refusal = writeRefusal('RATE_LIMITED', { retryAfterMs: 0, now: NOW, asPage: false })
    expect(Object.fromEntries(refusal.headers)['retry-after']).toBe('1')
  })

  test('a wait beyond a week is written as a week', () => {
    const refusal = writeRefusal('RATE_LIMITED', { retryAfterMs: Number.POSITIVE_INFINITY, now: NOW, asPage: false })
    expect(JSON.parse(refusal.body)).toMatchObject({
      retryAfterSeconds: 604_800,
      retryAfterAt: '2026-01-08T00:00:00.000Z',
    })
  })

  test('401 names the scheme that would be accepted, and no other status does', () => {
    for (const code of CODES) {
      const headers = Object.fromEntries(writeRefusal(code, { now: NOW, asPage: false }).headers)
      expect(headers['www-authenticate']).toBe(code === 'UNAUTHENTICATED' ? 'Bearer' : undefined)
    }
  })

  test('a page reloads itself where the wait is a minute or less, and says when to try again', () => {
    const short = writeRefusal('RATE_LIMITED', { retryAfterMs: 60_000, now: NOW, asPage: true })
    expect(short.body).toContain('<meta http-equiv="refresh" content="60">')
    expect(short.body).toContain('<time datetime="2026-01-01T00:01:00.000Z">00:01:00 UTC</time>')
    expect(Object.fromEntries(short.headers)['content-type']).toBe('text/html; charset=utf-8')
    const long = writeRefusal('RATE_LIMITED', { retryAfterMs: 60_001, now: NOW, asPage: true })
    expect(long.body).not.toContain('http-equiv="refresh"')
  })
})

describe('wantsPage', () => {
  const ask = (method: string, headers: Record<string, string>) => wantsPage(method, (name) => headers[name] ?? null)

  test.each([
    ['GET', { accept: 'text/html,*/*' }, true],
    ['HEAD', { accept: 'text/html' }, true],
    ['GET', { accept: 'text/html', 'sec-fetch-dest': 'document' }, true],
    ['GET', { accept: 'text/html', 'sec-fetch-dest': 'empty' }, false],
    ['GET', { accept: 'application/json' }, false],
    ['GET', { accept: '*/*' }, false],
    ['GET', {}, false],
    ['POST', { accept: 'text/html' }, false],
    ['DELETE', { accept: 'text/html', 'sec-fetch-dest': 'document' }, false],
  ])('%s with %j: %j', (method, headers, wanted) => {
    expect(ask(method, headers as Record<string, string>)).toBe(wanted)
  })
})

test.each<[string, boolean]>([
  ['TEXT/HTML', true],
  ['text/html;q=0', false],
  ['text/html; q=0.0, */*', false],
  ['text/html;q=0.1', true],
  ['application/json, text/html;q=0.9', true],
])('Accept: %s asks for a page: %s', (accept, asks) => {
  expect(wantsPage('GET', (name) => (name === 'accept' ? accept : null))).toBe(asks)
})
