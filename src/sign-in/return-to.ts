/** Where somebody goes who named no place, or one that is none of ours. */
export const HOME = '/'
/** It travels in a cookie. */
const LONGEST_RETURN_TO = 1024

/**
 * Path, query and fragment of a place on this site, as they go into `Location`: given from its root, or whole. `/` for
 * everything else: another origin, a scheme, `//host`, a backslash or control character anywhere (browsers read some of
 * them as something else), what becomes `//` once it is normalised, what is too long, and the login's own paths, which
 * would sign in for ever.
 */
export function safeReturnTo(given: unknown, origin: string, loginPath: string): string {
  if (typeof given !== 'string' || given === '' || given.length > LONGEST_RETURN_TO) return HOME
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is being refused
  if (/[\\\x00-\x20\x7f-\x9f\u2028\u2029]/.test(given)) return HOME
  if (!given.startsWith('/') && !given.startsWith(`${origin}/`)) return HOME
  if (!URL.canParse(given, origin)) return HOME
  const url = new URL(given, origin)
  if (url.origin !== origin || url.username !== '' || url.password !== '') return HOME
  if (url.pathname.startsWith('//')) return HOME
  if (url.pathname === loginPath || url.pathname.startsWith(`${loginPath}/`)) return HOME
  const place = url.pathname + url.search + url.hash
  return place.length > LONGEST_RETURN_TO ? HOME : place
}
