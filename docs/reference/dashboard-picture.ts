// Takes docs/dashboard.png, the picture of the README: the dashboard after half a minute in which Discord limits it.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { statSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { chromium } from 'playwright-core'

const path = (name: string) => fileURLToPath(new URL(name, import.meta.url))
const OUTPUT = path('../dashboard.png')
const LARGEST_BYTES = 150 * 1024

const server = spawn(process.execPath, [path('../../examples/dashboard/server.js')], {
  env: { PATH: process.env.PATH, PORT: '0' },
  stdio: ['ignore', 'pipe', 'inherit'],
})
const [line] = await once(server.stdout, 'data')
const url = /listening on (\S+)/.exec(String(line))![1]!
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM_PATH ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-dev-shm-usage'],
})
const page = await browser.newPage({ viewport: { width: 1120, height: 860 }, colorScheme: 'light' })
await page.goto(url)
await page.getByRole('link', { name: 'Sign in', exact: true }).click()
await page.getByRole('button', { name: 'Authorize' }).click()
await page.locator('.item').first().waitFor()
await sleep(12_000)
await page.getByRole('button', { name: 'Rate-limit us' }).click()
await sleep(25_000)
await page.mouse.move(0, 0)
await page.screenshot({ path: OUTPUT })
await browser.close()
server.kill('SIGTERM')
await once(server, 'exit')
const { size } = statSync(OUTPUT)
if (size > LARGEST_BYTES) throw new Error(`docs/dashboard.png has ${size} bytes, more than ${LARGEST_BYTES}`)
