import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { createHoldfast } from 'holdfast'
import { startSimulator } from 'holdfast/simulator'
import { Kysely } from 'kysely'
import { afterAll, beforeAll, expect, test } from 'vitest'

const folder = mkdtempSync(join(tmpdir(), 'holdfast-libsql-'))
beforeAll(() => {
  const cwd = fileURLToPath(new URL('.', import.meta.url))
  execFileSync('npm', ['ci', '--no-audit', '--no-fund', '--ignore-scripts'], { cwd, stdio: 'ignore' })
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** libsql is none of the project's own dependencies, so neither are its types. */
async function open(): Promise<Kysely<unknown>> {
  const name = '@libsql/kysely-libsql'
  const { LibsqlDialect } = await import(/* @vite-ignore */ name)
  return new Kysely({ dialect: new LibsqlDialect({ url: `file:${join(folder, 'app.db')}` }) })
}

test('on libsql the ledger keeps, changes, recalls and forgets as on the databases that Holdfast opens itself', async () => {
  const discord = await startSimulator({ users: 3, guildsPerUser: 5 })
  const [first, second] = discord.users.map(({ id: userId, accessToken }) => ({ userId, accessToken }))
  const options = { discord: { baseUrl: discord.url }, secret: 'at least thirty-two bytes of your own' }
  const before = await open()
  const yesterday = createHoldfast({ ...options, database: before })
  await yesterday.memberships(first!)
  await yesterday.memberships(second!)
  await yesterday.ledger.summary()
  const left = discord.users[0]!.guilds[0]!.id
  discord.leaveGuild(first!.userId, left)
  await new Promise((resolve) => setTimeout(resolve, 1_100))
  await yesterday.memberships(first!, { maxAgeMs: 0 })
  await yesterday.ledger.forget(second!.userId)
  await yesterday.close()
  await before.destroy()

  discord.fault('server-error')
  const after = await open()
  const today = createHoldfast({ ...options, database: after })
  const { guilds, source } = await today.memberships(first!)
  expect([guilds.size, guilds.has(left), source]).toEqual([4, false, 'ledger'])
  expect(await today.ledger.recall(second!.userId)).toBeUndefined()
  expect(await today.ledger.usersPerGuild()).toHaveLength(4)
  await today.close()
  await after.destroy()
  await discord.close()
})
