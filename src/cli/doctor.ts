import { ConfigError, createHoldfast, DiscordAPIError, type Holdfast, HoldfastError, systemClock } from 'holdfast'
import { readWords } from './words.ts'

/** One thing that was looked at. `change` says what to do, where something has to be done. */
interface Finding {
  readonly grade: 'ok' | 'note' | 'change'
  readonly what: string
  readonly change?: string
}

const MARKS: Readonly<Record<Finding['grade'], string>> = { ok: '✓', note: '·', change: '✗' }
const REACH_TIMEOUT_MS = 5_000
/** A clock that is further off makes dates in Retry-After and token expiry wrong. */
const SKEW_WORTH_SAYING_MS = 5_000

/** `holdfast doctor`: checks the environment as an instance would read it. Exit code 1 where something has to change. */
export async function doctor(words: readonly string[]): Promise<number> {
  readWords(words, {})
  const findings = [nodeVersion()]
  try {
    const holdfast = createHoldfast()
    findings.push({ grade: 'ok', what: 'every variable that is set can be used' })
    findings.push(...settings())
    findings.push(await reach())
    if (process.env.REDIS_URL !== undefined) findings.push(await redis(holdfast))
    if (process.env.DISCORD_BOT_TOKEN !== undefined) findings.push(await bot(holdfast))
    await holdfast.close()
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    findings.push({ grade: 'change', what: error.message, change: `correct or unset ${error.option}` })
  }
  for (const { grade, what, change } of findings)
    process.stdout.write(`${MARKS[grade]} ${what}\n${change ? `  → ${change}\n` : ''}`)
  const changes = findings.filter((finding) => finding.grade === 'change').length
  process.stdout.write(
    changes === 0
      ? '\nNothing has to change.\n'
      : `\n${changes} ${changes === 1 ? 'thing has' : 'things have'} to change.\n`,
  )
  return changes === 0 ? 0 : 1
}

function nodeVersion(): Finding {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
  if (major > 22 || (major === 22 && minor >= 19)) return { grade: 'ok', what: `Node ${process.versions.node}` }
  return { grade: 'change', what: `Node ${process.versions.node} is too old`, change: 'use Node 22.19 or later' }
}

function settings(): Finding[] {
  const { DISCORD_CLIENT_ID, HOLDFAST_PUBLIC_URL } = process.env
  return [
    DISCORD_CLIENT_ID === undefined
      ? {
          grade: 'note',
          what: 'DISCORD_CLIENT_ID is not set: bearer tokens are refused with a ConfigError',
          change: 'set it to your application id, or give createHoldfast a session resolver',
        }
      : { grade: 'ok', what: `bearer tokens issued to application ${DISCORD_CLIENT_ID} are accepted` },
    HOLDFAST_PUBLIC_URL === undefined
      ? {
          grade: 'note',
          what: 'HOLDFAST_PUBLIC_URL is not set: Discord sees a User-Agent that tells nobody whom to write to',
          change: 'set it to the address your users open',
        }
      : { grade: 'ok', what: `Discord sees ${HOLDFAST_PUBLIC_URL} in the User-Agent` },
  ]
}

async function reach(): Promise<Finding> {
  const base = process.env.DISCORD_API_BASE_URL ?? 'https://discord.com/api/v10'
  try {
    const began = systemClock.now()
    const response = await fetch(`${base.replace(/\/$/, '')}/gateway`, {
      headers: { 'user-agent': 'DiscordBot (https://holdfast.invalid, doctor)' },
      signal: AbortSignal.timeout(REACH_TIMEOUT_MS),
      redirect: 'manual',
    })
    await response.body?.cancel()
    const date = Date.parse(response.headers.get('date') ?? '')
    const skewMs = Number.isNaN(date) ? 0 : Math.max(date - systemClock.now(), began - date - 1000)
    if (skewMs > SKEW_WORTH_SAYING_MS)
      return {
        grade: 'change',
        what: `${base} is reached, and its clock differs from this machine's by ${Math.round(skewMs / 1000)} s`,
        change: 'set this machine’s clock (NTP)',
      }
    if (response.status === 429)
      return {
        grade: 'change',
        what: `${base} answers 429 to this address`,
        change: `wait ${response.headers.get('retry-after') ?? 'a few'} s; if it stays, this address is banned: use one of your own`,
      }
    // Discord answers in JSON, also where it refuses.
    if (!response.headers.get('content-type')?.startsWith('application/json'))
      return {
        grade: 'change',
        what: `${base} answers ${response.status}, and not as Discord does`,
        change: 'look for a proxy or a block page on the way, or correct DISCORD_API_BASE_URL',
      }
    return { grade: 'ok', what: `${base} is reached` }
  } catch (error) {
    const why = error instanceof Error ? ((error.cause as Error | undefined)?.message ?? error.message) : String(error)
    return {
      grade: 'change',
      what: `${base} is not reached: ${why}`,
      change: 'check the network, the proxy, or DISCORD_API_BASE_URL',
    }
  }
}

async function redis(holdfast: Holdfast): Promise<Finding> {
  await holdfast.ready({ deadlineMs: REACH_TIMEOUT_MS })
  if (holdfast.stats().redis === 'up')
    return { grade: 'ok', what: 'Redis is reached, takes writes and answers in time' }
  return {
    grade: 'change',
    what: 'Redis is away: nothing is reached, or it is slow, read-only or refuses the password',
    change: 'check REDIS_URL, the network and the server; until then every process carries on alone',
  }
}

async function bot(holdfast: Holdfast): Promise<Finding> {
  try {
    const user = await holdfast.getCurrentUser(process.env.DISCORD_BOT_TOKEN!.trim(), {
      tokenType: 'Bot',
      maxRetries: 0,
    })
    return { grade: 'ok', what: `the bot token belongs to ${user.username}` }
  } catch (error) {
    if (!(error instanceof HoldfastError)) throw error
    if (error instanceof DiscordAPIError && error.status === 401)
      return {
        grade: 'change',
        what: 'Discord does not accept DISCORD_BOT_TOKEN',
        change: 'copy it anew from the application page',
      }
    return { grade: 'note', what: `the bot token could not be checked: ${error.message}` }
  }
}
