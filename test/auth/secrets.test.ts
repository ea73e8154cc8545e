import { inspect } from 'node:util'
import nock from 'nock'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import type { RequireAuthOptions } from '../../src/auth/require-auth-options.ts'
import {
  blocked403,
  down,
  GUILDS,
  guild,
  limited,
  ok,
  refused401,
  refused403,
  request,
  SESSIONS,
  setUp,
} from './discord.ts'

beforeAll(() => nock.disableNetConnect())
afterEach(() => nock.cleanAll())
afterAll(() => nock.enableNetConnect())

const ANSWERS = {
  'a 401': refused401,
  'a 403': refused403,
  'a block page': blocked403,
  'a 429': limited(60),
  'a 503': down,
  'a list of the wrong shape': ok([{ id: 'secret-token-of-ann' }]),
  'no JSON': { status: 200, body: '{"secret-token-of-ann' },
  'what it was sent': { status: 400, body: { message: 'Bearer secret-token-of-ann', code: 7 } },
}

/** Everything that somebody could find in an error or a log, causes and stacks included. */
const told = (value: unknown) =>
  inspect(value, { depth: 20, showHidden: true, maxStringLength: null }) + JSON.stringify(value)

test.each(Object.entries(ANSWERS))(
  'when Discord answers %s, no error, event, log line or response holds a token',
  async (_name, answer) => {
    const lines: unknown[] = []
    const log = (...line: unknown[]) => lines.push(line)
    const { holdfast, answers, clock, events } = setUp({
      session: (asked) => (asked.headers.get('authorization') ? null : SESSIONS.ann!),
      logger: { debug: log, info: log, warn: log, error: log },
      discord: { botToken: 'secret-bot-token' },
    })
    holdfast.on(() => {
      throw new Error('a listener fails')
    })
    answers[GUILDS] = ok([guild('1')])
    await holdfast.requireAuth(request())
    answers[GUILDS] = answer
    answers['/guilds/1'] = answer
    answers['/guilds/1/members/1001'] = answer
    await clock.advance(25 * 3_600_000)
    const outcomes: unknown[] = []
    for (const options of [{}, { guild: '1', live: true }, { permissions: 'Nonsense' as never, guild: '1' }]) {
      const outcome = await holdfast
        .requireAuth(request(), options as RequireAuthOptions)
        .catch((error: unknown) => error)
      outcomes.push(outcome)
      if (outcome instanceof Error && 'toResponse' in outcome)
        outcomes.push(await (outcome as unknown as { toResponse(): Response }).toResponse().text())
    }
    expect(outcomes.filter((outcome) => outcome instanceof Error).length).toBe(3)
    expect(events.length).toBeGreaterThan(3)
    expect(lines.length).toBeGreaterThan(3)
    const everything = told(outcomes) + told(events) + told(lines) + told(holdfast.stats())
    expect(everything).toContain('Discord')
    expect(everything).not.toContain('secret-')
  },
)
