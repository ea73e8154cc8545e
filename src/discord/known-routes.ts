import type {
  RESTGetAPIApplicationActivityInstanceResult,
  RESTGetAPIApplicationCommandPermissionsResult,
  RESTGetAPIApplicationCommandResult,
  RESTGetAPIApplicationCommandsResult,
  RESTGetAPIApplicationEmojiResult,
  RESTGetAPIApplicationEmojisResult,
  RESTGetAPIApplicationGuildCommandResult,
  RESTGetAPIApplicationGuildCommandsResult,
  RESTGetAPIApplicationIdentitiesResult,
  RESTGetAPIApplicationIdentityProfileResult,
  RESTGetAPIApplicationRoleConnectionMetadataResult,
  RESTGetAPIAuditLogResult,
  RESTGetAPIAutoModerationRuleResult,
  RESTGetAPIAutoModerationRulesResult,
  RESTGetAPIChannelInvitesResult,
  RESTGetAPIChannelMessageReactionUsersResult,
  RESTGetAPIChannelMessageResult,
  RESTGetAPIChannelMessagesPinsResult,
  RESTGetAPIChannelMessagesResult,
  RESTGetAPIChannelPinsResult,
  RESTGetAPIChannelResult,
  RESTGetAPIChannelThreadMemberResult,
  RESTGetAPIChannelThreadMembersResult,
  RESTGetAPIChannelThreadsArchivedPrivateResult,
  RESTGetAPIChannelThreadsArchivedPublicResult,
  RESTGetAPIChannelUsersThreadsArchivedResult,
  RESTGetAPIChannelWebhooksResult,
  RESTGetAPICurrentUserApplicationRoleConnectionResult,
  RESTGetAPICurrentUserConnectionsResult,
  RESTGetAPICurrentUserGuildsResult,
  RESTGetAPICurrentUserResult,
  RESTGetAPIEntitlementResult,
  RESTGetAPIEntitlementsResult,
  RESTGetAPIGatewayBotResult,
  RESTGetAPIGatewayResult,
  RESTGetAPIGuildApplicationCommandsPermissionsResult,
  RESTGetAPIGuildBanResult,
  RESTGetAPIGuildBansResult,
  RESTGetAPIGuildChannelsResult,
  RESTGetAPIGuildEmojiResult,
  RESTGetAPIGuildEmojisResult,
  RESTGetAPIGuildIntegrationsResult,
  RESTGetAPIGuildInvitesResult,
  RESTGetAPIGuildMemberResult,
  RESTGetAPIGuildMembersResult,
  RESTGetAPIGuildMembersSearchResult,
  RESTGetAPIGuildMemberVerificationResult,
  RESTGetAPIGuildMessagesSearchResult,
  RESTGetAPIGuildOnboardingResult,
  RESTGetAPIGuildPreviewResult,
  RESTGetAPIGuildPruneCountResult,
  RESTGetAPIGuildResult,
  RESTGetAPIGuildRoleMemberCountsResult,
  RESTGetAPIGuildRoleResult,
  RESTGetAPIGuildRolesResult,
  RESTGetAPIGuildScheduledEventResult,
  RESTGetAPIGuildScheduledEventsResult,
  RESTGetAPIGuildScheduledEventUsersResult,
  RESTGetAPIGuildSoundboardSoundResult,
  RESTGetAPIGuildSoundboardSoundsResult,
  RESTGetAPIGuildStickerResult,
  RESTGetAPIGuildStickersResult,
  RESTGetAPIGuildTemplatesResult,
  RESTGetAPIGuildThreadsResult,
  RESTGetAPIGuildVanityUrlResult,
  RESTGetAPIGuildVoiceRegionsResult,
  RESTGetAPIGuildVoiceStateCurrentMemberResult,
  RESTGetAPIGuildVoiceStateUserResult,
  RESTGetAPIGuildWebhooksResult,
  RESTGetAPIGuildWelcomeScreenResult,
  RESTGetAPIGuildWidgetJSONResult,
  RESTGetAPIGuildWidgetSettingsResult,
  RESTGetAPIInteractionOriginalResponseResult,
  RESTGetAPIInviteResult,
  RESTGetAPIInviteTargetUsersJobStatusResult,
  RESTGetAPIOAuth2CurrentApplicationResult,
  RESTGetAPIOAuth2CurrentAuthorizationResult,
  RESTGetAPIPollAnswerVotersResult,
  RESTGetAPISKUSubscriptionResult,
  RESTGetAPISKUSubscriptionsResult,
  RESTGetAPISKUsResult,
  RESTGetAPISoundboardDefaultSoundsResult,
  RESTGetAPIStageInstanceResult,
  RESTGetAPIStickerPackResult,
  RESTGetAPIStickerResult,
  RESTGetAPITemplateResult,
  RESTGetAPIUserApplicationIdentitiesResult,
  RESTGetAPIUserResult,
  RESTGetAPIVoiceRegionsResult,
  RESTGetAPIWebhookResult,
  RESTGetAPIWebhookWithTokenMessageResult,
  RESTGetAPIWebhookWithTokenResult,
  RESTGetCurrentApplicationResult,
  RESTGetCurrentUserGuildMemberResult,
  RESTGetStickerPacksResult,
} from 'discord-api-types/v10'

