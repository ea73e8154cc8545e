import type {
  APIGuildMember,
  APIUser,
  RESTAPIPartialCurrentUserGuild,
  RESTGetAPIApplicationRoleConnectionMetadataResult,
  RESTGetAPICurrentUserConnectionsResult,
  RESTGetAPIGatewayBotResult,
  RESTGetAPIGatewayResult,
  RESTGetAPIGuildMemberResult,
  RESTGetAPIOAuth2CurrentApplicationResult,
  RESTGetAPIOAuth2CurrentAuthorizationResult,
  RESTGetAPIVoiceRegionsResult,
} from 'discord-api-types/v10'

/** GET routes whose answers are typed: a literal path given to `discordFetch` infers its result from here. */
export interface KnownGet {
  '/users/@me': APIUser
  '/users/@me/guilds': RESTAPIPartialCurrentUserGuild[]
  '/users/@me/connections': RESTGetAPICurrentUserConnectionsResult
  '/oauth2/@me': RESTGetAPIOAuth2CurrentAuthorizationResult
  '/oauth2/applications/@me': RESTGetAPIOAuth2CurrentApplicationResult
  '/gateway': RESTGetAPIGatewayResult
  '/gateway/bot': RESTGetAPIGatewayBotResult
  '/voice/regions': RESTGetAPIVoiceRegionsResult
  [member: `/users/@me/guilds/${string}/member`]: APIGuildMember
  [member: `/guilds/${string}/members/${string}`]: RESTGetAPIGuildMemberResult
  [user: `/users/${bigint}`]: APIUser
  [metadata: `/applications/${string}/role-connections/metadata`]: RESTGetAPIApplicationRoleConnectionMetadataResult
}

/** What those answers have to be at the top: an answer of the other shape is refused before anybody reads it. */
export const ANSWER_SHAPES: Readonly<Record<string, 'object' | 'array'>> = {
  'GET /users/@me': 'object',
  'GET /users/@me/guilds': 'array',
  'GET /users/@me/connections': 'array',
  'GET /oauth2/@me': 'object',
  'GET /oauth2/applications/@me': 'object',
  'GET /gateway': 'object',
  'GET /gateway/bot': 'object',
  'GET /voice/regions': 'array',
  'GET /users/@me/guilds/:id/member': 'object',
  'GET /guilds/:id': 'object',
  'GET /guilds/:id/members/:id': 'object',
  'GET /users/:id': 'object',
  'GET /applications/:id/role-connections/metadata': 'array',
}
