import { createServer, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createHoldfast, type DiscordFetchOptions, type Holdfast } from 'holdfast'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { failureOf } from './scripted-discord.ts'

// What really travels: bodies, headers, queries, calls without a token. A real server reads it.

const seen: Array<{ method: string; url: string; headers: IncomingHttpHeaders; body: Buffer }> = []
const server = createServer((request, response) => {
  const chunks: Buffer[] = []
  request.on('data', (chunk) => chunks.push(chunk))
  request.on('end', () => {
    seen.push({ method: request.method!, url: request.url!, headers: request.headers, body: Buffer.concat(chunks) })
    const limited = request.url!.startsWith('/again') && seen.length === 1
    response.writeHead(limited ? 429 : 200, {
      'content-type': 'application/json',
      ...(limited && { 'retry-after': '0.01', 'x-ratelimit-limit': '5', 'x-ratelimit-remaining': '0' }),
    })
    response.end('{}')
  })
})
let holdfast: Holdfast
beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  holdfast = createHoldfast({ discord: { baseUrl, retryDelayMs: 10 } })
})
afterAll(async () => {
  await holdfast.close()
  server.closeAllConnections()
  server.close()
})

async function sent(options: DiscordFetchOptions, path = '/x', token = 'abc') {
  seen.length = 0
  await holdfast.discordFetch(path, token, { method: 'POST', ...options })
  return seen[0]!
}

const refused = async (options: object, token = 'abc') => {
  seen.length = 0
  const error = await failureOf(holdfast.discordFetch('/x', token, { method: 'POST', ...options }))
  expect([error.code, seen.length]).toEqual(['INVALID_OPTION', 0])
  return error.message
}

describe('a body', () => {
  test('of plain values is JSON', async () => {
    const { headers, body } = await sent({ body: { content: 'ä', at: new Date(0), none: undefined, list: [1, null] } })
    expect(headers['content-type']).toBe('application/json')
    expect(body.toString()).toBe('{"content":"ä","at":"1970-01-01T00:00:00.000Z","list":[1,null]}')
    expect((await sent({ body: { toJSON: () => ({ a: 1 }) } })).body.toString()).toBe('{"a":1}')
    expect((await sent({ body: [] })).body.toString()).toBe('[]')
  })

  test('of a form with files is multipart, as Discord reads it', async () => {
    const form = new FormData()
    form.append('payload_json', JSON.stringify({ content: 'x', attachments: [{ id: 0, description: 'ü' }] }))
    form.append('files[0]', new File([new Uint8Array([0, 255, 10, 13])], 'ä.bin', { type: 'image/png' }))
    form.append('files[1]', new Blob(['text']), 'named.txt')
    const { headers, body } = await sent({ body: form })
    expect(headers['content-type']).toMatch(/^multipart\/form-data; boundary=/)
    expect(headers['content-length']).toBe(String(body.length))
    const read = await new Response(new Uint8Array(body), {
      headers: { 'content-type': headers['content-type']! },
    }).formData()
    expect(JSON.parse(String(read.get('payload_json'))).attachments[0].description).toBe('ü')
    const file = read.get('files[0]') as File
    expect([file.name, file.type, [...(await file.bytes())]]).toEqual(['ä.bin', 'image/png', [0, 255, 10, 13]])
    expect((read.get('files[1]') as File).name).toBe('named.txt')
  })

  test('of URLSearchParams is a form', async () => {
    const { headers, body } = await sent({
      body: new URLSearchParams([
        ['a', '1 2'],
        ['a', 'ä'],
      ]),
    })
    expect(headers['content-type']).toBe('application/x-www-form-urlencoded;charset=UTF-8')
    expect(body.toString()).toBe('a=1+2&a=%C3%A4')
  })

  test('of bytes is sent as it is, also of a Buffer and of a part of one; what the caller does to them later changes nothing', async () => {
    const bytes = Buffer.from([9, 0, 255, 10, 9]).subarray(1, 4)
    const call = sent({ body: bytes })
    bytes.fill(7)
    const { headers, body } = await call
    expect(headers['content-type']).toBe('application/octet-stream')
    expect([...body]).toEqual([0, 255, 10])
    expect((await sent({ body: bytes, headers: { 'Content-Type': 'image/png' } })).headers['content-type']).toBe(
      'image/png',
    )
  })

  test('of text is sent as it is, with the content type that is given', async () => {
    const { headers, body } = await sent({ body: 'a,b\nä' })
    expect([headers['content-type'], body.toString()]).toEqual(['text/plain;charset=UTF-8', 'a,b\nä'])
    const json = await sent({ body: '{"a":1}', headers: { 'content-type': 'application/json' } })
    expect([json.headers['content-type'], json.body.toString()]).toEqual(['application/json', '{"a":1}'])
  })

  test('is sent again in full after a 429, also a form with files', async () => {
    const form = new FormData()
    form.append('files[0]', new Blob(['text']), 'a.txt')
    await sent({ body: form }, '/again')
    expect(seen).toHaveLength(2)
    expect(seen[1]!.body.toString()).toBe(seen[0]!.body.toString())
    expect(seen[1]!.body.toString()).toContain('text')
  })

  test.each<[string, unknown, RegExp]>([
    ['null', null, /leave it out/],
    ['a Map', new Map(), /Object\.fromEntries/],
    ['a Set', new Set(), /\[\.\.\.set\]/],
    ['a promise', Promise.resolve({}), /await/],
    ['a Blob', new Blob(['x']), /FormData/],
    ['an ArrayBuffer', new ArrayBuffer(2), /Uint8Array/],
    ['a Float64Array', new Float64Array(2), /Uint8Array/],
    ['a stream', new ReadableStream(), /read it first/],
    ['Headers', new Headers(), /fromEntries/],
    ['an error', new Error('x'), /message/],
    ['NaN', Number.NaN, /finite/],
    ['a bigint', 5n, /as text/],
    ['a function', () => {}, /plain/],
    ['a Buffer within', { file: Buffer.from('x') }, /under "file".*alone|bytes under/],
    ['a Map within', { a: [new Map()] }, /Map under "0"/],
    ['a bigint within', { id: 5n }, /under "id".*as text/],
    ['a number that is none within', { id: Number.NaN }, /under "id"/],
    ['a promise within', { a: Promise.resolve() }, /await/],
  ])('of %s is refused, with what to do instead', async (_, body, fix) => {
    expect(await refused({ body })).toMatch(fix)
  })

  test('that refers to itself is refused', async () => {
    const body: { self?: unknown } = {}
    body.self = body
    expect(await refused({ body })).toMatch(/refers to itself/)
  })

  test('is refused for a GET, and what is not sent does not reach an error', async () => {
    expect(await refused({ method: 'GET', body: { a: 'SECRETVALUE' } })).not.toContain('SECRETVALUE')
  })
})

