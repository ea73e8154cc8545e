import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Holdfast } from 'holdfast'
import { type Simulator, startSimulator } from 'holdfast/simulator'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { Browser, type Site } from '../../../sign-in/browser.ts'

// Sessions of other packages, as docs/guides/sessions.md has them: each block is a file, and is used as it stands.

const HERE = fileURLToPath(new URL('./', import.meta.url))
const FOLDER = `${HERE}.recipes/`
const ORIGIN = 'https://app.example'
const guide = readFileSync(new URL('../../../../docs/guides/sessions.md', import.meta.url), 'utf8')
const recipes = [...guide.matchAll(/```js\n(\/\/ (\S+\.js)\n[\s\S]*?)```/g)].map(([, code, file]) => ({
  file: file!,
  code: code!,
}))

interface Recipe {
  readonly holdfast: Holdfast
  signIn(request: Request): Promise<Response>
}

/** How each begins a sign-in: the address of Discord's consent page. */
const BEGIN: Record<string, (browser: Browser) => Promise<string>> = {
  'auth-js': async (browser) => {
    const { csrfToken } = (await (await browser.send('/auth/csrf')).json()) as { csrfToken: string }
    const begun = await browser.send('/auth/signin/discord', {
      method: 'POST',
      body: new URLSearchParams({ csrfToken, callbackUrl: `${ORIGIN}/` }),
    })
    return begun.headers.get('location')!
  },
  'better-auth': async (browser) => {
    const begun = await browser.send('/api/auth/sign-in/social', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ provider: 'discord', callbackURL: '/' }),
    })
    return ((await begun.json()) as { url: string }).url
  },
  'iron-session': async (browser) => (await browser.send('/auth/discord')).headers.get('location')!,
}

beforeAll(() => {
  execFileSync('npm', ['install', '--no-audit', '--no-fund', '--ignore-scripts'], { cwd: HERE, stdio: 'ignore' })
}, 300_000)
beforeEach(() => {
  rmSync(FOLDER, { recursive: true, force: true })
  mkdirSync(FOLDER)
})
afterAll(() => rmSync(FOLDER, { recursive: true, force: true }))

/** What a test opened ends with it. */
const ends: Array<() => unknown> = []
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end()
  vi.unstubAllEnvs()
})

/** An app with this recipe, and a browser that signed in. */
async function signedIn(name: string) {
  const discord = await startSimulator({
    users: 3,
    redirectUris: [`${ORIGIN}/auth/callback/discord`, `${ORIGIN}/api/auth/callback/discord`, `${ORIGIN}/auth/callback`],
  })
  ends.push(
    () => discord.close(),
    // The recipes name discord.com, as an app does.
    discord.intercept(),
  )
  vi.stubEnv('DISCORD_API_BASE_URL', discord.url)
  vi.stubEnv('DISCORD_CLIENT_ID', discord.clientId)
  vi.stubEnv('DISCORD_CLIENT_SECRET', discord.clientSecret)
  for (const secret of ['AUTH_SECRET', 'BETTER_AUTH_SECRET', 'SESSION_PASSWORD'])
    vi.stubEnv(secret, 'a-secret-of-more-than-32-characters-0123456789')
  for (const { file, code } of recipes)
    writeFileSync(`${FOLDER}${file}`, code.replace("'app.sqlite'", JSON.stringify(':memory:')))
  vi.resetModules()
  const recipe = (await import(/* @vite-ignore */ `${FOLDER}${name}.js`)) as Recipe
  ends.push(() => recipe.holdfast.close())
  const guilds = recipe.holdfast.withAuth((_request, { user, guilds }) =>
    Response.json({ id: user.id, guilds: guilds.size }),
  )
  const site: Site = async (request) =>
    new URL(request.url).pathname === '/guilds' ? guilds(request) : recipe.signIn(request)
  const browser = new Browser(site, ORIGIN)
  const signIn = async () => {
    discord.nextLogin(discord.users[1]!.id)
    const back = await fetch(await BEGIN[name]!(browser), { redirect: 'manual' })
    const done = await browser.send(back.headers.get('location')!)
    expect([done.status, new URL(done.headers.get('location')!, ORIGIN).pathname]).toEqual([302, '/'])
  }
  await signIn()
  return { discord, holdfast: recipe.holdfast, browser, site, signIn, user: discord.users[1]! }
}

