import { HoldfastError } from '../errors/errors.ts'

/** A key of its own, or one that belongs to a user and goes with `invalidateUser`. No two different keys ever meet. */
export type CacheKey = string | { readonly user: string; readonly key: string }

/** Begins every id that is not simply the string it was made of. */
const MARK = '\u0000'

/** The one string under which a key is kept. A plain string is its own id, so that nothing has to be made for it. */
export function cacheId(key: CacheKey): string {
  if (typeof key === 'string') {
    if (key === '') throw invalidKey('it is empty')
    return key.charCodeAt(0) === 0 ? `${MARK}k${key}` : key
  }
  if (typeof key !== 'object' || key === null) throw invalidKey('it is neither a string nor { user, key }')
  if (typeof key.user !== 'string' || key.user === '') throw invalidKey('its user is not a string, or empty')
  if (typeof key.key !== 'string' || key.key === '') throw invalidKey('its key is not a string, or empty')
  // The length keeps { user: 'a', key: 'bc' } and { user: 'ab', key: 'c' } apart.
  return `${MARK}u${key.user.length}:${key.user}${key.key}`
}

/** What all ids of a user begin with. */
export function userPrefix(user: string): string {
  return `${MARK}u${user.length}:${user}`
}

/** The key as events name it: without the user it belongs to. */
export function keyName(key: CacheKey): string {
  return typeof key === 'string' ? key : key.key
}

/**
 * The first word of a key, for people who look into a shared tier: `guilds`, `bearer` of `bearer:…`. A word is letters and
 * dashes; what has anything else in it may be an id or a token, and is not shown.
 */
export function keyLabel(key: CacheKey): string {
  return /^[a-z][a-z-]{0,31}(?=:|$)/.exec(keyName(key))?.[0] ?? 'key'
}

function invalidKey(why: string): HoldfastError {
  return new HoldfastError('INVALID_KEY', `the cache key was refused: ${why}`)
}
