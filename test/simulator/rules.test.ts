import { type IncomingMessage, request } from 'node:http'
import { describe, expect, it } from 'vitest'
import { createLedgerOfCalls } from '../../src/simulator/ledger-of-calls.ts'
import { createVirtualClock, startSimulator } from '../../src/simulator/simulator.ts'
import { bearer, bot, textChannel, USER_AGENT, visit } from './visitor.ts'

const limitHeaders = (headers: Headers) => [...headers.keys()].filter((name) => name.startsWith('x-ratelimit'))

describe('the guild list’s limit', () => {
  it('answers the second call within a second with 429, in Discord’s words and headers', async () => {
    const clock = createVirtualClock()
    await using simulator = await startSimulator({ clock })
    const as = bearer(simulator)
    const first = await visit(simulator, '/users/@me/guilds', { as })
    expect(first.status).toBe(200)
    expect(first.headers.get('x-ratelimit-remaining')).toBe('0')
    expect(first.headers.get('x-ratelimit-reset-after')).toBe('1.000')
    expect(first.headers.get('via')).toBe('1.1 google')
    expect(first.headers.get('retry-after')).toBe(null)
    await clock.advance(765.5)
    const second = await visit(simulator, '/users/@me/guilds', { as })
    expect(second.status).toBe(429)
    expect(second.json).toEqual({ message: 'You are being rate limited.', retry_after: 0.235, global: false })
    expect(Object.fromEntries(second.headers)).toMatchObject({
      'retry-after': '1',
      'x-ratelimit-limit': '1',
      'x-ratelimit-remaining': '0',
      'x-ratelimit-reset-after': '0.235',
      'x-ratelimit-reset': ((clock.now() + 235) / 1000).toFixed(3),
      'x-ratelimit-scope': 'user',
      'x-ratelimit-bucket': first.headers.get('x-ratelimit-bucket'),
      via: '1.1 google',
      date: 'Thu, 01 Jan 2026 00:00:00 GMT',
    })
    expect(second.headers.get('x-ratelimit-global')).toBe(null)
    await clock.advance(234.5)
    expect((await visit(simulator, '/users/@me/guilds', { as })).status).toBe(200)
  })

  it('is each user’s own, whatever token they use, under one bucket id for all', async () => {
    await using simulator = await startSimulator({ clock: createVirtualClock() })
    const path = '/users/@me/guilds'
    const first = await visit(simulator, path, { as: bearer(simulator) })
    const other = await visit(simulator, path, { as: bearer(simulator, 1) })
    const renewed = await visit(simulator, path, { as: `Bearer ${simulator.issueToken(simulator.users[0]!.id)}` })
    expect([first.status, other.status, renewed.status]).toEqual([200, 200, 429])
    expect(other.headers.get('x-ratelimit-bucket')).toBe(first.headers.get('x-ratelimit-bucket'))
  })

  it('can be a fixed window', async () => {
    const clock = createVirtualClock()
    const userGuildsLimit = { limit: 3, windowMs: 2000, kind: 'fixed' as const }
    await using simulator = await startSimulator({ clock, userGuildsLimit })
    const ask = () => visit(simulator, '/users/@me/guilds', { as: bearer(simulator) })
    const seen: unknown[] = []
    for (const waitMs of [0, 500, 500, 500, 500]) {
      await clock.advance(waitMs)
      const { status, headers } = await ask()
      seen.push([status, headers.get('x-ratelimit-remaining'), headers.get('x-ratelimit-reset-after')])
    }
    expect(seen).toEqual([
      [200, '2', '2.000'],
      [200, '1', '1.500'],
      [200, '0', '1.000'],
      [429, '0', '0.500'],
      [200, '2', '2.000'],
    ])
  })

  it('lets exactly one of many simultaneous calls through', async () => {
    await using simulator = await startSimulator({ clock: createVirtualClock() })
    const calls = Array.from({ length: 20 }, () => visit(simulator, '/users/@me/guilds', { as: bearer(simulator) }))
    const statuses = (await Promise.all(calls)).map(({ status }) => status).sort()
    expect(statuses).toEqual([200, ...Array(19).fill(429)])
  })
})