/** What a route answers with: its type, and whether that is an object or a list. An answer of the other shape is refused before anybody reads it. */
interface Answers<Result> {
  readonly shape: 'object' | 'array'
  /** Never there: it carries the type. */
  readonly result?: Result
}

const one = <Result extends object>(): Result extends readonly unknown[] ? never : Answers<Result> =>
  ({ shape: 'object' }) as Result extends readonly unknown[] ? never : Answers<Result>
const list = <Result extends readonly unknown[]>(): Answers<Result> => ({ shape: 'array' })

/**
 * Every GET of discord-api-types that answers with JSON, as routes are named in errors and events: `:id` for ids, `:code`,
 * `:emoji`, `:token` and `:value` for what else differs. The types of `discordFetch` and what is checked of an answer
 * both come from here.
 */
const GETS = {
  '/applications/:id/activity-instances/:value': one<RESTGetAPIApplicationActivityInstanceResult>(),
  '/applications/:id/application-identities/:value/:value': one<RESTGetAPIApplicationIdentitiesResult>(),
  '/applications/:id/commands': list<RESTGetAPIApplicationCommandsResult>(),
  '/applications/:id/commands/:id': one<RESTGetAPIApplicationCommandResult>(),
  '/applications/:id/emojis': one<RESTGetAPIApplicationEmojisResult>(),
  '/applications/:id/emojis/:id': one<RESTGetAPIApplicationEmojiResult>(),
  '/applications/:id/entitlements': list<RESTGetAPIEntitlementsResult>(),
  '/applications/:id/entitlements/:id': one<RESTGetAPIEntitlementResult>(),
  '/applications/:id/guilds/:id/commands': list<RESTGetAPIApplicationGuildCommandsResult>(),
  '/applications/:id/guilds/:id/commands/:id': one<RESTGetAPIApplicationGuildCommandResult>(),
  '/applications/:id/guilds/:id/commands/:id/permissions': one<RESTGetAPIApplicationCommandPermissionsResult>(),
  '/applications/:id/guilds/:id/commands/permissions': list<RESTGetAPIGuildApplicationCommandsPermissionsResult>(),
  '/applications/:id/role-connections/metadata': list<RESTGetAPIApplicationRoleConnectionMetadataResult>(),
  '/applications/:id/skus': list<RESTGetAPISKUsResult>(),
  '/applications/:id/users/:id/identities/:value/profile': one<RESTGetAPIApplicationIdentityProfileResult>(),
  '/applications/@me': one<RESTGetCurrentApplicationResult>(),
  '/channels/:id': one<RESTGetAPIChannelResult>(),
  '/channels/:id/invites': list<RESTGetAPIChannelInvitesResult>(),
  '/channels/:id/messages': list<RESTGetAPIChannelMessagesResult>(),
  '/channels/:id/messages/:id': one<RESTGetAPIChannelMessageResult>(),
  '/channels/:id/messages/:id/reactions/:emoji': list<RESTGetAPIChannelMessageReactionUsersResult>(),
  '/channels/:id/messages/pins': one<RESTGetAPIChannelMessagesPinsResult>(),
  '/channels/:id/pins': list<RESTGetAPIChannelPinsResult>(),
  '/channels/:id/polls/:id/answers/:id': one<RESTGetAPIPollAnswerVotersResult>(),
  '/channels/:id/thread-members': list<RESTGetAPIChannelThreadMembersResult>(),
  '/channels/:id/thread-members/:id': one<RESTGetAPIChannelThreadMemberResult>(),
  '/channels/:id/threads/archived/private': one<RESTGetAPIChannelThreadsArchivedPrivateResult>(),
  '/channels/:id/threads/archived/public': one<RESTGetAPIChannelThreadsArchivedPublicResult>(),
  '/channels/:id/users/@me/threads/archived/private': one<RESTGetAPIChannelUsersThreadsArchivedResult>(),
  '/channels/:id/webhooks': list<RESTGetAPIChannelWebhooksResult>(),
  '/gateway': one<RESTGetAPIGatewayResult>(),
  '/gateway/bot': one<RESTGetAPIGatewayBotResult>(),
  '/guilds/:id': one<RESTGetAPIGuildResult>(),
  '/guilds/:id/audit-logs': one<RESTGetAPIAuditLogResult>(),
  '/guilds/:id/auto-moderation/rules': list<RESTGetAPIAutoModerationRulesResult>(),
  '/guilds/:id/auto-moderation/rules/:id': one<RESTGetAPIAutoModerationRuleResult>(),
  '/guilds/:id/bans': list<RESTGetAPIGuildBansResult>(),
  '/guilds/:id/bans/:id': one<RESTGetAPIGuildBanResult>(),
  '/guilds/:id/channels': list<RESTGetAPIGuildChannelsResult>(),
  '/guilds/:id/emojis': list<RESTGetAPIGuildEmojisResult>(),
  '/guilds/:id/emojis/:id': one<RESTGetAPIGuildEmojiResult>(),
  '/guilds/:id/integrations': list<RESTGetAPIGuildIntegrationsResult>(),
  '/guilds/:id/invites': list<RESTGetAPIGuildInvitesResult>(),
  '/guilds/:id/member-verification': one<RESTGetAPIGuildMemberVerificationResult>(),
  '/guilds/:id/members': list<RESTGetAPIGuildMembersResult>(),
  '/guilds/:id/members/:id': one<RESTGetAPIGuildMemberResult>(),
  '/guilds/:id/members/search': list<RESTGetAPIGuildMembersSearchResult>(),
  '/guilds/:id/messages/search': one<RESTGetAPIGuildMessagesSearchResult>(),
  '/guilds/:id/onboarding': one<RESTGetAPIGuildOnboardingResult>(),
  '/guilds/:id/preview': one<RESTGetAPIGuildPreviewResult>(),
  '/guilds/:id/prune': one<RESTGetAPIGuildPruneCountResult>(),
  '/guilds/:id/regions': list<RESTGetAPIGuildVoiceRegionsResult>(),
  '/guilds/:id/roles': list<RESTGetAPIGuildRolesResult>(),
  '/guilds/:id/roles/:id': one<RESTGetAPIGuildRoleResult>(),
  '/guilds/:id/roles/member-counts': one<RESTGetAPIGuildRoleMemberCountsResult>(),
  '/guilds/:id/scheduled-events': list<RESTGetAPIGuildScheduledEventsResult>(),
  '/guilds/:id/scheduled-events/:id': one<RESTGetAPIGuildScheduledEventResult>(),
  '/guilds/:id/scheduled-events/:id/users': list<RESTGetAPIGuildScheduledEventUsersResult>(),
  '/guilds/:id/soundboard-sounds': one<RESTGetAPIGuildSoundboardSoundsResult>(),
  '/guilds/:id/soundboard-sounds/:id': one<RESTGetAPIGuildSoundboardSoundResult>(),
  '/guilds/:id/stickers': list<RESTGetAPIGuildStickersResult>(),
  '/guilds/:id/stickers/:id': one<RESTGetAPIGuildStickerResult>(),
  '/guilds/:id/templates': list<RESTGetAPIGuildTemplatesResult>(),
  '/guilds/:id/threads/active': one<RESTGetAPIGuildThreadsResult>(),
  '/guilds/:id/vanity-url': one<RESTGetAPIGuildVanityUrlResult>(),
  '/guilds/:id/voice-states/:id': one<RESTGetAPIGuildVoiceStateUserResult>(),
  '/guilds/:id/voice-states/@me': one<RESTGetAPIGuildVoiceStateCurrentMemberResult>(),
  '/guilds/:id/webhooks': list<RESTGetAPIGuildWebhooksResult>(),
  '/guilds/:id/welcome-screen': one<RESTGetAPIGuildWelcomeScreenResult>(),
  '/guilds/:id/widget': one<RESTGetAPIGuildWidgetSettingsResult>(),
  '/guilds/:id/widget.json': one<RESTGetAPIGuildWidgetJSONResult>(),
  '/guilds/templates/:code': one<RESTGetAPITemplateResult>(),
  '/invites/:code': one<RESTGetAPIInviteResult>(),
  '/invites/:code/target-users/job-status': one<RESTGetAPIInviteTargetUsersJobStatusResult>(),
  '/oauth2/@me': one<RESTGetAPIOAuth2CurrentAuthorizationResult>(),
  '/oauth2/applications/@me': one<RESTGetAPIOAuth2CurrentApplicationResult>(),
  '/skus/:id/subscriptions': list<RESTGetAPISKUSubscriptionsResult>(),
  '/skus/:id/subscriptions/:id': one<RESTGetAPISKUSubscriptionResult>(),
  '/soundboard-default-sounds': list<RESTGetAPISoundboardDefaultSoundsResult>(),
  '/stage-instances/:id': one<RESTGetAPIStageInstanceResult>(),
  '/sticker-packs': one<RESTGetStickerPacksResult>(),
  '/sticker-packs/:id': one<RESTGetAPIStickerPackResult>(),
  '/stickers/:id': one<RESTGetAPIStickerResult>(),
  '/users/:id': one<RESTGetAPIUserResult>(),
  '/users/:id/application-identities/:id': one<RESTGetAPIUserApplicationIdentitiesResult>(),
  '/users/@me': one<RESTGetAPICurrentUserResult>(),
  '/users/@me/applications/:id/role-connection': one<RESTGetAPICurrentUserApplicationRoleConnectionResult>(),
  '/users/@me/connections': list<RESTGetAPICurrentUserConnectionsResult>(),
  '/users/@me/guilds': list<RESTGetAPICurrentUserGuildsResult>(),
  '/users/@me/guilds/:id/member': one<RESTGetCurrentUserGuildMemberResult>(),
  '/voice/regions': list<RESTGetAPIVoiceRegionsResult>(),
  '/webhooks/:id': one<RESTGetAPIWebhookResult>(),
  '/webhooks/:id/:token': one<RESTGetAPIWebhookWithTokenResult>(),
  '/webhooks/:id/:token/messages/:id': one<RESTGetAPIWebhookWithTokenMessageResult>(),
  '/webhooks/:id/:token/messages/@original': one<RESTGetAPIInteractionOriginalResponseResult>(),
}

