import type { Answer } from '../answer.ts'
import { refused } from '../answer.ts'
import { type FilePart, multipartOf } from '../multipart.ts'
import type { Grant } from '../oauth/credentials.ts'

/** One call to a resource, after every limit and check of credentials has let it pass. */
export interface ResourceCall {
  readonly params: Readonly<Record<string, string>>
  readonly query: URLSearchParams | null
  readonly contentType: string | undefined
  readonly body: Buffer
  /** The bearer token's grant; undefined: the bot, or nobody where a token stands in the path. */
  readonly grant: Grant | undefined
  /** X-Audit-Log-Reason, decoded. */
  readonly reason: string | null
}

export type Handler = (call: ResourceCall) => Answer

/** What a call sent: the fields of its JSON, or of `payload_json` with the files beside it. */
export interface Sent {
  readonly fields: Readonly<Record<string, unknown>>
  /** The JSON as it came: for the few routes that take a list. */
  readonly value: unknown
  readonly files: readonly FilePart[]
}

const invalidJson = refused(400, 50109, 'The request body contains invalid JSON.')

/** The body, read; or the answer that says why it cannot be. No body at all is one without fields. */
export function sentOf({ body, contentType }: ResourceCall): Sent | Answer {
  if (body.length === 0) return { fields: {}, value: undefined, files: [] }
  if (!/^multipart\//i.test(contentType ?? '')) return fromJson(body.toString(), [])
  const parts = multipartOf(contentType, body)
  if (!parts) return invalidJson
  const { payload_json: payload } = parts.fields
  // Once payload_json is there, fields beside it are ignored.
  if (payload !== undefined) return fromJson(payload, parts.files)
  return { fields: parts.fields, value: parts.fields, files: parts.files }
}

function fromJson(text: string, files: readonly FilePart[]): Sent | Answer {
  try {
    const value: unknown = JSON.parse(text)
    return { fields: isRecord(value) ? value : {}, value, files }
  } catch {
    return invalidJson
  }
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return value !== null && typeof value === 'object' && !Array.isArray(value)
}

export function isAnswer(value: object): value is Answer {
  return 'status' in value
}
