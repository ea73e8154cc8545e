import { ApiError, createApiClient, poll } from 'holdfast/browser'
import { describe, expect, it, vi } from 'vitest'
import { refusal, startApiServer } from './api-server.ts'
import { startPage } from './page.ts'
import { inVirtualTime, pass, settle, watch } from './virtual-time.ts'

inVirtualTime()

/** A task that takes `takesMs`, counts, and may fail. */
function startTask(takesMs = 100) {
  const task = {
    calls: [] as number[],
    open: 0,
    mostOpen: 0,
    ends: (): void => {},
    run: (signal: AbortSignal) =>
      new Promise<number>((resolve, reject) => {
        const number = task.calls.push(Math.round(performance.now() - began))
        task.mostOpen = Math.max(task.mostOpen, ++task.open)
        const timer = setTimeout(() => {
          task.open--
          try {
            task.ends()
            resolve(number)
          } catch (error) {
            reject(error)
          }
        }, takesMs)
        signal.addEventListener('abort', () => {
          task.open--
          clearTimeout(timer)
          reject(signal.reason)
        })
      }),
  }
  const began = performance.now()
  return task
}

describe('poll', () => {
  it('runs at once, then everyMs after the end of each round, one round at a time', async () => {
    const task = startTask(300)
    const results: number[] = []
    const { stop } = poll(task.run, { everyMs: 1000, onResult: (value) => results.push(value) })
    await pass(4000)
    expect(task.calls).toEqual([0, 1300, 2600, 3900])
    expect(results).toEqual([1, 2, 3])
    expect(task.mostOpen).toBe(1)
    stop()
    await settle()
    expect(vi.getTimerCount()).toBe(0)
  })

  it('now() joins the round under way, and begins the interval anew: a message and the timer cost one call', async () => {
    const task = startTask(100)
    const { now, stop } = poll(task.run, { everyMs: 1000 })
    await pass(50)
    const joined = [watch(now()), watch(now())]
    await pass(50)
    expect(joined.map(({ state }) => state)).toEqual(['resolved', 'resolved'])
    expect(task.calls).toHaveLength(1)
    await pass(950)
    void now()
    await pass(900)
    expect(task.calls).toEqual([0, 1050])
    await pass(1000)
    expect(task.calls).toEqual([0, 1050, 2150])
    stop()
  })

  it('goes on after a round that fails, at retryAt where that is later; now() rejects with what the task did', async () => {
    const task = startTask(0)
    task.ends = () => {
      if (task.calls.length === 2) throw Object.assign(new Error('429'), { retryAt: new Date(Date.now() + 5000) })
      if (task.calls.length !== 4) throw new Error('500')
    }
    const { now, stop } = poll(task.run, { everyMs: 1000 })
    await pass(1)
    const asked = watch(now())
    await pass(1)
    expect(asked.error).toMatchObject({ message: '429' })
    await pass(8000)
    expect(task.calls.length).toBe(5)
    expect(task.calls[2]! - task.calls[1]!).toBeGreaterThanOrEqual(5000)
    expect(task.calls[3]! - task.calls[2]!).toBeLessThan(1010)
    stop()
  })

  it.each<[string, () => Promise<number>]>([
    [
      'throws at once',
      () => {
        throw new Error('at once')
      },
    ],
    ['rejects with nothing', () => Promise.reject()],
  ])('takes a task that %s for a round that failed', async (_name, task) => {
    const run = vi.fn(task)
    const { stop } = poll(run, { everyMs: 1000 })
    await pass(2500)
    expect(run).toHaveBeenCalledTimes(3)
    stop()
  })

  it('gives up a round that never ends after 120 s', async () => {
    const signals: AbortSignal[] = []
    const { now, stop } = poll(
      (signal) => {
        signals.push(signal)
        return new Promise<number>(() => {})
      },
      { everyMs: 1000 },
    )
    await pass(1)
    const asked = watch(now())
    await pass(120_000)
    expect(asked.error).toMatchObject({ code: 'TIMEOUT' })
    expect(signals[0]!.aborted).toBe(true)
    await pass(1000)
    expect(signals).toHaveLength(2)
    stop()
  })

  it("waits for its client's gate, also with now()", async () => {
    const server = startApiServer(() => (server.calls.length === 1 ? refusal(5) : Response.json(1)))
    const client = createApiClient({ baseUrl: 'http://app.example', fetch: server.fetch as typeof fetch })
    const task = startTask(10)
    const { now, stop } = poll(task.run, { everyMs: 1000, client })
    await pass(500)
    watch(client.fetch('/a', { method: 'PUT', body: 'x' }))
    await pass(2000)
    const asked = watch(now())
    await pass(2900)
    expect(task.calls).toHaveLength(1)
    await pass(200)
    expect(asked.state).toBe('resolved')
    expect(task.calls).toHaveLength(2)
    stop()
    client.close()
  })

  it('stops while the page is hidden, runs at once when it is seen and its time has come; now() runs all the same', async () => {
    const page = startPage()
    const task = startTask(10)
    const { now, stop } = poll(task.run, { everyMs: 1000 })
    await pass(100)
    page.hide()
    await pass(10_000)
    expect(task.calls).toHaveLength(1)
    watch(now())
    await pass(500)
    expect(task.calls).toHaveLength(2)
    page.show()
    await pass(100)
    expect(task.calls).toHaveLength(2)
    page.hide()
    await pass(5000)
    page.show()
    await pass(10)
    expect(task.calls).toHaveLength(3)
    stop()
    expect([vi.getTimerCount(), page.listening(), page.openChannels()]).toEqual([0, 0, 0])
  })

  it('begins when it is first seen, where the page is opened in the background', async () => {
    const page = startPage()
    page.hide()
    const task = startTask(10)
    const { stop } = poll(task.run, { everyMs: 1000 })
    await pass(5000)
    expect(task.calls).toHaveLength(0)
    page.show()
    await pass(10)
    expect(task.calls).toHaveLength(1)
    stop()
  })

  it('stopped, aborts its round, rejects who waits, and is silent', async () => {
    const task = startTask(100)
    const results: number[] = []
    const { now, stop } = poll(task.run, { everyMs: 1000, onResult: (value) => results.push(value) })
    await pass(50)
    const asked = watch(now())
    stop()
    stop()
    await settle()
    expect(asked.error).toMatchObject({ code: 'CLOSED' })
    expect(task.open).toBe(0)
    expect(vi.getTimerCount()).toBe(0)
    await expect(now()).rejects.toMatchObject({ code: 'CLOSED' })
    await pass(5000)
    expect(task.calls).toHaveLength(1)
    expect(results).toEqual([])
  })

  it.each<[string, unknown, object]>([
    ['no task', undefined, { everyMs: 1000 }],
    ['no everyMs', async () => 1, {}],
    ['everyMs: 0', async () => 1, { everyMs: 0 }],
    ['everyMs: NaN', async () => 1, { everyMs: Number.NaN }],
    ['a key that is no text', async () => 1, { everyMs: 1000, key: 7 }],
    ['an unknown name', async () => 1, { everyMs: 1000, every: 7 }],
  ])('refuses %s', (_name, task, options) => {
    expect(() => poll(task as () => Promise<number>, options as { everyMs: number })).toThrowError(
      expect.objectContaining({ name: ApiError.name, code: 'CONFIG_INVALID' }),
    )
  })
})

