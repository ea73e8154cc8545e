import type { APIMessage, APIUser, APIWebhook } from 'discord-api-types/v10'
import { type Answer, json, noContent } from '../answer.ts'
import { NO_FLAGS } from '../world/guild.ts'
import { BIT } from '../world/permissions.ts'
import { toPublicUser } from '../world/user-objects.ts'
import type { World } from '../world/world.ts'
import { guildChannelFor, guildFor } from './access.ts'
import { type Handler, isAnswer, type ResourceCall, sentOf } from './call.ts'
import { isTrue } from './guilds.ts'
import { createMessage, editMessage, messageForm } from './message-form.ts'
import { createProblems } from './problems.ts'
import { invalidWebhookToken, missingPermissions, unknownChannel, unknownMessage, unknownWebhook } from './refusals.ts'

/** A new incoming webhook of a channel. */
export function createWebhook(world: World, channelId: string, guildId: string, name: string): APIWebhook {
  const id = world.newId()
  const token = world.newToken(68)
  const webhook: APIWebhook = {
    application_id: world.application.id,
    avatar: null,
    channel_id: channelId,
    guild_id: guildId,
    id,
    name,
    type: 1,
    token,
    url: `${world.origin()}/api/webhooks/${id}/${token}`,
    user: toPublicUser(world.people.bot),
  }
  world.webhooks.set(id, webhook)
  return webhook
}