describe('channel messages', () => {
  it('have one fixed window of 5 a second per channel, shared by GET and POST', async () => {
    const clock = createVirtualClock()
    await using simulator = await startSimulator({ clock })
    const as = bot(simulator)
    const post = (channel: number) =>
      visit(simulator, `/channels/${textChannel(simulator, channel)}/messages`, {
        as,
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: '{"content":"hello there"}',
      })
    const sent = await post(1)
    expect(sent.json).toMatchObject({ channel_id: textChannel(simulator, 1), content: 'hello there' })
    for (let i = 0; i < 4; i++)
      expect((await visit(simulator, `/channels/${textChannel(simulator, 1)}/messages`, { as })).status).toBe(200)
    const refused = await post(1)
    expect([refused.status, refused.json.retry_after]).toEqual([429, 1])
    expect((await post(2)).status).toBe(200)
    await clock.advance(1000)
    expect((await post(1)).headers.get('x-ratelimit-remaining')).toBe('4')
  })

  it('of twenty channels drain at a hundred a second but for the bot’s global limit of fifty', async () => {
    const clock = createVirtualClock()
    await using simulator = await startSimulator({ clock })
    const channels = Array.from({ length: 100 }, (_, i) => (i % 20) + 1)
    const ask = () =>
      Promise.all(
        channels.map((nth) =>
          visit(simulator, `/channels/${textChannel(simulator, nth)}/messages`, { as: bot(simulator) }),
        ),
      )
    const answers = await ask()
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(50)
    const refused = answers.filter(({ status }) => status === 429)
    for (const { headers, json } of refused) {
      expect(json).toEqual({ message: 'You are being rate limited.', retry_after: 1, global: true })
      expect(limitHeaders(headers).sort()).toEqual(['x-ratelimit-global', 'x-ratelimit-scope'])
      expect([headers.get('x-ratelimit-global'), headers.get('x-ratelimit-scope')]).toEqual(['true', 'global'])
      expect([headers.get('retry-after'), headers.get('via')]).toEqual(['1', '1.1 google'])
    }
    expect((await visit(simulator, '/users/@me', { as: bearer(simulator) })).status).toBe(200)
    await clock.advance(1000)
    expect((await visit(simulator, '/users/@me', { as: bot(simulator) })).status).toBe(200)
  })
})

describe('the global limit', () => {
  it('is per user for bearer tokens, and per address for calls without any', async () => {
    const options = { userGlobalPerSecond: 2, addressGlobalPerSecond: 3, clock: createVirtualClock() }
    await using simulator = await startSimulator(options)
    const statuses = async (as: string | undefined, times: number) => {
      const seen: number[] = []
      for (let i = 0; i < times; i++)
        seen.push((await visit(simulator, '/users/@me', as === undefined ? {} : { as })).status)
      return seen
    }
    expect(await statuses(bearer(simulator), 3)).toEqual([200, 200, 429])
    expect(await statuses(bearer(simulator, 1), 2)).toEqual([200, 200])
    expect(await statuses(undefined, 4)).toEqual([401, 401, 401, 429])
    expect(await statuses('Bearer nonsense', 5)).toEqual([401, 401, 401, 401, 401])
  })
})

