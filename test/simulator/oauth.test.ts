import { createHash, randomBytes } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { createVirtualClock, type Simulator, startSimulator } from '../../src/simulator/simulator.ts'
import { bot, visit } from './visitor.ts'

const REDIRECT = 'https://app.example/callback?from=discord'

async function authorize(simulator: Simulator, extra: Record<string, string> = {}): Promise<URL> {
  const query = new URLSearchParams({
    client_id: simulator.clientId,
    redirect_uri: REDIRECT,
    response_type: 'code',
    scope: 'identify guilds',
    state: 'abc&d',
    ...extra,
  })
  const answer = await visit(simulator, `/oauth2/authorize?${query}`, { headers: { 'user-agent': 'Mozilla/5.0' } })
  expect(answer.status).toBe(302)
  return new URL(answer.headers.get('location')!)
}

function post(simulator: Simulator, path: string, form: Record<string, string>, as?: string) {
  const credentials = as === undefined ? { client_id: simulator.clientId, client_secret: simulator.clientSecret } : {}
  const body = new URLSearchParams({ ...credentials, ...form })
  return visit(simulator, path, { method: 'POST', body, ...(as === undefined ? {} : { as }) })
}
const token = (simulator: Simulator, form: Record<string, string>, as?: string) =>
  post(simulator, '/oauth2/token', form, as)
const exchange = (simulator: Simulator, code: string, extra: Record<string, string> = {}) =>
  token(simulator, { grant_type: 'authorization_code', code, redirect_uri: REDIRECT, ...extra })
const refresh = (simulator: Simulator, refresh_token: string) =>
  token(simulator, { grant_type: 'refresh_token', refresh_token })
async function logIn(simulator: Simulator, extra: Record<string, string> = {}) {
  const callback = await authorize(simulator, extra)
  return (await exchange(simulator, callback.searchParams.get('code')!)).json
}
const invalidGrant = (field: string) => ({
  status: 400,
  json: { error: 'invalid_grant', error_description: `Invalid "${field}" in request` },
})

describe('the authorization page', () => {
  it('sends the browser back at once, with code and state, and keeps the address’s own query', async () => {
    await using simulator = await startSimulator()
    const callback = await authorize(simulator, { prompt: 'none' })
    expect(callback.origin + callback.pathname).toBe('https://app.example/callback')
    expect(callback.searchParams.get('from')).toBe('discord')
    expect(callback.searchParams.get('state')).toBe('abc&d')
    expect(callback.searchParams.get('code')).toMatch(/^\w{30}$/)
  })

  it('signs in the first user, or the one named by id or username', async () => {
    await using simulator = await startSimulator()
    const [first, second, third] = simulator.users
    const idOf = async (extra: Record<string, string>) => {
      const { access_token } = await logIn(simulator, extra)
      return (await visit(simulator, '/users/@me', { as: `Bearer ${access_token}` })).json.id
    }
    expect(await idOf({})).toBe(first!.id)
    expect(await idOf({ user: second!.id })).toBe(second!.id)
    expect(await idOf({ login_hint: third!.username })).toBe(third!.id)
  })

  it.each([
    [{ response_type: 'token' }, 'unsupported_response_type'],
    [{ scope: '' }, 'invalid_scope'],
    [{ code_challenge: 'x', code_challenge_method: 'plain' }, 'invalid_request'],
    [{ deny: 'true' }, 'access_denied'],
  ])('sends back with an error for %j', async (extra, error) => {
    await using simulator = await startSimulator()
    const { searchParams } = await authorize(simulator, extra as Record<string, string>)
    expect([searchParams.get('error'), searchParams.get('state'), searchParams.get('code')]).toEqual([
      error,
      'abc&d',
      null,
    ])
  })

  it.each([
    { client_id: '1' },
    { redirect_uri: 'javascript:alert(1)' },
    { redirect_uri: 'nonsense' },
    { user: 'nobody' },
  ])('sends nobody anywhere for %j', async (extra) => {
    await using simulator = await startSimulator()
    const query = new URLSearchParams({
      client_id: simulator.clientId,
      redirect_uri: REDIRECT,
      response_type: 'code',
      scope: 'identify',
      ...(extra as Record<string, string>),
    })
    const { status, headers } = await visit(simulator, `/oauth2/authorize?${query}`)
    expect([status, headers.get('location')]).toEqual([400, null])
  })
})

