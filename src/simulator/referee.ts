import type { IncomingHttpHeaders } from 'node:http'
import { gzipSync } from 'node:zlib'
import type { Milliseconds } from '../time/clock.ts'
import { isAgentAllowed, isDocumentedAgent } from './agents.ts'
import {
  type Answer,
  bucketHeaders,
  invalidContentType,
  methodNotAllowed,
  missingScope,
  notFound,
  rateLimited,
  tooLarge,
  unauthorized,
} from './answer.ts'
import { blocked, wrongAgent } from './blocks.ts'
import { type Bucket, bucketHash, createBuckets } from './buckets.ts'
import { accepts, type Caller, identify } from './callers.ts'
import { corsLines } from './cross-origin.ts'
import type { Incoming, Ruling } from './exchange.ts'
import { answerInPlace } from './fault-answers.ts'
import type { FaultKind } from './fault-options.ts'
import { type Faults, NO_TROUBLE, type Trouble } from './faults.ts'
import { formOf } from './form.ts'
import type { InvalidRequests } from './invalid-requests.ts'
import type { LedgerOfCalls } from './ledger-of-calls.ts'
import { createLimiter } from './limits.ts'
import { maskedHeaders, maskedPath, maskedQuery, shownBody } from './masks.ts'
import type { Credentials } from './oauth/credentials.ts'
import type { OAuth } from './oauth/oauth.ts'
import type { Resources } from './resources/resources.ts'
import { invalidVersion } from './resources/users.ts'
import { type Match, matchRoute, type Route, withoutBase } from './routes.ts'
import type { Settings } from './settings.ts'
import type { Standings } from './standings.ts'
import type { Application } from './world/application.ts'

/** Everything that has a say in an answer. */
export interface Panel {
  readonly settings: Settings
  readonly application: Application
  readonly credentials: Credentials
  readonly faults: Faults
  readonly invalidRequests: InvalidRequests
  readonly ledger: LedgerOfCalls
  readonly standings: Standings
  readonly oauth: OAuth
  readonly resources: Resources
}

/**
 * Decides what Discord answers to one request: address ban, faults, User-Agent, route, credentials, global limit,
 * bucket, scope, and then the resource. It runs from the first step to the last without a pause, so requests are
 * judged one after the other in the order in which they arrive.
 */
export function createReferee(panel: Panel): (incoming: Incoming) => Ruling {
  const { settings, application, credentials, faults, invalidRequests, ledger, standings, oauth, resources } = panel
  const { clock } = settings
  const buckets = createBuckets(settings.userGuildsLimit)
  const bucketOf = (match: Match | undefined) => (match?.route?.bucket ? buckets[match.route.bucket] : undefined)
  const limiter = createLimiter()

  function globalLimit(caller: Caller, address: string, nowMs: Milliseconds): Milliseconds {
    const [key, limit] =
      caller.kind === 'bot'
        ? ['global bot', settings.botGlobalPerSecond]
        : caller.kind === 'bearer'
          ? [`global user ${caller.userId}`, settings.userGlobalPerSecond]
          : [`global address ${address}`, settings.addressGlobalPerSecond]
    return limiter.take(key, { limit, windowMs: 1000, kind: 'fixed' }, nowMs).retryAfterMs
  }

  const isWelcome = ({ 'user-agent': agent, authorization }: IncomingHttpHeaders) =>
    settings.requireUserAgent ? isDocumentedAgent(agent) : isAgentAllowed(agent, authorization)

  function answerByTheRules(
    incoming: Incoming,
    match: Match | undefined,
    caller: Caller,
    nowMs: Milliseconds,
    wallMs: Milliseconds,
    bucketLines: string[],
  ): Answer {
    const { headers, body, address, query, path } = incoming
    const route = match?.route
    const params = query === '' ? null : new URLSearchParams(query)
    if (route?.caller === 'browser') {
      const choice =
        route.method === 'POST' ? (formOf(headers['content-type'], body ?? NO_BODY) ?? undefined) : undefined
      const wantsPage = /\btext\/html\b/i.test(headers.accept ?? '')
      return oauth.authorize({ query: params ?? new URLSearchParams(), choice, wantsPage }, clock.now())
    }
    if (route?.caller !== 'client' && !isWelcome(headers)) return wrongAgent
    if (body === null) return tooLarge
    // Interactions are exempt from the global limit (Topics, "Rate Limits").
    const isExempt = path.startsWith('/interactions/') || match?.params.webhook === application.id
    if (caller.kind !== 'stranger' && !isExempt) {
      const waitMs = globalLimit(caller, address, nowMs)
      if (waitMs > 0) return rateLimited('global', waitMs, [], route?.caller !== 'client')
    }
    if (!isKnownVersion(path)) return invalidVersion
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
      const key = bucketKey(route, bucket, caller, match)
      const verdict = limiter.take(key, bucket[roleOf(caller)], nowMs)
      standings.note(key, route.template, caller.userId, verdict, nowMs)
      bucketLines.push(...bucketHeaders(verdict, bucket.hash, wallMs))
      if (!verdict.allowed) return rateLimited('user', verdict.retryAfterMs, bucketLines.splice(0), true)
    }
    if (caller.grant && route.scope !== null && !caller.grant.scopes.has(route.scope)) return missingScope
    const contentType = headers['content-type']
    if (body.length > 0 && !/^(application\/json|multipart\/form-data)\s*(;|$)/i.test(contentType ?? ''))
      return invalidContentType
    const handle = resources[route.name as keyof Resources]
    const reason = reasonOf(headers['x-audit-log-reason'])
    return handle({ params: match.params, query: params, contentType, body, grant: caller.grant, reason })
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
    const { method, address, headers: asked, body } = incoming
    const nowMs = clock.monotonic()
    const path = withoutBase(incoming.path)
    const match = matchRoute(method, path)
    const template = match?.template ?? path.slice(0, 200)
    const caller = identify(incoming, match, application, credentials, clock.now())
    const { userId } = caller
    // A browser comes from an address of its own, so a ban of the application's is nothing to it.
    const bannedMs = match?.route?.caller === 'browser' ? 0 : invalidRequests.bannedForMs(address, nowMs)
    const trouble = bannedMs > 0 ? NO_TROUBLE : faults.meet({ method, template, path, userId, address }, nowMs)
    const wallMs = clock.now() + trouble.skewMs
    const bucketLines: string[] = []
    let answer =
      bannedMs > 0
        ? blocked('text', bannedMs, 429, wallMs)
        : ((trouble.fault && answerInPlace(trouble.fault, match, bucketOf(match), wallMs)) ??
          answerByTheRules(incoming, match, caller, nowMs, wallMs, bucketLines))
    const kind = trouble.fault?.kind
    if (answer.status >= 200 && answer.status < 300) {
      if (kind === 'malformed') answer = malformed(answer)
      if (kind === 'short-page') answer = shortPage(answer)
    }

    const { status, scope = null } = answer
    const invalid = !answer.uncounted && (status === 401 || status === 403 || (status === 429 && scope !== 'shared'))
    const wouldBan = bannedMs > 0 || (invalid && invalidRequests.count(address, nowMs))
    const shown = body === null ? undefined : shownBody(asked['content-type'], body)
    ledger.write(
      {
        at: clock.now(),
        method,
        route: match ? template : maskedPath(template),
        path: maskedPath(path),
        query: maskedQuery(incoming.query),
        headers: maskedHeaders(asked),
        ...(shown === undefined ? {} : { body: shown }),
        userId,
        status,
        wouldBan,
        scope,
        fault: kind ?? besideOf(trouble),
      },
      body?.length ?? 0,
    )

    if (settings.compression) answer = compressed(answer, asked['accept-encoding'])
    const limits = limitLines([...answer.headers, ...bucketLines], trouble)
    const headers = ['date', httpDate(wallMs), 'server', 'cloudflare', ...limits, ...corsLines(asked)]
    if (answer.origin === 'discord') headers.push('via', '1.1 google')
    if (answer.type !== null) headers.push('content-type', answer.type)
    // RFC 9110, section 8.6: a 204 has no Content-Length.
    if (status !== 204) headers.push('content-length', String(Buffer.byteLength(answer.body)))
    const delivery = kind === 'truncate' || kind === 'hang' || kind === 'reset' ? kind : 'whole'
    return { status, headers, body: answer.body, delivery, paceMs: trouble.paceMs, delayMs: trouble.slowMs }
  }
}