describe('credentials', () => {
  it.each([
    ['no token', undefined],
    ['a made-up token', 'Bearer nonsense'],
    ['a bot token as bearer', 'Bearer MTIz.abc.def'],
    ['a wrong bot token', 'Bot nonsense'],
    ['another scheme', 'Basic abc'],
  ])('answer %s with 401 and code 0', async (_name, as) => {
    await using simulator = await startSimulator()
    const answer = await visit(simulator, '/users/@me', as === undefined ? {} : { as })
    expect([answer.status, answer.json]).toEqual([401, { message: '401: Unauthorized', code: 0 }])
    expect(limitHeaders(answer.headers)).toEqual([])
  })

  it('of the wrong kind are 401, not 403', async () => {
    await using simulator = await startSimulator()
    const guild = simulator.users[0]!.guilds[0]!.id
    expect((await visit(simulator, `/guilds/${guild}`, { as: bearer(simulator) })).status).toBe(401)
    expect((await visit(simulator, '/oauth2/@me', { as: bot(simulator) })).status).toBe(401)
  })

  it('without the scope are 403 with code 50026', async () => {
    await using simulator = await startSimulator()
    const user = simulator.users[0]!
    const as = `Bearer ${simulator.issueToken(user.id, { scopes: ['identify'] })}`
    const { status, json } = await visit(simulator, '/users/@me/guilds', { as })
    expect([status, json.code]).toEqual([403, 50026])
    const me = await visit(simulator, '/users/@me', { as })
    expect(me.json).toMatchObject({ id: user.id, username: user.username, discriminator: '0' })
    expect(me.json.email).toBe(undefined)
    expect((await visit(simulator, '/users/@me', { as: bearer(simulator) })).json.email).toContain('@')
    expect((await visit(simulator, `/users/@me/guilds/${user.guilds[0]!.id}/member`, { as })).status).toBe(403)
  })

  it('expire after seven days', async () => {
    const clock = createVirtualClock()
    await using simulator = await startSimulator({ clock })
    await clock.advance(604_799_999)
    expect((await visit(simulator, '/users/@me', { as: bearer(simulator) })).status).toBe(200)
    await clock.advance(1)
    expect((await visit(simulator, '/users/@me', { as: bearer(simulator) })).status).toBe(401)
  })

  it('are described by /oauth2/@me: application, scopes, expiry and user', async () => {
    const clock = createVirtualClock()
    await using simulator = await startSimulator({ clock })
    const user = simulator.users[0]!
    const own = await visit(simulator, '/oauth2/@me', { as: bearer(simulator) })
    expect(own.json.application).toMatchObject({ id: simulator.clientId, verify_key: simulator.publicKey })
    expect(own.json.scopes).toEqual(['identify', 'email', 'guilds', 'guilds.members.read'])
    expect(Date.parse(own.json.expires)).toBe(clock.now() + 604_800_000)
    expect(own.json.user.id).toBe(user.id)
    expect(limitHeaders(own.headers)).toEqual([])
    const token = simulator.issueToken(user.id, { scopes: ['guilds'], lifetimeMs: 1000, applicationId: '77' })
    const foreign = await visit(simulator, '/oauth2/@me', { as: `Bearer ${token}` })
    expect(foreign.json).toMatchObject({ application: { id: '77' }, scopes: ['guilds'] })
    expect(foreign.json.user).toBe(undefined)
  })

  it('are refused after revoke, for that user alone', async () => {
    await using simulator = await startSimulator()
    const more = simulator.issueToken(simulator.users[0]!.id)
    simulator.revoke(simulator.users[0]!.id)
    expect((await visit(simulator, '/users/@me', { as: bearer(simulator) })).status).toBe(401)
    expect((await visit(simulator, '/users/@me', { as: `Bearer ${more}` })).status).toBe(401)
    expect((await visit(simulator, '/users/@me', { as: bearer(simulator, 1) })).status).toBe(200)
    expect(simulator.calls[0]!.userId).toBe(simulator.users[0]!.id)
  })

  it('show the user’s own member object', async () => {
    await using simulator = await startSimulator()
    const user = simulator.users[0]!
    const member = (guild: string) => visit(simulator, `/users/@me/guilds/${guild}/member`, { as: bearer(simulator) })
    expect((await member(user.guilds[0]!.id)).json.user.id).toBe(user.id)
    expect(await member('1')).toMatchObject({ status: 404, json: { code: 10004 } })
  })
})

