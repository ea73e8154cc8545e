import { HoldfastError } from '../errors/errors.ts'

/** Replies that mean: nothing can be done with this Redis now. */
const AWAY_REPLY =
  /^(READONLY|LOADING|CLUSTERDOWN|MASTERDOWN|NOAUTH|WRONGPASS|NOPERM|BUSY|MISCONF|UNKILLABLE|TRYAGAIN)\b/
/** Replies that mean: this write was refused, and what is there can still be read. */
const REFUSED_REPLY = /^(OOM|NOREPLICAS)\b/

/** Whether Redis itself answered with it: its errors begin with a word in capitals, the library's and the system's do not. */
function isReply(error: unknown): error is Error {
  return error instanceof Error && /^[A-Z][A-Z0-9_]+( |$)/.test(error.message)
}

/** Whether the connection is of no use after this error. */
export function endsLife(error: unknown): boolean {
  return !isReply(error) || AWAY_REPLY.test(error.message)
}

/** The error as callers see it: REDIS_UNAVAILABLE or REDIS_MISUSE. `what` was asked, for people. */
export function translate(error: unknown, what = 'a read'): HoldfastError {
  if (error instanceof HoldfastError) return error
  if (!isReply(error) || AWAY_REPLY.test(error.message) || REFUSED_REPLY.test(error.message)) return unavailable(error)
  return new HoldfastError(
    'REDIS_MISUSE',
    `Redis refused ${what}: ${error.message.slice(0, 200)}; look whether something else writes under the same namespace`,
  )
}

/** REDIS_UNAVAILABLE, because of an error of whatever kind, or in words. */
export function unavailable(why: unknown): HoldfastError {
  return new HoldfastError('REDIS_UNAVAILABLE', `Redis cannot be used: ${describe(why)}`)
}

/** What happened, in words that hold no URL: the library's messages may name the host, and a URL its password. */
export function describe(why: unknown): string {
  if (typeof why === 'string') return why
  if (why instanceof HoldfastError) return why.message.replace(/^Redis cannot be used: /, '')
  if (isReply(why)) return why.message.split(' ', 1)[0]!
  if (!(why instanceof Error)) return 'not connected yet'
  const { code } = why as { code?: unknown }
  return typeof code === 'string' ? code : why.constructor.name
}
