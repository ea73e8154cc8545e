import { type ApiClientOptions, ApiError, createApiClient, isRateLimitError } from 'holdfast/browser'
import { describe, expect, it, vi } from 'vitest'
import { foreign, refusal, startApiServer } from './api-server.ts'
import { inVirtualTime, pass, settle, watch } from './virtual-time.ts'

inVirtualTime()

/** Refuses the first `count` calls with what `refuse` says. */
function refusing(count: number, refuse: () => Response) {
  const server = startApiServer(() => (server.calls.length <= count ? refuse() : Response.json({ ok: true })))
  return server
}

const clientOf = (server: ReturnType<typeof startApiServer>, options: ApiClientOptions = {}) =>
  createApiClient({ baseUrl: 'http://app.example/', fetch: server.fetch as typeof fetch, ...options })

describe('a refused request', () => {
  it.each<[string, () => Response, number]>([
    ['Retry-After in seconds', () => foreign(429, { 'retry-after': '3' }), 3000],
    ['Retry-After with decimals', () => foreign(429, { 'retry-after': '0.5' }), 500],
    // The answer is made 10 ms after midnight, and dates have no milliseconds.
    ['Retry-After as a date', () => foreign(503, { 'retry-after': new Date(Date.now() + 4000).toUTCString() }), 3990],
    [
      'Retry-After as a date, by a server whose clock is a day off',
      () =>
        foreign(429, {
          date: new Date(Date.now() + 86_400_000).toUTCString(),
          'retry-after': new Date(Date.now() + 86_405_000).toUTCString(),
        }),
      5000,
    ],
    ['Retry-After before the body', () => foreign(429, { 'retry-after': '2' }, '{"retryAfterSeconds":9}'), 2000],
    ['retryAfterSeconds', () => foreign(429, {}, '{"retryAfterSeconds":2,"retryAfter":9}'), 2000],
    [
      'retryAfterAt',
      () => foreign(429, {}, JSON.stringify({ retryAfterAt: new Date(Date.now() + 2000), retryAfter: 9 })),
      2000,
    ],
    [
      'retryAfter in seconds',
      () => foreign(429, { ratelimit: '"a";r=0;t=9' }, '{"error":"Too many","retryAfter":2}'),
      2000,
    ],
    ['RateLimit', () => foreign(429, { ratelimit: '"burst";r=0;t=2, "month";r=3;t=901223' }), 2000],
    [
      'RateLimit with older words',
      () => foreign(429, { ratelimit: '"burst";r=0;t=2;limit=5;remaining=0;reset=2' }),
      2000,
    ],
    ['a negative Retry-After is passed over', () => foreign(429, { 'retry-after': '-5' }, '{"retryAfter":2}'), 2000],
    [
      'a date that is past is passed over',
      () => foreign(429, { 'retry-after': 'Wed, 21 Oct 2015 07:28:00 GMT' }, '{"retryAfter":2}'),
      2000,
    ],
    ['what is no date is passed over', () => foreign(429, { 'retry-after': 'soon' }, '{"retryAfter":2}'), 2000],
    [
      'a number as text in the body is passed over',
      () => foreign(429, { ratelimit: '"a";r=0;t=2' }, '{"retryAfter":"9"}'),
      2000,
    ],
  ])('waits as it is told: %s', async (_name, refuse, ms) => {
    const server = refusing(1, refuse)
    const client = clientOf(server)
    const answer = watch(client.fetch('/a'))
    await settle()
    await pass(10 + ms - 1)
    expect(server.calls).toHaveLength(1)
    await pass(1)
    expect(server.calls).toHaveLength(2)
    await pass(10)
    expect(answer.value?.status).toBe(200)
    client.close()
  })

  it.each([
    ['nothing', ''],
    ['an HTML page', '<html>busy</html>'],
    ['null', 'null'],
    ['an array', '[1]'],
    ['a number', '42'],
    ['half of a JSON', '{"retryAfter":'],
    ['NaN', '{"retryAfter":null}'],
  ])('backs off for 0.5 to 1 s, then twice that, where the body is %s', async (_name, body) => {
    for (const [chance, first, second] of [
      [0, 500, 1000],
      [0.999_999, 1000, 2000],
    ] as const) {
      vi.spyOn(Math, 'random').mockReturnValue(chance)
      const server = refusing(2, () => foreign(429, {}, body))
      const client = clientOf(server)
      const answer = watch(client.fetch('/a'))
      await pass(10 + first + 10 + second + 10)
      expect(server.calls.map(({ atMs }) => Math.round(atMs - server.calls[0]!.atMs))).toEqual([
        0,
        10 + first,
        20 + first + second,
      ])
      expect(answer.value?.status).toBe(200)
      client.close()
    }
    vi.restoreAllMocks()
  })

  it('is rejected at once, with the time, where the wait is longer than it may be; and so is what comes after it', async () => {
    const server = refusing(1, () => refusal(120))
    const client = clientOf(server)
    const answer = watch(client.fetch('/a'))
    await pass(10)
    await settle()
    expect(answer.error).toBeInstanceOf(ApiError)
    expect(answer.error).toMatchObject({ status: 429, code: 'RATE_LIMITED', retryAt: new Date(Date.now() + 120_000) })
    expect(isRateLimitError(answer.error)).toBe(true)
    const later = watch(client.fetch('/b'))
    await settle()
    expect(later.error).toMatchObject({ status: 429, code: 'RATE_LIMITED', retryAt: new Date(Date.now() + 120_000) })
    expect(server.calls).toHaveLength(1)
    // When the rest of the wait fits, it is waited for.
    await pass(61_000)
    const fits = watch(client.fetch('/c'))
    await pass(58_000)
    expect(server.calls).toHaveLength(1)
    await pass(1010)
    expect(fits.value?.status).toBe(200)
    client.close()
  })

  it.each([
    ['ten years', String(10 * 365 * 86_400), 10 * 365 * 86_400_000],
    ['an hour', '3600', 3_600_000],
  ])(
    'is rejected with a retryAt in %s, and locks nobody else out: that is a quota, no rate',
    async (_name, text, ms) => {
      const server = startApiServer(({ path }) =>
        path === '/month' ? foreign(429, { 'retry-after': text }) : Response.json(1),
      )
      const client = clientOf(server)
      const answer = watch(client.fetch('/month'))
      await pass(10)
      await settle()
      expect(answer.error).toMatchObject({ status: 429, retryAt: new Date(Date.now() + ms) })
      expect(client.waitingUntil).toBe(null)
      const other = watch(client.fetch('/other'))
      await pass(10)
      expect(other.value?.status).toBe(200)
      client.close()
    },
  )

  it('never carries a date that is none, however long the server says', async () => {
    const server = refusing(1, () => foreign(429, { 'retry-after': '9'.repeat(100) }))
    const answer = watch(clientOf(server).fetch('/a'))
    await pass(10)
    await settle()
    expect(answer.error).toMatchObject({ retryAt: new Date(8.64e15) })
  })

  it('is tried three times after waits, then rejected with what it was told', async () => {
    const server = startApiServer(() => refusal(1))
    const client = clientOf(server)
    const answer = watch(client.fetch('/a'))
    await pass(10_000)
    expect(server.calls).toHaveLength(4)
    expect(answer.error).toMatchObject({ status: 429, code: 'RATE_LIMITED', retryAt: expect.any(Date) })
    client.close()
  })

  it('waits for as long as it may each time: the time of an earlier wait does not count', async () => {
    const server = refusing(2, () => refusal(40))
    const client = clientOf(server)
    const answer = watch(client.fetch('/a'))
    await pass(81_000)
    expect(answer.value?.status).toBe(200)
    client.close()
  })

  it('keeps its place in the line, whichever refusal came first', async () => {
    const server = startApiServer(({ path }) => {
      if (server.calls.length > 2) return Response.json(1)
      return path === '/b' ? refusal(1) : new Promise((resolve) => setTimeout(() => resolve(refusal(1)), 50))
    })
    const client = clientOf(server, { maxConcurrent: 2 })
    for (const path of ['/a', '/b', '/c']) watch(client.fetch(path))
    await pass(2000)
    expect(server.paths()).toEqual(['/a', '/b', '/a', '/b', '/c'])
    client.close()
  })

  it('is not sent again when its caller leaves while the refusal is read', async () => {
    const slow = () =>
      new Response(new ReadableStream({ start: (stream) => void setTimeout(() => stream.close(), 500) }), {
        status: 429,
        headers: { 'retry-after': '1' },
      })
    const server = refusing(1, slow)
    const client = clientOf(server)
    const controller = new AbortController()
    const answer = watch(client.fetch('/a', { method: 'PUT', body: 'x', signal: controller.signal }))
    await pass(100)
    controller.abort(new Error('left'))
    await pass(5000)
    expect(answer.error).toMatchObject({ message: 'left' })
    expect(server.calls).toHaveLength(1)
    client.close()
  })

  it('with maxRetries: 0 it is rejected at the first refusal', async () => {
    const server = startApiServer(() => refusal(1))
    const answer = watch(clientOf(server, { maxRetries: 0 }).fetch('/a'))
    await pass(10)
    await settle()
    expect(answer.error).toMatchObject({ status: 429 })
    expect(server.calls).toHaveLength(1)
  })

  it.each(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE', 'put'])('%s is sent again whoever refused it', async (method) => {
    const server = refusing(1, () => foreign(503, { 'retry-after': '1' }))
    const answer = watch(clientOf(server).fetch('/a', { method, ...(method.toUpperCase() === 'PUT' && { body: 'x' }) }))
    await pass(1100)
    expect(answer.value?.status).toBe(200)
    expect(server.calls).toHaveLength(2)
  })

  it.each(['POST', 'PATCH'])("%s is sent again after the guard's own refusal, with its body", async (method) => {
    const server = refusing(1, () => refusal(1, 503))
    const answer = watch(clientOf(server).fetch('/a', { method, body: 'hello' }))
    await pass(1100)
    expect(answer.value?.status).toBe(200)
    expect(await server.calls[1]!.request.text()).toBe('hello')
  })

  it.each<[string, () => Response]>([
    ["somebody else's 429", () => foreign(429, { 'retry-after': '1' }, '{"error":"slow down"}')],
    ['a 503 whose body claims 429', () => foreign(503, { 'retry-after': '1' }, '{"code":"RATE_LIMITED","status":429}')],
    ['a 429 with the code alone', () => foreign(429, { 'retry-after': '1' }, '{"code":"RATE_LIMITED"}')],
  ])('POST is not sent again after %s: the answer is handed on, whole, and the others wait', async (_name, refuse) => {
    const server = refusing(1, refuse)
    const client = clientOf(server)
    const answer = watch(client.fetch('/a', { method: 'POST', body: 'x' }))
    await pass(10)
    await settle()
    expect(answer.value?.status).toBe(refuse().status)
    expect(await answer.value!.text()).toBe(await refuse().text())
    const next = watch(client.fetch('/b'))
    await pass(980)
    expect(server.calls).toHaveLength(1)
    await pass(100)
    expect(next.value?.status).toBe(200)
    client.close()
  })

  it('with a stream for a body is handed on: it was read', async () => {
    const server = refusing(1, () => refusal(1))
    const body = new Blob(['x']).stream()
    const init = { method: 'PUT', body, duplex: 'half' } as RequestInit
    const answer = watch(clientOf(server).fetch('/a', init))
    await pass(2000)
    expect(answer.value?.status).toBe(429)
    expect(server.calls).toHaveLength(1)
  })

  it('that came as a Request is sent again with its body, and the Request stays usable for its owner', async () => {
    const server = refusing(2, () => refusal(1))
    const request = new Request('http://app.example/a', { method: 'PUT', body: 'hello', headers: { 'x-a': '1' } })
    const answer = watch(clientOf(server).fetch(request))
    await pass(3000)
    expect(answer.value?.status).toBe(200)
    expect(server.calls).toHaveLength(3)
    expect(await server.calls[2]!.request.text()).toBe('hello')
    expect(server.calls[2]!.request.headers.get('x-a')).toBe('1')
  })

  it('that came as a Request is sent again with its body where the browser does not tell that it has one', async () => {
    const server = refusing(1, () => refusal(1))
    const request = new Request('http://app.example/a', { method: 'POST', body: 'hello' })
    // Firefox has no Request.body.
    Object.defineProperty(request, 'body', { value: undefined })
    const answer = watch(clientOf(server).fetch(request))
    await pass(2000)
    expect(answer.value?.status).toBe(200)
    expect(await server.calls[1]!.request.text()).toBe('hello')
  })

  it('whose answer cannot be read (a mock, a body that was taken) is rejected, and holds nobody up', async () => {
    const answers = [
      () => ({ status: 429, headers: new Headers() }) as Response,
      () => {
        const response = refusal(1)
        void response.text()
        return response
      },
    ]
    const server = startApiServer(() => answers.shift()?.() ?? Response.json(1))
    const client = clientOf(server, { maxConcurrent: 1 })
    const results = ['/a', '/b', '/c'].map((path) => watch(client.fetch(path)))
    await pass(100)
    expect(results.map(({ state }) => state)).toEqual(['rejected', 'rejected', 'resolved'])
  })

  it('with an endless body is read for 64 KiB at most, and its answer is let go of', async () => {
    let pulled = 0
    let cancelled = false
    const endless = () =>
      new ReadableStream({
        pull(controller) {
          pulled++
          controller.enqueue(new Uint8Array(1024).fill(32))
        },
        cancel() {
          cancelled = true
        },
      })
    const server = refusing(1, () => new Response(endless(), { status: 429, headers: { 'retry-after': '1' } }))
    const answer = watch(clientOf(server).fetch('/a'))
    await settle()
    await pass(1200)
    await settle()
    expect(answer.value?.status).toBe(200)
    expect(pulled).toBeLessThan(100)
    expect(cancelled).toBe(true)
  })
})

