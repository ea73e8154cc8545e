import type { Milliseconds } from '../time/clock.ts'
import type { Incoming } from './exchange.ts'
import { formOf } from './form.ts'
import type { Credentials, Grant } from './oauth/credentials.ts'
import type { Match, Route } from './routes.ts'
import type { Application } from './world/application.ts'

/** Whoever makes a call, by its Authorization header, or by what its form speaks of. */
export type Caller =
  | { kind: 'bot'; userId: string; grant: undefined }
  | { kind: 'bearer'; userId: string; grant: Grant }
  /** A token that was wrong, or is no longer right. */
  | { kind: 'stranger'; userId: string | null; grant: undefined }
  | { kind: 'nobody'; userId: string | null; grant: undefined }

const NOBODY: Caller = { kind: 'nobody', userId: null, grant: undefined }

export function identify(
  { headers, body }: Incoming,
  match: Match | undefined,
  application: Application,
  credentials: Credentials,
  nowMs: Milliseconds,
): Caller {
  if (match?.route?.caller === 'client') {
    const form = formOf(headers['content-type'], body ?? Buffer.alloc(0))
    const secret = form?.get('refresh_token') ?? form?.get('code') ?? form?.get('token') ?? ''
    return { kind: 'nobody', userId: credentials.ownerOf(secret), grant: undefined }
  }
  const { authorization } = headers
  if (authorization === undefined) return NOBODY
  if (authorization.startsWith('Bearer ')) {
    const token = authorization.slice(7)
    const grant = credentials.access(token, nowMs)
    if (grant) return { kind: 'bearer', userId: grant.userId, grant }
    return { kind: 'stranger', userId: credentials.ownerOf(token), grant: undefined }
  }
  if (authorization === `Bot ${application.botToken}`) return { kind: 'bot', userId: application.id, grant: undefined }
  return { kind: 'stranger', userId: null, grant: undefined }
}

/** Whether a route takes this kind of caller at all. */
export function accepts(route: Route, caller: Caller): boolean {
  if (route.caller === 'open') return true
  if (caller.kind !== 'bot' && caller.kind !== 'bearer') return false
  return route.caller === 'any' || route.caller === caller.kind
}
