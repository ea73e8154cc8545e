import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ConfigError } from '../../src/errors/errors.ts'
import { PathList } from '../../src/guard/patterns.ts'
import { segmentsOf } from '../../src/guard/readings.ts'
import { normalPath, pathWithoutIds } from '../../src/guard/request-path.ts'
import { Routes } from '../../src/guard/routes.ts'
import { Rules } from '../../src/guard/rules.ts'

const DEFAULT = { windowMs: 900_000, anon: 100, auth: 300 }
const NOWHERE = new PathList([], 'publicPaths')
const rulesOf = (table: object) => {
  const routes = new Routes(new Rules(table, DEFAULT), { healthPaths: NOWHERE, publicPaths: NOWHERE, apiPrefixes: [] })
  return { of: (method: string, target: string) => routes.of(target).ruleFor(method) }
}

describe('normalPath', () => {
  test.each([
    ['/', '/'],
    ['', '/'],
    ['/api/chat', '/api/chat'],
    ['/api/chat/', '/api/chat'],
    ['//api///chat//', '/api/chat'],
    ['/api/chat?x=1', '/api/chat'],
    ['/api/chat/?x=/', '/api/chat'],
    ['/api/chat#x', '/api/chat'],
    ['/api/%63hat', '/api/chat'],
    ['/api/%7euser', '/api/~user'],
    ['/api/a%2fb', '/api/a%2Fb'],
    ['/api/%e2%82%ac', '/api/%E2%82%AC'],
    ['/api/100%', '/api/100%'],
    ['/%zz', '/%zz'],
    ['api/chat', '/api/chat'],
    ['?x', '/'],
    ['http://app.example/api/chat?x', '/api/chat'],
    ['https://app.example', '/'],
    ['/http://x/y', '/http:/x/y'],
    ['/API/Chat', '/API/Chat'],
    ['/a/../b', '/a/../b'],
    ['*', '/*'],
  ])('%j is %j', (target, path) => {
    expect(normalPath(target)).toBe(path)
  })

  test('a path in its normal form stays as it is', () => {
    fc.assert(
      fc.property(fc.webPath(), (target) => {
        expect(normalPath(normalPath(target))).toBe(normalPath(target))
      }),
    )
  })
})

describe('pathWithoutIds', () => {
  test.each([
    ['/', '/'],
    ['/api/chat', '/api/chat'],
    ['/api/v1/users/80351110224678912', '/api/v1/users/:id'],
    ['/u/3f2b8c1e-0000-4000-8000-000000000000/edit', '/u/:id/edit'],
    ['/reset/averylongtokenwithoutanydigitsinit', '/reset/:id'],
    ['/a/b/c/d/e/f/g/h', '/a/b/c/d/e/f/*'],
    ['/a@b.example', '/:id'],
  ])('%s is told as %s', (path, told) => {
    expect(pathWithoutIds(path)).toBe(told)
  })
})