type Gets = typeof GETS
type ResultAt<Template extends keyof Gets> = NonNullable<Gets[Template]['result']>

/** A template as the paths that fit it: each `:name` any text. */
type PathOf<Template extends string> = Template extends `${infer Before}/:${string}/${infer After}`
  ? `${Before}/${string}/${PathOf<After>}`
  : Template extends `${infer Before}/:${string}`
    ? `${Before}/${string}`
    : Template

/** GET routes whose answers are typed: a literal or templated path given to `discordFetch` infers its result from here. */
export type KnownGet = { [Template in keyof Gets as PathOf<Template>]: ResultAt<Template> }

/** Whether a segment of a path fits that of a template. An id is digits, or a text that nobody knows yet. */
type FitsSegment<Template extends string, Segment extends string> = Template extends ':id'
  ? string extends Segment
    ? true
    : Segment extends `${bigint}`
      ? true
      : false
  : Template extends `:${string}`
    ? true
    : Segment extends Template
      ? true
      : false

type Fits<Template extends string, Path extends string> = Template extends `${infer Wanted}/${infer More}`
  ? Path extends `${infer Given}/${infer Rest}`
    ? FitsSegment<Wanted, Given> extends true
      ? Fits<More, Rest>
      : false
    : false
  : Path extends `${string}/${string}`
    ? false
    : FitsSegment<Template, Path>

/** What a GET of this path answers with; unknown where no template fits it. */
export type GetResult<Path extends string> = Path extends keyof Gets
  ? ResultAt<Path>
  : [ResultsFitting<Path>] extends [never]
    ? unknown
    : ResultsFitting<Path>

type ResultsFitting<Path extends string> = {
  [Template in keyof Gets]: Template extends `/${infer Wanted}`
    ? Path extends `/${infer Given}`
      ? Fits<Wanted, Given> extends true
        ? ResultAt<Template>
        : never
      : never
    : never
}[keyof Gets]

/** What those answers have to be at the top, by the route's name. */
export const ANSWER_SHAPES: Readonly<Record<string, 'object' | 'array'>> = Object.fromEntries(
  Object.entries(GETS).map(([template, { shape }]) => [`GET ${template}`, shape]),
)
