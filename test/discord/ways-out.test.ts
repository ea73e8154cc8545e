import { createServer as createPlainServer } from 'node:http'
import { createSecureServer } from 'node:http2'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { getCACertificates, setDefaultCACertificates } from 'node:tls'
import { createHoldfast, type HoldfastOptions } from 'holdfast'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { CERTIFICATE, KEY } from '../support/certificate.ts'
import { failureOf, watched } from './outcomes.ts'

// The way to Discord breaks in ways that only real connections can, or is the user's own.

const before = getCACertificates('default')
beforeAll(() => setDefaultCACertificates([CERTIFICATE]))
afterAll(() => setDefaultCACertificates(before))

const cleanups: Array<() => unknown> = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

const listening = async (server: Server): Promise<number> => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return (server.address() as AddressInfo).port
}

/** Until the connection of the last answer may be used again. */
const idle = () => new Promise((resolve) => setTimeout(resolve, 20))

/** A Discord over TLS that speaks HTTP/2 and HTTP/1.1, behind a proxy that can begin to swallow what travels on the connections it has. */
async function behindProxy(discord: HoldfastOptions['discord']) {
  const versions: string[] = []
  const origin = createSecureServer({ key: KEY, cert: CERTIFICATE, allowHTTP1: true }, (request, response) => {
    versions.push(request.httpVersion)
    response.writeHead(200, { 'content-type': 'application/json' })
    response.end('{"id":"1"}')
  })
  const originPort = await listening(origin)
  const alive = new Set<{ swallows: boolean }>()
  const sockets = new Set<Socket>()
  const proxy = createServer((client) => {
    const link = { swallows: false }
    alive.add(link)
    const upstream = connect(originPort, '127.0.0.1')
    for (const socket of [client, upstream]) {
      sockets.add(socket)
      socket.on('error', () => {})
    }
    client.on('data', (chunk) => link.swallows || upstream.write(chunk))
    upstream.on('data', (chunk) => link.swallows || client.write(chunk))
    client.on('close', () => upstream.destroy())
  })
  const port = await listening(proxy)
  const holdfast = createHoldfast({ discord: { baseUrl: `https://localhost:${port}`, timeoutMs: 1200, ...discord } })
  cleanups.push(async () => {
    await holdfast.close()
    for (const socket of sockets) socket.destroy()
    proxy.close()
    origin.close()
  })
  return {
    holdfast,
    versions,
    connections: () => alive.size,
    swallow: () => {
      for (const link of alive) link.swallows = true
    },
  }
}

describe('connections that the network silently dropped', () => {
  test('cost one time-out and are replaced, where the server offers HTTP/2 too', async () => {
    const { holdfast, swallow, versions } = await behindProxy({})
    await holdfast.discordFetch('/x', 'abc')
    await idle()
    swallow()
    expect((await failureOf(holdfast.discordFetch('/x', 'abc'))).code).toBe('DISCORD_TIMEOUT')
    for (let call = 0; call < 5; call++) expect(await holdfast.discordFetch('/x', 'abc')).toEqual({ id: '1' })
    expect(new Set(versions)).toEqual(new Set(['1.1']))
  })

  test('are given up together: those that lay idle cost no time-out each', async () => {
    const { holdfast, swallow, connections } = await behindProxy({})
    const many = () =>
      Promise.allSettled(Array.from({ length: 12 }, (_, user) => holdfast.discordFetch('/x', `user${user}`)))
    await many()
    expect(connections()).toBe(12)
    await idle()
    swallow()
    expect((await failureOf(holdfast.discordFetch('/x', 'abc'))).code).toBe('DISCORD_TIMEOUT')
    expect((await many()).map(({ status }) => status)).toEqual(Array(12).fill('fulfilled'))
  })
})

