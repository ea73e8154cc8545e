import express from 'express'
import fc from 'fast-check'
import { afterAll, describe, expect, test } from 'vitest'
import { type App, inExpress, inFastify, inHono, onNode } from './apps.ts'
import { closeAgent, headers, method, send, target, WALK_AROUNDS } from './targets.ts'

const LENIENT = {
  ignoreTrailingSlash: true,
  ignoreDuplicateSlashes: true,
  caseSensitive: false,
  useSemicolonDelimiter: true,
}

const APPS: ReadonlyArray<readonly [string, () => Promise<App>]> = [
  ['Express 5', () => inExpress(express)],
  ['node:http, routing by URL', onNode],
  ['Fastify', () => inFastify({})],
  ['Fastify, as lenient as it can be', () => inFastify(LENIENT)],
  ['Hono', inHono],
]

/** More by hand: HOLDFAST_FUZZ_RUNS=50000 vitest run test/doors/bypass */
const RUNS = Number(process.env.HOLDFAST_FUZZ_RUNS ?? 1_000)

afterAll(closeAgent)

describe.each(APPS)('in %s', (_name, start) => {
  test('whatever the target: where a handler ran, its limit was charged', async () => {
    const app = await start()
    const ran = new Map<string, number>()
    try {
      await fc.assert(
        fc.asyncProperty(target, method, headers, async (asked, verb, sent) => {
          const outcome = await send(app.port, asked, verb, sent)
          if (outcome?.ran === undefined) return
          ran.set(outcome.ran, (ran.get(outcome.ran) ?? 0) + 1)
          expect(outcome.charged, `${verb} ${asked} ran ${outcome.ran}`).toContain(outcome.ran)
        }),
        { numRuns: RUNS, examples: WALK_AROUNDS.map((walk) => [walk, 'GET', {}]) },
      )
    } finally {
      await app.close()
    }
    // So that it cannot pass by nobody having come in.
    expect(ran.get('chat')).toBeGreaterThan(2)
    expect(ran.get('dl')).toBeGreaterThan(2)
  })
})