export function webhookHandlers(world: World, interactions: InteractionHooks) {
  const { messages, webhooks } = world

  const managed = (id: string): APIWebhook | Answer => {
    const webhook = webhooks.get(id)
    if (!webhook) return unknownWebhook
    const guild = guildFor(world, webhook.guild_id ?? '', BIT.MANAGE_WEBHOOKS)
    return isAnswer(guild) ? missingPermissions : webhook
  }
  const byToken = ({ params }: ResourceCall): APIWebhook | Answer => {
    const webhook = webhooks.get(params.webhook!)
    if (!webhook) return unknownWebhook
    return webhook.token === params.token ? webhook : invalidWebhookToken
  }
  const rename = (webhook: APIWebhook, call: ResourceCall): Answer => {
    const sent = sentOf(call)
    if (isAnswer(sent)) return sent
    const problems = createProblems()
    const name = problems.text(sent.fields, 'name', { least: 1, most: 80 })
    const channelId = problems.id(sent.fields, 'channel_id')
    if (problems.answer) return problems.answer
    if (channelId !== undefined && !world.channels.get(channelId)) return unknownChannel
    if (name !== undefined) webhook.name = name
    if (channelId !== undefined) webhook.channel_id = channelId
    return json<APIWebhook>(200, webhook)
  }
  const remove = (webhook: APIWebhook): Answer => {
    webhooks.delete(webhook.id)
    return noContent
  }
  const withoutToken = ({ token: _, url: __, ...webhook }: APIWebhook): APIWebhook => webhook
  const ofWebhook = (call: ResourceCall): { webhook: APIWebhook; message: APIMessage } | Answer => {
    const webhook = byToken(call)
    if (isAnswer(webhook)) return webhook
    const message = messages.get(webhook.channel_id ?? '', call.params.message!)
    return message?.webhook_id === webhook.id ? { webhook, message } : unknownMessage
  }

  return {
    'GET /channels/:channel/webhooks': ({ params }) => {
      const channel = guildChannelFor(world, params.channel!, BIT.MANAGE_WEBHOOKS)
      if (isAnswer(channel)) return channel
      return json<APIWebhook[]>(
        200,
        [...webhooks.values()].filter(({ channel_id }) => channel_id === channel.id),
      )
    },
    'POST /channels/:channel/webhooks': (call) => {
      const channel = guildChannelFor(world, call.params.channel!, BIT.MANAGE_WEBHOOKS)
      if (isAnswer(channel)) return channel
      const sent = sentOf(call)
      if (isAnswer(sent)) return sent
      const problems = createProblems()
      const name = problems.text(sent.fields, 'name', { least: 1, most: 80, required: true })
      if (name !== undefined && /clyde|discord/i.test(name))
        problems.add(['name'], 'USERNAME_INVALID_CONTAINS', 'Username cannot contain "discord" or "clyde"')
      if (problems.answer) return problems.answer
      return json<APIWebhook>(200, createWebhook(world, channel.id, channel.guild_id, name!))
    },
    'GET /guilds/:guild/webhooks': ({ params }) => {
      const guild = guildFor(world, params.guild!, BIT.MANAGE_WEBHOOKS)
      if (isAnswer(guild)) return guild
      return json<APIWebhook[]>(
        200,
        [...webhooks.values()].filter(({ guild_id }) => guild_id === guild.id),
      )
    },
    'GET /webhooks/:webhook': ({ params }) => {
      const webhook = managed(params.webhook!)
      return isAnswer(webhook) ? webhook : json<APIWebhook>(200, webhook)
    },
    'PATCH /webhooks/:webhook': (call) => {
      const webhook = managed(call.params.webhook!)
      return isAnswer(webhook) ? webhook : rename(webhook, call)
    },
    'DELETE /webhooks/:webhook': ({ params }) => {
      const webhook = managed(params.webhook!)
      return isAnswer(webhook) ? webhook : remove(webhook)
    },
    'GET /webhooks/:webhook/:token': (call) => {
      const webhook = byToken(call)
      return isAnswer(webhook) ? webhook : json<APIWebhook>(200, { ...withoutToken(webhook), token: webhook.token! })
    },
    'PATCH /webhooks/:webhook/:token': (call) => {
      const webhook = byToken(call)
      return isAnswer(webhook) ? webhook : rename(webhook, call)
    },
    'DELETE /webhooks/:webhook/:token': (call) => {
      const webhook = byToken(call)
      return isAnswer(webhook) ? webhook : remove(webhook)
    },
    'POST /webhooks/:webhook/:token': (call) => {
      if (call.params.webhook === world.application.id) return interactions.followUp(call)
      const webhook = byToken(call)
      if (isAnswer(webhook)) return webhook
      const sent = sentOf(call)
      if (isAnswer(sent)) return sent
      const form = messageForm(world, webhook.channel_id ?? '', sent, false)
      if (isAnswer(form)) return form
      const { username } = sent.fields
      const author = toAuthor(webhook, typeof username === 'string' ? username : undefined)
      const message = createMessage(world, webhook.channel_id ?? '', author, form, { webhook_id: webhook.id })
      messages.add(message)
      messages.keepFiles(form.attachments)
      world.dispatch('MESSAGE_CREATE', webhook.guild_id ?? null, { ...message, guild_id: webhook.guild_id })
      return isTrue(call.query?.get('wait')) ? json<APIMessage>(200, message) : noContent
    },
    'GET /webhooks/:webhook/:token/messages/:message': (call) => {
      if (call.params.webhook === world.application.id) return interactions.read(call)
      const place = ofWebhook(call)
      return isAnswer(place) ? place : json<APIMessage>(200, place.message)
    },
    'PATCH /webhooks/:webhook/:token/messages/:message': (call) => {
      if (call.params.webhook === world.application.id) return interactions.edit(call)
      const place = ofWebhook(call)
      if (isAnswer(place)) return place
      const sent = sentOf(call)
      if (isAnswer(sent)) return sent
      const form = messageForm(world, place.message.channel_id, sent, true)
      if (isAnswer(form)) return form
      editMessage(world, place.message, form)
      messages.keepFiles(form.attachments)
      return json<APIMessage>(200, place.message)
    },
    'DELETE /webhooks/:webhook/:token/messages/:message': (call) => {
      if (call.params.webhook === world.application.id) return interactions.remove(call)
      const place = ofWebhook(call)
      if (isAnswer(place)) return place
      messages.remove(place.message.channel_id, place.message.id)
      return noContent
    },
    'POST /interactions/:interaction/:token/callback': (call) => interactions.callback(call),
  } satisfies Record<string, Handler>
}

/** What an app does with an interaction's token: answer, follow up, read, edit and delete. */
export interface InteractionHooks {
  readonly callback: Handler
  readonly followUp: Handler
  readonly read: Handler
  readonly edit: Handler
  readonly remove: Handler
}

function toAuthor(webhook: APIWebhook, username: string | undefined): APIUser {
  return {
    id: webhook.id,
    username: username ?? webhook.name ?? '',
    avatar: webhook.avatar,
    discriminator: '0000',
    public_flags: NO_FLAGS,
    flags: NO_FLAGS,
    bot: true,
    global_name: null,
  }
}
