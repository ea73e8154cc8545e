import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { inExpress } from '../../doors/bypass/apps.ts'
import { closeAgent, headers, method, send, target, WALK_AROUNDS } from '../../doors/bypass/targets.ts'

const folder = fileURLToPath(new URL('.', import.meta.url))
beforeAll(() => {
  if (!existsSync(`${folder}node_modules`)) execFileSync('npm', ['ci', '--no-audit', '--no-fund'], { cwd: folder })
})
afterAll(closeAgent)

test('in Express 4, whatever the target: where a handler ran, its limit was charged', async () => {
  const app = await inExpress(createRequire(import.meta.url)('./node_modules/express'))
  const ran = new Set<string>()
  try {
    await fc.assert(
      fc.asyncProperty(target, method, headers, async (asked, verb, sent) => {
        const outcome = await send(app.port, asked, verb, sent)
        if (outcome?.ran === undefined) return
        ran.add(outcome.ran)
        expect(outcome.charged, `${verb} ${asked} ran ${outcome.ran}`).toContain(outcome.ran)
      }),
      { numRuns: 10_000, examples: WALK_AROUNDS.map((walk) => [walk, 'GET', {}]) },
    )
  } finally {
    await app.close()
  }
  expect([...ran].sort()).toEqual(['chat', 'dl', 'only-post'])
})
