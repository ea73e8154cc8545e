import { wantsPage } from '../http/refusal.ts'
import type { RequestClass } from '../http/request-class.ts'
import type { GuardRequest } from './guard-request.ts'
import { readingsOf } from './readings.ts'
import { hasParameter, normalPath } from './request-path.ts'
import { isUnder, prefixOf } from './routes.ts'

export const API_PREFIXES: readonly string[] = ['/api']

/** Where a browser navigates to, in a window or in a frame of one. */
const NAVIGATIONS = new Set(['document', 'iframe', 'frame'])

/**
 * What a request is for. An API path is `api` whatever its headers claim; all other classes come from headers that any
 * client can write, so they decide how a refusal looks and who is refused first, never whether a limit counts.
 * `apiPrefixes` (default `/api`) stand for themselves and everything below, in any case of letters.
 *
 * In order: `api`; `prefetch` (Sec-Purpose, Purpose, X-Moz and Next's router headers); `rsc` (`rsc: 1`, `_rsc`,
 * `next-action`, `text/x-component`); `image` (`/_next/image`, or Sec-Fetch-Dest); `document` (GET or HEAD that
 * navigates by Sec-Fetch-Dest, or else accepts text/html); `other`. In Next's proxy the router's headers are gone unless
 * `skipProxyUrlNormalize` is set: such requests are `other` there.
 */
export function classify(
  request: Pick<GuardRequest, 'method' | 'path' | 'header'>,
  options: { readonly apiPrefixes?: readonly string[] } = {},
): RequestClass {
  const readings = readingsOf(request.path)
  const prefixes = (options.apiPrefixes ?? API_PREFIXES).map(prefixOf)
  const isApi = readings === 'any' || readings.some((reading) => isUnder(reading, prefixes))
  return classOf(request, normalPath(request.path), isApi)
}

/** `classify` for a path that is in its normal form already, and known to be an API path or none. */
export function classOf(
  request: Pick<GuardRequest, 'method' | 'path' | 'header'>,
  path: string,
  isApi: boolean,
): RequestClass {
  if (isApi) return 'api'
  if (isPrefetch(request)) return 'prefetch'
  if (isFlight(request)) return 'rsc'
  const destination = request.header('sec-fetch-dest')
  if (path === '/_next/image' || destination === 'image') return 'image'
  if (request.method !== 'GET' && request.method !== 'HEAD') return 'other'
  if (destination !== null) return NAVIGATIONS.has(destination) ? 'document' : 'other'
  return wantsPage(request.method, (name) => request.header(name)) ? 'document' : 'other'
}

function isPrefetch(request: Pick<GuardRequest, 'header'>): boolean {
  return (
    /^\s*prefetch\b/i.test(request.header('sec-purpose') ?? '') ||
    // Chrome's and Firefox's names for it before Sec-Purpose.
    /^\s*prefetch\b/i.test(request.header('purpose') ?? '') ||
    /^\s*prefetch\b/i.test(request.header('x-moz') ?? '') ||
    request.header('next-router-prefetch') !== null ||
    request.header('next-router-segment-prefetch') !== null
  )
}

function isFlight(request: Pick<GuardRequest, 'path' | 'header'>): boolean {
  return (
    request.header('rsc') === '1' ||
    request.header('next-action') !== null ||
    hasParameter(request.path, '_rsc') ||
    (request.header('accept') ?? '').includes('text/x-component') ||
    (request.header('content-type') ?? '').includes('text/x-component')
  )
}
