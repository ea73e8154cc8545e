import { ApiError, describeWait, isRateLimitError } from 'holdfast/browser'
import { describe, expect, it } from 'vitest'

const NOW = Date.UTC(2026, 0, 1)
const waiting = (ms: number, status = 429) => new ApiError('x', 'RATE_LIMITED', status, new Date(NOW + ms))

describe('describeWait', () => {
  it.each<[unknown, string]>([
    [waiting(12_000), 'Too many requests. Retrying in 12 s.'],
    [waiting(11_001), 'Too many requests. Retrying in 12 s.'],
    [waiting(120_000), 'Too many requests. Retrying in 120 s.'],
    [waiting(121_000), 'Too many requests. Retrying in 3 min.'],
    [waiting(0), 'Too many requests. Retrying now.'],
    [waiting(-5000), 'Too many requests. Retrying now.'],
    [waiting(2000, 503), 'The server is busy. Retrying in 2 s.'],
    [new Date(NOW + 5000), 'Too many requests. Retrying in 5 s.'],
    [{ retryAt: new Date(NOW + 5000) }, 'Too many requests. Retrying in 5 s.'],
    [{ status: 429 }, 'Too many requests. Try again in a moment.'],
    [{ response: { status: 503 } }, 'The server is busy. Try again in a moment.'],
    [{ status: 429, retryAt: new Date(Number.NaN) }, 'Too many requests. Try again in a moment.'],
    [new Error('something else'), ''],
    [new ApiError('x', 'NOPE', 404), ''],
    [undefined, ''],
    [null, ''],
    ['429', ''],
  ])('says of %o: %s', (error, sentence) => {
    expect(describeWait(error, NOW)).toBe(sentence)
  })

  it('takes the wall clock where no time is given', () => {
    expect(describeWait(new Date(Date.now() + 500))).toBe('Too many requests. Retrying in 1 s.')
  })
})

describe('isRateLimitError', () => {
  it.each<[unknown, boolean]>([
    [new ApiError('x', 'RATE_LIMITED', 429), true],
    [Object.assign(new Error('x'), { status: 429 }), true],
    [Object.assign(new Error('axios, ky'), { response: { status: 429 } }), true],
    [new Response('', { status: 429 }), true],
    [new ApiError('x', 'SERVICE_UNAVAILABLE', 503), false],
    [new Error('429'), false],
    [undefined, false],
    [null, false],
    [429, false],
  ])('of %o is %s', (error, expected) => {
    expect(isRateLimitError(error)).toBe(expected)
  })
})
