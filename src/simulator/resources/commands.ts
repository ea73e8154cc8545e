import type { APIApplicationCommand } from 'discord-api-types/v10'
import { type Answer, json, noContent, refused } from '../answer.ts'
import type { World } from '../world/world.ts'
import { type Handler, isAnswer, isRecord, type ResourceCall, sentOf } from './call.ts'
import { createProblems } from './problems.ts'
import { missingAccess, unknownCommand } from './refusals.ts'

const notAList = refused(400, 50035, 'Invalid Form Body', {
  _errors: [{ code: 'LIST_TYPE_CONVERT', message: 'Only iterables may be used in a ListType' }],
})

export function commandHandlers(world: World) {
  const { application, commands } = world

  const placeOf = ({ params }: ResourceCall): string | Answer => {
    if (params.application !== application.id) return missingAccess
    if (params.guild === undefined) return ''
    return world.people.membership(application.id, params.guild) ? params.guild : missingAccess
  }
  const listOf = (place: string) => commands.get(place) ?? []

  /** A command object from what was sent, keeping the id of one with the same name and type. */
  const build = (place: string, fields: Readonly<Record<string, unknown>>, known?: APIApplicationCommand) => {
    const problems = createProblems()
    const type = problems.integer(fields, 'type', 1, 4) ?? known?.type ?? 1
    const name = problems.text(fields, 'name', { least: 1, most: 32, required: !known }) ?? known?.name ?? ''
    if (type === 1 && name !== '' && !/^[-_'\p{L}\p{N}\p{sc=Deva}\p{sc=Thai}]{1,32}$/u.test(name))
      problems.add(['name'], 'APPLICATION_COMMAND_INVALID_NAME', 'Command name is invalid')
    const description = problems.text(fields, 'description', { most: 100, required: type === 1 && !known })
    if (problems.answer) return problems.answer
    const command: APIApplicationCommand = {
      default_member_permissions: null,
      nsfw: false,
      ...known,
      ...fields,
      id: known?.id ?? listOf(place).find((one) => one.name === name && one.type === type)?.id ?? world.newId(),
      application_id: application.id,
      version: world.newId(),
      type,
      name,
      description: description ?? known?.description ?? '',
      ...(place === '' ? {} : { guild_id: place }),
    }
    return command
  }
  const store = (place: string, command: APIApplicationCommand) =>
    commands.set(place, [...listOf(place).filter(({ id }) => id !== command.id), command])

  const list: Handler = (call) => {
    const place = placeOf(call)
    return typeof place === 'string' ? json<APIApplicationCommand[]>(200, listOf(place)) : place
  }
  const create: Handler = (call) => {
    const place = placeOf(call)
    if (typeof place !== 'string') return place
    const sent = sentOf(call)
    if (isAnswer(sent)) return sent
    const before = listOf(place).length
    const command = build(place, sent.fields)
    if (isAnswer(command)) return command
    store(place, command)
    return json<APIApplicationCommand>(listOf(place).length > before ? 201 : 200, command)
  }
  const replaceAll: Handler = (call) => {
    const place = placeOf(call)
    if (typeof place !== 'string') return place
    const sent = sentOf(call)
    if (isAnswer(sent)) return sent
    const built: APIApplicationCommand[] = []
    if (!Array.isArray(sent.value) || !sent.value.every(isRecord)) return notAList
    for (const fields of sent.value) {
      const command = build(place, fields)
      if (isAnswer(command)) return command
      built.push(command)
    }
    commands.set(place, built)
    return json<APIApplicationCommand[]>(200, built)
  }
  const one =
    (act: (place: string, command: APIApplicationCommand, call: ResourceCall) => Answer): Handler =>
    (call) => {
      const place = placeOf(call)
      if (typeof place !== 'string') return place
      const command = listOf(place).find(({ id }) => id === call.params.command)
      return command ? act(place, command, call) : unknownCommand
    }
  const get = one((_place, command) => json<APIApplicationCommand>(200, command))
  const edit = one((place, known, call) => {
    const sent = sentOf(call)
    if (isAnswer(sent)) return sent
    const command = build(place, sent.fields, known)
    if (isAnswer(command)) return command
    store(place, command)
    return json<APIApplicationCommand>(200, command)
  })
  const remove = one((place, known) => {
    commands.set(
      place,
      listOf(place).filter(({ id }) => id !== known.id),
    )
    return noContent
  })

  return {
    'GET /applications/:application/commands': list,
    'POST /applications/:application/commands': create,
    'PUT /applications/:application/commands': replaceAll,
    'GET /applications/:application/commands/:command': get,
    'PATCH /applications/:application/commands/:command': edit,
    'DELETE /applications/:application/commands/:command': remove,
    'GET /applications/:application/guilds/:guild/commands': list,
    'POST /applications/:application/guilds/:guild/commands': create,
    'PUT /applications/:application/guilds/:guild/commands': replaceAll,
    'GET /applications/:application/guilds/:guild/commands/:command': get,
    'PATCH /applications/:application/guilds/:guild/commands/:command': edit,
    'DELETE /applications/:application/guilds/:guild/commands/:command': remove,
  } satisfies Record<string, Handler>
}
