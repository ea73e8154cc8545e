import type {
  APIAuditLog,
  APIChannel,
  APIGuild,
  APIGuildMember,
  APIInvite,
  APIMessage,
  APIRole,
  APIUser,
  RESTGetAPIChannelMessagesPinsResult,
  RESTGetAPIGuildRoleMemberCountsResult,
  RESTGetAPIInteractionOriginalResponseResult,
} from 'discord-api-types/v10'
import type { discordFetch, Holdfast, KnownGet } from 'holdfast'
import { expectTypeOf, test } from 'vitest'

declare const ask: Holdfast['discordFetch']
declare const free: typeof discordFetch
declare const id: string

test('a literal path infers its result, whatever the ids are', () => {
  expectTypeOf(ask('/users/@me', 't')).resolves.toEqualTypeOf<APIUser>()
  expectTypeOf(free('/users/@me', 't')).resolves.toEqualTypeOf<APIUser>()
  expectTypeOf(ask('/users/80351110224678912', 't')).resolves.toEqualTypeOf<APIUser>()
  expectTypeOf(
    ask('/guilds/1/roles/member-counts', 't'),
  ).resolves.toEqualTypeOf<RESTGetAPIGuildRoleMemberCountsResult>()
  expectTypeOf(ask('/guilds/1/roles/2', 't')).resolves.toEqualTypeOf<APIRole>()
  expectTypeOf(ask('/channels/1/messages/pins', 't')).resolves.toEqualTypeOf<RESTGetAPIChannelMessagesPinsResult>()
  expectTypeOf(ask('/channels/1/messages/2', 't')).resolves.toEqualTypeOf<APIMessage>()
  expectTypeOf(ask('/invites/abc', 't', { method: 'GET' })).resolves.toEqualTypeOf<APIInvite>()
})

test('a templated path infers its result, however deep it is', () => {
  expectTypeOf(ask(`/guilds/${id}`, 't')).resolves.toEqualTypeOf<APIGuild>()
  expectTypeOf(ask(`/guilds/${id}/members`, 't')).resolves.toEqualTypeOf<APIGuildMember[]>()
  expectTypeOf(ask(`/guilds/${id}/members/${id}`, 't')).resolves.toEqualTypeOf<APIGuildMember>()
  expectTypeOf(ask(`/guilds/${id}/audit-logs`, 't')).resolves.toEqualTypeOf<APIAuditLog>()
  expectTypeOf(ask(`/channels/${id}`, 't')).resolves.toEqualTypeOf<APIChannel>()
  expectTypeOf(ask(`/users/@me/guilds/${id}/member`, 't')).resolves.toEqualTypeOf<APIGuildMember>()
  expectTypeOf(
    ask(`/webhooks/${id}/${id}/messages/@original`, '', { tokenType: 'none' }),
  ).resolves.toEqualTypeOf<RESTGetAPIInteractionOriginalResponseResult>()
})

test('any other path, or another method, takes the type that is asked for, and is unknown without one', () => {
  expectTypeOf(ask(`/guilds/${id}/nothing-known`, 't')).resolves.toEqualTypeOf<unknown>()
  expectTypeOf(ask<{ a: 1 }>(`/guilds/${id}/nothing-known`, 't')).resolves.toEqualTypeOf<{ a: 1 }>()
  expectTypeOf(ask(`/guilds/${id}`, 't', { method: 'PATCH', body: {} })).resolves.toEqualTypeOf<unknown>()
  expectTypeOf(ask<null>(`/guilds/${id}`, 't', { method: 'DELETE' })).resolves.toEqualTypeOf<null>()
  expectTypeOf<KnownGet['/users/@me']>().toEqualTypeOf<APIUser>()
})
