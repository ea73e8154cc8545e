/**
 * Whose credentials a route wants: a bearer token, the bot token, either, an OAuth2 client's, a browser's, or (`open`)
 * nobody's in particular, because a token stands in the path.
 */
export type Wanted = 'bearer' | 'bot' | 'any' | 'client' | 'browser' | 'open'

interface Facts {
  readonly caller: Wanted
  /** The OAuth2 scope that a bearer token needs here. */
  readonly scope: string | null
  /** The limit it shares with all routes of the same bucket name; null: no limit but the global one, no headers. */
  readonly bucket: BucketName | null
  /** The parameters that are the top-level resource: each value has a limit of its own. */
  readonly major: string | null
}

export type BucketName =
  | 'user guilds'
  | 'own member'
  | 'guild'
  | 'guild member'
  | 'member role'
  | 'channel messages'
  | 'channel'
  | 'message edit'
  | 'message delete'
  | 'reactions'
  | 'webhook'
  | 'commands'

const user = (scope: string | null, bucket: BucketName | null = null): Facts => ({
  caller: 'bearer',
  scope,
  bucket,
  major: null,
})
const bot = (bucket: BucketName | null, major: string | null = null): Facts => ({
  caller: 'bot',
  scope: null,
  bucket,
  major,
})
const either = (scope: string | null, bucket: BucketName | null = null): Facts => ({
  ...user(scope, bucket),
  caller: 'any',
})
const open = (bucket: BucketName | null): Facts => ({ ...bot(bucket, 'webhook'), caller: 'open' })
const browser: Facts = { caller: 'browser', scope: null, bucket: null, major: null }
const client: Facts = { ...browser, caller: 'client' }

