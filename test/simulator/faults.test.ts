import { describe, expect, it } from 'vitest'
import { createVirtualClock, type FaultKind, type FaultOptions, startSimulator } from '../../src/simulator/simulator.ts'
import { bearer, bot, visit } from './visitor.ts'

const codeOf = (error: unknown): unknown => (error as { cause?: { code?: unknown } }).cause?.code

describe('a fault', () => {
  it('lasts until its function is called', async () => {
    await using simulator = await startSimulator()
    const me = () => visit(simulator, '/users/@me', { as: bearer(simulator) })
    const stop = simulator.fault('server-error')
    expect((await me()).status).toBe(502)
    stop()
    stop()
    expect((await me()).status).toBe(200)
    expect(simulator.calls.map(({ status, fault }) => [status, fault])).toEqual([
      [502, 'server-error'],
      [200, null],
    ])
  })

  it('lasts for forMs on the clock, and ends by itself', async () => {
    const clock = createVirtualClock()
    await using simulator = await startSimulator({ clock })
    simulator.fault('server-error', { forMs: 60_000 })
    const me = async () => (await visit(simulator, '/users/@me', { as: bearer(simulator) })).status
    await clock.advance(59_999)
    expect(await me()).toBe(502)
    await clock.advance(1)
    expect(await me()).toBe(200)
    expect(clock.sleepers).toBe(0)
  })

  it('lasts for so many calls', async () => {
    await using simulator = await startSimulator()
    simulator.fault('server-error', { times: 2 })
    const statuses: number[] = []
    for (let i = 0; i < 3; i++) statuses.push((await visit(simulator, '/users/@me', { as: bearer(simulator) })).status)
    expect(statuses).toEqual([502, 502, 200])
  })

  it('meets only the user it is about, whatever their token', async () => {
    await using simulator = await startSimulator()
    simulator.fault('server-error', { userId: simulator.users[1]!.id })
    const second = simulator.issueToken(simulator.users[1]!.id)
    const statusOf = async (as: string) => (await visit(simulator, '/users/@me', { as })).status
    expect(await statusOf(bearer(simulator))).toBe(200)
    expect(await statusOf(`Bearer ${second}`)).toBe(502)
    expect(await statusOf(bot(simulator))).toBe(200)
  })

  it.each([
    ['/users/@me/guilds', [true, false, false, false]],
    ['GET /users/@me/guilds', [true, false, false, false]],
    ['POST /oauth2/token', [false, false, false, true]],
    ['/api/v10/users/@me', [false, true, false, false]],
    ['/users/*', [true, true, false, false]],
    ['/channels/:id/messages', [false, false, true, false]],
    ['/channels/{channel.id}/messages', [false, false, true, false]],
    ['/channels/5/messages', [false, false, true, false]],
    ['/channels/6/messages', [false, false, false, false]],
    ['POST /channels/:id/messages', [false, false, false, false]],
  ])('on route %s meets those calls alone', async (route, expected) => {
    await using simulator = await startSimulator()
    simulator.fault('server-error', { route })
    const as = bearer(simulator)
    const answers = [
      await visit(simulator, '/users/@me/guilds', { as }),
      await visit(simulator, '/users/@me', { as }),
      await visit(simulator, '/channels/5/messages', { as: bot(simulator) }),
      await visit(simulator, '/oauth2/token', { method: 'POST', body: new URLSearchParams() }),
    ]
    expect(answers.map(({ status }) => status === 502)).toEqual(expected)
  })

  it('has a chance that is drawn from the seed', async () => {
    const run = async (seed: number) => {
      await using simulator = await startSimulator({ seed, userGlobalPerSecond: Infinity })
      simulator.fault('server-error', { probability: 0.5 })
      for (let i = 0; i < 60; i++) await visit(simulator, '/users/@me', { as: bearer(simulator) })
      return simulator.calls.map(({ status }) => status)
    }
    const first = await run(1)
    const failed = first.filter((status) => status === 502).length
    expect(failed).toBeGreaterThan(15)
    expect(failed).toBeLessThan(45)
    expect(await run(1)).toEqual(first)
    expect(await run(2)).not.toEqual(first)
  })

  it('switched on last decides; slow and clock-skew go together with it', async () => {
    const clock = createVirtualClock()
    await using simulator = await startSimulator({ clock })
    simulator.fault('ban')
    const stop = simulator.fault('server-error')
    simulator.fault('slow', { ms: 20 })
    simulator.fault('clock-skew')
    const visiting = visit(simulator, '/users/@me', { as: bearer(simulator) })
    await expect.poll(() => clock.sleepers, { interval: 1 }).toBe(1)
    await clock.advance(20)
    const { status, headers } = await visiting
    expect([status, headers.get('date')]).toEqual([502, 'Thu, 01 Jan 2026 01:00:00 GMT'])
    stop()
    const next = visit(simulator, '/users/@me', { as: bearer(simulator) })
    await expect.poll(() => clock.sleepers, { interval: 1 }).toBe(1)
    await clock.advance(20)
    expect((await next).text).toBe('error code: 1015')
  })

  it.each<[string, FaultOptions, RegExp]>([
    ['earthquake', {}, /unknown fault "earthquake"; use one of rate-limit, ban/],
    ['slow', { route: '/users/@me/guild' }, /route "\/users\/@me\/guild" matches nothing.*\/users\/@me\/guilds/],
    ['slow', { route: 'users' }, /matches nothing/],
    ['slow', { route: 'DELETE /users/@me' }, /matches nothing/],
    ['slow', { userId: '1' }, /no user "1"/],
    ['slow', { ms: -1 }, /ms must be/],
    ['slow', { forMs: -1 }, /forMs must be/],
    ['slow', { times: Number.NaN }, /times must be/],
    ['slow', { probability: 2 }, /probability must be from 0 to 1, not 2/],
    ['server-error', { status: 404 }, /status must be/],
    ['server-error', { shape: 'discord' }, /shape must be 'page' or 'json'/],
    ['answer', { status: 100 }, /status must be a whole number from 200 to 599/],
    ['answer', { headers: { 'x y': 'z' } }, /headers: "x y" is no header/],
    ['answer', { headers: { x: 'a\nb' } }, /headers/],
    ['rate-limit', { code: 1.5 }, /code must be/],
    ['rate-limit', { times: '2' as unknown as number }, /times must be/],
    ['rate-limit', null as unknown as FaultOptions, /must be an object/],
    ['rate-limit', { retryAfterMs: -1 }, /retryAfterMs must be/],
    ['rate-limit', { scope: 'everyone' as 'user' }, /scope must be/],
    ['ban', { shape: 'xml' as 'html' }, /shape must be/],
    ['ban', { retryAfter: 1 } as FaultOptions, /unknown fault option retryAfter/],
  ])('%s %j that could never work is refused', async (kind, options, message) => {
    await using simulator = await startSimulator()
    expect(() => simulator.fault(kind as FaultKind, options)).toThrow(message)
  })
})

