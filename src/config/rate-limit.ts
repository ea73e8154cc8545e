import type { Milliseconds } from '../time/clock.ts'
import { type Environment, type NumberSetting, RATE_LIMIT_NUMBERS, readSetting } from './settings.ts'

/** The guard's default rule: at most so many requests a window. */
export interface DefaultRateLimit {
  readonly windowMs: Milliseconds
  /** For callers whom nobody has identified. */
  readonly anon: number
  /** For users and sessions. */
  readonly auth: number
}

/** Checks the RATE_LIMIT_* variables. Throws ConfigError. */
export function readRateLimit(environment: Environment = process.env): DefaultRateLimit {
  const number = (setting: NumberSetting) => readSetting(setting, environment)
  const { windowMs, max, maxAuth, maxAnon } = RATE_LIMIT_NUMBERS
  return { windowMs: number(windowMs), anon: number(maxAnon) || number(max), auth: number(maxAuth) }
}
