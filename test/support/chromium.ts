// A real Chromium for tests: CHROMIUM_PATH, else one found on PATH, else Debian's package.
import { execFileSync } from 'node:child_process'
import { type Browser, chromium } from 'playwright-core'
import type { TestProject } from 'vitest/node'

declare module 'vitest' {
  interface ProvidedContext {
    /** The program of a Chromium; undefined where there is none, and its tests are skipped. */
    chromiumPath: string | undefined
  }
}

const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable']

/** Where none is to be had, the tests that need it are skipped with one loud line, and with CI=true that is a failure. */
export default function setup(project: TestProject): void {
  const path = process.env.CHROMIUM_PATH ?? find() ?? install()
  project.provide('chromiumPath', path)
  if (path) return
  const line = 'no Chromium is to be had (CHROMIUM_PATH, chromium, apt-get as root): its tests are skipped'
  if (process.env.CI === 'true') throw new Error(`${line}; with CI=true that is a failure`)
  process.stderr.write(`\n  !!! ${line} !!!\n\n`)
}

function find(): string | undefined {
  for (const name of NAMES) {
    try {
      return execFileSync('sh', ['-c', `command -v ${name}`], { encoding: 'utf8' }).trim()
    } catch {
      // Not this one.
    }
  }
  return undefined
}

function install(): string | undefined {
  if (process.getuid?.() !== 0) return undefined
  try {
    const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
    execFileSync('apt-get', ['update', '-qq'], { stdio: 'ignore', env, timeout: 120_000 })
    execFileSync('apt-get', ['install', '-y', '-qq', '--no-install-recommends', 'chromium'], {
      stdio: 'ignore',
      env,
      timeout: 300_000,
    })
  } catch {
    return undefined
  }
  return find()
}

/** Starts it without a window; `close()` ends it. Tabs of one `newContext()` share cookies, storage, channels and locks. */
export function launchChromium(executablePath: string): Promise<Browser> {
  return chromium.launch({
    executablePath,
    // Root has no sandbox, and a container's /dev/shm is small.
    args: ['--no-sandbox', '--disable-dev-shm-usage'],
  })
}
