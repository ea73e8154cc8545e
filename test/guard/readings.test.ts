import { describe, expect, test } from 'vitest'
import { readingsOf } from '../../src/guard/readings.ts'
import { ask, guarded, passes } from './asking.ts'

const read = (target: string) => {
  const readings = readingsOf(target)
  return readings === 'any' ? readings : readings.map((segments) => `/${segments.join('/')}`)
}

describe('the readings of a target', () => {
  test.each(['/', '/api/chat', '/api/chat/', '/a.b/c-d_e~f', '/api/concepts/17?x=/../y', '/caf%C3%A9', '/a:b@c'])(
    '%s has one',
    (target) => expect(readingsOf(target)).toHaveLength(1),
  )

  test.each([
    ['/api\\chat', '/api/chat'],
    ['/api\\chat#', '/api/chat'],
    ['http://h/api\\chat', '/api/chat'],
    ['http://h?x/api/chat', '/api/chat'],
    ['//h/api/chat', '/api/chat'],
    ['/dl%2fbig.bin', '/dl/big.bin'],
    ['/dl%5cbig.bin', '/dl/big.bin'],
    ['/dl%252fbig.bin', '/dl/big.bin'],
    ['/x/../dl/big.bin', '/dl/big.bin'],
    ['/x%2f%2e%2e%2fdl', '/dl'],
    ['WS:///dl%2Fbig.bin', '/dl/big.bin'],
    ['/api/chat;x=1', '/api/chat'],
    ['/_next/data/build/dashboard/17.json', '/dashboard/17'],
    ['/_next/data/build/index.json', '/'],
  ])('%s may be %s', (target, path) => expect(read(target)).toContain(path))

  test('of what is too long to be read in every way nothing is known, so every rule holds', () => {
    const long = `/${'%25252f..\\;'.repeat(1_000)}`
    expect(readingsOf(long)).toBe('any')
    expect(readingsOf(`/${'a'.repeat(5_000)}`)).toHaveLength(1)
  })
})

describe('limits are matched with every reading', () => {
  test('whichever way a path is written, its limit holds', async () => {
    const { statuses } = guarded({ rules: { '/api/chat': '2/minute' } })
    expect(await statuses(2, () => ask('POST', '/api/chat'))).toEqual([200, 200])
    for (const target of ['/api\\chat#', 'http://h/api\\chat', '/x/../api/chat', '//h/api/chat', '/api%2fchat'])
      expect(await statuses(1, () => ask('POST', target)), target).toEqual([429])
    expect(await statuses(1, () => ask('POST', `/${'%25252f..\\;'.repeat(1_000)}`))).toEqual([429])
  })

  test('an ambiguous target is charged in all the limits that it may have', async () => {
    const { guard } = guarded({ rules: { '/api/chat': '5/minute', '/api/*': '9/minute' } })
    const decision = await guard.check(ask('POST', '/api/x%2f..%2fchat'))
    expect(decision.limits.map(({ name }) => name)).toEqual(['5/minute', '9/minute'])
  })

  test.each([
    ['/cheap/..%2fdear', 40],
    ['/dear/..%2fcheap', 40],
    ['/dear/..%2fcounted', 20],
    ['/counted/..%2fcheap', 20],
    ['/cheap', 99],
  ])('where one counter has two costs, %s pays the higher: %d remain', async (path, remaining) => {
    const points = { name: 'points', limit: 100, windowMs: 60_000 }
    const { guard } = guarded({
      rules: { '/cheap/*': points, '/dear/*': { ...points, cost: 60 }, '/counted/*': { ...points, cost: () => 80 } },
    })
    const { limits } = await guard.check(ask('GET', path))
    expect(limits.find(({ name }) => name === 'points')?.remaining).toBe(remaining)
  })

  test('escapes make no difference: /café and /api/@me have the limits that are written for them', async () => {
    const { statuses } = guarded({ rules: { '/café': '1/minute', '/api/@me': '1/minute' } })
    expect(await statuses(2, () => ask('GET', '/caf%C3%A9'))).toEqual([200, 429])
    expect(await statuses(2, () => ask('GET', '/CAF%C3%89'))).toEqual([429, 429])
    expect(await statuses(2, () => ask('GET', '/api/%40me'))).toEqual([200, 429])
    expect(await statuses(1, () => ask('GET', '/api/@me'))).toEqual([429])
  })
})

describe('exemptions are literal', () => {
  test.each([
    '/open/..%2fapi/chat',
    '/open/../api/chat',
    '/open\\..\\api',
    '//h/open/x',
    '/OPEN/x',
    '/health%2f..%2fapi',
  ])('%s is not let off', async (target) => {
    const { statuses } = guarded({ rules: { '*': '1/minute' }, publicPaths: ['/open/*'] })
    expect(await statuses(2, () => ask('POST', target))).toEqual([200, 429])
  })

  test('what means the same in every reading is', async () => {
    const { statuses } = guarded({ rules: { '*': '1/minute' }, publicPaths: ['/open/*', '/café'] })
    for (const target of ['/open/x', '/open/a%2fb', '/open/a/../b', '/caf%C3%A9', '/health/', '/h%65alth'])
      expect(passes(await statuses(3, () => ask('POST', target))), target).toBe(3)
  })

  test('a pattern that no path can be is refused', () => {
    for (const pattern of ['/a\\b', '/a/../b'])
      expect(() => guarded({ rules: { [pattern]: '1/day' } })).toThrow(/pattern/)
  })
})

describe('where a framework mounts the whole app', () => {
  test('patterns may be written with its base path or without, and the API is the API', async () => {
    const at = (path: string) => ask('GET', path, { basePath: '/docs' })
    for (const pattern of ['/api/chat', '/docs/api/chat']) {
      const { guard, statuses } = guarded({ rules: { [pattern]: '1/minute' } })
      expect(await statuses(2, () => at('/docs/api/chat'))).toEqual([200, 429])
      expect(((await guard.check(at('/docs/api/x'))) as { requestClass: string }).requestClass).toBe('api')
    }
  })
})
