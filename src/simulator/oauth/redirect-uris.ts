/** Schemes that would run or show something instead of calling an app back. */
const NEVER = /^(javascript|data|vbscript|file|blob|about|filesystem|view-source):/i

/** Whether codes could be sent there: http, https, or an app's own scheme; a fragment is refused (RFC 6749, 3.1.2). */
export function isRedirectUri(text: string): boolean {
  return URL.canParse(text) && !NEVER.test(text) && !text.includes('#') && /^[a-z][a-z0-9+.-]*:\/\//i.test(text)
}

/**
 * The address that an authorization request is answered at; undefined if it must not be trusted. Compared character by
 * character with the registered ones, as Discord does; without registered ones any will do. May be left out where
 * exactly one is registered.
 */
export function trustedRedirect(asked: string | null, registered: readonly string[]): string | undefined {
  if (asked === null) return registered.length === 1 ? registered[0] : undefined
  if (registered.length > 0) return registered.includes(asked) ? asked : undefined
  return isRedirectUri(asked) ? asked : undefined
}

/** The redirect URI with parameters added, in its query or (implicit grant) in its fragment. */
export function withParameters(
  redirectUri: string,
  parameters: Readonly<Record<string, string>>,
  where: 'query' | 'fragment',
): string {
  const target = new URL(redirectUri)
  if (where === 'query') for (const [key, value] of Object.entries(parameters)) target.searchParams.set(key, value)
  else target.hash = new URLSearchParams(parameters).toString()
  return target.href
}
