/**
 * The `code` of an error, ours or the system's; undefined where it has none. For telling kinds of errors apart and for
 * events: a code holds no ids, hosts or secrets, which messages of other libraries may.
 */
export function codeOf(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null) return undefined
  const { code } = error as { code?: unknown }
  return typeof code === 'string' ? code : undefined
}
