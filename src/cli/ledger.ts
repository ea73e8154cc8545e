import { writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { resolve } from 'node:path'
import { createHoldfast, type Holdfast, HoldfastError } from 'holdfast'
import { ageBars, agePlot } from './ledger-ages.ts'
import { ProgressBar, table } from './terminal.ts'
import { readWords } from './words.ts'

const GUILDS_SHOWN = 10
const GUILDS_IN_JSON = 10_000

/** `holdfast ledger`. Exit code 1 where there is nothing to show, or something failed. */
export async function ledger(words: readonly string[]): Promise<number> {
  const [task, ...rest] = words[0]?.startsWith('-') === false ? words : ['show', ...words]
  const does = Object.hasOwn(TASKS, task!) ? TASKS[task as keyof typeof TASKS] : undefined
  if (!does) throw new Error(`there is no ledger ${task}; there are export, delete and refresh`)
  if (process.env.DATABASE_URL === undefined)
    throw new Error('set DATABASE_URL to the database of your app, for example sqlite:./holdfast.db')
  const holdfast = createHoldfast()
  try {
    return await does(holdfast, rest)
  } catch (error) {
    // The message says what to do, and the code is what can be looked up.
    if (error instanceof HoldfastError) throw new Error(`${error.message} (${error.code})`)
    throw error
  } finally {
    await holdfast.close()
  }
}

const TASKS = { show, export: exportUser, delete: deleteUser, refresh }

async function show(holdfast: Holdfast, words: readonly string[]): Promise<number> {
  const { json, plot } = readWords(words, {}, ['json'], ['plot'])
  const summary = await holdfast.ledger.summary()
  const guilds = await holdfast.ledger.usersPerGuild({ limit: json ? GUILDS_IN_JSON : GUILDS_SHOWN })
  if (plot !== undefined) await writeFile(plot, agePlot(summary.ages))
  if (json) {
    process.stdout.write(`${JSON.stringify({ ...summary, usersPerGuild: guilds }, null, 2)}\n`)
    return 0
  }
  const { users, memberships, guilds: known } = summary
  process.stdout.write(
    `${table(
      ['the ledger holds', ''],
      [
        ['users', String(users)],
        ['memberships', String(memberships)],
        ['guilds', String(known)],
      ],
    )}\n`,
  )
  if (users > 0) {
    process.stdout.write(`\n${ageBars(summary.ages)}\n`)
    const rows = guilds.map(({ guildId, name, users }) => [printable(name), guildId, String(users)])
    process.stdout.write(`\n${table(['guilds with the most users', 'id', 'users'], rows)}\n`)
  }
  return 0
}

async function exportUser(holdfast: Holdfast, [userId = '', ...more]: readonly string[]): Promise<number> {
  readWords(more, {})
  const found = await holdfast.ledger.exportUser(userId)
  if (!found) {
    process.stderr.write(`nothing is held of user ${userId}\n`)
    return 1
  }
  process.stdout.write(`${JSON.stringify(found, null, 2)}\n`)
  return 0
}

async function deleteUser(holdfast: Holdfast, [userId = '', ...more]: readonly string[]): Promise<number> {
  readWords(more, {})
  const found = await holdfast.ledger.exportUser(userId)
  await holdfast.ledger.forget(userId)
  process.stdout.write(
    found ? `deleted ${found.guilds.length} memberships of user ${userId}\n` : `nothing was held of user ${userId}\n`,
  )
  return 0
}

async function refresh(holdfast: Holdfast, words: readonly string[]): Promise<number> {
  const numbers = {
    hours: { min: 0, max: 8760, fallback: 24 },
    limit: { min: 1, max: 10_000_000, fallback: 100_000 },
    'at-once': { min: 1, max: 100, fallback: 10 },
  }
  const read = readWords(words, numbers, [], ['tokens'])
  const token = read.tokens === undefined ? holdfast.login.accessToken : tokensOf(read.tokens)
  const bar = new ProgressBar(process.stderr, 'refresh')
  const abort = new AbortController()
  const stop = () => abort.abort(STOPPED)
  process.once('SIGINT', stop)
  process.once('SIGTERM', stop)
  let done = 0
  try {
    const counts = await holdfast.ledger.refreshDue({
      olderThanMs: read.hours * 3_600_000,
      limit: read.limit,
      atOnce: read['at-once'],
      token,
      signal: abort.signal,
      onProgress: (now, total) => {
        done = now
        bar.draw(total === 0 ? 1 : now / total, 'users', `${now} of ${total}`)
      },
    })
    bar.end()
    const { refreshed, skipped, failed } = counts
    process.stdout.write(`${refreshed} refreshed, ${skipped} without a token, ${failed} failed\n`)
    return failed > 0 && refreshed === 0 ? 1 : 0
  } catch (error) {
    bar.end()
    if (error !== STOPPED) throw error
    process.stdout.write(`stopped after ${done}; run it again to go on\n`)
    return 0
  } finally {
    process.removeListener('SIGINT', stop)
    process.removeListener('SIGTERM', stop)
  }
}

const STOPPED = new Error('stopped')

function tokensOf(file: string): (userId: string) => Promise<string | null> {
  // A file of the user's, named on the command line; ESM too, as long as it awaits nothing at its top level.
  const loaded: { default?: unknown } = createRequire(import.meta.url)(resolve(file))
  if (typeof loaded.default !== 'function')
    throw new Error(`${file} has no default export that is a function of the user id`)
  return loaded.default as (userId: string) => Promise<string | null>
}

/** Guilds are named by strangers: nothing of a name may move the cursor. */
function printable(name: string): string {
  const text = name.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, '')
  return text.length > 40 ? `${text.slice(0, 39)}…` : text
}