describe('the most specific pattern wins', () => {
  const rules = rulesOf({
    '/api/*': '1/minute',
    '/api/concepts/:id': '2/minute',
    '/api/concepts/new': '3/minute',
    'POST /api/concepts/new': '4/minute',
    '/api/:kind/new': '5/minute',
    '/api/concepts/*': '6/minute',
    'GET /': '7/minute',
    '/api/concepts/:id/versions/:version': '8/minute',
  })

  test.each([
    ['GET', '/api', 1],
    ['GET', '/api/x', 1],
    ['GET', '/api/x/y/z', 1],
    ['GET', '/api/concepts/17', 2],
    ['GET', '/api/concepts/new', 3],
    ['POST', '/api/concepts/new', 4],
    ['POST', '/api//concepts/new/?x=1', 4],
    ['POST', '/API/Concepts/NEW', 4],
    ['POST', '/api/%63oncepts/new', 4],
    ['PUT', '/api/chats/new', 5],
    ['GET', '/api/concepts', 6],
    ['GET', '/api/concepts/17/versions', 6],
    ['GET', '/api/concepts/17/versions/3', 8],
    ['GET', '/', 7],
    ['HEAD', '/', 7],
    ['POST', '/', 100],
    ['GET', '/apiary', 100],
    ['GET', '/guilds', 100],
  ])('%s %s has the limit %d', (method, target, limit) => {
    for (let again = 0; again < 2; again++)
      expect(rules.of(method, target).anonymous.map((quota) => quota.limit)).toEqual([limit])
  })

  test('whatever the order they are written in', () => {
    const table = {
      '/a/*': '1/minute',
      '/a/:x': '2/minute',
      '/a/b': '3/minute',
      'GET /a/b': '4/minute',
      '/:x/b': '5/minute',
      '/a/:x/c': '6/minute',
    }
    const targets = ['/a', '/a/b', '/a/x', '/c/b', '/a/b/c', '/a/b/d', '/d']
    const answers = (rules: ReturnType<typeof rulesOf>) => targets.map((target) => rules.of('GET', target).pattern.text)
    fc.assert(
      fc.property(fc.shuffledSubarray(Object.entries(table), { minLength: 6 }), (entries) => {
        expect(answers(rulesOf(Object.fromEntries(entries)))).toEqual(answers(rulesOf(table)))
      }),
    )
  })

  test('a path that nobody asks for twice costs no memory for good', () => {
    for (let index = 0; index < 5_000; index++) rules.of('GET', `/api/${index}`)
    expect(rules.of('GET', '/api/concepts/17').pattern.text).toBe('/api/concepts/:id')
  })
})

