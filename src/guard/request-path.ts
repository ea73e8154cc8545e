const SCHEME_AND_HOST = /^[a-z][a-z0-9+.-]*:\/\/[^/\\?#]*/i
/** Most paths are as they should be, and are told so by one look. */
const NEEDS_WORK = /[%?#]|\/\/|.\/$|^[^/]|^$/
const ESCAPE = /%([0-9a-f]{2})/gi
const UNRESERVED = /[a-z0-9._~-]/i

/**
 * A request target as it was sent, in one way of writing: without scheme, host and query, with one slash where there are
 * several, none at the end, and escapes as RFC 3986, section 6.2.2, has them (`%7e` is `~`, `%2f` is `%2F`). Dot segments
 * and backslashes stay: what a router may make of them is in `readings.ts`.
 */
export function normalPath(target: string): string {
  if (!NEEDS_WORK.test(target)) return target
  let path = target.replace(SCHEME_AND_HOST, '')
  const end = path.search(/[?#]/)
  if (end !== -1) path = path.slice(0, end)
  path = `/${path}`.replace(/\/{2,}/g, '/').replace(ESCAPE, (written, digits: string) => {
    const character = String.fromCharCode(Number.parseInt(digits, 16))
    return UNRESERVED.test(character) ? character : written.toUpperCase()
  })
  return path.length > 1 && path.endsWith('/') ? path.slice(0, -1) : path
}

/** Whether the target's query has a parameter of this name. */
export function hasParameter(target: string, name: string): boolean {
  const query = target.indexOf('?')
  if (query === -1) return false
  return new RegExp(`[?&]${name}(=|&|#|$)`).test(target.slice(query))
}

/** Segments that say what is asked for rather than of whom: short words, and versions. */
const WORD = /^(?:[a-z][a-z_.-]{0,23}|v\d{1,2})$/i
const LONGEST_SHOWN = 6

/** A path that may be told to others: whatever could be an id or a token is written `:id`. */
export function pathWithoutIds(path: string): string {
  const segments = path.split('/').slice(1)
  const shown = segments
    .slice(0, LONGEST_SHOWN)
    .map((segment) => (segment === '' || WORD.test(segment) ? segment : ':id'))
  return `/${shown.join('/')}${segments.length > LONGEST_SHOWN ? '/*' : ''}`
}
