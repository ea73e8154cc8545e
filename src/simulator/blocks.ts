import type { Milliseconds } from '../time/clock.ts'
import { type Answer, cloudflarePage, json, refused, wholeSeconds } from './answer.ts'
import type { BlockShape } from './fault-options.ts'

/**
 * A block by Cloudflare, or by Discord because of Cloudflare, in one of the shapes in which it has been seen. None has
 * X-RateLimit headers. `pageStatus` is that of the HTML page: 429 for a ban, 403 where bots are kept out. Without
 * `retryAfterMs` there is no Retry-After.
 */
export function blocked(
  shape: BlockShape,
  retryAfterMs: Milliseconds | undefined,
  pageStatus: 403 | 429,
  wallMs: Milliseconds,
): Answer {
  const headers = retryAfterMs === undefined ? [] : ['retry-after', wholeSeconds(retryAfterMs)]
  switch (shape) {
    case 'discord':
      return { ...wrongAgent, headers }
    case 'text':
      return { status: 429, type: 'text/plain; charset=UTF-8', body: 'error code: 1015', headers, origin: 'cloudflare' }
    case 'json':
      return { ...problem(retryAfterMs ?? 3_600_000, wallMs), headers }
    case 'notice': {
      const message =
        'You are being blocked from accessing our API temporarily due to exceeding our rate limits frequently.'
      return { ...json(429, { message, code: 0 }), headers, origin: 'cloudflare' }
    }
    default: {
      const title = pageStatus === 429 ? 'Access denied | Error 1015' : 'Attention Required! | Cloudflare'
      return cloudflarePage(pageStatus, title, headers)
    }
  }
}

/**
 * What Discord answers for a request that Cloudflare blocked because of its address or User-Agent
 * (discord-api-docs#6473). It never got as far as being counted.
 */
export const wrongAgent: Answer = {
  ...refused(403, 40333, 'internal network error'),
  origin: 'cloudflare',
  uncounted: true,
}

/** Cloudflare's RFC 9457 form of error 1015 (changelog of 2026-03-11). */
function problem(retryAfterMs: Milliseconds, wallMs: Milliseconds): Answer {
  const ray = '9d99a39dc992d168'
  return {
    ...json(429, {
      type: 'https://developers.cloudflare.com/support/troubleshooting/http-status-codes/cloudflare-1xxx-errors/error-1015/',
      title: 'Error 1015: You are being rate limited',
      status: 429,
      detail: 'The owner of this website (discord.com) has banned you temporarily from accessing this website.',
      instance: ray,
      error_code: 1015,
      error_name: 'rate_limited',
      error_category: 'rate_limit',
      ray_id: ray,
      timestamp: new Date(wallMs).toISOString(),
      zone: 'discord.com',
      cloudflare_error: true,
      retryable: true,
      retry_after: Math.ceil(retryAfterMs / 1000),
      owner_action_required: false,
    }),
    type: 'application/json; charset=utf-8',
    origin: 'cloudflare',
  }
}
