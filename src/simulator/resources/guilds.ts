import type { APIBan, APIGuild } from 'discord-api-types/v10'
import { json, noContent } from '../answer.ts'
import { toGuild } from '../world/guild.ts'
import { BIT } from '../world/permissions.ts'
import { compareIds } from '../world/snowflake.ts'
import { toPublicUser } from '../world/user-objects.ts'
import type { World } from '../world/world.ts'
import { guildFor } from './access.ts'
import { type Handler, isAnswer, sentOf } from './call.ts'
import { createProblems, limitOf } from './problems.ts'
import { unknownBan, unknownUser } from './refusals.ts'

/** Discord takes `True`, `true` and `1` for true in a query (Reference, "Boolean Query Strings"). */
export function isTrue(text: string | null | undefined): boolean {
  return /^(true|1)$/i.test(text ?? '')
}

export function guildHandlers(world: World) {
  const { people } = world
  const banOf = (userId: string, reason: string | null): APIBan => ({
    reason,
    user: toPublicUser(people.somebody(userId) ?? { id: userId, username: `user_${userId}` }),
  })

  return {
    'GET /guilds/:guild': ({ params, query }) => {
      const guild = guildFor(world, params.guild!)
      return isAnswer(guild) ? guild : json<APIGuild>(200, toGuild(guild, isTrue(query?.get('with_counts'))))
    },
    'PATCH /guilds/:guild': (call) => {
      const guild = guildFor(world, call.params.guild!, BIT.MANAGE_GUILD)
      if (isAnswer(guild)) return guild
      const sent = sentOf(call)
      if (isAnswer(sent)) return sent
      const problems = createProblems()
      const name = problems.text(sent.fields, 'name', { least: 2, most: 100 })
      const description = problems.text(sent.fields, 'description', { most: 300 })
      if (problems.answer) return problems.answer
      if (name !== undefined) guild.name = name
      if (description !== undefined || sent.fields.description === null) guild.description = description ?? null
      people.changed(guild.id)
      world.dispatch('GUILD_UPDATE', guild.id, toGuild(guild, false))
      return json<APIGuild>(200, toGuild(guild, false))
    },
    'GET /guilds/:guild/bans': ({ params, query }) => {
      const guild = guildFor(world, params.guild!, BIT.BAN_MEMBERS)
      if (isAnswer(guild)) return guild
      const problems = createProblems()
      const limit = limitOf(problems, query, 1000, 1000)
      if (problems.answer) return problems.answer
      const bans = [...guild.bans].sort(([a], [b]) => compareIds(a, b)).slice(0, limit)
      return json<APIBan[]>(
        200,
        bans.map(([id, reason]) => banOf(id, reason)),
      )
    },
    'GET /guilds/:guild/bans/:user': ({ params }) => {
      const guild = guildFor(world, params.guild!, BIT.BAN_MEMBERS)
      if (isAnswer(guild)) return guild
      const reason = guild.bans.get(params.user!)
      return reason === undefined ? unknownBan : json<APIBan>(200, banOf(params.user!, reason))
    },
    'PUT /guilds/:guild/bans/:user': ({ params, reason }) => {
      const guild = guildFor(world, params.guild!, BIT.BAN_MEMBERS)
      if (isAnswer(guild)) return guild
      const user = people.somebody(params.user!)
      if (!user) return unknownUser
      guild.bans.set(user.id, reason)
      people.leave(user.id, guild.id)
      world.dispatch('GUILD_BAN_ADD', guild.id, { guild_id: guild.id, user: toPublicUser(user) })
      return noContent
    },
    'DELETE /guilds/:guild/bans/:user': ({ params }) => {
      const guild = guildFor(world, params.guild!, BIT.BAN_MEMBERS)
      if (isAnswer(guild)) return guild
      const { user } = banOf(params.user!, null)
      if (!guild.bans.delete(params.user!)) return unknownBan
      world.dispatch('GUILD_BAN_REMOVE', guild.id, { guild_id: guild.id, user })
      return noContent
    },
    'GET /guilds/:guild/emojis': ({ params }) => {
      const guild = guildFor(world, params.guild!)
      return isAnswer(guild) ? guild : json(200, [])
    },
  } satisfies Record<string, Handler>
}
