// Four processes share one owner for ten windows: does the server ever count more than the limit, and how much of it is
// used? Once with answers that say when a window ends, once with a server that says nothing.
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { createOwnerQuota } from 'holdfast'
import { startRedisServer } from '../test/support/redis-server.ts'
import { judge, table } from './figures.ts'

const PROCESSES = 4
const WINDOWS = 10
const LIMIT = 200
const WINDOW_MS = 4_000
process.env.HOLDFAST_SECRET ??= 'a-secret-of-at-least-thirty-two-bytes'

if (process.send) {
  const { redis, api, teaches } = JSON.parse(process.argv[2]!) as { redis: string; api: string; teaches: boolean }
  const quota = createOwnerQuota({ name: 'fleet', limit: LIMIT, windowMs: WINDOW_MS, redis })
  await quota.state('another')
  await fetch(`${api}/warm`)
  process.send('ready')
  await once(process, 'message')
  await Promise.all(
    Array.from({ length: 8 }, async () => {
      for (;;) {
        const taken = await quota.take('shared')
        if (!taken.ok) await sleep(Math.ceil(taken.retryAfterMs))
        else {
          const answer = (await (await fetch(api)).json()) as { remaining: number; resetAfterMs: number }
          if (teaches) await quota.learn('shared', answer)
        }
      }
    }),
  )
}

async function run(teaches: boolean) {
  const windows: Array<{ endsAt: number; used: number }> = []
  const server = createServer((request, response) => {
    if (request.url === '/warm') return void response.end()
    const now = performance.now()
    let window = windows.at(-1)
    if (!window || now >= window.endsAt) windows.push((window = { endsAt: now + WINDOW_MS, used: 0 }))
    window.used++
    response.end(JSON.stringify({ remaining: Math.max(0, LIMIT - window.used), resetAfterMs: window.endsAt - now }))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const redis = await startRedisServer()
  const words = { redis: redis.url, api: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, teaches }
  const workers = Array.from({ length: PROCESSES }, () => fork(fileURLToPath(import.meta.url), [JSON.stringify(words)]))
  await Promise.all(workers.map((worker) => once(worker, 'message')))
  for (const worker of workers) worker.send('go')
  while (windows.length === 0) await sleep(1)
  const began = performance.now()
  while (windows.length <= WINDOWS) await sleep(5)
  const tookMs = performance.now() - began
  for (const worker of workers) worker.kill('SIGKILL')
  server.closeAllConnections()
  server.close()
  await redis.stop()
  const full = windows.slice(0, WINDOWS)
  const calls = full.reduce((sum, window) => sum + window.used, 0)
  return {
    most: Math.max(...full.map((window) => window.used)),
    ofWindows: calls / (LIMIT * WINDOWS),
    ofTime: calls / ((LIMIT * tookMs) / WINDOW_MS),
  }
}

if (!process.send) {
  const told = await run(true)
  const silent = await run(false)
  table(
    [
      `${PROCESSES} processes, ${WINDOWS} windows of ${LIMIT} calls in ${WINDOW_MS / 1000} s`,
      'most in a window',
      'used of the windows',
      'of the time',
    ],
    [
      ['answers say when a window ends', String(told.most), told.ofWindows, told.ofTime],
      ['answers say nothing', String(silent.most), silent.ofWindows, silent.ofTime],
    ],
  )
  judge([
    { name: 'most in a window', value: Math.max(told.most, silent.most), unit: 'calls', target: LIMIT },
    {
      name: 'used of the windows',
      value: Math.min(told.ofWindows, silent.ofWindows),
      unit: '',
      target: 0.97,
      atLeast: true,
    },
    { name: 'used of the time, where answers tell', value: told.ofTime, unit: '', target: 0.97, atLeast: true },
  ])
}
