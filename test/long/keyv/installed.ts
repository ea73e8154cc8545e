import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const folder = fileURLToPath(new URL('.', import.meta.url))

/** Installs the stores of this folder's own package.json where they are not there yet. */
export async function install(): Promise<void> {
  if (existsSync(`${folder}node_modules/.package-lock.json`)) return
  await promisify(execFile)('npm', ['ci', '--no-audit', '--no-fund', '--ignore-scripts'], { cwd: folder })
}

/** One of them, as it is: what it exports is its own affair, and no dependency of the project's types. */
// biome-ignore lint/suspicious/noExplicitAny: packages that the project itself does not have
export async function store(name: string): Promise<any> {
  return import(/* @vite-ignore */ name)
}