describe('the tabs of a page', () => {
  it('hand each other results: a new one gets the last, and asks when that is old', async () => {
    const page = startPage()
    const [first, second] = [startTask(10), startTask(10)]
    const got: number[] = []
    const a = poll(first.run, { everyMs: 1000, key: 'k' })
    await pass(500)
    const b = poll(second.run, { everyMs: 1000, key: 'k', onResult: (value) => got.push(value) })
    await pass(40)
    expect(got).toEqual([1])
    expect(second.calls).toEqual([])
    a.stop()
    await pass(1000)
    expect(second.calls).toHaveLength(1)
    b.stop()
    expect(page.openChannels()).toBe(0)
  })

  it('give a result once, however many of them tell it', async () => {
    startPage()
    const tabs = [poll(async () => 'x', { everyMs: 60_000, key: 'k' })]
    await pass(200)
    tabs.push(poll(async () => 'z', { everyMs: 60_000, key: 'k' }))
    await pass(200)
    const got: string[] = []
    tabs.push(poll(async () => 'y', { everyMs: 60_000, key: 'k', onResult: (value) => got.push(value) }))
    await pass(200)
    expect(got).toEqual(['x'])
    for (const { stop } of tabs) stop()
  })

  it('run a round together: now() in one joins that of another, and the turn is free afterwards, whatever happens', async () => {
    startPage()
    const held = new Set<string>()
    const request = async (
      name: string,
      _options: object,
      work: (lock: object | null) => Promise<void> | undefined,
    ) => {
      await new Promise((resolve) => setTimeout(resolve, 5))
      if (held.has(name)) return work(null)
      held.add(name)
      await work({})
      held.delete(name)
    }
    vi.stubGlobal('navigator', { locks: { request } })
    const tasks = [startTask(100), startTask(100)]
    const [a, b] = tasks.map((task) => poll(task.run, { everyMs: 1000, key: 'k' }))
    await pass(70)
    const joined = watch(b!.now())
    await pass(150)
    expect(joined.state).toBe('resolved')
    expect(tasks.map(({ calls }) => calls.length)).toEqual([1, 0])
    await pass(300)
    // Stopped while it asks for the turn: a lock that comes later is not kept.
    void a!.now()
    a!.stop()
    await pass(50)
    expect(held.size).toBe(0)
    expect(tasks[0]!.calls).toHaveLength(1)
    b!.stop()
    await pass(50)
    const late = watch(a!.now())
    await pass(20)
    expect(late.error).toMatchObject({ code: 'CLOSED' })
    expect([held.size, vi.getTimerCount()]).toEqual([0, 0])
  })

  it.each([
    ['nothing', undefined],
    ['null', null],
    ['a text', 'x'],
    ['an id that is none', { id: 'seven', value: 'x', restMs: 1000 }],
    ['a rest that is none', { id: 'a', value: 'x', restMs: 'long' }],
    ['a negative rest', { id: 'a', value: 'x', restMs: -1 }],
    ['a rest for ever', { restMs: Number.POSITIVE_INFINITY }],
  ])('do not mind rubbish on the channel: %s', async (_name, message) => {
    const page = startPage()
    const task = startTask(10)
    const results: number[] = []
    const { stop } = poll(task.run, { everyMs: 1000, key: 'k', onResult: (value) => results.push(value) })
    await pass(100)
    page.post('holdfast:poll:k', message)
    await pass(901_000)
    expect(task.calls.length).toBeGreaterThan(1)
    expect(results.every((value) => typeof value === 'number')).toBe(true)
    stop()
  })

  it('each poll for themselves where channels are forbidden', async () => {
    startPage({ channels: false })
    const task = startTask(10)
    const { stop } = poll(task.run, { everyMs: 1000 })
    await pass(3000)
    expect(task.calls).toHaveLength(3)
    stop()
  })

  it('have a key each by default: two polls of one page never hand each other results', async () => {
    startPage()
    const results: string[] = []
    const polls = ['a', 'b'].map((name) =>
      poll(async () => name, { everyMs: 1000, onResult: (value) => results.push(`${name} got ${value}`) }),
    )
    await pass(100)
    expect(results).toEqual(['a got a', 'b got b'])
    // Stopped and begun anew, as StrictMode does, it has the key it had.
    polls[0]!.stop()
    const heard: string[] = []
    const listener = poll(async () => 'l', {
      everyMs: 1000,
      key: '/page 1000 0',
      onResult: (value) => heard.push(value),
    })
    const again = poll(async () => 'c', { everyMs: 1000 })
    await pass(2000)
    expect(heard).toContain('c')
    for (const one of [listener, again, polls[1]!]) one.stop()
  })
})
