import type { DefaultRateLimit } from '../config/rate-limit.ts'
import { ConfigError } from '../errors/errors.ts'
import type { AppliedLimit, Cost, LimitsByCaller } from './applied-limit.ts'
import type { Identity } from './guard-request.ts'
import { type Limit, readLimits } from './limit.ts'
import { LimitBook } from './limit-book.ts'
import { bySpecificity, matches, type Pattern, readPattern } from './patterns.ts'
import type { Reading } from './readings.ts'

/** What holds for a pattern: limits, or a function of who is asking that gives them. */
export type RuleOption = Limit | readonly Limit[] | ((caller: Identity) => Limit | readonly Limit[])

/** What holds for the requests of a pattern, or of the patterns that the readings of one target have. */
export interface Rule extends LimitsByCaller {
  /** The most specific one, and what events name. */
  readonly pattern: Pattern
  /** Whether somebody wrote it; the default rule nobody did. */
  readonly own: boolean
  /** Where the limits follow the caller: `anonymous` and `signedIn` are then of a caller of whom nothing is known. */
  readonly byCaller?: (caller: Identity) => LimitsByCaller
}

/** Combinations of rules that ambiguous targets have led to. */
const MOST_COMBINATIONS = 1_000
/** Different limits that a function gave, by what they are. */
const MOST_REMEMBERED = 1_000

/**
 * The rules of a guard, the most specific first; the last one means everything. Throws ConfigError for the first
 * pattern or limit that cannot be used. A pattern that means everything (`*`) stands in for the default rule.
 */
export class Rules {
  readonly all: readonly Rule[]
  readonly #book = new LimitBook()
  readonly #combined = new Map<string, Rule>()

  constructor(table: unknown, preset: DefaultRateLimit) {
    if (table !== undefined && (typeof table !== 'object' || table === null || Array.isArray(table)))
      throw new ConfigError('rules', 'rules must be an object of patterns and their limits')
    const rules = Object.entries((table ?? {}) as Record<string, unknown>).map(([text, given]) =>
      this.#read(readPattern(text, 'rules'), given, `rules[${JSON.stringify(text)}]`),
    )
    if (!rules.some(({ pattern }) => meansEverything(pattern))) rules.push(this.#preset(preset))
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
  }

  /**
   * What holds for a request, given every reading of its target: the most specific rule of each. Where they differ,
   * the limits of all of them hold, because nobody knows here which reading the router will choose. Undefined as a
   * method stands for whichever has the most specific rule.
   */
  for(readings: readonly Reading[] | 'any', method: string | undefined): Rule {
    const found = new Set<Rule>()
    if (readings === 'any') for (const rule of this.all) found.add(rule)
    else for (const reading of readings) found.add(this.#at(reading, method))
    return found.size === 1 ? [...found][0]! : this.#combine([...found])
  }

  #at(reading: Reading, method: string | undefined): Rule {
    const segments = reading.map((segment) => segment.toLowerCase())
    for (const rule of this.all) if (isFor(rule.pattern, method) && matches(rule.pattern, segments)) return rule
    return this.all.at(-1)!
  }

  #combine(rules: readonly Rule[]): Rule {
    const sorted = rules.toSorted((a, b) => this.all.indexOf(a) - this.all.indexOf(b))
    const key = sorted.map((rule) => this.all.indexOf(rule)).join(' ')
    let combined = this.#combined.get(key)
    if (!combined) {
      combined = combine(sorted)
      if (this.#combined.size >= MOST_COMBINATIONS) this.#combined.clear()
      this.#combined.set(key, combined)
    }
    return combined
  }

  #read(pattern: Pattern, given: unknown, option: string): Rule {
    if (typeof given !== 'function') {
      const limits = this.#book.apply(pattern, readLimits(given, option), option, true)
      return { pattern, own: true, ...limits }
    }
    const byCaller = this.#remembering(pattern, given as (caller: Identity) => unknown, option)
    return { pattern, own: true, ...byCaller({}), byCaller }
  }

