import { createServer } from 'node:http'
import { connect } from 'node:net'
import express from 'express'
import { createGuard, createHoldfast, setDefaultHoldfast } from 'holdfast'
import { guard as expressGuard, type NodeRequest, type NodeResponse } from 'holdfast/express'
import { guardProxy, withGuard as nextGuard } from 'holdfast/next'
import { withGuard } from 'holdfast/web'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'

const open: Array<() => unknown> = []
beforeEach(() => {
  const holdfast = createHoldfast()
  setDefaultHoldfast(holdfast)
  open.push(() => holdfast.close())
})
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close()
  setDefaultHoldfast(undefined)
  vi.restoreAllMocks()
})

async function serve(app: Parameters<typeof createServer>[1]): Promise<number> {
  const server = createServer(app)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  open.push(() => {
    server.closeAllConnections()
    return new Promise((resolve) => server.close(resolve))
  })
  return (server.address() as { port: number }).port
}

describe('on node:http and Express', () => {
  test('clients that leave while they are identified leave no place behind, and no handler runs for them', async () => {
    let asked = 0
    let answer: () => void = () => {}
    const identified = new Promise<undefined>((resolve) => {
      answer = () => resolve(undefined)
    })
    const middleware = expressGuard({
      shedding: { maxInFlight: 5 },
      rules: { '*': '1000/minute' },
      identify: (request) => {
        if (request.header('x-slow') === null) return undefined
        asked++
        return identified
      },
    })
    let ran = 0
    const port = await serve((request, response) =>
      middleware(request as unknown as NodeRequest, response as unknown as NodeResponse, () => {
        ran++
        response.end('in')
      }),
    )
    const sockets = Array.from({ length: 4 }, () => {
      const socket = connect(port, '127.0.0.1')
      socket.write('POST /api/x HTTP/1.1\r\nhost: x\r\nx-slow: 1\r\ncontent-length: 0\r\n\r\n')
      return socket
    })
    await expect.poll(() => asked).toBe(4)
    for (const socket of sockets) socket.destroy()
    await new Promise((resolve) => setTimeout(resolve, 50))
    answer()
    await new Promise((resolve) => setTimeout(resolve, 20))
    expect(ran).toBe(0)
    const statuses = await Promise.all(
      Array.from({ length: 3 }, async () => (await fetch(`http://127.0.0.1:${port}/api/x`, { method: 'POST' })).status),
    )
    expect(statuses).toEqual([200, 200, 200])
    await middleware.close()
  })

  test('Express’s own trust proxy says who is asking; true, which believes anybody, is not believed and told of', async () => {
    const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
    for (const [setting, statuses] of [[1, [200, 200]] as const, [true, [200, 429]] as const]) {
      const app = express()
      app.set('trust proxy', setting)
      const middleware = expressGuard({ shedding: false, rules: { '*': '1/minute' } })
      app.use(middleware)
      app.use((_request, response) => void response.end())
      const port = await serve(app)
      const from = async (address: string) =>
        (await fetch(`http://127.0.0.1:${port}/x`, { method: 'POST', headers: { 'x-forwarded-for': address } })).status
      expect([await from('6.6.6.6'), await from('7.7.7.7')], String(setting)).toEqual(statuses)
      await middleware.close()
    }
    expect(warn.mock.calls.map(([text]) => String(text))).toContainEqual(
      expect.stringContaining("'trust proxy' is true"),
    )
  })

  test('what a rule of the app’s own throws goes to next, and leaves the server up', async () => {
    const app = express()
    app.use(
      expressGuard({
        guard: createGuard({ shedding: false, rules: { '*': { limit: 5, windowMs: 1_000, cost: () => -1 } } }),
      }),
    )
    app.use(
      ((error: { code: string }, _q: unknown, response: express.Response, _n: unknown) =>
        void response.status(500).end(error.code)) as never,
    )
    const port = await serve(app)
    expect(await (await fetch(`http://127.0.0.1:${port}/x`)).text()).toBe('INVALID_OPTION')
  })
})

