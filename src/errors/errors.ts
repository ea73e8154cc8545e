import type { Milliseconds } from '../time/clock.ts'
import { brand } from './brand.ts'
import type { ErrorCode } from './error-codes.ts'

/** What every error of ours may carry besides its message. */
export interface ErrorDetails {
  /** How long to wait before trying again; only where waiting helps. */
  readonly retryAfterMs?: Milliseconds | undefined
  readonly cause?: unknown
}

/**
 * The base of every error Holdfast throws on purpose. Match on `code`: it is stable. `instanceof` works too, also for an
 * error that another copy of the package threw in this process (bundled twice, loaded as ESM and CommonJS). The message
 * says what happened and what to do about it. No error holds a token, a cookie or a raw URL.
 */
export class HoldfastError extends Error {
  static {
    brand(HoldfastError, 'HoldfastError')
  }

  readonly code: ErrorCode
  // Declared only: a field that is not set is not there.
  declare readonly retryAfterMs?: Milliseconds

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause })
    this.name = new.target.name
    this.code = code
    if (details.retryAfterMs !== undefined) this.retryAfterMs = details.retryAfterMs
  }
}

/** A setting is missing, empty, malformed or out of range; thrown when the instance is made, or at the call it concerns. `code`: CONFIG_INVALID. */
export class ConfigError extends HoldfastError {
  static {
    brand(ConfigError, 'ConfigError')
  }

  /** The option or environment variable to change. */
  readonly option: string

  constructor(option: string, message: string, details?: ErrorDetails) {
    super('CONFIG_INVALID', message, details)
    this.option = option
  }
}

/** One field that Discord found wrong (its code 50035). */
export interface FieldError {
  /** Where: `embeds[0].title`. */
  readonly path: string
  /** Discord's code: `BASE_TYPE_BAD_LENGTH`. */
  readonly code: string
  /** Discord's words, without what was sent. */
  readonly message: string
}

/** The codes of `DiscordAPIError`, by what a caller can do about them. */
export type DiscordAPIErrorCode =
  | 'DISCORD_UNAUTHORIZED'
  | 'DISCORD_FORBIDDEN'
  | 'DISCORD_NOT_FOUND'
  | 'DISCORD_REFUSED'
  | 'DISCORD_SERVER_ERROR'
  | 'DISCORD_RATE_LIMITED'

const codeOfStatus = (status: number): DiscordAPIErrorCode => {
  if (status === 401) return 'DISCORD_UNAUTHORIZED'
  if (status === 403) return 'DISCORD_FORBIDDEN'
  if (status === 404) return 'DISCORD_NOT_FOUND'
  if (status === 429) return 'DISCORD_RATE_LIMITED'
  return status >= 500 ? 'DISCORD_SERVER_ERROR' : 'DISCORD_REFUSED'
}

/**
 * Discord answered, and the answer was not a success. `code` follows from the status: DISCORD_UNAUTHORIZED 401,
 * DISCORD_FORBIDDEN 403, DISCORD_NOT_FOUND 404, DISCORD_RATE_LIMITED 429, DISCORD_SERVER_ERROR 5xx, DISCORD_REFUSED for
 * the rest. A 3xx or 4xx whose body is not Discord's own JSON (a redirect, a proxy, a block page) is a
 * `DiscordUnavailableError` instead.
 */
export class DiscordAPIError extends HoldfastError {
  static {
    brand(DiscordAPIError, 'DiscordAPIError')
  }

  readonly status: number
  /** Discord's JSON error code, where the body had one. */
  declare readonly discordCode?: number
  /** Discord's own words, where it had some. What the caller sent is taken out of them. */
  declare readonly discordMessage?: string
  /** Which fields Discord found wrong; at most 50. */
  declare readonly fieldErrors?: readonly FieldError[]
  /** Method and route template, without ids, query or tokens: `GET /users/@me/guilds`. */
  readonly route: string
  /** How many times the call was sent; 0 where it was refused locally. */
  readonly attempts: number

