import type { APIMessage, APIReaction } from 'discord-api-types/v10'
import { type Answer, json, noContent } from '../answer.ts'
import type { Channel } from '../world/channels.ts'
import { BIT, may } from '../world/permissions.ts'
import { toBotUser, toPublicUser } from '../world/user-objects.ts'
import type { World } from '../world/world.ts'
import { channelFor, isConversation, READ, WRITE } from './access.ts'
import { type Handler, isAnswer, sentOf } from './call.ts'
import { createMessage, editMessage, messageForm } from './message-form.ts'
import { createProblems, limitOf } from './problems.ts'
import { foreignMessage, missingPermissions, notTextChannel, unknownEmoji, unknownMessage } from './refusals.ts'

const DAYS_14_MS = 14 * 86_400_000

export function messageHandlers(world: World) {
  const { people, messages, channels } = world
  const bot = people.bot

  const found = (
    channelId: string,
    messageId: string,
    wanted: bigint,
  ): { channel: Channel; message: APIMessage } | Answer => {
    const channel = channelFor(world, channelId, wanted)
    if (isAnswer(channel)) return channel
    const message = messages.get(channelId, messageId)
    return message ? { channel, message } : unknownMessage
  }
  const guildOf = (channel: Channel) => (isConversation(channel) ? null : channel.guild_id)
  const seenIn = (channel: Channel) => (isConversation(channel) ? {} : { guild_id: channel.guild_id })

  const react =
    (put: boolean): Handler =>
    ({ params }) => {
      const place = found(params.channel!, params.message!, BIT.READ_MESSAGE_HISTORY | (put ? BIT.ADD_REACTIONS : READ))
      if (isAnswer(place)) return place
      const emoji = emojiOf(params.emoji!)
      if (!emoji) return unknownEmoji
      const { message } = place
      message.reactions ??= []
      const same = message.reactions.find((one) => one.emoji.name === emoji.name && one.emoji.id === emoji.id)
      if (put && !same) message.reactions.push(reactionOf(emoji))
      if (!put) message.reactions = message.reactions.filter((one) => one !== same)
      return noContent
    }

  return {
    'GET /channels/:channel/messages': ({ params, query }) => {
      const channel = channelFor(world, params.channel!, READ)
      if (isAnswer(channel)) return channel
      const problems = createProblems()
      const limit = limitOf(problems, query, 50, 100)
      const at: Record<string, string> = {}
      for (const name of ['before', 'after', 'around'] as const) {
        const id = problems.id({ [name]: query?.get(name) ?? undefined }, name)
        if (id !== undefined) at[name] = id
      }
      if (problems.answer) return problems.answer
      // Without READ_MESSAGE_HISTORY there is nothing to be seen (Resources, "Get Channel Messages").
      if (!may(channels.permissions(channel, bot.id), BIT.READ_MESSAGE_HISTORY)) return json<APIMessage[]>(200, [])
      return json<APIMessage[]>(200, messages.list(channel.id, { limit, ...at }))
    },
    'GET /channels/:channel/messages/:message': ({ params }) => {
      const place = found(params.channel!, params.message!, READ | BIT.READ_MESSAGE_HISTORY)
      return isAnswer(place) ? place : json<APIMessage>(200, place.message)
    },
    'POST /channels/:channel/messages': (call) => {
      const channel = channelFor(world, call.params.channel!, WRITE)
      if (isAnswer(channel)) return channel
      if (channel.type === 4) return notTextChannel
      const sent = sentOf(call)
      if (isAnswer(sent)) return sent
      const form = messageForm(world, channel.id, sent, false)
      if (isAnswer(form)) return form
      if (form.attachments.length > 0 && !may(channels.permissions(channel, bot.id), BIT.ATTACH_FILES))
        return missingPermissions
      const message = createMessage(world, channel.id, toPublicUser(bot), form)
      messages.add(message)
      messages.keepFiles(form.attachments)
      channel.last_message_id = message.id
      world.dispatch('MESSAGE_CREATE', guildOf(channel), { ...message, ...seenIn(channel) })
      return json<APIMessage>(200, message)
    },
    'PATCH /channels/:channel/messages/:message': (call) => {
      const place = found(call.params.channel!, call.params.message!, READ)
      if (isAnswer(place)) return place
      const { channel, message } = place
      if (message.author.id !== bot.id) return foreignMessage
      const sent = sentOf(call)
      if (isAnswer(sent)) return sent
      const form = messageForm(world, channel.id, sent, true)
      if (isAnswer(form)) return form
      editMessage(world, message, form)
      messages.keepFiles(form.attachments)
      world.dispatch('MESSAGE_UPDATE', guildOf(channel), { ...message, ...seenIn(channel) })
      return json<APIMessage>(200, message)
    },
    'DELETE /channels/:channel/messages/:message': ({ params }) => {
      const place = found(params.channel!, params.message!, READ)
      if (isAnswer(place)) return place
      const { channel, message } = place
      if (message.author.id !== bot.id && !may(channels.permissions(channel, bot.id), BIT.MANAGE_MESSAGES))
        return missingPermissions
      messages.remove(channel.id, message.id)
      world.dispatch('MESSAGE_DELETE', guildOf(channel), { id: message.id, channel_id: channel.id, ...seenIn(channel) })
      return noContent
    },
    'POST /channels/:channel/messages/bulk-delete': (call) => {
      const channel = channelFor(world, call.params.channel!, READ | BIT.MANAGE_MESSAGES)
      if (isAnswer(channel)) return channel
      const sent = sentOf(call)
      if (isAnswer(sent)) return sent
      const ids = Array.isArray(sent.fields.messages) ? sent.fields.messages.map(String) : []
      const problems = createProblems()
      if (ids.length < 2 || ids.length > 100)
        problems.add(['messages'], 'BASE_TYPE_BAD_LENGTH', 'Must be between 2 and 100 in length.')
      if (problems.answer) return problems.answer
      const old = ids.some((id) => {
        const message = messages.get(channel.id, id)
        return message && Date.parse(message.timestamp) < world.now() - DAYS_14_MS
      })
      if (old)
        return json(400, {
          message: 'You can only bulk delete messages that are under 14 days old.',
          code: 50034,
        })
      for (const id of ids) messages.remove(channel.id, id)
      world.dispatch('MESSAGE_DELETE_BULK', guildOf(channel), { ids, channel_id: channel.id, ...seenIn(channel) })
      return noContent
    },
    'PUT /channels/:channel/messages/:message/reactions/:emoji/@me': react(true),
    'DELETE /channels/:channel/messages/:message/reactions/:emoji/@me': react(false),
    'GET /channels/:channel/messages/:message/reactions/:emoji': ({ params }) => {
      const place = found(params.channel!, params.message!, READ | BIT.READ_MESSAGE_HISTORY)
      if (isAnswer(place)) return place
      const emoji = emojiOf(params.emoji!)
      if (!emoji) return unknownEmoji
      const has = place.message.reactions?.some((one) => one.emoji.name === emoji.name && one.emoji.id === emoji.id)
      return json(200, has ? [toBotUser(bot)] : [])
    },
    'POST /channels/:channel/typing': ({ params }) => {
      const channel = channelFor(world, params.channel!, WRITE)
      return isAnswer(channel) ? channel : noContent
    },
  } satisfies Record<string, Handler>
}

/** `name:id` of a custom emoji, or the emoji itself; null: neither. */
function emojiOf(text: string): { id: string | null; name: string } | null {
  const custom = /^(?:a:)?(\w{2,32}):(\d{1,20})$/.exec(text)
  if (custom) return { id: custom[2]!, name: custom[1]! }
  return /\p{Extended_Pictographic}|\p{Regional_Indicator}|^[\d#*]\ufe0f?\u20e3$/u.test(text)
    ? { id: null, name: text }
    : null
}

function reactionOf(emoji: { id: string | null; name: string }): APIReaction {
  return { emoji, count: 1, count_details: { burst: 0, normal: 1 }, me: true, me_burst: false, burst_colors: [] }
}
