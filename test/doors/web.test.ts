import { createHoldfast, setDefaultHoldfast } from 'holdfast'
import { guardProxy, withAuth, withGuard as withGuardInNext } from 'holdfast/next'
import { createVirtualClock } from 'holdfast/simulator'
import { guardOf, withGuard } from 'holdfast/web'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'

const remoteAddress = () => '203.0.113.7'
const base = { remoteAddress, shedding: false } as const
const request = (path: string, init: RequestInit = {}) => new Request(`http://app.example${path}`, init)

let holdfast: ReturnType<typeof createHoldfast>
beforeEach(() => {
  holdfast = createHoldfast({
    clock: createVirtualClock(),
    session: (asked) => {
      const id = asked.headers.get('x-user')
      return id === null ? null : { userId: id, accessToken: 'a-token' }
    },
  })
  setDefaultHoldfast(holdfast)
})
afterEach(async () => {
  setDefaultHoldfast(undefined)
  await holdfast.close()
})

describe('withGuard', () => {
  test('answers refusals without calling the handler, and puts the limits on its answers', async () => {
    let calls = 0
    const handler = withGuard(() => Response.json({ calls: ++calls }), { ...base, rules: { '/api/*': '1/minute' } })
    const first = await handler(request('/api/x'))
    expect([first.status, first.headers.get('ratelimit')]).toEqual([
      200,
      '"1/minute";r=0;t=60;limit=1;remaining=0;reset=60',
    ])
    const refused = await handler(request('/api/x?y=1'))
    expect([refused.status, refused.headers.get('retry-after'), calls]).toEqual([429, '60', 1])
    expect(await refused.json()).toMatchObject({ code: 'RATE_LIMITED' })
    expect((await handler(request('/api/x', { headers: { 'x-user': '1' } }))).status).toBe(200)
    await handler.close()
  })

  test('gives back by status, and lets the handler give back', async () => {
    const conflict = withGuard(() => new Response(null, { status: 409 }), { ...base, rules: { '/g': '1/month' } })
    for (let time = 0; time < 3; time++) expect((await conflict(request('/g'))).status).toBe(409)
    const own = withGuard(
      async (asked: Request) => {
        await guardOf(asked)?.refund()
        return new Response()
      },
      { ...base, rules: { '/g': '1/month' } },
    )
    for (let time = 0; time < 3; time++) expect((await own(request('/g'))).status).toBe(200)
  })

  test('answers that cannot be written to carry the limits all the same', async () => {
    const handler = withGuard(() => Response.redirect('http://app.example/there', 303), {
      ...base,
      rules: { '/g': '9/hour' },
    })
    const response = await handler(request('/g'))
    expect([response.status, response.headers.get('location'), response.headers.get('x-ratelimit-remaining')]).toEqual([
      303,
      'http://app.example/there',
      '8',
    ])
  })

  test('a handler that throws is not under way any more, and throws still', async () => {
    const handler = withGuard(
      (asked: Request) => {
        if (asked.url.endsWith('/bug')) throw new Error('a bug')
        return new Response()
      },
      { ...base, shedding: { maxInFlight: 1 } },
    )
    for (let time = 0; time < 3; time++) await expect(handler(request('/bug'))).rejects.toThrow('a bug')
    expect((await handler(request('/ok'))).status).toBe(200)
    await handler.close()
  })

  test('without remoteAddress it is a ConfigError: all strangers would share one limit', () => {
    expect(() => withGuard(() => new Response(), {} as never)).toThrow(/remoteAddress/)
  })

  test('what runtimes hand over beside the request reaches both functions', async () => {
    const handler = withGuard((_: Request, context: { ip: string }) => new Response(context.ip), {
      shedding: false,
      rules: { '/g': '1/hour' },
      remoteAddress: (_, context: { ip: string }) => context.ip,
    })
    expect(await (await handler(request('/g'), { ip: '1.1.1.1' })).text()).toBe('1.1.1.1')
    expect((await handler(request('/g'), { ip: '1.1.1.1' })).status).toBe(429)
    expect((await handler(request('/g'), { ip: '2.2.2.2' })).status).toBe(200)
  })
})

describe('in Next', () => {
  /** What Next does with a proxy's answer: the request goes on with the headers that are written there. */
  const goOn = (from: Request, answer: Response): Request => {
    expect(answer.headers.get('x-middleware-next')).toBe('1')
    const headers = new Headers()
    for (const name of answer.headers.get('x-middleware-override-headers')!.split(','))
      headers.set(name, answer.headers.get(`x-middleware-request-${name}`)!)
    return new Request(from.url, { method: from.method, headers })
  }

  test('the proxy answers refusals, and everything else goes on as it came, with its limits', async () => {
    const proxy = guardProxy({ ...base, rules: { '/api/*': '1/minute' } })
    const asked = request('/api/x', { headers: { accept: 'application/json', cookie: 'a=b' } })
    const answer = await proxy(asked)
    expect(answer.headers.get('ratelimit')).toBe('"1/minute";r=0;t=60;limit=1;remaining=0;reset=60')
    expect(Object.fromEntries(goOn(asked, answer).headers)).toMatchObject({ accept: 'application/json', cookie: 'a=b' })
    expect((await proxy(request('/api/x'))).status).toBe(429)
  })

  test('the route settles what the proxy charged, once, and charges nothing itself', async () => {
    const rules = { '/generate': '1/month' } as const
    const proxy = guardProxy({ ...base, rules })
    let status = 409
    const route = withGuardInNext(() => new Response(null, { status }), { ...base, rules })
    const visit = async () => {
      const asked = request('/generate', { method: 'POST' })
      const answer = await proxy(asked)
      return answer.status === 429 ? 429 : (await route(goOn(asked, answer))).status
    }
    expect([await visit(), await visit()]).toEqual([409, 409])
    status = 200
    expect([await visit(), await visit()]).toEqual([200, 429])
  })

  test('a decision that a client makes up is none: the route then asks itself', async () => {
    const rules = { '/generate': '1/month' } as const
    const route = withGuardInNext(() => new Response(null, { status: 200 }), { ...base, rules })
    const forged = () => route(request('/generate', { headers: { 'x-holdfast-decision': 'made-up' } }))
    expect([(await forged()).status, (await forged()).status]).toEqual([200, 429])
    const proxy = guardProxy({ ...base, rules })
    const asked = request('/generate', { headers: { 'x-holdfast-decision': 'made-up' } })
    expect(goOn(asked, await proxy(asked)).headers.get('x-holdfast-decision')).not.toBe('made-up')
  })

  test('the proxy never counts requests under way: it does not see them end', async () => {
    const proxy = guardProxy({ remoteAddress, shedding: { maxInFlight: 2 } })
    for (let time = 0; time < 10; time++)
      expect((await proxy(request('/page', { headers: { 'x-user': '1' } }))).status).toBe(200)
    await proxy.close()
  })

  test('withAuth is the default instance’s', async () => {
    const route = withAuth(async () => new Response('in'), { guilds: false })
    expect((await route(request('/api/x'))).status).toBe(401)
  })
})
