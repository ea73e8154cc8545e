import { ConfigError, HoldfastError } from '../errors/errors.ts'
import type { Accepted } from './accepted.ts'

/** One option of a public function. docs/reference/configuration.md is written from these. */
export interface Option {
  /** What it does, in a sentence, with its unit. */
  readonly means: string
  readonly accepts: Accepted
  /** What holds without it, in words; left out where it is required or there is no default. */
  readonly preset?: string
  readonly required?: true
  /**
   * An option that is there and undefined is refused. For options that decide access: what was meant to be looked up
   * was not found, and doing without it would let somebody in.
   */
  readonly refuseUndefined?: true
  /** Its value is never shown, not even in the error that refuses it. */
  readonly secret?: true
  /** The environment variable that says the same. */
  readonly variable?: string
  /** Where the value is an object of options: those. Checked only where the value is an object and no list. */
  readonly within?: OptionTable
}

/** The options of one public function, by name. `satisfies OptionTable<keyof TheOptions>` ties a table to its type. */
export type OptionTable<Name extends string = string> = Readonly<Record<Name, Option>>

/** A public function (or door) with its options. */
export interface OptionCheck {
  /** The function's name, as users write it: `createGuard`, `express.guard`. */
  readonly of: string
  readonly table: OptionTable
  /**
   * Throws for the first option that cannot be used: what is unknown (with the nearest right name), of the wrong kind,
   * out of range, missing, or there and undefined where that decides access. Undefined options count as not given.
   * What it throws is a ConfigError, or for `refusal: 'call'` a HoldfastError with code INVALID_OPTION.
   */
  check(given: unknown): void
}

/** Describes the options of a public function once: for its check, and for its page. */
export function optionsOf(of: string, table: OptionTable, refusal: 'config' | 'call' = 'config'): OptionCheck {
  const refuse: Refuse = (option, message) =>
    refusal === 'config'
      ? new ConfigError(option, `${of}: ${message}`)
      : new HoldfastError('INVALID_OPTION', `${of}: ${message}`)
  return { of, table, check: (given) => checkTable(given, table, '', refuse) }
}

type Refuse = (option: string, message: string) => Error

function checkTable(given: unknown, table: OptionTable, path: string, refuse: Refuse): void {
  const options = given === undefined ? {} : given
  if (typeof options !== 'object' || options === null || Array.isArray(options))
    throw refuse(path.replace(/\.$/, '') || 'options', `takes an object of options, not ${shown(given)}`)
  // Inherited options are read like own ones, so they are checked like them.
  for (const name in options) {
    const option = Object.hasOwn(table, name) ? table[name] : undefined
    if (!option) throw refuse(path + name, `there is no option ${path}${name}; ${nearest(name, Object.keys(table))}`)
    const value = (options as Record<string, unknown>)[name]
    if (value === undefined) {
      if (option.refuseUndefined)
        throw refuse(
          path + name,
          `option ${path}${name} is there and undefined; leave it out, or give ${option.accepts.words}`,
        )
      continue
    }
    if (!option.accepts.fits(value))
      throw refuse(path + name, `option ${path}${name} ${cannotBeUsed(value, option.accepts.words, option.secret)}`)
    if (option.within && typeof value === 'object' && !Array.isArray(value))
      checkTable(value, option.within, `${path}${name}.`, refuse)
  }
  for (const name in table)
    if (table[name]!.required && (options as Record<string, unknown>)[name] === undefined)
      throw refuse(path + name, `option ${path}${name} is missing; accepted: ${table[name]!.accepts.words}`)
}

/** The one way in which a value is refused, whether an option or a variable held it. */
export function cannotBeUsed(value: unknown, accepted: string, secret = false): string {
  return `cannot be used: ${secret ? 'its value' : shown(value)}; accepted: ${accepted}`
}

const LONGEST_SHOWN = 80

function shown(value: unknown): string {
  if (value === '') return 'empty'
  if (typeof value === 'function') return 'a function'
  if (Array.isArray(value)) return 'a list'
  if (typeof value === 'object' && value !== null) return 'an object'
  return typeof value === 'string' ? JSON.stringify(value.slice(0, LONGEST_SHOWN)) : String(value)
}

function nearest(name: string, known: readonly string[]): string {
  const [best] = known
    .map((candidate) => ({ candidate, steps: distance(name.toLowerCase(), candidate.toLowerCase()) }))
    .sort((one, other) => one.steps - other.steps)
  if (best && best.steps <= Math.max(2, best.candidate.length / 2)) return `did you mean ${best.candidate}?`
  return known.length > 0 ? `accepted: ${known.join(', ')}` : 'it takes none'
}

/** Edits (Levenshtein) between two names. Bounded by the length of names: what is longer is far from everything. */
function distance(one: string, other: string): number {
  if (one.length > 64) return one.length
  let previous = Array.from({ length: other.length + 1 }, (_, index) => index)
  for (let row = 1; row <= one.length; row++) {
    const current = [row]
    for (let column = 1; column <= other.length; column++) {
      const changed = previous[column - 1]! + (one[row - 1] === other[column - 1] ? 0 : 1)
      current.push(Math.min(changed, previous[column]! + 1, current[column - 1]! + 1))
    }
    previous = current
  }
  return previous[other.length]!
}