describe('rate-limit', () => {
  it('answers 429 as Discord does, for the wait it is told, without charging the bucket', async () => {
    await using simulator = await startSimulator({ clock: createVirtualClock() })
    const path = '/users/@me/guilds'
    const as = bearer(simulator)
    const stop = simulator.fault('rate-limit', { retryAfterMs: 2345 })
    const refused = await visit(simulator, path, { as })
    expect([refused.status, refused.json]).toEqual([
      429,
      { message: 'You are being rate limited.', retry_after: 2.345, global: false },
    ])
    expect(Object.fromEntries(refused.headers)).toMatchObject({
      'retry-after': '3',
      'x-ratelimit-scope': 'user',
      'x-ratelimit-limit': '1',
      'x-ratelimit-remaining': '0',
      'x-ratelimit-reset-after': '2.345',
      via: '1.1 google',
    })
    stop()
    const allowed = await visit(simulator, path, { as })
    expect(allowed.status).toBe(200)
    expect(allowed.headers.get('x-ratelimit-bucket')).toBe(refused.headers.get('x-ratelimit-bucket'))
  })

  it('asks for a second by default; global and shared have their own words', async () => {
    await using simulator = await startSimulator()
    const me = () => visit(simulator, '/users/@me', { as: bearer(simulator) })
    simulator.fault('rate-limit')
    expect((await me()).json.retry_after).toBe(1)
    simulator.fault('rate-limit', { scope: 'global' })
    const global = await me()
    expect([global.headers.get('x-ratelimit-global'), global.json.global]).toEqual(['true', true])
    expect(global.headers.get('x-ratelimit-bucket')).toBe(null)
    simulator.fault('rate-limit', { scope: 'shared', retryAfterMs: 1_336_570 })
    const shared = await me()
    expect(shared.json).toEqual({ message: 'The resource is being rate limited.', retry_after: 1336.57, global: false })
    expect([shared.headers.get('x-ratelimit-scope'), shared.headers.get('retry-after')]).toEqual(['shared', '1337'])
    expect(simulator.calls.map(({ scope }) => scope)).toEqual(['user', 'global', 'shared'])
  })

  it('sends no X-RateLimit headers from the OAuth2 token endpoint', async () => {
    await using simulator = await startSimulator()
    simulator.fault('rate-limit')
    const { status, headers, json } = await visit(simulator, '/oauth2/token', {
      method: 'POST',
      body: new URLSearchParams({ grant_type: 'refresh_token' }),
    })
    expect([status, json.retry_after, headers.get('retry-after')]).toEqual([429, 1, '1'])
    expect([...headers.keys()].filter((name) => name.startsWith('x-ratelimit'))).toEqual([])
  })
})

