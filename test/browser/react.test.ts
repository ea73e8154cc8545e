import type { IncomingMessage, ServerResponse } from 'node:http'
import { createApiClient } from 'holdfast/browser'
import { useAutosave, usePoll, useWait } from 'holdfast/react'
import type { Browser, Page } from 'playwright-core'
import { createElement } from 'react'
import { renderToString } from 'react-dom/server'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import { launchChromium } from '../support/chromium.ts'
import { bundle, json, startTabsServer } from './tabs-server.ts'

const path = inject('chromiumPath')

/** A small app in StrictMode, which mounts everything twice: a text that saves itself, a number that is polled, and a banner. */
const APP = `
import { createElement as h, StrictMode, useState } from 'react'
import { createRoot } from 'react-dom/client'
import { createApiClient, describeWait } from 'holdfast/browser'
import { useAutosave, usePoll, useWait } from 'holdfast/react'

export const client = createApiClient({ baseUrl: location.origin + '/api' })
export const seen = []
function Banner() {
  const until = useWait(client)
  return until ? h('p', { id: 'wait' }, describeWait(until)) : null
}
function Editor({ onState }) {
  const saver = useAutosave({
    debounceMs: 100, minIntervalMs: 200, client,
    onState: (state) => seen.push(state.status),
    save: async (text, { signal, keepalive }) => {
      await client.json('/doc', { method: 'PUT', body: JSON.stringify({ text }), signal, keepalive })
    },
  })
  window.saver = saver
  return h('div', null,
    h('input', { id: 'text', onChange: (event) => saver.change(event.target.value) }),
    h('output', { id: 'state' }, saver.state.status + ' ' + saver.state.unsaved))
}
function Usage() {
  const [factor, setFactor] = useState(1)
  const usage = usePoll(async (signal) => (await client.json('/usage', { signal })) * factor, { everyMs: 400, key: 'usage' })
  return h('button', { id: 'usage', onClick: () => setFactor(100) }, String(usage))
}
const root = createRoot(document.body.appendChild(document.createElement('main')))
export const show = (hasEditor) => root.render(h(StrictMode, null, h(Banner), hasEditor && h(Editor), h(Usage)))
export const unmount = () => root.unmount()
show(true)
`

describe('the hooks, rendered on a server', () => {
  it('show nothing yet, and start nothing', () => {
    const client = createApiClient()
    const App = () => {
      const until = useWait(client)
      const saver = useAutosave({ save: async () => {} })
      const value = usePoll(async () => 1, { everyMs: 1000 })
      return createElement('p', null, `${until} ${saver.state.status} ${saver.state.unsaved} ${value}`)
    }
    expect(renderToString(createElement(App))).toBe('<p>null idle false undefined</p>')
    client.close()
  })
})

describe.skipIf(path === undefined)('the hooks, in StrictMode in a real Chromium', () => {
  let browser: Browser
  let page: Page
  let server: Awaited<ReturnType<typeof startTabsServer>>
  const saved: string[] = []
  let usage = 0
  let openedAt = 0
  beforeAll(async () => {
    const handler = (request: IncomingMessage, response: ServerResponse, body: string) => {
      if (request.method !== 'PUT') return json(response, ++usage)
      saved.push((JSON.parse(body) as { text: string }).text)
      json(response, {})
    }
    server = await startTabsServer({
      rules: { 'PUT /api/doc': { name: 'doc', limit: 3, windowMs: 1000 }, '*': '10000/minute' },
      handler,
      script: await bundle(APP),
    })
    browser = await launchChromium(path!)
    page = await browser.newPage()
    openedAt = performance.now()
    await page.goto(server.url)
    await page.waitForSelector('#text')
  }, 60_000)
  afterAll(async () => {
    await browser?.close()
    await server?.close()
  })
  /** Polls that may have been made since the page was opened, at 400 ms each. */
  const rounds = () => Math.ceil((performance.now() - openedAt) / 400)
  const text = (selector: string) => page.textContent(selector)

  it('usePoll gives each result, with the task of the last render, and one call a round', async () => {
    await page.waitForFunction(() => document.querySelector('#usage')!.textContent !== 'undefined')
    // StrictMode runs effects twice: a round is one call all the same, however many rounds there were by now.
    expect(usage).toBeLessThanOrEqual(1 + rounds())
    await page.click('#usage')
    await page.waitForFunction(() => Number(document.querySelector('#usage')!.textContent) >= 200)
    expect(usage).toBeLessThanOrEqual(1 + rounds())
  })

  it('useAutosave shows unsaved at once, and idle when it is saved', async () => {
    await page.fill('#text', 'a')
    expect(await text('#state')).toMatch(/^(pending|saving) true$/)
    await page.waitForFunction(() => document.querySelector('#state')!.textContent === 'idle false')
    expect(saved).toEqual(['a'])
    const functions = await page.evaluate(() => {
      const before = window.saver
      before.change('b')
      return new Promise<boolean[]>((resolve) =>
        setTimeout(() => resolve([window.saver !== before, window.saver.change === before.change]), 30),
      )
    })
    // A new object for each new state, so that a compiler or a memo sees it; the functions stay.
    expect(functions).toEqual([true, true])
  })

  it('useWait shows a banner while the guard makes the save wait, and takes it away', async () => {
    for (const word of ['c', 'd', 'e', 'f']) {
      await page.fill('#text', word)
      await page.evaluate(() => window.saver.flush().catch(() => {}))
    }
    await page.waitForFunction(() => document.querySelector('#state')!.textContent === 'idle false')
    const states = await page.evaluate(() => (window as unknown as { holdfast: { seen: string[] } }).holdfast.seen)
    expect(states).toContain('waiting')
    expect(saved.at(-1)).toBe('f')
    await page.waitForSelector('#wait', { state: 'detached' })
  })

  it('saves what is unsaved when the component goes, and a change that comes too late throws', async () => {
    await page.waitForTimeout(1100)
    await page.fill('#text', 'last')
    await page.evaluate(() =>
      (window as unknown as { holdfast: { show(hasEditor: boolean): void } }).holdfast.show(false),
    )
    await page.waitForSelector('#text', { state: 'detached' })
    await expect.poll(() => saved.at(-1)).toBe('last')
    expect(
      await page.evaluate(() => {
        try {
          window.saver.change('too late')
        } catch (error) {
          return (error as { code: string }).code
        }
      }),
    ).toBe('CLOSED')
  })

  it('stops polling when the root goes', async () => {
    await page.evaluate(() => (window as unknown as { holdfast: { unmount(): void } }).holdfast.unmount())
    await page.waitForTimeout(50)
    const before = usage
    await page.waitForTimeout(900)
    expect(usage).toBe(before)
  })
})
