import type { IncomingHttpHeaders } from 'node:http'
import { formOf } from './form.ts'
import { multipartOf } from './multipart.ts'

const MASK = '***'
const SECRET_FIELDS: ReadonlySet<string> = new Set([
  'access_token',
  'refresh_token',
  'token',
  'code',
  'client_secret',
  'code_verifier',
  'client_assertion',
  'password',
])
const MAX_TEXT = 2000

/**
 * Request headers as the ledger shows them. Whose they are is in `userId`, so tokens and cookies need not be; `host` and
 * `connection` are about the socket, and would make two runs with the same seed differ.
 */
export function maskedHeaders(headers: IncomingHttpHeaders): Record<string, string> {
  const shown: Record<string, string> = {}
  for (const name in headers) {
    const value = headers[name]
    if (value === undefined || name === 'host' || name === 'connection') continue
    const text = typeof value === 'string' ? value : value.join(', ')
    if (name === 'authorization' || name === 'proxy-authorization') shown[name] = maskedCredentials(text)
    else shown[name] = name === 'cookie' ? MASK : text
  }
  return shown
}

function maskedCredentials(text: string): string {
  const space = text.indexOf(' ')
  return space > 0 ? `${text.slice(0, space)} ${MASK}` : MASK
}

export function maskedQuery(query: string): string {
  if (query === '') return ''
  const text = query.slice(0, MAX_TEXT)
  return text.replace(/(^|&)(access_token|refresh_token|token|code|client_secret|code_verifier)=[^&]*/g, `$1$2=${MASK}`)
}

/** The tokens of webhooks and interactions stand in the path. */
export function maskedPath(path: string): string {
  const text = path.length > 200 ? path.slice(0, 200) : path
  if (!/^\/(webhooks|interactions)\//.test(text)) return text
  return text.replace(/^(\/(?:webhooks|interactions)\/\d+\/)[^/]+/, `$1${MASK}`)
}

/** A body as the ledger shows it; undefined if there was none. */
export function shownBody(contentType: string | undefined, body: Buffer): unknown {
  if (body.length === 0) return undefined
  const form = formOf(contentType, body)
  if (form) return masked(Object.fromEntries(form))
  const parts = multipartOf(contentType, body)
  if (parts) {
    const files = parts.files.map(({ name, filename, contentType, data }) => ({
      name,
      filename,
      contentType,
      size: data.length,
    }))
    const payload = parts.fields.payload_json
    const { payload_json: _, ...fields } = parts.fields
    const value = payload === undefined ? fields : (parsed(payload) ?? payload)
    return { ...(value !== null && typeof value === 'object' ? value : { payload_json: value }), files }
  }
  const text = body.toString()
  const value = /json/i.test(contentType ?? '') ? parsed(text) : undefined
  if (value === undefined) return text.slice(0, MAX_TEXT)
  // The one JSON body of Discord's that carries a token adds a member to a guild.
  if (value !== null && typeof value === 'object' && 'access_token' in value) return { ...value, access_token: MASK }
  return value
}

function masked(fields: Record<string, string>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [name, SECRET_FIELDS.has(name) ? MASK : value]),
  )
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch {
    return undefined
  }
}
