import * as oauth from 'oauth4webapi'
import { DiscordUnavailableError } from '../errors/errors.ts'
import type { Milliseconds } from '../time/clock.ts'
import type { LoginSettings } from './login-settings.ts'

/** What Discord's token endpoint gave. */
export interface Granted {
  readonly accessToken: string
  readonly refreshToken: string | undefined
  readonly scopes: readonly string[]
  readonly lifetimeMs: Milliseconds
}

/**
 * Why it gave nothing: `invalid_grant`, the code or refresh token is spent, revoked or expired, which nobody can tell
 * apart; `invalid_client`, our own id or secret is wrong; `refused`, everything else, named by OAuth2's error code.
 */
export type Refused = { readonly refused: 'invalid_grant' | 'invalid_client' | 'refused'; readonly error: string }

/** Posts a form to one of Discord's OAuth2 endpoints: the wire, which knows its limits and holds. */
export type PostForm = (
  path: '/oauth2/token' | '/oauth2/token/revoke',
  form: URLSearchParams,
  signal: AbortSignal,
) => Promise<{
  readonly status: number
  readonly headers: Readonly<Record<string, string | undefined>>
  readonly body: string
}>

/** A week, as Discord's tokens have it; said where it does not say. */
const LIFETIME_SECONDS = 604_800

export const newState = (): string => oauth.generateRandomState()
export const newVerifier = (): string => oauth.generateRandomCodeVerifier()
export const challengeOf = (verifier: string): Promise<string> => oauth.calculatePKCECodeChallenge(verifier)

/**
 * OAuth2 with Discord: the authorization code grant with PKCE, refresh and revocation (RFC 6749, 7636, 7009), by
 * oauth4webapi over our own wire. Its errors carry answers, and answers carry tokens: none of them leaves this file.
 */
export class DiscordOAuth {
  readonly #server: oauth.AuthorizationServer
  readonly #client: oauth.Client
  readonly #authentication: oauth.ClientAuth
  readonly #post: PostForm

  constructor(settings: LoginSettings, post: PostForm) {
    this.#server = {
      issuer: 'https://discord.com',
      authorization_endpoint: settings.authorizeUrl,
      token_endpoint: `${settings.apiUrl}/oauth2/token`,
      revocation_endpoint: `${settings.apiUrl}/oauth2/token/revoke`,
    }
    this.#client = { client_id: settings.clientId }
    // In the body: Basic would need both form-encoded first (RFC 6749, section 2.3.1), which few servers agree on.
    this.#authentication = oauth.ClientSecretPost(settings.clientSecret)
    this.#post = post
  }

  /**
   * What came back to the redirect URI, checked: the code, or OAuth2's error code. Undefined where it cannot be an answer
   * to this attempt: another state, several of one parameter, neither code nor error.
   */
  readAnswer(
    parameters: URLSearchParams,
    state: string,
  ): { parameters: URLSearchParams } | { error: string } | undefined {
    try {
      return { parameters: oauth.validateAuthResponse(this.#server, this.#client, parameters, state) }
    } catch (error) {
      return error instanceof oauth.AuthorizationResponseError ? { error: error.error } : undefined
    }
  }

  /** Spends a code that `readAnswer` has checked. Rejects as the wire does. */
  exchange(
    checked: URLSearchParams,
    redirectUri: string,
    verifier: string,
    signal: AbortSignal,
  ): Promise<Granted | Refused> {
    return this.#asked(async () => {
      const options = this.#through('/oauth2/token', signal)
      const response = await oauth.authorizationCodeGrantRequest(
        this.#server,
        this.#client,
        this.#authentication,
        checked,
        redirectUri,
        verifier,
        options,
      )
      return granted(await oauth.processAuthorizationCodeResponse(this.#server, this.#client, response))
    })
  }

  /** Spends a refresh token. Rejects as the wire does. */
  refresh(refreshToken: string, signal: AbortSignal): Promise<Granted | Refused> {
    return this.#asked(async () => {
      const options = this.#through('/oauth2/token', signal)
      const response = await oauth.refreshTokenGrantRequest(
        this.#server,
        this.#client,
        this.#authentication,
        refreshToken,
        options,
      )
      return granted(await oauth.processRefreshTokenResponse(this.#server, this.#client, response))
    })
  }

  /** Ends the whole authorization that a token belongs to, for all devices. Rejects as the wire does. */
  revoke(token: string, signal: AbortSignal): Promise<Refused | undefined> {
    return this.#asked(async () => {
      const options = this.#through('/oauth2/token/revoke', signal)
      const response = await oauth.revocationRequest(this.#server, this.#client, this.#authentication, token, options)
      return oauth.processRevocationResponse(response)
    })
  }

  /** Our wire, as oauth4webapi calls it. */
  #through(path: Parameters<PostForm>[0], signal: AbortSignal) {
    return {
      // The wire goes where the instance was told to, for example to a simulator on this machine.
      [oauth.allowInsecureRequests]: true,
      [oauth.customFetch]: async (_url: string, init: { readonly body: URLSearchParams }) => {
        const { status, headers, body } = await this.#post(path, init.body, signal)
        const type = headers['content-type'] ?? 'application/json'
        return new Response(body, { status, headers: { 'content-type': type } })
      },
    }
  }

  async #asked<T>(ask: () => Promise<T>): Promise<T | Refused> {
    try {
      return await ask()
    } catch (error) {
      if (error instanceof oauth.ResponseBodyError) return refusedAs(error.error)
      if (error instanceof oauth.OperationProcessingError || error instanceof oauth.UnsupportedOperationError)
        // Without its cause, which is the answer.
        throw new DiscordUnavailableError(
          'DISCORD_WRONG_SHAPE',
          'POST /oauth2/token: the answer is not one of OAuth2; look for a proxy on the way to Discord',
          { route: 'POST /oauth2/token', attempts: 1 },
        )
      throw error
    }
  }
}

function refusedAs(error: string): Refused {
  const known = error === 'invalid_grant' || error === 'invalid_client' ? error : 'refused'
  return { refused: known, error: /^[a-z_]{1,40}$/.test(error) ? error : 'unknown' }
}

function granted(answer: oauth.TokenEndpointResponse): Granted {
  return {
    accessToken: answer.access_token,
    refreshToken: answer.refresh_token,
    scopes: (answer.scope ?? '').split(' ').filter(Boolean),
    lifetimeMs: (answer.expires_in ?? LIFETIME_SECONDS) * 1000,
  }
}
