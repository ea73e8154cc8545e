import type { IncomingHttpHeaders } from 'node:http'

const METHODS = 'GET, POST, PUT, PATCH, DELETE'
const EXPOSED =
  'Retry-After, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, X-RateLimit-Reset-After, X-RateLimit-Bucket, X-RateLimit-Global, X-RateLimit-Scope'

/** Discord's API may be called from any page: the headers for who says where they come from. */
export function corsLines(headers: IncomingHttpHeaders): readonly string[] {
  if (headers.origin === undefined) return []
  return ['access-control-allow-origin', '*', 'access-control-expose-headers', EXPOSED]
}

/** The answer to a browser's question beforehand; it is no call, and spends nothing. */
export function preflightLines(headers: IncomingHttpHeaders): readonly string[] {
  return [
    'access-control-allow-origin',
    '*',
    'access-control-allow-methods',
    METHODS,
    'access-control-allow-headers',
    headers['access-control-request-headers'] ?? 'Authorization, Content-Type, X-Audit-Log-Reason',
    'access-control-max-age',
    '86400',
  ]
}