test('one request that hangs while others are answered ends its own connection alone', async () => {
  const asked = new Map<Socket, string[]>()
  const server = createPlainServer((request, response) => {
    asked.set(request.socket, [...(asked.get(request.socket) ?? []), request.url!])
    if (request.url === '/hang') return
    response.writeHead(200, { 'content-type': 'application/json' }).end('{}')
  })
  const baseUrl = `http://127.0.0.1:${await listening(server)}`
  const holdfast = createHoldfast({ discord: { baseUrl, timeoutMs: 200 } })
  cleanups.push(async () => {
    await holdfast.close()
    server.closeAllConnections()
    server.close()
  })
  const hanging = watched(holdfast.discordFetch('/hang', 'abc'))
  while (!hanging.done) {
    await holdfast.discordFetch('/x', 'other')
    await idle()
  }
  expect(hanging.error?.code).toBe('DISCORD_TIMEOUT')
  const before = new Set(asked.keys())
  await idle()
  await Promise.all(['a', 'b'].map((token) => holdfast.discordFetch('/after', token)))
  expect([...before].some((socket) => asked.get(socket)!.includes('/after'))).toBe(true)
})

describe('a dispatcher of the user’s', () => {
  type Handler = {
    onRequestStart(controller: object, context: object): void
    onResponseStart(controller: object, status: number, headers: object, message: string): void
    onResponseData(controller: object, chunk: Uint8Array): void
    onResponseEnd(controller: object, trailers: object): void
    onResponseError(controller: object | undefined, error: Error): void
  }
  const controller = { abort() {}, pause() {}, resume() {}, paused: false, aborted: false, reason: null }
  const made = (dispatch: (options: Record<string, unknown>, handler: Handler) => boolean, more = {}) => {
    const holdfast = createHoldfast({
      discord: { baseUrl: 'https://discord.test/api/v10', dispatcher: { dispatch }, timeoutMs: 100, ...more },
    })
    cleanups.push(() => holdfast.close())
    return holdfast
  }
  const answer = (handler: Handler, status: number, body: Uint8Array | string, headers = {}) => {
    handler.onRequestStart(controller, {})
    handler.onResponseStart(controller, status, { 'content-type': 'application/json', ...headers }, '')
    handler.onResponseData(controller, typeof body === 'string' ? Buffer.from(body) : body)
    handler.onResponseEnd(controller, {})
  }

  test('carries every call, with its origin, and is not closed', async () => {
    const asked: unknown[] = []
    let closed = 0
    const dispatcher = {
      dispatch(options: Record<string, unknown>, handler: Handler) {
        asked.push([options.origin, options.method, options.path])
        queueMicrotask(() => answer(handler, 200, new TextEncoder().encode('{"id":"ä"}'), { 'X-RateLimit-Limit': '5' }))
        return true
      },
      close: () => closed++,
      destroy: () => closed++,
    }
    const holdfast = createHoldfast({ discord: { baseUrl: 'https://discord.test/api/v10', dispatcher } })
    expect(await holdfast.getCurrentUser('abc')).toEqual({ id: 'ä' })
    expect(asked).toEqual([['https://discord.test', 'GET', '/api/v10/users/@me']])
    await holdfast.close()
    expect(closed).toBe(0)
  })

  test.each<[string, (handler: Handler) => void, string]>([
    ['answers at once', (handler) => answer(handler, 200, '{}'), 'ok'],
    ['never calls back', () => {}, 'DISCORD_TIMEOUT'],
    ['fails before it begins', (handler) => handler.onResponseError(undefined, new Error('no')), 'DISCORD_NETWORK'],
    [
      'fails twice',
      (handler) => {
        handler.onRequestStart(controller, {})
        handler.onResponseError(controller, new Error('no'))
        handler.onResponseError(controller, new Error('no'))
      },
      'DISCORD_NETWORK',
    ],
    [
      'ends without a beginning',
      (handler) => {
        handler.onRequestStart(controller, {})
        handler.onResponseEnd(controller, {})
      },
      'DISCORD_NETWORK',
    ],
    [
      'goes on after the end',
      (handler) => {
        answer(handler, 200, '{}')
        handler.onResponseData(controller, Buffer.from('x'))
        handler.onResponseEnd(controller, {})
        handler.onResponseError(controller, new Error('late'))
      },
      'ok',
    ],
    [
      'gives a header twice, in any case',
      (handler) => answer(handler, 429, '{"retry_after":9}', { 'X-RateLimit-Scope': ['shared', 'user'] }),
      'DISCORD_RATE_LIMITED',
    ],
  ])('that %s is taken as it comes', async (_, act, outcome) => {
    const holdfast = made((_options, handler) => {
      act(handler)
      return true
    })
    const result = await holdfast.discordFetch('/x', 'abc', { maxRetries: 0 }).then(
      () => 'ok',
      (error) => error.code,
    )
    expect(result).toBe(outcome)
  })

  test.each([
    ['in upper case', { 'X-RateLimit-Scope': 'shared' }],
    ['twice', { 'x-ratelimit-scope': ['shared', 'user'] }],
  ])('that gives a header %s is understood: of two values, the first', async (_, scope) => {
    const holdfast = made((_options, handler) => {
      answer(handler, 429, '{"retry_after":9}', { 'x-ratelimit-limit': '1', ...scope })
      return true
    })
    expect(await failureOf(holdfast.discordFetch('/x', 'abc', { maxRetries: 0 }))).toMatchObject({ scope: 'shared' })
  })

  test('that throws is no answer, and its message does not reach ours', async () => {
    const holdfast = made(() => {
      throw new Error('SECRET in a message')
    })
    const error = await failureOf(holdfast.discordFetch('/x', 'abc'))
    expect([error.code, error.message.includes('SECRET')]).toEqual(['DISCORD_NETWORK', false])
  })

  test('is a ConfigError where it cannot dispatch', () => {
    for (const dispatcher of [{}, 'x', 5, null])
      expect(() => createHoldfast({ discord: { dispatcher: dispatcher as never } })).toThrow(/discord\.dispatcher/)
  })
})

