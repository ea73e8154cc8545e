import type { APIRole } from 'discord-api-types/v10'
import { type Answer, json, noContent } from '../answer.ts'
import { createRole } from '../world/guild.ts'
import { BIT, EVERYONE } from '../world/permissions.ts'
import type { World } from '../world/world.ts'
import { guildFor } from './access.ts'
import { type Handler, isAnswer, isRecord, type ResourceCall, sentOf } from './call.ts'
import { createProblems } from './problems.ts'
import { invalidRole, unknownRole } from './refusals.ts'

export function roleHandlers(world: World) {
  const { people } = world

  const change = (role: APIRole, call: ResourceCall): Answer | undefined => {
    const sent = sentOf(call)
    if (isAnswer(sent)) return sent
    const { fields } = sent
    const problems = createProblems()
    const name = problems.text(fields, 'name', { most: 100 })
    const permissions = problems.bits(fields, 'permissions')
    const color = problems.integer(fields, 'color', 0, 0xffffff)
    const hoist = problems.flag(fields, 'hoist')
    const mentionable = problems.flag(fields, 'mentionable')
    const colors = isRecord(fields.colors) ? fields.colors : {}
    const primary = problems.integer(colors, 'primary_color', 0, 0xffffff) ?? color
    if (problems.answer) return problems.answer
    if (name !== undefined) role.name = name
    if (permissions !== undefined) role.permissions = permissions
    if (primary !== undefined) {
      role.color = primary
      role.colors = {
        primary_color: primary,
        secondary_color: problems.integer(colors, 'secondary_color', 0, 0xffffff) ?? null,
        tertiary_color: problems.integer(colors, 'tertiary_color', 0, 0xffffff) ?? null,
      }
    }
    if (hoist !== undefined) role.hoist = hoist
    if (mentionable !== undefined) role.mentionable = mentionable
    return undefined
  }

  return {
    'GET /guilds/:guild/roles': ({ params }) => {
      const guild = guildFor(world, params.guild!)
      return isAnswer(guild) ? guild : json<APIRole[]>(200, guild.roles)
    },
    'GET /guilds/:guild/roles/:role': ({ params }) => {
      const guild = guildFor(world, params.guild!)
      if (isAnswer(guild)) return guild
      const role = guild.roles.find(({ id }) => id === params.role)
      return role ? json<APIRole>(200, role) : unknownRole
    },
    'POST /guilds/:guild/roles': (call) => {
      const guild = guildFor(world, call.params.guild!, BIT.MANAGE_ROLES)
      if (isAnswer(guild)) return guild
      const role = createRole(world.newId(), 'new role', guild.roles[0]?.permissions ?? EVERYONE, guild.roles.length)
      const refusal = change(role, call)
      if (refusal) return refusal
      guild.roles.push(role)
      world.dispatch('GUILD_ROLE_CREATE', guild.id, { guild_id: guild.id, role })
      return json<APIRole>(200, role)
    },
    'PATCH /guilds/:guild/roles/:role': (call) => {
      const guild = guildFor(world, call.params.guild!, BIT.MANAGE_ROLES)
      if (isAnswer(guild)) return guild
      const role = guild.roles.find(({ id }) => id === call.params.role)
      if (!role) return unknownRole
      const refusal = change(role, call)
      if (refusal) return refusal
      people.changed(guild.id)
      world.dispatch('GUILD_ROLE_UPDATE', guild.id, { guild_id: guild.id, role })
      return json<APIRole>(200, role)
    },
    'DELETE /guilds/:guild/roles/:role': ({ params }) => {
      const guild = guildFor(world, params.guild!, BIT.MANAGE_ROLES)
      if (isAnswer(guild)) return guild
      const at = guild.roles.findIndex(({ id }) => id === params.role)
      if (at < 0) return unknownRole
      if (at === 0) return invalidRole
      guild.roles.splice(at, 1)
      for (const userId of people.membersOf(guild.id)) {
        const member = people.member(userId, guild.id)
        if (member) member.roles = member.roles.filter((id) => id !== params.role)
      }
      people.changed(guild.id)
      world.dispatch('GUILD_ROLE_DELETE', guild.id, { guild_id: guild.id, role_id: params.role! })
      return noContent
    },
  } satisfies Record<string, Handler>
}