describe('in front of what was answered already, and in a dry run', () => {
  test('a guard that cannot write its headers any more goes to next with an error, and keeps no place', async () => {
    const app = express()
    const middleware = expressGuard({
      guard: createGuard({ rules: { '*': '1000/minute' }, shedding: { maxInFlight: 2 } }),
    })
    app.use((request, response, next) => {
      if (request.path === '/begun') response.write('begun')
      next()
    })
    app.use(middleware)
    app.use((_request, response) => void response.end('in'))
    app.use(((_error: unknown, _q: unknown, response: express.Response, _n: unknown) => void response.end()) as never)
    const port = await serve(app)
    const post = (path: string) => fetch(`http://127.0.0.1:${port}${path}`, { method: 'POST' })
    for (let time = 0; time < 3; time++) expect(await (await post('/begun')).text()).toBe('begun')
    expect((await post('/x')).status).toBe(200)
    await middleware.close()
  })

  test('arrive in front of check: each request is told of and passes once, and none is under way for ever', async () => {
    const app = express()
    const made = createGuard({
      dryRun: true,
      addressPerMinute: 1,
      deny: { addresses: ['203.0.113.0/24'] },
      rules: { '*': '1000/minute' },
      shedding: { maxInFlight: 3 },
      remoteAddress: (request) => request.header('x-from') ?? undefined,
    })
    const middleware = expressGuard({ guard: made })
    app.use(middleware.arrive, middleware)
    app.use((_request, response) => void response.end('in'))
    const port = await serve(app)
    const post = async (from: string) =>
      (await fetch(`http://127.0.0.1:${port}/x`, { method: 'POST', headers: { 'x-from': from } })).status
    const all = []
    for (let time = 0; time < 5; time++) all.push(await post('198.51.100.1'))
    all.push(await post('203.0.113.7'))
    expect(all).toEqual([200, 200, 200, 200, 200, 200])
    expect(made.stats()).toMatchObject({ passed: 6, refused: 5, shed: 0 })
    await middleware.close()
  })
})

describe('around web-standard handlers', () => {
  const base = { remoteAddress: () => '203.0.113.7', shedding: { maxInFlight: 1 } } as const
  const request = (init: RequestInit = {}) => new Request('http://app.example/api/x', { method: 'POST', ...init })

  test.each<[string, () => never | Response]>([
    ['returns nothing', () => undefined as never],
    [
      'throws',
      () => {
        throw new Error('a bug')
      },
    ],
    [
      'throws a Response',
      () => {
        throw new Response(null, { status: 409 })
      },
    ],
  ])('a handler that %s gives its place back', async (_what, handler) => {
    const guarded = withGuard(handler, { ...base, rules: { '*': '1000/minute' } })
    for (let time = 0; time < 5; time++) {
      const outcome = await guarded(request()).catch((thrown: unknown) => thrown)
      if (outcome instanceof Response) expect([outcome.status, outcome.headers.has('ratelimit')]).toEqual([409, true])
    }
    await guarded.close()
  })

  test('a thrown Response settles with its status, notFound() and redirect() of Next with theirs', async () => {
    const digests = ['NEXT_HTTP_ERROR_FALLBACK;409', 'NEXT_REDIRECT;replace;/x;307;']
    for (const [index, rules] of [{ '*': '1/month' } as const, { '*': '1/month' } as const].entries()) {
      const guarded = nextGuard(
        () => {
          throw Object.assign(new Error('control flow'), { digest: digests[index] })
        },
        { ...base, shedding: false, rules, refundOn: index === 0 ? [409] : [307] },
      )
      for (let time = 0; time < 3; time++) await expect(guarded(request())).rejects.toThrow('control flow')
      await guarded.close()
    }
  })

  test('no handler runs for a client that has left, and its place is free', async () => {
    let ran = 0
    const guarded = withGuard(() => new Response(String(++ran)), { ...base, rules: { '*': '1000/minute' } })
    for (let time = 0; time < 3; time++) await guarded(request({ signal: AbortSignal.abort() }))
    expect(ran).toBe(0)
    expect(await (await guarded(request())).text()).toBe('1')
    await guarded.close()
  })

  test('a handler that never ends gives its place back when its client leaves', async () => {
    const guarded = withGuard(
      (asked: Request) => (asked.headers.has('x-hang') ? new Promise<Response>(() => {}) : new Response()),
      {
        ...base,
        rules: { '*': '1000/minute' },
      },
    )
    const leaving = new AbortController()
    void guarded(request({ headers: { 'x-hang': '1' }, signal: leaving.signal }))
    expect((await guarded(request())).status).toBe(503)
    leaving.abort()
    expect((await guarded(request())).status).toBe(200)
    await guarded.close()
  })
})

