import { HoldfastError } from '../errors/errors.ts'

/** RFC 9110, section 5.6.2. */
const NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/
/** RFC 9110, section 5.5: visible characters, space and tab. */
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/
const LONGEST_VALUE = 8192
/** Discord's own limit for the audit log. */
const LONGEST_REASON = 512

/** Headers that are ours to set, or the connection's, and what to do instead. */
const OURS: Readonly<Record<string, string>> = {
  authorization: "give the token, and tokenType 'none' for a call without one",
  'user-agent': 'it is what Discord requires of clients; publicUrl is part of it',
  accept: 'answers are read as JSON',
  'accept-encoding': 'answers are read as they are',
  'x-audit-log-reason': 'use the option reason',
  host: 'use discord.baseUrl',
  connection: 'it belongs to the connection',
  'keep-alive': 'it belongs to the connection',
  'proxy-authorization': 'give a dispatcher',
  'proxy-connection': 'it belongs to the connection',
  'content-length': 'it follows from the body',
  'transfer-encoding': 'it follows from the body',
  te: 'it belongs to the connection',
  trailer: 'it belongs to the connection',
  upgrade: 'it belongs to the connection',
  expect: 'it belongs to the connection',
}

/** The caller's own headers with lower-case names, checked, and the reason for the audit log. Throws HoldfastError INVALID_OPTION. */
export function encodeHeaders(
  headers: Readonly<Record<string, string>> | undefined,
  reason: string | undefined,
): { headers: Record<string, string> | undefined; contentType: string | undefined } {
  if (headers === undefined && reason === undefined) return { headers: undefined, contentType: undefined }
  const encoded: Record<string, string> = {}
  let contentType: string | undefined
  for (const [given, value] of Object.entries(headers ?? {})) {
    const name = given.toLowerCase()
    // Values stay out of messages: they may be secrets.
    if (!NAME.test(given)) throw refused('headers: a name holds a character that no header name may hold')
    if (name in OURS) throw refused(`headers: ${name} cannot be given: ${OURS[name]}`)
    if (typeof value !== 'string' || !VALUE.test(value) || value.length > LONGEST_VALUE)
      throw refused(
        `headers: the value of ${name} must be a text of at most ${LONGEST_VALUE} characters without line ends, of Latin-1`,
      )
    if (name in encoded || (name === 'content-type' && contentType !== undefined))
      throw refused(`headers: ${name} is given twice, in different case`)
    if (name === 'content-type') contentType = value
    else encoded[name] = value
  }
  if (reason !== undefined) encoded['x-audit-log-reason'] = encodeReason(reason)
  return { headers: encoded, contentType }
}

/** X-Audit-Log-Reason: percent-encoded UTF-8, 1 to 512 characters (Discord's docs, resource Audit Log). */
function encodeReason(reason: string): string {
  const characters = [...reason].length
  if (characters === 0 || characters > LONGEST_REASON || reason.trim() === '' || !reason.isWellFormed())
    throw refused(`option reason must be a text of 1 to ${LONGEST_REASON} characters`)
  return encodeURIComponent(reason)
}

function refused(message: string): HoldfastError {
  return new HoldfastError('INVALID_OPTION', `discordFetch: ${message}`)
}
