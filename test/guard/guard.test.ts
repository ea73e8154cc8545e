import { parseRateLimit } from 'ratelimit-header-parser'
import { parseList } from 'structured-headers'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { ConfigError } from '../../src/errors/errors.ts'
import { parseRetryAfter } from '../../src/http/retry-after.ts'
import {
  createGuard,
  createHoldfast,
  type GuardDecision,
  type GuardRequest,
  type PassDecision,
  type RefuseDecision,
} from '../../src/index.ts'
import { createVirtualClock } from '../../src/simulator/virtual-clock.ts'
import { ask, guarded, header, PAGE, passes } from './asking.ts'

const entriesOf = ({ headers }: GuardDecision) => headers.map(([name, value]): [string, string] => [name, value])
const pass = (decision: GuardDecision | Promise<GuardDecision>) => decision as PassDecision
const refusal = (decision: GuardDecision | Promise<GuardDecision>) => {
  expect(decision).toMatchObject({ action: 'refuse' })
  return decision as RefuseDecision
}

afterEach(() => vi.unstubAllEnvs())

describe('who is counted', () => {
  test('a user by their id, wherever they come from', async () => {
    const { statuses } = guarded({ rules: { '/api/*': '2/minute' } })
    const from = (remoteAddress: string) => () => ask('GET', '/api/x', { userId: 'u1', remoteAddress })
    expect(await statuses(1, from('1.1.1.1'))).toEqual([200])
    expect(await statuses(2, from('2.2.2.2'))).toEqual([200, 429])
  })

  test('users of one address do not count for each other, nor for who is anonymous there', async () => {
    const { statuses } = guarded({ rules: { '/api/*': '1/minute' } })
    expect(await statuses(2, () => ask('GET', '/api/x'))).toEqual([200, 429])
    expect(await statuses(2, () => ask('GET', '/api/x', { userId: 'u1' }))).toEqual([200, 429])
    expect(await statuses(2, () => ask('GET', '/api/x', { sessionId: 's1' }))).toEqual([200, 429])
    expect(await statuses(2, () => ask('GET', '/api/x', { sessionId: 's2' }))).toEqual([200, 429])
  })

  test('the user before the session, the session before the address', async () => {
    const { statuses } = guarded({ rules: { '/api/*': '1/minute' } })
    expect(await statuses(1, () => ask('GET', '/api/x', { userId: 'u1', sessionId: 's1' }))).toEqual([200])
    expect(await statuses(1, () => ask('GET', '/api/x', { sessionId: 's1' }))).toEqual([200])
    expect(await statuses(1, () => ask('GET', '/api/x', { userId: '', sessionId: '' }))).toEqual([200])
    expect(await statuses(1, () => ask('GET', '/api/x'))).toEqual([429])
  })

  test('addresses by their bucket: an IPv6 network of 64 bits is one', async () => {
    const { statuses } = guarded({ rules: { '/api/*': '1/minute' } })
    const from = (remoteAddress: string) => () => ask('GET', '/api/x', { remoteAddress })
    expect(await statuses(1, from('2001:db8::1'))).toEqual([200])
    expect(await statuses(1, from('2001:db8::2'))).toEqual([429])
    expect(await statuses(1, from('2001:db8:0:1::1'))).toEqual([200])
  })

  test('guests and users have limits of their own', async () => {
    const { statuses } = guarded({ rules: { '/api/*': { limit: 3, anon: 1, windowMs: 60_000 } } })
    expect(await statuses(2, () => ask('GET', '/api/x'))).toEqual([200, 429])
    expect(await statuses(4, () => ask('GET', '/api/x', { userId: 'u' }))).toEqual([200, 200, 200, 429])
  })

  test('made-up cookies and headers buy nothing: only what was verified counts', async () => {
    const { statuses } = guarded({ rules: { '/api/*': '1/minute' } })
    let made = 0
    const forged = () => {
      made++
      return ask('GET', '/api/x', {
        headers: {
          cookie: `sid=${made}`,
          authorization: `Bearer ${made}`,
          'x-forwarded-for': `9.9.9.${made}`,
          'x-real-ip': `9.9.9.${made}`,
        },
      })
    }
    expect(passes(await statuses(10, forged))).toBe(1)
  })

  test('identify says who it is; what it throws or does not find counts for the address', async () => {
    const warn = vi.fn()
    const { statuses } = guarded({
      rules: { '/api/*': '1/minute' },
      logger: { debug() {}, info() {}, warn, error() {} },
      identify: async (request) => {
        const name = request.header('x-user')
        if (name === 'broken') throw new Error('the session store is away')
        return name === null ? undefined : { userId: name }
      },
    })
    const as = (name?: string) => () => ask('GET', '/api/x', { headers: name === undefined ? {} : { 'x-user': name } })
    expect(await statuses(2, as('a'))).toEqual([200, 429])
    expect(await statuses(2, as('b'))).toEqual([200, 429])
    expect(await statuses(1, as())).toEqual([200])
    expect(await statuses(1, as('broken'))).toEqual([429])
    expect(await statuses(1, as('broken'))).toEqual([429])
    expect(warn.mock.calls).toEqual([[{ error: 'Error' }, expect.stringContaining('identify failed')]])
  })

  test('identify that never ends is not waited for longer than 5 s', async () => {
    const { clock, guard } = guarded({ identify: () => new Promise(() => {}) })
    const decision = guard.check(ask('GET', '/api/x'))
    await clock.advance(5_000)
    expect((await decision).action).toBe('pass')
  })

  test('requests that carry X-Forwarded-For while nobody is trusted are told of, once', async () => {
    const warn = vi.fn()
    const { statuses } = guarded({ logger: { debug() {}, info() {}, warn, error() {} } })
    await statuses(3, () => ask('GET', '/api/x', { headers: { 'x-forwarded-for': '1.2.3.4' } }))
    expect(warn).toHaveBeenCalledTimes(1)
    expect(warn.mock.calls[0]?.[1]).toContain('trustProxy')
  })
})

