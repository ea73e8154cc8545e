import { type Answer, refused } from '../answer.ts'
import { isRecord } from './call.ts'

type Path = ReadonlyArray<string | number>

/** What is wrong with the fields of a body, gathered into the tree of code 50035 (Reference, "Error Messages"). */
export interface Problems {
  add(path: Path, code: string, message: string): void
  /** Undefined: nothing is wrong. */
  readonly answer: Answer | undefined
  /** A text of at most `most` characters (counted as Discord does, by code points); undefined if it was not given. */
  text(fields: Readonly<Record<string, unknown>>, name: string, rule: TextRule): string | undefined
  integer(fields: Readonly<Record<string, unknown>>, name: string, least: number, most: number): number | undefined
  flag(fields: Readonly<Record<string, unknown>>, name: string): boolean | undefined
  id(fields: Readonly<Record<string, unknown>>, name: string): string | undefined
  /** Permission bits as a decimal string. */
  bits(fields: Readonly<Record<string, unknown>>, name: string): string | undefined
}

export interface TextRule {
  readonly most: number
  readonly least?: number
  readonly required?: boolean
  readonly at?: Path
}

interface Branch {
  _errors?: Array<{ code: string; message: string }>
  [name: string]: unknown
}

export function createProblems(): Problems {
  const root: Branch = {}
  let some = false

  const problems: Problems = {
    add(path, code, message) {
      some = true
      let branch = root
      for (const name of path) {
        branch[name] ??= {}
        branch = branch[name] as Branch
      }
      branch._errors ??= []
      branch._errors.push({ code, message })
    },
    get answer() {
      return some ? refused(400, 50035, 'Invalid Form Body', root) : undefined
    },
    text(fields, name, { most, least = 0, required = false, at = [] }) {
      const value = fields[name]
      const path = [...at, name]
      if (value === undefined || value === null) {
        if (required) problems.add(path, 'BASE_TYPE_REQUIRED', 'This field is required')
        return undefined
      }
      if (typeof value !== 'string' && typeof value !== 'number') {
        problems.add(path, 'STRING_TYPE_CONVERT', `Could not interpret "${shown(value)}" as string.`)
        return undefined
      }
      const text = String(value)
      const { length } = [...text]
      if (required && length === 0) problems.add(path, 'BASE_TYPE_REQUIRED', 'This field is required')
      else if (length > most || length < least) {
        if (least > 0) problems.add(path, 'BASE_TYPE_BAD_LENGTH', `Must be between ${least} and ${most} in length.`)
        else problems.add(path, 'BASE_TYPE_MAX_LENGTH', `Must be ${most} or fewer in length.`)
      }
      return text
    },
    integer(fields, name, least, most) {
      const value = fields[name]
      if (value === undefined || value === null) return undefined
      const number = typeof value === 'string' && /^-?\d+$/.test(value) ? Number(value) : value
      if (typeof number !== 'number' || !Number.isInteger(number)) {
        problems.add([name], 'NUMBER_TYPE_COERCE', `Value "${shown(value)}" is not int.`)
        return undefined
      }
      if (number < least)
        problems.add([name], 'NUMBER_TYPE_MIN', `int value should be greater than or equal to ${least}.`)
      if (number > most) problems.add([name], 'NUMBER_TYPE_MAX', `int value should be less than or equal to ${most}.`)
      return number
    },
    flag(fields, name) {
      const value = fields[name]
      if (value === undefined || value === null) return undefined
      if (typeof value === 'boolean') return value
      problems.add([name], 'BOOLEAN_TYPE_CONVERT', 'Must be either true or false.')
      return undefined
    },
    id(fields, name) {
      const value = fields[name]
      if (value === undefined || value === null) return undefined
      if (/^\d{1,20}$/.test(String(value))) return String(value)
      problems.add([name], 'NUMBER_TYPE_COERCE', `Value "${shown(value)}" is not snowflake.`)
      return undefined
    },
    bits(fields, name) {
      const value = fields[name]
      if (value === undefined || value === null) return undefined
      if (/^\d{1,20}$/.test(String(value))) return String(value)
      problems.add([name], 'NUMBER_TYPE_COERCE', `Value "${shown(value)}" is not int.`)
      return undefined
    },
  }
  return problems
}

/** A list of at most `most` objects; what is not is a problem. */
export function recordsOf(
  problems: Problems,
  fields: Readonly<Record<string, unknown>>,
  name: string,
  most: number,
  at: Path = [],
): Array<Record<string, unknown>> {
  const value = fields[name]
  const path = [...at, name]
  if (value === undefined || value === null) return []
  if (!Array.isArray(value)) {
    problems.add(path, 'LIST_TYPE_CONVERT', 'Only iterables may be used in a ListType')
    return []
  }
  if (value.length > most) problems.add(path, 'BASE_TYPE_MAX_LENGTH', `Must be ${most} or fewer in length.`)
  return value.flatMap((one: unknown, nth) => {
    if (isRecord(one)) return [one]
    problems.add([...path, nth], 'DICT_TYPE_CONVERT', 'Only dictionaries may be used in a DictType')
    return []
  })
}

/** `limit` of a page; `NaN` with a problem if it is out of range. */
export function limitOf(problems: Problems, query: URLSearchParams | null, fallback: number, most: number): number {
  return problems.integer({ limit: query?.get('limit') ?? undefined }, 'limit', 1, most) ?? fallback
}

function shown(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value)
}
