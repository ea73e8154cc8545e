import { afterEach, describe, expect, test, vi } from 'vitest'
import { createGuard, type GuardDecision, type GuardRequest, type Identity } from '../../src/index.ts'
import { ask, guarded, header, PAGE, passes } from './asking.ts'

const logger = () => ({ debug: vi.fn(), info: vi.fn(), warn: vi.fn(), error: vi.fn() })
const statusOf = (decision: GuardDecision) => (decision.action === 'pass' ? 200 : decision.status)

describe('rules that follow the caller', () => {
  const identify = (request: GuardRequest): Identity | undefined => {
    const [userId, plan] = (request.header('x-user') ?? '').split(' ')
    return userId ? { userId, ...(plan && { plan }) } : undefined
  }
  const as = (user: string) => () => ask('GET', '/api/x', { headers: { 'x-user': user } })

  test('a function of who is asking gives the limits of their plan', async () => {
    const { statuses } = guarded({
      identify,
      rules: { '/api/*': ({ plan }) => (plan === 'pro' ? '5/minute' : ['2/minute', '9/day']) },
    })
    expect(passes(await statuses(9, as('a pro')))).toBe(5)
    expect(passes(await statuses(9, as('b')))).toBe(2)
    expect(passes(await statuses(9, () => ask('GET', '/api/x')))).toBe(2)
  })

  test('a plan is known, too, of a user whom something in front found', async () => {
    const { statuses } = guarded({
      identify: () => ({ plan: 'pro' }),
      rules: { '/api/*': ({ userId, plan }) => (userId === 'u' && plan === 'pro' ? '3/minute' : '1/minute') },
    })
    expect(passes(await statuses(9, () => ask('GET', '/api/x', { userId: 'u' })))).toBe(3)
  })

  test('limits of one name may differ in number from plan to plan, and share what is counted', async () => {
    const { statuses } = guarded({
      identify,
      rules: { '/api/*': ({ plan }) => ({ name: 'calls', limit: plan === 'pro' ? 5 : 2, windowMs: 60_000 }) },
    })
    expect(passes(await statuses(9, as('a')))).toBe(2)
    // Upgraded in the middle of a window: what was used stays used.
    expect(passes(await statuses(9, as('a pro')))).toBe(3)
  })

  test.each([
    ['no limit', () => undefined],
    [
      'another window under one name',
      ({ userId }: Identity) => ({ name: 'n', limit: 1, windowMs: userId ? 1_000 : 2_000 }),
    ],
  ])('a function that gives %s is told of, and lets nobody in', async (_what, rule) => {
    const make = () => guarded({ rules: { '/api/*': rule as never } })
    try {
      const { guard } = make()
      expect(() => guard.check(ask('GET', '/api/x', { userId: 'u' }))).toThrow(
        expect.objectContaining({ name: 'ConfigError' }),
      )
    } catch (error) {
      expect(error).toMatchObject({ name: 'ConfigError' })
    }
  })

  test('a user’s ceiling follows their own limit', async () => {
    const { guard } = guarded({ rules: { '/api/*': { limit: 3, anon: 1, windowMs: 60_000 } } })
    let admitted = 0
    for (let time = 0; time < 60; time++) {
      const decision = await guard.check(ask('POST', '/api/x', { userId: 'u' }))
      if (decision.action === 'refuse') continue
      admitted++
      await decision.settle(409)
    }
    expect(admitted).toBe(30)
  })
})

