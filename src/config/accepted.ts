import type { Milliseconds } from '../time/clock.ts'

/** What an option accepts: in words, for messages and docs, and as a check. */
export interface Accepted {
  readonly words: string
  readonly fits: (value: unknown) => boolean
}

/** A number as a setting: its bounds are inclusive. */
export interface AcceptedNumber extends Accepted {
  readonly min: number
  readonly max: number
  readonly whole: boolean
}

/** A number from `min` to `max`, both included; NaN never fits. `unit` says what it counts. */
export function number(min: number, max = Number.POSITIVE_INFINITY, unit = ''): AcceptedNumber {
  return bounded(min, max, false, unit)
}

/** A whole number from `min` to `max`, both included. `unit` says what it counts. */
export function wholeNumber(min: number, max = Number.MAX_SAFE_INTEGER, unit = ''): AcceptedNumber {
  return bounded(min, max, true, unit)
}

export function milliseconds(min: Milliseconds = 0, max: Milliseconds = Number.POSITIVE_INFINITY): AcceptedNumber {
  return bounded(min, max, false, 'milliseconds')
}

function bounded(min: number, max: number, whole: boolean, unit: string): AcceptedNumber {
  const kind = `${whole ? 'a whole number' : 'a number'}${unit && ` of ${unit}`} from ${min}`
  return {
    words: max === Number.POSITIVE_INFINITY ? kind : `${kind} to ${max}`,
    fits: (value) => typeof value === 'number' && value >= min && value <= max && (!whole || Number.isInteger(value)),
    min,
    max,
    whole,
  }
}

/** A text that is not blank and, where a pattern is given, matches it. `words` say what it may be. */
export function text(words = 'a text that is not empty', pattern = /\S/): Accepted {
  return { words, fits: (value) => typeof value === 'string' && pattern.test(value) }
}

/** One of these values. */
export function oneOf(...values: ReadonlyArray<string | number | boolean>): Accepted {
  return { words: values.join(' or '), fits: (value) => values.includes(value as string) }
}

export const yesOrNo: Accepted = { words: 'true or false', fits: (value) => typeof value === 'boolean' }

/** A function; `words` say which. */
export function aFunction(words = 'a function'): Accepted {
  return { words, fits: (value) => typeof value === 'function' }
}

/** An object, and no list; `words` say which. */
export function anObject(words = 'an object'): Accepted {
  return { words, fits: (value) => typeof value === 'object' && value !== null && !Array.isArray(value) }
}

/** An object that has these methods. */
export function anObjectWith(words: string, ...methods: readonly string[]): Accepted {
  return {
    words,
    fits: (value) =>
      typeof value === 'object' &&
      value !== null &&
      methods.every((method) => typeof (value as Record<string, unknown>)[method] === 'function'),
  }
}

/** Duck-typed, because a signal may come from another realm. */
export const anAbortSignal: Accepted = {
  words: 'an AbortSignal',
  fits: (value) =>
    typeof value === 'object' &&
    value !== null &&
    typeof (value as AbortSignal).aborted === 'boolean' &&
    typeof (value as AbortSignal).addEventListener === 'function',
}

/** A list whose every member fits. */
export function listOf(member: Accepted, { min = 0 }: { readonly min?: number } = {}): Accepted {
  return {
    words: `a list of ${min > 0 ? `at least ${min}: ` : ''}${member.words}`,
    fits: (value) => Array.isArray(value) && value.length >= min && value.every((one) => member.fits(one)),
  }
}

/** What fits at least one of these. */
export function anyOf(...accepted: readonly Accepted[]): Accepted {
  return {
    words: accepted.map(({ words }) => words).join(', or '),
    fits: (value) => accepted.some(({ fits }) => fits(value)),
  }
}

/** What is checked where it is used, or can be anything. */
export function checkedLater(words: string): Accepted {
  return { words, fits: () => true }
}