describe('what is not Discord', () => {
  it.each<[FaultOptions, RegExp, string | RegExp, string | null]>([
    [{}, /^text\/plain/, 'error code: 1015', '3600'],
    [{ retryAfterMs: 66_271_000 }, /^text\/plain/, 'error code: 1015', '66271'],
    [{ shape: 'html' }, /^text\/html/, /1015/, null],
    [{ shape: 'page' }, /^text\/html/, /1015/, null],
    [{ shape: 'notice', retryAfterMs: 5000 }, /^application\/json/, /You are being blocked/, '5'],
  ])('ban %j: 429 without any of Discord’s marks', async (options, type, text, retryAfter) => {
    await using simulator = await startSimulator()
    simulator.fault('ban', options)
    const answer = await visit(simulator, '/users/@me', { as: bearer(simulator) })
    expect(answer.status).toBe(429)
    expect(answer.headers.get('content-type')).toMatch(type)
    if (typeof text === 'string') expect(answer.text).toBe(text)
    else expect(answer.text).toMatch(text)
    expect(answer.json?.retry_after).toBe(undefined)
    expect(answer.headers.get('retry-after')).toBe(retryAfter)
    expect(answer.headers.get('via')).toBe(null)
    expect([...answer.headers.keys()].filter((name) => name.startsWith('x-ratelimit'))).toEqual([])
  })

  it('block-page: 403 as an HTML page', async () => {
    await using simulator = await startSimulator()
    simulator.fault('block-page')
    const { status, headers, text } = await visit(simulator, '/users/@me', { as: bearer(simulator) })
    expect([status, headers.get('content-type'), headers.get('via')]).toEqual([403, 'text/html; charset=UTF-8', null])
    expect(text).toContain('<html')
  })

  it('server-error: 502 as a page, others as JSON, with Retry-After where wanted', async () => {
    await using simulator = await startSimulator()
    const me = () => visit(simulator, '/users/@me', { as: bearer(simulator) })
    simulator.fault('server-error')
    const bad = await me()
    expect([bad.status, bad.headers.get('content-type')]).toEqual([502, 'text/html; charset=UTF-8'])
    simulator.fault('server-error', { status: 503, retryAfterMs: 2500 })
    const unavailable = await me()
    expect([unavailable.status, unavailable.json.code, unavailable.headers.get('retry-after')]).toEqual([503, 0, '3'])
    simulator.fault('server-error', { status: 500, shape: 'html' })
    expect((await me()).headers.get('content-type')).toMatch(/html/)
  })
})

describe('blocks', () => {
  it.each(['ban', 'block-page'] as const)('%s has Discord’s own shape: 403 with code 40333', async (kind) => {
    await using simulator = await startSimulator()
    simulator.fault(kind, { shape: 'discord' })
    const { status, json, headers } = await visit(simulator, '/users/@me', { as: bearer(simulator) })
    expect([status, json]).toEqual([403, { message: 'internal network error', code: 40333 }])
    expect([...headers.keys()].filter((name) => name.startsWith('x-ratelimit'))).toEqual([])
  })

  it.each(['ban', 'block-page'] as const)('%s has Cloudflare’s JSON: RFC 9457, error 1015', async (kind) => {
    await using simulator = await startSimulator()
    simulator.fault(kind, { shape: 'json', retryAfterMs: 30_000 })
    const { status, json, headers } = await visit(simulator, '/users/@me', { as: bearer(simulator) })
    expect([status, headers.get('retry-after'), headers.get('via')]).toEqual([429, '30', null])
    expect(headers.get('content-type')).toMatch(/^application\/json/)
    expect(json).toMatchObject({ status: 429, error_code: 1015, cloudflare_error: true, retry_after: 30 })
  })

  it('block-page has text and page, too', async () => {
    await using simulator = await startSimulator()
    simulator.fault('block-page', { shape: 'text' })
    expect((await visit(simulator, '/users/@me')).text).toBe('error code: 1015')
    simulator.fault('block-page', { shape: 'page' })
    expect((await visit(simulator, '/users/@me')).status).toBe(403)
  })
})

