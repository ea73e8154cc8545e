// One guarded, signed-in request over HTTP, against the simulator. Prints what it was answered, and ends by itself.
import { createServer } from 'node:http'
import { createGuard, createHoldfast, isAuthError } from 'holdfast'
import { startSimulator } from 'holdfast/simulator'

const discord = await startSimulator({ users: 1 })
const holdfast = createHoldfast({ discord: { baseUrl: discord.url, clientId: discord.clientId } })
const guard = createGuard({ holdfast, rules: { '/api/guilds': '2/minute' }, shedding: false })

const server = createServer(async (request, response) => {
  const header = (name) => request.headers[name] ?? null
  const { method, url: path } = request
  const decision = await guard.check({ method, path, header, remoteAddress: request.socket.remoteAddress })
  for (const [name, value] of decision.headers) response.setHeader(name, value)
  if (decision.action === 'refuse') {
    response.writeHead(decision.status).end(decision.body)
    return
  }
  response.on('finish', () => decision.settle(response.statusCode))
  try {
    const asked = { method, headers: new Headers({ authorization: header('authorization') ?? '' }) }
    const auth = await holdfast.requireAuth(asked)
    response.end(JSON.stringify({ user: auth.user.id, guilds: auth.guilds.size }))
  } catch (error) {
    if (!isAuthError(error)) throw error
    const refusal = error.toResponse()
    response.writeHead(refusal.status, Object.fromEntries(refusal.headers)).end(await refusal.text())
  }
})
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
const url = `http://127.0.0.1:${server.address().port}/api/guilds`
const [user] = discord.users
const statuses = []
let body
const token = `Bearer ${user.accessToken}`
for (const authorization of [token, 'Bearer made-up', token, token, token]) {
  const answer = await fetch(url, { headers: { authorization } })
  statuses.push(answer.status)
  const text = await answer.text()
  body ??= JSON.parse(text)
}
// Deno keeps connections open that nobody uses, and waits for them.
server.closeAllConnections()
await new Promise((resolve) => server.close(resolve))
await guard.close()
await holdfast.close()
await discord.close()
console.log(JSON.stringify({ statuses, isUser: body.user === user.id, guilds: body.guilds }))
