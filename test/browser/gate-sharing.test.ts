import { type ApiClientOptions, createApiClient } from 'holdfast/browser'
import { describe, expect, it, vi } from 'vitest'
import { refusal, startApiServer } from './api-server.ts'
import { memoryStorage, startPage } from './page.ts'
import { inVirtualTime, pass, settle, watch } from './virtual-time.ts'

inVirtualTime()

const NAME = 'holdfast:http://app.example'
const clientOf = (server: ReturnType<typeof startApiServer>, options: ApiClientOptions = {}) =>
  createApiClient({ baseUrl: 'http://app.example', fetch: server.fetch as typeof fetch, ...options })

describe('the gate of several tabs', () => {
  it('is closed in all by what one is told, and opened by what one finds out', async () => {
    startPage()
    const server = startApiServer(() => (server.calls.length === 1 ? refusal(2) : Response.json(1)))
    const [one, other] = [clientOf(server), clientOf(server)]
    watch(one.fetch('/a'))
    await pass(20)
    expect(other.waitingUntil).not.toBe(null)
    const held = watch(other.fetch('/b'))
    await pass(1950)
    expect(server.calls).toHaveLength(1)
    await pass(200)
    expect(held.value?.status).toBe(200)
    expect([one.waitingUntil, other.waitingUntil]).toEqual([null, null])
    one.close()
    other.close()
    expect(vi.getTimerCount()).toBe(0)
  })

  it('is another one for another baseUrl', async () => {
    startPage()
    const server = startApiServer(() => refusal(2))
    const one = clientOf(server)
    const other = clientOf(server, { baseUrl: 'http://other.example' })
    watch(one.fetch('/a'))
    await pass(100)
    expect(other.waitingUntil).toBe(null)
    one.close()
    other.close()
  })

  it('stays closed when another tab is refused while the probe of this one is answered', async () => {
    const page = startPage()
    const server = startApiServer(() => (server.calls.length === 1 ? refusal(1) : Response.json(1)), 100)
    const client = clientOf(server)
    const answer = watch(client.fetch('/a'))
    await pass(1150)
    expect(server.calls).toHaveLength(2)
    page.post(NAME, { at: Date.now(), waitMs: 5000, status: 429 })
    await pass(100)
    expect(answer.value?.status).toBe(200)
    expect(client.waitingUntil).not.toBe(null)
    client.close()
  })

  it('is found closed by a tab that is opened later, for what is left of the wait', async () => {
    startPage()
    const server = startApiServer(() => refusal(10))
    const one = clientOf(server)
    watch(one.fetch('/a'))
    await pass(4010)
    one.close()
    const later = clientOf(server)
    expect(+later.waitingUntil! - Date.now()).toBe(6000)
    await pass(6000)
    expect(later.waitingUntil).toBe(null)
    later.close()
    const muchLater = clientOf(server)
    expect(muchLater.waitingUntil).toBe(null)
    muchLater.close()
  })

  it('does not stay closed for a day because the clock was set back by one', async () => {
    startPage()
    const server = startApiServer(() => refusal(10))
    const one = clientOf(server)
    watch(one.fetch('/a'))
    await pass(20)
    one.close()
    vi.setSystemTime(Date.now() - 86_400_000)
    const later = clientOf(server)
    expect(+later.waitingUntil! - Date.now()).toBe(10_000)
    later.close()
  })

  it('is closed by others for 15 minutes at most', async () => {
    const page = startPage()
    const client = clientOf(startApiServer())
    page.post(NAME, { at: Date.now(), waitMs: 1e12, status: 429 })
    expect(+client.waitingUntil! - Date.now()).toBe(900_000)
    client.close()
  })

  it.each([
    ['nothing', undefined],
    ['null', null],
    ['a text', 'closed'],
    ['a number', 7],
    ['an array', [1, 2]],
    ['a wait that is none', { at: 0, waitMs: 'long' }],
    ['a wait of NaN', { at: 0, waitMs: Number.NaN }],
    ['a negative wait', { at: 0, waitMs: -5 }],
    ['a wait since never', { waitMs: 5000 }],
    ['an old wait', { at: 0, waitMs: 5000 }],
    ['an old opening', { at: 0 }],
    ['an object of other things', { type: 'x' }],
  ])('does not mind rubbish, on the channel or in storage: %s', async (_name, rubbish) => {
    const storage = memoryStorage()
    storage.setItem(NAME, JSON.stringify(rubbish) ?? 'undefined')
    const page = startPage({ storage })
    const server = startApiServer()
    const client = clientOf(server)
    page.post(NAME, rubbish)
    expect(client.waitingUntil).toBe(null)
    const answer = watch(client.fetch('/a'))
    await pass(10)
    expect(answer.value?.status).toBe(200)
    client.close()
  })

  it('does not open for an answer that is older than its closing', async () => {
    const page = startPage()
    const server = startApiServer(() => refusal(10))
    const client = clientOf(server)
    watch(client.fetch('/a'))
    await pass(100)
    page.post(NAME, { at: Date.now() - 1000 })
    expect(client.waitingUntil).not.toBe(null)
    page.post(NAME, { at: Date.now() })
    expect(client.waitingUntil).toBe(null)
    client.close()
  })

  it.each([
    ['forbidden', { storage: 'forbidden' as const }],
    ['full', { storage: memoryStorage(true) }],
    ['there, but channels are not', { channels: false }],
  ])('is one for this tab alone, and works, where storage is %s', async (_name, options) => {
    const page = startPage(options)
    const server = startApiServer(() => (server.calls.length === 1 ? refusal(1) : Response.json(1)))
    const client = clientOf(server)
    const answer = watch(client.fetch('/a'))
    await pass(1100)
    expect(answer.value?.status).toBe(200)
    client.close()
    expect([vi.getTimerCount(), page.listening(), page.openChannels()]).toEqual([0, 0, 0])
  })

  it('is nobody else’s on a server, where one process answers many people', async () => {
    const posted = vi.fn()
    vi.stubGlobal(
      'BroadcastChannel',
      class {
        constructor() {
          posted()
        }
      },
    )
    const server = startApiServer(() => refusal(10))
    const one = clientOf(server)
    const other = clientOf(server)
    watch(one.fetch('/a'))
    await pass(20)
    expect(other.waitingUntil).toBe(null)
    expect(posted).not.toHaveBeenCalled()
    one.close()
    other.close()
  })
})

