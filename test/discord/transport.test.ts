import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { inspect } from 'node:util'
import { createHoldfast, type HoldfastEvent, type HoldfastOptions } from 'holdfast'
import { afterEach, describe, expect, test } from 'vitest'
import { LARGEST_BODY_BYTES } from '../../src/discord/transport.ts'
import { DiscordUnavailableError } from '../../src/errors/errors.ts'
import { createVirtualClock } from '../../src/simulator/virtual-clock.ts'
import { failureOf, watched } from './scripted-discord.ts'

// A real server on this machine, for what only sockets can do: break off, hang, drip, reset.

const cleanups: Array<() => Promise<unknown>> = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

async function started(listener: RequestListener, discord: HoldfastOptions['discord'] = {}) {
  const sockets = new Set<Socket>()
  const server: Server = createServer(listener)
  server.on('connection', (socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const clock = createVirtualClock()
  const baseUrl = `http://127.0.0.1:${port}/api/v10/`
  const holdfast = createHoldfast({ clock, random: () => 0, discord: { baseUrl, ...discord } })
  const events: HoldfastEvent[] = []
  holdfast.on((event) => events.push(event))
  cleanups.push(async () => {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  })
  cleanups.push(() => holdfast.close())
  return { holdfast, clock, server, sockets, events, port }
}

/** Lets sockets work until something is true. */
async function until(condition: () => boolean) {
  const deadline = performance.now() + 5000
  while (!condition()) {
    if (performance.now() > deadline) throw new Error('it never became true')
    await new Promise((resolve) => setImmediate(resolve))
  }
}

const json = (response: ServerResponse, body: unknown, status = 200, headers = {}) => {
  response.writeHead(status, { 'content-type': 'application/json', ...headers })
  response.end(typeof body === 'string' ? body : JSON.stringify(body))
}

describe('an answer whose body breaks off', () => {
  test('is judged by its head: counted, its wait kept to, and not asked again', async () => {
    let asked = 0
    const { holdfast } = await started(
      (request, response) => {
        asked++
        const head = { 'content-type': 'application/json', 'content-length': '100', 'retry-after': '7' }
        response.writeHead(Number(request.url!.slice(-3)), head)
        response.write('{"mess', () => response.destroy())
      },
      { retryOn: 'transient', maxWaitMs: 0 },
    )
    expect((await failureOf(holdfast.discordFetch('/x/401', 'a'))).code).toBe('DISCORD_TRUNCATED')
    expect((await failureOf(holdfast.discordFetch('/x/403', 'b'))).code).toBe('DISCORD_TRUNCATED')
    expect(await failureOf(holdfast.discordFetch('/x/429', 'c'))).toMatchObject({ local: false, retryAfterMs: 7000 })
    expect(await failureOf(holdfast.discordFetch('/x/429', 'c'))).toMatchObject({ local: true })
    expect(asked).toBe(3)
    expect(Math.round(holdfast.stats().discord.invalidBudgetUsed * 10_000)).toBe(3)
  })

  test('binds also where its caller has left before the end', async () => {
    const headSent = Promise.withResolvers<unknown>()
    const { holdfast, events } = await started((_request, response) => {
      response.writeHead(429, { 'content-type': 'application/json', 'retry-after': '7', 'x-ratelimit-limit': '1' })
      response.write('{', headSent.resolve)
    })
    const controller = new AbortController()
    const call = watched(holdfast.getCurrentUser('a', { signal: controller.signal }))
    await headSent.promise
    // Sent to this same process: it is read within the next turns of the event loop.
    for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve))
    controller.abort('gone')
    await until(() => call.done)
    expect(call.error).toBe('gone')
    expect(await failureOf(holdfast.getCurrentUser('a', { maxWaitMs: 0 }))).toMatchObject({ local: true })
    expect(events.filter(({ type }) => type === 'discord.rate-limited')).toHaveLength(1)
  })
})