describe('what is counted', () => {
  test('without rules everybody has 100 in 15 minutes, and users 300', async () => {
    const { clock, statuses } = guarded()
    expect(passes(await statuses(150, () => ask('GET', '/api/x')))).toBe(100)
    expect(passes(await statuses(350, () => ask('GET', '/api/x', { userId: 'u' })))).toBe(300)
    await clock.advance(900_000)
    expect(passes(await statuses(150, () => ask('GET', '/api/x')))).toBe(100)
  })

  test('RATE_LIMIT_* variables are the default rule', async () => {
    vi.stubEnv('RATE_LIMIT_WINDOW', '1000')
    vi.stubEnv('RATE_LIMIT_MAX', '5')
    vi.stubEnv('RATE_LIMIT_MAX_AUTH', '7')
    const first = guarded()
    expect(passes(await first.statuses(9, () => ask('GET', '/api/x')))).toBe(5)
    expect(passes(await first.statuses(9, () => ask('GET', '/api/x', { userId: 'u' })))).toBe(7)
    await first.clock.advance(1000)
    expect(passes(await first.statuses(9, () => ask('GET', '/api/x')))).toBe(5)
    vi.stubEnv('RATE_LIMIT_MAX_ANON', '3')
    expect(passes(await guarded().statuses(9, () => ask('GET', '/api/x')))).toBe(3)
  })

  test.each([
    ['RATE_LIMIT_WINDOW', '0'],
    ['RATE_LIMIT_MAX', 'many'],
    ['RATE_LIMIT_MAX_AUTH', ''],
    ['RATE_LIMIT_MAX_ANON', '1.5'],
  ])('%s=%j is refused', (variable, value) => {
    vi.stubEnv(variable, value)
    expect(() => createGuard()).toThrow(expect.objectContaining({ option: variable }))
  })

  test('several limits are taken together; who is refused by one is not charged by the other', async () => {
    const { clock, guard, statuses } = guarded({ rules: { '/generate': ['1/minute', '3/month'] } })
    const request = () => ask('POST', '/generate', { userId: 'u' })
    expect(await statuses(5, request)).toEqual([200, 429, 429, 429, 429])
    await clock.advance(60_000)
    const decision = pass(guard.check(request()))
    expect(decision.limits.map(({ name, remaining }) => [name, remaining])).toEqual([
      ['1/minute', 0],
      ['3/month', 1],
    ])
    await clock.advance(60_000)
    expect(await statuses(2, request)).toEqual([200, 429])
    await clock.advance(60_000)
    const month = refusal(guard.check(request()))
    expect(month.retryAfterSeconds).toBe((Date.UTC(2026, 1) - clock.now()) / 1000)
  })

  test('a route may spend the quota of another: limits of one name share a counter', async () => {
    const generate = { name: 'generate', limit: 2, windowMs: 'month' } as const
    const store = { name: 'store', limit: 5, windowMs: 'month' } as const
    const { statuses } = guarded({
      rules: {
        '/concepts/generate': generate,
        '/concepts/generate-with-palettes': [generate, store],
        '/concepts/store': store,
      },
    })
    const at = (path: string) => () => ask('POST', path, { userId: 'u' })
    expect(await statuses(1, at('/concepts/generate-with-palettes'))).toEqual([200])
    expect(await statuses(2, at('/concepts/generate'))).toEqual([200, 429])
    expect(await statuses(1, at('/concepts/generate-with-palettes'))).toEqual([429])
    expect(passes(await statuses(9, at('/concepts/store')))).toBe(4)
  })

  test('public paths, health paths and OPTIONS cost nothing, and say nothing of limits', async () => {
    const { guard, statuses } = guarded({ rules: { '*': '1/minute' }, publicPaths: ['/docs', '/open/*'] })
    for (const path of ['/docs', '/docs/', '/open/a/b', '/health', '/api/health'])
      expect(passes(await statuses(5, () => ask('GET', path, { headers: PAGE })))).toBe(5)
    expect(passes(await statuses(5, () => ask('OPTIONS', '/api/x')))).toBe(5)
    const decision = pass(guard.check(ask('GET', '/docs')))
    expect([decision.limits, decision.headers]).toEqual([[], []])
    expect(await statuses(2, () => ask('GET', '/x', { headers: PAGE }))).toEqual([200, 429])
  })

  test('switched off, it lets everything pass, knows the classes still, and has no limits', async () => {
    const { guard, statuses, events } = guarded({ enabled: false, rules: { '*': '1/minute' } })
    expect(passes(await statuses(20, () => ask('POST', '/api/x')))).toBe(20)
    const decision = pass(guard.arrive(ask('GET', '/', { headers: PAGE })))
    expect(decision).toMatchObject({ action: 'pass', requestClass: 'document', limits: [], headers: [] })
    await decision.settle(409)
    await decision.refund()
    await guard.close()
    expect(events).toEqual([])
  })
})

