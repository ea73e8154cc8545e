// What the Express door adds to a request, beside express-rate-limit with draft-8 headers.
import { IncomingMessage, ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import { rateLimit } from 'express-rate-limit'
import { createGuard } from 'holdfast'
import { guard } from 'holdfast/express'
import { judge, race, table } from './figures.ts'

const MANY = 1_000_000_000
// One limit by address each. Ours writes all its headers, as it does by default: RateLimit-Policy, RateLimit and three
// X-RateLimit; theirs the two of draft 8. No shedding: a bench that never rests looks like an overload.
const ours = guard({ guard: createGuard({ rules: { '*': { limit: MANY, windowMs: 900_000 } }, shedding: false }) })
const oursAlone = guard({
  guard: createGuard({
    rules: { '*': { limit: MANY, windowMs: 900_000 } },
    shedding: false,
    headers: { xRateLimit: false },
  }),
})
const theirs = rateLimit({
  windowMs: 900_000,
  limit: MANY,
  standardHeaders: 'draft-8',
  legacyHeaders: false,
  validate: false,
})

const socket = new Socket()
Object.defineProperty(socket, 'remoteAddress', { value: '203.0.113.7' })

function append(this: ServerResponse, name: string, value: string): void {
  const before = this.getHeader(name)
  this.setHeader(name, before === undefined ? value : [before, value].flat().map(String))
}

/** A request and its answer as node:http makes them, up to the end of the answer's headers. */
function pair(middleware: ((...args: never[]) => unknown) | undefined): Promise<void> {
  const request = new IncomingMessage(socket) as IncomingMessage & { ip: string; app: unknown; originalUrl: string }
  request.method = 'POST'
  request.url = request.originalUrl = '/api/x'
  request.headers = { host: 'app.example', accept: 'application/json' }
  request.ip = '203.0.113.7'
  // Express's `append`, which express-rate-limit writes with.
  const response = Object.assign(new ServerResponse(request), { append })
  return new Promise((resolve, reject) => {
    const next = (error?: unknown) => (error ? reject(error) : resolve())
    if (!middleware) return next()
    void (middleware as unknown as (...args: unknown[]) => unknown)(request, response, next)
  })
}

const times = await race(
  {
    'without a limiter': () => pair(undefined),
    'holdfast, all headers': () => pair(ours as never),
    'holdfast, draft 11 alone': () => pair(oursAlone as never),
    'express-rate-limit, draft 8': () => pair(theirs as never),
  },
  { calls: () => 20_000 },
)
const bare = times['without a limiter']!
const added = Object.fromEntries(Object.entries(times).map(([name, ns]) => [name, (ns - bare) / 1000]))
table(
  ['added to a request', 'µs'],
  Object.entries(added)
    .slice(1)
    .map(([name, µs]) => [name, µs]),
)
judge([
  {
    name: 'the Express door, all headers',
    value: added['holdfast, all headers']! / added['express-rate-limit, draft 8']!,
    unit: '× express-rate-limit',
    target: 1,
  },
])
await Promise.all([ours.close(), oursAlone.close()])