describe('the token endpoint', () => {
  it('exchanges a code once for tokens that work, with no rate-limit headers', async () => {
    await using simulator = await startSimulator()
    const code = (await authorize(simulator)).searchParams.get('code')!
    const { status, json, headers } = await exchange(simulator, code)
    expect(status).toBe(200)
    expect(json).toEqual({
      token_type: 'Bearer',
      access_token: expect.stringMatching(/^\w{30}$/),
      refresh_token: expect.stringMatching(/^\w{30}$/),
      expires_in: 604_800,
      scope: 'identify guilds',
    })
    expect([...headers.keys()].filter((name) => name.startsWith('x-ratelimit'))).toEqual([])
    const identity = await visit(simulator, '/oauth2/@me', { as: `Bearer ${json.access_token}` })
    expect(identity.json.scopes).toEqual(['identify', 'guilds'])
    expect(await exchange(simulator, code)).toMatchObject(invalidGrant('code'))
    expect(simulator.calls.at(-1)).toMatchObject({ route: '/oauth2/token', userId: simulator.users[0]!.id })
  })

  it('refuses another redirect_uri, and a code older than a minute', async () => {
    const clock = createVirtualClock()
    await using simulator = await startSimulator({ clock })
    const code = async () => (await authorize(simulator)).searchParams.get('code')!
    const redirect_uri = 'https://app.example/other'
    expect(await exchange(simulator, await code(), { redirect_uri })).toMatchObject(invalidGrant('redirect_uri'))
    const old = await code()
    await clock.advance(60_000)
    expect(await exchange(simulator, old)).toMatchObject(invalidGrant('code'))
  })

  it('holds PKCE to its challenge', async () => {
    await using simulator = await startSimulator()
    const verifier = randomBytes(32).toString('base64url')
    const code_challenge = createHash('sha256').update(verifier).digest('base64url')
    const code = async () =>
      (await authorize(simulator, { code_challenge, code_challenge_method: 'S256' })).searchParams.get('code')!
    const refused = invalidGrant('code_verifier')
    expect((await exchange(simulator, await code(), { code_verifier: verifier })).status).toBe(200)
    expect(await exchange(simulator, await code(), { code_verifier: `${verifier}x` })).toMatchObject(refused)
    expect(await exchange(simulator, await code())).toMatchObject(refused)
    const plain = (await authorize(simulator)).searchParams.get('code')!
    expect(await exchange(simulator, plain, { code_verifier: verifier })).toMatchObject(refused)
  })

  it('lets a refresh token be used once, by whoever comes first', async () => {
    await using simulator = await startSimulator()
    const first = await logIn(simulator)
    const answers = await Promise.all([1, 2, 3].map(() => refresh(simulator, first.refresh_token)))
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 400, 400])
    expect(answers.find(({ status }) => status === 400)).toMatchObject(invalidGrant('refresh_token'))
    const second = answers.find(({ status }) => status === 200)!.json
    expect(second.refresh_token).not.toBe(first.refresh_token)
    expect(second.scope).toBe('identify guilds')
    expect((await visit(simulator, '/users/@me', { as: `Bearer ${second.access_token}` })).status).toBe(200)
    expect((await refresh(simulator, second.refresh_token)).status).toBe(200)
  })

  it('refreshes for whoever’s access token has expired, for seven days more', async () => {
    const clock = createVirtualClock()
    await using simulator = await startSimulator({ clock, tokenLifetimeMs: 1000 })
    const first = await logIn(simulator)
    expect(first.expires_in).toBe(1)
    await clock.advance(1000)
    const me = (access: string) => visit(simulator, '/users/@me', { as: `Bearer ${access}` })
    expect((await me(first.access_token)).status).toBe(401)
    const second = (await refresh(simulator, first.refresh_token)).json
    expect((await me(second.access_token)).status).toBe(200)
  })

  it('takes client credentials from Basic, form-encoded, or from the body', async () => {
    await using simulator = await startSimulator()
    const code = async () => (await authorize(simulator)).searchParams.get('code')!
    const basic = (id: string, secret: string) => `Basic ${Buffer.from(`${id}:${secret}`).toString('base64')}`
    const form = async () => ({ grant_type: 'authorization_code', code: await code(), redirect_uri: REDIRECT })
    const right = basic(encodeURIComponent(simulator.clientId), encodeURIComponent(simulator.clientSecret))
    expect((await token(simulator, await form(), right)).status).toBe(200)
    for (const wrong of [basic(simulator.clientId, 'wrong'), 'Basic', 'Bearer x', basic('%', '%')]) {
      const { status, json } = await token(simulator, await form(), wrong)
      expect([status, json]).toEqual([401, { error: 'invalid_client' }])
    }
    expect(await token(simulator, { client_secret: 'wrong' })).toMatchObject({
      status: 401,
      json: { error: 'invalid_client' },
    })
  })

  it('takes forms only, and grants it knows', async () => {
    await using simulator = await startSimulator()
    const json = await visit(simulator, '/oauth2/token', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{}',
    })
    expect([json.status, json.json.code]).toEqual([400, 50035])
    expect(await token(simulator, { grant_type: 'password' })).toMatchObject({
      status: 400,
      json: { error: 'unsupported_grant_type' },
    })
    expect(await token(simulator, {})).toMatchObject({ status: 400, json: { error: 'invalid_request' } })
  })

  it('is limited per address, in JSON without X-RateLimit headers', async () => {
    await using simulator = await startSimulator({ addressGlobalPerSecond: 1, clock: createVirtualClock() })
    await refresh(simulator, 'nonsense')
    const { status, json, headers } = await refresh(simulator, 'nonsense')
    expect([status, json.retry_after, headers.get('retry-after')]).toEqual([429, 1, '1'])
    expect([...headers.keys()].filter((name) => name.startsWith('x-ratelimit'))).toEqual([])
    expect((await visit(simulator, '/users/@me', { as: bot(simulator) })).status).toBe(200)
  })
})

