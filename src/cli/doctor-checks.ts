import { DiscordAPIError, type DiscordHold, type Holdfast, HoldfastError, systemClock } from 'holdfast'
import type { Finding } from './finding.ts'

const REACH_TIMEOUT_MS = 5_000
/** A clock that is further off makes dates in Retry-After and token expiry wrong. */
const SKEW_WORTH_SAYING_MS = 5_000
const USER_AGENT = 'DiscordBot (https://holdfast.invalid, doctor)'

const baseUrl = () => (process.env.DISCORD_API_BASE_URL ?? 'https://discord.com/api/v10').replace(/\/$/, '')

/** Whether Discord is reached, and whether this machine's clock agrees with its. */
export async function clockAndReach(): Promise<Finding[]> {
  const base = baseUrl()
  try {
    const began = systemClock.now()
    const response = await fetch(`${base}/gateway`, {
      headers: { 'user-agent': USER_AGENT },
      signal: AbortSignal.timeout(REACH_TIMEOUT_MS),
      redirect: 'manual',
    })
    await response.body?.cancel()
    const findings: Finding[] = []
    const date = Date.parse(response.headers.get('date') ?? '')
    const skewMs = Number.isNaN(date) ? 0 : Math.max(date - systemClock.now(), began - date - 1000)
    if (skewMs > SKEW_WORTH_SAYING_MS)
      findings.push({
        name: 'clock',
        grade: 'change',
        what: `${base} is reached, and its clock differs from this machine's by ${Math.round(skewMs / 1000)} s`,
        change: 'set this machine’s clock (NTP)',
      })
    if (response.status === 429)
      findings.push({
        name: 'discord',
        grade: 'change',
        what: `${base} answers 429 to this address`,
        change: `wait ${response.headers.get('retry-after') ?? 'a few'} s; if it stays, this address is banned: use one of your own`,
      })
    // Discord answers in JSON, also where it refuses.
    else if (!response.headers.get('content-type')?.startsWith('application/json'))
      findings.push({
        name: 'discord',
        grade: 'change',
        what: `${base} answers ${response.status}, and not as Discord does`,
        change: 'look for a proxy or a block page on the way, or correct DISCORD_API_BASE_URL',
      })
    return findings.length > 0 ? findings : [{ name: 'discord', grade: 'ok', what: `${base} is reached` }]
  } catch (error) {
    const why = error instanceof Error ? ((error.cause as Error | undefined)?.message ?? error.message) : String(error)
    return [
      {
        name: 'discord',
        grade: 'change',
        what: `${base} is not reached: ${why}`,
        change: 'check the network, the proxy, or DISCORD_API_BASE_URL',
      },
    ]
  }
}

/** Whether Redis answers in time and takes writes. */
export async function redis(holdfast: Holdfast): Promise<Finding[]> {
  if (process.env.REDIS_URL === undefined)
    return [
      {
        name: 'redis',
        grade: 'note',
        what: 'REDIS_URL is not set: processes share nothing, unless a Keyv store is given as cache.store; with one the cache is shared, and lost are the atomic lease (a key may be loaded twice), news in milliseconds (invalidations are heard within 5 s), and what 429s, bans, the guard and quotas tell other processes',
        change: 'for one process nothing; for several set REDIS_URL, or see docs/guides/fleet.md',
      },
    ]
  // What is wrong with the database is a finding of its own.
  await holdfast.ready({ deadlineMs: REACH_TIMEOUT_MS }).catch(() => {})
  if (holdfast.stats().redis === 'up')
    return [{ name: 'redis', grade: 'ok', what: 'Redis is reached, takes writes and answers in time' }]
  return [
    {
      name: 'redis',
      grade: 'change',
      what: 'Redis is away: nothing is reached, or it is slow, read-only or refuses the password',
      change: 'check REDIS_URL, the network and the server; until then every process carries on alone',
    },
  ]
}

/** What is refused now, as far as it can be seen from here: what processes have told each other over Redis. Asked after `redis`. */
export function refusals(holdfast: Holdfast): Finding[] {
  if (holdfast.stats().redis !== 'up')
    return [
      {
        name: 'refusals',
        grade: 'note',
        what: 'what running processes refuse cannot be seen from here: they share nothing',
        change:
          'ask a process itself: holdfast.holds() says what it would not send, the event auth.refused and the logger why',
      },
    ]
  const holds = holdfast.holds()
  if (holds.length === 0)
    return [{ name: 'refusals', grade: 'ok', what: 'no process has told of a block, a hold or a dead token' }]
  return holds.map(({ about, count, longestMs }) => {
    return { name: `held-${about}`, ...HELD[about](count, `${Math.ceil(longestMs / 1000)} s`) }
  })
}

