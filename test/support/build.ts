import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))

/** Builds the package where the source is newer: what runs in other processes runs the code that is being tested. */
export default function setup(): void {
  const built = join(ROOT, 'dist/index.js')
  const page = join(ROOT, 'examples/dashboard/built')
  const isCurrent = existsSync(built) && newestIn(join(ROOT, 'src')) < statSync(built).mtimeMs
  if (isCurrent && existsSync(page)) return
  execFileSync('npm', ['run', '--silent', 'build'], { cwd: ROOT, stdio: 'inherit', timeout: 240_000 })
}

function newestIn(folder: string): number {
  return Math.max(
    ...readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => statSync(join(entry.parentPath, entry.name)).mtimeMs),
  )
}