describe('the end of an authorization', () => {
  it.each(['access_token', 'refresh_token'] as const)('revoking the %s ends all tokens of that user', async (kind) => {
    await using simulator = await startSimulator()
    const one = await logIn(simulator)
    const two = await logIn(simulator)
    const other = await logIn(simulator, { user: simulator.users[1]!.id })
    const foreign = simulator.issueToken(simulator.users[0]!.id, { applicationId: '77' })
    const { status, json } = await post(simulator, '/oauth2/token/revoke', { token: one[kind] })
    expect([status, json]).toEqual([200, {}])
    const me = async (access: string) => (await visit(simulator, '/users/@me', { as: `Bearer ${access}` })).status
    expect([await me(one.access_token), await me(two.access_token), await me(other.access_token)]).toEqual([
      401, 401, 200,
    ])
    expect(await me(simulator.users[0]!.accessToken)).toBe(401)
    expect(await me(foreign)).toBe(200)
    expect(await refresh(simulator, two.refresh_token)).toMatchObject(invalidGrant('refresh_token'))
  })

  it('takes an unknown token for a revoked one, but wants the client’s credentials', async () => {
    await using simulator = await startSimulator()
    expect((await post(simulator, '/oauth2/token/revoke', { token: 'unknown' })).status).toBe(200)
    expect((await post(simulator, '/oauth2/token/revoke', {})).status).toBe(400)
    const { accessToken } = simulator.users[0]!
    const refused = await post(simulator, '/oauth2/token/revoke', { token: accessToken }, 'Basic bm86bm8=')
    expect(refused.status).toBe(401)
    expect((await visit(simulator, '/users/@me', { as: `Bearer ${accessToken}` })).status).toBe(200)
  })

  it('by simulator.revoke ends codes and refresh tokens too, and a new login works', async () => {
    await using simulator = await startSimulator()
    const before = await logIn(simulator)
    const code = (await authorize(simulator)).searchParams.get('code')!
    simulator.revoke(simulator.users[0]!.id)
    expect(await refresh(simulator, before.refresh_token)).toMatchObject(invalidGrant('refresh_token'))
    expect(await exchange(simulator, code)).toMatchObject(invalidGrant('code'))
    const { access_token } = await logIn(simulator)
    expect((await visit(simulator, '/users/@me', { as: `Bearer ${access_token}` })).status).toBe(200)
  })
})