describe('requests that Discord would not understand', () => {
  it('get 404 and 405 with code 0', async () => {
    await using simulator = await startSimulator()
    const as = bot(simulator)
    expect(await visit(simulator, '/nowhere', { as })).toMatchObject({
      status: 404,
      json: { message: '404: Not Found', code: 0 },
    })
    expect(await visit(simulator, '/guilds/abc', { as })).toMatchObject({ status: 404 })
    expect(await visit(simulator, '/users/@me', { as, method: 'DELETE' })).toMatchObject({
      status: 405,
      json: { message: '405: Method Not Allowed', code: 0 },
    })
  })

  it('are the same under /api, /api/v10 and /, and with @ escaped', async () => {
    await using simulator = await startSimulator()
    const { origin } = new URL(simulator.url)
    for (const path of ['/api/v10/users/@me', '/api/users/@me', '/users/@me', '/api/v10/users/%40me'])
      expect((await visit(simulator, origin + path, { as: bearer(simulator) })).status).toBe(200)
    expect((await visit(simulator, `${origin}/users/%E0%A4%A`, { as: bearer(simulator) })).status).toBe(404)
    expect(new Set(simulator.calls.slice(0, 4).map(({ route }) => route))).toEqual(new Set(['/users/@me']))
  })

  it.each([
    'curl/8.9.1',
    'python-requests/2.32.3',
    'node',
    'Ruby',
    'DiscordBot (https://example.com, 1)',
    'Mozilla/5.0',
  ])('are answered for User-Agent %s with a user’s token', async (agent) => {
    await using simulator = await startSimulator()
    const answer = await visit(simulator, '/users/@me', {
      as: bearer(simulator),
      headers: { 'user-agent': agent },
    })
    expect(answer.status).toBe(200)
  })

  it.each(['Python-urllib/3.8', 'Java/1.8.0_292', '', 'Mozilla/5.0 (X11; Linux x86_64)'])(
    'of the bot get 403 with code 40333 for User-Agent %j, which is nothing against the address',
    async (agent) => {
      await using simulator = await startSimulator({ invalidLimit: { count: 1, windowMs: 60_000 } })
      const headers = { 'user-agent': agent }
      for (let i = 0; i < 3; i++) {
        const refused = await visit(simulator, '/users/@me', { as: bot(simulator), headers })
        expect([refused.status, refused.json]).toEqual([403, { message: 'internal network error', code: 40333 }])
        expect(refused.headers.get('via')).toBe(null)
      }
      expect(simulator.calls.some(({ wouldBan }) => wouldBan)).toBe(false)
      expect((await visit(simulator, '/users/@me', { as: bot(simulator) })).status).toBe(200)
      const token = await visit(simulator, '/oauth2/token', { method: 'POST', headers, body: new URLSearchParams() })
      expect(token.json).toEqual({ error: 'invalid_client' })
    },
  )

  it('need the documented User-Agent where that is wanted, but never at the token endpoint', async () => {
    await using strict = await startSimulator({ requireUserAgent: true })
    const headers = { 'user-agent': 'node-fetch' }
    expect((await visit(strict, '/users/@me', { as: bearer(strict), headers })).json.code).toBe(40333)
    expect((await visit(strict, '/users/@me', { as: bearer(strict) })).status).toBe(200)
    const token = await visit(strict, '/oauth2/token', { method: 'POST', headers, body: new URLSearchParams() })
    expect(token.json).toEqual({ error: 'invalid_client' })
  })

  it.each([
    ['no Content-Type', {}, '{"content":"x"}', 400, 50035],
    ['text', { 'content-type': 'text/plain' }, '{"content":"x"}', 400, 50035],
    ['broken JSON', { 'content-type': 'application/json' }, '{"content":', 400, 50109],
    ['no content', { 'content-type': 'application/json' }, '{}', 400, 50006],
    ['null', { 'content-type': 'application/json' }, 'null', 400, 50006],
    ['too long content', { 'content-type': 'application/json' }, `{"content":"${'x'.repeat(2001)}"}`, 400, 50035],
    ['over a mebibyte', { 'content-type': 'application/json' }, 'x'.repeat(1024 * 1024 + 1), 413, 40005],
  ])('a body with %s', async (_name, headers, body, status, code) => {
    await using simulator = await startSimulator()
    const answer = await visit(simulator, `/channels/${textChannel(simulator)}/messages`, {
      as: bot(simulator),
      method: 'POST',
      headers: { 'user-agent': USER_AGENT, ...headers },
      body: new TextEncoder().encode(body),
    })
    expect([answer.status, answer.json.code]).toEqual([status, code])
  })
})

describe('the API', () => {
  it('may be called from any page', async () => {
    await using simulator = await startSimulator()
    const origin = 'https://app.example'
    const asked = { origin, 'access-control-request-method': 'GET', 'access-control-request-headers': 'authorization' }
    const { port } = new URL(simulator.url)
    const preflight = await new Promise<IncomingMessage>((resolve, reject) =>
      request({ port, path: '/api/v10/users/@me', method: 'OPTIONS', headers: asked }, resolve)
        .on('error', reject)
        .end(),
    )
    preflight.resume()
    expect([preflight.statusCode, preflight.headers['access-control-allow-headers']]).toEqual([204, 'authorization'])
    expect(simulator.calls).toEqual([])
    const answer = await new Promise<IncomingMessage>((resolve, reject) =>
      request({ port, path: '/api/v10/users/@me', headers: { origin, 'user-agent': 'x' } }, resolve)
        .on('error', reject)
        .end(),
    )
    answer.resume()
    expect([answer.statusCode, answer.headers['access-control-allow-origin']]).toEqual([401, '*'])
    expect(answer.headers['access-control-expose-headers']).toContain('Retry-After')
  })

  it('has versions 6 to 10, and refuses any other with code 50041', async () => {
    await using simulator = await startSimulator()
    const { origin } = new URL(simulator.url)
    const status = async (version: number) => {
      const { status, json } = await visit(simulator, `${origin}/api/v${version}/users/@me`, { as: bearer(simulator) })
      return [status, json.code]
    }
    expect([await status(10), await status(9), await status(99), await status(1)]).toEqual([
      [200, undefined],
      [200, undefined],
      [400, 50041],
      [400, 50041],
    ])
  })

  it('is compressed where that is switched on', async () => {
    await using simulator = await startSimulator({ compression: true })
    const list = await visit(simulator, '/users/@me/guilds', { as: bearer(simulator) })
    expect([list.headers.get('content-encoding'), list.json.length]).toEqual(['gzip', 20])
    const me = await visit(simulator, '/users/@me', { as: bearer(simulator) })
    expect(me.headers.get('content-encoding')).toBe(null)
  })
})

