import { ApiError, type AutosaveState, autosave, createApiClient } from 'holdfast/browser'
import { describe, expect, it, vi } from 'vitest'
import { refusal, startApiServer } from './api-server.ts'
import { startPage } from './page.ts'
import { inVirtualTime, pass, settle, watch } from './virtual-time.ts'

inVirtualTime()

/** A place to save to: each save takes `takesMs`, and ends as `ends` says. */
function startDesk(takesMs = 50) {
  const desk = {
    saved: [] as string[],
    started: [] as Array<{ value: string; atMs: number; keepalive: boolean }>,
    open: 0,
    mostOpen: 0,
    ends: (_value: string): void => {},
    save: (value: string, { signal, keepalive }: { signal: AbortSignal; keepalive: boolean }) =>
      new Promise<void>((resolve, reject) => {
        desk.started.push({ value, atMs: Math.round(performance.now() - began), keepalive })
        desk.mostOpen = Math.max(desk.mostOpen, ++desk.open)
        const end = () => {
          desk.open--
          try {
            desk.ends(value)
            desk.saved.push(value)
            resolve()
          } catch (error) {
            reject(error)
          }
        }
        const timer = takesMs > 0 ? setTimeout(end, takesMs) : end()
        signal.addEventListener('abort', () => {
          desk.open--
          if (timer) clearTimeout(timer)
          reject(signal.reason)
        })
      }),
  }
  const began = performance.now()
  return desk
}

const at = (desk: ReturnType<typeof startDesk>) => desk.started.map(({ value, atMs }) => [value, atMs])

