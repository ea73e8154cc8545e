// Sign in with Discord, guilds, limits: Fastify 5. See README.md.
import Fastify from 'fastify'
import { createHoldfast } from 'holdfast'
import { holdfast as plugin } from 'holdfast/fastify'

const holdfast = createHoldfast()
const app = Fastify()

await app.register(plugin, { holdfast, guard: { rules: { '/api/*': '60/minute' } }, login: true })

app.get('/', (_request, reply) =>
  reply.type('text/html').send('<a href="/auth/discord?returnTo=/api/guilds">Sign in with Discord</a>'),
)

app.get('/api/guilds', { preHandler: app.requireAuth() }, async ({ auth }) => {
  const { user, guilds, stale } = auth
  return { user, stale, guilds }
})

const manage = app.requireAuth({ guild: (_, request) => request.params.guildId, permissions: 'ManageGuild' })
app.post('/api/guilds/:guildId/name', { preHandler: manage }, async ({ auth, body }) => {
  return { guild: auth.guild.id, renamedTo: body.name }
})

console.log(`listening on ${await app.listen({ port: process.env.PORT ?? 3000, host: '127.0.0.1' })}`)
process.once('SIGTERM', async () => {
  await app.close()
  await holdfast.close()
})
