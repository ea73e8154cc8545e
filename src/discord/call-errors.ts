import {
  DiscordAPIError,
  DiscordRateLimitError,
  DiscordUnavailableError,
  type RateLimitScope,
} from '../errors/errors.ts'
import type { Milliseconds } from '../time/clock.ts'
import type { Call } from './call.ts'
import { type Body, SHORTEST_VALUE, textsOf, type Words, wordsOf } from './error-body.ts'

// The errors of calls that were answered, in words that say what to do.

/** Discord refused, in its own JSON. */
export function refusedError(call: Call, status: number, body: Body, attempts: number): DiscordAPIError {
  const words = wordsOf(body, sentBy(call))
  const code = words.discordCode ? `, code ${words.discordCode}` : ''
  const { name } = call.route
  const what =
    status === 401 && call.tokenType !== 'none'
      ? `Discord does not accept this token (401${code}); sign the user in anew`
      : status === 403
        ? `Discord refused (403${code}); check the token's scopes or the bot's permissions`
        : `Discord refused (${status}${code})`
  return new DiscordAPIError(`${name}: ${what}${spoken(words)}`, { status, route: name, attempts, ...words })
}

/** Discord, or something before it, answered 5xx. */
export function troubleError(
  call: Call,
  status: number,
  body: Body | undefined,
  attempts: number,
  retryAfterMs: Milliseconds | undefined,
): DiscordAPIError {
  const words = wordsOf(body, sentBy(call))
  const { name } = call.route
  return new DiscordAPIError(`${name}: Discord answered ${status}; it is having trouble${spoken(words)}`, {
    status,
    route: name,
    attempts,
    retryAfterMs,
    ...words,
  })
}

/** A 429. */
export function rateLimitedError(
  call: Call,
  scope: RateLimitScope,
  body: Body | undefined,
  attempts: number,
  retryAfterMs: Milliseconds,
): DiscordRateLimitError {
  const about = {
    user: 'this user',
    global: 'all calls of this user',
    shared: 'a shared resource',
    egress: 'our address',
  }[scope]
  const { name } = call.route
  const { discordCode, discordMessage } = wordsOf(body, sentBy(call))
  return new DiscordRateLimitError(
    `${name}: Discord rate-limits ${about}; try again in ${Math.ceil(retryAfterMs / 1000)} s`,
    { scope, local: false, route: name, attempts, retryAfterMs, discordCode, discordMessage },
  )
}

/** A 403 about our address. */
export function blockedError(call: Call, attempts: number, retryAfterMs: Milliseconds): DiscordUnavailableError {
  const { name } = call.route
  return new DiscordUnavailableError(
    'DISCORD_BLOCKED',
    `${name}: our address is blocked on the way to Discord (403); nothing more is sent for ${Math.ceil(retryAfterMs / 1000)} s; look at who else uses the address, and at a proxy that changes the User-Agent`,
    { route: name, attempts, retryAfterMs },
  )
}

/** A 3xx or 4xx that is not Discord's own. */
export function foreignError(
  call: Call,
  status: number,
  attempts: number,
  retryAfterMs: Milliseconds | undefined,
): DiscordUnavailableError {
  const { name } = call.route
  return new DiscordUnavailableError(
    'DISCORD_FOREIGN_ANSWER',
    `${name}: a ${status} that is not Discord's own came back; look for a proxy or a block page on the way to Discord`,
    { route: name, attempts, retryAfterMs },
  )
}

/** The token is known to be dead. */
export function deadTokenError(call: Call, attempts: number): DiscordAPIError {
  const { name } = call.route
  return new DiscordAPIError(
    `${name}: Discord has answered 401 to this token before, so it was not sent again; sign the user in anew`,
    { status: 401, route: name, attempts },
  )
}

function spoken({ discordMessage, fieldErrors = [] }: Words): string {
  const fields = fieldErrors.slice(0, 5).map(({ path, code, message }) => `${path}[${code}]: ${message}`)
  const rest = fieldErrors.length > 5 ? [`and ${fieldErrors.length - 5} more`] : []
  const said = [discordMessage, ...fields, ...rest].filter((part) => part !== undefined && part !== '')
  return said.length === 0 ? '' : `: ${said.join('; ')}`
}

/** What the caller sent, piece by piece: none of it belongs into an error. */
const sentBy = (call: Call) => () => {
  const { path, route, body, token } = call
  const known = new Set(route.name.split('/'))
  const pieces = path.split(/[/?&=]/).filter((piece) => piece.length >= SHORTEST_VALUE && !known.has(piece))
  const texts = typeof body?.content === 'string' ? textsOf(body.content) : []
  return [...pieces, ...pieces.map(decoded), ...texts, ...(token === '' ? [] : [token])]
}

function decoded(piece: string): string {
  try {
    return decodeURIComponent(piece)
  } catch {
    return piece
  }
}
