import { ConfigError } from '../errors/errors.ts'
import type { Milliseconds } from '../time/clock.ts'
import { checkedLater, number, wholeNumber } from './accepted.ts'
import { cannotBeUsed, type Option } from './options.ts'
import { isPrivateHost } from './private-host.ts'

const MINUTE: Milliseconds = 60_000
const HOUR: Milliseconds = 60 * MINUTE
const YEAR: Milliseconds = 365 * 24 * HOUR

/** A number among the settings. `unit` is what one step of the variable is, in the option's own unit. */
export interface NumberSetting {
  readonly variable?: string
  readonly unit?: number
  readonly unitName: string
  readonly min: number
  readonly max: number
  readonly whole?: boolean
  readonly fallback: number
}

/** Every number, with its variable, unit, bounds and default: the one table that docs/reference/configuration.md is made from. */
export const NUMBERS = {
  'discord.maxRetries': {
    variable: 'DISCORD_API_MAX_RETRIES',
    unitName: 'tries after the first',
    min: 0,
    max: 10,
    whole: true,
    fallback: 3,
  },
  'discord.retryDelayMs': {
    variable: 'DISCORD_API_RETRY_DELAY_MS',
    unitName: 'milliseconds',
    min: 0,
    max: HOUR,
    fallback: 1000,
  },
  'discord.maxWaitMs': {
    variable: 'DISCORD_API_MAX_WAIT_MS',
    unitName: 'milliseconds',
    min: 0,
    max: YEAR,
    fallback: 10_000,
  },
  'discord.globalPerSecond': { unitName: 'calls a second', min: 1, max: 100_000, whole: true, fallback: 50 },
  'discord.timeoutMs': { unitName: 'milliseconds', min: 1, max: HOUR, fallback: 10_000 },
  'cache.freshMs': {
    variable: 'DISCORD_GUILD_CACHE_FRESH_MINUTES',
    unit: MINUTE,
    unitName: 'minutes',
    min: 0,
    max: YEAR,
    fallback: 60 * MINUTE,
  },
  'cache.staleMs': {
    variable: 'DISCORD_GUILD_CACHE_STALE_HOURS',
    unit: HOUR,
    unitName: 'hours',
    min: 0,
    max: YEAR,
    fallback: 24 * HOUR,
  },
  'cache.patienceMs': { unitName: 'milliseconds', min: 0, max: HOUR, fallback: 500 },
  'cache.loadTimeoutMs': { unitName: 'milliseconds', min: 1, max: HOUR, fallback: 30_000 },
  ledgerMaxAgeMs: { unitName: 'milliseconds', min: 0, max: YEAR, fallback: 30 * 24 * HOUR },
  'redis.readTimeoutMs': { unitName: 'milliseconds', min: 1, max: MINUTE, fallback: 100 },
  'redis.writeTimeoutMs': { unitName: 'milliseconds', min: 1, max: MINUTE, fallback: 500 },
  'cache.maxEntries': { unitName: 'entries', min: 1, max: 10_000_000, whole: true, fallback: 100_000 },
  'cache.maxBackgroundLoads': { unitName: 'loads', min: 1, max: 100_000, whole: true, fallback: 100 },
  'cache.maxBytes': { unitName: 'bytes', min: 1, max: Number.MAX_SAFE_INTEGER, whole: true, fallback: 0 },
} as const satisfies Record<string, NumberSetting>

/** The guard's default rule, which options give in another way: as the rule for `*`. */
export const RATE_LIMIT_NUMBERS = {
  windowMs: {
    variable: 'RATE_LIMIT_WINDOW',
    unitName: 'milliseconds',
    min: 1,
    max: YEAR,
    fallback: 15 * MINUTE,
  },
  max: {
    variable: 'RATE_LIMIT_MAX',
    unitName: 'requests a window',
    min: 1,
    max: 1_000_000_000,
    whole: true,
    fallback: 100,
  },
  maxAuth: {
    variable: 'RATE_LIMIT_MAX_AUTH',
    unitName: 'requests a window, signed in',
    min: 1,
    max: 1_000_000_000,
    whole: true,
    fallback: 300,
  },
  maxAnon: {
    variable: 'RATE_LIMIT_MAX_ANON',
    unitName: 'requests a window, anonymous',
    min: 1,
    max: 1_000_000_000,
    whole: true,
    fallback: 0,
  },
} as const satisfies Record<string, NumberSetting>

/** A text among the settings. A `secret` value is never shown, not even in the error that refuses it. */
export interface TextSetting {
  readonly variable: string
  readonly secret: boolean
  readonly pattern?: RegExp
  /** What `pattern` accepts, in words. */
  readonly accepted: string
}

const PLAIN_HTTP_ACCEPTED =
  'https; http only for loopback, private addresses and names without a dot, since tokens travel there'
export const URL_ACCEPTED = 'an http or https URL without user, password, query or fragment'

