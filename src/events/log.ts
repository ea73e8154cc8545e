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
    default:
      return undefined
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

/** What kind of thing was thrown, and what can be shown of it. */
function described(thrown: unknown): { readonly kind: string; readonly fields: object } {
  if (typeof thrown !== 'object' || thrown === null) return { kind: typeof thrown, fields: { thrown: typeof thrown } }
  const { name, code, message, stack } = thrown as Record<string, unknown>
  const error = typeof name === 'string' ? name.slice(0, 80) : 'object'
  const fields: Record<string, string> = { error }
  if (typeof code === 'string') fields.code = code.slice(0, 80)
  if (typeof message === 'string') fields.message = masked(message)
  const at = typeof stack === 'string' ? /^\s*at (.*)$/m.exec(stack)?.[1] : undefined
  if (at !== undefined) fields.at = at.slice(0, 200)
  return { kind: `${error} ${fields.code ?? ''}`, fields }
}

/** Numbers of ids' length and words of tokens' length are left out: other people's messages may hold them. */
function masked(message: string): string {
  return message.slice(0, 300).replace(/[\w+/=~.-]{16,}|\d{4,}/g, '…')
}
