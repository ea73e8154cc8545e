import type { Answer, Call } from './call.ts'

/** The routes that say whose the token is. */
const TELLS_USER = new Set(['GET /users/@me', 'GET /oauth2/@me'])

/** The id of the user whose token a call was made with, where its answer says so. Pure. */
export function userToldBy(call: Call, answer: Answer): string | undefined {
  if (call.tokenType !== 'Bearer' || !TELLS_USER.has(call.route.name)) return undefined
  try {
    const told = JSON.parse(answer.body) as { id?: unknown; user?: { id?: unknown } } | null
    const id = call.route.name === 'GET /users/@me' ? told?.id : told?.user?.id
    return typeof id === 'string' && /^\d{1,20}$/.test(id) ? id : undefined
  } catch {
    // Whoever reads the answer finds out.
    return undefined
  }
}
