// Ten times the limit for 30 s, over HTTP: is exactly the limit admitted, and does the server stay well?
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { judge, table } from './figures.ts'

const SECONDS = 30
const RATE = 1_000
const LIMIT = (SECONDS * RATE) / 10

if (process.send) await serve()
else await load()

/** The server, in a process of its own. */
async function serve(): Promise<void> {
  const { createGuard } = await import('holdfast')
  const { guard } = await import('holdfast/express')
  const middleware = guard({ guard: createGuard({ rules: { '/api/*': { limit: LIMIT, windowMs: 3_600_000 } } }) })
  const server = createServer((request, response) => middleware(request, response, () => void response.end('in')))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const delay = monitorEventLoopDelay({ resolution: 10 })
  process.on('message', (message) => {
    if (message === 'begin') {
      delay.enable()
      delay.reset()
    }
    global.gc?.()
    const heapMB = process.memoryUsage().heapUsed / 1024 / 1024
    process.send!({ heapMB, p99Ms: Math.max(0, delay.percentile(99) / 1e6 - 10) })
    if (message === 'end') process.disconnect()
  })
  process.on('disconnect', () => process.exit())
  process.send!((server.address() as { port: number }).port)
}

async function load(): Promise<void> {
  const { default: autocannon } = await import('autocannon')
  const server = fork(import.meta.filename, { execArgv: ['--expose-gc'] })
  const [port] = await once(server, 'message')
  const ask = async (message: string) => {
    server.send(message)
    return (await once(server, 'message'))[0] as { heapMB: number; p99Ms: number }
  }
  // So that what is compiled and allocated once is there before anything is measured.
  await autocannon({ url: `http://127.0.0.1:${port}/health`, connections: 50, duration: 3 })
  const before = await ask('begin')
  let withoutContract = 0
  const checked = (status: number, body: string, headers: Record<string, string | undefined>) => {
    if (status !== 429) return
    const told = JSON.parse(body) as { code?: string; status?: number; retryAfterSeconds?: number }
    const agrees = told.code === 'RATE_LIMITED' && told.status === 429
    if (!agrees || String(told.retryAfterSeconds) !== headers['retry-after'] || headers['cache-control'] !== 'no-store')
      withoutContract++
  }
  const result = await autocannon({
    url: `http://127.0.0.1:${port}/api/x`,
    connections: 50,
    duration: SECONDS,
    overallRate: RATE,
    requests: [
      {
        method: 'GET',
        path: '/api/x',
        onResponse: (status, body, _context, headers) =>
          checked(
            status,
            body,
            Object.fromEntries(Object.entries(headers ?? {}).map(([k, v]) => [k.toLowerCase(), String(v)])),
          ),
      },
    ],
  })
  const after = await ask('end')
  const admitted = result.statusCodeStats?.['200']?.count ?? 0
  const refused = result.statusCodeStats?.['429']?.count ?? 0
  table(
    ['30 s at ten times the limit', ''],
    [
      ['requests', Number(admitted) + Number(refused)],
      ['admitted', Number(admitted)],
      ['refused', Number(refused)],
      ['latency, p99 ms', result.latency.p99],
      ['heap before, MB', before.heapMB],
      ['heap after, MB', after.heapMB],
    ],
  )
  judge([
    {
      name: 'admitted beyond the limit, or fewer',
      value: Math.abs(Number(admitted) - LIMIT),
      unit: 'requests',
      target: 0,
    },
    { name: 'refusals without the contract', value: withoutContract, unit: '', target: 0 },
    { name: 'event loop, p99', value: after.p99Ms, unit: 'ms', target: 50 },
    { name: 'heap grown', value: after.heapMB - before.heapMB, unit: 'MB', target: 5 },
  ])
}