describe('autosave', () => {
  it('saves 1 200 ms after the last change, the newest value only', async () => {
    const desk = startDesk()
    const saver = autosave({ save: desk.save })
    for (const value of ['a', 'ab', 'abc']) {
      saver.change(value)
      await pass(500)
    }
    await pass(699)
    expect(desk.started).toEqual([])
    await pass(1)
    expect(at(desk)).toEqual([['abc', 2200]])
    await pass(50)
    expect(saver.state).toEqual({ status: 'idle', unsaved: false })
    await saver.close()
  })

  it('leaves 2 500 ms between automatic saves, and none before a manual one', async () => {
    const desk = startDesk()
    const saver = autosave({ save: desk.save })
    saver.change('a')
    await pass(1300)
    saver.change('b')
    await pass(10_000)
    expect(at(desk)).toEqual([
      ['a', 1200],
      ['b', 3700],
    ])
    saver.change('c')
    await pass(1250)
    saver.change('d')
    const flushed = watch(saver.flush())
    expect(desk.started.at(-1)!.value).toBe('d')
    await pass(50)
    expect(flushed.state).toBe('resolved')
    await saver.close()
  })

  it('tells its state from the moment of a change, before change() returns', async () => {
    const desk = startDesk()
    const states: AutosaveState[] = []
    const saver = autosave({ save: desk.save, onState: (state) => states.push(state) })
    expect(saver.state).toEqual({ status: 'idle', unsaved: false })
    saver.change('a')
    expect(states).toEqual([{ status: 'pending', unsaved: true }])
    await pass(1300)
    expect(states.map(({ status, unsaved }) => [status, unsaved])).toEqual([
      ['pending', true],
      ['saving', true],
      ['idle', false],
    ])
    await saver.close()
  })

  it('has one save under way; what changes meanwhile follows it', async () => {
    const desk = startDesk(5000)
    const saver = autosave({ save: desk.save })
    saver.change('a')
    await pass(1300)
    for (const value of ['b', 'c', 'd']) {
      saver.change(value)
      await pass(1500)
    }
    expect(saver.state).toEqual({ status: 'saving', unsaved: true })
    await pass(20_000)
    expect(desk.saved).toEqual(['a', 'd'])
    expect(desk.mostOpen).toBe(1)
    await saver.close()
  })

  it('flush() during a save saves what came after it at once, and resolves with that', async () => {
    const desk = startDesk(1000)
    const saver = autosave({ save: desk.save })
    saver.change('a')
    await pass(1200)
    const first = watch(saver.flush())
    saver.change('b')
    const second = watch(saver.flush())
    await pass(1000)
    expect([first.state, second.state]).toEqual(['resolved', 'pending'])
    await pass(1000)
    expect(second.state).toBe('resolved')
    expect(desk.saved).toEqual(['a', 'b'])
    await saver.flush()
    await saver.close()
  })

  it('keeps the newest value after a failure, and tries again with longer and longer breaks', async () => {
    const desk = startDesk(0)
    let failures = 4
    desk.ends = () => {
      if (failures-- > 0) throw new Error('500')
    }
    const saver = autosave({ save: desk.save })
    saver.change('a')
    await pass(1200)
    expect(saver.state).toEqual({ status: 'failed', unsaved: true, error: new Error('500') })
    saver.change('b')
    expect(saver.state).toMatchObject({ status: 'failed', unsaved: true })
    await pass(60_000)
    // After 1 s and 2 s there were no 2.5 s between two saves yet; then 4 s, 8 s.
    expect(at(desk)).toEqual([
      ['a', 1200],
      ['b', 3700],
      ['b', 6200],
      ['b', 10_200],
      ['b', 18_200],
    ])
    expect(saver.state).toEqual({ status: 'idle', unsaved: false })
    // The next failure begins small again.
    failures = 1
    saver.change('c')
    await pass(1200 + 2500)
    expect(desk.saved.at(-1)).toBe('c')
    await saver.close()
  })

  it('waits for retryAt of an error, whoever threw it, and does not count it as a failure', async () => {
    const desk = startDesk(0)
    const retryAt = new Date(Date.now() + 1200 + 7000)
    let isRefused = true
    desk.ends = () => {
      if (isRefused) throw Object.assign(new Error('429'), { retryAt })
    }
    const saver = autosave({ save: desk.save })
    saver.change('a')
    await pass(1200)
    expect(saver.state).toMatchObject({ status: 'waiting', unsaved: true, retryAt })
    isRefused = false
    await pass(6999)
    expect(desk.started).toHaveLength(1)
    await pass(1)
    expect(desk.saved).toEqual(['a'])
    expect(saver.state).toEqual({ status: 'idle', unsaved: false })
    await saver.close()
  })

  it.each([
    ['in the past', new Date(0)],
    ['ten years ahead', new Date(Date.UTC(2036, 0, 1))],
    ['no date', new Date(Number.NaN)],
    ['a text', '2026-01-01'],
  ])('does not ask in a hurry where retryAt is %s', async (_name, retryAt) => {
    const desk = startDesk(0)
    desk.ends = () => {
      throw Object.assign(new Error('429'), { retryAt })
    }
    const saver = autosave({ save: desk.save })
    saver.change('a')
    await pass(60_000)
    expect(desk.started.length).toBeLessThanOrEqual(8)
    expect(saver.state.unsaved).toBe(true)
    await saver.close()
    expect(vi.getTimerCount()).toBe(0)
  })

  it('pauses at 409, keeps the newest payload, and goes on with flush()', async () => {
    const desk = startDesk(0)
    let isConflict = true
    desk.ends = () => {
      if (isConflict) throw new ApiError('changed elsewhere', 'CONFLICT', 409)
    }
    const saver = autosave({ save: desk.save })
    saver.change('a')
    await pass(1200)
    expect(saver.state).toMatchObject({ status: 'conflict', unsaved: true, error: { status: 409 } })
    saver.change('b')
    await pass(60_000)
    expect(desk.started).toHaveLength(1)
    expect(saver.state).toMatchObject({ status: 'conflict', unsaved: true })
    await expect(saver.flush()).rejects.toMatchObject({ status: 409 })
    expect(saver.state.status).toBe('conflict')
    isConflict = false
    const flushed = watch(saver.flush())
    await pass(0)
    expect(flushed.state).toBe('resolved')
    expect(desk.saved).toEqual(['b'])
    expect(saver.state).toEqual({ status: 'idle', unsaved: false })
    await saver.close()
  })

  it.each<[string, () => Promise<void>]>([
    [
      'throws at once',
      () => {
        throw new Error('at once')
      },
    ],
    ['rejects with nothing', () => Promise.reject()],
    ['rejects with null', () => Promise.reject(null)],
    ['rejects with a symbol', () => Promise.reject(Symbol('x'))],
    ['rejects with an object without a prototype', () => Promise.reject(Object.create(null))],
  ])('takes a save that %s for a failed one', async (_name, save) => {
    const saver = autosave({ save })
    saver.change('a')
    await pass(1200)
    expect(saver.state).toMatchObject({ status: 'failed', unsaved: true })
    expect(saver.state).toHaveProperty('error')
    const flushed = watch(saver.flush())
    await settle()
    expect(flushed.state).toBe('rejected')
    await saver.close()
  })

  it('takes a save that returns nothing at all for done', async () => {
    const saver = autosave({ save: (() => {}) as unknown as () => Promise<void> })
    saver.change('a')
    await pass(1200)
    expect(saver.state).toEqual({ status: 'idle', unsaved: false })
    await saver.close()
  })

  it('gives up a save that never settles after 120 s, tells it so, and tries again', async () => {
    const signals: AbortSignal[] = []
    const saver = autosave({
      save: (_value: string, { signal }) => {
        signals.push(signal)
        return new Promise<void>(() => {})
      },
    })
    saver.change('a')
    await pass(1200 + 119_999)
    expect(saver.state).toEqual({ status: 'saving', unsaved: true })
    await pass(1)
    expect(saver.state).toMatchObject({ status: 'failed', unsaved: true, error: { code: 'TIMEOUT' } })
    expect(signals[0]!.aborted).toBe(true)
    await pass(1000)
    expect(signals).toHaveLength(2)
    const closing = watch(saver.close())
    await pass(120_000)
    expect(closing.state).toBe('resolved')
    expect(saver.state.unsaved).toBe(true)
    expect(vi.getTimerCount()).toBe(0)
  })

  it('close() saves once more what is unsaved, then leaves no timer; a later change throws', async () => {
    const page = startPage()
    const desk = startDesk()
    const saver = autosave({ save: desk.save })
    saver.change('a')
    const closing = watch(saver.close())
    expect(desk.started).toMatchObject([{ value: 'a' }])
    await pass(50)
    expect(closing.state).toBe('resolved')
    expect(saver.state).toEqual({ status: 'idle', unsaved: false })
    expect(() => saver.change('b')).toThrowError(expect.objectContaining({ name: 'ApiError', code: 'CLOSED' }))
    expect(vi.getTimerCount()).toBe(0)
    expect(page.listening()).toBe(0)
    await saver.close()
    await saver.flush()
  })

  it('close() waits for the save under way and the one that follows it', async () => {
    const desk = startDesk(1000)
    const saver = autosave({ save: desk.save })
    saver.change('a')
    await pass(1200)
    saver.change('b')
    const closing = watch(saver.close())
    await pass(1500)
    expect(closing.state).toBe('pending')
    await pass(500)
    expect(closing.state).toBe('resolved')
    expect(desk.saved).toEqual(['a', 'b'])
    expect(vi.getTimerCount()).toBe(0)
  })

  it('close() never rejects: the state says that something was lost', async () => {
    const desk = startDesk()
    desk.ends = () => {
      throw new Error('500')
    }
    const saver = autosave({ save: desk.save })
    saver.change('a')
    const closing = watch(saver.close())
    await pass(100)
    expect(closing.state).toBe('resolved')
    expect(saver.state).toMatchObject({ status: 'failed', unsaved: true })
    await pass(60_000)
    expect(desk.started).toHaveLength(1)
  })

  it('a listener that throws disturbs nothing', async () => {
    const uncaught: unknown[] = []
    const hear = (error: unknown) => void uncaught.push(error)
    const others = process.rawListeners('unhandledRejection') as Array<() => void>
    process.removeAllListeners('unhandledRejection').on('unhandledRejection', hear)
    const desk = startDesk()
    const saver = autosave({
      save: desk.save,
      onState: () => {
        throw new Error('listener')
      },
    })
    saver.change('a')
    await pass(1300)
    expect(desk.saved).toEqual(['a'])
    await saver.close()
    vi.useRealTimers()
    await new Promise((resolve) => setTimeout(resolve, 5))
    process.removeAllListeners('unhandledRejection')
    for (const other of others) process.on('unhandledRejection', other)
    expect(uncaught).toHaveLength(3)
  })

  it.each<[string, object]>([
    ['no save', {}],
    ['a save that is none', { save: 'save' }],
    ['debounceMs: -1', { debounceMs: -1 }],
    ['minIntervalMs: NaN', { minIntervalMs: Number.NaN }],
    ['debounceMs: Infinity', { debounceMs: Number.POSITIVE_INFINITY }],
    ['an unknown name', { debounce: 100 }],
  ])('refuses %s', (name, options) => {
    const all = name === 'no save' ? options : { save: async () => {}, ...options }
    expect(() => autosave(all as Parameters<typeof autosave>[0])).toThrowError(
      expect.objectContaining({ code: 'CONFIG_INVALID' }),
    )
  })
})

