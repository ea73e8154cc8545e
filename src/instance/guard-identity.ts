import { AuthError } from '../auth/auth-error.ts'
import type { GuardRequest } from '../guard/guard-request.ts'
import type { Identify } from '../guard/identification.ts'
import { fingerprint } from '../secrets/key-ring.ts'
import type { Holdfast } from './holdfast.ts'
import type { InstanceParts } from './parts.ts'

/** The scheme of a bearer token, and the token (RFC 6750, section 2.1). */
const BEARER = /^bearer +(\S+)$/i

/**
 * The verified user of a request. Whoever has no session, or one that cannot be verified now, counts for their address.
 * A bearer token that this process does not know yet is not looked up: it may be another service's, which is nothing to
 * show to Discord, and strangers could have any number of them looked up. `requireAuth` behind the guard does that, and
 * from then on its user is known here.
 */
export function identifyBy(holdfast: Holdfast, parts: InstanceParts | undefined): Identify {
  const isHeld = (token: string) => holdfast.cache.peek(`bearer:${fingerprint(token)}`) !== undefined
  return async (request) => {
    const headers = new HeadersOf(request)
    if (parts?.session === undefined) {
      const token = BEARER.exec(headers.get('authorization') ?? '')?.[1]
      if (token !== undefined && !isHeld(token)) headers.hide('authorization')
    }
    if (headers.get('authorization') === null && headers.get('cookie') === null && parts?.session === undefined)
      return undefined
    try {
      const { user } = await holdfast.requireAuth(
        { headers, method: request.method, url: urlOf(request) },
        { guilds: false },
      )
      return { userId: user.id }
    } catch (error) {
      // That somebody is not signed in is no trouble to tell of.
      if (error instanceof AuthError && error.code === 'UNAUTHENTICATED') return undefined
      throw error
    }
  }
}

/** Whole, as a resolver's `new URL(request.url)` needs it. */
function urlOf(request: GuardRequest): string {
  const { path } = request
  return path.startsWith('/') ? `http://${request.header('host') ?? 'localhost'}${path}` : path
}

/** What resolvers iterate over, where a request gives its headers by name only. */
const READ_BY_RESOLVERS = [
  'authorization',
  'cookie',
  'host',
  'origin',
  'referer',
  'user-agent',
  'x-forwarded-host',
  'x-forwarded-proto',
]

/** A request's headers as session resolvers read them: by name, or by copying or iterating them. */
class HeadersOf extends Headers {
  readonly #request: GuardRequest
  readonly #hidden = new Set<string>()

  constructor(request: GuardRequest) {
    super(request.allHeaders?.())
    this.#request = request
    if (request.allHeaders) return
    for (const name of READ_BY_RESOLVERS) {
      const value = request.header(name)
      if (value !== null) this.set(name, value)
    }
  }

  hide(name: string): void {
    this.#hidden.add(name)
    this.delete(name)
  }

  override get(name: string): string | null {
    const lower = name.toLowerCase()
    return this.#hidden.has(lower) ? null : (super.get(lower) ?? this.#request.header(lower))
  }

  override has(name: string): boolean {
    return this.get(name) !== null
  }
}
