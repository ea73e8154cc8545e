// Sign in with Discord, guilds, limits: Express 5. See README.md.
import express from 'express'
import { createHoldfast } from 'holdfast'
import { guard, login, requireAuth } from 'holdfast/express'

const holdfast = createHoldfast()
const app = express()

app.use(guard({ holdfast, rules: { '/api/*': '60/minute' } }))
app.use(login({ holdfast }))
app.use(express.json())

app.get('/', (_request, response) => {
  response.send('<a href="/auth/discord?returnTo=/api/guilds">Sign in with Discord</a>')
})

app.get('/api/guilds', requireAuth({ holdfast }), (request, response) => {
  const { user, guilds, stale } = request.auth
  response.json({ user, stale, guilds })
})

const manage = requireAuth({ holdfast, guild: (_, request) => request.params.guildId, permissions: 'ManageGuild' })
app.post('/api/guilds/:guildId/name', manage, (request, response) => {
  response.json({ guild: request.auth.guild.id, renamedTo: request.body.name })
})

const server = app.listen(process.env.PORT ?? 3000, '127.0.0.1', () => {
  console.log(`listening on http://127.0.0.1:${server.address().port}`)
})
process.once('SIGTERM', () => {
  server.close()
  server.closeAllConnections()
  void holdfast.close()
})
