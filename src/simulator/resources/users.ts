import type {
  APIApplication,
  APIUser,
  RESTGetAPIGatewayBotResult,
  RESTGetAPIGatewayResult,
  RESTGetAPIOAuth2CurrentAuthorizationResult,
} from 'discord-api-types/v10'
import { type Answer, json, noContent, refused, serialised } from '../answer.ts'
import { NO_FLAGS, toPartialGuild } from '../world/guild.ts'
import type { Membership } from '../world/people.ts'
import { compareIds } from '../world/snowflake.ts'
import { toBotUser, toPublicUser, toUser } from '../world/user-objects.ts'
import { timestamp, type World } from '../world/world.ts'
import { type Handler, isAnswer } from './call.ts'
import { isTrue } from './guilds.ts'
import { createProblems, limitOf } from './problems.ts'
import { unknownGuild, unknownUser } from './refusals.ts'

const MAX_PAGE = 200

export function userHandlers(world: World, gatewayUrl: () => string) {
  const { people, application } = world
  const bot = people.bot
  const owner = people.users[0]!

  /** The application as its own bot sees it; `id` differs for tokens that another one was given. */
  const toApplication = (id: string): APIApplication => ({
    id,
    name: application.name,
    icon: null,
    description: '',
    summary: '',
    bot_public: true,
    bot_require_code_grant: false,
    verify_key: application.publicKey,
    team: null,
    flags: NO_FLAGS,
    flags_new: '0',
    integration_types_config: {},
  })
  const ownApplication = (): APIApplication => ({
    ...toApplication(application.id),
    bot: toPublicUser(bot),
    owner: toPublicUser(people.somebody(owner.id)!),
    approximate_guild_count: people.membershipsOf(bot.id).length,
    approximate_user_install_count: 0,
    redirect_uris: [],
    interactions_endpoint_url: null,
    role_connections_verification_url: null,
    event_webhooks_url: null,
    event_webhooks_status: 1,
  })

  return {
    'GET /users/@me': ({ grant }) => {
      const user = grant && people.somebody(grant.userId)
      return json<APIUser>(200, user ? toUser(user, grant.scopes) : toBotUser(bot))
    },
    'GET /users/:user': ({ params }) => {
      const user = people.somebody(params.user!)
      return user ? json<APIUser>(200, toPublicUser(user)) : unknownUser
    },
    'GET /users/@me/guilds': ({ grant, query }) => {
      const userId = grant?.userId ?? bot.id
      if (!query || query.size === 0) return serialised(200, people.listJson(userId))
      const page = pageOf(people.membershipsOf(userId), query)
      if (isAnswer(page)) return page
      const withCounts = isTrue(query.get('with_counts'))
      const guilds = page.map((one) => toPartialGuild(people.guilds.get(one.id)!, one, withCounts))
      return serialised(200, `[${guilds.join(',')}]`)
    },
    'DELETE /users/@me/guilds/:guild': ({ params }) => (people.leave(bot.id, params.guild!) ? noContent : unknownGuild),
    'GET /users/@me/connections': () => json(200, []),
    'GET /oauth2/@me': ({ grant }) => {
      const user = grant && people.somebody(grant.userId)
      const answer: Omit<RESTGetAPIOAuth2CurrentAuthorizationResult, 'scopes'> & { scopes: string[] } = {
        application: toApplication(grant?.applicationId ?? application.id),
        scopes: [...(grant?.scopes ?? [])],
        expires: timestamp(grant?.expiresAt ?? 0),
        ...(user && grant.scopes.has('identify') ? { user: toPublicUser(user) } : {}),
      }
      return json(200, answer)
    },
    'GET /applications/@me': () => json<APIApplication>(200, ownApplication()),
    'GET /oauth2/applications/@me': () => json<APIApplication>(200, ownApplication()),
    'GET /gateway': () => json<RESTGetAPIGatewayResult>(200, { url: gatewayUrl() }),
    'GET /gateway/bot': () =>
      json<RESTGetAPIGatewayBotResult>(200, {
        url: gatewayUrl(),
        shards: 1,
        session_start_limit: { total: 1000, remaining: 1000, reset_after: 86_400_000, max_concurrency: 1 },
      }),
  } satisfies Record<string, Handler>
}

/** `limit`, `after` and `before`, as Discord documents them for guild lists; an Answer if one of them is wrong. */
function pageOf(all: readonly Membership[], query: URLSearchParams): readonly Membership[] | Answer {
  const problems = createProblems()
  const limit = limitOf(problems, query, MAX_PAGE, MAX_PAGE)
  const after = problems.id({ after: query.get('after') ?? undefined }, 'after')
  const before = problems.id({ before: query.get('before') ?? undefined }, 'before')
  if (problems.answer) return problems.answer
  const matching = all.filter(
    ({ id }) =>
      (after === undefined || compareIds(id, after) > 0) && (before === undefined || compareIds(id, before) < 0),
  )
  // Backwards, a page is the part next to `before`.
  return before !== undefined && after === undefined ? matching.slice(-limit) : matching.slice(0, limit)
}

/** `/api/v1` and the like. */
export const invalidVersion = refused(400, 50041, 'Invalid API version provided')
