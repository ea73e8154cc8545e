import { existsSync, readFileSync } from 'node:fs'
import { parseEnv } from 'node:util'
import { ConfigError, createHoldfast, type Holdfast, HoldfastError } from 'holdfast'
import { botToken, clockAndReach, login, redis, refusals } from './doctor-checks.ts'
import type { Finding } from './finding.ts'
import { wrapped } from './terminal.ts'
import { readWords } from './words.ts'

const MARKS: Readonly<Record<Finding['grade'], string>> = { ok: '✓', note: '·', change: '✗' }
/** More settings than this cannot be wrong. */
const MOST_SETTINGS = 50

/** `holdfast doctor`: checks the environment as an instance would read it. Exit code 1 where something has to change. */
export async function doctor(words: readonly string[]): Promise<number> {
  const { json, env } = readWords(words, {}, ['json'], ['env'])
  const findings = [...readEnvFile(env), nodeVersion(), ...wrongSettings(), ...settings()]
  const holdfast = createHoldfast()
  try {
    findings.push(...(await redis(holdfast)))
    // Before anything is asked for here, so that it is what others met.
    findings.push(...refusals(holdfast))
    // Where to call is not known, and Discord itself was not meant.
    const atDiscord = findings.some(({ what }) => what.includes('DISCORD_API_BASE_URL'))
      ? []
      : [clockAndReach(), botToken(holdfast), login()]
    for (const found of await Promise.all([...atDiscord, database(holdfast)])) findings.push(...found)
  } finally {
    await holdfast.close()
  }
  const changes = findings.filter(({ grade }) => grade === 'change').length
  process.stdout.write(
    json ? `${JSON.stringify({ ok: changes === 0, findings }, null, 2)}\n` : asText(findings, changes),
  )
  return changes === 0 ? 0 : 1
}

function asText(findings: readonly Finding[], changes: number): string {
  const lines = findings.map(
    ({ grade, what, change }) =>
      `${wrapped(`${MARKS[grade]} ${what}`, { indent: 2 })}\n${change ? `${wrapped(`  → ${change}`, { indent: 4 })}\n` : ''}`,
  )
  const end =
    changes === 0 ? 'Nothing has to change.' : `${changes} ${changes === 1 ? 'thing has' : 'things have'} to change.`
  return `${lines.join('')}\n${end}\n`
}

/** Puts what a file says into the environment, where that does not say it already. */
function readEnvFile(given: string | undefined): Finding[] {
  const file = given ?? '.env'
  if (!existsSync(file)) {
    if (given === undefined) return []
    return [
      { name: 'env', grade: 'change', what: `there is no file ${given}`, change: 'name the file with the variables' },
    ]
  }
  const read = Object.entries(parseEnv(readFileSync(file, 'utf8'))).filter(([name]) => process.env[name] === undefined)
  for (const [name, value] of read) process.env[name] = value
  return [{ name: 'env', grade: 'note', what: `${file} sets ${read.length} variables that the environment does not` }]
}

/** Every setting that cannot be used, each once. They are taken out of the environment, so that the rest can be looked at. */
function wrongSettings(): Finding[] {
  const findings: Finding[] = []
  for (let nth = 0; nth < MOST_SETTINGS; nth++) {
    try {
      const holdfast = createHoldfast()
      void holdfast.close()
      break
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error
      findings.push({
        name: 'settings',
        grade: 'change',
        what: error.message,
        change: FIXES[error.option] ?? `correct or unset ${error.option}`,
      })
      for (const name of variablesOf(error)) delete process.env[name]
    }
  }
  if (findings.length === 0)
    findings.push({ name: 'settings', grade: 'ok', what: 'every variable that is set can be used' })
  return findings
}

const FIXES: Readonly<Record<string, string>> = {
  secret: 'set HOLDFAST_SECRET to the output of: openssl rand -base64 32',
}

/** The variables that an error is about: its option, else those that its message names, else what needs the secret. */
function variablesOf({ option, message }: ConfigError): string[] {
  if (process.env[option] !== undefined) return [option]
  const named = (message.match(/\b[A-Z]+(?:_[A-Z]+)+\b/g) ?? []).filter((name) => process.env[name] !== undefined)
  return named.length > 0 ? named : ['REDIS_URL', 'DATABASE_URL']
}

function nodeVersion(): Finding {
  return { name: 'node', grade: 'ok', what: `Node ${process.versions.node}` }
}

function settings(): Finding[] {
  const { DISCORD_CLIENT_ID, HOLDFAST_PUBLIC_URL } = process.env
  return [
    DISCORD_CLIENT_ID === undefined
      ? {
          name: 'client-id',
          grade: 'note',
          what: 'DISCORD_CLIENT_ID is not set: bearer tokens are refused with a ConfigError',
          change: 'set it to your application id, or give createHoldfast a session resolver',
        }
      : {
          name: 'client-id',
          grade: 'ok',
          what: `bearer tokens issued to application ${DISCORD_CLIENT_ID} are accepted`,
        },
    HOLDFAST_PUBLIC_URL === undefined
      ? {
          name: 'public-url',
          grade: 'note',
          what: 'HOLDFAST_PUBLIC_URL is not set: Discord sees a User-Agent that tells nobody whom to write to',
          change: 'set it to the address your users open',
        }
      : { name: 'public-url', grade: 'ok', what: `Discord sees ${HOLDFAST_PUBLIC_URL} in the User-Agent` },
  ]
}

async function database(holdfast: Holdfast): Promise<Finding[]> {
  if (process.env.DATABASE_URL === undefined) return []
  try {
    await holdfast.ledger.recall('1')
    return [
      { name: 'database', grade: 'ok', what: 'the database is reached, and its tables are as this version needs them' },
    ]
  } catch (error) {
    const code = error instanceof HoldfastError ? ` (${error.code})` : ''
    const what = `the database cannot be used: ${error instanceof Error ? error.message : String(error)}${code}`
    return [
      { name: 'database', grade: 'change', what, change: 'check DATABASE_URL, the server and the rights of its user' },
    ]
  }
}
