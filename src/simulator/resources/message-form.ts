import type { APIAttachment, APIEmbed, APIMessage, APIMessageTopLevelComponent, APIUser } from 'discord-api-types/v10'
import { type Answer, tooLarge } from '../answer.ts'
import type { FilePart } from '../multipart.ts'
import type { StoredFile } from '../world/messages.ts'
import { toPublicUser } from '../world/user-objects.ts'
import { timestamp, type World } from '../world/world.ts'
import { isRecord, type Sent } from './call.ts'
import { createProblems, type Problems, recordsOf } from './problems.ts'
import { emptyMessage } from './refusals.ts'

/** What a message is made of, once Discord's rules let it pass. */
export interface MessageForm {
  readonly content: string | undefined
  readonly embeds: APIEmbed[] | undefined
  readonly components: APIMessageTopLevelComponent[] | undefined
  readonly attachments: ReadonlyArray<readonly [APIAttachment, StoredFile]>
  /** Ids of attachments that an edit keeps; undefined: all. */
  readonly keptAttachments: readonly string[] | undefined
  readonly tts: boolean
  readonly nonce: string | number | undefined
  readonly flags: number
  readonly replyTo: string | undefined
}

const MOST = { content: 2000, embeds: 10, files: 10, fileBytes: 10 * 1024 * 1024, components: 40, fields: 25 }
/** Flags that a message may be sent with: SUPPRESS_EMBEDS, EPHEMERAL, SUPPRESS_NOTIFICATIONS, IS_COMPONENTS_V2. */
const FLAGS = (1 << 2) | (1 << 6) | (1 << 12) | (1 << 15)

/** Reads and checks what was sent for a message; `editing` lets it be empty. */
export function messageForm(world: World, channelId: string, sent: Sent, editing: boolean): MessageForm | Answer {
  const { fields, files } = sent
  const problems = createProblems()
  const content = problems.text(fields, 'content', { most: MOST.content })
  const embeds = fields.embeds === undefined ? undefined : checkedEmbeds(problems, fields)
  const components =
    fields.components === undefined ? undefined : recordsOf(problems, fields, 'components', MOST.components)
  const described = recordsOf(problems, fields, 'attachments', MOST.files)
  if (files.some(({ data }) => data.length > MOST.fileBytes)) return tooLarge
  if (files.length > MOST.files) problems.add(['files'], 'BASE_TYPE_MAX_LENGTH', 'Must be 10 or fewer in length.')
  problems.text(fields, 'nonce', { most: 25 })
  const reference = isRecord(fields.message_reference) ? problems.id(fields.message_reference, 'message_id') : undefined
  const isUnknown = reference !== undefined && !world.messages.get(channelId, reference)
  if (isUnknown && isRecord(fields.message_reference) && fields.message_reference.fail_if_not_exists !== false)
    problems.add(['message_reference'], 'MESSAGE_REFERENCE_UNKNOWN_MESSAGE', 'Unknown message')
  const flags = problems.integer(fields, 'flags', 0, 2 ** 31) ?? 0
  const tts = problems.flag(fields, 'tts') ?? false
  if (problems.answer) return problems.answer
  const isEmpty = !content && !embeds?.length && !components?.length && files.length === 0
  const others = fields.sticker_ids ?? fields.poll
  if (!editing && isEmpty && others === undefined) return emptyMessage
  const { nonce } = fields
  return {
    content,
    embeds,
    components: components as APIMessageTopLevelComponent[] | undefined,
    attachments: files.map((file, nth) => attachmentOf(world, channelId, file, nth, described)),
    keptAttachments: fields.attachments === undefined ? undefined : described.map(({ id }) => String(id)),
    tts,
    nonce: typeof nonce === 'string' || typeof nonce === 'number' ? nonce : undefined,
    flags: flags & FLAGS,
    replyTo: isUnknown ? undefined : reference,
  }
}

