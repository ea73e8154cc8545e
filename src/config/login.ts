import type { Milliseconds } from '../time/clock.ts'
import { anObject, listOf, milliseconds, text } from './accepted.ts'
import type { Option, OptionTable } from './options.ts'

/** Option `login` of `createHoldfast`. */
export interface LoginOptions {
  /** What is asked of the user, where `begin` does not ask for something else. Default `identify` and `guilds`; `identify` is always asked for. */
  scopes?: readonly string[]
  /** A session that is not used for so long ends. Default 14 days. */
  idleMs?: Milliseconds
  /** A session ends after so long, used or not. Default 90 days. */
  absoluteMs?: Milliseconds
  /** What the login's paths begin with, below `publicUrl`. Default `/auth`. */
  basePath?: string
}

const DAY: Milliseconds = 24 * 60 * 60 * 1000

export const LOGIN_DEFAULTS = {
  scopes: ['identify', 'guilds'],
  idleMs: 14 * DAY,
  absoluteMs: 90 * DAY,
  basePath: '/auth',
} as const satisfies LoginOptions

export const SCOPES = listOf(text('names of scopes, such as identify', /^[a-z_.]+$/), { min: 1 })
export const BASE_PATH = text('a path such as /auth, without a slash at its end', /^(\/[\w.~-]+)+$/)

export const LOGIN_OPTION = {
  means: 'sign-in with Discord; needs clientId, clientSecret and publicUrl',
  accepts: anObject(),
  within: {
    scopes: { means: 'what is asked of the user; identify is added', accepts: SCOPES, preset: 'identify, guilds' },
    idleMs: {
      means: 'a session that is not used for so long ends',
      accepts: milliseconds(1000),
      preset: `${LOGIN_DEFAULTS.idleMs} ms (14 days)`,
    },
    absoluteMs: {
      means: 'a session ends after so long, used or not',
      accepts: milliseconds(1000),
      preset: `${LOGIN_DEFAULTS.absoluteMs} ms (90 days)`,
    },
    basePath: { means: "what the login's paths begin with", accepts: BASE_PATH, preset: LOGIN_DEFAULTS.basePath },
  } satisfies OptionTable<keyof LoginOptions>,
} satisfies Option