describe('an answer', () => {
  test('in many small pieces, cut through characters, is put together', async () => {
    const text = Buffer.from(JSON.stringify({ id: '1', username: 'Zoë 🦊 Ångström' }))
    const { holdfast } = await started(async (_request, response) => {
      response.writeHead(200, { 'content-type': 'application/json' })
      for (const byte of text) {
        response.write(Buffer.from([byte]))
        await new Promise((resolve) => setImmediate(resolve))
      }
      response.end()
    })
    expect(await holdfast.getCurrentUser('abc')).toEqual({ id: '1', username: 'Zoë 🦊 Ångström' })
  })

  test('goes to the base URL’s path, whether it ends in a slash or not', async () => {
    const urls: Array<string | undefined> = []
    const { holdfast } = await started((request, response) => {
      urls.push(request.url)
      json(response, {})
    })
    await holdfast.discordFetch('/users/@me', 'abc', { query: { a: 'b c' } })
    expect(urls).toEqual(['/api/v10/users/@me?a=b+c'])
  })

  test('that breaks off before its end is DISCORD_TRUNCATED', async () => {
    const { holdfast } = await started((_request, response) => {
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': '100' })
      response.write('{"id":"1"')
      setImmediate(() => response.socket?.destroy())
    })
    const error = await failureOf(holdfast.getCurrentUser('abc'))
    expect(error).toBeInstanceOf(DiscordUnavailableError)
    expect(error).toMatchObject({ code: 'DISCORD_TRUNCATED', route: 'GET /users/@me', attempts: 1 })
  })

  test('in chunks that breaks off is DISCORD_TRUNCATED, although it is whole JSON so far', async () => {
    const { holdfast } = await started((_request, response) => {
      response.writeHead(200, { 'content-type': 'application/json' })
      response.write('{"id":"1"}')
      setImmediate(() => response.socket?.destroy())
    })
    await expect(holdfast.getCurrentUser('abc')).rejects.toMatchObject({ code: 'DISCORD_TRUNCATED' })
  })

  test('that announces more than 8 MiB is DISCORD_TOO_LARGE before it is read', async () => {
    const { holdfast, sockets } = await started((_request, response) => {
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': String(LARGEST_BODY_BYTES + 1) })
      response.write('{')
    })
    await expect(holdfast.getCurrentUser('abc')).rejects.toMatchObject({ code: 'DISCORD_TOO_LARGE', attempts: 1 })
    await until(() => sockets.size === 0)
  })

  test('that never ends is DISCORD_TOO_LARGE once it has passed 8 MiB, and its connection is closed', async () => {
    let stopped = false
    const { holdfast, sockets } = await started((_request, response) => {
      response.writeHead(200, { 'content-type': 'application/json' })
      const piece = Buffer.alloc(256 * 1024, ' ')
      const write = () => {
        if (response.destroyed) stopped = true
        else if (response.write(piece)) setImmediate(write)
        else response.once('drain', write)
      }
      response.on('close', () => (stopped = true))
      write()
    })
    await expect(holdfast.getCurrentUser('abc')).rejects.toMatchObject({ code: 'DISCORD_TOO_LARGE' })
    await until(() => stopped && sockets.size === 0)
  })

  test('of just 8 MiB is still read', async () => {
    const body = `"${'x'.repeat(LARGEST_BODY_BYTES - 2)}"`
    const { holdfast } = await started((_request, response) => json(response, body))
    expect(await holdfast.discordFetch<string>('/unknown', 'abc')).toHaveLength(LARGEST_BODY_BYTES - 2)
  })

  test('that is not HTTP at all is DISCORD_NETWORK', async () => {
    const { holdfast } = await started((_request, response) => {
      response.socket?.end('SSH-2.0-OpenSSH_9.9\r\n\r\n')
    })
    await expect(holdfast.getCurrentUser('abc')).rejects.toMatchObject({ code: 'DISCORD_NETWORK' })
  })

  test('that never begins ends at the time-out with DISCORD_TIMEOUT, its connection with it', async () => {
    let asked = 0
    const { holdfast, clock, sockets } = await started(() => void asked++, { timeoutMs: 3000 })
    const call = watched(holdfast.getCurrentUser('abc'))
    await until(() => asked === 1)
    await clock.advance(2999)
    expect(call.done).toBe(false)
    await clock.advance(1)
    expect(call.error).toMatchObject({ code: 'DISCORD_TIMEOUT' })
    await until(() => sockets.size === 0)
    expect(clock.sleepers).toBe(0)
  })

  test('that drips ends at the same time-out: it bounds the attempt to its last byte', async () => {
    let response: ServerResponse | undefined
    const { holdfast, clock } = await started(
      (_request, given) => {
        response = given
        given.writeHead(200, { 'content-type': 'application/json' })
        given.write('[')
      },
      { timeoutMs: 3000 },
    )
    const call = watched(holdfast.getUserGuilds('abc'))
    await until(() => response !== undefined)
    for (let second = 0; second < 2; second++) {
      await clock.advance(1000)
      response!.write(' ')
    }
    expect(call.done).toBe(false)
    await clock.advance(1000)
    expect(call.error).toMatchObject({ code: 'DISCORD_TIMEOUT' })
  })
})

