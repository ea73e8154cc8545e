import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createHoldfast } from 'holdfast'
import { startSimulator } from 'holdfast/simulator'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ageBars, ageGroups, agePlot } from '../../src/cli/ledger-ages.ts'
import { run } from './command.ts'

const SECRET = 'a-secret-of-at-least-32-bytes-for-tests'

describe('holdfast ledger', () => {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-cli-ledger-'))
  const environment: Record<string, string> = {
    DATABASE_URL: `sqlite:${join(folder, 'app.db')}`,
    HOLDFAST_SECRET: SECRET,
  }
  let discord: Awaited<ReturnType<typeof startSimulator>>

  beforeAll(async () => {
    discord = await startSimulator({ users: 4, guildsPerUser: 2 })
    environment.DISCORD_API_BASE_URL = discord.url
    for (const { id } of discord.users) discord.joinGuild(id, { id: '77', name: 'Every\u001b[2Jbody' })
    const holdfast = createHoldfast({
      discord: { baseUrl: discord.url },
      database: environment.DATABASE_URL!,
      secret: SECRET,
    })
    for (const { id: userId, accessToken } of discord.users) await holdfast.memberships({ userId, accessToken })
    await holdfast.close()
  })
  afterAll(async () => {
    await discord.close()
    rmSync(folder, { recursive: true })
  })

  test('shows what it holds as a table, as JSON and as a plot; a name moves no cursor', async () => {
    const svg = join(folder, 'ages.svg')
    const shown = await run(['ledger', '--plot', svg], environment)
    expect(shown).toMatchObject({ code: 0 })
    expect(shown.out).toMatch(/users +4\nmemberships +12\n/)
    expect(shown.out).toMatch(/Every\[2Jbody +77 +4/)
    expect(shown.out).toMatch(/days {2}users by days.*\n +0 {2}█+ 4/)
    expect(shown.out).not.toContain('\u001b')
    expect(readFileSync(svg, 'utf8')).toMatch(/^<svg [^>]*viewBox.*<rect .*<\/svg>\n$/s)
    const json = JSON.parse((await run(['ledger', '--json'], environment)).out)
    expect(json).toMatchObject({ users: 4, memberships: 12, ages: [{ days: 0, users: 4 }] })
    expect(json.usersPerGuild[0]).toMatchObject({ guildId: '77', users: 4 })
  })

  test('gives and deletes everything of one user', async () => {
    const { id } = discord.users[0]!
    const exported = JSON.parse((await run(['ledger', 'export', id], environment)).out)
    expect(exported).toMatchObject({ userId: id, guilds: expect.any(Array) })
    expect(exported.guilds).toHaveLength(3)
    expect((await run(['ledger', 'delete', id], environment)).out).toBe(`deleted 3 memberships of user ${id}\n`)
    expect(await run(['ledger', 'export', id], environment)).toMatchObject({
      code: 1,
      err: `nothing is held of user ${id}\n`,
    })
    expect((await run(['ledger', 'delete', 'anna'], environment)).err).toMatch(/one of Discord's ids.*INVALID_OPTION/)
  })

  test('refreshes with the tokens of a file, and says how far it is', async () => {
    const file = join(folder, 'tokens.mjs')
    const tokens = Object.fromEntries(discord.users.slice(1, 3).map(({ id, accessToken }) => [id, accessToken]))
    writeFileSync(file, `const tokens = ${JSON.stringify(tokens)}\nexport default async (id) => tokens[id] ?? null\n`)
    await new Promise((resolve) => setTimeout(resolve, 1_100))
    const refreshed = await run(['ledger', 'refresh', '--hours', '0', '--tokens', file], environment)
    expect(refreshed).toMatchObject({ code: 0, out: '2 refreshed, 1 without a token, 0 failed\n' })
    expect(refreshed.err).toContain('refresh')
    writeFileSync(file, 'export default 7')
    expect((await run(['ledger', 'refresh', '--tokens', file], environment)).err).toMatch(/no default export/)
  })

  test('says what is wrong, and so does the doctor', async () => {
    expect((await run(['ledger', 'burn'], environment)).err).toMatch(/there is no ledger burn/)
    expect((await run(['ledger'], {})).err).toMatch(/set DATABASE_URL/)
    const foreign = join(folder, 'letter.txt')
    writeFileSync(foreign, 'Dear Sir or Madam, '.repeat(20))
    const wrong = { ...environment, DATABASE_URL: `sqlite:${foreign}` }
    expect(await run(['ledger'], wrong)).toMatchObject({ code: 1, err: expect.stringMatching(/DATABASE_FOREIGN/) })
    const findingOf = async (given: Record<string, string>) =>
      JSON.parse((await run(['doctor', '--json'], given)).out).findings.find(
        ({ name }: { name: string }) => name === 'database',
      )
    expect(await findingOf(wrong)).toMatchObject({ grade: 'change', what: expect.stringMatching(/DATABASE_FOREIGN/) })
    expect(await findingOf(environment)).toMatchObject({ grade: 'ok' })
    expect(readFileSync(foreign, 'utf8')).toMatch(/^Dear/)
  })
})

test('ages of many days are gathered into few bars, and none is lost', () => {
  const ages = Array.from({ length: 90 }, (_, days) => ({ days, users: days + 1 }))
  const groups = ageGroups(ages)
  expect(groups.length).toBeLessThanOrEqual(15)
  expect(groups.reduce((sum, { users }) => sum + users, 0)).toBe((90 * 91) / 2)
  expect(groups[0]!.label).toBe('0–5')
  expect(ageBars([])).toContain('0')
  expect(agePlot(ages)).toContain('84–89')
})
