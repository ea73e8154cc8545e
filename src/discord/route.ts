import { HoldfastError } from '../errors/errors.ts'
import type { Milliseconds } from '../time/clock.ts'
import type { Method, Route } from './call.ts'
import { ANSWER_SHAPES } from './known-routes.ts'

const VISIBLE_ASCII = /^[\x21-\x7e]*$/
const SNOWFLAKE = /^\d{15,21}$/
const LONGEST_PATH = 4096

/**
 * Refuses every path that could lead somewhere else than below the API's base URL: it must begin with exactly one `/`
 * and hold no scheme, host, `//`, `.` or `..` segment, backslash, `#` or control character, also not escaped.
 */
export function checkPath(path: unknown): asserts path is string {
  if (typeof path !== 'string') throw invalidPath('it is not a string')
  if (path.length > LONGEST_PATH) throw invalidPath(`it is longer than ${LONGEST_PATH} characters`)
  if (!path.startsWith('/')) throw invalidPath('it does not begin with /')
  if (!VISIBLE_ASCII.test(path)) throw invalidPath('it holds a space, a control character or text that is not escaped')
  if (path.includes('#')) throw invalidPath('it holds a #')
  const queryAt = path.indexOf('?')
  const place = queryAt === -1 ? path : path.slice(0, queryAt)
  const unescaped = place.includes('%') ? fullyDecoded(place) : place
  if (unescaped.includes('\\')) throw invalidPath('it holds a backslash')
  if (unescaped.includes('//')) throw invalidPath('it holds //')
  if (unescaped !== place && (unescaped.match(/\//g)?.length ?? 0) !== (place.match(/\//g)?.length ?? 0))
    throw invalidPath('it holds an escaped /')
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is being refused
  if (/[\x00-\x1f\x7f]/.test(unescaped)) throw invalidPath('it holds an escaped control character')
  if (/(^|\/)\.{1,2}(\/|$)/.test(unescaped)) throw invalidPath('it holds a . or .. segment')
}

/** Decoded until nothing changes: what is escaped twice is meant to be read once too often. */
function fullyDecoded(text: string): string {
  for (let round = 0; round < 4; round++) {
    let decoded: string
    try {
      decoded = decodeURIComponent(text)
    } catch {
      if (round === 0) throw invalidPath('it holds a broken % escape')
      // A lone % that was escaped, as it should be. What else was escaped twice beside it is still read.
      decoded = text.replace(/%[0-7][0-9a-f]/gi, (one) => decodeURIComponent(one))
    }
    if (decoded === text) return text
    text = decoded
  }
  throw invalidPath('it is escaped too many times')
}

function invalidPath(why: string): HoldfastError {
  // The path itself stays out of the message: it can hold a webhook's token.
  return new HoldfastError(
    'INVALID_PATH',
    `the path given to discordFetch was refused: ${why}; give a path below the API, such as /users/@me/guilds`,
  )
}

/** Segments that are followed by something a log must not show, or that differs for every call. */
const HIDDEN_AFTER: Readonly<Record<string, string>> = {
  invites: ':code',
  templates: ':code',
  reactions: ':emoji',
  callback: ':value',
  answers: ':id',
  identities: ':value',
  'activity-instances': ':value',
}

/** The segments whose next one is a top-level resource, by which Discord counts separately (docs, topic Rate Limits). */
const RESOURCES = new Set(['channels', 'guilds', 'webhooks', 'interactions'])

/** A path as limits and logs see it: ids and secrets replaced, the top-level resource named. Pure; the path was checked before; `now` is the wall clock. */
export function routeOf(method: Method, path: string, now: Milliseconds): Route {
  const queryAt = path.indexOf('?')
  const segments = (queryAt === -1 ? path : path.slice(0, queryAt)).split('/')
  let resource = ''
  let template = ''
  for (let index = 1; index < segments.length; index++) {
    const segment = segments[index]!
    const before = segments[index - 1]!
    // Webhooks and interactions carry a secret after their id: limits are counted by both, logs see neither.
    const tokenHere = index === 3 && (segments[1] === 'webhooks' || segments[1] === 'interactions')
    if (index === 2 && RESOURCES.has(before)) resource = `${before}/${segment}`
    if (tokenHere) resource += `/${segment}`
    // Somebody's account elsewhere, behind the kind of account.
    const accountHere = index >= 4 && segments[1] === 'applications' && segments[3] === 'application-identities'
    template += `/${tokenHere ? ':token' : accountHere ? ':value' : (HIDDEN_AFTER[before] ?? visible(segment))}`
  }
  const name = `${method} ${template}`
  const counted = name === DELETE_MESSAGE ? `${name}${ageClass(segments[4]!, now)}` : name
  return { name, counted, resource, key: `${counted}|${resource}`, answer: ANSWER_SHAPES[name] }
}

const DELETE_MESSAGE = 'DELETE /channels/:id/messages/:id'
/** When Discord's snowflakes begin (docs, reference, Snowflakes). */
const DISCORD_EPOCH_MS: Milliseconds = 1_420_070_400_000
const YOUNG_MS: Milliseconds = 10_000
const OLD_MS: Milliseconds = 14 * 24 * 60 * 60 * 1000

/** Deleting messages is counted in three buckets by their age (discord-api-docs#1092, #1295). */
function ageClass(messageId: string, now: Milliseconds): string {
  const ageMs = now - (Number(BigInt(messageId) >> 22n) + DISCORD_EPOCH_MS)
  if (ageMs < YOUNG_MS) return ' (younger than 10 s)'
  return ageMs > OLD_MS ? ' (older than 14 days)' : ''
}

function visible(segment: string): string {
  if (SNOWFLAKE.test(segment)) return ':id'
  // Nothing in Discord's API is called like this; whatever it is, it is somebody's data.
  return segment.length > 32 || segment.includes('%') ? ':value' : segment
}