function checkedEmbeds(problems: Problems, fields: Readonly<Record<string, unknown>>): APIEmbed[] {
  const embeds = recordsOf(problems, fields, 'embeds', MOST.embeds)
  let characters = 0
  const count = (text: string | undefined) => {
    characters += text?.length ?? 0
  }
  for (const [nth, embed] of embeds.entries()) {
    const at = ['embeds', nth]
    count(problems.text(embed, 'title', { most: 256, at }))
    count(problems.text(embed, 'description', { most: 4096, at }))
    if (isRecord(embed.footer))
      count(problems.text(embed.footer, 'text', { most: 2048, required: true, at: [...at, 'footer'] }))
    if (isRecord(embed.author))
      count(problems.text(embed.author, 'name', { most: 256, required: true, at: [...at, 'author'] }))
    for (const [place, field] of recordsOf(problems, embed, 'fields', MOST.fields, at).entries()) {
      const inside = [...at, 'fields', place]
      count(problems.text(field, 'name', { most: 256, required: true, at: inside }))
      count(problems.text(field, 'value', { most: 1024, required: true, at: inside }))
    }
    if (embed.url !== undefined && !(typeof embed.url === 'string' && /^(https?|attachment):\/\//.test(embed.url)))
      problems.add(
        [...at, 'url'],
        'URL_TYPE_INVALID_SCHEME',
        `Scheme "${String(embed.url).split(':')[0]}" is not supported. Scheme must be one of ('http', 'https').`,
      )
    if (Object.keys(embed).length === 0) problems.add(at, 'BASE_TYPE_REQUIRED', 'This field is required')
  }
  if (characters > 6000) problems.add(['embeds'], 'MAX_EMBED_SIZE_EXCEEDED', 'Embed size exceeds maximum size of 6000')
  // What comes back has a type, and what was sent.
  return embeds.map((embed) => ({ type: 'rich', ...embed }) as APIEmbed)
}

function attachmentOf(
  world: World,
  channelId: string,
  file: FilePart,
  nth: number,
  described: ReadonlyArray<Record<string, unknown>>,
): readonly [APIAttachment, StoredFile] {
  // The id of a new file is its number in `files[n]`.
  const number = /\[(\d+)\]/.exec(file.name)?.[1] ?? String(nth)
  const words = described.find(({ id }) => String(id) === number)
  const filename = typeof words?.filename === 'string' ? words.filename : file.filename
  const id = world.newId()
  const url = `${world.origin()}/attachments/${channelId}/${id}/${encodeURIComponent(filename)}`
  const attachment: APIAttachment = {
    id,
    filename,
    size: file.data.length,
    url,
    proxy_url: url,
    ...(file.contentType === undefined ? {} : { content_type: file.contentType }),
    ...(typeof words?.description === 'string' ? { description: words.description } : {}),
  }
  return [attachment, { contentType: file.contentType, data: file.data }]
}

/** A message object, whole. */
export function createMessage(
  world: World,
  channelId: string,
  author: APIUser,
  form: MessageForm,
  more: Partial<APIMessage> = {},
): APIMessage {
  const { people, messages } = world
  const content = form.content ?? ''
  const named = [...new Set([...content.matchAll(/<@!?(\d+)>/g)].map(([, id]) => id!))]
  const replied = form.replyTo === undefined ? undefined : messages.get(channelId, form.replyTo)
  const channel = world.channels.get(channelId)
  const guildId = channel && channel.type !== 1 ? channel.guild_id : undefined
  return {
    type: replied ? 19 : 0,
    id: world.newId(),
    channel_id: channelId,
    author,
    content,
    timestamp: timestamp(world.now()),
    edited_timestamp: null,
    tts: form.tts,
    mention_everyone: /@(everyone|here)\b/.test(content),
    mentions: named.flatMap((id) => {
      const user = people.somebody(id)
      return user ? [toPublicUser(user)] : []
    }),
    mention_roles: [...content.matchAll(/<@&(\d+)>/g)].map(([, id]) => id!),
    attachments: form.attachments.map(([attachment]) => attachment),
    embeds: form.embeds ?? [],
    components: form.components ?? [],
    pinned: false,
    flags: form.flags,
    ...(form.nonce === undefined ? {} : { nonce: form.nonce }),
    ...(replied
      ? {
          referenced_message: replied,
          message_reference: {
            type: 0,
            channel_id: channelId,
            message_id: replied.id,
            ...(guildId === undefined ? {} : { guild_id: guildId }),
          },
        }
      : {}),
    ...more,
  }
}

/** Changes a message in place, as an edit does. */
export function editMessage(world: World, message: APIMessage, form: MessageForm): void {
  if (form.content !== undefined) message.content = form.content
  if (form.embeds) message.embeds = form.embeds
  if (form.components) message.components = form.components
  const kept = form.keptAttachments
  const before = kept ? message.attachments.filter(({ id }) => kept.includes(id)) : message.attachments
  message.attachments = [...before, ...form.attachments.map(([attachment]) => attachment)]
  message.edited_timestamp = timestamp(world.now())
}
