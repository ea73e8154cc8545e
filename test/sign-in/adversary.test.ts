import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { safeReturnTo } from '../../src/sign-in/return-to.ts'
import type { Browser } from './browser.ts'
import { ORIGIN, openHouse } from './house.ts'
import { PUBLIC_KEY, webhook } from './signed-webhook.ts'

const cookieOf = (browser: Browser) => [...browser.cookies].map((pair) => pair.join('=')).join('; ')

describe('where somebody goes afterwards', () => {
  const safe = (given: unknown) => safeReturnTo(given, ORIGIN, '/auth')

  test.each([
    '//evil.example',
    '///evil.example',
    '/\\evil.example',
    '\\\\evil.example',
    '/\t/evil.example',
    '/\n/evil.example',
    '/.//evil.example',
    '/..//evil.example',
    '/%2e//evil.example/..//',
    'https://evil.example/',
    'https:evil.example',
    'guilds',
    '?page=2',
    'http://dash.example/',
    'https://dash.example:444/',
    'https://dash.example@evil.example/',
    'https://user:pass@dash.example/',
    'javascript:alert(1)',
    'data:text/html,x',
    ' /x',
    '/x\u2028',
    '\u0000/x',
    '',
    `/${'x'.repeat(2000)}`,
    '/auth/discord',
    '/auth/logout?x',
    '/auth',
    '/x/../auth/discord',
    42,
    null,
    undefined,
    ['/x'],
  ])('%j is no place on this site', (given) => {
    expect(safe(given)).toBe('/')
  })

  test.each([
    ['/guilds', '/guilds'],
    ['/guilds?sort=name#top', '/guilds?sort=name#top'],
    [`${ORIGIN}/guilds`, '/guilds'],
    ['/ünïcode/路', '/%C3%BCn%C3%AFcode/%E8%B7%AF'],
    ['/x/%2F%2Fevil', '/x/%2F%2Fevil'],
    ['/authority', '/authority'],
  ])('%j is: %j', (given, place) => {
    expect(safe(given)).toBe(place)
  })

  test('whatever is given, a browser stays on this site', () => {
    const pieces = fc.constantFrom(
      '/',
      '\\',
      '.',
      '..',
      '//',
      '%2f',
      '%5c',
      '@',
      ':',
      'evil.example',
      'https:',
      '\t',
      '\n',
      '?',
      '#',
      ' ',
      'é',
      '\u202e',
      '％',
      '。',
      '①',
      '[',
      ']',
    )
    const address = fc
      .tuple(
        fc.constantFrom('https:', 'http:', 'HTTPS:', 'javascript:', 'data:', 'blob:https:', ''),
        fc.constantFrom('//', '///', '/', '\\\\', '/\\', ''),
        fc.constantFrom('dash.example', 'evil.example', 'dash.example.evil.example', 'dash.example@evil.example', ''),
        fc.constantFrom(':443', ':8443', ':', '', '.'),
        fc.string(),
      )
      .map((parts) => parts.join(''))
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          address,
          fc.array(pieces).map((parts) => parts.join('')),
        ),
        // True or false: an expectation each takes longer than what it looks at.
        (given) => {
          const place = safe(given)
          // As a browser reads Location.
          const { origin } = new URL(place, `${ORIGIN}/auth/discord/callback`)
          return place.startsWith('/') && origin === ORIGIN && !/^\/[/\\]|[\s\\]/.test(place)
        },
      ),
      { numRuns: 2_000 },
    )
  })
})

