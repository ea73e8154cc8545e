import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { launchChromium } from '../support/chromium.ts'

const FOLDER = fileURLToPath(new URL('../../examples/dashboard/', import.meta.url))
const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
const path = inject('chromiumPath')

describe.skipIf(!path)('the dashboard, in a browser', () => {
  let url = ''
  let end = async () => {}
  let browser: Browser
  beforeAll(async () => {
    execFileSync(process.execPath, [`${FOLDER}build.js`])
    const child = spawn(process.execPath, [`${FOLDER}server.js`], {
      env: { PATH: process.env.PATH, PORT: '0' },
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    end = async () => {
      child.kill('SIGTERM')
      await once(child, 'exit')
    }
    for await (const chunk of child.stdout) {
      url = /listening on (\S+)/.exec(String(chunk))?.[1] ?? ''
      if (url) break
    }
    browser = await launchChromium(path!)
  }, 60_000)
  afterAll(async () => {
    await browser?.close()
    await end()
  })

  /** A page that fails the test for whatever it complains of, or loads from anywhere else. */
  async function open(options: Parameters<Browser['newContext']>[0] = {}): Promise<{ page: Page; faults: string[] }> {
    const page = await (await browser.newContext(options)).newPage()
    const faults: string[] = []
    page.on('pageerror', (error) => faults.push(error.message))
    page.on('console', (message) => message.type() === 'error' && faults.push(message.text()))
    page.on('request', (request) => {
      if (!/^(http:\/\/(localhost|127\.0\.0\.1):|data:)/.test(request.url())) faults.push(`loads ${request.url()}`)
    })
    await page.goto(url)
    return { page, faults }
  }

  const number = async (page: Page, id: string) =>
    Number((await page.locator(`#${id}`).textContent())?.replaceAll(',', ''))

  test('sign in, throttle, still there, heal, sign out', async () => {
    const { page, faults } = await open()
    let loads = 0
    page.on('load', () => loads++)
    await page.getByRole('link', { name: 'Sign in', exact: true }).click()
    // The simulated Discord asks who one is; the second person of the list.
    await page.getByRole('radio').nth(1).check()
    await page.getByRole('button', { name: 'Authorize' }).click()
    await page.locator('.item').first().waitFor()
    expect(new URL(page.url()).origin).toBe(url)
    expect(page.url()).not.toContain('code=')
    const guilds = await page.locator('.item strong').allTextContents()
    expect(guilds.length).toBe(12)
    await expect
      .poll(() => page.locator('#age').textContent())
      .toMatch(/^12 guilds, \d+ of them yours to manage\. The list is /)
    await page.getByRole('button', { name: 'Rate-limit us' }).click()
    await expect.poll(() => number(page, 'plain-limited'), { timeout: 10_000 }).toBeGreaterThan(10)
    await expect.poll(() => number(page, 'plain-errors'), { timeout: 20_000 }).toBeGreaterThan(0)
    expect(await number(page, 'held-errors')).toBe(0)
    expect(await page.locator('.item strong').allTextContents()).toEqual(guilds)
    await page.getByRole('button', { name: 'Healthy' }).click()
    await expect.poll(() => page.locator('#trouble-now').textContent()).toBe('Discord answers normally.')
    await expect
      .poll(() => page.locator('#plain-verdict').textContent(), { timeout: 20_000 })
      .toContain('Every page is shown')
    await page.getByRole('button', { name: 'Sign out' }).click()
    await page.getByRole('link', { name: 'Sign in with Discord' }).waitFor()
    expect(await page.locator('.item').count()).toBe(0)
    await page.waitForTimeout(2_500)
    // There, back, and no more: nothing reloads by itself.
    expect(loads).toBeLessThanOrEqual(3)
    expect(faults).toEqual([])
  }, 90_000)

  test('somebody who cancels at Discord is told so, and can go back', async () => {
    const { page } = await open()
    await page.getByRole('link', { name: 'Sign in', exact: true }).click()
    await page.getByRole('button', { name: 'Cancel' }).click()
    await page.getByText('You cancelled the sign-in at Discord.').waitFor()
    await page.getByRole('link', { name: 'Back to the site' }).click()
    await page.getByRole('heading', { level: 1 }).waitFor()
  }, 30_000)

  test('fits 360 pixels in both colour schemes, without a shift and by keyboard alone', async () => {
    for (const colorScheme of ['light', 'dark'] as const) {
      const { page, faults } = await open({ viewport: { width: 360, height: 740 }, colorScheme })
      await page.getByRole('link', { name: 'Sign in with Discord' }).waitFor()
      await page.evaluate(() => {
        const sum = { shift: 0 }
        Object.assign(window, { sum })
        new PerformanceObserver((list) => {
          for (const entry of list.getEntries() as Array<PerformanceEntry & { value: number; hadRecentInput: boolean }>)
            if (!entry.hadRecentInput) sum.shift += entry.value
        }).observe({ type: 'layout-shift', buffered: true })
      })
      await page.waitForTimeout(1_500)
      expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(360)
      const { shift } = await page.evaluate(() => (window as unknown as { sum: { shift: number } }).sum)
      expect([colorScheme, shift < 0.1]).toEqual([colorScheme, true])
      const reached: string[] = []
      for (let steps = 0; steps < 8; steps++) {
        await page.keyboard.press('Tab')
        reached.push(await page.evaluate(() => document.activeElement?.textContent ?? ''))
      }
      expect(reached).toEqual(
        expect.arrayContaining([
          'Skip to the content',
          'Sign in',
          'Healthy',
          'Ban our address',
          'Hang',
          'Sign in with Discord',
        ]),
      )
      // What a screen reader is told of what is only drawn.
      await expect
        .poll(() => page.locator('#chart-errors').getAttribute('aria-label'))
        .toMatch(/^Pages that failed a second, now: plain fetch \d+, Holdfast \d+$/)
      expect(faults).toEqual([])
      await page.context().close()
    }
  }, 60_000)

  const signIn = async (page: Page) => {
    await page.getByRole('link', { name: 'Sign in', exact: true }).click()
    await page.getByRole('button', { name: 'Authorize' }).click()
    await page.locator('.item').first().waitFor()
  }

  /** What axe finds wrong with a page: labels, roles, contrast, live regions, landmarks. */
  const violations = async (page: Page) => {
    await page.evaluate(AXE)
    return page.evaluate(async () => {
      const { axe } = window as unknown as {
        axe: {
          run(): Promise<{ violations: Array<{ id: string; nodes: Array<{ target: unknown }> }>; passes: unknown[] }>
        }
      }
      const { violations, passes } = await axe.run()
      const found = violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ target }) => target).join(', ')}`)
      return passes.length > 10 ? found : ['axe looked at nothing']
    })
  }

  test.each([
    ['light', 1280],
    ['dark', 1280],
    ['light', 360],
    ['dark', 360],
  ] as const)(
    'is accessible, %s and %i pixels wide: signed out, signed in, in trouble and waiting',
    async (colorScheme, width) => {
      const { page } = await open({ viewport: { width, height: 800 }, colorScheme, reducedMotion: 'reduce' })
      await page.getByRole('link', { name: 'Sign in with Discord' }).waitFor()
      expect(await violations(page)).toEqual([])
      await signIn(page)
      await page.getByRole('button', { name: 'Fail (503)' }).click()
      await expect.poll(() => page.locator('#trouble-now').textContent()).not.toBe('Discord answers normally.')
      await page.evaluate(() => {
        const wait = document.querySelector<HTMLElement>('#wait')!
        wait.hidden = false
        wait.textContent = 'Nothing newer can be had at the moment. Trying again in 7 s.'
      })
      expect(await violations(page)).toEqual([])
      await page.getByRole('button', { name: 'Healthy' }).click()
      await page.context().close()
    },
    60_000,
  )

  test('says how long it waits where its own server refuses, and takes that back', async () => {
    const { page } = await open()
    await signIn(page)
    const banner = page.getByRole('status').filter({ hasText: 'Trying again in' })
    expect(await banner.count()).toBe(0)
    const before = await page.locator('.item strong').allTextContents()
    let refused = 0
    await page.route('**/api/guilds', (route) => {
      if (refused++ > 0) return route.continue()
      return route.fulfill({
        status: 429,
        headers: { 'retry-after': '3', 'content-type': 'application/json' },
        body: JSON.stringify({ code: 'RATE_LIMITED', message: 'wait', status: 429, retryAfterSeconds: 3 }),
      })
    })
    await banner.waitFor({ timeout: 15_000 })
    expect(await banner.textContent()).toMatch(/^Nothing newer can be had at the moment\. Trying again in [1-4] s\.$/)
    // What is there stays there.
    expect(await page.locator('.item strong').allTextContents()).toEqual(before)
    await banner.waitFor({ state: 'hidden', timeout: 20_000 })
    await expect.poll(() => refused, { timeout: 15_000 }).toBeGreaterThan(1)
    await page.context().close()
  }, 60_000)
})