describe('a base URL', () => {
  test.each([
    'http://localhost:1',
    'http://127.0.0.1',
    'http://[::1]:3000',
    'http://10.1.2.3',
    'http://172.31.0.1',
    'http://192.168.1.1',
    'http://169.254.1.1',
    'http://[fd00::1]',
    'http://[::ffff:10.0.0.1]',
    'http://simulator:3000',
    'http://sim.localhost',
    'https://discord.com/api/v10',
  ])('%s may be used', (baseUrl) => {
    expect(() => createHoldfast({ discord: { baseUrl } })).not.toThrow()
  })

  test.each([
    'http://discord.com/api/v10',
    'http://discord.com.',
    'http://8.8.8.8',
    'http://172.32.0.1',
    'http://134744072',
    'http://[2001:db8::1]',
    'http://[::ffff:8.8.8.8]',
    'http://127.0.0.1.example.com',
    'http://100.128.0.1',
  ])('%s is refused: tokens would travel in clear', (baseUrl) => {
    expect(() => createHoldfast({ discord: { baseUrl } })).toThrow(/https; http only for loopback/)
  })
})

test('callers that share one request each get an object of their own', async () => {
  let asked = 0
  const server = createPlainServer((_request, response) => {
    asked++
    response.writeHead(200, { 'content-type': 'application/json' }).end('[{"id":"1","name":"a"}]')
  })
  const holdfast = createHoldfast({ discord: { baseUrl: `http://127.0.0.1:${await listening(server)}` } })
  cleanups.push(async () => {
    await holdfast.close()
    server.closeAllConnections()
    server.close()
  })
  const [one, two] = await Promise.all([holdfast.getUserGuilds('abc'), holdfast.getUserGuilds('abc')])
  one![0]!.name = 'changed'
  one!.push({} as never)
  expect([two!.length, two![0]!.name, asked]).toEqual([1, 'a', 1])
})
