import type { APIAttachment, APIMessage } from 'discord-api-types/v10'
import { compareIds } from './snowflake.ts'

/** One file of a message, as it was sent. */
export interface StoredFile {
  readonly contentType: string | undefined
  readonly data: Buffer
}

/** The messages of all channels, and the files in them; both bounded, the oldest go first. */
export interface Messages {
  add(message: APIMessage): void
  keepFiles(sent: ReadonlyArray<readonly [attachment: APIAttachment, file: StoredFile]>): void
  get(channelId: string, id: string): APIMessage | undefined
  remove(channelId: string, id: string): boolean
  removeAll(channelId: string): void
  /** Newest first, as Discord lists them. */
  list(channelId: string, page: { limit: number; before?: string; after?: string; around?: string }): APIMessage[]
  /** Oldest first. */
  all(channelId: string): readonly APIMessage[]
  channels(): Iterable<string>
  file(attachmentId: string): StoredFile | undefined
}

const PER_CHANNEL = 10_000
const MAX_FILE_BYTES = 64 * 1024 * 1024

export function createMessages(): Messages {
  const byChannel = new Map<string, APIMessage[]>()
  const files = new Map<string, StoredFile>()
  let fileBytes = 0

  const dropFile = (id: string) => {
    fileBytes -= files.get(id)?.data.length ?? 0
    files.delete(id)
  }
  const dropFiles = ({ attachments }: APIMessage) => {
    for (const { id } of attachments) dropFile(id)
  }
  const of = (channelId: string) => byChannel.get(channelId) ?? []

  return {
    add(message) {
      let list = byChannel.get(message.channel_id)
      if (!list) {
        list = []
        byChannel.set(message.channel_id, list)
      }
      if (list.length >= PER_CHANNEL) list.splice(0, PER_CHANNEL / 10).forEach(dropFiles)
      list.push(message)
    },
    keepFiles(sent) {
      for (const [{ id }, file] of sent) {
        files.set(id, file)
        fileBytes += file.data.length
      }
      for (const id of files.keys()) {
        if (fileBytes <= MAX_FILE_BYTES) break
        dropFile(id)
      }
    },
    get: (channelId, id) => of(channelId).find((message) => message.id === id),
    remove(channelId, id) {
      const list = of(channelId)
      const at = list.findIndex((message) => message.id === id)
      if (at < 0) return false
      list.splice(at, 1).forEach(dropFiles)
      return true
    },
    removeAll(channelId) {
      of(channelId).forEach(dropFiles)
      byChannel.delete(channelId)
    },
    list(channelId, { limit, before, after, around }) {
      const list = of(channelId)
      if (around !== undefined) {
        const half = Math.floor(limit / 2)
        const older = list.filter(({ id }) => compareIds(id, around) < 0).slice(-half)
        const rest = list.filter(({ id }) => compareIds(id, around) >= 0).slice(0, limit - older.length)
        return [...older, ...rest].reverse()
      }
      if (after !== undefined)
        return list
          .filter(({ id }) => compareIds(id, after) > 0)
          .slice(0, limit)
          .reverse()
      const until = before === undefined ? list : list.filter(({ id }) => compareIds(id, before) < 0)
      return until.slice(-limit).reverse()
    },
    all: of,
    channels: () => byChannel.keys(),
    file: (id) => files.get(id),
  }
}
