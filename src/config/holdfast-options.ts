import type { Logger } from '../events/events.ts'
import type { AuthRequest, SessionResolver } from '../sessions/session.ts'
import type { Clock, Milliseconds } from '../time/clock.ts'
import { aFunction, anObject, anObjectWith, checkedLater, oneOf } from './accepted.ts'
import { LOGIN_OPTION, type LoginOptions } from './login.ts'
import { type OptionTable, optionsOf } from './options.ts'
import { REDIS_OPTION, type RedisOptions } from './redis.ts'
import { numberOption, textOption } from './settings.ts'

/** How an instance is made. Options beat environment variables, which beat defaults. Times are milliseconds. */
export interface HoldfastOptions {
  discord?: {
    /** Where to call. Default Discord's v10 API. */
    baseUrl?: string
    /** Tries after the first, 0 to 10. Default 3. */
    maxRetries?: number
    /** First backoff where Discord names no wait; then doubling. Default 1000. */
    retryDelayMs?: Milliseconds
    /** All waits of one call together; a longer wait fails at once. Default 10 000. */
    maxWaitMs?: Milliseconds
    /** One attempt, connect to last byte. Default 10 000. */
    timeoutMs?: Milliseconds
    /** What is tried again. Default `'rate-limit'`. */
    retryOn?: 'rate-limit' | 'transient'
    /** Calls a second of one bot over all its routes. Default 50; Discord gives larger bots more. A user has 50. */
    globalPerSecond?: number
    /**
     * An undici Dispatcher of yours that all calls to Discord go through: a proxy agent, a mock. It is never closed by
     * Holdfast, and its own time-outs and retries apply beside ours.
     */
    dispatcher?: object
    /** The application: whose tokens are accepted as bearer sessions, and who asks users to sign in. */
    clientId?: string
    /** The secret of the application, for login. */
    clientSecret?: string
    /** 64 hexadecimal digits: what Discord's webhook events are signed with. */
    publicKey?: string
    /** Lets `requireAuth({ live: true })` ask as the bot where the user's own list cannot be fetched. */
    botToken?: string
  }
  cache?: {
    /** Answered without asking Discord. Default 60 min. */
    freshMs?: Milliseconds
    /** How old an answer may be when Discord cannot be asked, counted from its fetch. Default 24 h. */
    staleMs?: Milliseconds
    /** How long the caller that starts a refresh waits for it. Default 500. */
    patienceMs?: Milliseconds
    /** After this a load is given up. Default 30 000. */
    loadTimeoutMs?: Milliseconds
    /** Default 100 000. */
    maxEntries?: number
    /** Default: a quarter of the heap limit. */
    maxBytes?: number
    /**
     * Instead of Redis: a Keyv, or one of its storage adapters, as a lesser shared tier (no atomic lease, no news;
     * docs/guides/fleet.md says what is lost). Needs `secret`. It is never closed or cleared.
     */
    store?: unknown
    /** Refreshes that nobody waits for, under way at once. Default 100. */
    maxBackgroundLoads?: number
  }
  /** A `redis://` or `rediss://` URL, or more. Shares the cache, holds and budgets between processes. Needs `secret`. */
  redis?: string | RedisOptions
  /**
   * `sqlite:PATH`, `sqlite::memory:`, `postgres://…`, or a Kysely instance of your own (PostgreSQL, SQLite, libsql), which
   * stays yours to close: where the ledger, and key vaults made with this instance, keep what they know. Unset: no
   * ledger. Needs `secret`.
   */
  database?: string | object
  /** The oldest memberships that the ledger shows, in milliseconds from their fetch, at most a year. Default 30 days; 0 shows none. */
  ledgerMaxAgeMs?: Milliseconds
  /** At least 32 bytes each, the newest first. Seals and names what is kept outside the process. */
  secret?: string | readonly string[]
  /** Who is signed in. Default: the login's session cookie, else `Authorization: Bearer` with a token issued to `clientId`. */
  session?: SessionResolver
  /** Sign-in with Discord (`holdfast.login`). Needs `publicUrl`, `discord.clientId` and `discord.clientSecret`. */
  login?: LoginOptions
  /**
   * A refusal of `requireAuth` in the app's own words, page or language, or as a redirect to its sign-in (303);
   * undefined keeps ours. Status, Retry-After and `no-store` stay. What it throws keeps ours too.
   */
  refusal?: (
    refused: {
      readonly status: 401 | 403 | 429 | 503
      readonly code: string
      /** Why: one of the list in docs/reference/events.md. */
      readonly reason: string
      readonly retryAfterSeconds?: number
    },
    request: AuthRequest,
  ) => { body: string; contentType: string } | { redirect: string } | undefined
  /**
   * Where the platform ends a process after its response (serverless): is handed each piece of work that goes on in the
   * background, as a promise that never rejects.
   */
  waitUntil?: (work: Promise<unknown>) => void
  /** Where users reach this app, for example `https://dash.example`. Also tells Discord whom to write to. */
  publicUrl?: string
  logger?: Logger
  clock?: Clock
  /** From 0 to below 1. Default Math.random; used for jitter only. */
  random?: () => number
}