describe('an answer that does not fit', () => {
  test('leads to no session, whichever part of it is wrong, missing, reused or another attempt’s', {
    timeout: 60_000,
  }, async () => {
    await using house = await openHouse()
    const begin = async (browser: Browser) => {
      const address = new URL(await browser.consent(await browser.send('/auth/discord')))
      return { code: address.searchParams.get('code')!, state: address.searchParams.get('state')! }
    }
    const text = fc.oneof(fc.string({ maxLength: 60 }), fc.constantFrom('', 'undefined', '%00', '../..', "' or 1=1"))
    const change = fc.record({
      state: fc.oneof(fc.constant('own'), fc.constant('other'), fc.constant('missing'), fc.constant('twice'), text),
      code: fc.oneof(fc.constant('own'), fc.constant('other'), fc.constant('missing'), fc.constant('twice'), text),
      cookie: fc.oneof(
        fc.constant('own'),
        fc.constant('other'),
        fc.constant('missing'),
        fc.constant('renamed'),
        fc.constant('cut'),
        fc.constant('edited'),
        fc.constant('huge'),
        text,
      ),
    })
    await fc.assert(
      fc.asyncProperty(change, async ({ state, code, cookie }) => {
        // Discord's token endpoint has a limit, and time stands still otherwise.
        await house.clock.advance(1_000)
        const [mine, theirs] = [house.browser(), house.browser()]
        const own = await begin(mine)
        const other = await begin(theirs)
        const target = new URL(`${ORIGIN}/auth/discord/callback`)
        for (const [name, how, values] of [
          ['state', state, [own.state, other.state]],
          ['code', code, [own.code, other.code]],
        ] as const) {
          if (how === 'missing') continue
          target.searchParams.append(
            name,
            how === 'own' || how === 'twice' ? values[0]! : how === 'other' ? values[1]! : how,
          )
          if (how === 'twice') target.searchParams.append(name, values[1]!)
        }
        const [ownName, ownValue] = [...mine.cookies][0]!
        const headers = new Headers()
        const given: Record<string, string | undefined> = {
          own: `${ownName}=${ownValue}`,
          other: cookieOf(theirs),
          missing: undefined,
          renamed: `${[...theirs.cookies.keys()][0]}=${ownValue}`,
          cut: `${ownName}=${ownValue.slice(0, -9)}`,
          edited: `${ownName}=${ownValue.slice(0, 40)}${ownValue[40] === 'A' ? 'B' : 'A'}${ownValue.slice(41)}`,
          huge: `${ownName}=${'x'.repeat(70_000)}`,
        }
        const line = cookie in given ? given[cookie] : `${ownName}=${cookie.replace(/[^\x21-\x7e]/g, '')}`
        if (line !== undefined) headers.set('cookie', line)
        const answer = await house.site(new Request(target, { headers }))
        // Also where all of it is the other attempt's.
        const fits = state === code && code === cookie && (state === 'own' || state === 'other')
        const session = answer.headers.getSetCookie().filter((set) => set.includes('holdfast-session='))
        if (fits) {
          expect(answer.status).toBe(303)
          expect(session.length).toBe(1)
        } else {
          expect(answer.status).toBeGreaterThanOrEqual(400)
          expect(answer.status).toBeLessThan(500)
          expect(session).toEqual([])
          expect(await answer.text()).not.toContain(own.code)
        }
      }),
      {
        numRuns: 40,
        examples: [
          [{ state: 'own', code: 'own', cookie: 'own' }],
          [{ state: 'own', code: 'other', cookie: 'own' }],
          [{ state: 'own', code: 'twice', cookie: 'own' }],
          [{ state: 'other', code: 'other', cookie: 'renamed' }],
        ],
      },
    )
  })

  test('that comes after ten minutes is too late', async () => {
    await using house = await openHouse()
    const browser = house.browser()
    const back = await browser.consent(await browser.send('/auth/discord'))
    await house.clock.advance(10 * 60_000)
    const late = await browser.send(back)
    expect([late.status, browser.cookies.has('__Host-holdfast-session')]).toEqual([400, false])
    expect(house.events).toContainEqual(expect.objectContaining({ type: 'login.refused', reason: 'state' }))
  })

  test('a used state and cookie lead nowhere with another code', async () => {
    await using house = await openHouse()
    const [victim, attacker] = [house.browser(), house.browser()]
    const back = new URL(await victim.consent(await victim.send('/auth/discord')))
    const cookie = cookieOf(victim)
    expect((await victim.send(back.href)).status).toBe(303)
    const stolen = new URL(await attacker.consent(await attacker.send('/auth/discord')))
    back.searchParams.set('code', stolen.searchParams.get('code')!)
    const replay = await house.site(new Request(back, { headers: { cookie } }))
    expect([replay.status, replay.headers.getSetCookie().some((set) => set.includes('session='))]).toEqual([400, false])
  })

  test('somebody who cancels, and every error of Discord’s, gets a page that says so and no session', async () => {
    await using house = await openHouse()
    for (const [error, status] of [
      ['access_denied', 403],
      ['server_error', 400],
      ['<script>alert(1)</script>', 400],
    ] as const) {
      const browser = house.browser()
      const state = new URL((await browser.send('/auth/discord')).headers.get('location')!).searchParams.get('state')!
      const answer = await browser.send(
        `/auth/discord/callback?${new URLSearchParams({ error, error_description: '<b>x', state })}`,
      )
      const body = await answer.text()
      expect([error, answer.status, body.includes('<b>x'), body.includes('<script>')]).toEqual([
        error,
        status,
        false,
        false,
      ])
      expect(browser.cookies.size).toBe(0)
    }
  })

  test('Discord in trouble is a 503 with Retry-After, and trying again works', async () => {
    for (const fault of ['server-error', 'rate-limit', 'reset'] as const) {
      await using house = await openHouse()
      const browser = house.browser()
      const back = await browser.consent(await browser.send('/auth/discord'))
      const calm = house.discord.fault(fault, { retryAfterMs: 20_000 })
      const answer = await browser.send(back)
      expect([fault, answer.status, Number(answer.headers.get('retry-after')) > 0]).toEqual([fault, 503, true])
      calm()
      await house.clock.advance(60_000)
      expect((await browser.signIn('/here')).headers.get('location')).toBe('/here')
    }
  })
})