describe('the gate', () => {
  it('holds all requests while one waits, sends one probe, and then the others in order', async () => {
    const server = startApiServer(() => (server.calls.length <= 1 ? refusal(2) : Response.json(1)))
    const client = clientOf(server)
    const answers = [watch(client.fetch('/first'))]
    await pass(10)
    await settle()
    const refusedAt = performance.now()
    for (let number = 0; number < 20; number++) answers.push(watch(client.fetch(`/${number}`)))
    await pass(1980)
    expect(server.calls).toHaveLength(1)
    await pass(2000 - (performance.now() - refusedAt))
    expect(server.paths()).toEqual(['/first', '/first'])
    await pass(9)
    expect(server.calls).toHaveLength(2)
    await pass(500)
    expect(server.paths()).toEqual(['/first', '/first', ...Array.from({ length: 20 }, (_, number) => `/${number}`)])
    expect(answers.every(({ value }) => value?.status === 200)).toBe(true)
    client.close()
  })

  it('stays closed when the probe is refused, and the others are not sent', async () => {
    const server = startApiServer(() => (server.calls.length <= 2 ? refusal(2) : Response.json(1)))
    const client = clientOf(server)
    const answers = ['/a', '/b', '/c'].map((path, number) => (number === 0 ? watch(client.fetch(path)) : undefined))
    await pass(20)
    answers[1] = watch(client.fetch('/b'))
    answers[2] = watch(client.fetch('/c'))
    await pass(3900)
    expect(server.paths()).toEqual(['/a', '/a'])
    await pass(500)
    expect(answers.map((answer) => answer?.value?.status)).toEqual([200, 200, 200])
    client.close()
  })

  it('is not opened by the answer of a request that was sent before it closed, nor its wait made shorter', async () => {
    const server = startApiServer(({ path }) => {
      if (path === '/slow') return new Promise((resolve) => setTimeout(() => resolve(Response.json(1)), 1000))
      if (path === '/late') return new Promise((resolve) => setTimeout(() => resolve(refusal(1)), 500))
      return server.calls.length <= 3 ? refusal(3) : Response.json(1)
    })
    const client = clientOf(server)
    for (const path of ['/slow', '/late', '/a']) watch(client.fetch(path))
    await pass(1200)
    const until = client.waitingUntil
    expect(until).not.toBe(null)
    watch(client.fetch('/b'))
    await pass(1790)
    expect(server.calls).toHaveLength(3)
    await pass(500)
    expect(server.calls.length).toBeGreaterThan(3)
    client.close()
  })

  it('tells when it opens, and when it is open; a listener that throws disturbs nobody', async () => {
    const server = refusing(1, () => refusal(2))
    const client = clientOf(server)
    const told: Array<Date | null> = []
    const heard = (until: Date | null) => void told.push(until)
    client.onWait(heard)
    const end = client.onWait(() => told.push(new Date(0)))
    end()
    end()
    expect(client.waitingUntil).toBe(null)
    watch(client.fetch('/a'))
    await pass(10)
    await settle()
    expect(told).toEqual([new Date(Date.now() + 2000)])
    expect(client.waitingUntil).toBe(told[0])
    await pass(2010)
    await settle()
    expect(told.at(-1)).toBe(null)
    expect(told).toHaveLength(2)
    expect(client.waitingUntil).toBe(null)
    client.close()
  })

  it('opens for whoever comes next when nobody waits any more', async () => {
    const server = refusing(1, () => refusal(2))
    const client = clientOf(server)
    const controller = new AbortController()
    watch(client.fetch('/a', { signal: controller.signal }))
    await pass(50)
    controller.abort()
    await pass(2000)
    expect(client.waitingUntil).toBe(null)
    expect(server.calls).toHaveLength(1)
    const next = watch(client.fetch('/b'))
    const other = watch(client.fetch('/c'))
    await settle()
    expect(server.calls).toHaveLength(2)
    await pass(30)
    expect([next.value?.status, other.value?.status]).toEqual([200, 200])
    client.close()
  })

  it('tells the right time also after the wall clock was set', async () => {
    const server = refusing(1, () => refusal(10))
    const client = clientOf(server)
    watch(client.fetch('/a'))
    await pass(10)
    await settle()
    vi.setSystemTime(Date.now() + 3_600_000)
    expect(+client.waitingUntil!).toBe(Date.now() + 10_000)
    expect(client.waitingUntil).toBe(client.waitingUntil)
    await pass(9_900)
    expect(server.calls).toHaveLength(1)
    await pass(200)
    expect(server.calls).toHaveLength(2)
    client.close()
  })

  it('sends another probe where one is not answered within 10 s', async () => {
    const server = startApiServer(() => {
      if (server.calls.length === 1) return refusal(1)
      return server.calls.length === 2 ? new Promise(() => {}) : Response.json(1)
    })
    const client = clientOf(server)
    watch(client.fetch('/a'))
    await pass(20)
    const next = watch(client.fetch('/b'))
    await pass(10_900)
    expect(server.calls).toHaveLength(2)
    await pass(200)
    expect(next.value?.status).toBe(200)
    client.close()
  })

  it('is tried by the next one when the probe finds no network, or leaves', async () => {
    const server = startApiServer(() => {
      if (server.calls.length === 1) return refusal(1)
      if (server.calls.length === 2) throw new TypeError('fetch failed')
      return Response.json(1)
    })
    const client = clientOf(server)
    const first = watch(client.fetch('/a'))
    await pass(20)
    const controller = new AbortController()
    const second = watch(client.fetch('/b', { signal: controller.signal }))
    const third = watch(client.fetch('/c'))
    await pass(1005)
    expect(first.error).toBeInstanceOf(TypeError)
    controller.abort(new Error('gone'))
    await pass(100)
    expect(second.error).toMatchObject({ message: 'gone' })
    expect(third.value?.status).toBe(200)
    client.close()
  })

  it('rejects who would wait for longer than it may, because the probe was refused too', async () => {
    const server = startApiServer(() => refusal(40))
    const client = clientOf(server)
    watch(client.fetch('/a'))
    await pass(10)
    const waiting = watch(client.fetch('/b'))
    await pass(39_900)
    expect(waiting.state).toBe('pending')
    await pass(200)
    expect(server.calls).toHaveLength(2)
    expect(waiting.error).toMatchObject({ status: 429, retryAt: expect.any(Date) })
    client.close()
  })
})

