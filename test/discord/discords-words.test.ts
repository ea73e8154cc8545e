import { inspect } from 'node:util'
import nock from 'nock'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { wordsOf } from '../../src/discord/error-body.ts'
import { failureOf, ORIGIN, scriptedDiscord } from './scripted-discord.ts'

beforeAll(() => nock.disableNetConnect())
afterEach(() => nock.cleanAll())
afterAll(() => nock.enableNetConnect())

const FORM_ERRORS = {
  message: 'Invalid Form Body',
  code: 50_035,
  errors: {
    name: { _errors: [{ code: 'BASE_TYPE_BAD_LENGTH', message: 'Must be between 2 and 100 in length.' }] },
    embeds: {
      0: {
        fields: { 12: { value: { _errors: [{ code: 'NUMBER_TYPE_COERCE', message: 'Value "SENT" is not int.' }] } } },
      },
    },
    _errors: [{ code: 'WHOLE', message: 'all of it' }],
  },
}

const post = async (status: number, answer: unknown, body: unknown = {}) => {
  const { holdfast } = scriptedDiscord()
  nock(ORIGIN)
    .post('/api/v10/guilds/123456789012345678/channels')
    .reply(status, answer as never)
  return failureOf(
    holdfast.discordFetch('/guilds/123456789012345678/channels', 'TOKENSECRET', {
      method: 'POST',
      tokenType: 'Bot',
      body,
    }),
  )
}

describe('an error carries', () => {
  test('Discord’s message, its code, and each field with its path and code', async () => {
    const error = await post(400, FORM_ERRORS)
    expect(error).toMatchObject({
      status: 400,
      discordCode: 50_035,
      discordMessage: 'Invalid Form Body',
      fieldErrors: [
        { path: 'name', code: 'BASE_TYPE_BAD_LENGTH', message: 'Must be between 2 and 100 in length.' },
        { path: 'embeds[0].fields[12].value', code: 'NUMBER_TYPE_COERCE', message: 'Value "…" is not int.' },
        { path: '', code: 'WHOLE', message: 'all of it' },
      ],
    })
    expect(error.message).toContain('name[BASE_TYPE_BAD_LENGTH]: Must be between 2 and 100 in length.')
    expect(error.message).toContain('Invalid Form Body')
  })

  test.each([
    [503, { message: 'API resource is currently overloaded. Try again a little later', code: 130_000 }, 130_000],
    [403, { message: 'Missing Access', code: 50_001 }, 50_001],
    [401, { message: '401: Unauthorized', code: 0 }, 0],
    [404, { message: 'Unknown Guild', code: 10_004 }, 10_004],
    [400, { error: 'invalid_request', error_description: 'Missing something' }, undefined],
  ])('the words of a %d too', async (status, body, code) => {
    const error = await post(status, body)
    expect(error.discordCode).toBe(code)
    expect(error.discordMessage).toBe('message' in body ? body.message : 'Missing something')
  })

  test('nothing that the caller sent: no value of the body, of the path or of the token, however it is quoted', async () => {
    const body = { name: 'VALUESECRET one', nested: [{ deep: 'VALUESECRET two' }] }
    const answer = {
      message: 'VALUESECRET one is not 123456789012345678, TOKENSECRET or "VALUESECRET three"',
      code: 50_035,
      errors: { name: { _errors: [{ code: 'X', message: 'not VALUESECRET two but "unclosed VALUESECRET' }] } },
    }
    const error = await post(400, answer, body)
    expect(inspect(error, { depth: 12, showHidden: true })).not.toMatch(/SECRET|123456789012345678/)
  })

  test('no line ends or control characters, and no more than can be read', () => {
    const long = wordsOf({ message: `a\r\nb\u001b[31m${'x'.repeat(5000)}`, code: 1 }, () => [])
    expect(long.discordMessage).toMatch(/^a b \[31mx+…$/)
    expect(long.discordMessage!.length).toBeLessThanOrEqual(301)
    const many = Object.fromEntries(
      Array.from({ length: 500 }, (_, n) => [`f${n}`, { _errors: [{ code: 'A', message: 'b' }] }]),
    )
    expect(wordsOf({ message: 'x', code: 1, errors: many }, () => []).fieldErrors).toHaveLength(50)
  })

  test('whatever shape the tree of errors has, it is read without harm', () => {
    let deep: unknown = { _errors: [{ code: 'A', message: 'b' }] }
    for (let level = 0; level < 5000; level++) deep = { a: deep }
    for (const errors of [null, 5, 'x', [], { _errors: 'x' }, { _errors: [null, 5, {}] }, { a: null }, deep])
      expect(() => wordsOf({ message: 5, code: 'x', errors }, () => [])).not.toThrow()
  })
})
