import nock from 'nock'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { anyAnswer, HEADERS, LIMITED, ORIGIN, scriptedDiscord, watched } from './scripted-discord.ts'

// Several callers at once: who shares a request with whom, and what happens when callers leave.

beforeAll(() => nock.disableNetConnect())
afterEach(() => {
  const left = nock.pendingMocks()
  nock.cleanAll()
  expect(left).toEqual([])
})
afterAll(() => nock.enableNetConnect())

type Reply = readonly [number, unknown, Record<string, string>?]
const OK: Reply = [200, { id: '1' }]

describe('identical GETs under way at the same time', () => {
  test('with one token are sent once, and all callers get the answer', async () => {
    const { holdfast, settle } = scriptedDiscord()
    const reply = Promise.withResolvers<Reply>()
    const asked = anyAnswer(() => reply.promise)
    const calls = Array.from({ length: 100 }, () => watched(holdfast.getCurrentUser('abc')))
    await settle()
    reply.resolve(OK)
    await settle()
    expect(calls.filter((call) => call.value?.id === '1')).toHaveLength(100)
    expect(asked).toHaveLength(1)
    expect(holdfast.stats().discord.calls).toBe(1)
  })

  test('share a failure as well', async () => {
    const { holdfast } = scriptedDiscord()
    const asked = anyAnswer(() => [404, { message: 'no', code: 10_013 }])
    const calls = await Promise.allSettled([holdfast.getCurrentUser('abc'), holdfast.getCurrentUser('abc')])
    expect(calls).toMatchObject([{ reason: { status: 404 } }, { reason: { status: 404 } }])
    expect(asked).toHaveLength(1)
  })

  test('are never shared between tokens, not even those of one user', async () => {
    const { holdfast, settle } = scriptedDiscord()
    anyAnswer(({ token }) => [200, { id: token }])
    const calls = ['one', 'two'].map((token) => watched(holdfast.getCurrentUser(token, { principal: '7' })))
    await settle()
    expect(calls.map((call) => call.value?.id)).toEqual(['Bearer one', 'Bearer two'])
  })

  test('are not shared between token types, paths, queries or principals', async () => {
    const { holdfast, settle } = scriptedDiscord()
    const asked = anyAnswer(() => OK)
    void holdfast.discordFetch('/x', 'abc')
    void holdfast.discordFetch('/x', 'abc', { tokenType: 'Bot' })
    void holdfast.discordFetch('/x', 'abc', { principal: '7' })
    void holdfast.discordFetch('/x', 'abc', { query: { a: 1 } })
    void holdfast.discordFetch('/y', 'abc')
    await settle()
    expect(asked).toHaveLength(5)
  })

  test('cannot be made to look alike by what a caller writes into principal', async () => {
    const { holdfast, settle } = scriptedDiscord()
    const asked = anyAnswer(() => OK)
    void holdfast.discordFetch('/x', 'abc', { principal: 'a\npage 3 1000 10000 rate-limit' })
    void holdfast.discordFetch('/x', 'abc', { principal: 'a' })
    await settle()
    expect(asked).toHaveLength(2)
  })

  test('one after the other are two requests', async () => {
    const { holdfast } = scriptedDiscord()
    const asked = anyAnswer(() => OK)
    await holdfast.getCurrentUser('abc')
    await holdfast.getCurrentUser('abc')
    expect(asked).toHaveLength(2)
  })

  test('writes are never shared', async () => {
    const { holdfast } = scriptedDiscord()
    nock(ORIGIN).post('/api/v10/channels/1/messages').times(2).reply(200, { id: '1' })
    const write = () => holdfast.discordFetch('/channels/1/messages', 'abc', { method: 'POST', body: {} })
    await Promise.all([write(), write()])
    expect(holdfast.stats().discord.calls).toBe(2)
  })
})