describe('the turn of several tabs', () => {
  /** Web Locks for one thread: granted at once, or not at all. */
  function stubLocks() {
    const held = new Set<string>()
    const locks = {
      request: async (name: string, _options: object, work: (lock: object | null) => Promise<void> | undefined) => {
        if (held.has(name)) return work(null)
        held.add(name)
        await work({})
        held.delete(name)
      },
    }
    vi.stubGlobal('navigator', { locks })
    return held
  }

  it('one probe for all; the others wait for its outcome, also when it is told late', async () => {
    startPage({ latencyMs: 50 })
    const held = stubLocks()
    // The outcome is told 40 ms after the others have looked whether the turn is free.
    const server = startApiServer(() => (server.calls.length === 1 ? refusal(2) : Response.json(1)), 240)
    const clients = [clientOf(server), clientOf(server), clientOf(server)]
    watch(clients[0]!.fetch('/0'))
    await pass(300)
    const answers = clients.map((client, number) => watch(client.fetch(`/${number + 1}`)))
    // Refused at 240, open at 2240, answered at 2480, told at 2530.
    await pass(2525 - 300)
    expect(server.calls).toHaveLength(3)
    await pass(1000)
    expect(answers.map(({ value }) => value?.status)).toEqual([200, 200, 200])
    await pass(300)
    expect(held.size).toBe(0)
    for (const client of clients) client.close()
    expect(vi.getTimerCount()).toBe(0)
  })

  it('is free again when the client that has it is closed', async () => {
    startPage()
    const held = stubLocks()
    const server = startApiServer(() => (server.calls.length === 1 ? refusal(1) : new Promise(() => {})))
    const client = clientOf(server)
    watch(client.fetch('/a'))
    await pass(1500)
    expect(held.size).toBe(1)
    client.close()
    await settle()
    expect(held.size).toBe(0)
    expect(vi.getTimerCount()).toBe(0)
  })

  it('is everybody’s where the browser refuses locks', async () => {
    startPage()
    vi.stubGlobal('navigator', {
      locks: { request: () => Promise.reject(new DOMException('denied', 'SecurityError')) },
    })
    const server = startApiServer(() => (server.calls.length === 1 ? refusal(1) : Response.json(1)))
    const client = clientOf(server)
    const answer = watch(client.fetch('/a'))
    await pass(1100)
    expect(answer.value?.status).toBe(200)
    client.close()
  })
})