const HELD: Readonly<Record<DiscordHold['about'], (count: number, time: string) => Omit<Finding, 'name'>>> = {
  address: (_, time) => ({
    grade: 'change',
    what: `Discord blocks this address: nothing is sent for ${time}, and users see stale lists or 503`,
    change: 'look at who else uses the address; who knows that it is over calls holdfast.liftBlock()',
  }),
  route: (count, time) => ({
    grade: 'change',
    what: `Discord blocks ${count} of its routes for this address, for up to ${time}; the others are open`,
    change: 'call those routes less; the event discord.rate-limited with scope egress names them',
  }),
  'invalid-requests': (_, time) => ({
    grade: 'change',
    what: `nearly 10 000 requests of ten minutes were answered 401, 403 or 429: nothing is sent for ${time}, before Discord bans the address`,
    change: 'find what sends them: the event discord.call tells each by route and status',
  }),
  strangers: (_, time) => ({
    grade: 'change',
    what: `too many tokens that were never valid were tried: none is for ${time}, and who is new cannot sign in`,
    change: 'look for somebody who makes tokens up; limit the routes that take bearer tokens with a guard',
  }),
  resource: (count, time) => ({
    grade: 'note',
    what: `${count} guilds, channels or webhooks are held for everybody by a 429 of Discord, for up to ${time}`,
    change: 'nothing, unless it stays: then ask for them less often',
  }),
  principal: (count, time) => ({
    grade: 'note',
    what: `${count} users or bots are held by a 429 of Discord, for up to ${time}`,
    change: 'nothing, unless it stays: another program may spend their limits',
  }),
  token: (count, time) => ({
    grade: 'note',
    what: `Discord does not accept ${count} tokens, and they are not sent for up to ${time}: their users are answered 401`,
    change: 'nothing, unless they are many: their users sign in anew, or the session resolver refreshes them',
  }),
}

/** Whose the bot token is. */
export async function botToken(holdfast: Holdfast): Promise<Finding[]> {
  const token = process.env.DISCORD_BOT_TOKEN?.trim()
  if (token === undefined) return []
  try {
    const user = await holdfast.getCurrentUser(token, { tokenType: 'Bot', maxRetries: 0 })
    return [{ name: 'bot-token', grade: 'ok', what: `the bot token belongs to ${user.username}` }]
  } catch (error) {
    if (!(error instanceof HoldfastError)) throw error
    if (error instanceof DiscordAPIError && error.status === 401)
      return [
        {
          name: 'bot-token',
          grade: 'change',
          what: `Discord does not accept DISCORD_BOT_TOKEN${error.attempts === 0 ? '; a running process has met that, and nothing was sent' : ''}`,
          change: 'copy it anew from the application page',
        },
      ]
    return [{ name: 'bot-token', grade: 'note', what: `the bot token could not be checked: ${error.message}` }]
  }
}

/**
 * Whether login could exchange a code: id and secret belong together, tried with the application's own grant
 * (Discord's docs, OAuth2, Client Credentials Grant), and what scopes its token then has.
 */
export async function login(): Promise<Finding[]> {
  const { DISCORD_CLIENT_ID: id, DISCORD_CLIENT_SECRET: secret, HOLDFAST_PUBLIC_URL: publicUrl } = process.env
  if (secret === undefined) return []
  if (id === undefined || publicUrl === undefined)
    return [
      {
        name: 'login',
        grade: 'note',
        what: 'DISCORD_CLIENT_SECRET is set, and login needs more',
        change: `set ${[id === undefined && 'DISCORD_CLIENT_ID', publicUrl === undefined && 'HOLDFAST_PUBLIC_URL'].filter(Boolean).join(' and ')}`,
      },
    ]
  try {
    const response = await fetch(`${baseUrl()}/oauth2/token`, {
      method: 'POST',
      headers: {
        'user-agent': USER_AGENT,
        authorization: `Basic ${Buffer.from(`${id}:${secret}`).toString('base64')}`,
      },
      body: new URLSearchParams({ grant_type: 'client_credentials', scope: 'identify guilds' }),
      signal: AbortSignal.timeout(REACH_TIMEOUT_MS),
      redirect: 'manual',
    })
    const answer = (await response.json().catch(() => ({}))) as { scope?: unknown; error?: unknown }
    if (response.ok)
      return [
        {
          name: 'login',
          grade: 'ok',
          what: `id and secret of the application belong together (scopes ${String(answer.scope ?? 'not told')}); register ${publicUrl.replace(/\/$/, '')}/auth/discord/callback as a redirect URI`,
        },
      ]
    if (response.status === 401 || answer.error === 'invalid_client')
      return [
        {
          name: 'login',
          grade: 'change',
          what: 'Discord does not accept DISCORD_CLIENT_SECRET for DISCORD_CLIENT_ID',
          change: 'copy both from the same application page; a secret that was reset is another one',
        },
      ]
    return [
      {
        name: 'login',
        grade: 'note',
        what: `the client secret could not be checked: Discord answered ${response.status}`,
      },
    ]
  } catch {
    return [{ name: 'login', grade: 'note', what: 'the client secret could not be checked: Discord was not reached' }]
  }
}
