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
  json: {
    error: 'invalid_grant',
    error_description: `Invalid "${field}" in request${field === 'refresh_token' ? '' : '.'}`,
  },
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
    [{ response_type: 'id_token' }, 'unsupported_response_type'],
    [{ scope: 'identify guild' }, 'invalid_scope'],
    [{ scope: 'identify relationships.read' }, 'invalid_scope'],
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
    { redirect_uri: 'data://text/html,x' },
    { redirect_uri: 'https://app.example/#fragment' },
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

  it('refuses another redirect_uri, and a code older than 100 s', async () => {
    const clock = createVirtualClock()
    await using simulator = await startSimulator({ clock })
    const code = async () => (await authorize(simulator)).searchParams.get('code')!
    const redirect_uri = 'https://app.example/other'
    expect(await exchange(simulator, await code(), { redirect_uri })).toMatchObject(invalidGrant('redirect_uri'))
    const old = await code()
    await clock.advance(100_000)
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
    expect((await token(simulator, {})).json).toEqual({
      error: 'unsupported_grant_type',
      error_description: 'Grant type None is not supported',
    })
    expect(await token(simulator, { grant_type: 'authorization_code' })).toMatchObject({
      status: 400,
      json: { error: 'invalid_request', error_description: 'Missing "code" in request.' },
    })
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

describe('what an application registered', () => {
  const redirectUris = [REDIRECT, 'myapp://signed-in']
  const ask = (simulator: Simulator, extra: Record<string, string>) =>
    visit(
      simulator,
      `/oauth2/authorize?${new URLSearchParams({ client_id: simulator.clientId, response_type: 'code', scope: 'identify', ...extra })}`,
    )

  it('are the only redirect URIs, compared character by character; an app’s own scheme is one', async () => {
    await using simulator = await startSimulator({ redirectUris })
    for (const redirect_uri of redirectUris) {
      const { headers } = await ask(simulator, { redirect_uri })
      expect(headers.get('location')).toContain(redirect_uri)
    }
    for (const redirect_uri of [`${REDIRECT}/`, REDIRECT.toUpperCase(), 'https://evil.example/', 'http://localhost/']) {
      const { status, headers, text } = await ask(simulator, { redirect_uri })
      expect([status, headers.get('location')]).toEqual([400, null])
      expect(text).toContain('Invalid OAuth2 redirect_uri')
    }
    expect((await ask(simulator, {})).status).toBe(400)
  })

  it('may be left out by who registered one', async () => {
    await using simulator = await startSimulator({ redirectUris: [REDIRECT] })
    const code = async () => new URL((await ask(simulator, {})).headers.get('location')!).searchParams.get('code')!
    expect((await exchange(simulator, await code())).status).toBe(200)
    expect((await token(simulator, { grant_type: 'authorization_code', code: await code() })).status).toBe(200)
  })

  it('are the only scopes, in the users’ first tokens too', async () => {
    await using simulator = await startSimulator({ scopes: ['identify'] })
    const refused = await ask(simulator, { redirect_uri: REDIRECT, scope: 'identify guilds' })
    expect(new URL(refused.headers.get('location')!).searchParams.get('error')).toBe('invalid_scope')
    expect(
      (await visit(simulator, '/users/@me/guilds', { as: `Bearer ${simulator.users[0]!.accessToken}` })).status,
    ).toBe(403)
    await using approved = await startSimulator({ scopes: ['identify', 'relationships.read'] })
    const given = await ask(approved, { redirect_uri: REDIRECT, scope: 'identify relationships.read' })
    expect(new URL(given.headers.get('location')!).searchParams.get('code')).toBeTruthy()
  })

  it.each([
    [{ redirectUris: 'https://app.example' }, /redirectUris must be a list/],
    [{ redirectUris: ['/callback'] }, /redirectUris must be absolute URLs without a fragment, not "\/callback"/],
    [{ redirectUris: ['javascript://x'] }, /redirectUris/],
    [{ scopes: ['guild'] }, /scopes must be scopes of Discord, not "guild"/],
  ])('is checked: %j', async (options, message) => {
    await expect(startSimulator(options as never)).rejects.toThrow(message)
  })
})

describe('other grants', () => {
  it('implicit: the token comes in the fragment, without a refresh token', async () => {
    await using simulator = await startSimulator()
    const callback = await authorize(simulator, { response_type: 'token' })
    expect([...callback.searchParams.keys()]).toEqual(['from'])
    const given = Object.fromEntries(new URLSearchParams(callback.hash.slice(1)))
    expect(given).toEqual({
      token_type: 'Bearer',
      access_token: expect.stringMatching(/^\w{30}$/),
      expires_in: '604800',
      scope: 'identify guilds',
      state: 'abc&d',
    })
    expect((await visit(simulator, '/users/@me', { as: `Bearer ${given.access_token}` })).status).toBe(200)
    const denied = await authorize(simulator, { response_type: 'token', deny: 'true' })
    expect(new URLSearchParams(denied.hash.slice(1)).get('error')).toBe('access_denied')
  })

  it('client credentials: the application owner’s own token', async () => {
    await using simulator = await startSimulator()
    const { status, json } = await token(simulator, { grant_type: 'client_credentials', scope: 'identify' })
    expect(status).toBe(200)
    expect(Object.keys(json).sort()).toEqual(['access_token', 'expires_in', 'scope', 'token_type'])
    const me = await visit(simulator, '/users/@me', { as: `Bearer ${json.access_token}` })
    expect(me.json.id).toBe(simulator.users[0]!.id)
    for (const scope of ['', 'nonsense'])
      expect(await token(simulator, { grant_type: 'client_credentials', scope })).toMatchObject({
        status: 400,
        json: { error: 'invalid_scope' },
      })
  })

  it('bot: adds the bot to a guild of who may manage it, with and without an app to go back to', async () => {
    await using simulator = await startSimulator()
    const user = simulator.users[0]!
    const guild = user.guilds.find(({ owner }) => owner)!
    const foreign = user.guilds.find(({ permissions }) => !(BigInt(permissions) & 0x28n))!
    simulator.leaveGuild(simulator.botId, guild.id)
    const has = async () => (await visit(simulator, `/guilds/${guild.id}`, { as: bot(simulator) })).status
    expect(await has()).toBe(404)
    const callback = await authorize(simulator, { scope: 'identify bot', guild_id: guild.id, permissions: '8' })
    expect([callback.searchParams.get('guild_id'), callback.searchParams.get('permissions')]).toEqual([guild.id, '8'])
    expect(await has()).toBe(200)
    simulator.leaveGuild(simulator.botId, guild.id)
    const query = `client_id=${simulator.clientId}&scope=bot&guild_id=`
    expect((await visit(simulator, `/oauth2/authorize?${query}${guild.id}`)).text).toContain('Authorized')
    expect(await has()).toBe(200)
    expect((await visit(simulator, `/oauth2/authorize?${query}${foreign.id}`)).status).toBe(400)
  })
})

describe('the consent page', () => {
  const query = (simulator: Simulator, extra: Record<string, string> = {}) =>
    `/oauth2/authorize?${new URLSearchParams({ client_id: simulator.clientId, redirect_uri: REDIRECT, response_type: 'code', scope: 'identify', state: 's', ...extra })}`
  const headers = { accept: 'text/html,application/xhtml+xml;q=0.9,*/*;q=0.8', 'user-agent': 'Mozilla/5.0' }
  const press = (simulator: Simulator, form: Record<string, string>) =>
    visit(simulator, query(simulator), { method: 'POST', headers, body: new URLSearchParams(form) })
  const idAt = async (simulator: Simulator, location: string) => {
    const { json } = await exchange(simulator, new URL(location).searchParams.get('code')!)
    return (await visit(simulator, '/users/@me', { as: `Bearer ${json.access_token}` })).json.id
  }

  it('shows the people and what is asked for, as a form that needs no script', async () => {
    await using simulator = await startSimulator()
    const third = simulator.users[2]!
    const {
      status,
      text,
      headers: sent,
    } = await visit(simulator, query(simulator, { login_hint: third.username }), { headers })
    expect([status, sent.get('content-type'), sent.get('location')]).toEqual([200, 'text/html; charset=utf-8', null])
    for (const { id, username } of simulator.users) {
      expect(text).toContain(`value="${id}"`)
      expect(text).toContain(username)
    }
    expect(text).toContain(`value="${third.id}" checked`)
    expect(text).not.toContain('<script')
  })

  it('signs in whom the browser chose, or goes back with access_denied', async () => {
    await using simulator = await startSimulator()
    const fourth = simulator.users[3]!
    const chosen = await press(simulator, { user: fourth.id, decision: 'allow' })
    expect(chosen.status).toBe(302)
    expect(await idAt(simulator, chosen.headers.get('location')!)).toBe(fourth.id)
    const named = await press(simulator, { user: fourth.id, name: simulator.users[5]!.username, decision: 'allow' })
    expect(await idAt(simulator, named.headers.get('location')!)).toBe(simulator.users[5]!.id)
    const denied = new URL((await press(simulator, { user: fourth.id, decision: 'deny' })).headers.get('location')!)
    expect([denied.searchParams.get('error'), denied.searchParams.get('state')]).toEqual(['access_denied', 's'])
  })

  it('asks again for somebody who is not there, and writes nothing of it as markup', async () => {
    await using simulator = await startSimulator()
    const { status, text } = await press(simulator, { name: '<b>nobody</b>', decision: 'allow' })
    expect([status, text.includes('<b>nobody')]).toEqual([400, false])
    expect(text).toContain('&lt;b&gt;nobody')
  })

  it('is passed over after nextLogin, once', async () => {
    await using simulator = await startSimulator()
    const [, second, third] = simulator.users
    simulator.nextLogin(second!.id)
    simulator.nextLogin(third!.username)
    expect((await visit(simulator, '/oauth2/authorize?client_id=1', { headers })).status).toBe(400)
    const first = await visit(simulator, query(simulator), { headers })
    expect(await idAt(simulator, first.headers.get('location')!)).toBe(third!.id)
    expect((await visit(simulator, query(simulator), { headers })).status).toBe(200)
    simulator.nextLogin('deny')
    const denied = await visit(simulator, query(simulator))
    expect(denied.headers.get('location')).toContain('error=access_denied')
    expect(await idAt(simulator, (await visit(simulator, query(simulator))).headers.get('location')!)).toBe(
      simulator.users[0]!.id,
    )
    expect(() => simulator.nextLogin('nobody')).toThrow(/no user "nobody"/)
  })
})
