import { setTimeout as sleep } from 'node:timers/promises'
import type { Browser, BrowserContext, Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, describe, expect, inject, it, vi } from 'vitest'
import { json, startTabsServer } from '../../browser/tabs-server.ts'
import { launchChromium } from '../../support/chromium.ts'
import '../../browser/window.ts'

const path = inject('chromiumPath')
vi.setConfig({ testTimeout: 30_000 })

/** A document on the server: what arrived, in order, and how it answers. */
interface Desk {
  readonly arrived: string[]
  readonly value: () => string | undefined
  takesMs: number
  revision: number
}

describe.skipIf(path === undefined)('autosave in a real Chromium', () => {
  let browser: Browser
  let context: BrowserContext
  let server: Awaited<ReturnType<typeof startTabsServer>>
  let desk: Desk
  beforeAll(async () => {
    browser = await launchChromium(path!)
  }, 60_000)
  afterAll(() => browser?.close())
  afterEach(async () => {
    await context?.close()
    await server?.close()
  })

  async function start(rule = '1000/minute', port = 0): Promise<void> {
    const arrived: string[] = desk && port ? desk.arrived : []
    desk = { arrived, value: () => arrived.at(-1), takesMs: 20, revision: 0 }
    server = await startTabsServer({
      rules: { '*': rule as `${number}/minute` },
      port,
      handler: async (request, response, body) => {
        if (request.method === 'GET') return json(response, { value: desk.value(), revision: desk.revision })
        const { value, revision } = JSON.parse(body) as { value: string; revision?: number }
        if (revision !== undefined && revision !== desk.revision) return json(response, { code: 'CHANGED' }, 409)
        arrived.push(value)
        desk.revision++
        await sleep(desk.takesMs)
        json(response, { revision: desk.revision })
      },
    })
  }

  async function openTab(options: { checksRevision?: boolean } = {}): Promise<Page> {
    context ??= await browser.newContext()
    const page = await context.newPage()
    await page.goto(server.url)
    await page.waitForFunction(() => window.holdfast)
    await page.evaluate(({ checksRevision }) => {
      window.client = window.holdfast.createApiClient({ baseUrl: `${location.origin}/api` })
      window.states = []
      let revision = 0
      window.saver = window.holdfast.autosave<string>({
        client: window.client,
        debounceMs: 200,
        minIntervalMs: 300,
        onState: (state) => window.states.push({ ...state, error: String(state.error) }),
        save: async (value, { signal, keepalive }) => {
          const body = JSON.stringify({ value, ...(checksRevision && { revision }) })
          ;({ revision } = await window.client.json<{ revision: number }>('/doc', {
            method: 'PUT',
            body,
            signal,
            keepalive,
          }))
        },
      })
    }, options)
    return page
  }
  const change = (page: Page, value: string) => page.evaluate((value) => window.saver.change(value), value)
  const state = (page: Page) =>
    page.evaluate(() => ({ status: window.saver.state.status, unsaved: window.saver.state.unsaved }))
  const untilSaved = (page: Page) => page.waitForFunction(() => !window.saver.state.unsaved)
  /** Values are numbers as text: none is smaller than one before it. */
  const neverBackwards = () => expect(desk.arrived).toEqual([...desk.arrived].sort((a, b) => Number(a) - Number(b)))

  afterEach(() => {
    neverBackwards()
    context = undefined as unknown as BrowserContext
  })

  it('a reload before the save begins loses nothing: it is sent while the page goes', async () => {
    await start()
    const page = await openTab()
    await change(page, '1')
    await page.reload()
    await expect.poll(() => desk.value()).toBe('1')
  })

  it('a reload in mid-save ends with the newest value', async () => {
    await start()
    desk.takesMs = 500
    const page = await openTab()
    await change(page, '1')
    await page.waitForFunction(() => window.saver.state.status === 'saving')
    await change(page, '2')
    await page.reload()
    await expect.poll(() => desk.value()).toBe('2')
  })

  it('a tab that is closed sends its last value; one that is killed had said that it was unsaved', async () => {
    await start()
    const page = await openTab()
    await change(page, '1')
    await page.close({ runBeforeUnload: true })
    await expect.poll(() => desk.value()).toBe('1')
    const killed = await openTab()
    await change(killed, '2')
    expect(await state(killed)).toEqual({ status: 'pending', unsaved: true })
    const session = await context.newCDPSession(killed)
    const crashed = killed.waitForEvent('crash')
    // It is never answered: the tab is gone.
    void session.send('Page.crash').catch(() => {})
    await crashed
    await sleep(300)
    expect(['1', '2']).toContain(desk.value())
  })

  it('offline it says so, keeps the newest value, and saves it when the network is back', async () => {
    await start()
    const page = await openTab()
    await context.setOffline(true)
    await change(page, '1')
    await page.waitForFunction(() => window.saver.state.status === 'failed')
    await change(page, '2')
    expect((await state(page)).unsaved).toBe(true)
    await context.setOffline(false)
    await untilSaved(page)
    expect(desk.value()).toBe('2')
  })

  it('a server that restarts is tried again', async () => {
    await start()
    const page = await openTab()
    await change(page, '1')
    await untilSaved(page)
    const { port } = server
    await server.close()
    await change(page, '2')
    await page.waitForFunction(() => window.saver.state.status === 'failed')
    await start('1000/minute', port)
    await untilSaved(page)
    expect(desk.value()).toBe('2')
  })

  it('two tabs that edit: the second is told of the conflict, keeps its payload, and saves when it is asked to', async () => {
    await start()
    const [first, second] = [await openTab({ checksRevision: true }), await openTab({ checksRevision: true })]
    await change(first, '1')
    await untilSaved(first)
    await change(second, '2')
    await second.waitForFunction(() => window.saver.state.status === 'conflict')
    await change(second, '3')
    await sleep(1000)
    expect(await state(second)).toEqual({ status: 'conflict', unsaved: true })
    expect(desk.arrived).toEqual(['1'])
    desk.revision = 0
    await second.evaluate(() => window.saver.flush())
    expect(desk.value()).toBe('3')
    expect((await state(second)).unsaved).toBe(false)
  })

  it('a refusal makes it wait, then it saves the newest value only; nothing fails', async () => {
    await start('2/second')
    const page = await openTab()
    for (const value of ['1', '2', '3', '4', '5']) {
      await change(page, value)
      await page.evaluate(() => void window.saver.flush())
      await sleep(30)
    }
    await untilSaved(page)
    const states = (await page.evaluate(() => window.states)) as Array<{ status: string }>
    expect(states.map(({ status }) => status)).toContain('waiting')
    expect(states.map(({ status }) => status)).not.toContain('failed')
    expect(desk.value()).toBe('5')
  })

  it.each([-86_400_000, 86_400_000])('a clock that is set by %i ms while it waits changes nothing', async (byMs) => {
    await start('1/second')
    const page = await openTab()
    await page.evaluate(() => window.client.fetch('/a'))
    await change(page, '1')
    await page.waitForFunction(() => window.saver.state.status === 'waiting' || !window.saver.state.unsaved)
    await page.evaluate((byMs) => {
      const real = Date.now
      Date.now = () => real() + byMs
    }, byMs)
    const began = performance.now()
    await untilSaved(page)
    expect(performance.now() - began).toBeLessThan(5000)
    expect(desk.value()).toBe('1')
  })

  it('more than 64 KiB cannot be sent while the page goes, and it says so', async () => {
    await start()
    const page = await openTab()
    await page.evaluate(() => {
      window.saver.change('7'.repeat(70_000))
      dispatchEvent(new Event('pagehide'))
    })
    const states = (await page.evaluate(() => window.states)) as Array<{ status: string; error: string }>
    expect(states.some(({ error }) => /too large/.test(error))).toBe(true)
    await untilSaved(page)
    expect(desk.value()).toHaveLength(70_000)
  })

  it('works where storage, channels and locks are forbidden', async () => {
    await start('2/second')
    context = await browser.newContext()
    await context.addInitScript(() => {
      const denied = () => {
        throw new DOMException('denied', 'SecurityError')
      }
      Object.defineProperty(window, 'localStorage', { get: denied })
      Object.defineProperty(window, 'BroadcastChannel', { value: denied })
      Object.defineProperty(navigator, 'locks', { value: undefined })
    })
    const page = await openTab()
    for (const value of ['1', '2', '3', '4']) {
      await change(page, value)
      await page.evaluate(() => window.saver.flush())
    }
    expect(desk.value()).toBe('4')
  })

  it('comes back from the back/forward cache as it was', async () => {
    await start()
    const page = await openTab()
    await change(page, '1')
    await page.goto(`${server.url}other`)
    await expect.poll(() => desk.value()).toBe('1')
    await page.goBack()
    await page.waitForFunction(() => window.holdfast)
    if (await page.evaluate(() => Boolean(window.saver))) {
      await change(page, '2')
      await untilSaved(page)
      expect(desk.value()).toBe('2')
    }
  })
})
