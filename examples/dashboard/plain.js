// The same dashboard without Holdfast: fetch, and a loop that does what Retry-After says. `npm start` compares the two.
import { createServer } from 'node:http'

const API = process.env.DISCORD_API_BASE_URL ?? 'https://discord.com/api/v10'
const TRIES = 4
const TIMEOUT_MS = 10_000

async function fetchGuilds(authorization) {
  for (let attempt = 1; ; attempt++) {
    const response = await fetch(`${API}/users/@me/guilds`, {
      headers: { authorization, 'user-agent': 'DiscordBot (https://example.com, 1.0.0)' },
      signal: AbortSignal.timeout(TIMEOUT_MS),
    })
    if (response.ok) return response.json()
    if (response.status !== 429 || attempt === TRIES) throw new Error(`Discord answered ${response.status}`)
    const seconds = Number(response.headers.get('retry-after') ?? 1)
    await response.body?.cancel()
    await new Promise((resolve) => setTimeout(resolve, seconds * 1000))
  }
}

const server = createServer(async (request, response) => {
  try {
    const guilds = await fetchGuilds(request.headers.authorization ?? '')
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ guilds, stale: false }))
  } catch (error) {
    response.writeHead(502, { 'content-type': 'application/json' }).end(JSON.stringify({ error: error.message }))
  }
})

server.listen(Number(process.env.PORT ?? 3001), '127.0.0.1', () => {
  console.log(`listening on http://127.0.0.1:${server.address().port}`)
})

process.once('SIGTERM', () => {
  server.close()
  server.closeAllConnections()
})
