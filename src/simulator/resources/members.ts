import type { APIGuildMember } from 'discord-api-types/v10'
import { type Answer, json, noContent } from '../answer.ts'
import type { Grant } from '../oauth/credentials.ts'
import type { Guild } from '../world/guild.ts'
import { BIT } from '../world/permissions.ts'
import { compareIds } from '../world/snowflake.ts'
import { type Member, toMember, toPublicUser } from '../world/user-objects.ts'
import { timestamp, type World } from '../world/world.ts'
import { guildFor } from './access.ts'
import { type Handler, isAnswer, sentOf } from './call.ts'
import { createProblems, limitOf } from './problems.ts'
import { invalidRole, unknownGuild, unknownMember, unknownRole, unknownUser } from './refusals.ts'

const MOST_TIMEOUT_MS = 28 * 86_400_000

export function memberHandlers(world: World, grantOf: (token: string) => Grant | undefined) {
  const { people } = world

  const memberOf = (userId: string, guildId: string): APIGuildMember | undefined => {
    const member = people.member(userId, guildId)
    const user = people.somebody(userId)
    return member && user && toMember(user, member)
  }
  const found = (guildId: string, userId: string, wanted: bigint): { guild: Guild; member: Member } | Answer => {
    const guild = guildFor(world, guildId, wanted)
    if (isAnswer(guild)) return guild
    const member = people.member(userId, guildId)
    return member ? { guild, member } : unknownMember
  }
  const told = (guildId: string, userId: string): Answer => {
    people.changed(guildId)
    const member = memberOf(userId, guildId)!
    world.dispatch('GUILD_MEMBER_UPDATE', guildId, { ...member, guild_id: guildId })
    return json<APIGuildMember>(200, member)
  }

  const role =
    (give: boolean): Handler =>
    ({ params }) => {
      const place = found(params.guild!, params.user!, BIT.MANAGE_ROLES)
      if (isAnswer(place)) return place
      const { guild, member } = place
      if (!guild.roles.some(({ id }) => id === params.role)) return unknownRole
      if (params.role === guild.id) return invalidRole
      const others = member.roles.filter((id) => id !== params.role)
      member.roles = give ? [...others, params.role!] : others
      told(guild.id, params.user!)
      return noContent
    }

  return {
    'GET /users/@me/guilds/:guild/member': ({ grant, params }) => {
      const member = memberOf(grant?.userId ?? people.bot.id, params.guild!)
      return member ? json<APIGuildMember>(200, member) : unknownGuild
    },
    'GET /guilds/:guild/members/:user': ({ params }) => {
      const guild = guildFor(world, params.guild!)
      if (isAnswer(guild)) return guild
      const member = memberOf(params.user!, guild.id)
      return member ? json<APIGuildMember>(200, member) : unknownMember
    },
    'GET /guilds/:guild/members': ({ params, query }) => {
      const guild = guildFor(world, params.guild!)
      if (isAnswer(guild)) return guild
      const problems = createProblems()
      const limit = limitOf(problems, query, 1, 1000)
      const after = problems.id({ after: query?.get('after') ?? undefined }, 'after') ?? '0'
      if (problems.answer) return problems.answer
      const ids = people.membersOf(guild.id).filter((id) => compareIds(id, after) > 0)
      return json<APIGuildMember[]>(
        200,
        ids.slice(0, limit).map((id) => memberOf(id, guild.id)!),
      )
    },
    'GET /guilds/:guild/members/search': ({ params, query }) => {
      const guild = guildFor(world, params.guild!)
      if (isAnswer(guild)) return guild
      const problems = createProblems()
      const limit = limitOf(problems, query, 1, 1000)
      const wanted = problems.text({ query: query?.get('query') ?? undefined }, 'query', { most: 100, required: true })
      if (problems.answer) return problems.answer
      const begins = (text: string | null | undefined) => text?.toLowerCase().startsWith(wanted!.toLowerCase())
      const members = people.membersOf(guild.id).map((id) => memberOf(id, guild.id)!)
      const fitting = members.filter(({ user, nick }) => begins(user.username) || begins(nick))
      return json<APIGuildMember[]>(200, fitting.slice(0, limit))
    },
    'PUT /guilds/:guild/members/:user': (call) => {
      const guild = guildFor(world, call.params.guild!)
      if (isAnswer(guild)) return guild
      const user = people.somebody(call.params.user!)
      if (!user) return unknownUser
      const sent = sentOf(call)
      if (isAnswer(sent)) return sent
      const grant = grantOf(String(sent.fields.access_token ?? ''))
      if (grant?.userId !== user.id || !grant.scopes.has('guilds.join'))
        return json(403, { message: 'Invalid OAuth2 access token provided', code: 50025 })
      if (people.member(user.id, guild.id)) return noContent
      people.join(user.id, guild)
      const member = memberOf(user.id, guild.id)!
      world.dispatch('GUILD_MEMBER_ADD', guild.id, { ...member, guild_id: guild.id })
      return json<APIGuildMember>(201, member)
    },
    'PATCH /guilds/:guild/members/:user': (call) => {
      const place = found(call.params.guild!, call.params.user!, 0n)
      if (isAnswer(place)) return place
      const { guild, member } = place
      const sent = sentOf(call)
      if (isAnswer(sent)) return sent
      const { fields } = sent
      const wanted =
        (fields.nick === undefined ? 0n : BIT.MANAGE_NICKNAMES) |
        (fields.roles === undefined ? 0n : BIT.MANAGE_ROLES) |
        (fields.communication_disabled_until === undefined ? 0n : BIT.MODERATE_MEMBERS)
      const allowed = guildFor(world, guild.id, wanted)
      if (isAnswer(allowed)) return allowed
      const problems = createProblems()
      const nick = problems.text(fields, 'nick', { most: 32 })
      const roles = Array.isArray(fields.roles) ? fields.roles.map(String) : undefined
      const until = problems.text(fields, 'communication_disabled_until', { most: 64 })
      const untilMs = until === undefined ? undefined : Date.parse(until)
      if (fields.roles !== undefined && fields.roles !== null && !roles)
        problems.add(['roles'], 'LIST_TYPE_CONVERT', 'Only iterables may be used in a ListType')
      if (untilMs !== undefined && !(untilMs <= world.now() + MOST_TIMEOUT_MS))
        problems.add(['communication_disabled_until'], 'BASE_TYPE_INVALID', 'Must be at most 28 days from now.')
      if (problems.answer) return problems.answer
      if (roles?.some((id) => !guild.roles.some((one) => one.id === id))) return unknownRole
      if (fields.nick !== undefined) member.nick = nick || null
      if (roles) member.roles = [...new Set(roles)]
      if (fields.communication_disabled_until !== undefined)
        member.timeoutUntil = untilMs === undefined ? null : timestamp(untilMs)
      return told(guild.id, call.params.user!)
    },
    'PATCH /guilds/:guild/members/@me': (call) => {
      const place = found(call.params.guild!, people.bot.id, 0n)
      if (isAnswer(place)) return place
      const sent = sentOf(call)
      if (isAnswer(sent)) return sent
      const problems = createProblems()
      const nick = problems.text(sent.fields, 'nick', { most: 32 })
      if (problems.answer) return problems.answer
      if (sent.fields.nick !== undefined) place.member.nick = nick || null
      return told(place.guild.id, people.bot.id)
    },
    'DELETE /guilds/:guild/members/:user': ({ params }) => {
      const place = found(params.guild!, params.user!, BIT.KICK_MEMBERS)
      if (isAnswer(place)) return place
      const user = people.somebody(params.user!)!
      people.leave(user.id, place.guild.id)
      world.dispatch('GUILD_MEMBER_REMOVE', place.guild.id, { guild_id: place.guild.id, user: toPublicUser(user) })
      return noContent
    },
    'PUT /guilds/:guild/members/:user/roles/:role': role(true),
    'DELETE /guilds/:guild/members/:user/roles/:role': role(false),
  } satisfies Record<string, Handler>
}