describe('a caller that aborts', () => {
  test('before the call gets its reason, and nothing is sent', async () => {
    const { holdfast } = scriptedDiscord()
    const reason = new Error('gone')
    for (const method of ['GET', 'POST'] as const)
      await expect(
        holdfast.discordFetch('/users/@me', 'abc', { method, signal: AbortSignal.abort(reason) }),
      ).rejects.toBe(reason)
    expect(holdfast.stats().discord.calls).toBe(0)
  })

  test('during the request gets its reason at once; the others keep theirs', async () => {
    const { holdfast, settle } = scriptedDiscord()
    const reply = Promise.withResolvers<Reply>()
    const asked = anyAnswer(() => reply.promise)
    const controller = new AbortController()
    const left = watched(holdfast.getCurrentUser('abc', { signal: controller.signal }))
    const stayed = watched(holdfast.getCurrentUser('abc'))
    await settle()
    controller.abort('gone')
    await settle()
    expect([left.error, stayed.done]).toEqual(['gone', false])
    reply.resolve(OK)
    await settle()
    expect([stayed.value, asked.length]).toEqual([{ id: '1' }, 1])
  })

  test('as the last one ends the request, and leaves no timer', async () => {
    const { holdfast, settle, clock } = scriptedDiscord()
    anyAnswer(() => new Promise(() => {}))
    const controllers = [new AbortController(), new AbortController()]
    const calls = controllers.map(({ signal }) => watched(holdfast.getCurrentUser('abc', { signal })))
    await settle()
    controllers[0]!.abort('one')
    await settle()
    expect(clock.sleepers).toBe(1)
    controllers[1]!.abort('two')
    await settle()
    expect(calls.map((call) => call.error)).toEqual(['one', 'two'])
    expect(clock.sleepers).toBe(0)
  })

  test('during a wait between tries ends it: no further try, no timer', async () => {
    for (const method of ['GET', 'PUT'] as const) {
      const { holdfast, settle, clock } = scriptedDiscord()
      nock(ORIGIN)
        .intercept('/api/v10/users/@me', method)
        .reply(429, LIMITED(5), HEADERS(1, 0, 5))
      const controller = new AbortController()
      const call = watched(holdfast.discordFetch('/users/@me', 'abc', { method, signal: controller.signal }))
      await settle()
      expect(clock.sleepers).toBe(1)
      controller.abort('gone')
      await settle()
      expect([call.error, clock.sleepers]).toEqual(['gone', 0])
      await clock.advance(10_000)
      expect(holdfast.stats().discord.calls).toBe(1)
    }
  })

  test('while it waits for a place leaves it to the next', async () => {
    const { holdfast, settle } = scriptedDiscord()
    const replies = Array.from({ length: 3 }, () => Promise.withResolvers<Reply>())
    const asked = anyAnswer(({ count }) => replies[count - 1]!.promise)
    const controller = new AbortController()
    const first = watched(holdfast.discordFetch('/users/@me?n=1', 'abc'))
    const leaver = watched(holdfast.discordFetch('/users/@me?n=2', 'abc', { signal: controller.signal }))
    const last = watched(holdfast.discordFetch('/users/@me?n=3', 'abc'))
    await settle()
    expect(asked).toHaveLength(1)
    controller.abort('gone')
    replies[0]!.resolve([200, { id: '1' }, HEADERS(5, 4, 1)])
    replies[1]!.resolve([200, { id: '3' }, HEADERS(5, 3, 1)])
    await settle()
    expect([first.value, leaver.error, last.value]).toEqual([{ id: '1' }, 'gone', { id: '3' }])
    expect(asked.map(({ path }) => path)).toEqual(['/users/@me?n=1', '/users/@me?n=3'])
  })

  test('of a write ends that write', async () => {
    const { holdfast, settle, clock } = scriptedDiscord()
    nock(ORIGIN)
      .post('/api/v10/channels/1/messages')
      .reply((() => new Promise(() => {})) as never)
    const controller = new AbortController()
    const call = watched(
      holdfast.discordFetch('/channels/1/messages', 'abc', { method: 'POST', signal: controller.signal }),
    )
    await settle()
    controller.abort('gone')
    await settle()
    expect([call.error, clock.sleepers]).toEqual(['gone', 0])
  })

  test('after the answer changes nothing, and its signal holds no listener of ours', async () => {
    const { holdfast } = scriptedDiscord()
    anyAnswer(() => OK)
    nock(ORIGIN).post('/api/v10/x').reply(200, {})
    for (const options of [{}, { deadlineMs: 1000 }, { method: 'POST' as const }]) {
      const controller = new AbortController()
      let listeners = 0
      const { signal } = controller
      const [add, remove] = [signal.addEventListener.bind(signal), signal.removeEventListener.bind(signal)]
      vi.spyOn(signal, 'addEventListener').mockImplementation((...all: unknown[]) => {
        listeners++
        ;(add as (...all: unknown[]) => void)(...all)
      })
      vi.spyOn(signal, 'removeEventListener').mockImplementation((...all: unknown[]) => {
        listeners--
        ;(remove as (...all: unknown[]) => void)(...all)
      })
      const value = await holdfast.discordFetch('/x', 'abc', { ...options, signal })
      await new Promise((resolve) => setImmediate(resolve))
      expect(value).toBeDefined()
      expect(listeners).toBe(0)
      controller.abort('late')
    }
  })

  test('of a thousand callers half leave; the other half get the one answer', async () => {
    const { holdfast, settle, clock } = scriptedDiscord()
    const reply = Promise.withResolvers<Reply>()
    const asked = anyAnswer(() => reply.promise)
    const controllers = Array.from({ length: 1000 }, () => new AbortController())
    const calls = controllers.map(({ signal }) => watched(holdfast.getUserGuilds('abc', { signal })))
    await settle()
    for (let index = 0; index < 1000; index += 2) controllers[index]!.abort('left')
    reply.resolve([200, []])
    await settle()
    expect(calls.filter((call) => String(call.error) === 'left')).toHaveLength(500)
    expect(calls.filter((call) => Array.isArray(call.value))).toHaveLength(500)
    expect([asked.length, clock.sleepers]).toEqual([1, 0])
  })

  test('of a thousand waiting calls that differ half leave; the other half are all answered', async () => {
    const { holdfast, settle, clock } = scriptedDiscord({ maxWaitMs: 600_000 })
    let remaining = 50
    anyAnswer(() => {
      if (remaining === 0) remaining = 50
      return [200, {}, HEADERS(50, --remaining, 1)]
    })
    const controllers = Array.from({ length: 1000 }, () => new AbortController())
    const calls = controllers.map(({ signal }, index) =>
      watched(holdfast.discordFetch(`/users/@me?n=${index}`, 'abc', { signal })),
    )
    for (let index = 0; index < 1000; index += 2) controllers[index]!.abort('left')
    await clock.advance(60_000)
    await settle()
    expect(calls.filter((call) => String(call.error) === 'left')).toHaveLength(500)
    expect(calls.filter((call) => call.done && call.error === undefined)).toHaveLength(500)
    expect([clock.sleepers, holdfast.stats().discord.calls]).toEqual([0, 501]) // the first was sent before it left
  })

  test('does not take along a caller that asks the same in the same moment', async () => {
    const { holdfast, settle } = scriptedDiscord()
    const asked = anyAnswer(({ count }) => (count === 1 ? new Promise(() => {}) : OK))
    const controller = new AbortController()
    const left = watched(holdfast.getCurrentUser('abc', { signal: controller.signal }))
    await settle()
    controller.abort('gone')
    const next = watched(holdfast.getCurrentUser('abc'))
    await settle()
    expect([left.error, next.error]).toEqual(['gone', undefined])
    expect([next.value, asked.length]).toEqual([{ id: '1' }, 2])
  })
})

