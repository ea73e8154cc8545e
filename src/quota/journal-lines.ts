import { fingerprint } from '../secrets/key-ring.ts'

/** What a journal holds of one request that was answered. */
export interface JournalEntry {
  readonly index: number
  /** Of the request. */
  readonly hash: string
  readonly answer: JournalAnswer
}

/** `refused`: where in the answer something stood that JSON would have changed, and what. */
export type JournalAnswer = { readonly value: unknown } | { readonly refused: string }

/** The first line's beginning, by which a journal is told from any other file. */
const MARK = '{"holdfast":"batch journal","version":1,"first":'
/** Deeper than this is taken for a cycle. */
const DEEPEST = 200

/** What a request is known by, beside its index; undefined where it has no JSON, and cannot be known again. */
export function requestHash(request: unknown): string | undefined {
  let text: string | undefined
  try {
    text = JSON.stringify(request)
  } catch {
    // A cycle, a BigInt, or a toJSON of its own that throws.
  }
  return text === undefined ? undefined : fingerprint(text)
}

/** The first line: which batch it is, by its first request. */
export function headerOf(first: string): string {
  return `${MARK}${JSON.stringify(first)}}\n`
}

/** The hash of the first request; undefined where it is no header of a journal. */
export function readHeader(line: string): string | undefined {
  if (!line.startsWith(MARK)) return undefined
  const { first } = (parsed(line) ?? {}) as { first?: unknown }
  return typeof first === 'string' ? first : undefined
}

/** How much of a file `isHeaderBegun` wants to see. */
export const HEADER_LOOKED_AT = MARK.length

/** Whether a file that begins so is a journal, or one that was cut within its first line. */
export function isHeaderBegun(begin: string): boolean {
  return MARK.startsWith(begin.slice(0, MARK.length))
}

/** A line that no JSON within it can break: an answer never holds a bare line end. A value that is undefined is left out. */
export function lineOf({ index, hash, answer }: JournalEntry): string {
  return `${JSON.stringify({ index, hash, ...answer })}\n`
}

/** What a line says; undefined where it is no line of a journal. */
export function readLine(line: string): JournalEntry | undefined {
  const { index, hash, value, refused } = (parsed(line) ?? {}) as Record<string, unknown>
  if (!Number.isSafeInteger(index) || (index as number) < 0 || typeof hash !== 'string') return undefined
  const answer = typeof refused === 'string' ? { refused } : { value }
  return { index: index as number, hash, answer }
}

/** The answer as it can be kept: as it is, or why not. `undefined` is kept as the answer of a `send` that returns nothing. */
export function asKept(value: unknown): JournalAnswer {
  if (value === undefined) return { value }
  const refused = changedByJson(value, '', 0)
  return refused === undefined ? { value } : { refused }
}

/** The first place that would not come back from JSON as it is, and what stands there; undefined where all would. */
function changedByJson(value: unknown, place: string, depth: number): string | undefined {
  const at = `result${place.slice(0, 80)}`
  if (value === null || typeof value === 'string' || typeof value === 'boolean') return undefined
  if (typeof value === 'number')
    return Number.isFinite(value) && !Object.is(value, -0)
      ? undefined
      : `${at} is ${Object.is(value, -0) ? '-0' : value}`
  if (typeof value !== 'object') return `${at} is ${value === undefined ? 'undefined' : `a ${typeof value}`}`
  if (depth >= DEEPEST) return `${at} is nested too deeply, or within itself`
  const isList = Array.isArray(value)
  if (!isList && !isPlain(value)) return `${at} is no plain object, but a ${nameOfClass(value)}`
  if ('toJSON' in value) return `${at} has a toJSON`
  const names = Reflect.ownKeys(value)
  // A list has its length beside its members: one that has more, or less, has holes or names.
  if (isList && names.length !== value.length + 1) return `${at} is a list with holes, or with names`
  for (const name of names) {
    if (isList && name === 'length') continue
    const described = Object.getOwnPropertyDescriptor(value, name)!
    if (typeof name === 'symbol' || !described.enumerable || !('value' in described))
      return `${at} has a property that is a symbol, hidden, or computed`
    const inside = changedByJson(described.value, isList ? `${place}[${name}]` : `${place}.${name}`, depth + 1)
    if (inside !== undefined) return inside
  }
  return undefined
}

/** Whether it is an object literal, of this realm or another (a test runner's, a vm's). */
function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype === Object.prototype) return true
  return (
    typeof prototype === 'object' &&
    prototype !== null &&
    Object.getPrototypeOf(prototype) === null &&
    Object.hasOwn(prototype, 'isPrototypeOf')
  )
}

function nameOfClass(value: object): string {
  const maker: unknown = value.constructor
  return typeof maker === 'function' && maker.name !== '' ? maker.name : 'class instance'
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