describe("autosave at a client's gate", () => {
  it('waits for it, and then saves the newest value only', async () => {
    const server = startApiServer(() => (server.calls.length === 1 ? refusal(10) : Response.json(1)))
    const client = createApiClient({ baseUrl: 'http://app.example', fetch: server.fetch as typeof fetch })
    const saver = autosave({
      client,
      save: async (value: string, { signal, keepalive }) => {
        await client.fetch('/doc', { method: 'PUT', body: value, signal, keepalive })
      },
    })
    watch(client.fetch('/a'))
    await pass(20)
    saver.change('a')
    expect(saver.state).toEqual({ status: 'pending', unsaved: true })
    await pass(1200)
    expect(saver.state).toEqual({ status: 'waiting', unsaved: true, retryAt: client.waitingUntil })
    saver.change('b')
    await pass(7000)
    expect(server.calls).toHaveLength(1)
    await pass(3000)
    expect(server.paths()).toEqual(['/a', '/a', '/doc'])
    expect(await server.calls[2]!.request.text()).toBe('b')
    expect(saver.state).toEqual({ status: 'idle', unsaved: false })
    await saver.close()
    client.close()
  })

  it('is waiting while the gate holds the save itself', async () => {
    const server = startApiServer(() => (server.calls.length === 1 ? refusal(3) : Response.json(1)))
    const client = createApiClient({ baseUrl: 'http://app.example', fetch: server.fetch as typeof fetch })
    const states: AutosaveState[] = []
    const saver = autosave({
      client,
      onState: (state) => states.push(state),
      save: async (value: string, { signal }) => {
        await client.fetch('/doc', { method: 'PUT', body: value, signal })
      },
    })
    saver.change('a')
    await pass(1215)
    await settle()
    expect(saver.state).toMatchObject({ status: 'waiting', unsaved: true, retryAt: expect.any(Date) })
    await pass(3020)
    expect(states.map(({ status }) => status)).toEqual(['pending', 'saving', 'waiting', 'saving', 'idle'])
    await saver.close()
    client.close()
  })

  it('flush() resolves with what was changed after it, where that is what is saved', async () => {
    const server = startApiServer(() => (server.calls.length === 1 ? refusal(3) : Response.json(1)))
    const client = createApiClient({ baseUrl: 'http://app.example', fetch: server.fetch as typeof fetch })
    const desk = startDesk()
    const saver = autosave({ client, save: desk.save })
    watch(client.fetch('/a'))
    await pass(20)
    saver.change('a')
    const flushed = watch(saver.flush())
    saver.change('b')
    await pass(3100)
    expect(flushed.state).toBe('resolved')
    expect(desk.saved).toEqual(['b'])
    await saver.close()
    client.close()
  })

  it('flush() waits for it too, and close() does not', async () => {
    const server = startApiServer(() => (server.calls.length === 1 ? refusal(10) : Response.json(1)))
    const client = createApiClient({ baseUrl: 'http://app.example', fetch: server.fetch as typeof fetch })
    const desk = startDesk()
    const saver = autosave({ client, save: desk.save })
    watch(client.fetch('/a'))
    await pass(20)
    saver.change('a')
    const flushed = watch(saver.flush())
    await pass(5000)
    expect(flushed.state).toBe('pending')
    expect(saver.state.status).toBe('waiting')
    const closing = watch(saver.close())
    expect(desk.started).toHaveLength(1)
    await pass(50)
    expect([flushed.state, closing.state]).toEqual(['resolved', 'resolved'])
    client.close()
  })
})