const refreshes = ({ calls }: Simulator) =>
  calls.flatMap(({ body, status }) =>
    (body as { grant_type?: string } | undefined)?.grant_type === 'refresh_token' ? [status] : [],
  )

/** What is held is forgotten, so that the next request asks Discord; then the token of the last sign-in is refused. */
async function tokenDies({ discord, holdfast, user }: Awaited<ReturnType<typeof signedIn>>) {
  await holdfast.cache.invalidateUser(user.id)
  discord.fault('answer', {
    route: 'GET /users/@me/guilds',
    status: 401,
    body: { message: '401: Unauthorized', code: 0 },
    times: 1,
  })
}

test('the guide has a file for each, and one for what they share', () => {
  expect(recipes.map(({ file }) => file)).toEqual([
    'discord-tokens.js',
    'auth-js.js',
    'better-auth.js',
    'iron-session.js',
  ])
})

test('iron-session: an answer of Discord signs in only the browser that asked for it', {
  timeout: 60_000,
}, async () => {
  const { browser, discord, site } = await signedIn('iron-session')
  const back = async (from: Browser) => {
    discord.nextLogin(discord.users[2]!.id)
    return (await fetch(await BEGIN['iron-session']!(from), { redirect: 'manual' })).headers.get('location')!
  }
  const stranger = new Browser(site, ORIGIN)
  const theirs = await back(stranger)
  await back(browser)
  for (const url of [theirs, theirs.replace(/state=[^&]*/, ''), theirs.replace(/state=[^&]*/, 'state=')])
    expect((await browser.send(url)).status).toBe(400)
  expect((await (await browser.send('/guilds')).json()).id).toBe(discord.users[1]!.id)
})

describe.each(Object.keys(BEGIN))('%s', { timeout: 60_000 }, (name) => {
  test('asks for guilds, and shows them to who signed in, and to nobody else', async () => {
    const { browser, user, discord } = await signedIn(name)
    const answer = await browser.send('/guilds')
    expect([answer.status, await answer.json()]).toEqual([200, { id: user.id, guilds: user.guilds.length }])
    expect((await browser.send('/guilds', { cookies: false })).status).toBe(401)
    for (const cookie of ['', 'x=y', [...browser.cookies.keys()].map((key) => `${key}=forged`).join('; ')])
      expect((await browser.send('/guilds', { cookies: false, headers: { cookie } })).status).toBe(401)
    expect(refreshes(discord)).toEqual([])
  })

  test('refreshes a token that died once for all who find it dead, and keeps what came of it', async () => {
    const app = await signedIn(name)
    await tokenDies(app)
    const statuses = await Promise.all(
      Array.from({ length: 10 }, async () => (await app.browser.send('/guilds')).status),
    )
    expect(new Set(statuses)).toEqual(new Set([200]))
    expect(refreshes(app.discord)).toEqual([200])
    // The second time it is the new refresh token that is spent: the old one would be refused.
    await tokenDies(app)
    expect((await app.browser.send('/guilds')).status).toBe(200)
    expect(refreshes(app.discord)).toEqual([200, 200])
  })

  test('signs nobody out while Discord is in trouble', async () => {
    const app = await signedIn(name)
    await tokenDies(app)
    const calm = app.discord.fault('server-error', { route: 'POST /oauth2/token' })
    expect((await app.browser.send('/guilds')).status).toBe(503)
    calm()
    expect((await app.browser.send('/guilds')).status).toBe(200)
    expect(refreshes(app.discord).at(-1)).toBe(200)
  })

  test('sends who took the authorization back to the sign-in, which works', async () => {
    const app = await signedIn(name)
    await app.holdfast.cache.invalidateUser(app.user.id)
    app.discord.revoke(app.user.id)
    expect((await app.browser.send('/guilds')).status).toBe(401)
    expect(refreshes(app.discord)).toEqual([400])
    await app.signIn()
    expect((await app.browser.send('/guilds')).status).toBe(200)
  })
})
