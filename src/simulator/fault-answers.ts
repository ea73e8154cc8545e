import { STATUS_CODES } from 'node:http'
import type { Milliseconds } from '../time/clock.ts'
import { type Answer, bucketHeaders, cloudflarePage, json, noContent, rateLimited, refused } from './answer.ts'
import { blocked } from './blocks.ts'
import { type Bucket, bucketHash } from './buckets.ts'
import type { FaultOptions } from './fault-options.ts'
import type { ActiveFault } from './faults.ts'
import type { Match } from './routes.ts'

/** An answer that a fault gives in Discord's place; undefined where it leaves the answering to the rules. */
export function answerInPlace(
  fault: ActiveFault,
  match: Match | undefined,
  bucket: Bucket | undefined,
  wallMs: Milliseconds,
): Answer | undefined {
  const { options, leftMs } = fault
  const { status = 502 } = options
  const retryAfterMs = leftMs ?? options.retryAfterMs
  switch (fault.kind) {
    case 'ban':
      return block(options.shape ?? 'text', retryAfterMs, 429, wallMs)
    case 'block-page':
      return block(options.shape ?? 'page', retryAfterMs, 403, wallMs)
    case 'server-error': {
      const headers = retryAfterMs === undefined ? [] : ['retry-after', String(Math.ceil(retryAfterMs / 1000))]
      if ((options.shape ?? (status === 502 ? 'page' : 'json')) !== 'json')
        return cloudflarePage(status, `discord.com | ${status}`, headers)
      return { ...refused(status, 0, `${status}: ${STATUS_CODES[status] ?? 'Server Error'}`), headers }
    }
    case 'rate-limit':
    case 'sub-limit':
      return limited(fault, match, bucket, retryAfterMs ?? 1000, wallMs)
    case 'answer':
      return anything(options)
    case 'hang':
    case 'reset':
      return { ...noContent, status: 0 }
    default:
      return undefined
  }
}

function block(
  shape: NonNullable<FaultOptions['shape']>,
  retryAfterMs: Milliseconds | undefined,
  pageStatus: 403 | 429,
  wallMs: Milliseconds,
): Answer {
  const saysSo = shape === 'text' || shape === 'json'
  return blocked(shape, retryAfterMs ?? (saysSo ? 3_600_000 : undefined), pageStatus, wallMs)
}

function limited(
  { kind, options }: ActiveFault,
  match: Match | undefined,
  bucket: Bucket | undefined,
  waitMs: Milliseconds,
  wallMs: Milliseconds,
): Answer {
  const scope = kind === 'sub-limit' ? 'user' : (options.scope ?? 'user')
  const limit = bucket?.user.limit ?? 1
  // On a shared limit or a sub-limit the bucket's own numbers say nothing about the wait: the documentation's example
  // of a shared one has Remaining 9 and a Reset-After of its own.
  const verdict =
    scope === 'shared'
      ? { limit: Math.max(limit, 10), remaining: Math.max(limit, 10) - 1, resetAfterMs: 64_570 }
      : kind === 'sub-limit'
        ? { limit: Math.max(limit, 2), remaining: Math.max(limit, 2) - 1, resetAfterMs: 1000 }
        : { limit, remaining: 0, resetAfterMs: waitMs }
  const lines = bucketHeaders(
    { ...verdict, allowed: false, retryAfterMs: waitMs },
    bucket?.hash ?? bucketHash(match?.template ?? ''),
    wallMs,
  )
  return rateLimited(scope, waitMs, lines, match?.route?.caller !== 'client', options.code)
}

function anything({ status = 200, body, headers = {} }: FaultOptions): Answer {
  const lines = Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value] as const)
  const own = lines.find(([name]) => name === 'content-type')?.[1]
  const plain: Answer =
    body === undefined || status === 204 || status === 304
      ? { ...noContent, status }
      : typeof body === 'string'
        ? { ...noContent, status, type: 'text/plain; charset=utf-8', body }
        : json(status, body)
  return {
    ...plain,
    type: own ?? plain.type,
    // The length is the body's own, whatever a test would like to say about it.
    headers: lines.filter(([name]) => name !== 'content-type' && name !== 'content-length').flat(),
  }
}