const DISCORD = {
  baseUrl: textOption('discord.baseUrl', 'where to call: the simulator, a proxy', "Discord's v10 API"),
  maxRetries: numberOption('discord.maxRetries', 'tries after the first'),
  retryDelayMs: numberOption('discord.retryDelayMs', 'first backoff where Discord names no wait; then doubling'),
  maxWaitMs: numberOption('discord.maxWaitMs', 'all waits of one call together; a longer wait fails at once'),
  timeoutMs: numberOption('discord.timeoutMs', 'one attempt, connect to last byte'),
  retryOn: { means: 'what is tried again', accepts: oneOf('rate-limit', 'transient'), preset: "'rate-limit'" },
  globalPerSecond: numberOption('discord.globalPerSecond', 'calls a second of one bot over all its routes'),
  dispatcher: {
    means: 'an undici Dispatcher of yours that all calls to Discord go through: a proxy agent, a mock',
    accepts: anObjectWith('a Dispatcher of undici 7 or 8', 'dispatch'),
    preset: 'a pool of our own',
  },
  clientId: textOption('discord.clientId', 'the application: whose tokens are accepted as bearer sessions'),
  clientSecret: textOption('discord.clientSecret', 'the secret of the application, for login'),
  publicKey: textOption('discord.publicKey', "the application's key, which Discord's webhook events are signed with"),
  botToken: textOption('discord.botToken', 'lets `live` ask as the bot'),
} satisfies OptionTable<keyof NonNullable<HoldfastOptions['discord']>>

const CACHE = {
  freshMs: numberOption('cache.freshMs', 'answered without asking Discord, for so long after the fetch'),
  staleMs: numberOption('cache.staleMs', 'how old an answer may be while Discord cannot be asked, from its fetch'),
  patienceMs: numberOption('cache.patienceMs', 'how long the caller that starts a refresh waits for it'),
  loadTimeoutMs: numberOption('cache.loadTimeoutMs', 'after this a load is given up'),
  maxEntries: numberOption('cache.maxEntries', 'entries held in memory'),
  maxBackgroundLoads: numberOption('cache.maxBackgroundLoads', 'refreshes that nobody waits for, under way at once'),
  maxBytes: numberOption('cache.maxBytes', 'bytes held in memory', 'a quarter of the heap limit'),
  store: {
    means: 'a Keyv store that processes share instead of Redis; docs/guides/fleet.md says what is lost',
    accepts: anObjectWith('a Keyv, or a storage adapter with get, set and delete', 'get', 'set', 'delete'),
    preset: 'none',
  },
} satisfies OptionTable<keyof NonNullable<HoldfastOptions['cache']>>

/** A clock as Holdfast reads it; the one of `holdfast/simulator` is one. */
export const CLOCK_OPTION = {
  means: 'the time, in tests',
  accepts: anObjectWith('a Clock: now, monotonic and sleep', 'now', 'monotonic', 'sleep'),
  preset: "the system's",
}

export const LOGGER_OPTION = {
  means: 'where log lines go',
  accepts: anObjectWith('a logger with debug, info, warn and error', 'debug', 'info', 'warn', 'error'),
  preset: 'nowhere',
}

export const SECRET_OPTION = {
  means: 'seals and names what is kept outside the process; the newest first, the others are only read with',
  accepts: checkedLater('a text of at least 32 bytes, or a list of them'),
  variable: 'HOLDFAST_SECRET',
  secret: true,
} as const

export const DATABASE_OPTION = {
  means: 'where what outlives the process is kept',
  accepts: checkedLater('sqlite:PATH, sqlite::memory:, a postgres:// URL, or a Kysely instance'),
  variable: 'DATABASE_URL',
  secret: true,
} as const

/** The options of `createHoldfast`. */
export const HOLDFAST_OPTIONS = optionsOf('createHoldfast', {
  discord: { means: 'the wire', accepts: anObject(), within: DISCORD },
  cache: { means: 'what is held, and how long', accepts: anObject(), within: CACHE },
  redis: REDIS_OPTION,
  database: DATABASE_OPTION,
  ledgerMaxAgeMs: numberOption('ledgerMaxAgeMs', 'the oldest memberships that the ledger shows, from their fetch'),
  secret: SECRET_OPTION,
  session: {
    means: 'who is signed in',
    accepts: aFunction('a function of the request'),
    preset: "the login's sessions, else bearer tokens",
  },
  login: LOGIN_OPTION,
  refusal: { means: 'refusals in words of your own, or as a redirect', accepts: aFunction(), preset: 'ours' },
  waitUntil: { means: 'is handed work that goes on in the background', accepts: aFunction() },
  publicUrl: textOption('publicUrl', 'where users reach this app; also tells Discord whom to write to'),
  logger: LOGGER_OPTION,
  clock: CLOCK_OPTION,
  random: { means: 'from 0 to below 1, for jitter', accepts: aFunction(), preset: 'Math.random' },
} satisfies OptionTable<keyof HoldfastOptions>)