describe('who may be refused', () => {
  const RSC = { rsc: '1' }
  const PREFETCH = { 'sec-purpose': 'prefetch', accept: 'text/html' }
  const IMAGE = { 'sec-fetch-dest': 'image' }

  test.each([
    ['an rsc request', RSC],
    ['a prefetch', PREFETCH],
    ['an image', IMAGE],
    ['anything else', {}],
  ])('%s passes the default rule, and counts, so that the next page is refused', async (_what, headers) => {
    vi.stubEnv('RATE_LIMIT_MAX', '3')
    const { statuses } = guarded()
    expect(await statuses(5, () => ask('GET', '/page', { headers }))).toEqual([200, 200, 200, 200, 200])
    expect(await statuses(1, () => ask('GET', '/page', { headers: PAGE }))).toEqual([429])
    // Ten times the limit stops anything.
    expect(passes(await statuses(40, () => ask('GET', '/page', { headers })))).toBe(25)
  })

  test.each(['*', '/*', '/page', 'GET /page'])(
    'a rule that somebody wrote for %s refuses in every class',
    async (pattern) => {
      for (const headers of [RSC, PREFETCH, IMAGE, {}]) {
        const { statuses } = guarded({ rules: { [pattern]: '5/minute' } })
        expect(passes(await statuses(60, () => ask('GET', '/page', { headers })))).toBe(5)
      }
    },
  )

  test('what the ceiling refuses has nothing remaining, however much was given back', async () => {
    const { guard } = guarded({ rules: { '/costly': '1/hour' } })
    for (let time = 0; time < 10; time++) await pass(await guard.check(ask('POST', '/costly'))).settle(409)
    const decision = refusal(guard.check(ask('POST', '/costly')))
    expect(decision.limits).toMatchObject([{ limit: 1, remaining: 0 }])
    expect(header(decision, 'x-ratelimit-remaining')).toBe('0')
  })

  test('… but not an API path, whatever its headers claim', async () => {
    for (const headers of [RSC, PREFETCH, IMAGE]) {
      vi.stubEnv('RATE_LIMIT_MAX', '3')
      const { statuses } = guarded()
      for (const path of ['/api/x', '/API/x', '//api//x', '/%61pi/x'])
        expect(passes(await statuses(5, () => ask('GET', path, { headers })))).toBe(path === '/api/x' ? 3 : 0)
    }
  })

  test('… nor what changes something', async () => {
    const { statuses } = guarded({ rules: { '*': '3/minute' } })
    for (const method of ['POST', 'PUT', 'PATCH', 'DELETE', 'PROPFIND'])
      expect(passes(await statuses(5, () => ask(method, '/page', { headers: RSC })))).toBe(method === 'POST' ? 3 : 0)
  })

  test('… nor a path that has a rule of its own', async () => {
    const { statuses } = guarded({ rules: { '/costly': '3/minute' } })
    expect(passes(await statuses(9, () => ask('GET', '/costly', { headers: RSC })))).toBe(3)
  })

  test('giving back does not lower the count that stops anything', async () => {
    const { guard } = guarded({ rules: { '/costly': '1/hour' } })
    let admitted = 0
    for (let time = 0; time < 30; time++) {
      const decision = await guard.check(ask('POST', '/costly', { userId: 'u' }))
      if (decision.action === 'refuse') continue
      admitted++
      await decision.settle(409)
    }
    expect(admitted).toBe(10)
  })
})

