import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

test('examples/batch spends two users’ limits fully, never over, and ends by itself', async () => {
  const main = fileURLToPath(new URL('../../examples/batch/main.js', import.meta.url))
  const { REDIS_URL: _, DATABASE_URL: __, ...env } = process.env
  const child = spawn(process.execPath, [main], { env: { ...env, WINDOW_MS: '1500' } })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk))
  const exitCode = await new Promise((resolve) => child.on('close', resolve))
  expect(output).toMatch(/500 items in [\d.]+ s, in order: true\ncalls 500, 429s 0, most in one window 100 of 100/)
  expect(Number(/in ([\d.]+) s/.exec(output)?.[1])).toBeLessThan(4.5)
  expect(exitCode).toBe(0)
})
