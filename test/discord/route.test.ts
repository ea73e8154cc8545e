import { readdirSync, readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ANSWER_SHAPES } from '../../src/discord/known-routes.ts'
import { checkPath, routeOf } from '../../src/discord/route.ts'
import { HoldfastError } from '../../src/errors/errors.ts'

const refusal = (path: unknown): HoldfastError => {
  try {
    checkPath(path)
  } catch (error) {
    expect(error).toBeInstanceOf(HoldfastError)
    return error as HoldfastError
  }
  throw new Error(`accepted: ${String(path).slice(0, 100)}`)
}

describe('checkPath', () => {
  test.each([
    '/users/@me',
    '/users/@me/guilds',
    '/users/@me/guilds?limit=200&after=0',
    '/guilds/123456789012345678/members/123456789012345678',
    '/channels/1/messages/2/reactions/%F0%9F%91%8D/@me',
    '/channels/1/messages/2/reactions/name:123/@me',
    '/users/@me?next=https://elsewhere.example//x/../y',
    '/a.b/..c/d..',
    '/guilds/1/vanity/100%25',
    '/',
    '/users/',
  ])('accepts %j', (path) => {
    expect(() => checkPath(path)).not.toThrow()
  })

  test.each([
    ['nothing', ''],
    ['no slash', 'users/@me'],
    ['a scheme and host', 'https://evil.example/users/@me'],
    ['a scheme alone', 'javascript:alert(1)'],
    ['a host without a scheme', '//evil.example/users/@me'],
    ['a slash and a host', '/https://evil.example'],
    ['//', '/users//@me'],
    ['a trailing //', '/users/@me//'],
    ['..', '/users/../oauth2/token'],
    ['.. at the end', '/users/..'],
    ['.', '/users/./@me'],
    ['.. escaped', '/users/%2e%2e/token'],
    ['.. half escaped', '/users/.%2E/token'],
    ['.. escaped twice', '/users/%252e%252e/token'],
    ['.. with an escaped slash', '/users/..%2ftoken'],
    ['an escaped slash', '/users/a%2Fb'],
    ['an escaped slash at the beginning', '/%2Fevil.example'],
    ['an escaped slash, escaped twice', '/users/a%252Fb'],
    ['a backslash', '/users\\@me'],
    ['an escaped backslash', '/users/%5c..%5c'],
    ['#', '/users/@me#x'],
    ['CR LF', '/users/@me\r\nX-Injected: 1'],
    ['LF', '/users\n'],
    ['CR LF in the query', '/users/@me?x=1\r\nHost: evil.example'],
    ['escaped CR LF', '/users/%0d%0aX-Injected:%201'],
    ['escaped NUL', '/users/%00'],
    ['NUL', '/users/\0'],
    ['DEL', '/users/\x7f'],
    ['a space', '/users/a b'],
    ['a tab', '/users/a\tb'],
    ['text that is not ASCII', '/users/é'],
    ['a full-width slash', '/users／@me'],
    ['.. escaped twice beside an escaped %', '/users/%252e%252e/100%25'],
    ['a broken escape', '/users/%zz'],
    ['a lone %', '/users/%'],
    ['more escaping than anybody needs', `/users/%${'25'.repeat(10)}2e`],
    ['more than 4096 characters', `/${'a'.repeat(4096)}`],
  ])('refuses %s, and does not repeat it', (_name, path) => {
    const error = refusal(path)
    expect(error.code).toBe('INVALID_PATH')
    expect(error.message).toMatch(/refused: it .+; give a path below the API/)
    expect(error.message).not.toContain('evil')
    expect(error.message).not.toContain('X-Injected')
  })

  test('refuses whatever is not a string', () => {
    for (const path of [undefined, null, 5, {}, ['/users/@me'], new URL('https://discord.com/users/@me')])
      expect(refusal(path).message).toContain('not a string')
  })

  test('every path that is accepted stays below the base URL, and is read there as it was written', () => {
    const piece = fc.constantFrom(
      '/',
      '.',
      '..',
      '%2e',
      '%2f',
      '%5c',
      '\\',
      '@',
      ':',
      'a',
      '?',
      '#',
      '%25',
      '//',
      'https:',
      '\t',
      '\n',
    )
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
        const path = `/${pieces.join('')}`
        try {
          checkPath(path)
        } catch (error) {
          expect((error as HoldfastError).code).toBe('INVALID_PATH')
          return
        }
        const url = new URL(`https://discord.com/api/v10${path}`)
        expect(url.origin).toBe('https://discord.com')
        expect(url.href).toBe(`https://discord.com/api/v10${path}`)
        expect(decodeURIComponent(url.pathname)).not.toMatch(/\/\.\.?(\/|$)/)
      }),
      { numRuns: 2000 },
    )
  })
})

