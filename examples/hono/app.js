// Sign in with Discord, guilds, limits: Hono 4 on Node. See README.md.
import { serve } from '@hono/node-server'
import { createHoldfast } from 'holdfast'
import { guard, login, requireAuth } from 'holdfast/hono'
import { Hono } from 'hono'

const holdfast = createHoldfast()
const app = new Hono()

app.use(guard({ holdfast, rules: { '/api/*': '60/minute' } }))
app.use(login({ holdfast }))

app.get('/', (c) => c.html('<a href="/auth/discord?returnTo=/api/guilds">Sign in with Discord</a>'))

app.get('/api/guilds', requireAuth({ holdfast }), (c) => {
  const { user, guilds, stale } = c.get('auth')
  return c.json({ user, stale, guilds: guilds.toJSON() })
})

const manage = requireAuth({ holdfast, guild: (_, c) => c.req.param('guildId'), permissions: 'ManageGuild' })
app.post('/api/guilds/:guildId/name', manage, async (c) => {
  const { name } = await c.req.json()
  return c.json({ guild: c.get('auth').guild.id, renamedTo: name })
})

const server = serve(
  { fetch: app.fetch, port: Number(process.env.PORT ?? 3000), hostname: '127.0.0.1' },
  ({ port }) => {
    console.log(`listening on http://127.0.0.1:${port}`)
  },
)
process.once('SIGTERM', () => {
  server.close()
  server.closeAllConnections()
  void holdfast.close()
})
