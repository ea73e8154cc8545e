import {
  type Auth,
  createGuard,
  createHoldfast,
  discordFetch,
  type GuildMembership,
  isAuthError,
  requireAuth,
  withAuth,
} from 'holdfast'

export async function page(request: Request): Promise<Response> {
  try {
    const auth: Auth = await requireAuth(request, { guild: '1', permissions: 'ManageGuild' })
    const managed: GuildMembership[] = [...auth.guilds].filter((guild) => auth.guilds.can(guild.id, 'ManageGuild'))
    return Response.json(managed.map(({ id, name }) => ({ id, name })))
  } catch (error) {
    if (isAuthError(error)) return error.toResponse(request)
    throw error
  }
}

export const GET = withAuth(async (_request, auth) => Response.json({ user: auth.user.id }))

export async function wired(): Promise<string> {
  const holdfast = createHoldfast({ discord: { baseUrl: 'http://127.0.0.1:4000/api/v10' } })
  const guard = createGuard({ holdfast, rules: { '/api/*': '60/minute' } })
  await guard.close()
  const me = await discordFetch('/users/@me', 'token')
  return me.username
}
