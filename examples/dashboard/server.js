// The dashboard: sign in with Discord, see your guilds. With DISCORD_CLIENT_ID (and DISCORD_CLIENT_SECRET) at Discord
// itself; without, at a simulated one, beside a laboratory that makes trouble and draws what users see of it.
import { createServer } from 'node:http'
import { AuthError, createHoldfast } from 'holdfast'
import { login } from 'holdfast/express'
import { leaveOutLaboratory, sendFile } from './files.js'
import { answerLaboratory } from './laboratory-routes.js'

const isReal = process.env.DISCORD_CLIENT_ID !== undefined || process.env.DISCORD_API_BASE_URL !== undefined
const laboratory = isReal ? undefined : await (await import('./laboratory.js')).openLaboratory()
const server = createServer((request, response) => void answer(request, response))
const port = await listen(Number(process.env.PORT ?? 3000))
const publicUrl = process.env.HOLDFAST_PUBLIC_URL ?? `http://localhost:${port}`

const holdfast = createHoldfast(
  laboratory
    ? {
        publicUrl,
        discord: {
          baseUrl: laboratory.discord.url,
          clientId: laboratory.discord.clientId,
          clientSecret: laboratory.discord.clientSecret,
          timeoutMs: 3_000,
        },
        // The usual hour, and the day, in seconds: so that there is something to see.
        cache: { freshMs: 30_000, staleMs: 30 * 60_000 },
        database: undefined,
      }
    : { publicUrl },
)
const signIn = login({ holdfast })
const canSignIn = laboratory !== undefined || process.env.DISCORD_CLIENT_SECRET !== undefined

async function answer(request, response) {
  try {
    const { pathname } = new URL(request.url ?? '/', 'http://localhost')
    if (pathname === '/healthz') return send(response, 200, 'text/plain', 'ok')
    if (request.method === 'GET' && sendFile(pathname, response)) return
    if (laboratory && pathname.startsWith('/laboratory/'))
      return await answerLaboratory(laboratory, pathname, request, response, new URL(publicUrl).origin)
    if (pathname === '/api/guilds') return await sendGuilds(request, response)
    if (pathname === '/api/site') return await sendSite(request, response)
    if (!canSignIn) return sendJson(response, 404, { code: 'NOT_FOUND' })
    signIn(request, response, (error) =>
      error ? sendJson(response, 500, { code: 'INTERNAL' }) : sendJson(response, 404, { code: 'NOT_FOUND' }),
    )
  } catch {
    sendJson(response, 500, { code: 'INTERNAL' })
  }
}

async function sendSite(request, response) {
  const signedIn = canSignIn && (await holdfast.login.session(webRequest(request))) !== null
  sendJson(response, 200, { canSignIn, signedIn, laboratory: laboratory !== undefined })
}

async function sendGuilds(request, response) {
  const asked = webRequest(request)
  try {
    const auth = await holdfast.requireAuth(asked)
    const guilds = auth.guilds
      .toJSON()
      .map((guild) => ({ ...guild, manages: auth.guilds.can(guild.id, 'ManageGuild') }))
    const { user, stale, source, reason, retryAt, guildsFetchedAt: fetchedAt } = auth
    sendJson(response, 200, { user, guilds, stale, source, reason, retryAt, fetchedAt, now: new Date() })
  } catch (error) {
    if (!(error instanceof AuthError)) throw error
    const refusal = error.toResponse(asked)
    response.writeHead(refusal.status, Object.fromEntries(refusal.headers)).end(await refusal.text())
  }
}

function webRequest({ method, headers }) {
  return { method, headers: new Headers(Object.entries(headers).map(([name, value]) => [name, String(value)])) }
}

function sendJson(response, status, value) {
  send(response, status, 'application/json', JSON.stringify(value))
}

function send(response, status, type, body) {
  if (response.headersSent) return response.end()
  response.writeHead(status, { 'content-type': type, 'cache-control': 'no-store' }).end(body)
}

/** On the port that was asked for, or any other where somebody has that. */
function listen(wanted) {
  return new Promise((resolve, reject) => {
    server.once('error', (error) => {
      if (error.code === 'EADDRINUSE' && wanted !== 0) resolve(listen(0))
      else reject(error)
    })
    server.listen(wanted, '127.0.0.1', () => resolve(server.address().port))
  })
}

if (!laboratory) leaveOutLaboratory()
laboratory?.begin(`http://127.0.0.1:${port}`)
console.log(`listening on ${isReal && !process.env.HOLDFAST_PUBLIC_URL ? `http://127.0.0.1:${port}` : publicUrl}`)

process.once('SIGTERM', async () => {
  server.close()
  server.closeAllConnections()
  await laboratory?.close()
  await holdfast.close()
})