describe('a wait that was asked for', () => {
  const path = '/users/@me/guilds'

  it.each(['rate-limit', 'sub-limit'] as const)('by %s is held against whoever comes early', async (kind) => {
    const clock = createVirtualClock()
    await using simulator = await startSimulator({ clock })
    const ask = (nth: number, to = path) => visit(simulator, to, { as: bearer(simulator, nth) })
    simulator.fault(kind, { retryAfterMs: 5000, times: 1 })
    expect((await ask(0)).json.retry_after).toBe(5)
    await clock.advance(2000)
    expect((await ask(0)).json.retry_after).toBe(3)
    expect((await ask(1)).status).toBe(200)
    expect((await ask(0, '/users/@me')).status).toBe(200)
    await clock.advance(3000)
    expect((await ask(0)).status).toBe(200)
    expect(simulator.calls.map(({ fault }) => fault)).toEqual([kind, kind, null, null, null])
  })

  it('is about every route of theirs when it is global, and about everybody on the route when it is shared', async () => {
    const clock = createVirtualClock()
    await using simulator = await startSimulator({ clock })
    const ask = async (nth: number, to: string) => (await visit(simulator, to, { as: bearer(simulator, nth) })).status
    let end = simulator.fault('rate-limit', { scope: 'global', retryAfterMs: 5000, times: 1 })
    expect([await ask(0, '/users/@me'), await ask(0, path), await ask(1, path)]).toEqual([429, 429, 200])
    end()
    expect(await ask(0, '/users/@me')).toBe(200)
    end = simulator.fault('rate-limit', { scope: 'shared', retryAfterMs: 5000, times: 1 })
    expect([await ask(0, path), await ask(2, path), await ask(2, '/users/@me')]).toEqual([429, 429, 200])
    await clock.advance(5000)
    expect(await ask(2, path)).toBe(200)
    end()
  })

  it('by a ban is held against the address, unless it named none', async () => {
    const clock = createVirtualClock()
    await using simulator = await startSimulator({ clock })
    const ask = async () => (await visit(simulator, '/users/@me', { as: bearer(simulator) })).status
    simulator.fault('ban', { retryAfterMs: 60_000, times: 1 })
    expect([await ask(), await ask()]).toEqual([429, 429])
    await clock.advance(60_000)
    simulator.fault('ban', { shape: 'page', times: 1 })
    expect([await ask(), await ask()]).toEqual([429, 200])
  })

  it('ends with the time of the fault', async () => {
    const clock = createVirtualClock()
    await using simulator = await startSimulator({ clock })
    simulator.fault('rate-limit', { retryAfterMs: 60_000, forMs: 1000 })
    expect((await visit(simulator, path, { as: bearer(simulator) })).status).toBe(429)
    await clock.advance(1000)
    expect((await visit(simulator, path, { as: bearer(simulator) })).status).toBe(200)
  })
})

describe('odd 429s', () => {
  it('sub-limit: the bucket still has room by its headers', async () => {
    await using simulator = await startSimulator()
    simulator.fault('sub-limit', { retryAfterMs: 600_000 })
    const { status, json, headers } = await visit(simulator, '/users/@me/guilds', { as: bearer(simulator) })
    expect([status, json.retry_after, headers.get('retry-after')]).toEqual([429, 600, '600'])
    expect(Number(headers.get('x-ratelimit-remaining'))).toBeGreaterThan(0)
    expect(Number(headers.get('x-ratelimit-reset-after'))).toBeLessThan(600)
  })

  it('rate-limit with scope shared has numbers of its own, as in the documentation', async () => {
    await using simulator = await startSimulator()
    simulator.fault('rate-limit', { scope: 'shared', retryAfterMs: 1_336_570 })
    const { headers } = await visit(simulator, '/users/@me/guilds', { as: bearer(simulator) })
    expect([headers.get('x-ratelimit-limit'), headers.get('x-ratelimit-remaining')]).toEqual(['10', '9'])
    expect(headers.get('x-ratelimit-reset-after')).toBe('64.570')
  })

  it('rate-limit can carry a JSON error code', async () => {
    await using simulator = await startSimulator()
    simulator.fault('rate-limit', { code: 20028 })
    expect((await visit(simulator, '/users/@me', { as: bearer(simulator) })).json).toEqual({
      message: 'You are being rate limited.',
      retry_after: 1,
      global: false,
      code: 20028,
    })
  })
})

