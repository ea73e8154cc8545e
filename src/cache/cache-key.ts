import { HoldfastError } from '../errors/errors.ts'

/** A key of its own, or one that belongs to a user and goes with `invalidateUser`. No two different keys ever meet. */
export type CacheKey = string | { readonly user: string; readonly key: string }

/**
 * A key that only the house itself can form: what users put under a key of the same name, or under any other, never
 * meets it. `detail` tells several of one label apart, and is in no event.
 */
export class OwnKey {
  readonly user: string
  readonly key: string
  readonly detail: string

  /** `user`: whose it is; '' where it belongs to nobody. */
  constructor(label: string, user: string, detail = '') {
    this.user = user
    this.key = label
    this.detail = detail
  }
}

/** Begins every id that is not simply the string it was made of. */
const MARK = '\u0000'

/** The one string under which a key is kept. A plain string is its own id, so that nothing has to be made for it. */
export function cacheId(key: CacheKey): string {
  if (typeof key === 'string') {
    if (key === '') throw invalidKey('it is empty')
    return key.charCodeAt(0) === 0 ? `${MARK}k${key}` : key
  }
  // The length keeps { user: 'a', key: 'bc' } and { user: 'ab', key: 'c' } apart.
  if (key instanceof OwnKey) return `${MARK}o${key.user.length}:${key.user}${key.key}:${key.detail}`
  if (typeof key !== 'object' || key === null) throw invalidKey('it is neither a string nor { user, key }')
  if (typeof key.user !== 'string' || key.user === '') throw invalidKey('its user is not a string, or empty')
  if (typeof key.key !== 'string' || key.key === '') throw invalidKey('its key is not a string, or empty')
  return `${MARK}u${key.user.length}:${key.user}${key.key}`
}

/** Whether an id is that of an `OwnKey`. */
export function isOwn(id: string): boolean {
  return id.charCodeAt(0) === 0 && id.charCodeAt(1) === OWN
}

const OWN = 'o'.charCodeAt(0)

/** Tells whether an id belongs to a user, under whatever key. */
export function idsOf(user: string): (id: string) => boolean {
  const owner = `${user.length}:${user}`
  // Behind the mark and the kind; an id of kind `k` has a mark there, and a plain one no mark at all.
  return (id) => id.charCodeAt(0) === 0 && id.startsWith(owner, 2)
}

/** Whose a key is; undefined where it belongs to nobody. */
export function userOf(key: CacheKey): string | undefined {
  return typeof key === 'string' || key.user === '' ? undefined : key.user
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
