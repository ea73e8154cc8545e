import type { IncomingMessage } from 'node:http'
import { type Simulator, startSimulator } from 'holdfast/simulator'
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { client, install } from './installed.ts'

const CALLBACK = 'https://app.example/callback'
const SCOPES = ['identify', 'email']

let simulator: Simulator
let end: () => void
beforeAll(install, 120_000)
beforeEach(async () => {
  const redirectUris = [
    CALLBACK,
    'https://app.example/auth/callback/discord',
    'https://app.example/api/auth/callback/discord',
  ]
  simulator = await startSimulator({ users: 3, redirectUris, scopes: SCOPES })
  end = simulator.intercept()
})
afterEach(async () => {
  end()
  await simulator.close()
})

/** What a browser does with the address of the consent page: it comes back with a code. */
async function consent(url: string | URL, nth = 1): Promise<URL> {
  simulator.nextLogin(simulator.users[nth]!.id)
  const answer = await fetch(url, { redirect: 'manual', headers: { accept: 'text/html' } })
  return new URL(answer.headers.get('location')!)
}

const statuses = () =>
  simulator.calls.filter(({ route }) => route.startsWith('/oauth2/token')).map(({ status }) => status)

async function me(accessToken: string): Promise<{ status: number; id?: string }> {
  const answer = await fetch('https://discord.com/api/users/@me', {
    headers: { authorization: `Bearer ${accessToken}` },
  })
  const { id } = (await answer.json()) as { id?: string }
  return { status: answer.status, ...(id === undefined ? {} : { id }) }
}

