import type { APIMessage } from 'discord-api-types/v10'
import type { Milliseconds } from '../time/clock.ts'
import { type Answer, json, noContent, refused } from './answer.ts'
import { isAnswer, isRecord, type ResourceCall, sentOf } from './resources/call.ts'
import { createMessage, editMessage, messageForm } from './resources/message-form.ts'
import { alreadyAcknowledged, invalidWebhookToken, unknownInteraction, unknownMessage } from './resources/refusals.ts'
import type { InteractionHooks } from './resources/webhooks.ts'
import { NO_FLAGS, toGuild } from './world/guild.ts'
import { toMember, toPublicUser } from './world/user-objects.ts'
import type { World } from './world/world.ts'

/** An interaction that was sent to an app, until its token is 15 minutes old. */
interface Pending {
  readonly id: string
  readonly token: string
  readonly channelId: string
  readonly sentAt: Milliseconds
  acknowledged: boolean
  /** The id of the answer's message: `@original`. */
  original: string | undefined
  readonly messages: Map<string, APIMessage>
}

/** Interactions that the simulator sends, and what apps do with their tokens (Interactions, "Receiving and Responding"). */
export interface Interactions extends InteractionHooks {
  /** The whole interaction from what a test said of it: type, data, and who did it where. */
  begin(interaction: Readonly<Record<string, unknown>>): { body: Record<string, unknown>; token: string }
  /** What the app answered in its response to the POST counts as its callback. */
  answered(token: string, body: unknown): void
}

const TOKEN_LIFETIME_MS = 900_000
const MOST_PENDING = 10_000
const invalidType = refused(400, 50035, 'Invalid Form Body', {
  type: { _errors: [{ code: 'BASE_TYPE_CHOICES', message: 'Value must be one of {4, 5, 6, 7, 8, 9, 12}.' }] },
})