describe('what Discord also does', () => {
  const path = '/users/@me/guilds'

  it('no-headers: no X-RateLimit headers, but the limit goes on behind them', async () => {
    await using simulator = await startSimulator({ clock: createVirtualClock() })
    simulator.fault('no-headers')
    const first = await visit(simulator, path, { as: bearer(simulator) })
    const second = await visit(simulator, path, { as: bearer(simulator) })
    expect([first.status, second.status, second.headers.get('retry-after'), second.json.retry_after]).toEqual([
      200,
      429,
      '1',
      1,
    ])
    for (const { headers } of [first, second])
      expect([...headers.keys()].filter((name) => name.startsWith('x-ratelimit'))).toEqual([])
  })

  it('bucket-change: each answer names another bucket, over one and the same limit', async () => {
    const clock = createVirtualClock()
    await using simulator = await startSimulator({ clock })
    const ask = async () => (await visit(simulator, path, { as: bearer(simulator) })).headers
    const before = (await ask()).get('x-ratelimit-bucket')
    const end = simulator.fault('bucket-change')
    const limited = await ask()
    expect(limited.get('retry-after')).toBe('1')
    const hashes = [before, limited.get('x-ratelimit-bucket'), (await ask()).get('x-ratelimit-bucket')]
    expect(new Set(hashes).size).toBe(3)
    for (const hash of hashes) expect(hash).toMatch(/^[0-9a-f]{32}$/)
    end()
    expect((await ask()).get('x-ratelimit-bucket')).toBe(before)
  })

  it('answer: any status, body and headers, and no bucket is charged', async () => {
    await using simulator = await startSimulator()
    const ask = () => visit(simulator, path, { as: bearer(simulator) })
    let end = simulator.fault('answer', { status: 401, body: { message: 'Invalid OAuth2 access token', code: 50025 } })
    expect(await ask()).toMatchObject({ status: 401, json: { code: 50025 } })
    end()
    end = simulator.fault('answer', {
      status: 404,
      body: '<p>',
      headers: { 'Content-Type': 'text/html', 'X-Test': '1' },
    })
    const page = await ask()
    expect([page.status, page.text, page.headers.get('content-type'), page.headers.get('x-test')]).toEqual([
      404,
      '<p>',
      'text/html',
      '1',
    ])
    end()
    end = simulator.fault('answer')
    expect(await ask()).toMatchObject({ status: 200, text: '' })
    end()
    end = simulator.fault('answer', { status: 204, body: 'nothing' })
    expect(await ask()).toMatchObject({ status: 204, text: '' })
    end()
    expect((await ask()).status).toBe(200)
  })

  it('short-page: a list has one entry less', async () => {
    await using simulator = await startSimulator()
    simulator.fault('short-page')
    expect((await visit(simulator, path, { as: bearer(simulator) })).json).toHaveLength(19)
    expect((await visit(simulator, '/users/@me', { as: bearer(simulator) })).status).toBe(200)
  })

  it('trickle: the head at once, then a byte at a time', async () => {
    const clock = createVirtualClock()
    await using simulator = await startSimulator({ clock })
    simulator.fault('trickle', { ms: 10, times: 1 })
    const controller = new AbortController()
    const response = await fetch(`${simulator.url}/users/@me`, {
      headers: { authorization: bearer(simulator) },
      signal: controller.signal,
    })
    expect(response.status).toBe(200)
    const reader = response.body!.getReader()
    let text = ''
    for (let i = 0; i < 3; i++) {
      await expect.poll(() => clock.sleepers, { interval: 1 }).toBe(1)
      await clock.advance(10)
      text += Buffer.from((await reader.read()).value!).toString()
    }
    expect(text).toBe('{"i')
    controller.abort()
    await expect.poll(() => clock.sleepers, { interval: 1 }).toBe(0)
  })
})

