import type { DefaultRateLimit } from '../config/rate-limit.ts'
import { ConfigError } from '../errors/errors.ts'
import type { Milliseconds } from '../time/clock.ts'
import { bySpecificity, matches, type Pattern, readPattern, segmentsOf } from './patterns.ts'

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
      /** Requests a window. */
      limit: number
      windowMs: Milliseconds | 'month'
      /** For callers whom nobody has identified. Default `limit`. */
      anon?: number
      /** For users and sessions. Default `limit`. */
      auth?: number
      /**
       * While the store cannot be asked: `local` counts in this process, up to its share of the limit; `open` lets
       * everything in; `closed` answers 503. Default `local`.
       */
      onStoreError?: 'local' | 'open' | 'closed'
    }

export type OnStoreError = 'local' | 'open' | 'closed'

/** One limit as it stands for one kind of caller. */
export interface Quota {
  /** Which counter; the same for anonymous and signed-in callers, who never share a key. */
  readonly counter: string
  /** The counter's place among all, from 0. */
  readonly slot: number
  /** What users and headers call it. */
  readonly name: string
  readonly limit: number
  /** So many requests stop a window whatever comes, given back or not. */
  readonly ceiling: number
  readonly windowMs: Milliseconds | 'month'
  readonly onStoreError: OnStoreError
}

/** How many times its limit a window's ceiling is. */
export const CEILING = 10

/** What holds for the requests of a pattern. */
export interface Rule {
  readonly pattern: Pattern
  /** Whether somebody wrote it for these paths; the default rule was not. */
  readonly own: boolean
  readonly anonymous: readonly Quota[]
  readonly signedIn: readonly Quota[]
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
const MOST_REQUESTS = 1_000_000_000
/** What can stand in a header between quotes (RFC 9651, section 3.3.3). */
const NAME = /^[\x20-\x21\x23-\x5b\x5d-\x7e]{1,64}$/
const ON_STORE_ERROR: readonly unknown[] = ['local', 'open', 'closed']

const ACCEPTED =
  "accepted: '10/month' (second, minute, hour, day, month), or { limit, windowMs, name?, anon?, auth?, onStoreError? }"

interface ReadLimit {
  readonly name: string | undefined
  readonly label: string
  readonly windowMs: Milliseconds | 'month'
  readonly anon: number
  readonly auth: number
  readonly onStoreError: OnStoreError
}

/**
 * The rules of a guard, the most specific first; the last one means everything. Throws ConfigError for the first
 * pattern or limit that cannot be used. A pattern that means everything (`*`) stands in for the default rule.
 */
export class Rules {
  readonly all: readonly Rule[]
  /** How many counters there are. */
  readonly counters: number

  constructor(table: unknown, preset: DefaultRateLimit) {
    if (table !== undefined && (typeof table !== 'object' || table === null || Array.isArray(table)))
      throw new ConfigError('rules', 'rules must be an object of patterns and their limits')
    const named = new Map<string, { limit: ReadLimit; pattern: string }>()
    const slots = new Map<string, number>()
    const quota = (pattern: Pattern, limit: ReadLimit, caller: 'anon' | 'auth'): Quota => {
      const counter = limit.name ?? `${pattern.text} ${limit.label}`
      // A name of one's own must not meet a counter that a pattern named.
      const key = limit.name === undefined ? `pattern ${counter}` : `name ${counter}`
      if (!slots.has(key)) slots.set(key, slots.size)
      return {
        counter: key,
        slot: slots.get(key)!,
        name: limit.name ?? limit.label,
        limit: limit[caller],
        ceiling: limit[caller] * CEILING,
        windowMs: limit.windowMs,
        onStoreError: limit.onStoreError,
      }
    }
    const rule = (pattern: Pattern, own: boolean, limits: readonly ReadLimit[]): Rule => ({
      pattern,
      own,
      anonymous: limits.map((limit) => quota(pattern, limit, 'anon')),
      signedIn: limits.map((limit) => quota(pattern, limit, 'auth')),
    })
    const rules: Rule[] = []
    for (const [text, given] of Object.entries((table ?? {}) as Record<string, unknown>)) {
      const option = `rules[${JSON.stringify(text)}]`
      const pattern = readPattern(text, 'rules')
      const limits = (Array.isArray(given) ? given : [given]).map((limit) => readLimit(limit, option))
      if (limits.length === 0)
        throw new ConfigError(option, `${option} has no limit; a path that needs none belongs in publicPaths`)
      const labels = limits.map(({ name, label }) => name ?? label)
      if (new Set(labels).size < labels.length)
        throw new ConfigError(option, `${option} has the limit ${labels.find((l, i) => labels.indexOf(l) < i)} twice`)
      for (const limit of limits) {
        if (limit.name === undefined) continue
        const known = named.get(limit.name)
        if (known && !agree(known.limit, limit))
          throw new ConfigError(
            option,
            `${option}: the limit named ${JSON.stringify(limit.name)} has other numbers than under ${JSON.stringify(known.pattern)}; limits that share a name share a counter, so they must agree`,
          )
        named.set(limit.name, known ?? { limit, pattern: text })
      }
      rules.push(rule(pattern, !meansEverything(pattern), limits))
    }
    if (!rules.some(({ pattern }) => meansEverything(pattern)))
      rules.push(
        rule(readPattern('*', 'rules'), false, [
          { ...preset, name: undefined, label: 'default', onStoreError: 'local' },
        ]),
      )
    rules.sort((a, b) => bySpecificity(a.pattern, b.pattern))
    for (const [index, { pattern }] of rules.entries()) {
      const before = rules[index - 1]?.pattern
      if (before && bySpecificity(before, pattern) === 0)
        throw new ConfigError(
          'rules',
          `rules: the patterns ${JSON.stringify(before.text)} and ${JSON.stringify(pattern.text)} mean the same requests`,
        )
    }
    this.all = rules
    this.counters = slots.size
  }