describe('close', () => {
  test('ends calls under way, in a wait and in line, with HoldfastError CLOSED; refuses later ones; leaves no timer', async () => {
    const { holdfast, settle, clock, answers } = scriptedDiscord()
    answers('/users/@me/guilds', [429, LIMITED(5), HEADERS(1, 0, 5)])
    nock(ORIGIN)
      .get('/api/v10/users/@me')
      .reply((() => new Promise(() => {})) as never)
    nock(ORIGIN)
      .post('/api/v10/channels/1/messages')
      .reply((() => new Promise(() => {})) as never)
    const calls = [
      watched(holdfast.getUserGuilds('abc')),
      watched(holdfast.getCurrentUser('abc')),
      watched(holdfast.getCurrentUser('abc', { deadlineMs: 60_000 })),
      watched(holdfast.discordFetch('/users/@me?n=2', 'abc')),
      watched(holdfast.discordFetch('/channels/1/messages', 'abc', { method: 'POST' })),
      watched(
        holdfast.discordFetch('/channels/1/messages', 'abc', { method: 'POST', signal: new AbortController().signal }),
      ),
    ]
    await settle()
    await holdfast.close()
    await settle()
    expect(calls.map((call) => call.error?.code)).toEqual(Array(6).fill('CLOSED'))
    expect(clock.sleepers).toBe(0)
    await expect(holdfast.getCurrentUser('abc')).rejects.toMatchObject({ name: 'HoldfastError', code: 'CLOSED' })
    expect(nock.isDone()).toBe(true)
  })

  test('can be called again, and by await using', async () => {
    const { holdfast } = scriptedDiscord()
    {
      await using used = holdfast
      expect(used.stats().discord.calls).toBe(0)
    }
    await holdfast.close()
    await expect(holdfast.getCurrentUser('abc')).rejects.toMatchObject({ code: 'CLOSED' })
  })
})
