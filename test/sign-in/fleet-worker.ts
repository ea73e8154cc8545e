// One process of an app with a login; the environment says where everything is. Answers the login's routes and `/me`.
import { createServer } from 'node:http'
import { login } from '../../src/doors/express.ts'
import { createHoldfast } from '../../src/index.ts'

const holdfast = createHoldfast({
  cache: { freshMs: 60 * 60_000 },
  // The machine is busy, and time-outs are not what is tested here.
  ...(process.env.REDIS_URL && {
    redis: {
      url: process.env.REDIS_URL,
      namespace: process.env.NAMESPACE!,
      readTimeoutMs: 5_000,
      writeTimeoutMs: 5_000,
    },
  }),
})
holdfast.on((event) => {
  if (event.type === 'login.refresh') process.stdout.write(`refresh ${event.outcome}\n`)
})
await holdfast.ready({ deadlineMs: 10_000 })
const signIn = login({ holdfast })
const me = holdfast.withAuth((_request, { user }) => Response.json({ id: user.id }))

const server = createServer((request, response) =>
  signIn(request, response, async () => {
    const headers = new Headers(Object.entries(request.headers).map(([name, value]) => [name, String(value)]))
    const answer = await me(new Request(`http://localhost${request.url}`, { headers }))
    response.writeHead(answer.status, { 'content-type': 'application/json' }).end(await answer.text())
  }),
)
server.listen(0, '127.0.0.1', () => {
  process.stdout.write(`listening on http://127.0.0.1:${(server.address() as { port: number }).port}\n`)
})
process.once('SIGTERM', async () => {
  server.closeAllConnections()
  server.close()
  await holdfast.close()
})
