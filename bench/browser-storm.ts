// One page starts up and reads 100 things through a guard that allows 10 a second: what do clients make of the 429s?
// Each against the same server under a limit of its own, in interleaved rounds.
import { once } from 'node:events'
import { createServer } from 'node:http'
import { QueryClient } from '@tanstack/query-core'
import axios from 'axios'
import axiosRetry from 'axios-retry'
import { createGuard } from 'holdfast'
import { createApiClient } from 'holdfast/browser'
import { guard } from 'holdfast/express'
import ky from 'ky'
import { judge, median, table } from './figures.ts'

const ROUNDS = 2
const REQUESTS = 100
const PER_SECOND = 10
/** Every fourth request asks for what the one before it asked for. */
const PATHS = Array.from({ length: REQUESTS }, (_, number) => `/api/item/${number - (number % 4 === 3 ? 1 : 0)}`)

let calls = 0
let refused = 0
let middleware = limited()
function limited() {
  const core = createGuard({ rules: { '*': { name: 'all', limit: PER_SECOND, windowMs: 1000 } }, shedding: false })
  return { core, run: guard({ guard: core }) as unknown as (...words: unknown[]) => void }
}
const server = createServer((request, response) => {
  calls++
  response.once('finish', () => {
    if (response.statusCode === 429) refused++
  })
  middleware.run(request, response, () => {
    response.writeHead(200, { 'content-type': 'application/json' }).end('{"ok":true}')
  })
}).listen(0, '127.0.0.1')
await once(server, 'listening')
const baseUrl = `http://127.0.0.1:${(server.address() as { port: number }).port}`

/** Each client as its documentation shows it; nobody is told about the limit. */
const contestants: Record<string, () => { get(path: string): Promise<unknown>; end?(): void }> = {
  'holdfast/browser': () => {
    const client = createApiClient({ baseUrl })
    return { get: (path) => client.json(path), end: client.close }
  },
  ky: () => {
    const api = ky.create({ baseUrl })
    return { get: (path) => api.get(path.slice(1)).json() }
  },
  'axios + axios-retry': () => {
    const api = axios.create({ baseURL: baseUrl })
    axiosRetry(api, { retryDelay: axiosRetry.exponentialDelay })
    return { get: (path) => api.get(path) }
  },
  'TanStack Query': () => {
    const queries = new QueryClient()
    // Its defaults, as useQuery has them: fetchQuery alone would not try again.
    const retryDelay = (attempt: number) => Math.min(1000 * 2 ** attempt, 30_000)
    const queryFn = async (path: string) => {
      const response = await fetch(baseUrl + path)
      if (!response.ok) throw new Error(String(response.status))
      return response.json()
    }
    return {
      get: (path) => queries.fetchQuery({ queryKey: [path], queryFn: () => queryFn(path), retry: 3, retryDelay }),
      end: () => queries.clear(),
    }
  },
}

const results: Record<string, Array<{ calls: number; refused: number; failures: number; ms: number }>> = {}
for (let round = 0; round < ROUNDS; round++) {
  for (const [name, make] of Object.entries(contestants)) {
    middleware = limited()
    calls = refused = 0
    const client = make()
    const began = performance.now()
    const settled = await Promise.allSettled(PATHS.map((path) => client.get(path)))
    const ms = performance.now() - began
    ;(results[name] ??= []).push({
      calls,
      refused,
      failures: settled.filter(({ status }) => status === 'rejected').length,
      ms,
    })
    client.end?.()
    await middleware.core.close()
  }
}
server.closeAllConnections()
server.close()

const middle = (name: string, key: 'calls' | 'refused' | 'failures' | 'ms') =>
  median(results[name]!.map((result) => result[key]))
table(
  [`${REQUESTS} reads, ${PER_SECOND} a second`, 'calls', '429s', 'failures shown', 'all served after, s'],
  Object.keys(contestants).map((name) => [
    name,
    middle(name, 'calls'),
    middle(name, 'refused'),
    middle(name, 'failures'),
    middle(name, 'failures') > 0 ? 'never' : middle(name, 'ms') / 1000,
  ]),
)
const ours = 'holdfast/browser'
const others = Object.keys(contestants).filter((name) => name !== ours)
judge([
  { name: 'failures shown', value: middle(ours, 'failures'), unit: `of ${REQUESTS}`, target: 0 },
  {
    name: 'calls, beside the fewest of the others',
    value: middle(ours, 'calls') / Math.min(...others.map((name) => middle(name, 'calls'))),
    unit: '×',
    target: 1,
  },
  { name: 'until all is served', value: middle(ours, 'ms') / 1000, unit: 's', target: 9 },
])
