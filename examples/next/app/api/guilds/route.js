import { holdfast } from '../../../lib/holdfast.js'

export const GET = holdfast.withAuth((_request, { user, guilds, stale }) => Response.json({ user, stale, guilds }))