/** What the faults that go together with others leave of the X-RateLimit headers. */
function limitLines(lines: string[], { withoutHeaders, bucketChange }: Trouble): string[] {
  if (!withoutHeaders && bucketChange === 0) return lines
  const left: string[] = []
  for (let i = 0; i < lines.length; i += 2) {
    const [name, value] = [lines[i]!, lines[i + 1]!]
    if (withoutHeaders && name.startsWith('x-ratelimit-')) continue
    left.push(name, name === 'x-ratelimit-bucket' && bucketChange > 0 ? bucketHash(`${value} ${bucketChange}`) : value)
  }
  return left
}

function besideOf(trouble: Trouble): FaultKind | null {
  if (trouble.slowMs > 0) return 'slow'
  if (trouble.skewMs !== 0) return 'clock-skew'
  if (trouble.paceMs > 0) return 'trickle'
  if (trouble.withoutHeaders) return 'no-headers'
  return trouble.bucketChange > 0 ? 'bucket-change' : null
}

/** `/api/v1` and the like; without a version it is the default one. */
function isKnownVersion(path: string): boolean {
  const version = /^\/api\/v(\d+)\//.exec(path)?.[1]
  return version === undefined || (Number(version) >= 6 && Number(version) <= 10)
}

/** X-Audit-Log-Reason is percent-encoded, 512 characters at most. */
function reasonOf(header: string | string[] | undefined): string | null {
  if (typeof header !== 'string') return null
  try {
    return decodeURIComponent(header).slice(0, 512)
  } catch {
    return header.slice(0, 512)
  }
}

const NO_BODY = Buffer.alloc(0)

function roleOf(caller: Caller): 'user' | 'bot' {
  return caller.kind === 'bot' ? 'bot' : 'user'
}

/** Per bucket, principal (the user, whatever their token) and top-level resource. */
function bucketKey(route: Route, bucket: Bucket, caller: Caller, match: Match): string {
  const { token = '' } = match.params
  return `${bucket.hash} ${caller.userId} ${route.major === null ? '' : match.params[route.major]} ${token}`
}

function malformed(answer: Answer): Answer {
  const whole = Buffer.from(answer.body)
  const body = whole.length < 2 ? '{' : whole.subarray(0, whole.length >> 1)
  return { ...answer, status: 200, type: 'application/json', body }
}

/** One entry less than there should be, as pages of 200 have been seen with 199. */
function shortPage(answer: Answer): Answer {
  if (answer.type === null) return answer
  const value: unknown = JSON.parse(answer.body.toString())
  return Array.isArray(value) && value.length > 1 ? { ...answer, body: JSON.stringify(value.slice(0, -1)) } : answer
}

function compressed(answer: Answer, accepted: string | string[] | undefined): Answer {
  if (Buffer.byteLength(answer.body) < 1024 || !/\bgzip\b/.test(String(accepted))) return answer
  const headers = [...answer.headers, 'content-encoding', 'gzip', 'vary', 'Accept-Encoding']
  return { ...answer, body: gzipSync(answer.body, { level: 1 }), headers }
}