describe('damage on the wire', () => {
  it('hang: no answer until the client goes away', async () => {
    await using simulator = await startSimulator()
    simulator.fault('hang')
    const controller = new AbortController()
    const visiting = visit(simulator, '/users/@me', { as: bearer(simulator), signal: controller.signal })
    await expect.poll(() => simulator.calls.length, { interval: 1 }).toBe(1)
    expect(simulator.calls[0]).toMatchObject({ status: 0, fault: 'hang' })
    controller.abort()
    await expect(visiting).rejects.toThrow(/abort/)
  })

  it('slow: the answer comes later by so much, and is otherwise the same', async () => {
    const clock = createVirtualClock()
    await using simulator = await startSimulator({ clock })
    simulator.fault('slow', { ms: 5000 })
    let answered = false
    const visiting = visit(simulator, '/users/@me', { as: bearer(simulator) }).then((answer) => {
      answered = true
      return answer
    })
    await expect.poll(() => clock.sleepers, { interval: 1 }).toBe(1)
    await clock.advance(4999)
    expect(answered).toBe(false)
    await clock.advance(1)
    expect((await visiting).status).toBe(200)
  })

  it('slow: forgets a client that went away', async () => {
    const clock = createVirtualClock()
    await using simulator = await startSimulator({ clock })
    simulator.fault('slow')
    const controller = new AbortController()
    const visiting = visit(simulator, '/users/@me', { as: bearer(simulator), signal: controller.signal })
    await expect.poll(() => clock.sleepers, { interval: 1 }).toBe(1)
    controller.abort()
    await expect(visiting).rejects.toThrow()
    await expect.poll(() => clock.sleepers, { interval: 1 }).toBe(0)
  })

  it('truncate: less arrives than Content-Length promised', async () => {
    await using simulator = await startSimulator()
    simulator.fault('truncate', { times: 1 })
    const response = await fetch(`${simulator.url}/users/@me/guilds`, {
      headers: { authorization: bearer(simulator), 'user-agent': 'DiscordBot (x, 1)' },
    })
    expect(response.status).toBe(200)
    expect(Number(response.headers.get('content-length'))).toBeGreaterThan(2000)
    await expect(response.text()).rejects.toThrow()
    expect((await visit(simulator, '/users/@me', { as: bearer(simulator) })).status).toBe(200)
  })

  it('malformed: 200 with JSON that breaks off, but refusals stay as they are', async () => {
    await using simulator = await startSimulator()
    simulator.fault('malformed')
    const { status, headers, text } = await visit(simulator, '/users/@me/guilds', { as: bearer(simulator) })
    expect([status, headers.get('content-type')]).toEqual([200, 'application/json'])
    expect(Number(headers.get('content-length'))).toBe(text.length)
    expect(() => JSON.parse(text)).toThrow(SyntaxError)
    expect((await visit(simulator, '/users/@me', { as: 'Bearer nonsense' })).json).toMatchObject({ code: 0 })
  })

  it('reset: the connection is destroyed without an answer', async () => {
    await using simulator = await startSimulator()
    simulator.fault('reset', { times: 1 })
    const error = await visit(simulator, '/users/@me', { as: bearer(simulator) }).catch((error: unknown) => error)
    expect(codeOf(error)).toBe('ECONNRESET')
    expect(simulator.calls[0]).toMatchObject({ status: 0, fault: 'reset' })
    expect((await visit(simulator, '/users/@me', { as: bearer(simulator) })).status).toBe(200)
  })

  it('clock-skew: Date and X-RateLimit-Reset are an hour ahead, X-RateLimit-Reset-After stays right', async () => {
    const clock = createVirtualClock()
    await using simulator = await startSimulator({ clock })
    simulator.fault('clock-skew')
    const { headers } = await visit(simulator, '/users/@me/guilds', { as: bearer(simulator) })
    expect(Date.parse(headers.get('date')!)).toBe(clock.now() + 3_600_000)
    expect(Number(headers.get('x-ratelimit-reset'))).toBe((clock.now() + 3_601_000) / 1000)
    expect(headers.get('x-ratelimit-reset-after')).toBe('1.000')
    simulator.fault('clock-skew', { ms: -60_000 })
    const behind = await visit(simulator, '/users/@me', { as: bearer(simulator) })
    expect(Date.parse(behind.headers.get('date')!)).toBe(clock.now() - 60_000)
    expect(simulator.calls[1]!.at).toBe(clock.now())
  })
})