export function createInteractions(world: World): Interactions {
  const { people, channels, messages, application } = world
  const pending = new Map<string, Pending>()

  /** Tokens die after 15 minutes: 401 with code 50027, which is about the path and not about the bot. */
  const living = (token: string): Pending | undefined => {
    const one = pending.get(token)
    return one && world.now() - one.sentAt < TOKEN_LIFETIME_MS ? one : undefined
  }

  const write = (one: Pending, call: ResourceCall, fields: Readonly<Record<string, unknown>>): APIMessage | Answer => {
    const sent = sentOf(call)
    if (isAnswer(sent)) return sent
    const form = messageForm(world, one.channelId, { ...sent, fields }, false)
    if (isAnswer(form)) return form
    const message = createMessage(world, one.channelId, toPublicUser(people.bot), form, {
      webhook_id: application.id,
      application_id: application.id,
    })
    one.messages.set(message.id, message)
    // Only those it is for see an ephemeral message; the channel does not have it.
    if (!(form.flags & 64)) messages.add(message)
    messages.keepFiles(form.attachments)
    return message
  }

  const messageOf = (call: ResourceCall): { one: Pending; message: APIMessage } | Answer => {
    const one = living(call.params.token!)
    if (!one) return invalidWebhookToken
    const id = call.params.message === '@original' ? one.original : call.params.message
    const message = id === undefined ? undefined : one.messages.get(id)
    return message ? { one, message } : unknownMessage
  }

  /** Type 4 and 7 say something at once; 5 and 6 promise to. */
  const acknowledge = (one: Pending, type: unknown, call: ResourceCall, data: Record<string, unknown>): Answer => {
    if (typeof type !== 'number' || ![4, 5, 6, 7, 8, 9, 12].includes(type)) return invalidType
    if (type === 4) {
      const message = write(one, call, data)
      if (isAnswer(message)) return message
      one.original = message.id
    }
    if (type === 9 && !(typeof data.custom_id === 'string' && typeof data.title === 'string'))
      return refused(400, 50035, 'Invalid Form Body', {
        data: { _errors: [{ code: 'BASE_TYPE_REQUIRED', message: 'This field is required' }] },
      })
    one.acknowledged = true
    return noContent
  }

  return {
    begin(interaction) {
      const { guild_id, channel_id, user: who, ...rest } = interaction
      const guild = people.guilds.get(String(guild_id ?? ''))
      const channel = channels.get(String(channel_id ?? '')) ?? (guild ? channels.of(guild.id)[0] : undefined)
      const user = people.somebody(String(who ?? people.users[0]!.id)) ?? people.somebody(people.users[0]!.id)!
      const member = guild && people.member(user.id, guild.id)
      const id = world.newId()
      const token = world.newToken(64)
      if (pending.size >= MOST_PENDING) pending.delete(pending.keys().next().value!)
      pending.set(token, {
        id,
        token,
        channelId: channel?.id ?? '0',
        sentAt: world.now(),
        acknowledged: false,
        original: undefined,
        messages: new Map(),
      })
      const permissions = guild ? (people.membership(user.id, guild.id)?.permissions ?? '0') : '0'
      const body = {
        id,
        application_id: application.id,
        type: 2,
        token,
        version: 1,
        locale: 'en-US',
        entitlements: [],
        authorizing_integration_owners: guild ? { '0': guild.id } : {},
        context: guild ? 0 : 1,
        app_permissions: channel ? String(channels.permissions(channel, people.bot.id)) : '0',
        attachment_size_limit: 10_485_760,
        flags: NO_FLAGS,
        ...(channel ? { channel, channel_id: channel.id } : {}),
        ...(guild
          ? {
              guild_id: guild.id,
              guild: { id: guild.id, features: toGuild(guild, false).features, locale: 'en-US' },
              guild_locale: 'en-US',
            }
          : {}),
        ...(member ? { member: { ...toMember(user, member), permissions } } : { user: toPublicUser(user) }),
        ...rest,
      }
      return { body, token }
    },
    answered(token, body) {
      const one = living(token)
      if (!one || !isRecord(body)) return
      const data = isRecord(body.data) ? body.data : {}
      acknowledge(one, body.type, callOf(data), data)
    },
    callback(call) {
      const one = living(call.params.token!)
      if (!one || one.id !== call.params.interaction) return unknownInteraction
      if (one.acknowledged) return alreadyAcknowledged
      const sent = sentOf(call)
      if (isAnswer(sent)) return sent
      const answer = acknowledge(one, sent.fields.type, call, isRecord(sent.fields.data) ? sent.fields.data : {})
      if (answer.status !== 204 || !/^(true|1)$/i.test(call.query?.get('with_response') ?? '')) return answer
      const message = one.original === undefined ? undefined : one.messages.get(one.original)
      return json(200, {
        interaction: { id: one.id, type: 2, ...(message ? { response_message_id: message.id } : {}) },
        resource: { type: sent.fields.type, ...(message ? { message } : {}) },
      })
    },
    followUp(call) {
      const one = living(call.params.token!)
      if (!one) return invalidWebhookToken
      if (!one.acknowledged) return unknownMessage
      const sent = sentOf(call)
      if (isAnswer(sent)) return sent
      const message = write(one, call, sent.fields)
      if (isAnswer(message)) return message
      one.original ??= message.id
      return json<APIMessage>(200, message)
    },
    read(call) {
      const place = messageOf(call)
      return isAnswer(place) ? place : json<APIMessage>(200, place.message)
    },
    edit(call) {
      const one = living(call.params.token!)
      const sent = sentOf(call)
      if (isAnswer(sent)) return sent
      // After a deferred answer, the first edit of @original writes it.
      if (one?.acknowledged && call.params.message === '@original' && one.original === undefined) {
        const message = write(one, call, sent.fields)
        if (isAnswer(message)) return message
        one.original = message.id
        return json<APIMessage>(200, message)
      }
      const place = messageOf(call)
      if (isAnswer(place)) return place
      const form = messageForm(world, place.message.channel_id, sent, true)
      if (isAnswer(form)) return form
      editMessage(world, place.message, form)
      messages.keepFiles(form.attachments)
      return json<APIMessage>(200, place.message)
    },
    remove(call) {
      const place = messageOf(call)
      if (isAnswer(place)) return place
      place.one.messages.delete(place.message.id)
      messages.remove(place.message.channel_id, place.message.id)
      return noContent
    },
  }
}

function callOf(data: Record<string, unknown>): ResourceCall {
  const body = Buffer.from(JSON.stringify(data))
  return { params: {}, query: null, contentType: 'application/json', body, grant: undefined, reason: null }
}
