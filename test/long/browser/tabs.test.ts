import { setTimeout as sleep } from 'node:timers/promises'
import type { Browser, BrowserContext, Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, describe, expect, inject, it, vi } from 'vitest'
import { makeClient } from '../../browser/tab-client.ts'
import { json, startTabsServer } from '../../browser/tabs-server.ts'
import { launchChromium } from '../../support/chromium.ts'
import '../../browser/window.ts'

const path = inject('chromiumPath')
vi.setConfig({ testTimeout: 30_000 })

describe.skipIf(path === undefined)('the tabs of a real Chromium', () => {
  let browser: Browser
  let context: BrowserContext
  let server: Awaited<ReturnType<typeof startTabsServer>>
  beforeAll(async () => {
    browser = await launchChromium(path!)
  }, 60_000)
  afterAll(() => browser?.close())
  afterEach(async () => {
    await context?.close()
    await server?.close()
  })

  async function openTabs(count: number): Promise<Page[]> {
    context = await browser.newContext()
    return Promise.all(Array.from({ length: count }, () => openTab()))
  }
  async function openTab(where = server.url): Promise<Page> {
    const page = await context.newPage()
    await page.goto(where)
    await page.waitForFunction(() => window.holdfast)
    return page
  }
  it('a storm at the guard itself: all tabs are served in the end, no request fails, and between windows there is one probe', async () => {
    server = await startTabsServer({ rules: { '*': '20/second' } })
    const tabs = await openTabs(3)
    await Promise.all(tabs.map((page, tab) => makeClient(page, tab)))
    const statuses = await Promise.all(
      tabs.map((page) =>
        page.evaluate(() =>
          Promise.all(
            Array.from({ length: 20 }, async (_, number) => (await window.client.fetch(`/${number}`)).status),
          ),
        ),
      ),
    )
    expect(statuses.flat()).toEqual(Array(60).fill(200))
    const refused = server.seen.filter(({ status }) => status === 429)
    expect(refused.length).toBeLessThan(40)
  })

  it('a tab that is opened later finds the gate closed, and opens it when the time has come', async () => {
    server = await startTabsServer({ rules: { '*': '1/second' } })
    const [first] = await openTabs(1)
    await makeClient(first!, 'first')
    await first!.evaluate(() => {
      window.done = Promise.all([window.client.fetch('/a'), window.client.fetch('/b')])
    })
    await first!.waitForFunction(() => window.client.waitingUntil !== null)
    const second = await openTab()
    const isWaiting = await second.evaluate(() => {
      window.client = window.holdfast.createApiClient({ baseUrl: `${location.origin}/api` })
      return window.client.waitingUntil !== null
    })
    expect(isWaiting).toBe(true)
    await first!.evaluate(() => window.done)
    await second.waitForFunction(() => window.client.waitingUntil === null)
    expect(await second.evaluate(async () => (await window.client.fetch('/c')).status)).toBe(200)
  })

  it('a tab that is killed while it holds the probe holds nobody up', async () => {
    let hang = true
    server = await startTabsServer({
      rules: { '*': '1/second' },
      handler: (request, response) => {
        if (request.url === '/api/probe' && hang && server.seen.length > 2) {
          hang = false
          return
        }
        json(response, 1)
      },
    })
    const [first, second] = await openTabs(2)
    await makeClient(first!, 'first')
    await makeClient(second!, 'second')
    await first!.evaluate(() => {
      void window.client.fetch('/x')
      void window.client.fetch('/probe')
    })
    await second!.waitForFunction(() => window.client.waitingUntil !== null)
    await first!.waitForFunction(() => !window.client.waitingUntil || +window.client.waitingUntil < Date.now())
    const answer = second!.evaluate(async () => (await window.client.fetch('/other')).status)
    await sleep(100)
    await first!.close()
    expect(await answer).toBe(200)
  })

  it('one of the tabs of a page polls for all, and hands its result to all; a new one gets the last at once', async () => {
    let calls = 0
    server = await startTabsServer({
      rules: { '*': '1000/minute' },
      handler: (_request, response) => json(response, ++calls),
    })
    const tabs = await openTabs(3)
    const start = (page: Page) =>
      page.evaluate(() => {
        window.results = []
        window.client = window.holdfast.createApiClient({ baseUrl: `${location.origin}/api` })
        const { now } = window.holdfast.poll(() => window.client.json('/usage'), {
          everyMs: 500,
          onResult: (value) => window.results.push(value),
        })
        Object.assign(window, { now })
      })
    for (const page of tabs) await start(page)
    await sleep(2300)
    const results = await Promise.all(tabs.map((page) => page.evaluate(() => window.results)))
    expect(calls).toBeGreaterThanOrEqual(3)
    expect(calls).toBeLessThanOrEqual(6)
    for (const result of results) expect(new Set(result).size).toBe(result.length)
    expect(results[1]!.at(-1)).toBe(results[0]!.at(-1))
    // A push that reaches all tabs at once costs one call.
    const before = calls
    await Promise.all(tabs.map((page) => page.evaluate(() => (window as unknown as { now(): Promise<void> }).now())))
    expect(calls - before).toBeLessThanOrEqual(1)
    const late = await openTab()
    await start(late)
    await late.waitForFunction(() => window.results.length > 0)
    expect(calls - before).toBeLessThanOrEqual(2)
    // The tab that polls goes; another one goes on.
    await tabs[0]!.close()
    const then = calls
    await sleep(1500)
    expect(calls).toBeGreaterThan(then)
  })
})
