import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import nock from 'nock'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { RequireAuthOptions } from '../../src/auth/require-auth-options.ts'
import {
  blocked403,
  down,
  GUILDS,
  guild,
  limited,
  MANAGE_GUILD,
  ok,
  refused401,
  refused403,
  SESSIONS,
  setUp,
} from './discord.ts'

const SECOND = 1_000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE
const FRESH_MS = HOUR
const STALE_MS = 24 * HOUR

beforeAll(() => nock.disableNetConnect())
afterEach(() => nock.cleanAll())
afterAll(() => nock.enableNetConnect())

const DISCORD = {
  fine: undefined,
  throttles: limited(600),
  dead: refused401,
  scope: refused403,
  block: blocked403,
  outage: down,
}
type Weather = keyof typeof DISCORD

const STATES: Record<string, { ageMs: number; weather: Weather }> = {
  fresh: { ageMs: 30 * MINUTE, weather: 'throttles' },
  stale: { ageMs: 2 * HOUR, weather: 'throttles' },
  expired: { ageMs: 25 * HOUR, weather: 'throttles' },
  'dead token': { ageMs: 2 * HOUR, weather: 'dead' },
  'missing scope': { ageMs: 2 * HOUR, weather: 'scope' },
  block: { ageMs: 2 * HOUR, weather: 'block' },
  outage: { ageMs: 2 * HOUR, weather: 'outage' },
}

const OPTIONS: Record<string, RequireAuthOptions> = {
  guild: { guild: '1' },
  permissions: { guild: '1', permissions: 'ManageGuild' },
  live: { guild: '1', live: true },
  maxAgeMs: { guild: '1', maxAgeMs: 60_000 },
  'guilds: false': { guilds: false },
}

/** What a request of Ann's is answered, whose list was fetched so long ago. */
async function outcome(asked: {
  ageMs: number
  weather: Weather
  method: string | undefined
  options: RequireAuthOptions
  cookie?: string
}) {
  nock.cleanAll()
  const { holdfast, answers, clock } = setUp({ sessions: SESSIONS })
  answers[GUILDS] = ok([guild('1', MANAGE_GUILD)])
  const headers = new Headers({ cookie: asked.cookie ?? 'ann' })
  await holdfast.requireAuth({ headers: new Headers({ cookie: 'ann' }), method: 'GET' })
  await clock.advance(asked.ageMs)
  const weather = DISCORD[asked.weather]
  if (weather) answers[GUILDS] = weather
  answers['/oauth2/@me'] =
    weather ?? ok({ application: { id: '1' }, expires: '2099-01-01T00:00:00Z', scopes: [], user: { id: '1001' } })
  const request = { headers, ...(asked.method && { method: asked.method }) }
  try {
    const auth = await holdfast.requireAuth(request, asked.options)
    if (auth.user.id !== '1001') throw new Error('somebody else got in')
    return 'stale' in auth && auth.stale ? 'in, stale' : 'in'
  } catch (error) {
    return String((error as { status: number }).status)
  } finally {
    await holdfast.close({ deadlineMs: 0 })
  }
}

describe('the table of docs/guides/refusals.md', () => {
  const text = readFileSync(new URL('../../docs/guides/refusals.md', import.meta.url), 'utf8')
  const [head, ...rows] = text
    .split('\n')
    .filter((line) => line.startsWith('| '))
    .map((line) =>
      line
        .split('|')
        .slice(1, -1)
        .map((cell) => cell.trim().replaceAll('`', '')),
    ) as [string[], ...string[][]]
  const cells = rows.flatMap(([held, method, ...answers]) =>
    answers.map((answer, column) => ({
      state: held!.split(':')[0]!,
      method: method!,
      option: head[column + 2]!,
      answer,
    })),
  )

  test('has every combination once', () => {
    const found = cells.map(({ state, method, option }) => `${state} ${method} ${option}`).sort()
    const all = Object.keys(STATES).flatMap((state) =>
      ['none', 'GET', 'POST'].flatMap((method) => Object.keys(OPTIONS).map((option) => `${state} ${method} ${option}`)),
    )
    expect(found).toEqual(all.sort())
  })

  test.each(cells)('$state, $method, $option: $answer', async ({ state, method, option, answer }) => {
    const asked = { ...STATES[state]!, method: method === 'none' ? undefined : method, options: OPTIONS[option]! }
    expect(await outcome(asked)).toBe(answer)
  })
})