describe('a connection', () => {
  test('that is reset is DISCORD_NETWORK, and the next call opens another', async () => {
    let asked = 0
    const { holdfast } = await started((request, response) => {
      if (++asked === 1) request.socket.resetAndDestroy()
      else json(response, { id: '1' })
    })
    await expect(holdfast.getCurrentUser('abc')).rejects.toMatchObject({ code: 'DISCORD_NETWORK', attempts: 1 })
    expect(await holdfast.getCurrentUser('abc')).toEqual({ id: '1' })
  })

  test('that is refused is DISCORD_NETWORK', async () => {
    const { holdfast, server } = await started(() => {})
    await new Promise((resolve) => server.close(resolve))
    await expect(holdfast.getCurrentUser('abc')).rejects.toMatchObject({ code: 'DISCORD_NETWORK' })
  })

  test('of a first request that fails does not strand those who wait for what it teaches', async () => {
    let asked = 0
    const { holdfast, clock } = await started((request, response) => {
      if (++asked === 1) request.socket.resetAndDestroy()
      else json(response, { id: String(asked) })
    })
    const calls = [1, 2, 3].map((n) => watched(holdfast.discordFetch(`/users/@me?n=${n}`, 'abc')))
    await until(() => calls.every((call) => call.done))
    expect(calls.map((call) => call.error?.code ?? call.value)).toEqual(['DISCORD_NETWORK', { id: '2' }, { id: '3' }])
    expect(clock.monotonic()).toBe(0)
  })

  test('whose caller leaves while the answer comes in is closed', async () => {
    let response: ServerResponse | undefined
    const { holdfast, sockets, clock } = await started((_request, given) => {
      response = given
      given.writeHead(200, { 'content-type': 'application/json' })
      given.write('{')
    })
    const controller = new AbortController()
    const call = watched(holdfast.getCurrentUser('abc', { signal: controller.signal }))
    await until(() => response !== undefined)
    await clock.advance(0)
    controller.abort('gone')
    await until(() => call.done && sockets.size === 0)
    expect([call.error, clock.sleepers]).toEqual(['gone', 0])
  })

  test('is closed by close(), idle or not', async () => {
    let asked = 0
    const { holdfast, sockets } = await started((request, response) => {
      asked++
      if (!request.url?.includes('hang')) json(response, { id: '1' })
    })
    await holdfast.getCurrentUser('abc')
    const call = watched(holdfast.discordFetch('/users/@me?hang=1', 'abc'))
    await until(() => asked === 2)
    expect(sockets.size).toBeGreaterThan(0)
    await holdfast.close()
    await until(() => sockets.size === 0)
    expect(call.error).toMatchObject({ code: 'CLOSED' })
  })
})

