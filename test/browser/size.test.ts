import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { brotliCompressSync } from 'node:zlib'
import { build } from 'esbuild'
import { describe, expect, it } from 'vitest'

const room = fileURLToPath(new URL('../../src/browser/', import.meta.url))

async function bytesOf(code: string): Promise<number> {
  const { outputFiles } = await build({
    stdin: { contents: code, resolveDir: room, loader: 'ts' },
    bundle: true,
    minify: true,
    format: 'esm',
    target: 'es2022',
    external: ['react'],
    logLevel: 'error',
    write: false,
  })
  return brotliCompressSync(outputFiles[0]!.contents).length
}

describe('what a page downloads', () => {
  it('is at most 5 kB for the whole of holdfast/browser, minified and compressed with brotli', async () => {
    expect(await bytesOf("export * from './browser.ts'")).toBeLessThanOrEqual(5000)
  })

  it('is what it uses, and no more', async () => {
    const whole = await bytesOf("export * from './browser.ts'")
    const parts = await Promise.all(
      ['describeWait', 'poll', 'autosave', 'createApiClient'].map((name) =>
        bytesOf(`export { ${name} } from './browser.ts'`),
      ),
    )
    for (const part of parts) expect(part).toBeLessThan(whole * 0.7)
    expect(parts[0]).toBeLessThan(400)
    expect(await bytesOf("import './browser.ts'; import './react.ts'")).toBeLessThan(100)
  })

  it('does nothing at import: no global is touched before something is made', async () => {
    const { outputFiles } = await build({
      stdin: { contents: "export * from './browser.ts'", resolveDir: room, loader: 'ts' },
      bundle: true,
      format: 'iife',
      globalName: 'holdfast',
      write: false,
    })
    const touched: string[] = []
    // Only what classes and constants of the language need.
    const globals = new Proxy({ Error, Set, Map, Object, Promise } as Record<string, unknown>, {
      has: () => true,
      get(target, name) {
        if (typeof name === 'string' && !(name in target)) touched.push(name)
        return target[name as string]
      },
    })
    new Function('globals', `with (globals) { ${outputFiles[0]!.text.replace('"use strict";', '')} }`)(globals)
    expect(touched.filter((name) => name !== 'holdfast')).toEqual([])
  })

  it('has no cast-iron tie to Node: no file of the room names it', () => {
    for (const file of readdirSync(room))
      expect(readFileSync(room + file, 'utf8')).not.toMatch(/\bprocess\.|\bBuffer\b|node:/)
  })
})
