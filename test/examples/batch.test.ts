import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

test('examples/batch spends two users’ limits, never over, past a broken item and a revoked key, and ends by itself', async () => {
  const main = fileURLToPath(new URL('../../examples/batch/main.js', import.meta.url))
  const { REDIS_URL: _, DATABASE_URL: __, ...env } = process.env
  const child = spawn(process.execPath, [main, 'holdfast'], { env: { ...env, WINDOW_MS: '1500' } })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk))
  const exitCode = await new Promise((resolve) => child.on('close', resolve))
  expect(output).toMatch(
    /holdfast: 299 items in [\d.]+ s, in order: true\n {2}calls 3\d\d, 429s 0, most in one window 100 of 100/,
  )
  expect(output).toContain('failed: 1 × 500 This item is broken')
  expect(output).toMatch(/waits for a limit until \d\d:\d\d:\d\d UTC\n/)
  // Nothing that only a terminal could show.
  for (const sign of ['\r', '\u001b', '█']) expect(output).not.toContain(sign)
  expect(exitCode).toBe(0)
})
