import { ConfigError } from '../errors/errors.ts'
import type { Milliseconds } from '../time/clock.ts'
import type { Cost, OnStoreError } from './applied-limit.ts'
import type { GuardRequest } from './guard-request.ts'

/**
 * How much one caller may do. `'60/minute'`: a window that begins with the first request and ends a minute later.
 * `'10/month'`: the calendar month, UTC. Limits with the same `name` share one counter, whatever route they stand at,
 * and must agree in everything else.
 */
export type Limit =
  | `${number}/${'second' | 'minute' | 'hour' | 'day' | 'month'}`
  | {
      /** Shares its counter with every limit of this name. Default: a counter of the pattern's own. */
      name?: string
      /** Points a window; a request is one, unless `cost` says otherwise. */
      limit: number
      windowMs: Milliseconds | 'month'
      /**
       * `fixed`: a window begins with the first request, and the next one begins anew. `sliding`: what the window before
       * held fades out while this one passes, so that no two windows' worth meet at an edge; never with a month.
       * Default `fixed`.
       */
      kind?: 'fixed' | 'sliding'
      /** For callers whom nobody has identified. Default `limit`. */
      anon?: number
      /** For users and sessions. Default `limit`. */
      auth?: number
      /** Points a request costs: a whole number from 0. What is not one throws INVALID_OPTION. Default 1. */
      cost?: number | ((request: GuardRequest) => number)
      /**
       * While the store cannot be asked: `local` counts in this process, up to its share of the limit; `open` lets
       * everything in; `closed` answers 503. Default `local`.
       */
      onStoreError?: OnStoreError
    }

/** A checked limit. */
export interface ReadLimit {
  readonly name: string | undefined
  readonly label: string
  readonly windowMs: Milliseconds | 'month'
  readonly sliding: boolean
  readonly anon: number
  readonly auth: number
  readonly cost: Cost
  readonly onStoreError: OnStoreError
}

const UNITS: Readonly<Record<string, Milliseconds | 'month'>> = {
  second: 1_000,
  minute: 60_000,
  hour: 3_600_000,
  day: 86_400_000,
  month: 'month',
}
const TEXT = /^(\d+)\/(second|minute|hour|day|month)$/
const LONGEST_WINDOW_MS: Milliseconds = 366 * 86_400_000
export const MOST_POINTS = 1_000_000_000
/** What can stand in a header between quotes (RFC 9651, section 3.3.3). */
const NAME = /^[\x20-\x21\x23-\x5b\x5d-\x7e]{1,64}$/
const ON_STORE_ERROR: readonly unknown[] = ['local', 'open', 'closed']

const ACCEPTED =
  "accepted: '10/month' (second, minute, hour, day, month), or { limit, windowMs, name?, kind?, anon?, auth?, cost?, onStoreError? }"

/** Reads the limits of one pattern, one or several. Throws ConfigError for the first that cannot be used. */
export function readLimits(given: unknown, option: string): readonly ReadLimit[] {
  const limits = (Array.isArray(given) ? given : [given]).map((limit) => readLimit(limit, option))
  if (limits.length === 0)
    throw new ConfigError(option, `${option} has no limit; a path that needs none belongs in publicPaths`)
  const labels = limits.map(({ name, label }) => name ?? label)
  const twice = labels.find((label, index) => labels.indexOf(label) < index)
  if (twice !== undefined) throw new ConfigError(option, `${option} has the limit ${twice} twice`)
  return limits
}

function readLimit(given: unknown, option: string): ReadLimit {
  const refuse = (why: string) => new ConfigError(option, `${option}: ${why}`)
  if (typeof given === 'string') {
    const found = TEXT.exec(given)
    if (!found) throw refuse(`${JSON.stringify(given)} is no limit; ${ACCEPTED}`)
    const limit = points(Number(found[1]), option, 'the number before the slash')
    const windowMs = UNITS[found[2]!]!
    return {
      name: undefined,
      label: given,
      windowMs,
      sliding: false,
      anon: limit,
      auth: limit,
      cost: 1,
      onStoreError: 'local',
    }
  }
  if (given instanceof Promise) {
    // It is nobody's any more, and what it rejects with must not end the process.
    given.catch(() => {})
    throw refuse(`a promise is no limit: a rule that is a function answers at once; ${ACCEPTED}`)
  }
  if (typeof given !== 'object' || given === null)
    throw refuse(
      `${typeof given === 'function' ? 'a function among limits' : JSON.stringify(given)} is no limit; ${ACCEPTED}`,
    )
  const fields = given as Record<string, unknown>
  const { name, limit: all, windowMs, kind = 'fixed', anon, auth, cost = 1, onStoreError = 'local', ...rest } = fields
  const [unknown] = Object.keys(rest)
  if (unknown !== undefined) throw refuse(`a limit has no ${unknown}; ${ACCEPTED}`)
  if (name !== undefined && (typeof name !== 'string' || !NAME.test(name)))
    throw refuse('name must be 1 to 64 ASCII characters without quotes and backslashes')
  if (windowMs !== 'month' && !(typeof windowMs === 'number' && windowMs >= 1 && windowMs <= LONGEST_WINDOW_MS))
    throw refuse(`windowMs must be 'month' or milliseconds from 1 to ${LONGEST_WINDOW_MS}`)
  if (kind !== 'fixed' && kind !== 'sliding') throw refuse('kind must be fixed or sliding')
  const sliding = kind === 'sliding'
  if (sliding && windowMs === 'month')
    throw refuse('a month cannot slide, because months are not equally long; give windowMs in milliseconds')
  if (!ON_STORE_ERROR.includes(onStoreError)) throw refuse('onStoreError must be local, open or closed')
  const limit = points(all, option, 'limit')
  const [forAnyone, forKnown] = [
    anon === undefined ? limit : points(anon, option, 'anon'),
    auth === undefined ? limit : points(auth, option, 'auth'),
  ]
  if (typeof cost !== 'function') {
    points(cost, option, 'cost')
    if ((cost as number) > Math.min(forAnyone, forKnown))
      throw refuse('cost is more than the limit, so nothing would ever pass')
  }
  return {
    name: name as string | undefined,
    label: labelOf(limit, windowMs, sliding),
    windowMs,
    sliding,
    anon: forAnyone,
    auth: forKnown,
    cost: cost as Cost,
    onStoreError: onStoreError as OnStoreError,
  }
}

function points(value: unknown, option: string, what: string): number {
  if (!Number.isInteger(value) || !((value as number) >= 1 && (value as number) <= MOST_POINTS))
    throw new ConfigError(option, `${option}: ${what} must be a whole number from 1 to ${MOST_POINTS}`)
  return value as number
}

function labelOf(limit: number, windowMs: Milliseconds | 'month', sliding: boolean): string {
  const unit = Object.keys(UNITS).find((name) => UNITS[name] === windowMs)
  return `${limit}/${unit ?? `${windowMs}ms`}${sliding ? ' sliding' : ''}`
}
