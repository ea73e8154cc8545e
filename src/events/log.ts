import { RecentlyUsed } from '../collections/recently-used.ts'
import type { Clock, Milliseconds } from '../time/clock.ts'
import type { EventLog, HoldfastHappening, Logger } from './events.ts'

type Level = 'debug' | 'info' | 'warn' | 'error'

/** The same cause is told once in so long, with how often it happened since it was last told. */
const TOLD_EVERY_MS: Milliseconds = 60_000
/** Causes are routes, reasons and codes, never ids, so there are few; of more, what was told longest ago may be told again. */
const CAUSES = 1_000

/** What is logged of one happening: under which cause it is counted, and with which fields and words it is told. */
interface Line {
  readonly level: Level
  readonly cause: string
  readonly message: string
  readonly fields: object
}

/**
 * What is worth a log line, and how often. Retries are told each (debug); what users feel is told once a minute a cause,
 * with a count (warn); what is wrong with the app once a minute a kind (error). No line holds an id or a token.
 */
export class Log implements EventLog {
  readonly #logger: Logger
  readonly #clock: Clock
  readonly #told = new RecentlyUsed<string, { nextMs: Milliseconds; unsaid: number }>(CAUSES)

  constructor(logger: Logger, clock: Clock) {
    this.#logger = logger
    this.#clock = clock
  }

  hear(happening: HoldfastHappening): void {
    const line = lineOf(happening)
    if (line) this.#tell(line)
  }

  /** Something is wrong with the app: `where` and what was thrown say what. The thrown value's own words are shown without what could be an id or a token. */
  unexpected(where: string, thrown: unknown): void {
    const { kind, fields } = described(thrown)
    this.#tell({ level: 'error', cause: `${where} ${kind}`, message: where, fields })
  }

  #tell({ level, cause, message, fields }: Line): void {
    if (level === 'debug') return this.#write(level, fields, message)
    const now = this.#clock.monotonic()
    const told = this.#told.get(cause)
    if (told && now < told.nextMs) {
      told.unsaid++
      return
    }
    const count = (told?.unsaid ?? 0) + 1
    this.#told.set(cause, { nextMs: now + TOLD_EVERY_MS, unsaid: 0 })
    this.#write(level, { ...fields, count }, message)
  }

  /** A logger that fails must not make what it was told of fail. */
  #write(level: Level, fields: object, message: string): void {
    try {
      this.#logger[level](fields, message)
    } catch {}
  }
}

/** Every event is decided on here: told, or everyday. */
function lineOf(happening: HoldfastHappening): Line | undefined {
  switch (happening.type) {
    case 'discord.retry': {
      const { route, attempt, waitMs } = happening
      return line('debug', route, 'a call to Discord is tried again', { route, attempt, waitMs })
    }
    case 'cache.stale': {
      const { reason } = happening
      return line('warn', `${reason}`, 'a stale value was served', { reason })
    }
    case 'discord.rate-limited': {
      const { route, scope, retryAfterMs } = happening
      return line('warn', `${scope} ${route}`, 'Discord throttles', { route, scope, retryAfterMs })
    }
    case 'breaker': {
      const { name, state } = happening
      if (state === 'half-open') return undefined
      return state === 'open'
        ? line('warn', `${name} open`, `${BREAKERS[name]} cannot be used; nothing is sent until it can`, { name })
        : line('info', `${name} closed`, `${BREAKERS[name]} can be used again`, { name })
    }
    case 'auth.refused': {
      const { status, reason } = happening
      // That somebody is signed out or may not is everyday; what looks like a setting, or like Discord, is not.
      return TOLD_REFUSALS.has(reason)
        ? line('warn', reason, 'requireAuth refused requests', { status, reason })
        : undefined
    }
    case 'cache.failed': {
      const code = shown(happening.code)
      // What Discord says of one user's token or ids is everyday.
      return EVERYDAY_CODES.has(code) ? undefined : line('warn', code, 'a load ended without a value', { code })
    }
    case 'store.failed':
    case 'redis.failed': {
      const operation = happening.operation
      const code = shown(happening.code)
      const name = happening.type === 'store.failed' ? 'store' : 'redis'
      return line('warn', `${operation} ${code}`, `${BREAKERS[name]} failed`, { operation, code })
    }
    case 'ledger.failed': {
      const { operation, waiting } = happening
      const code = shown(happening.code)
      return line('warn', `${operation} ${code}`, 'the ledger’s database failed', { operation, code, waiting })
    }
    case 'ledger.slow': {
      const { durationMs, waiting } = happening
      return line('warn', '', 'the ledger’s database is slow', { durationMs, waiting })
    }
    case 'ledger.recovered':
      return line('info', '', 'the ledger writes again', { afterMs: happening.afterMs })
    case 'ledger.skipped': {
      const { reason, users } = happening
      return line('warn', reason, 'the ledger does not keep a fetch', { reason, users })
    }
    case 'ledger.recalled':
      return line('warn', '', 'guilds came out of the ledger: Discord cannot be asked', { ageMs: happening.ageMs })
    case 'login.refused': {
      const { reason } = happening
      return TOLD_LOGIN_REFUSALS.has(reason)
        ? line('warn', reason, 'the login turned requests away', { reason })
        : undefined
    }
    case 'login.refresh': {
      if (happening.outcome !== 'failed') return undefined
      const code = shown(happening.code ?? 'UNKNOWN')
      return line('warn', code, 'a user’s tokens could not be refreshed; nobody is signed out', { code })
    }
    case 'guard.shed':
      return line('warn', '', 'the guard turns requests away: this process has too much to do', {
        status: happening.status,
      })
    case 'guard.overflow': {
      const { callers, overflowing } = happening
      return overflowing
        ? line('warn', callers, 'a table of the guard’s callers is full: newcomers share counters', { callers })
        : line('info', callers, 'a table of the guard’s callers has room again', { callers })
    }
    case 'cache.hit':
    case 'cache.miss':
    case 'cache.refresh':
    case 'discord.call':
    case 'discord.wait':
    case 'quota.taken':
    case 'quota.refused':
    case 'guard.refused':
    case 'guard.passed':
    case 'guard.refunded':
    case 'login.signed-in':
    case 'login.signed-out':
    case 'ledger.written':
      return undefined
    default:
      // An event is added to one of the cases above, or this does not compile.
      return happening satisfies never
  }
}