describe('identical GETs', () => {
  it('that are under way are one request, with a body for each', async () => {
    const server = startApiServer(({ path }) => Response.json({ path }))
    const client = clientOf(server)
    const paths = Array.from({ length: 15 }, (_, number) => `/${number % 3}`)
    const answers = Promise.all(paths.map((path) => client.fetch(path)))
    await pass(10)
    const bodies = await Promise.all((await answers).map((response) => response.json()))
    expect(bodies.map(({ path }) => path)).toEqual(paths)
    expect(server.calls).toHaveLength(3)
    watch(client.fetch('/0'))
    expect(server.calls).toHaveLength(4)
  })

  it.each<[string, RequestInit, RequestInit]>([
    ['headers', { headers: { authorization: 'Bearer a' } }, { headers: { authorization: 'Bearer b' } }],
    ['no header and a header', {}, { headers: { 'accept-language': 'de' } }],
    ['cache modes', { cache: 'no-store' }, {}],
    ['credentials', { credentials: 'omit' }, { credentials: 'include' }],
    ['redirect modes', { redirect: 'manual' }, {}],
    ['methods', { method: 'HEAD' }, {}],
  ])('with different %s are two', async (_name, one, other) => {
    const server = startApiServer()
    const client = clientOf(server)
    watch(client.fetch('/a', one))
    watch(client.fetch('/a', other))
    expect(server.calls).toHaveLength(2)
    await pass(10)
  })

  it('are the same whether they come as text, URL or Request, and in whatever order of headers', async () => {
    const server = startApiServer()
    const client = clientOf(server)
    watch(client.fetch('/a', { headers: { a: '1', b: '2' } }))
    watch(
      client.fetch(new URL('http://app.example/a'), {
        headers: [
          ['B', '2'],
          ['A', '1'],
        ],
      }),
    )
    watch(client.fetch(new Request('http://app.example/a', { headers: new Headers({ b: '2', a: '1' }) })))
    expect(server.calls).toHaveLength(1)
    await pass(10)
  })

  it('end alone when one caller leaves, and altogether when the last one does', async () => {
    const server = startApiServer()
    const client = clientOf(server)
    const [a, b] = [new AbortController(), new AbortController()]
    const first = watch(client.fetch('/a', { signal: a.signal }))
    const second = watch(client.fetch('/a', { signal: b.signal }))
    const third = watch(client.fetch('/a'))
    a.abort(new Error('a left'))
    await settle()
    expect(first.error).toMatchObject({ message: 'a left' })
    await pass(10)
    expect([second.value?.status, third.value?.status]).toEqual([200, 200])

    const [c, d] = [new AbortController(), new AbortController()]
    const fourth = watch(client.fetch('/b', { signal: c.signal }))
    const fifth = watch(client.fetch('/b', { signal: d.signal }))
    c.abort()
    d.abort(new Error('d left'))
    // Who comes next does not join what was aborted.
    const sixth = watch(client.fetch('/b'))
    await settle()
    expect(server.open).toBe(1)
    expect([fourth.state, fifth.state]).toEqual(['rejected', 'rejected'])
    await pass(10)
    expect(sixth.value?.status).toBe(200)

    const e = new AbortController()
    const seventh = watch(client.fetch('/c', { signal: e.signal }))
    const eighth = watch(client.fetch('/c'))
    e.abort()
    await pass(10)
    expect([seventh.state, eighth.value?.status]).toEqual(['rejected', 200])
  })

  it('may lose one caller while its body comes: only that body ends', async () => {
    let send = (_text: string, _isLast = false) => {}
    const body = () =>
      new ReadableStream<Uint8Array>({
        start(controller) {
          send = (text, isLast) => {
            controller.enqueue(new TextEncoder().encode(text))
            if (isLast) controller.close()
          }
        },
      })
    const server = startApiServer(() => new Response(body()))
    const client = clientOf(server)
    const controller = new AbortController()
    const first = watch(client.fetch('/a', { signal: controller.signal }))
    const second = watch(client.fetch('/a', { signal: new AbortController().signal }))
    await pass(10)
    await settle()
    const mine = watch(first.value!.text())
    const theirs = watch(second.value!.text())
    send('one ')
    await settle()
    controller.abort(new Error('left'))
    await settle()
    send('two', true)
    await settle()
    expect(mine.error).toMatchObject({ message: 'left' })
    expect(theirs.value).toBe('one two')
  })

  it('keep url, type and status of the answer for callers with a signal', async () => {
    const server = startApiServer(() => {
      const response = new Response('x', { status: 203, headers: { 'content-type': 'text/x' } })
      return Object.defineProperty(response, 'url', { value: 'http://app.example/moved' })
    })
    const promise = clientOf(server).fetch('/a', { signal: new AbortController().signal })
    await pass(10)
    const response = await promise
    expect([response.url, response.status, response.headers.get('content-type')]).toEqual([
      'http://app.example/moved',
      203,
      'text/x',
    ])
  })

  it('are asked anew once something was written: nobody reads what was true before his own write', async () => {
    const server = startApiServer()
    const client = clientOf(server)
    watch(client.fetch('/list'))
    watch(client.fetch('/list', { method: 'POST', body: 'x' }))
    watch(client.fetch('/list'))
    expect(server.calls).toHaveLength(3)
    await pass(10)
    const slow = startApiServer(undefined, 100)
    const other = clientOf(slow)
    watch(other.fetch('/list', { method: 'DELETE' }))
    await pass(50)
    watch(other.fetch('/list'))
    await pass(60)
    watch(other.fetch('/list'))
    expect(slow.calls).toHaveLength(3)
    await pass(200)
  })

  it('share a refusal that is too long', async () => {
    const server = startApiServer(() => refusal(300))
    const client = clientOf(server)
    const answers = [1, 2, 3].map(() => watch(client.fetch('/a')))
    await pass(10)
    await settle()
    expect(answers.map(({ error }) => (error as ApiError).status)).toEqual([429, 429, 429])
    expect(server.calls).toHaveLength(1)
    client.close()
  })
})