describe('guardProxy, composed', () => {
  const options = { remoteAddress: () => '203.0.113.7', shedding: false, rules: { '/api/*': '9/hour' } } as const
  const request = (path = '/api/x', init: RequestInit = {}) => new Request(`http://app.example${path}`, init)
  /** What Next makes of an answer for the route behind: the request's headers. */
  const behind = (answer: Response, path = '/api/x') =>
    request(path, {
      headers: (answer.headers.get('x-middleware-override-headers') ?? '')
        .split(',')
        .map((name): [string, string] => [name, answer.headers.get(`x-middleware-request-${name}`) ?? '']),
    })
  const route = () => nextGuard(() => new Response('route'), { ...options, rules: { '/api/*': '1/hour' } })
  const remaining = (answer: Response) => answer.headers.get('x-ratelimit-remaining')

  test('a proxy that sets headers of the request keeps them, and the route takes the decision over', async () => {
    const proxy = guardProxy(
      options,
      () =>
        new Response(null, {
          headers: {
            'x-middleware-next': '1',
            'x-middleware-override-headers': 'x-own',
            'x-middleware-request-x-own': 'yes',
            'x-page': 'seen',
          },
        }),
    )
    const guarded = route()
    for (let time = 0; time < 3; time++) {
      const answer = await proxy(request())
      expect([answer.headers.get('x-page'), remaining(answer)]).toEqual(['seen', String(8 - time)])
      const asked = behind(answer)
      expect(asked.headers.get('x-own')).toBe('yes')
      expect(remaining(await guarded(asked))).toBe(String(8 - time))
    }
  })

  test('a rewrite goes on, an answer of the proxy’s own is the answer and settles with its status', async () => {
    const conflict = guardProxy(
      { ...options, rules: { '/api/*': '1/month' } },
      () => new Response('mine', { status: 409 }),
    )
    for (let time = 0; time < 3; time++) {
      const answer = await conflict(request())
      expect([answer.status, await answer.text(), answer.headers.get('x-middleware-next')]).toEqual([409, 'mine', null])
    }
    const rewriting = guardProxy(
      options,
      () => new Response(null, { headers: { 'x-middleware-rewrite': 'http://app.example/api/y' } }),
    )
    const answer = await rewriting(request())
    expect(answer.headers.get('x-middleware-rewrite')).toBe('http://app.example/api/y')
    expect(remaining(await route()(behind(answer)))).toBe('8')
  })

  test('a decision that was handed on is good for one request, a made-up one for none', async () => {
    const guarded = route()
    const answer = await guardProxy(options)(request())
    expect(remaining(await guarded(behind(answer)))).toBe('8')
    expect(remaining(await guarded(behind(answer)))).toBe('0')
    expect((await guarded(request('/api/x', { headers: { 'x-holdfast-decision': 'made-up' } }))).status).toBe(429)
  })

  test('what the image optimizer fetches for itself counts for nobody, once for each that was counted', async () => {
    const proxy = guardProxy({ ...options, rules: { '/img/*': '1/hour', '/_next/image': '100/hour' } })
    const inner = async () => (await proxy(request('/img/1.png?x=1'))).status
    const outer = () =>
      proxy(
        request(`/_next/image?url=${encodeURIComponent('/img/1.png?x=1')}&w=64&q=75`, {
          headers: { host: 'app.example' },
        }),
      )
    for (let time = 0; time < 5; time++) {
      await outer()
      expect(await inner()).toBe(200)
    }
    // Not asked for: it counts like any other.
    expect([await inner(), await inner()]).toEqual([200, 429])
  })
})