describe('cost', () => {
  test('a request costs so many points, and gives all of them back', async () => {
    const { guard, statuses } = guarded({
      rules: {
        '/api/*': {
          limit: 10,
          windowMs: 60_000,
          cost: (request: GuardRequest) => Number(request.header('x-size') ?? 1),
        },
      },
    })
    const sized = (size: number) => () => ask('POST', '/api/x', { headers: { 'x-size': String(size) } })
    const decision = await guard.check(sized(7)())
    expect(decision.limits[0]).toMatchObject({ limit: 10, remaining: 3 })
    expect(await statuses(2, sized(4))).toEqual([429, 429])
    expect(await statuses(1, sized(3))).toEqual([200])
    if (decision.action === 'pass') await decision.settle(409)
    expect(await statuses(2, sized(7))).toEqual([200, 429])
    // What costs nothing passes while the limit is spent.
    expect(await statuses(1, sized(0))).toEqual([200])
  })

  test('a fixed cost beside a limit of requests', async () => {
    const { statuses } = guarded({ rules: { '/api/*': [{ limit: 10, windowMs: 60_000, cost: 5 }, '3/hour'] } })
    expect(await statuses(3, () => ask('GET', '/api/x'))).toEqual([200, 200, 429])
  })

  test('a promise is no cost and no key, and what it rejects with ends nothing', async () => {
    const rejects = (async () => {
      throw new Error('later')
    }) as () => never
    const { guard } = guarded({ rules: { '/api/*': { limit: 10, windowMs: 60_000, cost: rejects } } })
    expect(() => guard.check(ask('GET', '/api/x'))).toThrow(/returned \[object Promise\]/)
    const { statuses } = guarded({ rules: { '/api/*': '1/minute' }, key: rejects })
    expect(await statuses(2, () => ask('GET', '/api/x'))).toEqual([200, 429])
  })

  test.each([Number.NaN, -1, 1.5, Number.POSITIVE_INFINITY, '3'])('a cost of %s is a bug that is told', (cost) => {
    const { guard } = guarded({ rules: { '/api/*': { limit: 10, windowMs: 60_000, cost: () => cost as number } } })
    expect(() => guard.check(ask('GET', '/api/x'))).toThrow(expect.objectContaining({ code: 'INVALID_OPTION' }))
  })

  test('a fixed cost that no request could pay is refused', () => {
    expect(() => guarded({ rules: { '/a': { limit: 3, windowMs: 1_000, cost: 4 } } })).toThrow(/cost/)
  })
})

describe('skip', () => {
  test('what it names is not limited; an answer that never comes, and what it throws, limits', async () => {
    const log = logger()
    const { clock, guard, statuses } = guarded({
      logger: log,
      rules: { '/api/*': '1/minute' },
      skip: (request, caller) => {
        if (caller.userId === 'robot') return true
        const how = request.header('x-how')
        if (how === 'throw') throw new Error('away')
        if (how === 'never') return new Promise<boolean>(() => {})
        return Promise.resolve(how === 'yes')
      },
    })
    const how = (how: string) => () => ask('GET', '/api/x', { headers: { 'x-how': how } })
    expect(passes(await statuses(5, () => ask('GET', '/api/x', { userId: 'robot' })))).toBe(5)
    expect(passes(await statuses(5, how('yes')))).toBe(5)
    expect(await statuses(2, how('throw'))).toEqual([200, 429])
    const waiting = guard.check(how('never')())
    await clock.advance(5_000)
    expect(statusOf(await waiting)).toBe(429)
    expect(log.warn).toHaveBeenCalledTimes(2)
  })
})

describe('allow and deny', () => {
  const options = {
    rules: { '*': '1/minute' },
    allow: { addresses: ['10.0.0.0/8', '2001:db8::1'], users: ['friend'] },
    deny: { addresses: ['10.6.6.0/24', '203.0.113.9'], users: ['foe'] },
  } as const
  const from = (remoteAddress: string) => () => ask('POST', '/x', { remoteAddress })

  test('who is allowed is never limited, who is denied always refused, and denied comes first', async () => {
    const { guard, statuses } = guarded(options)
    expect(passes(await statuses(5, from('10.1.2.3')))).toBe(5)
    expect(passes(await statuses(5, from('2001:db8::1')))).toBe(5)
    expect(passes(await statuses(5, () => ask('POST', '/x', { userId: 'friend' })))).toBe(5)
    expect(await statuses(2, from('203.0.113.9'))).toEqual([403, 403])
    expect(await statuses(1, from('10.6.6.6'))).toEqual([403])
    expect(await statuses(1, from('::ffff:203.0.113.9'))).toEqual([403])
    expect(await statuses(1, () => ask('POST', '/x', { userId: 'foe', remoteAddress: '10.1.1.1' }))).toEqual([403])
    expect(statusOf(guard.arrive(from('203.0.113.9')()) as GuardDecision)).toBe(403)
    expect(await statuses(1, () => ask('GET', '/health', { remoteAddress: '203.0.113.9' }))).toEqual([403])
  })

  test('the refusal is FORBIDDEN, with no time to come back at, as JSON and as a page', async () => {
    const { guard, events } = guarded(options)
    const decision = (await guard.check(from('203.0.113.9')())) as Extract<GuardDecision, { action: 'refuse' }>
    expect([decision.status, decision.retryAfterSeconds, header(decision, 'retry-after')]).toEqual([403, 0, undefined])
    expect(JSON.parse(decision.body)).toEqual({ code: 'FORBIDDEN', message: expect.any(String), status: 403 })
    const page = await guard.check(ask('GET', '/x', { remoteAddress: '203.0.113.9', headers: PAGE }))
    expect((page as { body: string }).body).toContain('403')
    expect(events).toMatchObject([{ type: 'guard.refused', status: 403, retryAfter: 0 }, { status: 403 }])
  })

  test('a denied user is refused on public paths, too, and costs an anonymous caller nothing there', async () => {
    const identify = vi.fn((request: GuardRequest) => ({ userId: request.header('cookie') ?? '' }))
    const { statuses } = guarded({ ...options, publicPaths: ['/open'], identify })
    expect(await statuses(1, () => ask('GET', '/open', { headers: { cookie: 'foe' } }))).toEqual([403])
    expect(passes(await statuses(5, () => ask('GET', '/open', { headers: { cookie: 'other' } })))).toBe(5)
  })

  test.each([
    ['allow.addresses', { allow: { addresses: ['nobody'] } }],
    ['deny.addresses', { deny: { addresses: ['10.0.0.0/99'] } }],
    ['deny.adresses', { deny: { adresses: [] } }],
    ['allow.users', { allow: { users: [5] } }],
  ])('%s that cannot be used is refused', (option, given) => {
    expect(() => createGuard(given as never)).toThrow(expect.objectContaining({ option }))
  })
})