describe('the pace', () => {
  it('is at most maxConcurrent at once, in order', async () => {
    const server = startApiServer(undefined, 100)
    const client = clientOf(server, { maxConcurrent: 2 })
    const paths = Array.from({ length: 6 }, (_, number) => `/${number}`)
    for (const path of paths) watch(client.fetch(path))
    await pass(350)
    expect(server.mostOpen).toBe(2)
    expect(server.paths()).toEqual(paths)
  })

  it('is at most perMinute within any minute, however often', async () => {
    const server = startApiServer()
    const client = clientOf(server, { perMinute: 5, maxWaitMs: 1000 })
    const answers = Array.from({ length: 17 }, (_, number) => watch(client.fetch(`/${number}`)))
    await pass(200_000)
    expect(answers.every(({ value }) => value?.status === 200)).toBe(true)
    const at = server.calls.map(({ atMs }) => atMs)
    for (let index = 5; index < at.length; index++) expect(at[index]! - at[index - 5]!).toBeGreaterThanOrEqual(60_000)
    expect(at[16]! - at[0]!).toBeLessThan(181_000)
    client.close()
  })

  it('begins slowly after a wait: the next window is not met with a burst', async () => {
    let left = 4
    const server = startApiServer(() => (left-- > 0 ? Response.json(1) : refusal(1)))
    const client = clientOf(server)
    const answers = Array.from({ length: 20 }, (_, number) => watch(client.fetch(`/${number}`)))
    for (let second = 0; second < 12; second++) {
      await pass(1000)
      left = 4
    }
    expect(answers.every(({ value }) => value?.status === 200)).toBe(true)
    expect(server.calls.length).toBeLessThan(40)
    client.close()
  })
})