function line(level: Level, cause: string, message: string, fields: object): Line {
  return { level, cause: `${message} ${cause}`, message, fields }
}

const BREAKERS: Readonly<Record<string, string>> = {
  discord: 'the way to Discord',
  redis: 'Redis',
  store: 'the store',
  database: 'the database',
}

/** Refusals that a developer wants to hear of without listening to events. Those with an unexpected cause are told with it. */
const TOLD_REFUSALS: ReadonlySet<string> = new Set([
  'token-foreign',
  'token-anonymous',
  'scope-missing',
  'session-invalid',
  'discord-throttles',
  'discord-unavailable',
  'not-live',
])

/** Refusals of the login that a developer can do something about. What Discord says of the application is told as an error where it is met. */
const TOLD_LOGIN_REFUSALS: ReadonlySet<string> = new Set(['throttled', 'unavailable', 'store'])

/** Failed loads that are about who asks, or what for: a dead token, a missing scope, an id that is none. */
const EVERYDAY_CODES: ReadonlySet<string> = new Set([
  'DISCORD_UNAUTHORIZED',
  'DISCORD_FORBIDDEN',
  'DISCORD_NOT_FOUND',
  'DISCORD_REFUSED',
])

/** A code as it may be shown: words of capitals, or of small letters (OAuth's). Those of an app's own errors can be anything. */
const shown = (code: string): string => (CODE.test(code) && !/\d{6,}/.test(code) ? code : masked(code)).slice(0, 80)
const CODE = /^(?:[A-Z0-9_]{1,80}|[a-z_]{1,80})$/

/** What kind of thing was thrown, and what can be shown of it. */
function described(thrown: unknown): { readonly kind: string; readonly fields: object } {
  if (typeof thrown !== 'object' || thrown === null) return { kind: typeof thrown, fields: { thrown: typeof thrown } }
  const { name, code, message, stack } = thrown as Record<string, unknown>
  const error = typeof name === 'string' ? name.slice(0, 80) : 'object'
  const fields: Record<string, string> = { error }
  if (typeof code === 'string') fields.code = shown(code)
  if (typeof message === 'string') fields.message = masked(message)
  const at = typeof stack === 'string' ? /^\s*at (.*)$/m.exec(stack)?.[1] : undefined
  if (at !== undefined) fields.at = at.slice(0, 200)
  return { kind: `${error} ${fields.code ?? ''}`, fields }
}

/** Numbers of ids' length and words of tokens' length are left out: other people's messages may hold them. */
function masked(message: string): string {
  return message.slice(0, 300).replace(/[\w+/=~.-]{16,}|\d{4,}/g, '…')
}
