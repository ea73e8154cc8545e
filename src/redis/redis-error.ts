import { HoldfastError } from '../errors/errors.ts'

/** Replies that mean: nothing can be done with this Redis now. */
const AWAY_REPLY =
  /^(READONLY|LOADING|CLUSTERDOWN|MASTERDOWN|NOAUTH|WRONGPASS|NOPERM|BUSY|MISCONF|UNKILLABLE|MOVED|ASK|CROSSSLOT)\b/
/** Replies that mean: not this question. The others are answered: a write is refused, or a slot of a Cluster is on its way to another node. */
const REFUSED_REPLY = /^(OOM|NOREPLICAS|TRYAGAIN)\b/

/** What to do about replies whose first word does not say it. */
const ADVICE: ReadonlyArray<readonly [reply: RegExp, advice: string]> = [
  [/^(MOVED|ASK|CROSSSLOT)\b/, 'this is a node of a Cluster: give its nodes as `redis: { cluster: [...] }`'],
  [/^NOPERM\b/, 'this user may not do all that is needed: docs/guides/fleet.md has the ACL line'],
]

/** Whether Redis itself answered with it: its errors begin with a word in capitals, the library's and the system's do not. */
function isReply(error: unknown): error is Error {
  return error instanceof Error && /^[A-Z][A-Z0-9_]+( |$)/.test(error.message)
}

/** Whether the connection is of no use after this error. */
export function endsGeneration(error: unknown): boolean {
  // Errors of ours have ended it where they were made, or say nothing about the connection.
  if (error instanceof HoldfastError) return false
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
  if (isReply(why)) {
    const advice = ADVICE.find(([reply]) => reply.test(why.message))?.[1]
    const word = why.message.split(' ', 1)[0]!
    return advice ? `${word}: ${advice}` : word
  }
  if (!(why instanceof Error)) return 'not connected yet'
  const { code } = why as { code?: unknown }
  return typeof code === 'string' ? code : why.constructor.name
}