describe('a client', () => {
  it.each<[string, string, string]>([
    ['http://app.example', '/api/a', '/api/a'],
    ['http://app.example/api', '/a', '/api/a'],
    ['http://app.example/api/', 'a', '/api/a'],
    ['http://app.example/api', '?q=1', '/api?q=1'],
    ['http://app.example/api', '', '/api'],
    ['http://app.example/api', '//evil.example/x', '/api/evil.example/x'],
    ['/api', '/a', '/api/a'],
    ['http://app.example/api', 'http://app.example/b', '/b'],
  ])('with the base %s sends %s to %s', async (baseUrl, path, expected) => {
    const server = startApiServer()
    watch(clientOf(server, { baseUrl }).fetch(path))
    expect(server.paths()).toEqual([expected])
    await pass(10)
  })

  it('sends a keepalive request at once, before fetch() returns, past the queue and a closed gate', async () => {
    const server = refusing(1, () => refusal(5))
    const client = clientOf(server, { maxConcurrent: 1 })
    watch(client.fetch('/a'))
    await pass(20)
    watch(client.fetch('/save', { method: 'PUT', body: 'x', keepalive: true }))
    expect(server.paths()).toEqual(['/a', '/save'])
    client.close()
  })

  it('json() parses, is undefined without a body, and rejects with what the server said', async () => {
    const answers: Record<string, () => Response> = {
      '/ok': () => Response.json({ a: 1 }),
      '/empty': () => new Response(null, { status: 204 }),
      '/bad': () => Response.json({ code: 'NOPE', message: 'Not like this.' }, { status: 400 }),
      '/text': () => new Response('hello'),
      '/broken': () => foreign(500, { 'retry-after': '7' }, '<html>'),
    }
    const server = startApiServer(({ path }) => answers[path]!())
    const client = clientOf(server)
    const results = Object.keys(answers).map((path) => watch(client.json(path)))
    await pass(10)
    await settle()
    expect(results[0]!.value).toEqual({ a: 1 })
    expect(results[1]).toMatchObject({ state: 'resolved', value: undefined })
    expect(results[2]!.error).toMatchObject({ status: 400, code: 'NOPE', message: 'Not like this.' })
    expect(results[3]!.error).toMatchObject({ status: 200, code: 'NOT_JSON' })
    expect(results[4]!.error).toMatchObject({ status: 500, retryAt: new Date(Date.now() + 7000) })
    expect(results[4]!.error).not.toHaveProperty('code')
  })

  it.each<[string, unknown]>([
    ['maxConcurrent: 0', { maxConcurrent: 0 }],
    ['maxConcurrent: 1.5', { maxConcurrent: 1.5 }],
    ['perMinute: -1', { perMinute: -1 }],
    ['maxWaitMs: NaN', { maxWaitMs: Number.NaN }],
    ['maxWaitMs as text', { maxWaitMs: '1000' }],
    ['maxRetries: -1', { maxRetries: -1 }],
    ['baseUrl as a number', { baseUrl: 1 }],
    ['fetch as text', { fetch: 'fetch' }],
    ['an unknown name', { maxWait: 1000 }],
  ])('refuses %s', (_name, options) => {
    expect(() => createApiClient(options as ApiClientOptions)).toThrowError(
      expect.objectContaining({ name: 'ApiError', code: 'CONFIG_INVALID', status: 0 }),
    )
  })

  it('passes network errors on as they are', async () => {
    const server = startApiServer(() => {
      throw new TypeError('fetch failed')
    })
    const answer = watch(clientOf(server).fetch('/a'))
    await pass(10)
    await settle()
    expect(answer.error).toMatchObject({ name: 'TypeError', message: 'fetch failed' })
    expect(server.calls).toHaveLength(1)
  })

  it('rejects a caller whose signal has aborted, without sending', async () => {
    const server = startApiServer()
    const signal = AbortSignal.abort(new Error('too late'))
    for (const method of ['GET', 'POST'])
      await expect(clientOf(server).fetch('/a', { method, signal })).rejects.toThrow('too late')
    expect(server.calls).toHaveLength(0)
  })

  it('closed, rejects what waits and every read, lets a write be answered, and leaves no timer and no listener', async () => {
    const server = startApiServer(() => (server.calls.length === 1 ? refusal(5) : Response.json(1)), 10)
    const client = clientOf(server)
    const { signal } = new AbortController()
    const [add, remove] = [vi.spyOn(signal, 'addEventListener'), vi.spyOn(signal, 'removeEventListener')]
    const waiting = [watch(client.fetch('/a', { signal }))]
    await pass(20)
    waiting.push(watch(client.fetch('/b', { method: 'POST', signal })))
    const told: unknown[] = []
    client.onWait((until) => told.push(until))
    client.close()
    client.close()
    await settle()
    expect(waiting.map(({ error }) => (error as ApiError).code)).toEqual(['CLOSED', 'CLOSED'])
    expect(told).toEqual([null])
    expect(add.mock.calls.length).toBe(remove.mock.calls.length)
    expect(vi.getTimerCount()).toBe(0)
    await expect(client.fetch('/c')).rejects.toMatchObject({ code: 'CLOSED', status: 0 })
    expect(client.waitingUntil).toBe(null)

    const slow = startApiServer(undefined, 1000)
    const second = clientOf(slow)
    const read = watch(second.fetch('/read'))
    const write = watch(second.fetch('/write', { method: 'POST' }))
    await pass(10)
    second.close()
    await settle()
    expect(read.error).toMatchObject({ code: 'CLOSED' })
    await pass(1000)
    expect(write.value?.status).toBe(200)
  })

  it('shows when a 429 came to a read that was closed meanwhile: nothing is sent again', async () => {
    const server = startApiServer(() => refusal(1))
    const client = clientOf(server)
    const write = watch(client.fetch('/write', { method: 'PUT', body: 'x' }))
    await pass(5)
    client.close()
    await pass(5000)
    expect(server.calls).toHaveLength(1)
    expect(write.value?.status).toBe(429)
  })
})
