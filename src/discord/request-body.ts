import { HoldfastError } from '../errors/errors.ts'
import type { RequestBody } from './call.ts'

/**
 * What is sent for the option `body`: JSON for plain values, and as they are FormData, URLSearchParams, bytes and text,
 * each with its own content type; `given` is the caller's, which bytes and text may have. Anything else is refused with
 * HoldfastError INVALID_OPTION: JSON would make something else of it. What is sent is copied now, but for files, which
 * are read before this resolves.
 */
export function encodeBody(body: unknown, given: string | undefined): RequestBody | Promise<RequestBody> {
  const kind = kindOf(body)
  if (given !== undefined && typeof body !== 'string' && !(body instanceof Uint8Array))
    throw refused(`headers: content-type can be given for a text or bytes; that of ${kind} is set by what it is`)
  if (typeof body === 'string') return { contentType: given ?? 'text/plain;charset=UTF-8', content: body }
  if (body instanceof Uint8Array)
    return { contentType: given ?? 'application/octet-stream', content: Uint8Array.from(body) }
  if (kind === 'URLSearchParams')
    return { contentType: 'application/x-www-form-urlencoded;charset=UTF-8', content: String(body) }
  if (kind === 'FormData') return encodeForm(body as FormData)
  const fix = kind in NOT_JSON ? NOT_JSON[kind] : undefined
  if (fix !== undefined) throw refused(`option body cannot be ${a(kind)}: ${fix}`)
  return { contentType: 'application/json', content: encodeJson(body) }
}

/** Multipart, as fetch writes it. Copied into a FormData of this realm first: another one's would be sent as its name. */
async function encodeForm(form: FormData): Promise<RequestBody> {
  const own = new FormData()
  for (const [name, value] of form) {
    if (typeof value === 'string') own.append(name, value)
    else own.append(name, value, value.name)
  }
  const encoded = new Response(own)
  return {
    contentType: encoded.headers.get('content-type')!,
    content: new Uint8Array(await encoded.arrayBuffer()),
  }
}

/** What JSON cannot carry, or carries as something else, and what to do instead. */
const NOT_JSON: Readonly<Record<string, string>> = {
  null: 'leave it out',
  function: 'give a plain value',
  symbol: 'give a plain value',
  bigint: 'write numbers beyond 2^53, such as ids, as text',
  number: 'give a finite one',
  Map: 'give Object.fromEntries(map)',
  Set: 'give [...set]',
  WeakMap: 'give a plain object',
  WeakSet: 'give a list',
  Promise: 'await it first',
  Blob: 'put it into a FormData, or give new Uint8Array(await blob.arrayBuffer())',
  File: 'put it into a FormData, or give new Uint8Array(await file.arrayBuffer())',
  ArrayBuffer: 'give new Uint8Array(buffer)',
  SharedArrayBuffer: 'give new Uint8Array(buffer)',
  DataView: 'give a Uint8Array',
  'typed array': 'give a Uint8Array',
  bytes: 'give them alone as the body, or put them into a FormData',
  FormData: 'give it alone as the body',
  URLSearchParams: 'give it alone as the body',
  ReadableStream: 'read it first; what is sent may have to be sent again',
  stream: 'read it first; what is sent may have to be sent again',
  Error: 'give its message',
  RegExp: 'give its source',
  Headers: 'give Object.fromEntries(headers)',
  Request: 'give its body, read',
  Response: 'give its body, read',
}

function kindOf(value: unknown): string {
  if (value === null) return 'null'
  if (typeof value === 'number' && !Number.isFinite(value)) return 'number'
  if (typeof value !== 'object') return typeof value === 'number' ? 'a number' : typeof value
  if (value instanceof Uint8Array) return 'bytes'
  if (ArrayBuffer.isView(value)) return value instanceof DataView ? 'DataView' : 'typed array'
  if (typeof (value as { pipe?: unknown }).pipe === 'function') return 'stream'
  const tag = Object.prototype.toString.call(value).slice(8, -1)
  return tag === 'Object' ? 'an object' : tag
}

function encodeJson(body: unknown): string {
  // By holder and name, because what it is given has already been through toJSON: a Buffer is a plain object by then.
  function check(this: unknown, name: string, value: unknown): unknown {
    const held = (this as Record<string, unknown>)[name]
    if (held === null || held === undefined || typeof held === 'string' || typeof held === 'boolean') return value
    const kind = kindOf(held)
    if (kind in NOT_JSON) throw refused(`option body holds ${a(kind)} under ${JSON.stringify(name)}: ${NOT_JSON[kind]}`)
    return value
  }
  let text: string | undefined
  try {
    text = JSON.stringify(body, check)
  } catch (error) {
    if (error instanceof HoldfastError) throw error
    throw refused('option body cannot be written as JSON: it refers to itself, or its toJSON failed')
  }
  if (text === undefined) throw refused('option body cannot be written as JSON; leave it out, or give a plain value')
  return text
}

const a = (kind: string) => {
  if (kind === 'null' || kind === 'bytes') return kind
  return /^[AEIOU]/i.test(kind) ? `an ${kind}` : kind === 'number' ? 'a number that is not finite' : `a ${kind}`
}

function refused(message: string): HoldfastError {
  return new HoldfastError('INVALID_OPTION', `discordFetch: ${message}`)
}