describe('autosave when the page goes away', () => {
  it('sends the newest value with keepalive before the event ends, in place of the save under way', async () => {
    const page = startPage()
    const desk = startDesk(1000)
    const saver = autosave({ save: desk.save })
    saver.change('a')
    await pass(1500)
    saver.change('b')
    page.leave()
    expect(desk.started.map(({ value, keepalive }) => [value, keepalive])).toEqual([
      ['a', false],
      ['b', true],
    ])
    expect(saver.state).toEqual({ status: 'saving', unsaved: true })
    await pass(1000)
    expect(desk.saved).toEqual(['b'])
    expect(saver.state).toEqual({ status: 'idle', unsaved: false })
    page.leave()
    expect(desk.started).toHaveLength(2)
    await saver.close()
  })

  it('sends again what is under way without keepalive, and not what is under way with it', async () => {
    const page = startPage()
    const desk = startDesk(1000)
    const saver = autosave({ save: desk.save })
    saver.change('a')
    await pass(1500)
    page.leave()
    page.leave()
    page.hide()
    expect(desk.started.map(({ value, keepalive }) => [value, keepalive])).toEqual([
      ['a', false],
      ['a', true],
    ])
    await pass(1000)
    expect(saver.state.unsaved).toBe(false)
    await saver.close()
  })

  it('says so where 64 KiB do not suffice, for all that is under way together', async () => {
    const page = startPage()
    const desk = startDesk(100)
    const states: AutosaveState[] = []
    const small = autosave({ save: desk.save })
    const large = autosave({ save: desk.save, onState: (state) => states.push(state) })
    small.change('x'.repeat(40_000))
    large.change('ü'.repeat(15_000))
    page.leave()
    expect(desk.started.map(({ keepalive }) => keepalive)).toEqual([true, false])
    expect(states.at(-1)).toMatchObject({ status: 'saving', unsaved: true, error: { code: 'KEEPALIVE_TOO_LARGE' } })
    await pass(100)
    expect(states.at(-1)).toEqual({ status: 'idle', unsaved: false })
    // The first one's part of the budget is free again.
    large.change('ü'.repeat(15_000))
    page.leave()
    expect(desk.started.at(-1)!.keepalive).toBe(true)
    await pass(100)
    for (const saver of [small, large]) await saver.close()
  })

  it.each<[string, unknown, boolean]>([
    ['a Blob of 60 KiB', new Blob(['x'.repeat(61_440)]), true],
    ['a Blob of 65 KiB', new Blob(['x'.repeat(66_560)]), false],
    ['bytes', new Uint8Array(65_537), false],
    ['a buffer', new ArrayBuffer(65_536), true],
    ['an object by its JSON', { text: 'x'.repeat(65_530) }, false],
    ['what has no JSON', 10n, true],
  ])('weighs %s', async (_name, value, fits) => {
    const page = startPage()
    const seen: boolean[] = []
    const saver = autosave({ save: async (_value: unknown, { keepalive }) => void seen.push(keepalive) })
    saver.change(value)
    page.leave()
    expect(seen).toEqual([fits])
    await settle()
    await saver.close()
  })

  it('does not send what is in conflict', async () => {
    const page = startPage()
    const desk = startDesk(0)
    desk.ends = () => {
      throw new ApiError('changed elsewhere', 'CONFLICT', 409)
    }
    const saver = autosave({ save: desk.save })
    saver.change('a')
    await pass(1200)
    page.leave()
    page.hide()
    await saver.close()
    expect(desk.started).toHaveLength(1)
    expect(saver.state).toMatchObject({ status: 'conflict', unsaved: true })
  })

  it('ends the debounce when it is hidden, but no wait that was asked for, and nothing when nothing changed', async () => {
    const page = startPage()
    const desk = startDesk(0)
    const saver = autosave({ save: desk.save })
    page.hide()
    page.show()
    expect(desk.started).toEqual([])
    saver.change('a')
    page.hide()
    expect(desk.started).toMatchObject([{ value: 'a', keepalive: true }])
    page.show()
    await pass(10)
    desk.ends = () => {
      throw Object.assign(new Error('429'), { retryAt: new Date(Date.now() + 30_000) })
    }
    saver.change('b')
    await pass(1200)
    expect(saver.state.status).toBe('waiting')
    page.hide()
    await pass(1000)
    expect(desk.started).toHaveLength(2)
    await saver.close()
  })

  it('tries again when the browser is back online, unless the server named a time', async () => {
    const page = startPage()
    const desk = startDesk(0)
    let error: unknown = new TypeError('Failed to fetch')
    desk.ends = () => {
      if (error) throw error
    }
    const saver = autosave({ save: desk.save })
    saver.change('a')
    await pass(7000)
    expect(desk.started).toHaveLength(3)
    error = undefined
    page.online()
    await pass(2000)
    expect(desk.saved).toEqual(['a'])
    error = Object.assign(new Error('429'), { retryAt: new Date(Date.now() + 30_000) })
    saver.change('b')
    await pass(5000)
    const before = desk.started.length
    page.online()
    await pass(100)
    expect(desk.started).toHaveLength(before)
    await saver.close()
  })
})