describe('a key of one’s own', () => {
  test('counts callers together or apart, and falls back where it cannot be told', async () => {
    const log = logger()
    const { statuses } = guarded({
      logger: log,
      rules: { '/api/*': '1/minute' },
      key: (request) => {
        const tenant = request.header('x-tenant')
        if (tenant === 'broken') throw new Error('no tenant')
        return tenant ?? undefined
      },
    })
    const of = (tenant: string | undefined, remoteAddress: string) => () =>
      ask('GET', '/api/x', { remoteAddress, headers: tenant ? { 'x-tenant': tenant } : {} })
    expect(await statuses(1, of('t1', '1.1.1.1'))).toEqual([200])
    expect(await statuses(1, of('t1', '2.2.2.2'))).toEqual([429])
    expect(await statuses(1, of('t'.repeat(10_000), '2.2.2.2'))).toEqual([200])
    expect(await statuses(2, of(undefined, '2.2.2.2'))).toEqual([200, 429])
    expect(await statuses(1, of('broken', '2.2.2.2'))).toEqual([429])
    expect(log.warn).toHaveBeenCalledTimes(1)
  })
})

describe('a dry run', () => {
  test('decides, counts and tells, and refuses nothing', async () => {
    const { events, guard, statuses } = guarded({
      dryRun: true,
      rules: { '/api/*': '2/minute' },
      deny: { addresses: ['203.0.113.9'] },
    })
    expect(passes(await statuses(5, () => ask('GET', '/api/x')))).toBe(5)
    expect(passes(await statuses(1, () => ask('GET', '/api/x', { remoteAddress: '203.0.113.9' })))).toBe(1)
    expect(events.map((event) => [event.type, 'dryRun' in event && event.dryRun])).toEqual(
      Array.from({ length: 4 }, () => ['guard.refused', true]),
    )
    expect(guard.stats()).toMatchObject({ passed: 6, refused: 4 })
    const decision = await guard.check(ask('GET', '/api/x'))
    expect(decision.limits[0]).toMatchObject({ limit: 2, remaining: 0 })
    // What was not charged is not given back.
    if (decision.action === 'pass') await decision.settle(409)
    expect(events.filter(({ type }) => type === 'guard.refunded')).toEqual([])
  })
})

