import type { GuardRequest } from '../guard/guard-request.ts'
import type { Identify } from '../guard/identification.ts'
import type { InstanceParts } from './parts.ts'

/** The verified user of a request. Whoever has no session, or one that cannot be verified now, counts for their address. */
export function identifyBy({ knownUser, session }: Pick<InstanceParts, 'knownUser' | 'session'>): Identify {
  // A resolver of the app's own may find a session anywhere; ours are in these two.
  const mayKnow = (request: GuardRequest) =>
    session !== undefined || request.header('cookie') !== null || request.header('authorization') !== null
  return (request, context) => {
    if (!mayKnow(request)) return undefined
    const asked = { headers: new HeadersOf(request), method: request.method, url: urlOf(request) }
    return knownUser(asked, context).then((userId) => (userId === undefined ? undefined : { userId }))
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

  constructor(request: GuardRequest) {
    super(request.allHeaders?.())
    this.#request = request
    if (request.allHeaders) return
    for (const name of READ_BY_RESOLVERS) {
      const value = request.header(name)
      if (value !== null) this.set(name, value)
    }
  }

  override get(name: string): string | null {
    const lower = name.toLowerCase()
    return super.get(lower) ?? this.#request.header(lower)
  }

  override has(name: string): boolean {
    return this.get(name) !== null
  }
}