describe('a reason', () => {
  test('travels percent-encoded', async () => {
    expect((await sent({ reason: 'Spam: ä 🦊%' })).headers['x-audit-log-reason']).toBe(
      encodeURIComponent('Spam: ä 🦊%'),
    )
    expect((await sent({ reason: '🦊'.repeat(512) })).headers['x-audit-log-reason']).toHaveLength(512 * 12)
  })

  test.each(['', ' ', 'x'.repeat(513), '\ud800', 5])('%j is refused', async (reason) => {
    expect(await refused({ reason })).toContain('reason')
  })
})

describe('own headers', () => {
  test('travel beside ours', async () => {
    const { headers } = await sent({ headers: { 'X-Trace': 'a b', 'accept-language': 'de' } })
    expect(headers).toMatchObject({ 'x-trace': 'a b', 'accept-language': 'de', authorization: 'Bearer abc' })
    expect(headers['user-agent']).toMatch(/^DiscordBot /)
  })

  test.each([
    { Authorization: 'Bearer other' },
    { 'User-Agent': 'x' },
    { accept: 'x' },
    { HOST: 'x' },
    { 'content-length': '5' },
    { 'transfer-encoding': 'chunked' },
    { 'X-Audit-Log-Reason': 'x' },
    { connection: 'close' },
    { 'content-type': 'text/plain' },
    { 'x y': '1' },
    { 'x\n': '1' },
    { x: 'a\r\nInjected: 1' },
    { x: 'ä€' },
    { x: 5 },
    { x: undefined },
    { x: '1', X: '2' },
  ])('%j is refused, and its value not repeated', async (headers) => {
    const message = await refused({ headers })
    expect(message).not.toContain('other')
    expect(message).not.toContain('Injected')
  })

  test('that are no plain object are refused: their names cannot be seen', async () => {
    for (const headers of [new Headers({ a: '1' }), new Map([['a', '1']]), [['a', '1']], 'a: 1'])
      expect(await refused({ headers })).toContain('headers')
  })

  test('keep a GET from being shared with others', async () => {
    seen.length = 0
    await Promise.all([
      holdfast.discordFetch('/same', 'abc', { headers: { 'x-a': '1' } }),
      holdfast.discordFetch('/same', 'abc', { headers: { 'x-a': '2' } }),
    ])
    expect(seen.map(({ headers }) => headers['x-a']).sort()).toEqual(['1', '2'])
  })
})

describe('a query', () => {
  test('repeats the name of a list, leaves out undefined, and adds to what the path has', async () => {
    const query = { id: ['1', 2], all: true, none: undefined, empty: [], text: 'a b&c' }
    expect((await sent({ query }, '/x?first=1')).url).toBe('/x?first=1&id=1&id=2&all=true&text=a+b%26c')
    expect(
      (
        await sent({
          query: new URLSearchParams([
            ['a', '1'],
            ['a', '2'],
          ]),
        })
      ).url,
    ).toBe('/x?a=1&a=2')
  })

  test('of anything else is refused', async () => {
    const wrong = [
      null,
      [],
      new Map(),
      'a=1',
      { a: null },
      { a: {} },
      { a: [null] },
      { a: [['b']] },
      { a: Number.NaN },
      { a: 5n },
      { a: new Date() },
      { a: [true] },
    ]
    for (const query of wrong) expect(await refused({ query })).toContain('query')
  })
})

describe('a call without a token', () => {
  test('sends no Authorization, whatever is given as token', async () => {
    for (const token of ['', 'a secret'])
      expect(
        (await sent({ tokenType: 'none', body: {} }, '/webhooks/1/secret', token)).headers.authorization,
      ).toBeUndefined()
  })

  test('is nobody’s: a user’s spent limit does not hold it, and the other way round', async () => {
    await holdfast.discordFetch('/users/@me', 'someone')
    await sent({ tokenType: 'none' }, '/interactions/1/secret/callback')
    expect(seen).toHaveLength(1)
  })
})

test('an option that does not exist is refused with the nearest right one', async () => {
  expect(await refused({ reson: 'x' })).toMatch(/did you mean reason\?/)
  expect(await refused({ timeoutMs: 5 })).toMatch(/there is no option timeoutMs/)
})