  constructor(
    message: string,
    details: ErrorDetails & {
      readonly status: number
      readonly discordCode?: number | undefined
      readonly discordMessage?: string | undefined
      readonly fieldErrors?: readonly FieldError[] | undefined
      readonly route: string
      readonly attempts: number
    },
  ) {
    super(codeOfStatus(details.status), message, details)
    this.status = details.status
    if (details.discordCode !== undefined) this.discordCode = details.discordCode
    if (details.discordMessage !== undefined) this.discordMessage = details.discordMessage
    if (details.fieldErrors !== undefined) this.fieldErrors = details.fieldErrors
    this.route = details.route
    this.attempts = details.attempts
  }
}

/**
 * What a 429 is about: `user`, this principal's bucket or route; `global`, all calls of this principal; `shared`, a
 * resource that others use too; `egress`, all calls of this process, because our address or its budget is in danger.
 */
export type RateLimitScope = 'user' | 'global' | 'shared' | 'egress'

/** 429 from Discord, or a wait that is known not to fit (`local: true`: nothing was sent). `code`: DISCORD_RATE_LIMITED. */
export class DiscordRateLimitError extends DiscordAPIError {
  static {
    brand(DiscordRateLimitError, 'DiscordRateLimitError')
  }

  readonly scope: RateLimitScope
  readonly local: boolean
  declare readonly retryAfterMs: Milliseconds

  constructor(
    message: string,
    details: {
      readonly scope: RateLimitScope
      readonly local: boolean
      readonly route: string
      readonly attempts: number
      readonly retryAfterMs: Milliseconds
      readonly discordCode?: number | undefined
      readonly discordMessage?: string | undefined
    },
  ) {
    super(message, { ...details, status: 429 })
    this.scope = details.scope
    this.local = details.local
  }
}

/** The codes of `DiscordUnavailableError`. */
export type DiscordUnavailableCode =
  | 'DISCORD_NETWORK'
  | 'DISCORD_TIMEOUT'
  | 'DISCORD_TRUNCATED'
  | 'DISCORD_TOO_LARGE'
  | 'DISCORD_NOT_JSON'
  | 'DISCORD_WRONG_SHAPE'
  | 'DISCORD_FOREIGN_ANSWER'
  | 'DISCORD_BLOCKED'

/**
 * No usable answer came from Discord. `code`: DISCORD_NETWORK (no connection, reset), DISCORD_TIMEOUT (an attempt's or
 * the call's time ran out), DISCORD_TRUNCATED, DISCORD_TOO_LARGE, DISCORD_NOT_JSON, DISCORD_WRONG_SHAPE (JSON, but not
 * what this route answers with), DISCORD_FOREIGN_ANSWER (a 3xx or 4xx that is not Discord's own), DISCORD_BLOCKED (a 403
 * about our address, in Discord's or Cloudflare's JSON).
 */
export class DiscordUnavailableError extends HoldfastError {
  static {
    brand(DiscordUnavailableError, 'DiscordUnavailableError')
  }

  declare readonly code: DiscordUnavailableCode
  readonly route: string
  readonly attempts: number

  constructor(
    code: DiscordUnavailableCode,
    message: string,
    details: ErrorDetails & { readonly route: string; readonly attempts: number },
  ) {
    super(code, message, details)
    this.route = details.route
    this.attempts = details.attempts
  }
}

/** What every call gets once the instance was closed. */
export function closedError(): HoldfastError {
  return new HoldfastError('CLOSED', 'this Holdfast instance was closed; make a new one')
}

/** Says again what an earlier failure said, with the wait that is left of it now. Other errors are passed on as they are. */
export function withRetryAfter<E>(error: E, retryAfterMs: Milliseconds): E {
  return error instanceof HoldfastError && error.retryAfterMs !== undefined ? withWait(error, retryAfterMs) : error
}

/** An error of ours with how long to wait from now, whether it named a wait itself or not. Errors of others are passed on as they are. */
export function withWait<E>(error: E, retryAfterMs: Milliseconds): E {
  if (!(error instanceof HoldfastError)) return error
  return Object.create(Object.getPrototypeOf(error), {
    ...Object.getOwnPropertyDescriptors(error),
    // An accessor that reads the original's own slot.
    stack: { value: error.stack, configurable: true, writable: true },
    retryAfterMs: { value: Math.max(0, retryAfterMs), enumerable: true, configurable: true },
  })
}
