// The same dashboard without Holdfast, for comparison: the story (`npm run story`) plays against both.
import { createServer } from 'node:http'
import { fetchGuilds } from './plain-guilds.js'

const API = process.env.DISCORD_API_BASE_URL ?? 'https://discord.com/api/v10'

const server = createServer(async (request, response) => {
  try {
    const guilds = await fetchGuilds(API, request.headers.authorization ?? '')
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
