import { type IncomingHttpHeaders, STATUS_CODES } from 'node:http'
import type { Milliseconds } from '../time/clock.ts'
import {
  type Answer,
  banned,
  blockPage,
  bucketHeaders,
  cloudflarePage,
  invalidContentType,
  methodNotAllowed,
  missingScope,
  notFound,
  rateLimited,
  refused,
  tooLarge,
  unauthorized,
} from './answer.ts'
import type { Application } from './application.ts'
import { type Bucket, bucketHash, createBuckets } from './buckets.ts'
import type { Credentials, Grant } from './credentials.ts'
import { type ActiveFault, type Faults, NO_TROUBLE } from './faults.ts'
import type { InvalidRequests } from './invalid-requests.ts'
import type { LedgerOfCalls } from './ledger-of-calls.ts'
import { createLimiter } from './limits.ts'
import { formOf, type OAuth } from './oauth.ts'
import type { Resources } from './resources.ts'
import { type Match, matchRoute, type Route, withoutBase } from './routes.ts'
import type { Settings } from './settings.ts'

/** One request, wholly read. */
export interface Incoming {
  readonly method: string
  readonly path: string
  readonly query: URLSearchParams | null
  readonly headers: IncomingHttpHeaders
  /** Null: longer than the server reads. */
  readonly body: Buffer | null
  readonly address: string
}

/** What the server shall do about one request. */
export interface Ruling {
  readonly status: number
  /** Names and values in turn. */
  readonly headers: string[]
  readonly body: Buffer | string
  readonly delivery: 'whole' | 'truncate' | 'reset' | 'hang'
  /** How much later than usual it shall leave. */
  readonly delayMs: Milliseconds
}

/** Everything that has a say in an answer. */
export interface Panel {
  readonly settings: Settings
  readonly application: Application
  readonly credentials: Credentials
  readonly faults: Faults
  readonly invalidRequests: InvalidRequests
  readonly ledger: LedgerOfCalls
  readonly oauth: OAuth
  readonly resources: Resources
}

type Caller =
  | { kind: 'bot'; userId: string; grant: undefined }
  | { kind: 'bearer'; userId: string; grant: Grant }
  /** A token that was wrong, or is no longer right. */
  | { kind: 'stranger'; userId: string | null; grant: undefined }
  | { kind: 'nobody'; userId: string | null; grant: undefined }

/**
 * Decides what Discord answers to one request: address ban, faults, User-Agent, route, credentials, global limit,
 * bucket, scope, and then the resource. It runs from the first step to the last without a pause, so requests are
 * judged one after the other in the order in which they arrive.
 */
