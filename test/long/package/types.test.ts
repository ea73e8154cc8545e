import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'

const ROOT = fileURLToPath(new URL('../../../', import.meta.url))
const HERE = fileURLToPath(new URL('./', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'holdfast-types-'))

beforeAll(() => {
  execFileSync('npm', ['install', '--no-audit', '--no-fund', '--no-package-lock'], { cwd: HERE, stdio: 'pipe' })
}, 300_000)
afterAll(() => rmSync(folder, { recursive: true, force: true }))

test('are-the-types-wrong finds nothing wrong with any door', () => {
  const tarball = execFileSync('npm', ['pack', '--silent', '--pack-destination', folder], {
    cwd: ROOT,
    encoding: 'utf8',
  })
    .trim()
    .split('\n')
    .at(-1)!
  // The package is ESM alone: a require() of it is Node's own, and resolution without `exports` (node10) is not served.
  const { status, stdout } = spawnSync(
    process.execPath,
    [
      `${HERE}node_modules/@arethetypeswrong/cli/dist/index.js`,
      join(folder, tarball),
      '--profile',
      'esm-only',
      '--format',
      'json',
    ],
    { encoding: 'utf8', env: { ...process.env, NO_COLOR: '1' } },
  )
  const { analysis, problems } = JSON.parse(stdout)
  expect(analysis.entrypoints['.']).toBeDefined()
  expect(Object.keys(analysis.entrypoints).length).toBeGreaterThan(10)
  const kept = Object.entries(problems ?? {}).filter(([kind]) => !['CJSResolvesToESM', 'NoResolution'].includes(kind))
  expect(kept).toEqual([])
  expect(status).toBe(0)
})
