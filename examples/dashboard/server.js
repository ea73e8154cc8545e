// A dashboard's server, guarded by requireAuth(). `npm start` runs it against the simulator.
// Needs DISCORD_CLIENT_ID: bearer tokens have to be issued to this application.
import { createServer } from 'node:http'
import { AuthError, defaultHoldfast, requireAuth } from 'holdfast'
import { renderPage } from './page.js'

const server = createServer(async (request, response) => {
  try {
    const [pathname] = (request.url ?? '/').split('?')
    if (pathname === '/healthz') return send(response, 200, 'text/plain', 'ok')

    const auth = await requireAuth({ headers: headersOf(request), method: request.method ?? 'GET' })

    const list = {
      user: auth.user,
      guilds: auth.guilds,
      stale: auth.stale,
      source: auth.source,
      fetchedAt: auth.guildsFetchedAt,
    }
    if (pathname === '/api/guilds') return send(response, 200, 'application/json', JSON.stringify(list))
    if (pathname === '/') return send(response, 200, 'text/html; charset=utf-8', renderPage(auth))
    send(response, 404, 'application/json', '{"code":"NOT_FOUND"}')
  } catch (error) {
    if (!(error instanceof AuthError)) return send(response, 500, 'application/json', '{"code":"INTERNAL"}')
    const refusal = error.toResponse({ headers: headersOf(request), method: request.method ?? 'GET' })
    response.writeHead(refusal.status, Object.fromEntries(refusal.headers)).end(await refusal.text())
  }
})

function headersOf(request) {
  const headers = new Headers(Object.entries(request.headers).filter((entry) => typeof entry[1] === 'string'))
  // For a look with a browser, which sends no bearer token: `npm start` signs it in as one of the simulator's users.
  if (process.env.DEMO_TOKEN && !headers.has('authorization'))
    headers.set('authorization', `Bearer ${process.env.DEMO_TOKEN}`)
  return headers
}

function send(response, status, type, body) {
  response.writeHead(status, { 'content-type': type, 'cache-control': 'no-store' }).end(body)
}

// A variable that cannot be used ends the server here, and not its first request.
defaultHoldfast()

server.listen(Number(process.env.PORT ?? 3000), '127.0.0.1', () => {
  console.log(`listening on http://127.0.0.1:${server.address().port}`)
})

process.once('SIGTERM', () => {
  server.close()
  server.closeAllConnections()
  void defaultHoldfast().close()
})