export function createReferee(panel: Panel): (incoming: Incoming) => Ruling {
  const { settings, application, credentials, faults, invalidRequests, ledger, oauth, resources } = panel
  const { clock } = settings
  const buckets = createBuckets(settings.userGuildsLimit)
  const limiter = createLimiter()

  function identify({ headers, body }: Incoming, match: Match | undefined): Caller {
    if (match?.route?.caller === 'client') {
      const form = formOf(headers['content-type'], body ?? Buffer.alloc(0))
      const secret = form?.get('refresh_token') ?? form?.get('code') ?? form?.get('token') ?? ''
      return { kind: 'nobody', userId: credentials.ownerOf(secret), grant: undefined }
    }
    const { authorization } = headers
    if (authorization === undefined) return { kind: 'nobody', userId: null, grant: undefined }
    if (authorization.startsWith('Bearer ')) {
      const token = authorization.slice(7)
      const grant = credentials.access(token, clock.now())
      if (grant) return { kind: 'bearer', userId: grant.userId, grant }
      return { kind: 'stranger', userId: credentials.ownerOf(token), grant: undefined }
    }
    if (authorization === `Bot ${application.botToken}`)
      return { kind: 'bot', userId: application.id, grant: undefined }
    return { kind: 'stranger', userId: null, grant: undefined }
  }

  function globalLimit(caller: Caller, address: string, nowMs: Milliseconds): Milliseconds {
    const [key, limit] =
      caller.kind === 'bot'
        ? ['global bot', settings.botGlobalPerSecond]
        : caller.kind === 'bearer'
          ? [`global user ${caller.userId}`, settings.userGlobalPerSecond]
          : [`global address ${address}`, settings.addressGlobalPerSecond]
    return limiter.take(key, { limit, windowMs: 1000, kind: 'fixed' }, nowMs).retryAfterMs
  }

  function answerInPlace(fault: ActiveFault, match: Match | undefined, wallMs: Milliseconds): Answer | undefined {
    const { scope = 'user', retryAfterMs, status = 502, shape } = fault.options
    switch (fault.kind) {
      case 'ban':
        return banned(shape ?? 'text', retryAfterMs ?? ((shape ?? 'text') === 'text' ? 3_600_000 : undefined))
      case 'block-page':
        return blockPage
      case 'server-error': {
        const headers = retryAfterMs === undefined ? [] : ['retry-after', String(Math.ceil(retryAfterMs / 1000))]
        if ((shape ?? (status === 502 ? 'html' : 'json')) === 'html')
          return cloudflarePage(status, `discord.com | ${status}`, headers)
        return { ...refused(status, 0, `${status}: ${STATUS_CODES[status] ?? 'Server Error'}`), headers }
      }
      case 'rate-limit': {
        const waitMs = retryAfterMs ?? 1000
        const route = match?.route
        const bucket = route?.bucket ? buckets[route.bucket] : undefined
        const { limit } = bucket?.user ?? { limit: 1 }
        // On a shared limit the bucket's own numbers say nothing about the wait, as in the documentation's example.
        const [remaining, resetAfterMs] = scope === 'shared' ? [Math.max(0, limit - 1), 1000] : [0, waitMs]
        const verdict = { allowed: false, limit, remaining, resetAfterMs, retryAfterMs: waitMs }
        const headers = bucketHeaders(verdict, bucket?.hash ?? bucketHash(match?.template ?? ''), wallMs)
        return rateLimited(scope, waitMs, headers, route?.caller !== 'client')
      }
      case 'hang':
      case 'reset':
        return { ...refused(0, 0, ''), type: null, body: '' }
      default:
        return undefined
    }
  }

  function answerByTheRules(
    incoming: Incoming,
    match: Match | undefined,
    caller: Caller,
    nowMs: Milliseconds,
    wallMs: Milliseconds,
    bucketLines: string[],
  ): Answer {
    const { headers, body, address, query } = incoming
    const route = match?.route
    if (route?.caller === 'browser') return oauth.authorize(query ?? new URLSearchParams(), clock.now())
    if (settings.requireUserAgent && !headers['user-agent']?.startsWith('DiscordBot (')) return blockPage
    if (body === null) return tooLarge
    if (caller.kind !== 'stranger') {
      const waitMs = globalLimit(caller, address, nowMs)
      if (waitMs > 0) return rateLimited('global', waitMs, [], route?.caller !== 'client')
    }
    if (!match) return notFound
    if (!route) return methodNotAllowed
    if (route.caller === 'client') {
      const form = formOf(headers['content-type'], body)
      return route.name === 'POST /oauth2/token'
        ? oauth.token(form, headers.authorization, clock.now())
        : oauth.revoke(form, headers.authorization)
    }
    if (!accepts(route, caller)) return unauthorized
    if (route.bucket) {
      const bucket = buckets[route.bucket]
      const verdict = limiter.take(bucketKey(route, bucket, caller, match), bucket[roleOf(caller)], nowMs)
      bucketLines.push(...bucketHeaders(verdict, bucket.hash, wallMs))
      if (!verdict.allowed) return rateLimited('user', verdict.retryAfterMs, bucketLines.splice(0), true)
    }
    if (caller.grant && route.scope !== null && !caller.grant.scopes.has(route.scope)) return missingScope
    const contentType = headers['content-type']
    if (body.length > 0 && !/^(application\/json|multipart\/form-data)\s*(;|$)/i.test(contentType ?? ''))
      return invalidContentType
    const handle = resources[route.name as keyof Resources]
    return handle({ params: match.params, query, contentType, body, grant: caller.grant })
  }

  let dateSecond = Number.NaN
  let dateText = ''
  const httpDate = (ms: Milliseconds) => {
    const second = Math.floor(ms / 1000)
    if (second !== dateSecond) {
      dateSecond = second
      dateText = new Date(ms).toUTCString()
    }
    return dateText
  }

  return (incoming) => {
    const { method, address } = incoming
    const nowMs = clock.monotonic()
    const path = withoutBase(incoming.path)
    const match = matchRoute(method, path)
    const template = match?.template ?? path.slice(0, 200)
    const caller = identify(incoming, match)
    // A browser comes from an address of its own, so a ban of the application's is nothing to it.
    const bannedMs = match?.route?.caller === 'browser' ? 0 : invalidRequests.bannedForMs(address, nowMs)
    const trouble = bannedMs > 0 ? NO_TROUBLE : faults.meet(method, template, path, caller.userId, nowMs)
    const wallMs = clock.now() + trouble.skewMs
    const bucketLines: string[] = []
    let answer =
      bannedMs > 0
        ? banned('text', bannedMs)
        : ((trouble.fault && answerInPlace(trouble.fault, match, wallMs)) ??
          answerByTheRules(incoming, match, caller, nowMs, wallMs, bucketLines))
    const kind = trouble.fault?.kind
    if (kind === 'malformed' && answer.status >= 200 && answer.status < 300) answer = malformed(answer)

    const { status, scope = null } = answer
    const invalid = status === 401 || status === 403 || (status === 429 && scope !== 'shared')
    const wouldBan = bannedMs > 0 || (invalid && invalidRequests.count(address, nowMs))
    const fault = kind ?? (trouble.slowMs > 0 ? 'slow' : trouble.skewMs !== 0 ? 'clock-skew' : null)
    ledger.write({ at: clock.now(), method, route: template, userId: caller.userId, status, wouldBan, scope, fault })

    const headers = ['date', httpDate(wallMs), 'server', 'cloudflare', ...answer.headers, ...bucketLines]
    if (answer.origin === 'discord') headers.push('via', '1.1 google')
    if (answer.type !== null) headers.push('content-type', answer.type)
    // RFC 9110, section 8.6: a 204 has no Content-Length.
    if (status !== 204) headers.push('content-length', String(Buffer.byteLength(answer.body)))
    const delivery = kind === 'truncate' || kind === 'hang' || kind === 'reset' ? kind : 'whole'
    return { status, headers, body: answer.body, delivery, delayMs: trouble.slowMs }
  }
}

function accepts(route: Route, caller: Caller): boolean {
  if (caller.kind !== 'bot' && caller.kind !== 'bearer') return false
  return route.caller === 'any' || route.caller === caller.kind
}

function roleOf(caller: Caller): 'user' | 'bot' {
  return caller.kind === 'bot' ? 'bot' : 'user'
}

/** Per bucket, principal (the user, whatever their token) and top-level resource. */
function bucketKey(route: Route, bucket: Bucket, caller: Caller, match: Match): string {
  return `${bucket.hash} ${caller.userId} ${route.major === null ? '' : match.params[route.major]}`
}

function malformed(answer: Answer): Answer {
  const whole = Buffer.from(answer.body)
  const body = whole.length < 2 ? '{' : whole.subarray(0, whole.length >> 1)
  return { ...answer, status: 200, type: 'application/json', body }
}
