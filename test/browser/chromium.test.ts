import { setTimeout as sleep } from 'node:timers/promises'
import type { Browser, BrowserContext, Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, describe, expect, inject, it } from 'vitest'
import { launchChromium } from '../support/chromium.ts'
import { makeClient } from './tab-client.ts'
import { json, startTabsServer } from './tabs-server.ts'
import './window.ts'

const path = inject('chromiumPath')

describe.skipIf(path === undefined)('in real Chromium', () => {
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
  it('a start-up burst of 15 duplicate requests becomes 3 calls', async () => {
    server = await startTabsServer({
      rules: { '*': '100/minute' },
      handler: async ({ url }, response) => {
        await sleep(20)
        json(response, { url })
      },
    })
    const [page] = await openTabs(1)
    await makeClient(page!, 1)
    const bodies = await page!.evaluate(() => {
      const paths = ['/list', '/item/1', '/usage']
      return Promise.all(
        Array.from({ length: 15 }, (_, number) => window.client.json<{ url: string }>(paths[number % 3]!)),
      )
    })
    expect(bodies.map(({ url }) => url).slice(0, 4)).toEqual(['/api/list', '/api/item/1', '/api/usage', '/api/list'])
    expect(server.seen.map(({ path }) => path)).toEqual(['/api/list', '/api/item/1', '/api/usage'])
  })

  it('three tabs with 60 waiting requests send one probe when a 429 of 2 s is over, and nothing before; order is kept, nothing fails', async () => {
    server = await startTabsServer({
      rules: { '/api/first': { name: 'first', limit: 1, windowMs: 2000 }, '*': '1000/minute' },
    })
    const tabs = await openTabs(3)
    await Promise.all(tabs.map((page, tab) => makeClient(page, tab)))
    await tabs[0]!.evaluate(async () => {
      await window.client.fetch('/first')
      window.done = window.client.fetch('/first').then(({ status }) => status)
    })
    for (const page of tabs) await page.waitForFunction(() => window.client.waitingUntil !== null)
    const answers = tabs.map((page) =>
      page.evaluate(() =>
        Promise.all(
          Array.from({ length: 20 }, async (_, number) => {
            const init = number % 5 === 0 ? { method: 'POST', body: 'x' } : {}
            return (await window.client.fetch(`/${number}`, init)).status
          }),
        ),
      ),
    )
    const statuses = (await Promise.all(answers)).flat()
    expect(statuses).toEqual(Array(60).fill(200))
    expect(await tabs[0]!.evaluate(() => window.done)).toBe(200)
    expect(server.seen).toHaveLength(63)
    const [, refused, probe, next] = server.seen
    expect(refused!.status).toBe(429)
    // Retry-After is whole seconds from then on.
    expect(probe!.atMs - refused!.atMs).toBeGreaterThan(1990)
    expect(next!.atMs).toBeGreaterThanOrEqual(probe!.answeredAtMs!)
    for (const tab of ['0', '1', '2']) {
      const order = server.seen
        .filter((entry) => entry.tab === tab)
        .map(({ path }) => Number(path.slice('/api/'.length)))
      const waited = order.filter((number) => !Number.isNaN(number))
      // Up to six are on their way at once; the network may change their places, and one that is slow there is overtaken by
      // those that take the places of the others. Nothing else changes them.
      for (const [place, number] of waited.entries()) expect(Math.abs(number - place)).toBeLessThan(10)
    }
    for (const page of tabs) expect(await page.evaluate(() => window.client.waitingUntil)).toBe(null)
  })
})
