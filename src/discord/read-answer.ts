import { DiscordUnavailableError } from '../errors/errors.ts'
import type { Answer, Call } from './call.ts'

/** The JSON of a successful answer; undefined where there is none to have (204, or an empty body of a write). */
export function readAnswer(answer: Answer, call: Call, attempts: number): unknown {
  const details = { route: call.route.name, attempts }
  if (answer.status === 204 || (answer.body === '' && call.method !== 'GET')) return undefined
  const type = answer.headers['content-type']
  if (type !== undefined && !/\bjson\b/i.test(type))
    throw new DiscordUnavailableError(
      'DISCORD_NOT_JSON',
      `${call.route.name}: the answer is ${type.slice(0, 60)}, not JSON; look for a proxy on the way to Discord`,
      details,
    )
  let value: unknown
  try {
    value = JSON.parse(answer.body)
  } catch {
    // Without the parser's message as cause: it quotes the body.
    throw new DiscordUnavailableError('DISCORD_NOT_JSON', `${call.route.name}: the answer is not JSON`, details)
  }
  const expected = call.route.answer
  const actual = Array.isArray(value) ? 'array' : value === null ? 'null' : typeof value
  if (expected !== undefined && actual !== expected)
    throw new DiscordUnavailableError(
      'DISCORD_WRONG_SHAPE',
      `${call.route.name}: the answer is ${actual === 'null' ? 'null' : `an ${actual}`} where an ${expected} is due`,
      details,
    )
  return value
}