  /** Reads what a function gives once for each thing it gives: callers of one plan share one list of limits. */
  #remembering(pattern: Pattern, limitsOf: (caller: Identity) => unknown, option: string) {
    const byText = new Map<string, LimitsByCaller>()
    const byObject = new WeakMap<object, LimitsByCaller>()
    return (caller: Identity): LimitsByCaller => {
      const given = limitsOf(caller)
      const isObject = typeof given === 'object' && given !== null
      const known = isObject ? byObject.get(given) : byText.get(String(given))
      if (known) return known
      // A list written out anew at each call is the same list; functions (`cost`) are not seen in the text.
      const text = isObject
        ? JSON.stringify(given, (_, value) => (typeof value === 'function' ? null : value))
        : String(given)
      const hasFunctions = isObject && containsFunction(given)
      let limits = hasFunctions ? undefined : byText.get(text)
      if (!limits) {
        limits = this.#book.apply(pattern, readLimits(given, option), option, false)
        if (byText.size >= MOST_REMEMBERED) byText.clear()
        if (!hasFunctions) byText.set(text, limits)
      }
      // An object that may be changed later is read by its text, which then is another.
      if (isObject && (hasFunctions || Object.isFrozen(given))) byObject.set(given, limits)
      return limits
    }
  }

  #preset({ windowMs, anon, auth }: DefaultRateLimit): Rule {
    const pattern = readPattern('*', 'rules')
    const limit = {
      name: undefined,
      label: 'default',
      windowMs,
      sliding: false,
      anon,
      auth,
      cost: 1,
      onStoreError: 'local',
    } as const
    return { pattern, own: false, ...this.#book.apply(pattern, [limit], 'rules', true) }
  }
}

/** The limits of a rule for one caller. */
export function limitsFor(rule: Rule, caller: Identity | undefined, signedIn: boolean): readonly AppliedLimit[] {
  const limits = rule.byCaller ? rule.byCaller(caller ?? {}) : rule
  return signedIn ? limits.signedIn : limits.anonymous
}

/** Whether a pattern means requests of any path and method. */
export function meansEverything({ method, segments, open }: Pattern): boolean {
  return method === undefined && segments.length === 0 && open
}

/** What GET may do, HEAD may. */
function isFor({ method: only }: Pattern, method: string | undefined): boolean {
  return only === undefined || method === undefined || only === method || (only === 'GET' && method === 'HEAD')
}

/** All limits of several rules; those that share a counter once, by the smallest number and the highest cost. */
function combine(rules: readonly Rule[]): Rule {
  const merge = (lists: readonly (readonly AppliedLimit[])[]): readonly AppliedLimit[] => {
    const byCounter = new Map<string, AppliedLimit>()
    for (const limit of lists.flat()) {
      const held = byCounter.get(limit.counter)
      const tighter = held && held.limit <= limit.limit ? held : limit
      byCounter.set(limit.counter, held ? { ...tighter, cost: higherCost(held.cost, limit.cost) } : limit)
    }
    return [...byCounter.values()]
  }
  const all = (parts: readonly LimitsByCaller[]): LimitsByCaller => ({
    anonymous: merge(parts.map(({ anonymous }) => anonymous)),
    signedIn: merge(parts.map(({ signedIn }) => signedIn)),
  })
  return {
    pattern: rules[0]!.pattern,
    own: rules.some(({ own }) => own),
    ...all(rules),
    ...(rules.some(({ byCaller }) => byCaller) && {
      byCaller: (caller: Identity) => all(rules.map((rule) => rule.byCaller?.(caller) ?? rule)),
    }),
  }
}

function higherCost(a: Cost, b: Cost): Cost {
  if (a === b) return a
  if (typeof a === 'number' && typeof b === 'number') return Math.max(a, b)
  return (request) => Math.max(typeof a === 'number' ? a : a(request), typeof b === 'number' ? b : b(request))
}

function containsFunction(given: object): boolean {
  return Object.values(given).some(
    (value) => typeof value === 'function' || (typeof value === 'object' && value !== null && containsFunction(value)),
  )
}