/** Every text, with its variable and what it may be. */
export const TEXTS = {
  'discord.baseUrl': { variable: 'DISCORD_API_BASE_URL', secret: false, accepted: URL_ACCEPTED },
  'discord.clientId': {
    variable: 'DISCORD_CLIENT_ID',
    secret: false,
    pattern: /^\d{1,20}$/,
    accepted: 'the digits of the application id',
  },
  'discord.clientSecret': { variable: 'DISCORD_CLIENT_SECRET', secret: true, accepted: 'the client secret' },
  'discord.publicKey': {
    variable: 'DISCORD_PUBLIC_KEY',
    secret: false,
    pattern: /^[0-9a-f]{64}$/i,
    accepted: '64 hexadecimal digits, from the application page',
  },
  'discord.botToken': {
    variable: 'DISCORD_BOT_TOKEN',
    secret: true,
    pattern: /^[\x21-\x7e]+$/,
    accepted: 'the bare token, without "Bot" and without spaces',
  },
  publicUrl: { variable: 'HOLDFAST_PUBLIC_URL', secret: false, accepted: URL_ACCEPTED },
} as const satisfies Record<string, TextSetting>

export const DISCORD_API = 'https://discord.com/api/v10'

export type Environment = Readonly<Record<string, string | undefined>>

/** The option that says the same as a number setting. */
export function numberOption(name: keyof typeof NUMBERS, means: string, preset?: string): Option {
  const { variable, min, max, whole = false, fallback, unitName }: NumberSetting = NUMBERS[name]
  return {
    means,
    accepts: (whole ? wholeNumber : number)(min, max),
    preset: preset ?? (name.endsWith('Ms') ? `${fallback} ms` : `${fallback} ${unitName}`),
    ...(variable !== undefined && { variable }),
  }
}

/** The option that says the same as a text setting. What it may be is checked where it is read, trimmed. */
export function textOption(name: keyof typeof TEXTS, means: string, preset?: string): Option {
  const { variable, secret, accepted }: TextSetting = TEXTS[name]
  return {
    means,
    accepts: checkedLater(accepted),
    variable,
    ...(preset !== undefined && { preset }),
    ...(secret && { secret: true as const }),
  }
}

/** A number: the option, which the table has checked, else its variable, else its default. Throws ConfigError. */
export function readNumber(name: keyof typeof NUMBERS, option: number | undefined, environment: Environment): number {
  return option ?? readSetting(NUMBERS[name], environment)
}

/** A number of the environment, in the option's own unit, else its default. Throws ConfigError. */
export function readSetting(setting: NumberSetting, environment: Environment): number {
  const { variable, unit = 1, min, max, whole = false, fallback } = setting
  const text = variable === undefined ? undefined : environment[variable]
  if (variable === undefined || text === undefined) return fallback
  const value = /^\d+(\.\d+)?$/.test(text.trim()) ? Number(text) * unit : Number.NaN
  if (!(value >= min && value <= max) || (whole && !Number.isInteger(value))) {
    const accepted = `${whole ? 'a whole number' : 'a number'} of ${setting.unitName} from ${min / unit} to ${max / unit}`
    throw refused(variable, text, accepted, false)
  }
  return value
}

/** A text: the option, else its variable. Trimmed; undefined where neither is given. Throws ConfigError. */
export function readText(name: keyof typeof TEXTS, option: unknown, environment: Environment): string | undefined {
  const { variable, secret, pattern, accepted }: TextSetting = TEXTS[name]
  const value = option ?? environment[variable]
  if (value === undefined) return undefined
  const source = option === undefined ? variable : name
  if (typeof value !== 'string' || value.trim() === '')
    throw refused(source, value, `${accepted}; leave it unset to do without`, secret)
  const text = value.trim()
  if (pattern && !pattern.test(text)) throw refused(source, text, accepted, secret)
  return text
}

/** A URL of a setting, checked. Throws ConfigError. Tokens travel to Discord's: without TLS only where nobody can be on the way. */
export function httpUrl(name: 'discord.baseUrl' | 'publicUrl', text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (!url || !/^https?:$/.test(url.protocol) || url.username || url.password || url.search || url.hash)
    // A URL with a password in it is not shown.
    throw refused(`${name} (${TEXTS[name].variable})`, text, URL_ACCEPTED, text.includes('@'))
  if (name === 'discord.baseUrl' && url.protocol === 'http:' && !isPrivateHost(url.hostname))
    throw refused(`${name} (${TEXTS[name].variable})`, text, PLAIN_HTTP_ACCEPTED, false)
  return url
}

/** An option or variable that cannot be used. Says its value, unless that is secret. */
export function refused(name: string, value: unknown, accepted: string, secret: boolean): ConfigError {
  return new ConfigError(name, `${name} ${cannotBeUsed(value, accepted, secret)}`)
}
