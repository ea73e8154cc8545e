import type { Milliseconds } from '../../time/clock.ts'
import { type Answer, cloudflarePage, redirect } from '../answer.ts'
import type { Application } from '../world/application.ts'
import type { People, SimulatedUser } from '../world/people.ts'
import { EVERYONE } from '../world/permissions.ts'
import { consentPage, installedPage } from './consent-page.ts'
import type { Credentials } from './credentials.ts'
import { trustedRedirect, withParameters } from './redirect-uris.ts'
import { scopesOf } from './scopes.ts'

/** What the browser brings to the authorization page. */
export interface Visit {
  readonly query: URLSearchParams
  /** What was chosen on the page; undefined: it is shown for the first time. */
  readonly choice: URLSearchParams | undefined
  /** Whether the browser would rather see a page than be sent on at once: its Accept has text/html. */
  readonly wantsPage: boolean
}

/** Whoever comes next, whatever the page would have asked. */
export type NextLogin = { readonly userId: string } | 'deny' | undefined

interface Request {
  readonly redirectUri: string | undefined
  readonly scopes: ReadonlySet<string>
  readonly responseType: 'code' | 'token' | 'none'
  readonly challenge: string | undefined
}

/** `/oauth2/authorize`: RFC 6749 sections 4.1 and 4.2 with PKCE S256 (RFC 7636), and the installation of a bot. */
export function createAuthorize(
  application: Application,
  people: People,
  credentials: Credentials,
  rules: { redirectUris: readonly string[]; scopes: readonly string[]; codeLifetimeMs: Milliseconds },
  grantToken: (userId: string, scopes: ReadonlySet<string>, nowMs: Milliseconds) => Record<string, string>,
) {
  const found = (name: string): SimulatedUser | undefined =>
    people.user(name) ?? people.users.find(({ username }) => username === name)

  function sendBack(query: URLSearchParams, request: Request, parameters: Record<string, string>): Answer {
    const state = query.get('state')
    const all = state === null ? parameters : { ...parameters, state }
    const where = request.responseType === 'token' ? 'fragment' : 'query'
    return redirect(withParameters(request.redirectUri!, all, where))
  }

  /** The request, or what is wrong with it. RFC 6749, 4.1.2.1: nobody is sent to an address that cannot be trusted. */
  function read(query: URLSearchParams): Request | Answer {
    if (query.get('client_id') !== application.id) return badRequest('Unknown Application')
    const scopes = scopesOf(query.get('scope'))
    const asked = query.get('redirect_uri')
    const bare = asked === null && query.get('response_type') === null && scopes.has('bot')
    const redirectUri = bare ? undefined : trustedRedirect(asked, rules.redirectUris)
    if (!bare && redirectUri === undefined) return badRequest('Invalid OAuth2 redirect_uri')
    const type = query.get('response_type')
    const responseType = bare ? 'none' : type === 'token' ? 'token' : 'code'
    const challenge = query.get('code_challenge') ?? undefined
    const request: Request = { redirectUri, scopes, responseType, challenge }
    const error = (name: string, description: string) =>
      bare ? badRequest(description) : sendBack(query, request, { error: name, error_description: description })
    if (!bare && type !== 'code' && type !== 'token')
      return error('unsupported_response_type', 'The authorization server does not support this response type')
    if (scopes.size === 0 || [...scopes].some((scope) => !rules.scopes.includes(scope)))
      return error('invalid_scope', 'The requested scope is invalid, unknown, or malformed.')
    if (challenge !== undefined && query.get('code_challenge_method') !== 'S256')
      return error('invalid_request', 'code_challenge_method must be S256')
    return request
  }

  /** With the scope `bot`: puts the bot into a guild that this user may manage. */
  function install(query: URLSearchParams, choice: URLSearchParams | undefined, user: SimulatedUser) {
    const wanted = choice?.get('guild_id') || query.get('guild_id')
    const managed = user.guilds.filter(({ permissions }) => BigInt(permissions) & 0x28n)
    const guild = wanted ? managed.find(({ id }) => id === wanted) : managed[0]
    if (guild)
      people.join(people.bot.id, { id: guild.id, name: guild.name, permissions: granted(query.get('permissions')) })
    return guild
  }

  function allow(visit: Visit, request: Request, user: SimulatedUser, nowMs: Milliseconds): Answer {
    const { query, choice } = visit
    const { scopes, redirectUri, challenge } = request
    const guild = scopes.has('bot') ? install(query, choice, user) : undefined
    if (scopes.has('bot') && !guild) return badRequest('Choose a server that this person may manage')
    const extra: Record<string, string> = guild
      ? { guild_id: guild.id, permissions: query.get('permissions') ?? '0' }
      : {}
    if (redirectUri === undefined) return installedPage(application.name, guild?.name ?? '')
    if (request.responseType === 'token')
      return sendBack(query, request, { ...grantToken(user.id, scopes, nowMs), ...extra })
    const expiresAt = nowMs + rules.codeLifetimeMs
    const asked = query.get('redirect_uri')
    const code = credentials.issueCode({
      userId: user.id,
      redirectUri: asked,
      scopes,
      challenge,
      expiresAt,
      guildId: guild?.id,
    })
    return sendBack(query, request, { code, ...extra })
  }

  return (visit: Visit, next: NextLogin, nowMs: Milliseconds): Answer => {
    const { query, choice, wantsPage } = visit
    const request = read(query)
    if ('status' in request) return request
    const deny = () =>
      request.redirectUri === undefined
        ? badRequest('The installation was cancelled')
        : sendBack(query, request, {
            error: 'access_denied',
            error_description: 'The resource owner or authorization server denied the request',
          })
    if (next === 'deny') return deny()
    if (next) return allow(visit, request, people.user(next.userId)!, nowMs)
    if (choice ? choice.get('decision') !== 'allow' : query.get('deny') === 'true') return deny()
    const named = choice?.get('name')?.trim() || choice?.get('user') || query.get('user') || query.get('login_hint')
    const user = named ? found(named) : people.users[0]
    if (wantsPage && !choice && query.get('user') === null)
      return consentPage(application.name, people.users, user?.id, request.scopes)
    if (!user) {
      if (choice) return consentPage(application.name, people.users, undefined, request.scopes, named ?? '')
      return badRequest('No such user: give a simulated user’s id or username')
    }
    return allow(visit, request, user, nowMs)
  }
}

/** What @everyone may, and what the bot asked for besides. */
function granted(permissions: string | null): string {
  return String(BigInt(EVERYONE) | (/^\d{1,20}$/.test(permissions ?? '') ? BigInt(permissions!) : 0n))
}

function badRequest(title: string): Answer {
  return { ...cloudflarePage(400, title), origin: 'discord' }
}
