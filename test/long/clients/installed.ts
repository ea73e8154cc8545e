import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, rmdirSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const folder = fileURLToPath(new URL('.', import.meta.url))
const lock = `${folder}.installing`

const isThere = () => existsSync(`${folder}node_modules/.package-lock.json`)

/** Installs the clients of this folder's own package.json where they are not there yet; test files come at once. */
export async function install(): Promise<void> {
  while (!isThere()) {
    try {
      mkdirSync(lock)
    } catch {
      await sleep(100)
      continue
    }
    try {
      await promisify(execFile)('npm', ['ci', '--no-audit', '--no-fund', '--ignore-scripts'], { cwd: folder })
    } finally {
      rmdirSync(lock)
    }
  }
}

/** One of them, as it is: what it exports is its own affair, and no dependency of the project's types. */
// biome-ignore lint/suspicious/noExplicitAny: packages that the project itself does not have
export async function client(name: string): Promise<any> {
  return import(/* @vite-ignore */ name)
}
