/**
 * Whether something thrown is no error but the way in which a framework goes elsewhere, and so none of our business: a
 * Response (Remix, React Router), what Next and React throw for redirects, `notFound()` and dynamic rendering (it has a
 * `digest`), an exception that makes its own response (Hono), a redirect that is a plain object (SvelteKit).
 */
export function isControlFlow(thrown: unknown): boolean {
  if (typeof thrown !== 'object' || thrown === null) return false
  if (thrown instanceof Response) return true
  const { digest, getResponse, status, location } = thrown as Record<string, unknown>
  if (typeof digest === 'string' || typeof getResponse === 'function') return true
  return typeof status === 'number' && status >= 300 && status < 400 && typeof location === 'string'
}