describe('a refusal of one’s own', () => {
  test('has its words and its type; status and headers stay, and what it throws keeps ours', async () => {
    const log = logger()
    const { guard } = guarded({
      logger: log,
      rules: { '/api/*': '1/minute' },
      refusal: ({ status, retryAfterSeconds, requestClass }, request) => {
        if (request.header('x-how') === 'throw') throw new Error('no words')
        if (request.header('x-how') === 'ours') return undefined
        return { body: `<p>${status} ${retryAfterSeconds} ${requestClass}</p>`, contentType: 'text/html' }
      },
    })
    const refuse = async (how = '') =>
      (await guard.check(ask('GET', '/api/x', { headers: { 'x-how': how } }))) as Extract<
        GuardDecision,
        { action: 'refuse' }
      >
    await refuse()
    const own = await refuse()
    expect([own.body, header(own, 'content-type'), header(own, 'retry-after'), header(own, 'cache-control')]).toEqual([
      '<p>429 60 api</p>',
      'text/html',
      '60',
      'no-store',
    ])
    for (const how of ['ours', 'throw'])
      expect(JSON.parse((await refuse(how)).body)).toMatchObject({ code: 'RATE_LIMITED' })
    expect(log.warn).toHaveBeenCalledTimes(1)
  })

  test('can be read by the pages of origins that are named, in front of CORS headers of the app’s own', async () => {
    const { guard } = guarded({ rules: { '/api/*': '1/minute' }, corsOrigins: ['https://app.example'] })
    const from = (origin: string) => guard.check(ask('GET', '/api/x', { headers: { origin } }))
    await from('https://app.example')
    const [own, other] = [await from('https://app.example'), await from('https://evil.example')]
    expect(header(own, 'access-control-allow-origin')).toBe('https://app.example')
    expect(header(own, 'access-control-expose-headers')).toContain('Retry-After')
    expect(header(other, 'access-control-allow-origin')).toBeUndefined()
    expect(header(other, 'vary')).toBe('Origin')
  })
})

describe('peek and reset', () => {
  test('say where a caller stands, without counting, and set them free', async () => {
    const { clock, guard, statuses } = guarded({
      rules: { '/api/*': ['3/minute', '5/month'], 'POST /api/chat': '1/hour' },
      publicPaths: ['/open'],
    })
    const request = () => ask('GET', '/api/x', { userId: 'u' })
    await statuses(2, request)
    for (let again = 0; again < 3; again++)
      expect(await guard.peek({ userId: 'u' }, '/api/x')).toEqual([
        { name: '3/minute', limit: 3, remaining: 1, windowMs: 60_000, resetAt: new Date(clock.now() + 60_000) },
        expect.objectContaining({ name: '5/month', limit: 5, remaining: 3 }),
      ])
    expect(await guard.peek({ userId: 'nobody' }, '/api/x')).toMatchObject([{ remaining: 3 }, { remaining: 5 }])
    expect(await guard.peek({ userId: 'u' }, '/open')).toEqual([])
    expect(await guard.peek({ userId: 'u' }, 'POST /api/chat')).toMatchObject([{ name: '1/hour', remaining: 1 }])
    expect(await guard.peek({ userId: 'u' }, '/api/chat')).toMatchObject([{ name: '1/hour' }])
    expect(await guard.peek({ userId: 'u' }, 'GET /api/chat')).toMatchObject([{ name: '3/minute', remaining: 1 }, {}])
    await clock.advance(60_000)
    expect(await guard.peek({ userId: 'u' }, '/api/x')).toMatchObject([{ remaining: 3 }, { remaining: 3 }])
    expect(passes(await statuses(9, request))).toBe(3)
    await guard.reset({ userId: 'u' })
    expect(passes(await statuses(9, request))).toBe(3)
  })

  test('an address is set free with its networks, in any notation; a session by its id', async () => {
    const { guard, statuses } = guarded({ rules: { '/api/*': '1/minute' } })
    const from = (remoteAddress: string) => () => ask('GET', '/api/x', { remoteAddress })
    for (let index = 0; index < 30; index++) await statuses(1, from(`2001:db8:0:${index.toString(16)}::1`))
    expect(await statuses(1, from('2001:db8:0:ff::1'))).toEqual([429])
    await guard.reset({ address: '[2001:DB8:0:ff::2]:80' })
    expect(await statuses(1, from('2001:db8:0:ff::1'))).toEqual([200])
    await statuses(1, () => ask('GET', '/api/x', { sessionId: 's' }))
    expect(await guard.peek({ sessionId: 's' }, '/api/x')).toMatchObject([{ remaining: 0 }])
    await guard.reset({ sessionId: 's' })
    expect(await statuses(1, () => ask('GET', '/api/x', { sessionId: 's' }))).toEqual([200])
  })

  test('nobody, no path and no address are refused', async () => {
    const { guard } = guarded()
    for (const wrong of [
      guard.peek({}, '/x'),
      guard.peek({ userId: 'u' }, 'x'),
      guard.reset({}),
      guard.reset({ address: 'here' }),
    ])
      await expect(wrong).rejects.toMatchObject({ code: 'INVALID_OPTION' })
  })
})