  /** The rules whose pattern means a path (in its normal form), the most specific first. */
  at(path: string): readonly Rule[] {
    const segments = segmentsOf(path)
    return this.all.filter(({ pattern }) => matches(pattern, segments))
  }
}

function meansEverything({ method, segments, open }: Pattern): boolean {
  return method === undefined && segments.length === 0 && open
}

function agree(a: ReadLimit, b: ReadLimit): boolean {
  return a.windowMs === b.windowMs && a.anon === b.anon && a.auth === b.auth && a.onStoreError === b.onStoreError
}

function readLimit(given: unknown, option: string): ReadLimit {
  if (typeof given === 'string') {
    const found = TEXT.exec(given)
    if (!found) throw new ConfigError(option, `${option}: ${JSON.stringify(given)} is no limit; ${ACCEPTED}`)
    const limit = requests(Number(found[1]), option, 'the number before the slash')
    return {
      name: undefined,
      label: given,
      windowMs: UNITS[found[2]!]!,
      anon: limit,
      auth: limit,
      onStoreError: 'local',
    }
  }
  if (typeof given !== 'object' || given === null)
    throw new ConfigError(option, `${option}: ${JSON.stringify(given)} is no limit; ${ACCEPTED}`)
  const { name, limit: all, windowMs, anon, auth, onStoreError = 'local', ...rest } = given as Record<string, unknown>
  const [unknown] = Object.keys(rest)
  if (unknown !== undefined) throw new ConfigError(option, `${option}: a limit has no ${unknown}; ${ACCEPTED}`)
  if (name !== undefined && (typeof name !== 'string' || !NAME.test(name)))
    throw new ConfigError(option, `${option}: name must be 1 to 64 ASCII characters without quotes and backslashes`)
  if (windowMs !== 'month' && !(typeof windowMs === 'number' && windowMs >= 1 && windowMs <= LONGEST_WINDOW_MS))
    throw new ConfigError(option, `${option}: windowMs must be 'month' or milliseconds from 1 to ${LONGEST_WINDOW_MS}`)
  if (!ON_STORE_ERROR.includes(onStoreError))
    throw new ConfigError(option, `${option}: onStoreError must be local, open or closed`)
  const limit = requests(all, option, 'limit')
  return {
    name: name as string | undefined,
    label: labelOf(limit, windowMs),
    windowMs,
    anon: anon === undefined ? limit : requests(anon, option, 'anon'),
    auth: auth === undefined ? limit : requests(auth, option, 'auth'),
    onStoreError: onStoreError as OnStoreError,
  }
}

function requests(value: unknown, option: string, what: string): number {
  if (!Number.isInteger(value) || !((value as number) >= 1 && (value as number) <= MOST_REQUESTS))
    throw new ConfigError(option, `${option}: ${what} must be a whole number from 1 to ${MOST_REQUESTS}`)
  return value as number
}

function labelOf(limit: number, windowMs: Milliseconds | 'month'): string {
  const unit = Object.keys(UNITS).find((name) => UNITS[name] === windowMs)
  return `${limit}/${unit ?? `${windowMs}ms`}`
}