describe('signing in, refreshing and revoking', () => {
  it('with arctic', async () => {
    const { Discord, generateCodeVerifier, generateState } = await client('arctic')
    const discord = new Discord(simulator.clientId, simulator.clientSecret, CALLBACK)
    const [state, verifier] = [generateState(), generateCodeVerifier()]
    const back = await consent(discord.createAuthorizationURL(state, verifier, SCOPES))
    expect(back.searchParams.get('state')).toBe(state)
    const tokens = await discord.validateAuthorizationCode(back.searchParams.get('code'), verifier)
    expect(await me(tokens.accessToken())).toEqual({ status: 200, id: simulator.users[1]!.id })
    expect(tokens.scopes()).toEqual(SCOPES)
    const renewed = await discord.refreshAccessToken(tokens.refreshToken())
    expect((await me(renewed.accessToken())).status).toBe(200)
    await expect(discord.refreshAccessToken(tokens.refreshToken())).rejects.toMatchObject({ code: 'invalid_grant' })
    await discord.revokeToken(renewed.accessToken())
    expect((await me(renewed.accessToken())).status).toBe(401)
  })

  it('with oauth4webapi', async () => {
    const oauth = await client('oauth4webapi')
    const server = {
      issuer: 'https://discord.com',
      authorization_endpoint: 'https://discord.com/oauth2/authorize',
      token_endpoint: 'https://discord.com/api/oauth2/token',
      revocation_endpoint: 'https://discord.com/api/oauth2/token/revoke',
    }
    const app = { client_id: simulator.clientId }
    const auth = oauth.ClientSecretBasic(simulator.clientSecret)
    const verifier = oauth.generateRandomCodeVerifier()
    const url = new URL(server.authorization_endpoint)
    url.search = new URLSearchParams({
      client_id: simulator.clientId,
      redirect_uri: CALLBACK,
      response_type: 'code',
      scope: SCOPES.join(' '),
      state: 's',
      code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
      code_challenge_method: 'S256',
    }).toString()
    const back = await consent(url)
    const parameters = oauth.validateAuthResponse(server, app, back, 's')
    const exchanged = await oauth.authorizationCodeGrantRequest(server, app, auth, parameters, CALLBACK, verifier)
    const tokens = await oauth.processAuthorizationCodeResponse(server, app, exchanged)
    expect(await me(tokens.access_token)).toMatchObject({ status: 200 })
    const refreshed = await oauth.refreshTokenGrantRequest(server, app, auth, tokens.refresh_token)
    const renewed = await oauth.processRefreshTokenResponse(server, app, refreshed)
    await oauth.processRevocationResponse(await oauth.revocationRequest(server, app, auth, renewed.access_token))
    expect(await me(renewed.access_token)).toMatchObject({ status: 401 })
  })

  it('with openid-client', async () => {
    const openid = await client('openid-client')
    const server = {
      issuer: 'https://discord.com',
      authorization_endpoint: 'https://discord.com/oauth2/authorize',
      token_endpoint: 'https://discord.com/api/oauth2/token',
      revocation_endpoint: 'https://discord.com/api/oauth2/token/revoke',
    }
    const config = new openid.Configuration(server, simulator.clientId, simulator.clientSecret)
    const verifier = openid.randomPKCECodeVerifier()
    const url = openid.buildAuthorizationUrl(config, {
      redirect_uri: CALLBACK,
      scope: 'identify email',
      code_challenge: await openid.calculatePKCECodeChallenge(verifier),
      code_challenge_method: 'S256',
      state: 's',
    })
    const checks = { pkceCodeVerifier: verifier, expectedState: 's' }
    const tokens = await openid.authorizationCodeGrant(config, await consent(url), checks)
    expect((await me(tokens.access_token)).status).toBe(200)
    const renewed = await openid.refreshTokenGrant(config, tokens.refresh_token)
    await openid.tokenRevocation(config, renewed.access_token)
    expect((await me(renewed.access_token)).status).toBe(401)
  })

  it('with @auth/core', async () => {
    const [{ Auth }, { default: Discord }] = [await client('@auth/core'), await client('@auth/core/providers/discord')]
    const { clientId, clientSecret } = simulator
    const jar = new Map<string, string>()
    const ask = async (path: string, form?: Record<string, string>): Promise<Response> => {
      const headers = new Headers({ cookie: [...jar].map(([name, value]) => `${name}=${value}`).join('; ') })
      const init = form ? { method: 'POST', body: new URLSearchParams(form), headers } : { headers }
      const answer: Response = await Auth(new Request(new URL(path, 'https://app.example'), init), {
        providers: [Discord({ clientId, clientSecret })],
        secret: 'x'.repeat(32),
        trustHost: true,
        basePath: '/auth',
      })
      for (const line of answer.headers.getSetCookie()) {
        const [, name, value] = /^([^=]+)=([^;]*)/.exec(line)!
        jar.set(name!, value!)
      }
      return answer
    }
    const { csrfToken } = (await (await ask('/auth/csrf')).json()) as { csrfToken: string }
    const begun = await ask('/auth/signin/discord', { csrfToken, callbackUrl: 'https://app.example/' })
    const back = await consent(begun.headers.get('location')!)
    const done = await ask(back.pathname + back.search)
    expect(done.headers.get('location')).toBe('https://app.example/')
    const session = (await (await ask('/auth/session')).json()) as { user: { email: string } }
    expect(session.user.email).toBe(`${simulator.users[1]!.username}@example.com`)
    expect(statuses()).toEqual([200])
  })

  it('with better-auth', async () => {
    const { betterAuth } = await client('better-auth')
    const { clientId, clientSecret } = simulator
    const auth = betterAuth({
      baseURL: 'https://app.example',
      secret: 'a-secret-of-more-than-32-characters-0123456789',
      socialProviders: { discord: { clientId, clientSecret } },
      logger: { disabled: true },
      telemetry: { enabled: false },
    })
    const begun: Response = await auth.handler(
      new Request('https://app.example/api/auth/sign-in/social', {
        method: 'POST',
        headers: { 'content-type': 'application/json', origin: 'https://app.example' },
        body: JSON.stringify({ provider: 'discord', callbackURL: '/' }),
      }),
    )
    const { url } = (await begun.json()) as { url: string }
    const cookies = (answer: Response) => answer.headers.getSetCookie().map((line) => line.split(';', 1)[0]!)
    const back = await consent(url)
    const done: Response = await auth.handler(new Request(back, { headers: { cookie: cookies(begun).join('; ') } }))
    expect([done.status, done.headers.get('location')?.includes('error')]).toEqual([302, false])
    const session = await auth.api.getSession({ headers: new Headers({ cookie: cookies(done).join('; ') }) })
    expect(session.user.email).toBe(`${simulator.users[1]!.username}@example.com`)
    expect(statuses()).toEqual([200])
  })

  it('with passport-discord', async () => {
    const { default: passport } = await client('passport-discord')
    let seen: { id: string; accessToken: string; refreshToken: string } | undefined
    const strategy = new passport.Strategy(
      { clientID: simulator.clientId, clientSecret: simulator.clientSecret, callbackURL: CALLBACK, scope: SCOPES },
      (
        accessToken: string,
        refreshToken: string,
        profile: { id: string },
        done: (error: null, user: object) => void,
      ) => {
        seen = { id: profile.id, accessToken, refreshToken }
        done(null, profile)
      },
    )
    const run = (query: Record<string, string>) =>
      new Promise<string>((resolve, reject) => {
        const one = Object.create(strategy)
        Object.assign(one, {
          redirect: resolve,
          success: () => resolve('signed in'),
          fail: (reason: unknown) => reject(new Error(JSON.stringify(reason))),
          error: reject,
        })
        one.authenticate({ query, session: {}, headers: {}, url: '/' } as unknown as IncomingMessage, {})
      })
    const back = await consent(await run({}))
    expect(await run(Object.fromEntries(back.searchParams))).toBe('signed in')
    expect(seen!.id).toBe(simulator.users[1]!.id)
    expect((await me(seen!.accessToken)).status).toBe(200)
  })

  it('with discord-oauth2', async () => {
    const { default: OAuth } = await client('discord-oauth2')
    const { clientId, clientSecret } = simulator
    const oauth = new OAuth({ clientId, clientSecret, redirectUri: CALLBACK })
    const back = await consent(oauth.generateAuthUrl({ scope: SCOPES, state: 's' }))
    const form = { scope: SCOPES, grantType: 'authorization_code', code: back.searchParams.get('code') }
    const tokens = await oauth.tokenRequest(form)
    expect(await oauth.getUser(tokens.access_token)).toMatchObject({ id: simulator.users[1]!.id })
    const renewed = await oauth.tokenRequest({
      scope: SCOPES,
      grantType: 'refresh_token',
      refreshToken: tokens.refresh_token,
    })
    const credentials = Buffer.from(`${clientId}:${clientSecret}`).toString('base64')
    await oauth.revokeToken(renewed.access_token, credentials)
    expect((await me(renewed.access_token)).status).toBe(401)
    await expect(oauth.tokenRequest({ ...form, grantType: 'authorization_code' })).rejects.toMatchObject({ code: 400 })
  })
})