/** What must be answered, written down a second time and as simply as can be. */
function model({
  ageMs,
  weather,
  method,
  options,
}: {
  ageMs: number
  weather: Weather
  method: string | undefined
  options: RequireAuthOptions
}): string {
  const look = method === 'GET' || method === 'HEAD'
  const oldest = Math.min(options.maxAgeMs ?? (look ? STALE_MS : 5 * MINUTE), options.live ? 5 * SECOND : STALE_MS)
  const wantsGuilds = options.guilds !== false || options.guild !== undefined
  const trouble = {
    throttles: options.live ? '503' : '429',
    dead: '401',
    scope: '403',
    block: '503',
    outage: '503',
    fine: '',
  }[weather]
  if (!wantsGuilds) {
    if (!options.live && options.maxAgeMs === undefined) return 'in'
    // Nobody asked about the token before.
    if (weather === 'fine') return 'in'
    return { ...{ throttles: '429', block: '503', outage: '503', dead: '401', scope: '403' } }[weather]
  }
  const permits = options.guild === undefined || (options.guild === '1' && options.permissions !== 'BanMembers')
  const isFresh = ageMs < Math.min(FRESH_MS, oldest)
  const isUsable = ageMs < oldest
  if (!isFresh && weather !== 'fine') {
    if (!isUsable || weather === 'dead' || weather === 'scope') return trouble
    return permits ? 'in, stale' : '403'
  }
  return permits ? 'in' : '403'
}

test('nobody gets in whom the rules would not let in, whatever is asked for, however old the list, whatever Discord does', async () => {
  const options = fc
    .record(
      {
        guild: fc.constantFrom('1', '2', '11', '__proto__'),
        permissions: fc.constantFrom('ManageGuild', 'BanMembers'),
        live: fc.boolean(),
        maxAgeMs: fc.constantFrom(0, 4_999, 60_000, 2 * HOUR, Number.POSITIVE_INFINITY),
        guilds: fc.boolean(),
      },
      { requiredKeys: [] },
    )
    .filter((one) => one.permissions === undefined || one.guild !== undefined)
  const asked = fc.record({
    ageMs: fc.constantFrom(
      1,
      4_000,
      6_000,
      59_000,
      6 * MINUTE,
      30 * MINUTE,
      59 * MINUTE,
      2 * HOUR,
      23 * HOUR,
      25 * HOUR,
    ),
    weather: fc.constantFrom(...(Object.keys(DISCORD) as Weather[])),
    method: fc.constantFrom(undefined, 'GET', 'HEAD', 'POST', 'get', 'DELETE', ''),
    options,
  })
  await fc.assert(
    fc.asyncProperty(asked, async (one) => {
      expect(await outcome(one as never)).toBe(model(one as never))
    }),
    { numRuns: 60 },
  )
})

test('no session that a resolver may return, throw or promise lets anybody in as somebody else', async () => {
  const sessions = fc.oneof(
    fc.anything({ withNullPrototype: true, withBigInt: true, withSparseArray: true }),
    fc.record({ userId: fc.anything(), accessToken: fc.anything(), scopes: fc.anything() }, { requiredKeys: [] }),
    fc.record({
      userId: fc.constantFrom('1001', '', ' '),
      accessToken: fc.constantFrom('token', '', 'to ken', 'tok\nen'),
    }),
  )
  let resolver: () => unknown = () => null
  const { holdfast, answers } = setUp({ session: (() => resolver()) as never })
  answers[GUILDS] = ok([guild('1')])
  const request = { headers: new Headers(), method: 'GET' }
  await fc.assert(
    fc.asyncProperty(sessions, fc.constantFrom('return', 'throw', 'promise', 'reject'), async (session, how) => {
      resolver = () => {
        if (how === 'throw') throw session
        return how === 'return' ? session : how === 'promise' ? Promise.resolve(session) : Promise.reject(session)
      }
      const auth = await holdfast.requireAuth(request, { guild: '1' }).catch(() => undefined)
      if (!auth) return
      const { userId, accessToken } = session as { userId: unknown; accessToken: unknown }
      expect(['return', 'promise']).toContain(how)
      expect(auth.user.id).toBe(userId)
      expect(typeof accessToken === 'string' && /^[\x21-\x7e]+$/.test(accessToken)).toBe(true)
    }),
    { numRuns: 300 },
  )
})