describe('limits', () => {
  test('the default rule is for whatever has no other', () => {
    const { own, anonymous, signedIn } = rulesOf({}).of('GET', '/guilds')
    expect(own).toBe(false)
    expect(anonymous).toMatchObject([{ name: 'default', limit: 100, windowMs: 900_000, onStoreError: 'local' }])
    expect(signedIn).toMatchObject([{ name: 'default', limit: 300 }])
  })

  test('a pattern that means everything stands in for it', () => {
    for (const text of ['*', '/*']) {
      const rule = rulesOf({ [text]: '5/second' }).of('GET', '/x')
      expect(rule.own).toBe(true)
      expect(rule.anonymous).toMatchObject([{ name: '5/second', limit: 5, windowMs: 1000 }])
    }
  })

  test.each([
    ['10/second', 1_000],
    ['10/minute', 60_000],
    ['10/hour', 3_600_000],
    ['10/day', 86_400_000],
    ['10/month', 'month'],
  ])('%s', (text, windowMs) => {
    expect(rulesOf({ '/a': text }).of('GET', '/a').anonymous).toMatchObject([{ name: text, limit: 10, windowMs }])
  })

  test('may differ for anonymous and signed-in callers', () => {
    const { anonymous, signedIn } = rulesOf({ '/a': { limit: 10, anon: 2, windowMs: 1500 } }).of('GET', '/a')
    expect(anonymous).toMatchObject([{ limit: 2, name: '10/1500ms' }])
    expect(signedIn).toMatchObject([{ limit: 10 }])
  })

  test('of one name share a counter; without a name each pattern has its own', () => {
    const rules = rulesOf({
      '/generate': { name: 'generate', limit: 10, windowMs: 'month' },
      '/generate-with': [{ name: 'generate', limit: 10, windowMs: 'month' }, '10/month'],
      '/store': '10/month',
    })
    const slots = (target: string) => rules.of('POST', target).signedIn.map(({ slot }) => slot)
    expect(slots('/generate-with')[0]).toBe(slots('/generate')[0])
    expect(slots('/generate-with')[1]).not.toBe(slots('/store')[0])
    expect(rules.of('POST', '/store').anonymous[0]?.slot).toBe(slots('/store')[0])
  })

  const month = { name: 'a', limit: 10, windowMs: 'month' }
  test.each<[string, object]>([
    ['other numbers under one name', { '/a': month, '/b': { ...month, limit: 11 } }],
    ['another window under one name', { '/a': month, '/b': { ...month, windowMs: 1000 } }],
    ['another limit for guests under one name', { '/a': month, '/b': { ...month, anon: 1 } }],
    ['another policy under one name', { '/a': month, '/b': { ...month, onStoreError: 'closed' } }],
    ['the same name twice at one pattern', { '/a': [month, month] }],
    ['the same limit twice at one pattern', { '/a': ['1/day', { limit: 1, windowMs: 86_400_000 }] }],
    ['no limit at all', { '/a': [] }],
    ['an unknown unit', { '/a': '10/week' }],
    ['a limit of nothing', { '/a': '0/minute' }],
    ['a negative limit', { '/a': { limit: -1, windowMs: 1000 } }],
    ['a limit that is no number', { '/a': { limit: Number.NaN, windowMs: 1000 } }],
    ['half a request', { '/a': { limit: 1.5, windowMs: 1000 } }],
    ['a text with spaces', { '/a': '10 / minute' }],
    ['a window of nothing', { '/a': { limit: 1, windowMs: 0 } }],
    ['a window without end', { '/a': { limit: 1, windowMs: Number.POSITIVE_INFINITY } }],
    ['a window that is a word', { '/a': { limit: 1, windowMs: 'week' } }],
    ['no window', { '/a': { limit: 1 } }],
    ['an unknown policy', { '/a': { limit: 1, windowMs: 1000, onStoreError: 'ignore' } }],
    ['an unknown option', { '/a': { limit: 1, windowMs: 1000, max: 5 } }],
    ['guests that may do nothing', { '/a': { limit: 1, windowMs: 1000, anon: 0 } }],
    ['a name that no header can carry', { '/a': { ...month, name: 'a"b' } }],
    ['an empty name', { '/a': { ...month, name: '' } }],
    ['a number alone', { '/a': 10 }],
    ['null', { '/a': null }],
    ['a pattern without a slash', { a: '1/day' }],
    ['a pattern with a query', { '/a?b': '1/day' }],
    ['a star in the middle', { '/a/*/b': '1/day' }],
    ['a star within a word', { '/a*': '1/day' }],
    ['a method in small letters', { 'get /a': '1/day' }],
    ['two methods', { 'GET POST /a': '1/day' }],
    ['two patterns that mean the same', { '/a/:id': '1/day', '/A/:name/': '2/day' }],
    ['two rules for everything', { '*': '1/day', '/*': '2/day' }],
    ['a list of rules', ['1/day']],
  ])('%s is a ConfigError', (_what, table) => {
    expect(() => rulesOf(table)).toThrow(ConfigError)
  })
})

describe('paths that are let off', () => {
  const list = new PathList(['/docs', '/files/*', '/users/:id/card', '/Mixed/*'], 'publicPaths')

  test.each([
    ['/docs', true],
    ['/docs/x', false],
    ['/Docs', false],
    ['/files', true],
    ['/files/a/b', true],
    ['/FILES/a', false],
    ['/users/1/card', true],
    ['/users/1/cards', false],
    ['/Mixed/x', true],
    ['/mixed/x', false],
    ['/', false],
  ])('%s: %s', (path, isIn) => {
    expect(list.has(segmentsOf(path))).toBe(isIn)
  })

  test('a list is a list, of paths', () => {
    expect(() => new PathList('/docs' as never, 'publicPaths')).toThrow(ConfigError)
    expect(() => new PathList(['GET /docs'], 'publicPaths')).toThrow(ConfigError)
    expect(() => new PathList(['docs'], 'publicPaths')).toThrow(ConfigError)
    expect(new PathList(['/*'], 'publicPaths').has(['anything'])).toBe(true)
  })
})
