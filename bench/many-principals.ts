// Two million calls over a hundred thousand users: does anything grow without a limit?
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { fileURLToPath } from 'node:url'
import { createHoldfast } from 'holdfast'
import { judge, table } from './figures.ts'

const PRINCIPALS = 100_000
const CALLS = Number(process.env.CALLS ?? 2_000_000)
const CONCURRENCY = 64
const SAMPLES = 10

if (process.send) {
  // As small as a server with Discord's headers can be: the question is what the client keeps.
  const server = createServer((_, response) => {
    response.writeHead(200, {
      'content-type': 'application/json',
      'x-ratelimit-limit': '5',
      'x-ratelimit-remaining': '4',
      'x-ratelimit-reset-after': '0.500',
      'x-ratelimit-bucket': 'b353d78ff3f98f77197d13d44ed4c164',
    })
    response.end('{"id":"80351110224678912"}')
  })
  server.listen(0, '127.0.0.1', () => process.send!((server.address() as { port: number }).port))
} else {
  const child = fork(fileURLToPath(import.meta.url))
  const [port] = await once(child, 'message')
  const holdfast = createHoldfast({ discord: { baseUrl: `http://127.0.0.1:${port}` }, cache: { maxEntries: 20_000 } })
  const samples: Array<{ calls: number; heapMb: number; perSecond: number }> = []
  let started = 0
  let began = performance.now()
  for (let sample = 0; sample < SAMPLES; sample++) {
    const until = Math.round((CALLS * (sample + 1)) / SAMPLES)
    await Promise.all(
      Array.from({ length: CONCURRENCY }, async () => {
        while (started < until) {
          const user = started++ % PRINCIPALS
          // Through the cache too, with a fresh time of nothing, so that each call is made and each value is kept.
          await holdfast.cacheUserScopedGraceful(String(user), 'me', 0, 60_000, () =>
            holdfast.discordFetch('/users/@me', `token-of-user-${user}`, { principal: String(user) }),
          )
        }
      }),
    )
    globalThis.gc?.()
    const heapMb = process.memoryUsage().heapUsed / 2 ** 20
    const perSecond = CALLS / SAMPLES / ((performance.now() - began) / 1000)
    samples.push({ calls: until, heapMb, perSecond })
    if (process.stderr.isTTY) process.stderr.write(`\r${until} calls, ${heapMb.toFixed(0)} MB`)
    began = performance.now()
  }
  if (process.stderr.isTTY) process.stderr.write('\r\u001b[2K')
  await holdfast.close()
  child.kill('SIGTERM')
  table(
    ['calls', 'heap, MB', 'calls a second'],
    samples.map(({ calls, heapMb, perSecond }) => [String(calls), heapMb, perSecond]),
  )
  // By the second sample every principal has been seen once or is being seen; from then on nothing may grow.
  const half = samples[SAMPLES / 2 - 1]!.heapMb
  const last = samples.at(-1)!.heapMb
  judge([
    {
      name: 'heap after the second half of the calls',
      value: last / half,
      unit: '× that after the first half',
      target: 1.1,
    },
    { name: 'heap at the end', value: last, unit: 'MB', target: 300 },
  ])
}