describe('the invalid-request ban', () => {
  it('comes with the 401, 403 or 429 that goes over the limit, and lasts', async () => {
    const clock = createVirtualClock()
    const invalidLimit = { count: 3, windowMs: 600_000, banMs: 7_200_000 }
    await using simulator = await startSimulator({ clock, invalidLimit })
    const as = bearer(simulator)
    const narrow = `Bearer ${simulator.issueToken(simulator.users[1]!.id, { scopes: [] })}`
    await visit(simulator, '/users/@me', { as: 'Bearer nonsense' })
    await visit(simulator, '/users/@me', { as: narrow })
    await visit(simulator, '/users/@me/guilds', { as })
    await visit(simulator, '/users/@me/guilds', { as })
    expect((await visit(simulator, '/users/@me', { as })).status).toBe(200)
    await visit(simulator, '/users/@me', {})
    const banned = await visit(simulator, '/users/@me', { as })
    expect([banned.status, banned.text]).toEqual([429, 'error code: 1015'])
    expect(Object.fromEntries(banned.headers)).toMatchObject({ 'retry-after': '7200', server: 'cloudflare' })
    expect(banned.headers.get('content-type')).toMatch(/^text\/plain/)
    expect([...limitHeaders(banned.headers), banned.headers.get('via')]).toEqual([null])
    expect(simulator.calls.map(({ status, wouldBan }) => [status, wouldBan])).toEqual([
      [401, false],
      [403, false],
      [200, false],
      [429, false],
      [200, false],
      [401, true],
      [429, true],
    ])
    await clock.advance(7_200_000)
    expect((await visit(simulator, '/users/@me', { as })).status).toBe(200)
  })

  it('does not count 429s of scope shared', async () => {
    await using simulator = await startSimulator({ invalidLimit: { count: 1, windowMs: 1000 } })
    const stop = simulator.fault('rate-limit', { scope: 'shared' })
    for (let i = 0; i < 5; i++) await visit(simulator, '/users/@me', { as: bearer(simulator) })
    stop()
    expect(simulator.calls.some(({ wouldBan }) => wouldBan)).toBe(false)
    expect((await visit(simulator, '/users/@me', { as: bearer(simulator) })).status).toBe(200)
  })
})