describe('stats, and events for what passed', () => {
  test('count what was let in, refused, shed and given back', async () => {
    const seen: string[] = []
    const { guard } = guarded({
      rules: { '/api/users/:id': '2/minute' },
      on: (event) => seen.push(`${event.type} ${'path' in event ? event.path : ''}`),
    })
    const check = () => guard.check(ask('GET', '/api/users/80351110224678912'))
    const first = await check()
    if (first.action === 'pass') await first.settle(409)
    for (let time = 0; time < 3; time++) await check()
    await guard.check(ask('GET', '/health'))
    expect(guard.stats()).toEqual({ passed: 4, refused: 1, shed: 0, refunded: 1, callers: 1, overflowing: false })
    expect(seen).toEqual([
      'guard.passed /api/users/:id',
      'guard.refunded /api/users/:id',
      'guard.passed /api/users/:id',
      'guard.passed /api/users/:id',
      'guard.refused /api/users/:id',
      'guard.passed /health',
    ])
  })
})

describe('IPv6 networks', () => {
  const from = (remoteAddress: string) => () => ask('POST', '/login', { remoteAddress })

  test('one /48 cannot spend a limit 65 536 times: of 20 000 logins at 5/minute at most 100 pass', async () => {
    const { guard } = guarded({ rules: { '/login': '5/minute' } })
    let passed = 0
    for (let index = 0; index < 20_000; index++)
      if (statusOf((await guard.check(from(`2001:db8:1:${index.toString(16)}::1`)())) as GuardDecision) === 200)
        passed++
    expect(passed).toBe(100)
    expect(guard.stats().callers).toBeLessThanOrEqual(100)
  })

  test('two /64s of one /56 have limits of their own, and IPv4 has no networks', async () => {
    const { statuses } = guarded({ rules: { '/login': '5/minute' } })
    for (const address of ['2001:db8:1:1::1', '2001:db8:1:2::1'])
      expect(passes(await statuses(9, from(address)))).toBe(5)
    for (let index = 0; index < 100; index++) expect(passes(await statuses(9, from(`10.0.0.${index}`)))).toBe(5)
  })

  test('what a spent /64 asks on top does not spend its network', async () => {
    const { statuses } = guarded({ rules: { '/login': '5/minute' } })
    await statuses(2_000, from('2001:db8:1:1::1'))
    for (let index = 2; index < 9; index++) expect(passes(await statuses(9, from(`2001:db8:1:${index}::1`)))).toBe(5)
  })

  test('what is given back is given back to the network', async () => {
    const { guard } = guarded({ rules: { '/login': '5/minute' } })
    for (let index = 0; index < 100; index++) {
      const decision = await guard.check(from(`2001:db8:1:${index.toString(16)}::1`)())
      expect(decision.action).toBe('pass')
      if (decision.action === 'pass') await decision.settle(409)
    }
  })

  test('can be switched off, or set', async () => {
    for (const [ipv6Networks, expected] of [[false, 300] as const, [{ per56: 2, per48: 3 }, 10] as const]) {
      const { guard } = guarded({ rules: { '/login': '5/minute' }, ipv6Networks })
      let passed = 0
      for (let index = 0; index < 300; index++)
        if (
          (await guard.check(from(`2001:db8:1:${(index % 256).toString(16)}::${index.toString(16)}`)())).action ===
          'pass'
        )
          passed++
      expect(passed).toBe(expected)
    }
  })
})

describe('200 000 new /64s', () => {
  test('do not lock newcomers out: of 1 000 at least 990 pass', async () => {
    const { guard } = guarded({ rules: { '/api/*': '60/month' } })
    const check = (remoteAddress: string) => guard.check(ask('POST', '/api/x', { remoteAddress })) as GuardDecision
    for (let index = 0; index < 200_000; index++)
      check(`2001:${(index % 7919).toString(16)}:${(index >> 4).toString(16)}:${(index & 15).toString(16)}::1`)
    let passed = 0
    for (let index = 0; index < 1_000; index++)
      if (check(`10.${index >> 8}.${index & 255}.1`).action === 'pass') passed++
    expect(passed).toBeGreaterThanOrEqual(990)
    expect(guard.stats().callers).toBeLessThanOrEqual(200_000)
  }, 60_000)
})

afterEach(() => vi.restoreAllMocks())
