import type { FieldError } from '../errors/errors.ts'

/** The JSON object of an answer that is no success. */
export type Body = Readonly<Record<string, unknown>>

/** What Discord says about a refusal, fit to stand in an error. */
export interface Words {
  readonly discordCode: number | undefined
  readonly discordMessage: string | undefined
  readonly fieldErrors: readonly FieldError[] | undefined
}

const LONGEST_MESSAGE = 300
const LONGEST_PATH = 200
const MOST_FIELDS = 50
const DEEPEST = 20
/** Shorter ones are words that a message may hold for other reasons. */
export const SHORTEST_VALUE = 6
const LONGEST_READ = 65_536

export function parseObject(text: string): Body | undefined {
  // A page is not worth the parser's error, which costs more than the rest of the call.
  if (!/^\s*\{/.test(text)) return undefined
  try {
    return JSON.parse(text) as Body
  } catch {
    return undefined
  }
}

/** Discord's errors are `{ message, code }`, OAuth2's `{ error }`; the plain ones read "401: Unauthorized". A gateway's bare `{ message }` is neither. */
export function isDiscords(body: Body, status: number): boolean {
  if (typeof body.error === 'string' && status !== 403) return true
  if (typeof body.message !== 'string') return false
  return Number.isInteger(body.code) || body.message.startsWith(`${status}: `)
}

export function codeOf(body: Body | undefined): number | undefined {
  return typeof body?.code === 'number' && Number.isInteger(body.code) ? body.code : undefined
}

export function looksLikeBan(body: Body): boolean {
  return typeof body.message === 'string' && /blocked from accessing|1015/i.test(body.message)
}

/**
 * Discord's own words: its code, its message, and which fields it found wrong (docs, reference, Error Messages). What the
 * caller sent is not among them: Discord quotes it in double quotes, and those are emptied; `sent` is taken out wherever
 * else it stands.
 */
export function wordsOf(body: Body | undefined, sent: () => readonly string[]): Words {
  const values = body ? [...sent()].sort((one, other) => other.length - one.length) : []
  const message = body?.message ?? body?.error_description ?? body?.error
  const fieldErrors: FieldError[] = []
  collect(body?.errors, '', 0, values, fieldErrors)
  return {
    discordCode: codeOf(body),
    discordMessage: typeof message === 'string' ? clean(message, values) : undefined,
    fieldErrors: fieldErrors.length > 0 ? fieldErrors : undefined,
  }
}

function collect(tree: unknown, path: string, depth: number, values: readonly string[], found: FieldError[]): void {
  if (typeof tree !== 'object' || tree === null || depth > DEEPEST) return
  for (const [name, below] of Object.entries(tree)) {
    if (found.length >= MOST_FIELDS) return
    if (name !== '_errors') collect(below, extended(path, name), depth + 1, values, found)
    else if (Array.isArray(below))
      for (const one of below.slice(0, MOST_FIELDS - found.length)) {
        const { code, message } = (one ?? {}) as { code?: unknown; message?: unknown }
        found.push({
          path: clean(path, []).slice(0, LONGEST_PATH),
          code: typeof code === 'string' ? clean(code, values) : '',
          message: typeof message === 'string' ? clean(message, values) : '',
        })
      }
  }
}

/** `embeds[0].title`, as one would write it in code. */
function extended(path: string, name: string): string {
  if (/^\d+$/.test(name)) return `${path}[${name}]`
  return path === '' ? name : `${path}.${name}`
}

/** The longer texts of a JSON body. */
export function textsOf(json: string): string[] {
  const values: string[] = []
  if (json.length > LONGEST_READ) return values
  try {
    JSON.parse(json, (_name, value) => {
      if (typeof value === 'string' && value.length >= SHORTEST_VALUE) values.push(value)
      return value
    })
  } catch {}
  return values
}

function clean(text: string, values: readonly string[]): string {
  let cleaned = text.slice(0, 10 * LONGEST_MESSAGE)
  for (const value of values) if (cleaned.includes(value)) cleaned = cleaned.replaceAll(value, '…')
  // Control characters and line ends would let an answer write lines of its own into a log.
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is being taken out
  cleaned = cleaned.replace(/"[^"]*"?/g, '"…"').replace(/[\x00-\x1f\x7f\u2028\u2029]+/g, ' ')
  return cleaned.length > LONGEST_MESSAGE ? `${cleaned.slice(0, LONGEST_MESSAGE)}…` : cleaned
}