describe('giving back', () => {
  const request = () => ask('POST', '/generate', { userId: 'u' })

  test('a request that ends in 409 is given back, once, and told of', async () => {
    const { guard, events, statuses } = guarded({ rules: { '/generate': ['1/month', '5/hour'] } })
    const decision = pass(guard.check(request()))
    await decision.settle(409)
    await decision.settle(409)
    await decision.refund()
    expect(events).toMatchObject([{ type: 'guard.refunded', path: '/generate', limits: ['1/month', '5/hour'] }])
    expect(await statuses(2, request)).toEqual([200, 429])
  })

  test.each([200, 404, 500, 429, 0])('one that ends in %d is not', async (status) => {
    const { guard, events, statuses } = guarded({ rules: { '/generate': '1/month' } })
    await pass(guard.check(request())).settle(status)
    expect(await statuses(1, request)).toEqual([429])
    expect(events.filter(({ type }) => type === 'guard.refunded')).toEqual([])
  })

  test('refundOn says which', async () => {
    const { guard, statuses } = guarded({ rules: { '/generate': '1/month' }, refundOn: [500, 503] })
    await pass(guard.check(request())).settle(503)
    await pass(guard.check(request())).settle(409)
    expect(await statuses(1, request)).toEqual([429])
  })

  test('a handler may give back itself, and the answer then gives nothing more', async () => {
    const { guard, statuses } = guarded({ rules: { '/generate': '2/month' } })
    const [first, second] = [pass(guard.check(request())), pass(guard.check(request()))]
    await first.refund()
    await first.refund()
    await first.settle(409)
    expect(await statuses(2, request)).toEqual([200, 429])
    await second.settle(200)
    expect(await statuses(1, request)).toEqual([429])
  })

  test('into another window nothing is given', async () => {
    const { clock, guard, events, statuses } = guarded({ rules: { '/generate': '1/minute' } })
    const early = pass(guard.check(request()))
    await clock.advance(60_000)
    expect(await statuses(1, request)).toEqual([200])
    await early.settle(409)
    expect(await statuses(1, request)).toEqual([429])
    expect(events.filter(({ type }) => type === 'guard.refunded')).toEqual([])
  })
})