describe('the ledger of calls', () => {
  it('has every call in order, with time, method, route, user, status and scope', async () => {
    const clock = createVirtualClock()
    await using simulator = await startSimulator({ clock })
    const user = simulator.users[0]!
    await visit(simulator, '/users/@me/guilds', { as: bearer(simulator) })
    await clock.advance(10)
    await visit(simulator, '/users/@me/guilds?limit=5', { as: bearer(simulator) })
    await visit(simulator, `/guilds/${user.guilds[0]!.id}/members/${user.id}`, { as: bot(simulator) })
    await visit(simulator, '/secret/path')
    const at = clock.now()
    const rest = { wouldBan: false, fault: null }
    const route = '/users/@me/guilds'
    expect(simulator.calls).toMatchObject([
      { at: at - 10, method: 'GET', route, query: '', userId: user.id, status: 200, scope: null, ...rest },
      { at, method: 'GET', route, query: 'limit=5', userId: user.id, status: 429, scope: 'user', ...rest },
      {
        at,
        method: 'GET',
        route: '/guilds/:guild/members/:user',
        path: `/guilds/${user.guilds[0]!.id}/members/${user.id}`,
        userId: simulator.botId,
        status: 200,
        scope: null,
        ...rest,
      },
      { at, method: 'GET', route: '/secret/path', userId: null, status: 404, scope: null, ...rest },
    ])
  })

  it('shows what was sent, but no token, cookie, code or secret', async () => {
    await using simulator = await startSimulator()
    const { accessToken } = simulator.users[0]!
    await visit(simulator, '/users/@me?token=s3cret&a=b', {
      as: bearer(simulator),
      headers: { cookie: 's3cret=1', 'x-audit-log-reason': 'because' },
    })
    const form = { client_id: simulator.clientId, client_secret: simulator.clientSecret, code: 's3cret', a: 'b' }
    await visit(simulator, '/oauth2/token', { method: 'POST', body: new URLSearchParams(form) })
    await visit(simulator, '/channels/1/messages', {
      as: bot(simulator),
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{"content":"hello"}',
    })
    const [first, second, third] = simulator.calls
    expect(first).toMatchObject({ query: 'token=***&a=b', headers: { authorization: 'Bearer ***', cookie: '***' } })
    expect(first!.headers['x-audit-log-reason']).toBe('because')
    expect(second!.body).toEqual({ client_id: simulator.clientId, client_secret: '***', code: '***', a: 'b' })
    expect(third!.body).toEqual({ content: 'hello' })
    const text = JSON.stringify(simulator.calls)
    for (const secret of ['s3cret', accessToken, simulator.botToken, simulator.clientSecret])
      expect(text).not.toContain(secret)
  })

  it('keeps headers and bodies of the last ten thousand calls', () => {
    const ledger = createLedgerOfCalls(100_000)
    const call = (nth: number) =>
      ({ at: nth, headers: { a: 'b' }, body: nth }) as unknown as Parameters<typeof ledger.write>[0]
    for (let nth = 0; nth < 25_000; nth++) ledger.write(call(nth), 1)
    expect(ledger.calls.filter(({ body }) => body !== undefined)).toHaveLength(10_000)
    expect(ledger.calls.at(-10_000)!.body).toBe(15_000)
    expect(ledger.calls.at(-10_001)!.headers).toEqual({})
    ledger.write(call(1), 40 * 1024 * 1024)
    ledger.write(call(2), 1)
    expect(ledger.calls.filter(({ body }) => body !== undefined)).toEqual([call(2)])
    expect(ledger.total).toBe(25_002)
  })

  it('keeps at most maxCalls, dropping the oldest', async () => {
    await using simulator = await startSimulator({ maxCalls: 3 })
    for (let nth = 0; nth < 5; nth++) await visit(simulator, '/users/@me', { as: bearer(simulator, nth) })
    expect(simulator.calls.map(({ userId }) => userId)).toEqual(simulator.users.slice(2, 5).map(({ id }) => id))
    await using silent = await startSimulator({ maxCalls: 0 })
    await visit(silent, '/users/@me')
    expect(silent.calls).toEqual([])
  })
})

describe('latency', () => {
  it('passes half before the rule book looks and half before the answer leaves', async () => {
    const clock = createVirtualClock()
    await using simulator = await startSimulator({ clock, latencyMs: 100 })
    const start = clock.now()
    let answered = false
    const visiting = visit(simulator, '/users/@me', { as: bearer(simulator) }).then((answer) => {
      answered = true
      return answer
    })
    await expect.poll(() => clock.sleepers, { interval: 1 }).toBe(1)
    await clock.advance(49)
    expect(simulator.calls).toHaveLength(0)
    await clock.advance(1)
    expect(simulator.calls).toMatchObject([{ at: start + 50, status: 200 }])
    await clock.advance(49)
    expect(answered).toBe(false)
    await clock.advance(1)
    expect((await visiting).status).toBe(200)
    expect(clock.sleepers).toBe(0)
  })

  it('can be a range drawn from the seed', async () => {
    const run = async () => {
      const clock = createVirtualClock()
      await using simulator = await startSimulator({ clock, latencyMs: [20, 200], seed: 3 })
      const took: number[] = []
      for (let i = 0; i < 3; i++) {
        const start = clock.monotonic()
        const visiting = visit(simulator, '/users/@me', { as: bearer(simulator) })
        await expect.poll(() => clock.sleepers, { interval: 1 }).toBe(1)
        await clock.advance(100)
        took.push(simulator.calls[i]!.at - start)
        await clock.advance(100)
        await visiting
      }
      return took
    }
    const took = await run()
    expect(new Set(took).size).toBe(3)
    expect(await run()).toEqual(took)
  })

  it('sets no timer at 0', async () => {
    const clock = createVirtualClock()
    await using simulator = await startSimulator({ clock })
    await visit(simulator, '/users/@me', { as: bearer(simulator) })
    expect(clock.sleepers).toBe(0)
  })
})
