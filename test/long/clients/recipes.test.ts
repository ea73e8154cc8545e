import { execFile } from 'node:child_process'
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { delimiter } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import { install } from './installed.ts'

const run = promisify(execFile)
const path = (name: string) => fileURLToPath(new URL(name, import.meta.url))
const text = readFileSync(path('../../../docs/guides/recipes.md'), 'utf8')
const recipes = [...text.matchAll(/## ([^\n]+)\n[\s\S]*?```(ts|sh)\n([\s\S]*?)```/g)].map(([, name, kind, code]) => ({
  name: name!,
  kind: kind!,
  code: code!,
}))
const chromium = inject('chromiumPath')
const folder = path('.recipes')

/** A port that was free a moment ago. */
async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  await new Promise((resolve) => server.close(resolve))
  return port
}

describe('each recipe of the guide runs as it stands', () => {
  beforeAll(async () => {
    await install()
    mkdirSync(folder, { recursive: true })
    // The package itself, as a project that depends on it would have it. A link would lead whoever walks the tree in
    // circles.
    for (const part of ['package.json', 'dist'])
      cpSync(path(`../../../${part}`), path(`node_modules/holdfast/${part}`), { recursive: true })
    // What `npx holdfast` would find in a project that has the package.
    writeFileSync(
      `${folder}/npx`,
      `#!/bin/sh\nshift\nexec "${process.execPath}" "${path('../../../dist/cli/main.js')}" "$@"\n`,
      {
        mode: 0o755,
      },
    )
  }, 120_000)
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  it.each(recipes)('$name', async ({ name, kind, code }) => {
    const needsBrowser = code.includes('chromium')
    expect(needsBrowser && chromium === undefined, 'Chromium could not be installed').toBe(false)
    const file = `${folder}/${name.replace(/\W+/g, '-')}.${kind}`
    writeFileSync(file, code)
    const env = {
      ...process.env,
      PATH: `${folder}${delimiter}${process.env.PATH}`,
      CHROMIUM: chromium,
      PORT: String(await freePort()),
    }
    const [command, words] = kind === 'ts' ? [process.execPath, [file]] : ['bash', ['-em', file]]
    await run(command, words, { cwd: folder, env, timeout: 60_000 })
  })

  it('is one for each that the guide promises', () => {
    expect(recipes.map(({ kind }) => kind)).toEqual(['ts', 'ts', 'ts', 'ts', 'ts', 'sh'])
  })
})