describe('one refusal, whoever reads it', () => {
  const refused = (headers: Record<string, string>, path = '/api/x') => {
    const { guard, clock } = guarded({ rules: { '*': '1/minute' } })
    guard.check(ask('GET', path, { headers }))
    return { decision: refusal(guard.check(ask('GET', path, { headers }))), now: clock.now() }
  }

  test('as JSON: status, header and body agree', () => {
    const { decision, now } = refused({})
    expect(decision.status).toBe(429)
    expect(JSON.parse(decision.body)).toEqual({
      code: 'RATE_LIMITED',
      message: "You've reached a rate limit. Please wait a few minutes and try again.",
      retryAfterSeconds: 60,
      retryAfterAt: new Date(now + 60_000).toISOString(),
      status: 429,
    })
    expect(decision.retryAfterSeconds).toBe(60)
    expect(Object.fromEntries(decision.headers)).toEqual({
      'content-type': 'application/json; charset=utf-8',
      'cache-control': 'no-store',
      'retry-after': '60',
      'ratelimit-policy': '"1/minute";q=1;w=60',
      ratelimit: '"1/minute";r=0;t=60;limit=1;remaining=0;reset=60',
      'x-ratelimit-limit': '1',
      'x-ratelimit-remaining': '0',
      'x-ratelimit-reset': String(now / 1000 + 60),
      'x-ratelimit-scope': 'ip',
      'x-ratelimit-window': '60',
    })
    expect(decision.limits).toEqual([
      { name: '1/minute', limit: 1, remaining: 0, windowMs: 60_000, resetAt: new Date(now + 60_000) },
    ])
  })

  test('as a page where a browser navigates', () => {
    const { decision, now } = refused(PAGE, '/guilds')
    expect(decision.requestClass).toBe('document')
    expect(header(decision, 'content-type')).toBe('text/html; charset=utf-8')
    expect(header(decision, 'retry-after')).toBe('60')
    expect(decision.body).toContain('<html lang="en">')
    expect(decision.body).toContain('<meta http-equiv="refresh" content="60">')
    expect(decision.body).toContain(new Date(now + 60_000).toISOString())
    expect(decision.body.length).toBeLessThan(1_500)
  })

  test('a page for a wait of more than a minute does not reload itself, and says the day where that is not clear', () => {
    const { guard } = guarded({ rules: { '/guilds': '1/month' } })
    guard.check(ask('GET', '/guilds', { headers: PAGE }))
    const decision = refusal(guard.check(ask('GET', '/guilds', { headers: PAGE })))
    expect(decision.body).not.toContain('http-equiv')
    expect(decision.body).toContain('Sun, 01 Feb 2026, 00:00:00 UTC')
    expect(decision.retryAfterSeconds).toBe(31 * 86_400)
    expect(header(decision, 'retry-after')).toBe(String(31 * 86_400))
  })

  test('a form that was sent is answered with a page, an API call never', () => {
    const { guard } = guarded({ rules: { '*': '1/minute' } })
    const navigates = { ...PAGE, 'content-type': 'application/x-www-form-urlencoded' }
    guard.check(ask('POST', '/guilds', { headers: navigates }))
    expect(refusal(guard.check(ask('POST', '/guilds', { headers: navigates }))).body).toContain('<!doctype html>')
    expect(refusal(guard.check(ask('POST', '/api/guilds', { headers: navigates }))).body).toMatch(/^\{/)
  })

  test('the event says what happened, and to whom only under a name of the day', async () => {
    const { clock, events, guard, statuses } = guarded({ rules: { '/api/users/:id': '1/day', '*': '1/day' } })
    const at = (path: string) => () => ask('GET', path, { remoteAddress: '198.51.100.23', headers: PAGE })
    await statuses(2, at('/api/users/80351110224678912?token=secret'))
    await statuses(2, at('/guilds/80351110224678912?token=secret'))
    expect(events).toEqual([
      {
        at: clock.now(),
        type: 'guard.refused',
        status: 429,
        path: '/api/users/:id',
        requestClass: 'api',
        retryAfter: 86_400,
        ipBucket: expect.stringMatching(/^[\w-]{22}$/),
        handled: true,
      },
      {
        at: clock.now(),
        type: 'guard.refused',
        status: 429,
        path: '/guilds/:id',
        requestClass: 'document',
        retryAfter: 86_400,
        ipBucket: expect.stringMatching(/^[\w-]{22}$/),
        handled: true,
      },
    ])
    const named = () => (events.at(-1) as { ipBucket?: string }).ipBucket
    const today = named()
    expect(today).toBe((events[0] as { ipBucket?: string }).ipBucket)
    expect(JSON.stringify(events)).not.toMatch(/198\.51|secret|80351110224678912/)
    await clock.advance(86_400_000)
    await statuses(2, at('/guilds'))
    expect(named()).not.toBe(today)
    await guard.close()
  })

  test('processes that share a secret give an address one name', async () => {
    const secret = 'a secret of at least thirty-two bytes'
    const names = [0, 1].map(() => {
      const { events, guard } = guarded({ rules: { '*': '1/day' }, secret })
      for (let time = 0; time < 2; time++) guard.check(ask('POST', '/x'))
      return (events[0] as { ipBucket?: string }).ipBucket
    })
    expect(names[0]).toBe(names[1])
  })
})

describe('headers of answers', () => {
  test('list every limit, and the one that ends first in the older family', async () => {
    const { guard, clock } = guarded({
      rules: { '/api/*': ['60/minute', { name: 'monthly', limit: 10, windowMs: 'month' }] },
    })
    const decision = pass(guard.check(ask('GET', '/api/x', { userId: 'u' })))
    const month = 31 * 86_400
    expect(Object.fromEntries(decision.headers)).toEqual({
      'ratelimit-policy': `"60/minute";q=60;w=60, "monthly";q=10;w=${month}`,
      ratelimit: `"60/minute";r=59;t=60, "monthly";r=9;t=${month};limit=10;remaining=9;reset=${month}`,
      'x-ratelimit-limit': '10',
      'x-ratelimit-remaining': '9',
      'x-ratelimit-reset': String(Date.UTC(2026, 1) / 1000),
    })
    expect(decision.limits[1]).toEqual({
      name: 'monthly',
      limit: 10,
      remaining: 9,
      windowMs: month * 1000,
      resetAt: new Date(Date.UTC(2026, 1)),
    })
    await clock.advance(1)
    expect(header(pass(guard.check(ask('GET', '/api/x', { userId: 'u' }))), 'ratelimit')).toContain(
      `t=60, "monthly";r=8`,
    )
  })

  test('are what other people read: structured fields, and ratelimit-header-parser', () => {
    const { guard } = guarded({ rules: { '/api/*': ['60/minute', '7/hour'] } })
    const { headers } = pass(guard.check(ask('GET', '/api/x')))
    const fields = Object.fromEntries(headers)
    expect(
      parseList(fields['ratelimit-policy']!).map(([name, parameters]) => [name, Object.fromEntries(parameters)]),
    ).toEqual([
      ['60/minute', { q: 60, w: 60 }],
      ['7/hour', { q: 7, w: 3600 }],
    ])
    expect(parseList(fields.ratelimit!).map(([name, parameters]) => [name, Object.fromEntries(parameters)])).toEqual([
      ['60/minute', { r: 59, t: 60 }],
      ['7/hour', { r: 6, t: 3600, limit: 7, remaining: 6, reset: 3600 }],
    ])
    for (const rateLimit of [true, false]) {
      const both = guarded({ rules: { '/api/*': ['60/minute', '7/hour'] }, headers: { rateLimit } })
      const decision = pass(both.guard.check(ask('GET', '/api/x')))
      expect(parseRateLimit(new Headers(entriesOf(decision)))).toMatchObject({ limit: 7, used: 1, remaining: 6 })
    }
  })

  test('can be switched off, each family or both; Retry-After stays', () => {
    const names = (headers: boolean | object) => {
      const { guard } = guarded({ rules: { '*': '1/minute' }, headers })
      const passed = pass(guard.check(ask('POST', '/x'))).headers.map(([name]) => name)
      const refused = refusal(guard.check(ask('POST', '/x'))).headers.map(([name]) => name)
      expect(refused).toContain('retry-after')
      return [...passed, ...refused].filter((name) => /ratelimit/.test(name))
    }
    expect(names(false)).toEqual([])
    expect(names({ xRateLimit: false })).toEqual(['ratelimit-policy', 'ratelimit', 'ratelimit-policy', 'ratelimit'])
    expect(names({ rateLimit: false }).every((name) => name.startsWith('x-ratelimit'))).toBe(true)
  })

  test('Retry-After is never earlier than the t of what refuses', async () => {
    const { clock, guard } = guarded({ rules: { '/api/*': ['1/second', { limit: 1, windowMs: 1_700 }] } })
    guard.check(ask('GET', '/api/x'))
    await clock.advance(333)
    const decision = refusal(guard.check(ask('GET', '/api/x')))
    const times = parseList(header(decision, 'ratelimit')!).map(([, parameters]) => parameters.get('t') as number)
    expect(times).toEqual([1, 2])
    expect(parseRetryAfter(header(decision, 'retry-after'), 0)).toBe(2_000)
  })
})

describe('arrive and check', () => {
  test('a flood without credentials is stopped before anyone is asked who it is, and users of its address are not', async () => {
    const identify = vi.fn((request: GuardRequest) => {
      const token = request.header('authorization')
      return token === 'good' ? { userId: 'u1' } : undefined
    })
    const { guard } = guarded({ rules: { '*': '10/minute' }, identify })
    const visit = async (headers: Record<string, string>) => {
      const request = ask('GET', '/page', { headers: { ...PAGE, ...headers } })
      const arrived = await guard.arrive(request)
      if (arrived.action === 'refuse') return 'stopped at the door'
      const decision = await guard.check(request)
      return decision.action === 'pass' ? 'in' : 'refused'
    }
    const flood: string[] = []
    for (let time = 0; time < 500; time++) flood.push(await visit({}))
    expect(flood.filter((outcome) => outcome === 'in').length).toBe(10)
    expect(flood.filter((outcome) => outcome === 'stopped at the door').length).toBe(400)
    expect(identify).toHaveBeenCalledTimes(100)
    expect(await visit({ authorization: 'good' })).toBe('in')
  })

  test('a crowd of users behind one address never meets its ceiling, however many they are', async () => {
    const { guard } = guarded({
      rules: { '*': '10/minute' },
      identify: (request) => ({ userId: request.header('cookie')! }),
    })
    for (let user = 0; user < 3_000; user++) {
      const request = ask('GET', '/page', { headers: { cookie: `user ${user}` } })
      expect((await guard.arrive(request)).action).toBe('pass')
      expect((await guard.check(request)).action).toBe('pass')
    }
  })

  test('made-up credentials are stopped as well, and leave those without any alone', async () => {
    const { guard } = guarded({ rules: { '*': '10/minute' }, identify: () => undefined })
    const actions = await Promise.all(
      Array.from({ length: 300 }, (_, index) =>
        guard.arrive(ask('GET', '/p', { headers: { cookie: `made up ${index}` } })),
      ),
    )
    expect(actions.filter(({ action }) => action === 'pass').length).toBe(100)
    expect((await guard.arrive(ask('GET', '/p'))).action).toBe('pass')
  })

  test('the ceiling lasts a minute, and is an option', async () => {
    const { clock, guard } = guarded({ addressPerMinute: 5 })
    const arrivals = () =>
      Array.from({ length: 8 }, () => (guard.arrive(ask('GET', '/p')) as GuardDecision).action === 'pass')
    expect(arrivals().filter(Boolean).length).toBe(5)
    const refused = refusal(guard.arrive(ask('GET', '/p')))
    expect([refused.status, refused.retryAfterSeconds]).toEqual([429, 60])
    await clock.advance(60_000)
    expect(arrivals().filter(Boolean).length).toBe(5)
  })

  test('arriving charges no limit', async () => {
    const { guard, statuses } = guarded({ rules: { '*': '2/minute' } })
    for (let time = 0; time < 10; time++) guard.arrive(ask('POST', '/x'))
    expect(await statuses(3, () => ask('POST', '/x'))).toEqual([200, 200, 429])
  })
})

describe('with a Holdfast', () => {
  test('callers are its users, verified by its sessions, and events are its events', async () => {
    const clock = createVirtualClock()
    await using holdfast = createHoldfast({
      clock,
      session: (request) => {
        const id = request.headers.get('x-user')
        return id === null ? null : { userId: id, accessToken: 'a-token' }
      },
    })
    const seen: string[] = []
    holdfast.on((event) => seen.push(event.type))
    const guard = createGuard({ holdfast, rules: { '/api/*': '1/minute' }, shedding: false })
    const check = (headers: Record<string, string>) => guard.check(ask('GET', '/api/x', { headers }))
    for (const id of ['1', '2']) expect((await check({ 'x-user': id })).action).toBe('pass')
    expect((await check({ 'x-user': '1' })).action).toBe('refuse')
    expect((await check({})).action).toBe('pass')
    expect((await check({ authorization: 'Bearer made-up' })).action).toBe('refuse')
    expect(seen).toEqual(['guard.passed', 'guard.passed', 'guard.refused', 'guard.passed', 'guard.refused'])
    await guard.close()
    await guard.close()
  })
})

describe('options', () => {
  test.each<[string, unknown]>([
    ['rules', []],
    ['rules', { 'x y z': '1/day' }],
    ['trustProxy', true],
    ['refundOn', [9]],
    ['refundOn', 409],
    ['shedding.heap', { heap: [0.5, 0.9] }],
    ['shedding.memory', { memory: [2, 1] }],
    ['shedding.eventLoopP99Ms', { eventLoopP99Ms: 100 }],
    ['shedding.maxInFlight', { maxInFlight: 0 }],
    ['addressPerMinute', 0],
    ['maxCallers', 1.5],
    ['instances', 0],
    ['apiPrefixes', ['api']],
    ['apiPrefixes', '/api'],
    ['publicPaths', '/docs'],
    ['healthPaths', ['health']],
    ['headers', { ratelimit: true }],
    ['headers', 'all'],
    ['identify', 'user'],
    ['on', 'event'],
    ['enabled', 'no'],
    ['holdfast', {}],
    ['secret', 'short'],
    ['redis', 'http://127.0.0.1'],
    ['rateLimits', {}],
  ])('%s: %j is refused, and named', (name, value) => {
    const option = name.split('.')[0]!
    try {
      createGuard({ [option]: value })
    } catch (error) {
      expect(error).toBeInstanceOf(ConfigError)
      expect((error as ConfigError).option).toContain(name)
      return
    }
    throw new Error('it was accepted')
  })
})