/** Every route that is simulated. Those with a fixed segment stand before those with a parameter in its place. */
export const ROUTES = {
  'GET /users/@me': either('identify'),
  'GET /users/@me/guilds': either('guilds', 'user guilds'),
  'DELETE /users/@me/guilds/:guild': bot('guild', 'guild'),
  'GET /users/@me/guilds/:guild/member': user('guilds.members.read', 'own member'),
  'GET /users/@me/connections': user('connections'),
  'POST /users/@me/channels': bot('channel'),
  'GET /users/:user': bot('guild member'),

  'GET /oauth2/@me': user(null),
  'GET /oauth2/authorize': browser,
  'POST /oauth2/authorize': browser,
  'POST /oauth2/token': client,
  'POST /oauth2/token/revoke': client,
  'GET /oauth2/applications/@me': bot(null),
  'GET /applications/@me': bot(null),
  'GET /gateway': { ...open(null), major: null },
  'GET /gateway/bot': bot(null),

  'GET /guilds/:guild': bot('guild', 'guild'),
  'PATCH /guilds/:guild': bot('guild', 'guild'),
  'GET /guilds/:guild/channels': bot('guild', 'guild'),
  'POST /guilds/:guild/channels': bot('guild', 'guild'),
  'GET /guilds/:guild/roles': bot('guild', 'guild'),
  'POST /guilds/:guild/roles': bot('guild', 'guild'),
  'GET /guilds/:guild/roles/:role': bot('guild', 'guild'),
  'PATCH /guilds/:guild/roles/:role': bot('guild', 'guild'),
  'DELETE /guilds/:guild/roles/:role': bot('guild', 'guild'),
  'GET /guilds/:guild/bans': bot('guild', 'guild'),
  'GET /guilds/:guild/bans/:user': bot('guild', 'guild'),
  'PUT /guilds/:guild/bans/:user': bot('guild', 'guild'),
  'DELETE /guilds/:guild/bans/:user': bot('guild', 'guild'),
  'GET /guilds/:guild/emojis': bot('guild', 'guild'),
  'GET /guilds/:guild/webhooks': bot('guild', 'guild'),
  'GET /guilds/:guild/members': bot('guild', 'guild'),
  'GET /guilds/:guild/members/search': bot('guild', 'guild'),
  'PATCH /guilds/:guild/members/@me': bot('guild member', 'guild'),
  'GET /guilds/:guild/members/:user': bot('guild member', 'guild'),
  'PUT /guilds/:guild/members/:user': bot('guild member', 'guild'),
  'PATCH /guilds/:guild/members/:user': bot('guild member', 'guild'),
  'DELETE /guilds/:guild/members/:user': bot('guild member', 'guild'),
  'PUT /guilds/:guild/members/:user/roles/:role': bot('member role', 'guild'),
  'DELETE /guilds/:guild/members/:user/roles/:role': bot('member role', 'guild'),

  'GET /channels/:channel': bot('channel', 'channel'),
  'PATCH /channels/:channel': bot('channel', 'channel'),
  'DELETE /channels/:channel': bot('channel', 'channel'),
  'PUT /channels/:channel/permissions/:overwrite': bot('channel', 'channel'),
  'DELETE /channels/:channel/permissions/:overwrite': bot('channel', 'channel'),
  'POST /channels/:channel/typing': bot('channel', 'channel'),
  'GET /channels/:channel/webhooks': bot('channel', 'channel'),
  'POST /channels/:channel/webhooks': bot('channel', 'channel'),
  'GET /channels/:channel/messages': bot('channel messages', 'channel'),
  'POST /channels/:channel/messages': bot('channel messages', 'channel'),
  'POST /channels/:channel/messages/bulk-delete': bot('message delete', 'channel'),
  'GET /channels/:channel/messages/:message': bot('message edit', 'channel'),
  'PATCH /channels/:channel/messages/:message': bot('message edit', 'channel'),
  'DELETE /channels/:channel/messages/:message': bot('message delete', 'channel'),
  'GET /channels/:channel/messages/:message/reactions/:emoji': bot('reactions', 'channel'),
  'PUT /channels/:channel/messages/:message/reactions/:emoji/@me': bot('reactions', 'channel'),
  'DELETE /channels/:channel/messages/:message/reactions/:emoji/@me': bot('reactions', 'channel'),

  'GET /webhooks/:webhook': bot('webhook', 'webhook'),
  'PATCH /webhooks/:webhook': bot('webhook', 'webhook'),
  'DELETE /webhooks/:webhook': bot('webhook', 'webhook'),
  'GET /webhooks/:webhook/:token': open('webhook'),
  'PATCH /webhooks/:webhook/:token': open('webhook'),
  'DELETE /webhooks/:webhook/:token': open('webhook'),
  'POST /webhooks/:webhook/:token': open('webhook'),
  'GET /webhooks/:webhook/:token/messages/:message': open('webhook'),
  'PATCH /webhooks/:webhook/:token/messages/:message': open('webhook'),
  'DELETE /webhooks/:webhook/:token/messages/:message': open('webhook'),
  'POST /interactions/:interaction/:token/callback': { ...open(null), major: null },

  'GET /applications/:application/commands': bot('commands'),
  'POST /applications/:application/commands': bot('commands'),
  'PUT /applications/:application/commands': bot('commands'),
  'GET /applications/:application/commands/:command': bot('commands'),
  'PATCH /applications/:application/commands/:command': bot('commands'),
  'DELETE /applications/:application/commands/:command': bot('commands'),
  'GET /applications/:application/guilds/:guild/commands': bot('commands', 'guild'),
  'POST /applications/:application/guilds/:guild/commands': bot('commands', 'guild'),
  'PUT /applications/:application/guilds/:guild/commands': bot('commands', 'guild'),
  'GET /applications/:application/guilds/:guild/commands/:command': bot('commands', 'guild'),
  'PATCH /applications/:application/guilds/:guild/commands/:command': bot('commands', 'guild'),
  'DELETE /applications/:application/guilds/:guild/commands/:command': bot('commands', 'guild'),
} satisfies Record<string, Facts>

export type RouteName = keyof typeof ROUTES