describe('routeOf', () => {
  const id = '123456789012345678'

  test.each([
    ['/users/@me', 'GET /users/@me', ''],
    ['/users/@me/guilds?limit=1', 'GET /users/@me/guilds', ''],
    [`/users/${id}`, 'GET /users/:id', ''],
    [`/users/@me/guilds/${id}/member`, 'GET /users/@me/guilds/:id/member', ''],
    [`/guilds/${id}`, 'GET /guilds/:id', `guilds/${id}`],
    [`/guilds/${id}/members/${id}`, 'GET /guilds/:id/members/:id', `guilds/${id}`],
    [`/channels/${id}/messages`, 'GET /channels/:id/messages', `channels/${id}`],
    [
      `/channels/${id}/messages/${id}/reactions/%F0%9F%91%8D/@me`,
      'GET /channels/:id/messages/:id/reactions/:emoji/@me',
      `channels/${id}`,
    ],
    [`/webhooks/${id}/s3cret`, 'GET /webhooks/:id/:token', `webhooks/${id}/s3cret`],
    [
      `/webhooks/${id}/s3cret/messages/@original`,
      'GET /webhooks/:id/:token/messages/@original',
      `webhooks/${id}/s3cret`,
    ],
    [`/interactions/${id}/s3cret/callback`, 'GET /interactions/:id/:token/callback', `interactions/${id}/s3cret`],
    ['/invites/abc', 'GET /invites/:code', ''],
    [`/guilds/templates/abc`, 'GET /guilds/templates/:code', 'guilds/templates'],
  ])('%s is %s, counted by %j', (path, name, resource) => {
    expect(routeOf('GET', path, 0)).toMatchObject({ name, resource })
  })

  test('the method is part of the name', () => {
    expect(routeOf('DELETE', `/guilds/${id}`, 0).name).toBe('DELETE /guilds/:id')
  })

  test('two guilds, channels or webhooks of one route are two resources', () => {
    expect(routeOf('GET', `/guilds/${id}`, 0).resource).not.toBe(
      routeOf('GET', '/guilds/876543210987654321', 0).resource,
    )
    expect(routeOf('GET', `/webhooks/${id}/a`, 0).resource).not.toBe(routeOf('GET', `/webhooks/${id}/b`, 0).resource)
  })

  test('known routes say what their answer has to be, others nothing', () => {
    expect(routeOf('GET', '/users/@me', 0).answer).toBe('object')
    expect(routeOf('GET', '/users/@me/guilds', 0).answer).toBe('array')
    expect(routeOf('GET', `/guilds/${id}/members/${id}`, 0).answer).toBe('object')
    expect(routeOf('GET', `/guilds/${id}/unknown`, 0).answer).toBeUndefined()
    expect(routeOf('POST', '/users/@me', 0).answer).toBeUndefined()
    for (const [name, shape] of Object.entries(ANSWER_SHAPES)) {
      const text = 'x'.repeat(40)
      const path = name
        .slice('GET '.length)
        .replaceAll(':id', id)
        .replace(/:(code|emoji|token|value)/g, text)
      expect(routeOf('GET', path, 0)).toMatchObject({ name, answer: shape })
    }
  })

  test('every GET of discord-api-types that answers with JSON is in the table', () => {
    const types = new URL('../../node_modules/discord-api-types/rest/v10/', import.meta.url)
    const declared = readdirSync(types)
      .filter((file) => file.endsWith('.d.ts'))
      .flatMap((file) => [
        ...readFileSync(new URL(file, types), 'utf8').matchAll(/export (?:type|interface) (RESTGet\w+Result)\b/g),
      ])
      .map(([, name]) => name!)
    const table = readFileSync(new URL('../../src/discord/known-routes.ts', import.meta.url), 'utf8')
    const missing = declared.filter((name) => !table.includes(`<${name}>()`))
    expect(declared.length).toBeGreaterThan(90)
    // An image and a CSV; an old name of a route that is there; a message of a webhook, which is there.
    expect(missing.sort()).toEqual([
      'RESTGetAPIGuildWidgetImageResult',
      'RESTGetAPIInteractionFollowupResult',
      'RESTGetAPIInviteTargetUsersResult',
      'RESTGetNitroStickerPacksResult',
    ])
  })

  test('no id and no secret is ever in the name, wherever it stands', () => {
    const snowflake = fc.bigInt({ min: 10n ** 14n, max: 2n ** 64n - 1n }).map(String)
    const token = fc.stringMatching(/^[A-Za-z0-9_-]{33,80}$/)
    const template = fc.constantFrom(
      (id: string, secret: string) => `/webhooks/${id}/${secret}`,
      (id: string, secret: string) => `/webhooks/${id}/${secret.slice(0, 8)}/messages/${id}`,
      (id: string, secret: string) => `/interactions/${id}/${secret.slice(0, 20)}/callback`,
      (id: string, secret: string) => `/channels/${id}/messages/${id}/reactions/${secret.slice(0, 10)}/${id}`,
      (id: string, secret: string) => `/invites/${secret.slice(0, 10)}?id=${id}`,
      (id: string, secret: string) => `/guilds/${id}/vanity/${secret}`,
      (id: string, secret: string) => `/${secret}/${id}`,
    )
    fc.assert(
      fc.property(template, snowflake, token, (path, id, secret) => {
        const { name } = routeOf('GET', path(id, secret), 0)
        expect(name).not.toContain(id)
        expect(name).not.toContain(secret.slice(0, 8))
        expect(name).not.toMatch(/\d{15}/)
        expect(name).not.toContain('?')
      }),
    )
  })
})
