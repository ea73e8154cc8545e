import { type Answer, invalidContentType, invalidField, json, noContent, refused, serialised } from './answer.ts'
import type { Application } from './application.ts'
import { toPartialGuild } from './guilds.ts'
import type { Grant } from './oauth/credentials.ts'
import { compareIds, type Membership, type People, toPublicUser, toUser } from './people.ts'
import type { RouteName } from './routes.ts'

/** One call to a resource, after every limit and check of credentials has let it pass. */
export interface ResourceCall {
  readonly params: Readonly<Record<string, string>>
  readonly query: URLSearchParams | null
  readonly contentType: string | undefined
  readonly body: Buffer
  /** The bearer token's grant; undefined: the bot. */
  readonly grant: Grant | undefined
}

/** The routes that are about people, guilds and channels; OAuth2's own are in oauth.ts. */
export type ResourceName = Exclude<
  RouteName,
  'GET /oauth2/authorize' | 'POST /oauth2/authorize' | 'POST /oauth2/token' | 'POST /oauth2/token/revoke'
>

export type Resources = Readonly<Record<ResourceName, (call: ResourceCall) => Answer>>

const MAX_PAGE = 200
const NO_SCOPES: ReadonlySet<string> = new Set()
const JOINED_AT = '2024-01-01T00:00:00.000000+00:00'

export function createResources(people: People, application: Application): Resources {
  const bot = { id: people.botId, username: 'simulated_bot' }
  const unknownGuild = refused(404, 10004, 'Unknown Guild')
  const unknownMember = refused(404, 10007, 'Unknown Member')

  const publicApplication = {
    id: application.id,
    name: application.name,
    icon: null,
    description: '',
    type: null,
    bot_public: true,
    bot_require_code_grant: false,
    verify_key: application.publicKey,
    flags: 0,
    integration_types_config: {},
  }

  const member = (user: { id: string; username: string }, roles: readonly string[]) => ({
    avatar: null,
    banner: null,
    communication_disabled_until: null,
    flags: 0,
    joined_at: JOINED_AT,
    nick: null,
    pending: false,
    premium_since: null,
    roles,
    user: toPublicUser(user),
    mute: false,
    deaf: false,
  })

  const memberOf = (userId: string, guildId: string) => {
    const membership = people.membership(userId, guildId)
    const user = userId === bot.id ? bot : people.user(userId)
    const guild = people.guilds.get(guildId)
    return membership && user && guild ? json(200, member(user, guild.roleIds(membership.permissions))) : undefined
  }

  const message = (channel: string, content: string) => ({
    id: channel,
    channel_id: channel,
    content,
    type: 0,
    author: { ...toPublicUser(bot), bot: true },
  })

  return {
    'GET /users/@me': ({ grant }) => {
      const user = grant && people.user(grant.userId)
      return json(200, user ? toUser(user, grant.scopes) : { ...toPublicUser(bot), bot: true, verified: true })
    },
    'GET /users/@me/guilds': ({ grant, query }) => {
      const userId = grant?.userId ?? bot.id
      if (!query || query.size === 0) return serialised(200, people.listJson(userId))
      const page = pageOf(people.membershipsOf(userId), query)
      if ('status' in page) return page
      const withCounts = /^(true|1)$/i.test(query.get('with_counts') ?? '')
      const guilds = page.map((one) => toPartialGuild(people.guilds.get(one.id)!, one, withCounts))
      return serialised(200, `[${guilds.join(',')}]`)
    },
    'GET /users/@me/guilds/:guild/member': ({ grant, params }) =>
      memberOf(grant?.userId ?? bot.id, params.guild!) ?? unknownGuild,
    'GET /oauth2/@me': ({ grant }) => {
      const user = grant && people.user(grant.userId)
      return json(200, {
        application: { ...publicApplication, id: grant?.applicationId ?? application.id },
        scopes: [...(grant?.scopes ?? NO_SCOPES)],
        // Discord writes microseconds and an offset here.
        expires: new Date(grant?.expiresAt ?? 0).toISOString().replace('Z', '000+00:00'),
        ...(user && grant.scopes.has('identify') ? { user: toPublicUser(user) } : {}),
      })
    },
    'GET /applications/@me': () => json(200, { ...publicApplication, bot: { ...toPublicUser(bot), bot: true } }),
    'GET /guilds/:guild': ({ params }) => {
      const guild = people.guilds.get(params.guild!)
      if (!guild || !people.membership(bot.id, guild.id)) return unknownGuild
      const { id, name, icon, banner, features, ownerId } = guild
      return json(200, { id, name, icon, banner, features, owner_id: ownerId, roles: guild.roles(), channels: [] })
    },
    'GET /guilds/:guild/members/:user': ({ params }) => {
      if (!people.membership(bot.id, params.guild!)) return unknownGuild
      return memberOf(params.user!, params.guild!) ?? unknownMember
    },
    'PUT /guilds/:guild/members/:user/roles/:role': ({ params }) => {
      if (!people.membership(bot.id, params.guild!)) return unknownGuild
      return people.membership(params.user!, params.guild!) ? noContent : unknownMember
    },
    'GET /channels/:channel/messages': ({ params }) => json(200, [message(params.channel!, 'hello')]),
    'POST /channels/:channel/messages': ({ params, contentType, body }) => {
      if (body.length === 0) return refused(400, 50006, 'Cannot send an empty message')
      if (!/^application\/json\s*(;|$)/i.test(contentType ?? '')) return invalidContentType
      let value: unknown
      try {
        value = JSON.parse(body.toString())
      } catch {
        return refused(400, 50109, 'The request body contains invalid JSON.')
      }
      const content = value !== null && typeof value === 'object' && 'content' in value ? value.content : ''
      if (typeof content !== 'string' || content === '') return refused(400, 50006, 'Cannot send an empty message')
      if (content.length > 2000)
        return invalidField('content', 'BASE_TYPE_MAX_LENGTH', 'Must be 2000 or fewer in length.')
      return json(200, message(params.channel!, content))
    },
  }
}

/** `limit`, `after` and `before`, as Discord documents them for guild lists; an Answer if one of them is wrong. */
function pageOf(all: readonly Membership[], query: URLSearchParams): readonly Membership[] | Answer {
  const text = query.get('limit') ?? String(MAX_PAGE)
  const limit = Number(text)
  if (!/^\d+$/.test(text)) return invalidField('limit', 'NUMBER_TYPE_COERCE', `Value "${text}" is not int.`)
  if (limit < 1) return invalidField('limit', 'NUMBER_TYPE_MIN', 'int value should be greater than or equal to 1.')
  if (limit > MAX_PAGE)
    return invalidField('limit', 'NUMBER_TYPE_MAX', `int value should be less than or equal to ${MAX_PAGE}.`)
  for (const field of ['after', 'before'] as const) {
    const id = query.get(field)
    if (id !== null && !/^\d+$/.test(id))
      return invalidField(field, 'NUMBER_TYPE_COERCE', `Value "${id}" is not snowflake.`)
  }
  const after = query.get('after')
  const before = query.get('before')
  const matching = all.filter(
    ({ id }) => (after === null || compareIds(id, after) > 0) && (before === null || compareIds(id, before) < 0),
  )
  // Backwards, a page is the part next to `before`.
  return before !== null && after === null ? matching.slice(-limit) : matching.slice(0, limit)
}