describe('cookies', () => {
  test('made-up, malformed and oversized ones are nobody’s', async () => {
    await using house = await openHouse()
    const name = '__Host-holdfast-session'
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: fc.constantFrom(...'abcXYZ019-_=;, "%\\'), maxLength: 80 }), async (value) => {
        const headers = new Headers({ cookie: `${name}=${value}` })
        expect(await house.holdfast.login.session({ headers, method: 'GET' })).toBeNull()
      }),
      { numRuns: 200 },
    )
    for (const cookie of [
      `${name}=${'A'.repeat(100_000)}`,
      `${name}=${'A'.repeat(43)}`,
      ';;;=;',
      name,
      `${'a=b; '.repeat(20_000)}`,
    ]) {
      expect((await house.site(new Request(`${ORIGIN}/me`, { headers: { cookie } }))).status).toBe(401)
      expect((await house.site(new Request(`${ORIGIN}/auth/discord`, { headers: { cookie } }))).status).toBe(302)
    }
  })

  test('a session that somebody planted is not the one that signing in opens', async () => {
    await using house = await openHouse()
    const attacker = house.browser()
    await attacker.signIn()
    const planted = attacker.cookies.get('__Host-holdfast-session')!
    const victim = house.browser()
    victim.cookies.set('__Host-holdfast-session', planted)
    house.discord.nextLogin(house.discord.users[1]!.id)
    await victim.signIn()
    expect(victim.cookies.get('__Host-holdfast-session')).not.toBe(planted)
    expect((await attacker.send('/me')).status).toBe(401)
    expect(await (await victim.send('/me')).json()).toMatchObject({ id: house.discord.users[1]!.id })
  })
})

describe('webhook events', () => {
  const hook = `${ORIGIN}/auth/discord/webhook`

  test('that are genuine are heard once they are for us, young, and newer than the session', async () => {
    await using house = await openHouse({ discord: { publicKey: PUBLIC_KEY } })
    const sign = webhook(house)
    const browser = house.browser()
    const { id } = house.discord.users[0]!
    const at = (ms: number) => new Date(house.clock.now() + ms).toISOString()
    const deauthorized = (timestamp: string) => ({
      type: 'APPLICATION_DEAUTHORIZED',
      timestamp,
      data: { user: { id } },
    })
    await house.clock.advance(60_000)
    await browser.signIn()
    const send = async (request: Request) => (await house.site(request)).status
    expect(await send(sign({ type: 0 }))).toBe(204)
    // Older than the session: another authorization's.
    expect(await send(sign({ type: 1, event: deauthorized(at(-30_000)) }))).toBe(204)
    expect((await browser.send('/me')).status).toBe(200)
    const later = sign({ type: 1, event: deauthorized(at(1)) })
    const body = await later.clone().arrayBuffer()
    const headers = Object.fromEntries(later.headers)
    for (const [reason, request, status] of [
      ['another application', sign({ type: 1, event: deauthorized(at(1)) }, { applicationId: '1' }), 401],
      ['too old', sign({ type: 1, event: deauthorized(at(1)) }, { sentAgoMs: 16 * 60_000 }), 401],
      ['from the future', sign({ type: 1, event: deauthorized(at(1)) }, { sentAgoMs: -16 * 60_000 }), 401],
      ['another key', sign({ type: 1, event: deauthorized(at(1)) }, { foreignKey: true }), 401],
      ['no signature', new Request(hook, { method: 'POST', body }), 401],
      [
        'one byte more',
        new Request(hook, { method: 'POST', headers, body: `${new TextDecoder().decode(body)} ` }),
        401,
      ],
      [
        'another timestamp',
        new Request(hook, {
          method: 'POST',
          body,
          headers: { ...headers, 'x-signature-timestamp': String(Math.floor(house.clock.now() / 1000) + 1) },
        }),
        401,
      ],
      ['no JSON', sign('not json'), 400],
      ['null', sign(null as never), 400],
      ['no user', sign({ type: 1, event: { type: 'APPLICATION_DEAUTHORIZED', timestamp: at(1), data: {} } }), 400],
      [
        'a user that is none',
        sign({
          type: 1,
          event: { type: 'APPLICATION_DEAUTHORIZED', timestamp: at(1), data: { user: { id: '1; drop' } } },
        }),
        400,
      ],
      [
        'no time',
        sign({ type: 1, event: { type: 'APPLICATION_DEAUTHORIZED', timestamp: 'soon', data: { user: { id } } } }),
        400,
      ],
      ['another event', sign({ type: 1, event: { type: 'ENTITLEMENT_CREATE', timestamp: at(1), data: {} } }), 204],
      ['too large', new Request(hook, { method: 'POST', headers, body: 'x'.repeat(300_000) }), 413],
      ['a GET', new Request(hook), 405],
    ] as const)
      expect([reason, await send(request)]).toEqual([reason, status])
    expect((await browser.send('/me')).status).toBe(200)
    expect(await send(later)).toBe(204)
    expect((await browser.send('/me')).status).toBe(401)
    expect(await house.holdfast.login.accessToken(id)).toBeNull()
    // Again, after the user has come back: it is older than their session now.
    await house.clock.advance(5_000)
    await browser.signIn()
    expect(await send(new Request(hook, { method: 'POST', headers, body }))).toBe(204)
    expect((await browser.send('/me')).status).toBe(200)
  })
})