describe('no token, raw path or query', () => {
  const TOKEN = 'TOKENSECRET.abc-def_ghi'
  const WEBHOOK = '/webhooks/123456789012345678/PATHSECRET-token'
  const QUERY = { thread_id: 'QUERYSECRET' }

  const answers: Record<string, (request: IncomingMessage, response: ServerResponse) => void> = {
    'a 401': (_request, response) => json(response, { message: '401: Unauthorized', code: 0 }, 401),
    'a 403': (_request, response) => json(response, { message: 'Missing Access', code: 50_001 }, 403),
    'a foreign 403': (request, response) =>
      json(response, `<html>${request.url} ${request.headers.authorization}</html>`, 403),
    'a 404 that quotes the request': (request, response) =>
      json(response, { message: `${request.url} ${request.headers.authorization}`, code: 10_015 }, 404),
    'a 429': (_request, response) =>
      json(response, { message: 'x', retry_after: 60, global: false }, 429, { 'x-ratelimit-scope': 'user' }),
    'a ban': (request, response) => json(response, `error code: 1015 ${request.url}`, 429),
    'a 500 that quotes the request': (request, response) =>
      json(response, `${request.url} ${request.headers.authorization}`, 500),
    'something that is not JSON': (request, response) => json(response, `{"url":"${request.url}`),
    'another type': (request, response) => json(response, `${request.url}`, 200, { 'content-type': 'text/plain' }),
    'half an answer': (request, response) => {
      response.writeHead(200, { 'content-length': '1000' })
      response.write(`${request.url} ${request.headers.authorization}`)
      setImmediate(() => response.socket?.destroy())
    },
    'a reset': (request) => void request.socket.resetAndDestroy(),
    'no HTTP': (request) => void request.socket.end(`${request.url} ${request.headers.authorization}\r\n\r\n`),
    'too much': (_request, response) => {
      response.writeHead(200, { 'content-length': String(LARGEST_BODY_BYTES + 1) })
      response.write('{')
    },
    nothing: () => {},
  }

  test.each(Object.keys(answers))('is in the error, its cause, an event or the stats after %s', async (name) => {
    const { holdfast, events, clock } = await started(answers[name]!, { timeoutMs: 100 })
    const options = { query: QUERY, principal: 'PRINCIPALSECRET' }
    const first = watched(holdfast.discordFetch(WEBHOOK, TOKEN, { ...options, maxWaitMs: 0 }))
    const write = watched(
      holdfast.discordFetch(WEBHOOK, `${TOKEN}2`, {
        ...options,
        method: 'POST',
        body: { content: 'BODYSECRET' },
        maxRetries: 0,
      }),
    )
    for (let turn = 0; turn < 20 && !(first.done && write.done); turn++) {
      await new Promise((resolve) => setTimeout(resolve, 5))
      if (name === 'nothing') await clock.advance(100)
    }
    const again = watched(
      holdfast.discordFetch(WEBHOOK, TOKEN, { ...options, deadlineMs: 1, query: { ...QUERY, n: 2 } }),
    )
    await until(() => first.done && write.done)
    await clock.advance(1000)
    await until(() => again.done)
    expect(events.length).toBeGreaterThan(0)
    for (const thing of [first.error, write.error, again.error, ...events, holdfast.stats()]) {
      expect(thing).toBeDefined()
      const written = [
        String((thing as Error).message),
        String((thing as Error).stack),
        JSON.stringify(thing),
        inspect(thing, { depth: Number.POSITIVE_INFINITY, showHidden: true }),
      ].join('\n')
      expect(written).not.toMatch(/SECRET/)
    }
  })

  test('is in what refuses them', async () => {
    const { holdfast } = await started(() => {})
    const refused = [
      () => holdfast.discordFetch(`${WEBHOOK}/../x`, TOKEN),
      () => holdfast.discordFetch(`${WEBHOOK}?q=QUERYSECRET#x`, TOKEN),
      () => holdfast.discordFetch(WEBHOOK, `${TOKEN}\r\n`),
      () => holdfast.discordFetch(WEBHOOK, `Bearer ${TOKEN}`),
      () => holdfast.discordFetch(WEBHOOK, TOKEN, { method: 'SECRET' as never }),
    ]
    for (const call of refused) {
      const error = await failureOf(call())
      expect(error.code).toMatch(/^INVALID_/)
      expect(inspect(error, { depth: Number.POSITIVE_INFINITY, showHidden: true }) + JSON.stringify(error)).not.toMatch(
        /SECRET/,
      )
    }
  })
})