describe('secrets', () => {
  test('are in nothing that a whole journey wrote: no log, event, error, address or answer', async () => {
    await using house = await openHouse()
    const browser = house.browser()
    const secrets = new Set<string>([house.discord.clientSecret, house.discord.botToken])
    const { id } = house.discord.users[0]!
    const back = await browser.consent(await browser.send('/auth/discord?returnTo=/x'))
    const code = new URL(back).searchParams.get('code')!
    for (const [, value] of browser.cookies) secrets.add(value)
    await browser.send(back)
    secrets.add(browser.cookies.get('__Host-holdfast-session')!)
    secrets.add((await house.holdfast.login.accessToken(id))!)
    const errors: unknown[] = []
    const note = (error: unknown) => void errors.push(error)
    for (const fault of ['rate-limit', 'server-error', 'malformed', 'truncate', 'reset'] as const) {
      const calm = house.discord.fault(fault, { retryAfterMs: 1_000 })
      await house.clock.advance(8 * 24 * 60 * 60_000)
      await browser.send('/me')
      await house.holdfast.login.accessToken(id).then((token) => token && secrets.add(token), note)
      await browser.send('/auth/disconnect', { method: 'POST' })
      await browser.send('/auth/discord/callback?code=stolen&state=made-up')
      calm()
      await house.clock.advance(10 * 60_000)
      await browser.send('/me')
      await house.holdfast.login.accessToken(id).then((token) => token && secrets.add(token), note)
    }
    house.discord.revoke(id)
    await house.clock.advance(8 * 24 * 60 * 60_000)
    await browser.send('/me')
    await browser.send('/auth/logout', { method: 'POST' })
    const causes = (error: unknown): unknown[] => (error instanceof Error ? [error, ...causes(error.cause)] : [error])
    const told = errors
      .flatMap(causes)
      .map(
        (error) =>
          `${String(error)} ${(error as Error)?.stack} ${JSON.stringify(error)} ${JSON.stringify(Object.getOwnPropertyDescriptors(error ?? {}))}`,
      )
    const written = [...house.events.map((event) => JSON.stringify(event)), ...house.logged, ...told].join('\n')
    expect(secrets.size).toBeGreaterThan(4)
    expect(written.length).toBeGreaterThan(1_000)
    for (const secret of [...secrets, code]) expect(written.includes(secret)).toBe(false)
    // Addresses of ours hold nothing but Discord's own answer, and answers nothing but the cookies that are meant to be set.
    const seen = browser.seen
      .filter((line) => !line.includes('/auth/discord/callback?code='))
      .map((line) => line.replace(/"set-cookie","[^"]*"/g, ''))
    for (const secret of [...secrets, code]) expect(seen.some((line) => line.includes(secret))).toBe(false)
  })
})
